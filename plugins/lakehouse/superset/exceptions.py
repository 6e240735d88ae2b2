"""What can go wrong with Superset, as types with attributes.

`transient` tells whether the same call may succeed later without anybody changing anything.
"""

from collections.abc import Sequence
from typing import ClassVar


class SupersetError(Exception):
    """Base of everything this package raises about Superset."""

    transient: ClassVar[bool] = False


class SupersetConfigError(SupersetError):
    """An Airflow connection or a bundle that cannot be used; the message says what to change."""


class SupersetUnreachable(SupersetError):
    """No connection, or none in time. Retried already as often as the hook allows."""

    transient = True

    def __init__(self, url: str, user: str, reason: str) -> None:
        self.url, self.user, self.reason = url, user, reason
        super().__init__(
            f"Superset at {url} (user {user}) does not answer: {reason}. "
            "Check that the server runs, and the host of the Airflow connection."
        )


class SupersetAuthError(SupersetError):
    """Login refused, or a token that is not accepted even after a new login."""

    def __init__(self, url: str, user: str, answer: str) -> None:
        self.url, self.user, self.answer = url, user, answer
        super().__init__(
            f"Superset at {url} refused user {user}: {answer}. Check login and password of the Airflow connection."
        )


class SupersetHttpError(SupersetError):
    """An answer with an error status.

    :ivar status: HTTP status.
    :ivar answer: Superset's own words, or the start of the body.
    """

    def __init__(self, method: str, path: str, status: int, answer: str) -> None:
        self.method, self.path, self.status, self.answer = method, path, status, answer
        super().__init__(f"{method} {path}: Superset answered {status}: {answer or '(empty body)'}")


class SupersetNotFound(SupersetHttpError):
    """404: no such dashboard, chart or dataset, or the user may not see it."""


class SupersetServerBusy(SupersetHttpError):
    """408, 429, 502, 503 or 504 that outlasted the hook's retries."""

    transient = True


class SupersetDatabaseError(SupersetError):
    """Superset cannot log in to the database that it is to query."""


class DashboardsNotApplied(SupersetError):
    """Superset accepted an import, and what it holds is still not what is declared.

    :ivar differences: one line for each.
    """

    def __init__(self, url: str, differences: Sequence[str]) -> None:
        self.url, self.differences = url, list(differences)
        super().__init__(
            f"Superset at {url} took the import, but still differs from the bundle: " + "; ".join(self.differences)
        )


class WarmUpFailed(SupersetError):
    """Charts that cannot be read from the cache after the warm-up.

    :ivar failures: one text for each chart: its dashboard and name, the error, the query.
    """

    def __init__(self, url: str, failures: Sequence[str], total: int) -> None:
        self.url, self.failures, self.total = url, list(failures), total
        super().__init__(
            f"{len(self.failures)} of {total} charts could not be warmed in Superset at {url}:\n"
            + "\n".join(self.failures)
        )
