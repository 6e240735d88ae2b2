"""Run SQL on Dremio without holding a worker, and without ever running a statement twice by accident."""

import hashlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator

from lakehouse.dremio.exceptions import (
    DremioError,
    DremioJobError,
    DremioJobLost,
    DremioNotRepeated,
    DremioOutcomeUnknown,
    DremioTimeout,
    DremioTooManyRows,
)
from lakehouse.dremio.jobs import Job, JobState, task_tags, with_comment
from lakehouse.dremio.links import DremioJobLink

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from lakehouse.dremio.hook import DremioHook

WAIT_IN_WORKER = 5.0  # seconds before deferring; very short deferrals go wrong in Airflow now and then
LOOKED_UP = 10.0  # seconds in which Dremio's job list is to name a statement whose submission got no answer
STATE_KEY = "dremio_sql"  # in the task's state store; renaming it breaks retries that are under way


@dataclass
class _Progress:
    """How far a task is through its statements; survives retries and deferrals as a plain dict."""

    fingerprint: str
    index: int = 0
    submission: str | None = None  # in the comment of the statement that was sent last, kept before it was sent
    job_id: str | None = None
    deadline: float | None = None  # epoch seconds, for the statement that runs
    done: list[dict[str, Any]] = field(default_factory=list)
    carried: dict[str, Any] = field(default_factory=dict)  # what an operator built on this one has to remember


class DremioSqlOperator(BaseOperator):
    """Run one or several SQL statements on Dremio, one job each, in order.

    The task submits a statement, watches its job for 5 seconds and then defers, so no worker slot is held.
    It is durable: the job's id is kept across retries, so a task whose worker died adopts the job that it
    had started. One that it does not know, because the worker died before Dremio's answer or the answer was
    lost, is looked up in Dremio's job list by the statement's comment; where there is no such list (Dremio
    Cloud) the task fails as 'outcome unknown', unless it is `idempotent`. After a statement that failed, a
    retry starts again with the first statement. Killing the task cancels the job. Each statement carries a
    comment naming DAG, task, run and try. OpenLineage is told the tables, the statements and the job
    (`lakehouse.dremio.lineage`).

    Example::

        DremioSqlOperator(
            task_id="compact_orders",
            sql="sql/compact_orders.sql",  # may hold several statements, separated by semicolons
            dremio_conn_id="dremio_default",
            timeout=1800,
            retries=2,
        )

    Returns (XCom) `{"row_count": int | None, "statements": [{"job_id", "row_count", "accelerated_by"}]}`;
    `row_count` is the last statement's, `accelerated_by` the ids of the reflections that answered it; with
    `return_rows` also `"rows"`, the last statement's, as dicts.

    :param sql: a statement, several separated by semicolons, the path of a `.sql` template, or a list of
        these (templated).
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    :param idempotent: the statements may be sent again when a submission got no answer or a job was lost;
        otherwise the task fails as 'outcome unknown', without a retry, if the job is not found. Default False.
    :param timeout: seconds allowed to each statement, then its job is cancelled. Default: the task's
        `execution_timeout`, which Airflow itself does not apply while a task is deferred; without one, no limit.
    :param deferrable: wait in the triggerer. Default True.
    :param return_rows: return the last statement's rows, if there are at most so many; more fail the task, without a
        retry. Default 0: none. For results of any size there is DremioToMinioOperator.
    """

    template_fields: Sequence[str] = ("sql", "dremio_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    operator_extra_links = (DremioJobLink(),)
    ui_color = "#d8f3f0"

    def __init__(
        self,
        *,
        sql: str | Sequence[str],
        dremio_conn_id: str = "dremio_default",
        idempotent: bool = False,
        timeout: float | None = None,
        deferrable: bool = True,
        return_rows: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.return_rows = return_rows
        self.dremio_conn_id = dremio_conn_id
        self.idempotent = idempotent
        if timeout is None and self.execution_timeout is not None:
            timeout = self.execution_timeout.total_seconds()
        self.timeout = timeout
        self.deferrable = deferrable
        self._running_job: str | None = None
        self._last_job: str | None = None

    @cached_property
    def hook(self) -> "DremioHook":
        """Hook of this task."""
        from lakehouse.dremio.hook import DremioHook

        return DremioHook(self.dremio_conn_id)

    def execute(self, context: "Context") -> dict[str, Any]:
        """Run the statements, or go on where an earlier try was interrupted.

        :raises DremioJobFailed, DremioJobCanceled: a job did not complete; has Dremio's text.
        :raises DremioTimeout: a statement exceeded `timeout`.
        :raises DremioNotRepeated: the outcome of a submission is unknown; not retried.
        :raises DremioTooManyRows: there are more rows than may be returned; not retried.
        """
        statements = split_statements(self.sql)
        if not statements:
            raise ValueError(f"Task {self.task_id}: `sql` holds no statement")
        return self._run(context, statements, self._stored_progress(context, statements))

    def resume(self, context: "Context", event: dict[str, Any]) -> dict[str, Any]:
        """Go on after a deferral; the job itself says how it ended, the event only why the wait ended."""
        return self._run(context, split_statements(self.sql), self._woken(event))

    def on_kill(self) -> None:
        """Cancel the running job."""
        if self._running_job:
            self.hook.cancel_job(self._running_job)

    def get_openlineage_facets_on_start(self) -> "OperatorLineage | None":
        """The tables and the text of the statements."""
        return self._lineage()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> "OperatorLineage | None":
        """The same, and the last statement's job; after a failure too."""
        return self._lineage()

    def _lineage(self) -> "OperatorLineage | None":
        from lakehouse.dremio.lineage import lineage

        return lineage(self.hook.settings, split_statements(self.sql), self._last_job)

    def _woken(self, event: Any) -> _Progress:
        if not isinstance(event, dict) or not event.get("state"):
            raise DremioError(f"Task {self.task_id} was woken by an unknown event: {event!r}")
        progress = _Progress(**event["state"])
        self.log.info("Job %s: %s (%s)", progress.job_id, event.get("reason"), event.get("detail"))
        return progress

    def _run(self, context: "Context", statements: list[str], progress: _Progress) -> dict[str, Any]:
        try:
            while progress.index < len(statements):
                self._run_statement(context, statements[progress.index], progress)
        except (DremioJobError, DremioTimeout):
            self._store(context, None)  # this job has ended; any other error leaves it for the retry to adopt
            raise
        except DremioOutcomeUnknown as error:
            self._store(context, None)
            raise DremioNotRepeated(error.url, error.reason, error.sql) from error
        self._store(context, None)
        result = {"row_count": progress.done[-1]["row_count"], "statements": progress.done}
        return result | {"rows": self._rows(progress.done[-1]["job_id"])} if self.return_rows else result

    def _rows(self, job_id: str) -> list[dict[str, Any]]:
        """The last statement's rows, if they are few enough for an XCom."""
        rows = list(islice(self.hook.iter_rows(job_id), self.return_rows + 1))
        if len(rows) <= self.return_rows:
            return rows
        raise DremioTooManyRows(job_id, self.return_rows)

    def _run_statement(self, context: "Context", sql: str, progress: _Progress) -> None:
        if progress.job_id is None:
            progress.job_id = self._submit(context, sql, progress)
            progress.deadline = time.time() + self.timeout if self.timeout else None
            self._store(context, progress)
        self._running_job = self._last_job = progress.job_id
        context["ti"].xcom_push(key=DremioJobLink().xcom_key, value=self.hook.settings.job_link(progress.job_id))
        try:
            job = self._wait(progress.job_id, progress)
        except DremioJobLost:
            if not self.idempotent:
                raise
            self.log.warning("Job %s is lost; its statement is sent again", progress.job_id)
            progress.job_id = None
            return
        job.raise_for_state(sql)
        self.log.info("Job %s completed, %s rows", job.job_id, job.row_count)
        progress.done.append({"job_id": job.job_id, "row_count": job.row_count, "accelerated_by": list(job.chosen)})
        progress.index, progress.job_id, self._running_job = progress.index + 1, None, None

    def _submit(self, context: "Context", sql: str, progress: _Progress) -> str:
        """Send the statement; one whose answer is lost is looked up by its comment."""
        progress.submission = uuid.uuid4().hex
        self._store(context, progress)
        tagged = with_comment(sql, task_tags(context) | {"submission": progress.submission})
        try:
            return self.hook.submit_sql(tagged, idempotent=self.idempotent)
        except DremioOutcomeUnknown as error:
            until = time.monotonic() + LOOKED_UP
            while (found := self._look_up(progress.submission)) is not None:
                if found:
                    job_id = next(iter(found))
                    self.log.info("The submission got no answer (%s); its job was found: %s", error.reason, job_id)
                    return job_id
                if time.monotonic() >= until:
                    break
                time.sleep(0.5)
            raise

    def _look_up(self, submission: str) -> dict[str, JobState] | None:
        try:
            return self.hook.find_jobs(submission)
        except DremioError as error:
            self.log.warning("The statement could not be looked up: %s", error)
            return None

    def _wait(self, job_id: str, progress: _Progress) -> Job:
        """Return the ended job; defers when it takes longer than a few seconds."""
        left = progress.deadline - time.time() if progress.deadline else float("inf")
        job = self.hook.poll_job(job_id, min(left, WAIT_IN_WORKER) if self.deferrable else left)
        if job.state.is_terminal:
            return job
        if progress.deadline and time.time() >= progress.deadline:
            self.hook.cancel_job(job_id)
            raise DremioTimeout(f"Dremio job {job_id} was still {job.state} after {self.timeout:g} s and was cancelled")
        self._defer(progress)

    def _defer(self, progress: _Progress) -> NoReturn:
        from lakehouse.dremio.triggers import DremioJobTrigger

        self.defer(
            trigger=DremioJobTrigger(
                dremio_conn_id=self.dremio_conn_id,
                job_id=str(progress.job_id),
                deadline=progress.deadline,
                state=asdict(progress),
            ),
            method_name="resume",
        )

    def _stored_progress(self, context: "Context", statements: list[str], *, restartable: bool = False) -> _Progress:
        """Progress of an interrupted try, if its job runs or completed; else a fresh start.

        :param restartable: the statements may be begun again whatever was sent of them.
        """
        fresh = _Progress(hashlib.sha256("\0".join(statements).encode()).hexdigest())
        store = context.get("task_state_store")
        saved: Any = store.get(STATE_KEY) if store is not None else None
        if not isinstance(saved, dict) or saved.get("fingerprint") != fresh.fingerprint:
            return fresh
        progress = _Progress(**saved)
        if progress.job_id is None:  # that try died before it knew the job
            found = self.hook.find_jobs(str(progress.submission))
            if found is None and restartable:
                return fresh
            if found is None and not self.idempotent:
                self._store(context, None)
                why = "an earlier try ended before it came"
                raise DremioNotRepeated(self.hook.settings.rest_url, why, statements[progress.index])
            if not found:  # it was not sent, or may be repeated
                return progress
            progress.job_id = next(iter(found))
            progress.deadline = time.time() + self.timeout if self.timeout else None
        try:
            job = self.hook.get_job(str(progress.job_id))
        except DremioJobLost:
            if self.idempotent:
                return fresh
            self._store(context, None)
            raise
        if job.state.is_terminal and job.state != "COMPLETED":
            self.log.info("An earlier try's job %s is %s; starting again", job.job_id, job.state)
            return fresh
        self.log.info("Adopting job %s of an earlier try, now %s", job.job_id, job.state)
        return progress

    def _store(self, context: "Context", progress: _Progress | None) -> None:
        store = context.get("task_state_store")
        if store is None:
            return
        if progress is None:
            store.delete(STATE_KEY)
        else:
            store.set(STATE_KEY, asdict(progress))


def split_statements(sql: str | Sequence[str]) -> list[str]:
    """Statements of a text, without semicolons; pieces that hold only comments are dropped."""
    import sqlparse

    texts = [sql] if isinstance(sql, str) else list(sql)
    found = [part for text in texts for part in sqlparse.split(text, strip_semicolon=True)]
    return [part for part in found if sqlparse.format(part, strip_comments=True).strip()]
