"""Operators that keep Dremio's catalog as declared, and its tables up to date with their files."""

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseHook, BaseOperator

from lakehouse.dremio.exceptions import DremioError, DremioTimeout
from lakehouse.dremio.operators.sql import WAIT_IN_WORKER
from lakehouse.ops.records import record

if TYPE_CHECKING:
    from airflow.sdk import Context

    from lakehouse.dremio.declared.plan import Part
    from lakehouse.dremio.hook import DremioHook


class DremioApplyOperator(BaseOperator):
    """Make Dremio's catalog what a YAML file declares: sources, spaces, folders, views, users, and in
    Enterprise and Cloud roles.

    Removes nothing, but members and privileges of a role that is declared `exclusive`.

    Applying again changes nothing and says so. Differences found are logged, secrets left out.

    Example::

        DremioApplyOperator(task_id="apply_views", path="dremio.yaml", parts=["views"])

    Returns (XCom) `{"changed": ["create space gold", ...], "declared": int}`.

    :param path: YAML file; a relative one is looked for in include/pipelines (templated).
    :param parts: which of `sources`, `spaces`, `folders`, `views`, `users`, `roles`; default all.
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    """

    template_fields: Sequence[str] = ("path", "dremio_conn_id")
    ui_color = "#d8f3f0"

    def __init__(
        self,
        *,
        path: str = "dremio.yaml",
        parts: "Sequence[Part]" = ("sources", "spaces", "folders", "views", "users", "roles"),
        dremio_conn_id: str = "dremio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.parts = parts
        self.dremio_conn_id = dremio_conn_id

    def execute(self, context: "Context") -> dict[str, Any]:
        """Plan, then apply.

        :raises DeclarationError: the file is wrong; names file, line and key.
        :raises DremioError: names the object and what the server answered.
        """
        from lakehouse.dremio.declared.catalog import Catalog
        from lakehouse.dremio.declared.plan import apply, plan
        from lakehouse.dremio.hook import DremioHook
        from lakehouse.ops.declarations import load

        catalog = load(self.path, Catalog)
        hook = DremioHook(self.dremio_conn_id)
        changes = plan(hook, catalog, BaseHook.get_connection, self.parts)
        for change in changes:
            self.log.info("%s", change)
            apply(hook, change, BaseHook.get_connection)
        declared = sum(len(getattr(catalog, part)) for part in self.parts)
        self.log.info("%s declared, %s changed%s", declared, len(changes), "" if changes else ": as declared")
        return {"changed": [str(change) for change in changes], "declared": declared}


class DremioPromoteOperator(BaseOperator):
    """Make folders of Parquet files tables of Dremio, or bring tables up to date with their files.

    A folder that is no table yet is promoted; a table's metadata is refreshed, so that new files appear and
    removed ones vanish. A folder without any object is reported and left out. All refreshes run side by side;
    waits longer than a few seconds are deferred. Safe to repeat at any time. The tables' row counts become
    run records of stage `bronze`.

    Example::

        DremioPromoteOperator(
            task_id="refresh_postgres",
            tables=["datalake.bronze.postgres.orders", "datalake.bronze.postgres.customers"],
        )

    Returns (XCom) `{"promoted": [path], "refreshed": [path], "absent": [path], "rows": {path: int}}`.

    :param tables: dotted paths, source first (templated).
    :param timeout: seconds for all of it; then the refreshes under way are cancelled. (Airflow's own
        `execution_timeout` does not count while a task is deferred.)
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    """

    template_fields: Sequence[str] = ("tables", "dremio_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"tables": "json"}
    ui_color = "#d8f3f0"

    def __init__(
        self,
        *,
        tables: Sequence[str],
        timeout: float = 1200.0,
        dremio_conn_id: str = "dremio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tables = tables
        self.timeout = timeout
        self.dremio_conn_id = dremio_conn_id
        self._running: dict[str, str] = {}

    @cached_property
    def hook(self) -> "DremioHook":
        """Hook of this task."""
        from lakehouse.dremio.hook import DremioHook

        return DremioHook(self.dremio_conn_id)

    def execute(self, context: "Context") -> dict[str, Any]:
        """Promote or start a refresh for each table, then wait.

        :raises DremioJobFailed: a refresh failed; has Dremio's text.
        :raises DremioTimeout: not refreshed within `timeout`.
        :raises DremioError: a path is something else than a folder or table.
        """
        deadline = time.time() + self.timeout
        result: dict[str, Any] = {"promoted": [], "refreshed": [], "absent": []}
        for table in self.tables:
            kind = self._promote_or_submit(table)
            result[kind].append(table)
            self.log.info("%s: %s", table, "no objects yet, left out" if kind == "absent" else kind)
        return self._wait(context, result, deadline)

    def resume(self, context: "Context", event: dict[str, Any]) -> dict[str, Any]:
        """Go on after a deferral."""
        if not isinstance(event, dict) or not event.get("state"):
            raise DremioError(f"Task {self.task_id} was woken by an unknown event: {event!r}")
        self.log.info("Job %s: %s (%s)", event["job_id"], event["reason"], event["detail"])
        state = event["state"]
        self._running = dict(state["running"])
        return self._wait(context, state["result"], state["deadline"])

    def on_kill(self) -> None:
        """Cancel the refreshes under way."""
        for job_id in self._running.values():
            self.hook.cancel_job(job_id)

    def _promote_or_submit(self, table: str) -> str:
        from lakehouse.dremio.hook import quoted

        path = table.split(".")
        entity = self.hook.find_entity(path)
        if entity is None:
            return "absent"
        if entity.get("entityType") == "folder":
            if not entity.get("children", True):
                return "absent"
            self.hook.promote_folder(entity, path)
            return "promoted"
        if entity.get("type") != "PHYSICAL_DATASET":
            found = entity.get("type") or entity.get("entityType")
            raise DremioError(f"{table} is a {found} in Dremio, where a table or a folder of files is expected")
        sql = f"ALTER TABLE {quoted(path)} REFRESH METADATA"
        self._running[table] = self.hook.submit_sql(sql, idempotent=True)
        return "refreshed"

    def _wait(self, context: "Context", result: dict[str, Any], deadline: float) -> dict[str, Any]:
        patience = time.monotonic() + WAIT_IN_WORKER
        for table, job_id in list(self._running.items()):
            job = self.hook.poll_job(job_id, patience - time.monotonic())
            if not job.state.is_terminal:
                if time.time() >= deadline:
                    self.on_kill()
                    raise DremioTimeout(
                        f"The metadata of {', '.join(self._running)} was not refreshed within {self.timeout:g} s "
                        f"(job {job_id} is {job.state}); the refreshes under way were cancelled"
                    )
                self._defer(job_id, result, deadline)
            job.raise_for_state(f"ALTER TABLE {table} REFRESH METADATA")
            del self._running[table]
        result["rows"] = self._count(result["promoted"] + result["refreshed"])
        rows = [{"stage": "bronze", "dataset": table, "rows": n} for table, n in result["rows"].items()]
        record(context, "rows", rows)
        return result

    def _defer(self, job_id: str, result: dict[str, Any], deadline: float) -> NoReturn:
        from lakehouse.dremio.triggers import DremioJobTrigger

        self.defer(
            trigger=DremioJobTrigger(
                dremio_conn_id=self.dremio_conn_id,
                job_id=job_id,
                deadline=deadline,
                state={"running": self._running, "result": result, "deadline": deadline},
            ),
            method_name="resume",
        )

    def _count(self, tables: Sequence[str]) -> dict[str, int]:
        from lakehouse.dremio.hook import quoted

        if not tables:
            return {}
        counts = [
            f"SELECT {index} AS place, COUNT(*) AS found FROM {quoted(table.split('.'))}"
            for index, table in enumerate(tables)
        ]
        found = self.hook.query("\nUNION ALL\n".join(counts))
        return {tables[int(row["place"])]: int(row["found"]) for row in found}
