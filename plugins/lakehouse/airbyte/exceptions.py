"""What can go wrong with Airbyte, as types with attributes.

`transient` tells whether the same call may succeed later without anybody changing anything; `what` and `remedy` say
in a sentence each what failed and what to do (see `lakehouse.ops.explain`).
"""

from typing import ClassVar

from airflow.sdk.exceptions import AirflowFailException


class AirbyteError(Exception):
    """Base of everything this package raises about Airbyte."""

    transient: ClassVar[bool] = False
    remedy = "Put right what it names, in Airbyte or under include/pipelines, then clear the group."


class AirbyteUnreachable(AirbyteError):
    """No connection, or none in time. Retried already as often as the client allows."""

    transient = True
    remedy = "Check that it runs, and host of the Airflow connection."

    def __init__(self, url: str, client_id: str | None, reason: str) -> None:
        self.url, self.client_id, self.reason = url, client_id, reason
        self.what = f"Airbyte at {url} (client id {client_id or '-'}) does not answer: {reason}"
        super().__init__(f"{self.what}. {self.remedy}")


class AirbyteAuthError(AirbyteError):
    """The credentials were refused."""

    remedy = "Check login (client id) and password (client secret) of the Airflow connection."

    def __init__(self, url: str, client_id: str | None, status: int) -> None:
        self.url, self.client_id, self.status = url, client_id, status
        self.what = f"Airbyte at {url} refused the client id {client_id or '-'} with status {status}"
        super().__init__(f"{self.what}. {self.remedy}")


class AirbyteHttpError(AirbyteError):
    """An answer with an error status.

    :ivar status: HTTP status.
    :ivar title: Airbyte's error title (`try-again-later`, `state-conflict`, ...), empty if it named none.
    :ivar answer: what Airbyte said.
    """

    remedy = "See in Airbyte what it is about, put that right (or run the DAG platform_setup), then clear the group."

    def __init__(self, method: str, path: str, status: int, title: str, answer: str) -> None:
        self.method, self.path, self.status, self.title, self.answer = method, path, status, title, answer
        self.what = f"{method} {path}: Airbyte answered {status}: {answer or '(empty body)'}"
        super().__init__(self.what)


class AirbyteServerError(AirbyteHttpError):
    """429 or 5xx. `retry_after`: seconds that the server asks to wait, None if it does not say."""

    transient = True
    remedy = "Wait until Airbyte has less to do (or restart it if its log shows that it is ill), then clear the group."

    def __init__(
        self, method: str, path: str, status: int, title: str, answer: str, retry_after: float | None = None
    ) -> None:
        super().__init__(method, path, status, title, answer)
        self.retry_after = retry_after


class UnknownName(AirbyteError):
    """Nothing of that name, or several."""

    def __init__(self, kind: str, name: str, known: list[str], found: int) -> None:
        self.kind, self.name, self.known, self.found = kind, name, known, found
        what = "no" if not found else f"{found}"
        super().__init__(
            f"Airbyte has {what} {kind}s named {name!r}; it has: {', '.join(sorted(known)) or 'none'}. "
            "Apply include/pipelines (DAG platform_setup), or name it by its id."
        )


class SyncFailed(AirbyteError):
    """A sync ended otherwise than succeeded.

    :ivar status: `failed` or `cancelled`.
    :ivar reason: the failure as Airbyte tells it; empty where only the public API is known.
    """

    def __init__(self, connection: str, job_id: int, status: str, reason: str) -> None:
        self.connection, self.job_id, self.status, self.reason = connection, job_id, status, reason
        told = reason or (
            "the public API does not tell why; name config_api_url in the Airflow connection's extra to see it here"
        )
        remedy = (
            "Start it again by clearing this task."
            if status == "cancelled"
            else "Repair what it names, then clear this task: the sync goes on from its last committed state."
        )
        self.what = f"Airbyte's sync of {connection} (job {job_id}) {status}: {told.rstrip('.')}"
        self.remedy = remedy
        super().__init__(f"{self.what}. {remedy}")


class SyncMisconfigured(SyncFailed, AirflowFailException):
    """A sync failed for what Airbyte calls a configuration error: a table is gone, a login is refused.

    Airbyte has tried again where that could help, so the task fails at once whatever its retries.
    """


class SyncTimeout(AirbyteError, AirflowFailException):
    """A sync did not end in time. Another try would take as long and is not made.

    :ivar cancelled: whether the job was cancelled; one that somebody else had started goes on.
    """

    remedy = "See in Airbyte why the source is slow; raise `timeout` of the task if that is how long it takes."

    def __init__(self, connection: str, job_id: int, seconds: float, status: str, cancelled: bool = True) -> None:
        self.connection, self.job_id, self.seconds, self.status = connection, job_id, seconds, status
        self.cancelled = cancelled
        end = "was cancelled" if cancelled else "goes on, for it was not started by this task"
        self.what = (
            f"Airbyte's sync of {connection} (job {job_id}) did not end within {seconds:.0f} s "
            f"(last state: {status}) and {end}"
        )
        super().__init__(f"{self.what}. {self.remedy}")


class NothingRead(AirbyteError):
    """The sync succeeded without a row where rows were required."""

    def __init__(self, connection: str, job_id: int) -> None:
        self.connection, self.job_id = connection, job_id
        super().__init__(
            f"Airbyte's sync of {connection} (job {job_id}) read no rows, and require_rows is set. "
            "See whether the source has new data; without require_rows an empty sync is fine."
        )
