"""Superset's REST API, one method per verb."""

from functools import cached_property
from typing import Any

from airflow.sdk import BaseHook

from lakehouse.superset.bundle import KINDS, Bundle, read_zip, write_zip
from lakehouse.superset.connection import SupersetSettings
from lakehouse.superset.exceptions import SupersetError, SupersetHttpError, SupersetNotFound
from lakehouse.superset.session import AsyncSupersetSession, SupersetSession


class SupersetHook(BaseHook):
    """Superset behind an Airflow connection of type `superset` (host: URL, login, password).

    Tried with Superset 6.1. Keeps a session for as long as the hook lives.

    :param superset_conn_id: id of the Airflow connection.
    """

    conn_name_attr = "superset_conn_id"
    default_conn_name = "superset_default"
    conn_type = "superset"
    hook_name = "Superset"

    def __init__(self, superset_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.superset_conn_id = superset_conn_id

    @cached_property
    def settings(self) -> SupersetSettings:
        """The connection's fields, checked.

        :raises SupersetConfigError: a field is missing.
        """
        return SupersetSettings.from_connection(self.get_connection(self.superset_conn_id))

    @cached_property
    def session(self) -> SupersetSession:
        """A logged-in session (it logs in at the first request)."""
        return SupersetSession(self.settings)

    def get_conn(self) -> SupersetSession:
        """Return the session."""
        return self.session

    def async_session(self) -> AsyncSupersetSession:
        """Return a new session for asyncio; use it as an async context manager."""
        return AsyncSupersetSession(self.settings)

    def test_connection(self) -> tuple[bool, str]:
        """Log in and ask who is logged in; for the button in Airflow's connection form."""
        try:
            me = self.session.request("GET", "/api/v1/me/").json()["result"]
        except SupersetError as error:
            return False, str(error)
        return True, f"Logged in to {self.settings.url} as {me['username']}."

    def get_dashboard(self, slug: str) -> dict[str, Any]:
        """Return a dashboard by slug, uuid or id: `id`, `uuid`, `dashboard_title`, `json_metadata`, ...

        :raises SupersetNotFound: no such dashboard.
        """
        found: dict[str, Any] = self.session.request("GET", f"/api/v1/dashboard/{slug}").json()["result"]
        return found

    def dashboard_slugs(self) -> list[str]:
        """Return the slugs of the dashboards that the user may see (the first hundred), sorted."""
        query = "(columns:!(slug),page_size:100)"
        found = self.session.request("GET", "/api/v1/dashboard/", params={"q": query}).json()["result"]
        return sorted(str(one["slug"]) for one in found if one.get("slug"))

    def export_dashboards(self, ids: list[int]) -> Bundle:
        """Return dashboards with their charts, datasets and databases; no passwords.

        :raises SupersetNotFound: one of the ids is unknown.
        """
        chosen = f"!({','.join(map(str, ids))})"
        response = self.session.request("GET", "/api/v1/dashboard/export/", params={"q": chosen})
        return read_zip(response.content)

    def export_existing(self, slugs: list[str]) -> Bundle:
        """Return those of the dashboards that exist, with what they need; an empty bundle if none does."""
        ids = []
        for slug in slugs:
            try:
                ids.append(int(self.get_dashboard(slug)["id"]))
            except SupersetNotFound:
                continue
        return self.export_dashboards(ids) if ids else Bundle()

    def import_objects(self, kind: str, bundle: Bundle) -> None:
        """Create or overwrite the objects of `kind`; what they refer to is created if absent, else untouched.

        :param kind: `databases`, `datasets`, `charts` or `dashboards`.
        :raises SupersetHttpError: refused; its text names the file and the field.
        """
        self.session.request(
            "POST",
            f"/api/v1/{KINDS[kind][0]}/import/",
            files={"formData": ("bundle.zip", write_zip(bundle, kind), "application/zip")},
            data={"overwrite": "true"},
        )

    def find_datasets(self, table: str, schema: str | None = None) -> list[int]:
        """Return the ids of the datasets of this name: one for each database (and schema, if None) that has it."""
        filters = [f"(col:table_name,opr:eq,value:{_rison(table)})"]
        if schema is not None:
            filters.append(f"(col:schema,opr:eq,value:{_rison(schema)})")
        query = f"(columns:!(id),filters:!({','.join(filters)}),page_size:100)"
        found = self.session.request("GET", "/api/v1/dataset/", params={"q": query}).json()["result"]
        return [int(one["id"]) for one in found]

    def invalidate(self, datasets: list[int]) -> None:
        """Ask Superset to forget the cached results of these datasets. It says 201 whether or not it could."""
        body = {"datasource_uids": [f"{number}__table" for number in datasets]}
        self.session.request("POST", "/api/v1/cachekey/invalidate", json=body)

    def database_error(self, database_name: str, sqlalchemy_uri: str) -> str | None:
        """Let Superset connect to a database; return its words if it cannot, None if it can.

        :param sqlalchemy_uri: with the password masked by ten X, the stored one is tried.
        """
        body = {"database_name": database_name, "sqlalchemy_uri": sqlalchemy_uri}
        try:
            self.session.request("POST", "/api/v1/database/test_connection/", json=body)
        except SupersetHttpError as error:
            if error.status in (400, 422, 500):
                return error.answer
            raise
        return None


def _rison(text: str) -> str:
    """A text as a value in `q`, whose form is Rison."""
    return "'" + text.replace("!", "!!").replace("'", "!'") + "'"
