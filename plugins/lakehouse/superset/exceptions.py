"""What can go wrong with Superset, as types with attributes.

`transient` tells whether the same call may succeed later without anybody changing anything; `what` and `remedy` say
in a sentence each what failed and what to do (see `lakehouse.ops.explain`), without queries or other detail.
"""

from collections.abc import Sequence
from typing import ClassVar


class SupersetError(Exception):
    """Base of everything this package raises about Superset."""

    transient: ClassVar[bool] = False
    remedy = "Put right what it names, in Superset or in the dashboards' bundle, then clear the group."


class SupersetConfigError(SupersetError):
    """An Airflow connection or a bundle that cannot be used; the message says what to change."""

    remedy = "Correct that in the Airflow connection or the bundle (`make check`), then clear the group."


class SupersetUnreachable(SupersetError):
    """No connection, or none in time. Retried already as often as the hook allows."""

    transient = True
    remedy = "Check that the server runs, and the host of the Airflow connection."

    def __init__(self, url: str, user: str, reason: str) -> None:
        self.url, self.user, self.reason = url, user, reason
        self.what = f"Superset at {url} (user {user}) does not answer: {reason}"
        super().__init__(f"{self.what}. {self.remedy}")


class SupersetAuthError(SupersetError):
    """Login refused, or a token that is not accepted even after a new login."""

    remedy = "Check login and password of the Airflow connection."

    def __init__(self, url: str, user: str, answer: str) -> None:
        self.url, self.user, self.answer = url, user, answer
        self.what = f"Superset at {url} refused user {user}: {answer}"
        super().__init__(f"{self.what}. {self.remedy}")


class SupersetHttpError(SupersetError):
    """An answer with an error status.

    :ivar status: HTTP status.
    :ivar answer: Superset's own words, or the start of the body.
    """

    remedy = "See Superset's log for that request (`make logs SERVICE=superset`), put it right, then clear the group."

    def __init__(self, method: str, path: str, status: int, answer: str) -> None:
        self.method, self.path, self.status, self.answer = method, path, status, answer
        self.what = f"{method} {path}: Superset answered {status}: {answer or '(empty body)'}"
        super().__init__(self.what)


class SupersetNotFound(SupersetHttpError):
    """404: no such dashboard, chart or dataset, or the user may not see it."""

    remedy = "Run the DAG platform_setup, which makes what is declared, then clear the group."


class UnknownDashboard(SupersetError):
    """No dashboard has that slug, or the user may not see it."""

    remedy = "Correct the slug, or give the dashboard one in Superset (Edit properties, URL slug)."

    def __init__(self, url: str, user: str, slug: str, known: Sequence[str]) -> None:
        self.url, self.user, self.slug, self.known = url, user, slug, list(known)
        there = ", ".join(self.known) or "none with a slug"
        self.what = f"Superset at {url} shows user {user} no dashboard {slug!r}; there are: {there}"
        super().__init__(f"{self.what}. {self.remedy}")


class SupersetServerBusy(SupersetHttpError):
    """408, 429, 502, 503 or 504 that outlasted the hook's retries."""

    transient = True
    remedy = "Wait until Superset has less to do (or restart it if its log shows that it is ill), then clear the group."


class SupersetDatabaseError(SupersetError):
    """Superset cannot log in to the database that it is to query."""

    remedy = "Check that Dremio is reachable from Superset, and the login of its Airflow connection."


class DashboardsNotApplied(SupersetError):
    """Superset accepted an import, and what it holds is still not what is declared.

    :ivar differences: one line for each.
    """

    remedy = "See in Superset whether somebody else edits the same objects, then clear the task to apply them again."

    def __init__(self, url: str, differences: Sequence[str]) -> None:
        self.url, self.differences = url, list(differences)
        self.what = f"Superset at {url} took the import, but still differs from the bundle: {self.differences[0]}"
        super().__init__(
            f"Superset at {url} took the import, but still differs from the bundle: " + "; ".join(self.differences)
        )


class NotInvalidated(SupersetError):
    """Superset says that it removed a dataset's results from the cache, and still answers from it."""

    remedy = (
        "Set STORE_CACHE_KEYS_IN_METADATA_DB = True in Superset's configuration, and CACHE_CONFIG to the same backend "
        "and CACHE_KEY_PREFIX as DATA_CACHE_CONFIG; results that were cached before that go when their time is over."
    )

    def __init__(self, url: str, dataset: int) -> None:
        self.url, self.dataset = url, dataset
        self.what = f"Superset at {url} still answers from its cache for dataset {dataset} after invalidating it"
        super().__init__(f"{self.what}. {self.remedy}")


class WarmUpFailed(SupersetError):
    """Charts that cannot be read from the cache after the warm-up.

    :ivar failures: one text for each chart: its dashboard and name, the error, the query.
    """

    remedy = "Open that chart in Superset and correct its query or its dataset, then clear the group."

    def __init__(self, url: str, failures: Sequence[str], total: int) -> None:
        self.url, self.failures, self.total = url, list(failures), total
        first = self.failures[0].partition(" Query: ")[0]
        summary = f"{len(self.failures)} of {total} charts could not be warmed in Superset at {url}"
        self.what = f"{summary}, the first: {first}"
        super().__init__(f"{summary}:\n" + "\n".join(self.failures))
