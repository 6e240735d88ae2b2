"""Sensors: a job is done, a table or partition is fresh, a reflection can be used. All wait in the triggerer."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lakehouse.dremio.exceptions import DremioError, DremioUnreachable
from lakehouse.dremio.jobs import task_tags
from lakehouse.ops.waiting import Sighting, WaitingSensor, parse_time

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from lakehouse.dremio.hook import DremioHook
    from lakehouse.dremio.looks import Watch


class _DremioSensor(WaitingSensor):
    """Looks over REST.

    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    """

    ui_color = "#d8f3f0"
    errors = (DremioError,)

    def __init__(self, *, dremio_conn_id: str = "dremio_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dremio_conn_id = dremio_conn_id
        self._query: str | None = None

    @cached_property
    def hook(self) -> "DremioHook":
        """Hook of this task."""
        from lakehouse.dremio.hook import DremioHook

        return DremioHook(self.dremio_conn_id)

    @abstractmethod
    def watch(self, context: "Context") -> "Watch":
        """What is waited for, as data.

        :raises ValueError: the arguments do not fit together; names them.
        """

    def check(self, context: "Context") -> None:
        """Refuse arguments that do not fit together."""
        self.watch(context)

    def look(self, context: "Context", until: float) -> Sighting:
        """Look once.

        :raises DremioError: what is waited for can never come true, or Dremio does not answer.
        """
        from lakehouse.dremio.looks import look

        try:
            return look(self.watch(context), self.hook.rest, until, self._keep)
        finally:
            self._query = None

    def on_kill(self) -> None:
        """Cancel the query of the look; what is waited for is not this task's, and left alone."""
        if self._query is not None:
            self.hook.cancel_job(self._query)

    def _keep(self, job_id: str) -> None:
        self._query = job_id

    def trigger(self, context: "Context", deadline: float, seen: str) -> "BaseTrigger":
        """The trigger that goes on looking."""
        from lakehouse.dremio.looks import dump
        from lakehouse.dremio.triggers import DremioWatchTrigger

        return DremioWatchTrigger(
            dremio_conn_id=self.dremio_conn_id,
            watch=dump(self.watch(context)),
            deadline=deadline,
            poke_interval=self.poke_interval,
            seen=seen,
        )

    def failure(self, reason: str, detail: str) -> Exception:
        """The error of a wait that the trigger ended."""
        if reason == "failed":
            return DremioError(detail)
        settings = self.hook.settings
        return DremioUnreachable(settings.rest_url, settings.user, detail)


class DremioJobSensor(_DremioSensor):
    """Wait until a job that something else started has completed.

    A job that failed, was cancelled or is unknown fails the task at once, with Dremio's text. Killing the task
    leaves the job alone: it is not this task's.

    Example::

        DremioJobSensor(
            task_id="compacted", job_id="{{ ti.xcom_pull('submit') }}", timeout=3600, retries=2
        )

    Returns (XCom) `{"job_id": str, "state": "COMPLETED", "row_count": int | None}`.

    :param job_id: the job (templated).
    :param poke_interval: seconds between two looks; grows to 5 s over an hour.
    """

    template_fields: Sequence[str] = ("job_id", "dremio_conn_id")

    def __init__(self, *, job_id: str, poke_interval: float = 1.0, **kwargs: Any) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.job_id = job_id

    def watch(self, context: "Context") -> "Watch":
        """The job."""
        from lakehouse.dremio.looks import JobDone

        if not self.job_id:
            raise ValueError(f"Task {self.task_id}: `job_id` is empty")
        return JobDone(self.job_id)


class DremioTableSensor(_DremioSensor):
    """Wait until a table, or one partition of it, is there and new enough.

    With neither `newer_than` nor `max_age` it is enough that there are `min_rows` rows. With one of them the newest
    value of `column` must have reached that time; without `column` it is the newest snapshot that counts, which
    Iceberg tables alone have. A table that does not exist is waited for.

    Example::

        DremioTableSensor(
            task_id="orders_of_the_day",
            table="datalake.bronze.postgres.orders",
            partition={"date": "{{ params.batch_date }}"},
            timeout=7200,
            retries=2,
        )

    Returns (XCom) `{"table": str, "rows": int | None, "newest": str}`; `newest` (ISO, UTC) when a time was asked for.

    :param table: dotted path (templated).
    :param partition: column -> value; only these rows count (templated). Dates as text: `2026-11-24`.
    :param column: DATE or TIMESTAMP column whose newest value counts (templated).
    :param newer_than: ISO time, UTC unless it says otherwise (templated): `{{ dag_run.run_after }}`.
    :param max_age: seconds that the newest value may be old at the time of the look.
    :param min_rows: rows that must be there.
    :param refresh_metadata: refresh the table's metadata before each look: for promoted folders, whose new files
        Dremio otherwise sees at its own round.
    :param poke_interval: seconds between two looks. Each is a query.
    """

    template_fields: Sequence[str] = ("table", "partition", "column", "newer_than", "dremio_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"partition": "json"}

    def __init__(
        self,
        *,
        table: str,
        partition: Mapping[str, Any] | None = None,
        column: str | None = None,
        newer_than: str | None = None,
        max_age: float | None = None,
        min_rows: int = 1,
        refresh_metadata: bool = False,
        poke_interval: float = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.table = table
        self.partition = partition
        self.column = column
        self.newer_than = newer_than
        self.max_age = max_age
        self.min_rows = min_rows
        self.refresh_metadata = refresh_metadata

    def watch(self, context: "Context") -> "Watch":
        """The table."""
        from lakehouse.dremio.looks import TableFresh

        timed = self.newer_than is not None or self.max_age is not None
        if self.newer_than is not None and self.max_age is not None:
            raise ValueError(f"Task {self.task_id}: give `newer_than` or `max_age`, not both")
        if self.column and not timed:
            raise ValueError(f"Task {self.task_id}: `column` needs `newer_than` or `max_age`")
        if timed and self.partition and not self.column:
            raise ValueError(f"Task {self.task_id}: a snapshot is of the whole table; name a `column` for a partition")
        if self.newer_than is not None:
            parse_time(self.newer_than)
        rows = {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in (self.partition or {}).items()
        }
        return TableFresh(
            table=self.table,
            column=self.column,
            newer_than=self.newer_than,
            max_age=self.max_age,
            partition=rows,
            min_rows=self.min_rows,
            refresh_metadata=self.refresh_metadata,
            tags=task_tags(context),
        )


class DremioReflectionSensor(_DremioSensor):
    """Wait until a reflection, or every one of a dataset, can be used and holds data that is new enough.

    `AVAILABLE` stays true while a reflection is refreshed again, so name a time in `newer_than` to wait for a
    refresh. One that Dremio gave up, or that is disabled, fails the task with Dremio's reason; one that does not
    exist yet is waited for.

    Example::

        DremioReflectionSensor(
            task_id="fast_again",
            dataset="datalake.gold.slot_a.orders",
            name="orders_by_day",
            newer_than="{{ dag_run.run_after }}",
            timeout=1800,
            retries=2,
        )

    Returns (XCom) `{"dataset": str, "reflections": {name: id}}`.

    :param dataset: dotted path of the table or view (templated).
    :param name: one reflection (templated); None: all of the dataset, at least one.
    :param newer_than: ISO time, UTC unless it says otherwise, since which the data was fetched (templated).
    """

    template_fields: Sequence[str] = ("dataset", "name", "newer_than", "dremio_conn_id")

    def __init__(self, *, dataset: str, name: str | None = None, newer_than: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.name = name
        self.newer_than = newer_than

    def watch(self, context: "Context") -> "Watch":
        """The reflections."""
        from lakehouse.dremio.looks import ReflectionsAvailable

        if self.newer_than is not None:
            parse_time(self.newer_than)
        return ReflectionsAvailable(self.dataset, self.name, self.newer_than)
