"""What can go wrong with a transfer. What was there before stays as it was."""


class TransferError(RuntimeError):
    """A transfer that did not come about.

    :ivar target: the object: `s3://bucket/prefix` or the table.
    :ivar what: one sentence about it, without the statement or other people's words (see `lakehouse.ops.explain`).
    :ivar remedy: what to do.
    :param detail: what the server said, for the message alone.
    """

    def __init__(self, target: str, problem: str, remedy: str, detail: str = "") -> None:
        self.target, self.problem, self.detail = target, problem, detail
        self.what, self.remedy = f"{target}: {problem}", remedy
        super().__init__(f"{self.what}{': ' + detail if detail else ''}. {remedy}")
