"""What can go wrong with Dremio, as types with attributes.

`transient` tells whether the same call may succeed later without anybody changing anything; `what` and `remedy` say
in a sentence each what failed and what to do (see `lakehouse.ops.explain`), without the statement or other detail.
"""

from typing import ClassVar

from airflow.sdk.exceptions import AirflowFailException


class DremioError(Exception):
    """Base of everything this package raises about Dremio."""

    transient: ClassVar[bool] = False
    remedy = "Put right what it names, in Dremio or under include/pipelines, then clear the group."


class DremioConfigError(DremioError):
    """The Airflow connection cannot describe a Dremio server; the message names the field to change."""

    remedy = "Correct that field of the Airflow connection (Admin, Connections), then clear the group."


class DremioUnreachable(DremioError):
    """No connection, or none in time. Retried already as often as the hook allows."""

    transient = True
    remedy = "Check that the server runs, and host, port and TLS of the Airflow connection."

    def __init__(self, url: str, user: str | None, reason: str) -> None:
        self.url, self.user, self.reason = url, user, reason
        self.what = f"Dremio at {url} (user {user or '-'}) does not answer: {reason}"
        super().__init__(f"{self.what}. {self.remedy}")


class DremioAuthError(DremioError):
    """Login refused, or a token that is not accepted even after a new login."""

    remedy = "Check login and password (or access token) of the Airflow connection."

    def __init__(self, url: str, user: str | None, answer: str) -> None:
        self.url, self.user, self.answer = url, user, answer
        self.what = f"Dremio at {url} refused user {user or '-'}: {answer or 'no reason given'}"
        super().__init__(f"{self.what}. {self.remedy}")


class DremioHttpError(DremioError):
    """An answer with an error status.

    :ivar status: HTTP status.
    :ivar answer: Dremio's `errorMessage` (with `moreInfo` where there is any), or the start of the body.
    """

    remedy = "See Dremio's log for that request (`make logs SERVICE=dremio`), put it right, then clear the group."

    def __init__(self, method: str, path: str, status: int, answer: str) -> None:
        self.method, self.path, self.status, self.answer = method, path, status, answer
        self.what = f"{method} {path}: Dremio answered {status}: {answer or '(empty body)'}"
        super().__init__(self.what)


class DremioNotFound(DremioHttpError):
    """404: no such job, entity or reflection."""

    remedy = "See who removed it; run the DAG platform_setup if it is declared, then clear the group."


class DremioConflict(DremioHttpError):
    """409: it exists already, or it was changed by somebody else since it was read."""

    remedy = "Clear the group: it is read anew. If it happens again, see who else changes it."


class DremioForbidden(DremioHttpError):
    """403: the user lacks the privilege."""

    remedy = "Grant the privilege to the user of the Airflow connection, then clear the group."


class DremioServerBusy(DremioHttpError):
    """408, 429, 500, 502, 503 or 504 that outlasted the hook's retries."""

    transient = True
    remedy = "Wait until Dremio has less to do (or restart it if its log shows that it is ill), then clear the group."


class DremioOutcomeUnknown(DremioError):
    """A statement was sent and no answer came back: it may or may not run.

    It is never sent again by itself. Look for it in the server's job list by the query comment, then clear
    the task; or declare the statement idempotent, and it will be repeated.
    """

    remedy = (
        "Look for it in Dremio's job list by its comment; once it has ended (or was cancelled), clear the task. "
        "A statement that is declared idempotent is repeated by itself."
    )

    def __init__(self, url: str, reason: str, sql: str) -> None:
        self.url, self.reason, self.sql = url, reason, sql
        self.what = f"a statement was sent to Dremio at {url} and no answer came back ({reason}): it may be running"
        super().__init__(
            f"Outcome unknown: a statement was sent to Dremio at {url} and no answer came back ({reason}). "
            "It may be running. Look for it in the job list by its comment, or declare it idempotent: "
            f"{sql[:300]}"
        )


class DremioNotRepeated(DremioOutcomeUnknown, AirflowFailException):
    """The same as a task's end: a retry would send the statement blindly, so none is made."""


class DremioJobError(DremioError):
    """Base for a job that did not complete."""

    remedy = "Repair what Dremio's message names (the task's log has the statement), then clear the group."

    def __init__(self, job_id: str, message: str, sql: str | None = None) -> None:
        self.job_id, self.message, self.sql = job_id, message, sql
        self.what = f"Dremio job {job_id} {message}"
        statement = f"\nStatement: {sql[:1000]}" if sql else ""
        super().__init__(f"Dremio job {job_id} {message}{statement}")


class DremioJobFailed(DremioJobError):
    """The job failed; `message` has Dremio's own text, with the position in the statement if it gave one."""


class DremioJobCanceled(DremioJobError):
    """The job was cancelled, by a user, a rule of the server, or this task being killed."""

    remedy = "See in Dremio's job list who or what cancelled it, then clear the group."


class DremioJobLost(DremioJobError):
    """The server does not know the job any more (its job history was cleaned, or it is another server)."""

    remedy = "Check that the Airflow connection names the server the job was sent to, then clear the group."


class DremioTooManyRows(DremioError, AirflowFailException):
    """A result that does not fit into an XCom. The statement has run, and a retry would not make it smaller."""

    remedy = "Write the result to objects with DremioToMinioOperator, aggregate it in SQL, or raise return_rows."

    def __init__(self, job_id: str, limit: int) -> None:
        self.job_id, self.limit = job_id, limit
        self.what = f"the result of Dremio job {job_id} has more than return_rows={limit} rows"
        super().__init__(f"{self.what}. {self.remedy}")


class DremioTimeout(DremioError):
    """What was waited for did not come within its limit. The message has the last state seen."""

    remedy = (
        "See in Dremio's job list what it waits for; raise the task's `timeout` if that is how long it takes, "
        "then clear the group."
    )

    def __init__(self, what: str, detail: str = "") -> None:
        self.what, self.detail = what, detail
        super().__init__(f"{what}: {detail}" if detail else what)
