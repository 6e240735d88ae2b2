"""Operators that run dbt on Dremio: a model with its own tests, tests over several models, freshness of sources."""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from lakehouse.dbt import failures, runner
from lakehouse.dbt.statements import CANCEL_PATIENCE, Statements
from lakehouse.dremio.jobs import task_tags
from lakehouse.ops import database, records, releases
from lakehouse.ops.lease import Lease, holder_of

if TYPE_CHECKING:
    from cosmos import ProfileConfig

PROJECT = "lakehouse"


class DbtFailed(RuntimeError):
    """dbt failed: which model or test, what Dremio said or which rows, and where to look.

    :param what: one sentence for the report, without rows and SQL; empty: the message says it.
    :param remedy: what to do about it.
    """

    remedy = "Correct what the message names, then clear the group; readers of gold go on seeing the last release."

    def __init__(self, message: str, what: str = "", remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy or self.remedy
        super().__init__(message)


class DbtTestFailed(DbtFailed, AirflowFailException):
    """Tests failed and nothing else did: the data is wrong, so another try would say the same and is not made."""


class _DbtOperator(BaseOperator):
    """Runs one dbt command in the task's process, with the project parsed beforehand (0.1 s instead of 2 s).

    :param select: what runs, as dbt selects it. Templated.
    :param slot: "a" or "b", the slot of the marts that is built or read. Templated.
    :param exclude: what of it does not, as dbt selects it. Templated.
    :param dremio_conn_id: Airflow connection of type `dremio`. Templated.
    :param records_conn_id: Airflow connection of the run records' database.
    :param threads: statements at a time.
    """

    template_fields: Sequence[str] = ("select", "slot", "exclude", "dremio_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"exclude": "json"}
    ui_color = "#f7d8cc"
    verb = "build"

    def __init__(
        self,
        *,
        select: str,
        slot: str = "a",
        exclude: Sequence[str] = (),
        dremio_conn_id: str = "dremio_default",
        records_conn_id: str = database.DEFAULT_CONN_ID,
        threads: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.select = select
        self.slot = slot
        self.exclude = exclude
        self.dremio_conn_id = dremio_conn_id
        self.records_conn_id = records_conn_id
        self.threads = threads
        self._statements: Statements | None = None

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Run dbt; record rows and tests; fail with a text that says what to do."""
        started = datetime.now(UTC)
        with self._lease(context) as lease:
            self._refuse_write(context, lease)
            mark = hashlib.sha256(holder_of(context).name.encode()).hexdigest()[:16]
            if context["ti"].try_number > 1:
                self._cancel_earlier(mark)
            self._statements = Statements(
                before_each=lambda: self._refuse_write(context, lease), tags=task_tags(context) | {"task": mark}
            )
            try:
                result = runner.run(
                    runner.DbtCommand(
                        verb=self.verb,
                        slot=self.slot,
                        select=self.select,
                        exclude=self.exclude,
                        threads=self.threads,
                        count_rows=self.verb == "build",
                    ),
                    self._profile(),
                    self._statements,
                    self._log_event,
                )
            finally:
                self._statements.cancel("this dbt task has ended")  # leaves no job of ours behind a timeout
            if lease is not None:
                lease.check()  # what an orphan found is not recorded: its retry tells what happened
        self._record(context, result, started)
        self._raise_if_failed(result)
        return {node.name: node.rows for node in result.of_kind("model")}

    def on_kill(self) -> None:
        """Cancel the Dremio jobs that dbt is waiting for: dbt-dremio cannot."""
        if self._statements is not None:
            cancelled = self._statements.cancel("the task was killed")
            self.log.info("Cancelled %d job(s) on Dremio: %s", len(cancelled), ", ".join(cancelled) or "none ran")

    def _cancel_earlier(self, mark: str) -> None:
        """Cancel the jobs that an earlier try has left running because its worker died; they would write beside ours.

        They are found by the comment of their statements, where Dremio has a job list to ask (not Dremio Cloud).
        """
        from lakehouse.dremio.hook import DremioHook

        dremio = DremioHook(self.dremio_conn_id)
        for job_id, state in (dremio.find_jobs(mark) or {}).items():
            if not state.is_terminal:
                dremio.cancel_job(job_id)
                ended = dremio.poll_job(job_id, CANCEL_PATIENCE)
                self.log.info("Job %s of an earlier try was running and is %s", job_id, ended.state)

    def _refuse_write(self, context: Mapping[str, Any], lease: Lease | None) -> None:
        """Raise if this process may not send another statement. What only reads has nothing to refuse."""

    def _lease(self, context: Mapping[str, Any]) -> Any:
        return nullcontext(None)

    def _profile(self) -> "ProfileConfig":
        from cosmos import ProfileConfig  # 0.3 s, which a DAG file need not pay

        from lakehouse.dbt.profile import DremioProfileMapping

        return ProfileConfig(
            profile_name=PROJECT,
            target_name="dremio",
            profile_mapping=DremioProfileMapping(conn_id=self.dremio_conn_id),
        )

    def _log_event(self, level: str, text: str) -> None:
        {"warn": self.log.warning, "error": self.log.error}.get(level, self.log.info)(text)

    def _record(self, context: Mapping[str, Any], result: runner.DbtResult, started: datetime) -> None:
        tests = result.of_kind("test") + result.of_kind("source")
        failures = [describe(node) for node in tests if node.is_bad]
        counts = {
            "passed": sum(node.status == "pass" for node in tests),
            "failed": len(failures),
            "warned": sum(node.status == "warn" for node in tests),
            "failures": failures,
        }
        if tests:
            records.record(context, "tests", counts)
        rows = [
            {"stage": _stage(node), "dataset": node.name, "rows": node.rows}
            for node in result.of_kind("model")
            if node.rows is not None
        ]
        if rows:
            records.record(context, "rows", rows)
        self._keep_history(context, result, started, counts)

    def _keep_history(
        self, context: Mapping[str, Any], result: runner.DbtResult, started: datetime, counts: Mapping[str, Any]
    ) -> None:
        ti = context["ti"]
        about = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "try_number": ti.try_number}
        about |= {"select": self.select, "slot": self.slot, "error": result.error}
        about["nodes"] = [
            {"name": node.name, "status": node.status, "seconds": round(node.seconds, 3), "rows": node.rows}
            for node in result.nodes
        ]
        status = "error" if result.error and not result.nodes else "fail" if result.failed else "success"
        values = (
            str(uuid.uuid4()), PROJECT, started.replace(tzinfo=None), datetime.now(UTC).replace(tzinfo=None), status,
            len(result.of_kind("model")), counts["passed"] + counts["failed"] + counts["warned"],
            json.dumps(about, default=str),
        )  # fmt: skip
        try:
            connection = database.connect(database.dsn(self.records_conn_id))
            try:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "INSERT INTO dbt_run_history (run_id, project_name, started_at, completed_at, status,"
                        " models_run, tests_run, metadata) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                        values,
                    )
            finally:
                connection.close()
        except Exception as error:  # the Airflow connection may be missing too: a record is never worth a failed task
            self.log.warning("dbt's run history was not kept: %s", str(error).strip())

    def _raise_if_failed(self, result: runner.DbtResult) -> None:
        if result.failed:
            only_tests = all(node.blames_data for node in result.failed)
            message = "\n\n".join(map(describe, result.failed))
            told = failures.told(result.failed, self.dremio_conn_id)
            raise (DbtTestFailed if only_tests else DbtFailed)(message, *told)
        for node in result.of_kind("source"):
            if node.status == "warn":
                self.log.warning("Source %s may be stale: %s", node.name, node.message)
        command = f"dbt {self.verb} --select {self.select}"
        if result.error:
            told = failures.told_of_start(result.error, self.dremio_conn_id)
            raise DbtFailed(f"{command} did not run: {explain(result.error)}", *told)
        if not result.nodes:
            raise DbtFailed(f"{command} selects nothing: is the name spelt right?")


class DbtModelOperator(_DbtOperator):
    """Build one model and run the tests that belong to it alone.

    Idempotent: a view is replaced, a table dropped and made again, an incremental model merged on its key from its
    own watermark. A retry takes over from an orphan of the first try, which may send no statement after that. The
    result is the number of rows of the model, and is recorded for the run's report.

    Example::

        DbtModelOperator(
            task_id="fct_orders", select="fct_orders", exclude=["tag:quality"],
            slot="{{ ti.xcom_pull(task_ids='marts.claim_slot') }}", builds_slot=True,
        )

    :param select: the model, as dbt selects it. Templated.
    :param slot: "a" or "b", the slot of the marts that is built or read. Templated.
    :param exclude: tests that are not run here, as dbt selects them. Templated.
    :param builds_slot: the model is a mart: refused unless the run has claimed the slot and not released it.
    :param dremio_conn_id: Airflow connection of type `dremio`. Templated.
    :param records_conn_id: Airflow connection of the run records' database.
    :param threads: statements at a time; the model is one, its tests run side by side.
    :raises DbtTestFailed: naming the test, its rows, and where to look; Airflow does not retry it.
    :raises DbtFailed: naming the model or test, Dremio's message, and where to look.
    """

    def __init__(self, *, builds_slot: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.builds_slot = builds_slot

    def _refuse_write(self, context: Mapping[str, Any], lease: Lease | None) -> None:
        if lease is not None:
            lease.check()
        if self.builds_slot and not releases.may_build(self.records_conn_id, context["ti"].run_id, self.slot):
            raise DbtFailed(
                f"slot {self.slot} is not this run's to build: it is what readers see, or a newer run claimed it. "
                "Clear the whole group marts with everything after it, so that it claims a slot again."
            )

    def _lease(self, context: Mapping[str, Any]) -> Any:
        name = f"dbt/{self.select}" + (f"/{self.slot}" if self.builds_slot else "")
        return Lease(self.records_conn_id, name, holder=holder_of(context))


class DbtTestOperator(_DbtOperator):
    """Run tests that span several models; all of them, and then fail if one did.

    Example::

        DbtTestOperator(task_id="dbt_tests", select="tag:quality", slot="a")

    :param select: the tests, as dbt selects them. Templated.
    :param slot: "a" or "b", the slot of the marts that is tested. Templated.
    :raises DbtTestFailed: naming each test that failed, its rows, and where to look; Airflow does not retry it.
    :raises DbtFailed: a test could not be run.
    """

    verb = "test"


class DbtSourceFreshnessOperator(_DbtOperator):
    """Compare the newest rows of sources with the limits that their `freshness` declares.

    Past `warn_after` it warns, in the task's log and the run's report; past `error_after` it fails. A source that has
    never had a row is warned of: it cannot be late.

    Example::

        DbtSourceFreshnessOperator(task_id="source_freshness")

    :param select: the sources, as dbt selects them. Templated.
    :raises DbtTestFailed: naming each source that is stale, and since when; Airflow does not retry it.
    :raises DbtFailed: a source could not be read.
    """

    verb = "source freshness"

    def __init__(self, *, select: str = "source:*", **kwargs: Any) -> None:
        super().__init__(select=select, **kwargs)


def _stage(node: runner.NodeResult) -> str:
    folder = node.path.split("/")[1]
    return "mart" if folder == "marts" else folder


def describe(node: runner.NodeResult) -> str:
    """Say in a few lines what failed, on what, why, and where to look."""
    if node.kind == "test" and node.failures:
        lines = [f"Test {node.name} failed: {node.failures} row(s) should not be there."]
        lines += [f"  {json.dumps(dict(row), default=str)}" for row in node.samples]
        if node.failures > len(node.samples):
            lines.append(f"  ... and {node.failures - len(node.samples)} more")
        sql = " ".join(node.compiled.split())
        lines.append(f"Look at include/dbt/{node.path}. All rows: {sql}")
        return "\n".join(lines)
    if node.kind == "source" and node.blames_data:
        return f"Source {node.name} is stale: {node.message}.\nThe limits are in include/dbt/{node.path}."
    what = {"test": "Test", "source": "Source"}.get(node.kind, "Model")
    where = f" ({node.relation})" if node.relation and node.kind == "model" else ""
    return f"{what} {node.name}{where} failed: {explain(node.message)}\nLook at include/dbt/{node.path}."


def explain(message: str) -> str:
    """Add what to do where dbt's text says too little."""
    text = re.split(r"\n\s*SQL Query ", message)[0].strip()  # Dremio repeats the statement: the log has it
    if re.search(r"Connection refused|Failed to establish|Max retries|timed out", text):
        return f"{text}\nDremio does not answer: is it running, and is the Airflow connection's host and port right?"
    if "Unauthorized" in text or "401" in text:
        return f"{text}\nDremio refused the login: check user and password of the Airflow connection."
    return text
