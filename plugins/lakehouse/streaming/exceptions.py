"""What can go wrong with a continuous sync."""

from airflow.sdk.exceptions import AirflowFailException


class StreamingStopped(RuntimeError):
    """No round succeeded for some time; the next try goes on from what is committed."""

    remedy = (
        "Repair what it names: the task goes on by itself at its next try, from the position that Airbyte has "
        "committed, and nothing is lost."
    )

    def __init__(self, connection: str, reason: str) -> None:
        self.connection, self.reason = connection, reason
        self.what = f"the continuous sync of {connection} stopped: {reason.rstrip('.')}"
        super().__init__(f"{self.what}. {self.remedy}")


class StreamingGaveUp(StreamingStopped, AirflowFailException):
    """The same after the run's time is over: the next run takes it up, and this one must not hold up the others."""
