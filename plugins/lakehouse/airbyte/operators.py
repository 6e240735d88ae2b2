"""Operators: a sync that is never lost, and connections as declared."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink

from lakehouse.airbyte.apply import apply
from lakehouse.airbyte.declared import load_declarations
from lakehouse.airbyte.exceptions import (
    AirbyteError,
    AirbyteHttpError,
    NothingRead,
    SyncFailed,
    SyncMisconfigured,
    SyncTimeout,
)
from lakehouse.airbyte.jobs import Job, JobStatus, interval, moment
from lakehouse.airbyte.trigger import AirbyteJobTrigger
from lakehouse.ops.records import record

if TYPE_CHECKING:
    from lakehouse.airbyte.hook import AirbyteHook

_JOB_KEY = "airbyte_job"
_CLEARED_KEY = "airbyte_cleared"  # this task has had the connection cleared, and not synced since
_LINK_KEY = "airbyte_connection_page"


class AirbyteConnectionLink(BaseOperatorLink):
    """Button of the task: the connection's timeline in Airbyte."""

    name = "Airbyte connection"

    @property
    def xcom_key(self) -> str:
        """Where the operator leaves the address."""
        return _LINK_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; Airflow reads it from the XCom itself."""
        return ""


class AirbyteSyncOperator(BaseOperator):
    """Syncs one Airbyte connection and waits for it, without holding a worker.

    A sync that runs already is taken over, unless it began before `fresh_since`. A try that comes after one whose
    worker or triggerer died finds the job of that try and waits for it; a task that is cleared starts a new sync.
    Killed, the task cancels the job that it started (not one that it found running).

    Returns `{"job_id", "connection_id", "rows", "bytes", "seconds", "streams": {stream: rows},
    "columns": {stream: {column: type}}}`; the last two need `config_api_url` in the Airflow connection's extra
    and are empty without. Records the rows of stage source.

    :param connection: name or id of the Airbyte connection (templated).
    :param workspace: name of the workspace in which the name is looked for (templated); None: all.
    :param airbyte_conn_id: Airflow connection of type `airbyte` (templated).
    :param timeout: how long a sync may take, counted from its start; then the task fails, and cancels the job if it
        had started it. (Airflow's own `execution_timeout` does not count while a task is deferred.)
    :param fresh_since: ISO date or time (templated), UTC unless it says otherwise. A running sync that began before
        it is waited for, and another one started after it: what came to the source until then is to be read.
    :param clear_first: have Airbyte clear the connection before (what it delivered, and its state), so that the sync
        reads everything anew; a bool, or a template that renders one, such as `{{ params.full }}`. Tries after the one
        that cleared do not clear again. What was published to bronze stays there.
    :param require_rows: fail if the sync read nothing.
    :param deferrable: wait in the triggerer; otherwise in the worker.
    :param worker_seconds: seconds to wait in the worker before deferring: deferring costs about a second.
    :raises SyncFailed: with Airbyte's reason; SyncMisconfigured, which is not retried, where only a repair helps.
    :raises SyncTimeout: `timeout` is over; not retried.
    :raises NothingRead: no rows, and `require_rows` is set.
    :raises UnknownName: there is no connection of that name.
    :raises AirbyteUnreachable: no answer. AirbyteAuthError: the credentials were refused.

    Example::

        AirbyteSyncOperator(task_id="postgres", connection="postgres", retries=2)
    """

    template_fields: Sequence[str] = ("connection", "workspace", "airbyte_conn_id", "fresh_since", "clear_first")
    operator_extra_links = (AirbyteConnectionLink(),)
    ui_color = "#e4e2ff"

    def __init__(
        self,
        *,
        connection: str,
        workspace: str | None = None,
        airbyte_conn_id: str = "airbyte_default",
        timeout: timedelta = timedelta(hours=2),
        fresh_since: str | None = None,
        clear_first: bool | str = False,
        require_rows: bool = False,
        deferrable: bool = True,
        worker_seconds: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connection = connection
        self.workspace = workspace
        self.airbyte_conn_id = airbyte_conn_id
        self.timeout = timeout
        self.fresh_since = fresh_since
        self.clear_first = clear_first
        self.require_rows = require_rows
        self.deferrable = deferrable
        self.worker_seconds = worker_seconds
        self._starting: str | None = None  # connection whose sync was asked for, until its job is known
        self._owned_job: int | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Start or find the sync; wait a little; defer."""
        return self._sync(context)

    def _sync(self, context: Any) -> dict[str, Any]:
        from lakehouse.airbyte.hook import AirbyteHook

        with AirbyteHook(self.airbyte_conn_id) as airbyte:
            connection_id = airbyte.connection_id(self.connection, self.workspace)
            self._leave_link(context, airbyte, connection_id)
            job, owned, started_at = self._job_of_earlier_try(context, airbyte) or self._start(
                context, airbyte, connection_id
            )
            self._owned_job = job.job_id if owned else None
            end_at = started_at + self.timeout.total_seconds()
            until = min(end_at, time.time() + self.worker_seconds) if self.deferrable else end_at
            job = self._poll(airbyte, job, started_at, until)
            if not job.status.is_terminal and self.deferrable and time.time() < end_at:
                self.log.info("job %d is %s; waiting for it in the triggerer", job.job_id, job.status)
                self._defer(job.job_id, started_at, end_at, owned)
            return self._finish(context, airbyte, job)

    def _start(self, context: Any, airbyte: "AirbyteHook", connection_id: str) -> tuple[Job, bool, float]:
        self._starting = connection_id
        clear = self._is_to_clear(context)
        job, attached = airbyte.start_clear(connection_id) if clear else airbyte.start_sync(connection_id)
        started_at = time.time()
        old = attached and (clear or (self.fresh_since is not None and job.began_at < moment(self.fresh_since)))
        state = {"job_id": job.job_id, "owned": not attached, "started_at": started_at, "old": old}
        state["clears"] = clear and not attached
        context["task_state_store"].set(_JOB_KEY, state)
        self._starting = None
        if old:
            self.log.info(
                "job %d of %s began before %s: waiting for its end, to start another",
                job.job_id, self.connection, "it could be cleared" if clear else self.fresh_since,
            )  # fmt: skip
        elif clear:
            self.log.info("started job %d, which clears %s", job.job_id, self.connection)
        elif attached:
            self.log.info("%s is being synced already: waiting for its job %d", self.connection, job.job_id)
        else:
            self.log.info("started job %d of %s", job.job_id, self.connection)
        return job, not attached, started_at

    def _is_to_clear(self, context: Any) -> bool:
        """
        :raises ValueError: the template renders no bool.
        """
        wanted = str(self.clear_first).strip().lower()
        if wanted not in ("true", "false"):
            raise ValueError(f"clear_first is {self.clear_first!r}: expected true or false, or a template of one.")
        return wanted == "true" and not context["task_state_store"].get(_CLEARED_KEY)

    def _job_of_earlier_try(self, context: Any, airbyte: "AirbyteHook") -> tuple[Job, bool, float] | None:
        """The job that a try that died had started, unless it has failed since."""
        state = context["task_state_store"].get(_JOB_KEY)
        if not state:
            return None
        try:
            job = airbyte.job(int(state["job_id"]))
        except AirbyteHttpError as error:
            if error.status != 404:
                raise
            return None
        if job.status.is_terminal and job.status is not JobStatus.SUCCEEDED:
            return None
        self.log.info("found job %d of an earlier try: %s", job.job_id, job.status)
        return job, bool(state["owned"]), float(state["started_at"])

    def _poll(self, airbyte: "AirbyteHook", job: Job, started_at: float, until: float) -> Job:
        while not job.status.is_terminal and (left := until - time.time()) > 0:
            time.sleep(min(interval(time.time() - started_at), left))
            job = airbyte.job(job.job_id)
        return job

    def _defer(self, job_id: int, started_at: float, end_at: float, owned: bool) -> None:
        self.defer(
            trigger=AirbyteJobTrigger(
                airbyte_conn_id=self.airbyte_conn_id,
                job_id=job_id,
                started_at=started_at,
                end_at=end_at,
                owned=owned,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Any, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Take up the task when the trigger has fired.

        :raises AirbyteError: the trigger gave up, or its event is none that this class knows.
        """
        outcome = (event or {}).get("outcome")
        if event is None or outcome not in ("ended", "timeout", "error"):
            raise AirbyteError(f"the trigger sent {event!r}: expected an outcome. Clear the task.")
        if outcome == "error":
            raise AirbyteError(str(event["error"]))
        from lakehouse.airbyte.hook import AirbyteHook

        with AirbyteHook(self.airbyte_conn_id) as airbyte:
            return self._finish(context, airbyte, airbyte.job(int(event["job_id"])))

    def _finish(self, context: Any, airbyte: "AirbyteHook", job: Job) -> dict[str, Any]:
        """Turn a job that has ended, or whose time is over, into the task's result or failure."""
        if not job.status.is_terminal:
            own = self._is_own(context, job.job_id)
            if own:
                airbyte.cancel(job.job_id)
            context["task_state_store"].delete(_JOB_KEY)
            raise SyncTimeout(self.connection, job.job_id, self.timeout.total_seconds(), job.status, own)
        state = context["task_state_store"].get(_JOB_KEY) or {}
        cleared = state.get("clears") and job.status is JobStatus.SUCCEEDED
        if cleared:
            self.log.info("job %d cleared %s", job.job_id, self.connection)
            context["task_state_store"].set(_CLEARED_KEY, True)
        if cleared or state.get("old"):  # however that one ended
            context["task_state_store"].delete(_JOB_KEY)
            return self._sync(context)
        streams, reason, needs_repair = airbyte.details(job.job_id)
        if job.status is not JobStatus.SUCCEEDED:
            context["task_state_store"].delete(_JOB_KEY)
            failure = SyncMisconfigured if needs_repair else SyncFailed
            raise failure(self.connection, job.job_id, job.status, reason)
        columns = airbyte.columns(job.connection_id)
        # also under a key of its own, so that `sync.output["columns"]` is what PublishOperator takes
        context["ti"].xcom_push(key="columns", value=columns)
        # a task that is cleared after this starts a new sync
        context["task_state_store"].delete(_JOB_KEY)
        context["task_state_store"].delete(_CLEARED_KEY)
        streams = {name: 0 for name in columns} | streams
        self._record(context, job, streams)
        self.log.info(
            "job %d of %s: %d rows, %d bytes in %.0f s%s",
            job.job_id,
            self.connection,
            job.rows,
            job.bytes,
            job.seconds,
            "".join(f"\n  {name}: {rows} rows" for name, rows in sorted(streams.items())),
        )
        if self.require_rows and not job.rows:
            raise NothingRead(self.connection, job.job_id)
        return {
            "job_id": job.job_id,
            "connection_id": job.connection_id,
            "rows": job.rows,
            "bytes": job.bytes,
            "seconds": job.seconds,
            "streams": streams,
            "columns": columns,
        }

    @staticmethod
    def _is_own(context: Any, job_id: int) -> bool:
        """Whether this task started the job; a deferred task is a new process and has this from its store alone."""
        state = context["task_state_store"].get(_JOB_KEY)
        return not state or int(state["job_id"]) != job_id or bool(state["owned"])

    def _record(self, context: Any, job: Job, streams: Mapping[str, int]) -> None:
        counts = {f"{self.connection}.{name}": rows for name, rows in streams.items()}
        record(
            context,
            "rows",
            [
                {"stage": "source", "dataset": dataset, "rows": rows}
                for dataset, rows in (counts or {self.connection: job.rows}).items()
            ],
        )

    def _leave_link(self, context: Any, airbyte: "AirbyteHook", connection_id: str) -> None:
        try:
            context["ti"].xcom_push(key=_LINK_KEY, value=airbyte.page_of(connection_id))
        except AirbyteError as error:  # a link is not worth a failed sync
            self.log.warning("no link to Airbyte: %s", error)

    def on_kill(self) -> None:
        """Cancel the job that this task started, also when its id is not known yet."""
        if self._owned_job is None and self._starting is None:
            return
        try:
            from lakehouse.airbyte.hook import AirbyteHook

            with AirbyteHook(self.airbyte_conn_id) as airbyte:
                job_id = self._owned_job
                if job_id is None and self._starting is not None:
                    running = airbyte.running_job(self._starting)
                    job_id = running.job_id if running else None
                if job_id is not None:
                    airbyte.cancel(job_id)
                    self.log.info("cancelled job %d", job_id)
        except AirbyteError as error:
            self.log.warning("the sync of %s may still be running: %s", self.connection, error)


class AirbyteApplyOperator(BaseOperator):
    """Makes Airbyte hold what is declared: sources, destinations, connections.

    Running it again changes nothing. Nothing is removed. Secrets come from Airflow connections; Airbyte never
    shows them again, so they are sent every time. Returns `{"changes": ["connection postgres: created", ...]}`.

    :param folder: of airbyte.yaml and connections/ (templated); None: include/pipelines.
    :param airbyte_conn_id: Airflow connection of type `airbyte` (templated).
    :raises DeclarationError: a file is wrong; names line and key.
    :raises AirbyteHttpError: Airbyte refuses something; with its own words.
    :raises AirbyteUnreachable: no answer. AirbyteAuthError: the credentials were refused.

    Example::

        AirbyteApplyOperator(task_id="airbyte")
    """

    template_fields: Sequence[str] = ("folder", "airbyte_conn_id")
    ui_color = "#e4e2ff"

    def __init__(self, *, folder: str | None = None, airbyte_conn_id: str = "airbyte_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.airbyte_conn_id = airbyte_conn_id

    def execute(self, context: Any) -> dict[str, list[str]]:
        """Apply all declarations."""
        declared = load_declarations(Path(self.folder) if self.folder else None)
        from lakehouse.airbyte.hook import AirbyteHook

        with AirbyteHook(self.airbyte_conn_id) as airbyte:
            changes = apply(airbyte.get_conn(), declared, AirbyteHook.get_connection)
        for change in changes:
            self.log.info(change)
        if not changes:
            self.log.info("%d connections are as declared: nothing changed", len(declared.connections))
        return {"changes": changes}
