"""What can go wrong with a transfer. What was there before stays as it was."""


class TransferError(RuntimeError):
    """A transfer that did not come about.

    :ivar what: the object: `s3://bucket/prefix` or the table.
    """

    def __init__(self, what: str, problem: str, remedy: str) -> None:
        self.what, self.problem, self.remedy = what, problem, remedy
        super().__init__(f"{what}: {problem}. {remedy}")
