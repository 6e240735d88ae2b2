"""What can go wrong with Dremio, as types with attributes.

`transient` tells whether the same call may succeed later without anybody changing anything.
"""

from typing import ClassVar


class DremioError(Exception):
    """Base of everything this package raises about Dremio."""

    transient: ClassVar[bool] = False


class DremioConfigError(DremioError):
    """The Airflow connection cannot describe a Dremio server; the message names the field to change."""


class DremioUnreachable(DremioError):
    """No connection, or none in time. Retried already as often as the hook allows."""

    transient = True

    def __init__(self, url: str, user: str | None, reason: str) -> None:
        self.url, self.user, self.reason = url, user, reason
        super().__init__(
            f"Dremio at {url} (user {user or '-'}) does not answer: {reason}. "
            "Check that the server runs, and host, port and TLS of the Airflow connection."
        )


class DremioAuthError(DremioError):
    """Login refused, or a token that is not accepted even after a new login."""

    def __init__(self, url: str, user: str | None, answer: str) -> None:
        self.url, self.user, self.answer = url, user, answer
        super().__init__(
            f"Dremio at {url} refused user {user or '-'}: {answer or 'no reason given'}. "
            "Check login and password (or access token) of the Airflow connection."
        )


class DremioHttpError(DremioError):
    """An answer with an error status.

    :ivar status: HTTP status.
    :ivar answer: Dremio's `errorMessage` (with `moreInfo` where there is any), or the start of the body.
    """

    def __init__(self, method: str, path: str, status: int, answer: str) -> None:
        self.method, self.path, self.status, self.answer = method, path, status, answer
        super().__init__(f"{method} {path}: Dremio answered {status}: {answer or '(empty body)'}")


class DremioNotFound(DremioHttpError):
    """404: no such job, entity or reflection."""


class DremioConflict(DremioHttpError):
    """409: it exists already, or it was changed by somebody else since it was read."""


class DremioForbidden(DremioHttpError):
    """403: the user lacks the privilege."""


class DremioServerBusy(DremioHttpError):
    """408, 429, 500, 502, 503 or 504 that outlasted the hook's retries."""

    transient = True


class DremioOutcomeUnknown(DremioError):
    """A statement was sent and no answer came back: it may or may not run.

    It is never sent again by itself. Look for it in the server's job list by the query comment, then clear
    the task; or declare the statement idempotent, and it will be repeated.
    """

    def __init__(self, url: str, reason: str, sql: str) -> None:
        self.url, self.reason, self.sql = url, reason, sql
        super().__init__(
            f"Outcome unknown: a statement was sent to Dremio at {url} and no answer came back ({reason}). "
            "It may be running. Look for it in the job list by its comment, or declare it idempotent: "
            f"{sql[:300]}"
        )


class DremioJobError(DremioError):
    """Base for a job that did not complete."""

    def __init__(self, job_id: str, message: str, sql: str | None = None) -> None:
        self.job_id, self.message, self.sql = job_id, message, sql
        statement = f"\nStatement: {sql[:1000]}" if sql else ""
        super().__init__(f"Dremio job {job_id} {message}{statement}")


class DremioJobFailed(DremioJobError):
    """The job failed; `message` has Dremio's own text, with the position in the statement if it gave one."""


class DremioJobCanceled(DremioJobError):
    """The job was cancelled, by a user, a rule of the server, or this task being killed."""


class DremioJobLost(DremioJobError):
    """The server does not know the job any more (its job history was cleaned, or it is another server)."""


class DremioTimeout(DremioError):
    """What was waited for did not come within its limit. The message has the last state seen."""
