"""Dremio from a worker: SQL over Arrow Flight SQL as a DbApiHook, and the REST API with a method per verb."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.sql.hooks.sql import DbApiHook

from lakehouse.dremio import calls
from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.exceptions import (
    DremioAuthError,
    DremioConflict,
    DremioError,
    DremioJobLost,
    DremioNotFound,
    DremioServerBusy,
    DremioTimeout,
    DremioUnreachable,
)
from lakehouse.dremio.jobs import Job, JobState
from lakehouse.dremio.quoting import quoted as quoted
from lakehouse.dremio.rest import RestSession

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.openlineage.extractors import OperatorLineage

T = TypeVar("T")

FIRST_POLL = 0.05  # seconds between two looks at a job; grows to LONGEST_POLL
LONGEST_POLL = 1.0
CONNECT_TIMEOUT_OPTION = "adbc.flight.sql.rpc.timeout_seconds.connect"  # which DatabaseOptions has no name for


class DremioHook(DbApiHook):
    """Talk to Dremio Software or Dremio Cloud through an Airflow connection of type `dremio`.

    SQL (`run`, `get_records`, `get_first`, `get_df` in pandas and polars) goes over Arrow Flight SQL by ADBC
    and suits results of any size. Jobs, catalog and reflections go over REST; `rest` is the session, which
    logs in, renews its token on 401 and repeats what may be repeated.

    Dremio has no transactions: every statement is committed by itself, and parameters are not bound by
    servers before 26, so inline literals.

    Example::

        hook = DremioHook("dremio_default")
        hook.get_first("SELECT COUNT(*) FROM gold.orders")
        job = hook.run_job("ALTER TABLE datalake.bronze.postgres.orders REFRESH METADATA")

    :param dremio_conn_id: Airflow connection of type `dremio`.
    """

    conn_name_attr = "dremio_conn_id"
    default_conn_name = "dremio_default"
    conn_type = "dremio"
    hook_name = "Dremio"
    strip_semicolon = True
    supports_autocommit = True
    _test_connection_sql = "SELECT 1"

    @cached_property
    def settings(self) -> DremioSettings:
        """The checked Airflow connection.

        :raises DremioConfigError: naming the field to change.
        """
        return DremioSettings.from_connection(self.connection)

    @cached_property
    def rest(self) -> RestSession:
        """REST session of this hook."""
        return RestSession(self.settings)

    # --- SQL over Flight -------------------------------------------------------------------------

    def get_conn(self) -> Any:
        """Open an ADBC Flight SQL connection (DB-API 2.0, autocommit).

        :raises DremioAuthError: login refused.
        :raises DremioUnreachable: nothing answers on the Flight port.
        """
        from adbc_driver_flightsql import dbapi

        settings = self.settings
        try:
            return dbapi.connect(settings.flight_uri, db_kwargs=self._flight_options(), autocommit=True)
        except dbapi.Error as error:
            reason = str(error).split(". Vendor code")[0]
            if "unauthenticated" in reason.lower():
                raise DremioAuthError(settings.flight_uri, settings.user, reason) from None
            raise DremioUnreachable(settings.flight_uri, settings.user, reason) from error

    def _flight_options(self) -> dict[str, str]:
        from adbc_driver_flightsql import DatabaseOptions

        settings = self.settings
        options = {DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}
        # The driver waits outside of Python, where a task's time limit cannot interrupt it: these are all it has.
        options[CONNECT_TIMEOUT_OPTION] = str(settings.timeout)
        for limited in (DatabaseOptions.TIMEOUT_QUERY, DatabaseOptions.TIMEOUT_FETCH, DatabaseOptions.TIMEOUT_UPDATE):
            options[limited.value] = str(settings.flight_timeout)
        if settings.uses_token:
            options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {settings.secret}"
        else:
            options |= {"username": settings.user or "", "password": settings.secret}
        if isinstance(settings.verify, str):
            with open(settings.verify, encoding="utf-8") as pem:
                options[DatabaseOptions.TLS_ROOT_CERTS.value] = pem.read()
        elif not settings.verify:
            options[DatabaseOptions.TLS_SKIP_VERIFY.value] = "true"
        prefix = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
        return options | {prefix + name: value for name, value in settings.flight_headers.items()}

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        """Do nothing: a Dremio statement is always committed by itself."""

    def get_autocommit(self, conn: Any) -> bool:
        """Return True: a Dremio statement is always committed by itself."""
        return True

    def run(
        self,
        sql: str | Iterable[str],
        autocommit: bool = False,
        parameters: Iterable[Any] | Mapping[str, Any] | None = None,
        handler: Callable[[Any], T] | None = None,
        split_statements: bool = False,
        return_last: bool = True,
    ) -> Any:
        """Run statements over Flight; see `DbApiHook.run`.

        Without a handler the results are read and dropped all the same: over Flight a statement runs while
        its result is fetched, so a cursor that is closed early would cancel it.
        """
        result = super().run(sql, autocommit, parameters, handler or _drain, split_statements, return_last)
        return result if handler else None

    def _get_pandas_df_by_chunks(self, sql: Any, parameters: Any = None, *, chunksize: int, **kwargs: Any) -> Any:
        """See `get_df_by_chunks`; pandas itself has no chunks over ADBC. `kwargs` are those of `Table.to_pandas`."""
        import pandas  # noqa: F401  # else it is said only after the statement has run

        return (table.to_pandas(**kwargs) for table in self._chunks(sql, parameters, chunksize))

    def _get_polars_df_by_chunks(self, sql: Any, parameters: Any = None, *, chunksize: int, **kwargs: Any) -> Any:
        """See `get_df_by_chunks`; the common hook gives a frame's columns. `kwargs` are those of `from_arrow`."""
        import polars

        return (polars.from_arrow(table, **kwargs) for table in self._chunks(sql, parameters, chunksize))

    def _chunks(self, sql: str, parameters: Any, chunksize: int) -> "Generator[pa.Table, None, None]":
        """A result in tables of `chunksize` rows, the last one shorter; one without rows if there are none."""
        import pyarrow as pa

        with closing(self.get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(sql, parameters)
            reader = cursor.fetch_record_batch()
            kept, whole = reader.schema.empty_table(), False
            for batch in reader:
                kept = pa.concat_tables([kept, pa.Table.from_batches([batch])])
                while len(kept) >= chunksize:
                    yield kept.slice(0, chunksize)
                    kept, whole = kept.slice(chunksize), True
            if len(kept) or not whole:
                yield kept

    def get_openlineage_database_specific_lineage(self, task_instance: Any) -> "OperatorLineage | None":
        """Datasets of a task of the common SQL operators, by paths of any depth: their own parser knows three parts."""
        from lakehouse.dremio.lineage import lineage

        sql = task_instance.task.sql
        return lineage(self.settings, self.split_sql_string(sql, strip_semicolon=True) if isinstance(sql, str) else sql)

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]
        """Log in by REST, then run a statement over Flight; the message names what failed."""
        try:
            # somebody waits for the answer at a form
            self.settings = replace(self.settings, flight_timeout=self.settings.timeout)
            self.rest.send(calls.get_catalog())
            self.get_first(self._test_connection_sql)
        except Exception as error:
            return False, str(error)
        return True, f"REST at {self.settings.rest_url} and Flight at {self.settings.flight_uri} answer"

    # --- jobs ------------------------------------------------------------------------------------

    def submit_sql(self, sql: str, context: Sequence[str] | None = None, *, idempotent: bool = False) -> str:
        """Submit a statement and return its job id at once. Bad SQL too gets an id: its job fails.

        :param context: path of the default schema.
        :param idempotent: the statement may be sent again when no answer came back.
        :raises DremioOutcomeUnknown: sent, no answer, and not declared idempotent.
        """
        return str(self.rest.send(calls.submit_sql(sql, context, idempotent=idempotent))["id"])

    def get_job(self, job_id: str) -> Job:
        """Look at a job.

        :raises DremioJobLost: the server does not know it.
        """
        try:
            return Job.parse(job_id, self.rest.send(calls.get_job(job_id)))
        except DremioNotFound as error:
            raise DremioJobLost(job_id, f"is not known to {self.settings.rest_url}") from error

    def get_results(self, job_id: str, offset: int = 0, limit: int = calls.RESULT_PAGE) -> dict[str, Any]:
        """One page (at most 500 rows) of a completed job: `{rowCount, schema, rows}`."""
        return dict(self.rest.send(calls.get_results(job_id, offset, limit)))

    def cancel_job(self, job_id: str) -> None:
        """Ask for the job's cancellation; a job that has ended or is unknown is left as it is."""
        try:
            self.rest.send(calls.cancel_job(job_id))
        except DremioError as error:
            self.log.warning("Job %s was not cancelled: %s", job_id, error)

    def find_jobs(self, text: str) -> dict[str, JobState] | None:
        """State by id of the jobs with `text` in their statement, newest first; None where there is no list to ask.

        :param text: letters and digits, as of a comment.
        :raises DremioUnreachable, DremioServerBusy: no answer.
        """
        if self.settings.project_id:
            return None  # Dremio Cloud
        try:
            found = self.rest.send(calls.find_jobs(text))
            return {str(job["id"]): JobState(job["state"]) for job in found["jobs"]}
        except (DremioUnreachable, DremioServerBusy):
            raise
        except (DremioError, KeyError, TypeError, ValueError) as error:
            self.log.warning("Dremio's job list cannot be asked: %s", error)
            return None

    def poll_job(self, job_id: str, seconds: float) -> Job:
        """Watch a job until it ends, for at most `seconds`; return it as last seen."""
        deadline = time.monotonic() + seconds
        delay = FIRST_POLL
        while True:
            job = self.get_job(job_id)
            left = deadline - time.monotonic()
            if job.state.is_terminal or left <= 0:
                return job
            time.sleep(min(delay, left))
            delay = min(delay * 1.5, LONGEST_POLL)

    def run_job(self, sql: str, *, timeout: float = 120.0, idempotent: bool = False) -> Job:
        """Submit a short statement (DDL, a check) by REST and wait for it here; returns the completed job.

        :param timeout: seconds; then the job is cancelled.
        :raises DremioJobFailed, DremioJobCanceled: with Dremio's text.
        :raises DremioTimeout: not done in time.
        """
        job = self.poll_job(self.submit_sql(sql, idempotent=idempotent), timeout)
        job.raise_for_state(sql)
        if not job.state.is_terminal:
            self.cancel_job(job.job_id)
            raise DremioTimeout(
                f"Dremio job {job.job_id} was still {job.state} after {timeout:g} s and was cancelled", sql[:300]
            )
        return job

    def query(self, sql: str, *, timeout: float = 120.0) -> list[dict[str, Any]]:
        """Rows of a short query by REST, as dicts; for checks, not for data (use `get_df`)."""
        job = self.run_job(sql, timeout=timeout, idempotent=True)
        return list(self.iter_rows(job.job_id))

    def iter_rows(self, job_id: str) -> Iterator[dict[str, Any]]:
        """All rows of a completed job, page by page."""
        offset = 0
        while True:
            page = self.get_results(job_id, offset)
            rows = page.get("rows") or []
            yield from rows
            offset += len(rows)
            if not rows or offset >= int(page.get("rowCount") or 0):
                return

    # --- catalog ---------------------------------------------------------------------------------

    def list_catalog(self) -> list[dict[str, Any]]:
        """Top-level containers: sources, spaces, homes."""
        return list(self.rest.send(calls.get_catalog())["data"])

    def get_entity(self, entity_id: str) -> dict[str, Any]:
        """A catalog entity by id.

        :raises DremioNotFound: there is none.
        """
        return dict(self.rest.send(calls.get_entity(entity_id)))

    def find_entity(self, path: Sequence[str]) -> dict[str, Any] | None:
        """A catalog entity by path, or None."""
        try:
            return dict(self.rest.send(calls.get_entity_by_path(path)))
        except DremioNotFound:
            return None

    def create_entity(self, entity: Mapping[str, Any]) -> dict[str, Any]:
        """Create a source, space, folder or view.

        :raises DremioConflict: it exists.
        """
        return dict(self.rest.send(calls.create_entity(entity)))

    def update_entity(self, entity_id: str, entity: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an entity; `entity` carries the tag it was read with.

        :raises DremioConflict: somebody changed it since.
        """
        return dict(self.rest.send(calls.update_entity(entity_id, entity)))

    def delete_entity(self, entity_id: str, tag: str | None = None) -> None:
        """Delete an entity; a promoted table is un-promoted, its files stay."""
        self.rest.send(calls.delete_entity(entity_id, tag))

    def promote(self, entity_id: str, dataset: Mapping[str, Any]) -> dict[str, Any]:
        """Make a table of a folder or file; `dataset` has path, type PHYSICAL_DATASET and format."""
        return dict(self.rest.send(calls.promote(entity_id, dataset)))

    def promote_folder(self, entity: Mapping[str, Any], path: Sequence[str]) -> None:
        """Make a folder of Parquet files a table; one that was made meanwhile is no error.

        :param entity: the folder, as `find_entity` gives it.
        """
        dataset = {
            "entityType": "dataset",
            "type": "PHYSICAL_DATASET",
            "path": list(path),
            "format": {"type": "Parquet"},
        }
        try:
            self.promote(str(entity["id"]), dataset)
        except DremioConflict:
            self.log.info("%s was promoted meanwhile", ".".join(path))

    def refresh_metadata(self, path: Sequence[str], *, timeout: float = 120.0) -> Job:
        """Make new and vanished files of a promoted table visible at once. Safe to repeat."""
        sql = f"ALTER TABLE {quoted(path)} REFRESH METADATA AUTO PROMOTION FORCE UPDATE DELETE WHEN MISSING"
        return self.run_job(sql, timeout=timeout, idempotent=True)

    def get_wiki(self, entity_id: str) -> dict[str, Any]:
        """`{text, version}`; an empty text where there is no wiki."""
        try:
            return dict(self.rest.send(calls.get_wiki(entity_id)))
        except DremioNotFound:
            return {"text": "", "version": None}

    def set_wiki(self, entity_id: str, text: str, version: int | None = None) -> None:
        """Write the wiki; `version` as read, None for the first."""
        self.rest.send(calls.set_wiki(entity_id, text, version))

    def get_tags(self, entity_id: str) -> dict[str, Any]:
        """`{tags, version}` of a table or view."""
        try:
            return dict(self.rest.send(calls.get_tags(entity_id)))
        except DremioNotFound:
            return {"tags": [], "version": None}

    def set_tags(self, entity_id: str, tags: Sequence[str], version: str | None = None) -> None:
        """Replace the tags of a table or view; `version` as read, None for the first."""
        self.rest.send(calls.set_tags(entity_id, tags, version))

    # --- reflections -----------------------------------------------------------------------------

    def list_reflections(self, dataset_id: str) -> list[dict[str, Any]]:
        """Reflections of a table or view."""
        return list(self.rest.send(calls.list_reflections(dataset_id)).get("data") or [])

    def get_reflection(self, reflection_id: str) -> dict[str, Any]:
        """One reflection with its status."""
        return dict(self.rest.send(calls.get_reflection(reflection_id)))

    def create_reflection(self, reflection: Mapping[str, Any]) -> dict[str, Any]:
        """Create a reflection; Dremio starts to build it when `enabled` is true."""
        return dict(self.rest.send(calls.create_reflection(reflection)))

    def update_reflection(self, reflection_id: str, reflection: Mapping[str, Any]) -> dict[str, Any]:
        """Replace a reflection; `reflection` carries the tag it was read with."""
        return dict(self.rest.send(calls.update_reflection(reflection_id, reflection)))

    def delete_reflection(self, reflection_id: str) -> None:
        """Drop a reflection and its data."""
        self.rest.send(calls.delete_reflection(reflection_id))

    def refresh_reflections(self, dataset_id: str) -> None:
        """Start a refresh of every reflection that depends on this table (or view); returns at once."""
        self.rest.send(calls.refresh_reflections(dataset_id))


def _drain(cursor: Any) -> None:
    """Read a result to its end and drop it."""
    if cursor.description is not None:
        while cursor.fetchmany(10_000):
            pass
