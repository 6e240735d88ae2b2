"""What a sensor looks for in Dremio, written once for the worker and the triggerer.

A look is a generator without I/O: it yields a REST call, or a pause, is sent the answer, and returns a Sighting.
`look` drives one from a worker, `look_async` from a trigger. A watch is plain data, so that a trigger can be
serialized with it.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

from lakehouse.dremio import calls, refresh
from lakehouse.dremio.calls import Call
from lakehouse.dremio.exceptions import DremioError, DremioJobLost, DremioNotFound
from lakehouse.dremio.jobs import Job, JobState, with_comment
from lakehouse.dremio.quoting import literal, quoted
from lakehouse.dremio.rest import AsyncRestSession, RestSession
from lakehouse.ops.waiting import LookGivenUp, Sighting, parse_time

FIRST_PAUSE = 0.1  # seconds between two looks at a query's job; grows to LONGEST_PAUSE
LONGEST_PAUSE = 1.0


@dataclass(frozen=True)
class Pause:
    """A look asks for some seconds of waiting."""

    seconds: float


Look = Generator[Call | Pause, Any, Sighting]
Rows = Generator[Call | Pause, Any, list[dict[str, Any]]]


@dataclass(frozen=True)
class JobDone:
    """The job has completed. One that failed, was cancelled or is unknown ends the wait as an error."""

    kind: ClassVar[str] = "job"
    job_id: str

    def look(self) -> Look:
        """Look once."""
        try:
            job = Job.parse(self.job_id, (yield calls.get_job(self.job_id)))
        except DremioNotFound as error:
            raise DremioJobLost(self.job_id, f"is not known to the server: {error.answer}") from error
        job.raise_for_state()
        value = {"job_id": job.job_id, "state": str(job.state), "row_count": job.row_count}
        return Sighting(job.state is JobState.COMPLETED, f"job {job.job_id} is {job.state}", value)


@dataclass(frozen=True)
class TableFresh:
    """A table, or one partition of it, has rows, or rows that are new enough. A table that is absent is not fresh.

    :param column: DATE or TIMESTAMP whose newest value counts; None: the newest snapshot (Iceberg) when a time
        is asked for, else only rows are counted.
    :param newer_than: ISO time (UTC unless it says otherwise) that the newest value must have reached.
    :param max_age: seconds that the newest value may be old.
    :param partition: column -> value; only these rows are looked at.
    :param refresh_metadata: refresh the table's metadata before each look, for files that others write.
    :param tags: comment of the queries.
    """

    kind: ClassVar[str] = "table"
    table: str
    column: str | None = None
    newer_than: str | None = None
    max_age: float | None = None
    partition: Mapping[str, Any] = field(default_factory=dict)
    min_rows: int = 1
    refresh_metadata: bool = False
    tags: Mapping[str, Any] = field(default_factory=dict)

    def look(self) -> Look:
        """Look once, by one query."""
        try:
            entity = yield calls.get_entity_by_path(self.table.split("."))
        except DremioNotFound:
            return Sighting(False, f"{self.table} is not in Dremio yet")
        if entity.get("entityType") != "dataset":
            return Sighting(False, f"{self.table} is a {entity.get('entityType')} and no table yet")
        if self.refresh_metadata:
            yield from self._query(f"ALTER TABLE {quoted(self.table.split('.'))} REFRESH METADATA")
        row = (yield from self._query(self.sql()))[0]
        found = row.get("found")
        if found is not None and int(found) < self.min_rows:
            return Sighting(False, f"{self._named()} has {found} rows, {self.min_rows} are wanted")
        value = {"table": self.table, "rows": None if found is None else int(found)}
        bound = self._bound()
        if bound is None:
            return Sighting(True, f"{self._named()} has {found} rows", value)
        newest = row.get("newest")
        if newest is None:
            return Sighting(False, f"{self._named()} has no {self.column or 'snapshot'} yet")
        reached = self._time(newest)
        detail = f"newest {self.column or 'snapshot'} of {self._named()} is {newest}, wanted {bound.isoformat()}"
        return Sighting(reached >= bound, detail, value | {"newest": reached.isoformat()})

    def sql(self) -> str:
        """The query of a look: one row with `found`, `newest` or both."""
        bounded = self.newer_than is not None or self.max_age is not None
        if bounded and self.column is None:
            return f"SELECT MAX(committed_at) AS newest FROM TABLE(table_snapshot({literal(self._sql_name())}))"
        newest = f"MAX({quoted([self.column])}) AS newest, " if bounded and self.column else ""
        where = " AND ".join(f"{quoted([name])} = {literal(value)}" for name, value in self.partition.items())
        return (
            f"SELECT {newest}COUNT(*) AS found FROM {quoted(self.table.split('.'))}{' WHERE ' + where if where else ''}"
        )

    def _query(self, sql: str) -> Rows:
        job_id = str((yield calls.submit_sql(with_comment(sql, self.tags), idempotent=True))["id"])
        pause = FIRST_PAUSE
        while not (job := Job.parse(job_id, (yield calls.get_job(job_id)))).state.is_terminal:
            yield Pause(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        job.raise_for_state(sql)
        return list((yield calls.get_results(job_id, limit=1))["rows"])

    def _bound(self) -> datetime | None:
        if self.newer_than is not None:
            return parse_time(self.newer_than)
        return datetime.now(UTC) - timedelta(seconds=self.max_age) if self.max_age is not None else None

    def _time(self, newest: Any) -> datetime:
        try:
            return parse_time(str(newest))
        except ValueError:
            raise DremioError(
                f"the newest {self.column} of {self.table} is {newest!r}, which is no time. "
                "Name a column of type DATE or TIMESTAMP"
            ) from None

    def _sql_name(self) -> str:
        return quoted(self.table.split("."))

    def _named(self) -> str:
        rows = ", ".join(f"{name}={value}" for name, value in self.partition.items())
        return f"{self.table} ({rows})" if rows else self.table


@dataclass(frozen=True)
class ReflectionsAvailable:
    """Reflections of a dataset can be used, and hold data fetched since `newer_than`.

    A reflection that Dremio gave up, or that is disabled, ends the wait as an error; one that is absent is waited for.

    :param name: one reflection; None: all of the dataset, at least one.
    """

    kind: ClassVar[str] = "reflections"
    dataset: str
    name: str | None = None
    newer_than: str | None = None

    def look(self) -> Look:
        """Look once."""
        try:
            entity = yield calls.get_entity_by_path(self.dataset.split("."))
        except DremioNotFound:
            return Sighting(False, f"{self.dataset} is not in Dremio yet")
        listed = ((yield calls.list_reflections(str(entity["id"]))) or {}).get("data") or []
        wanted = [one for one in listed if self.name in (None, one.get("name"))]
        if not wanted:
            return Sighting(False, f"{self.dataset} has no reflection {self.name or ''}".rstrip() + " yet")
        missing = [f"{one.get('name')} ({refresh.describe(one)})" for one in wanted if not self._is_there(one)]
        if missing:
            return Sighting(False, f"{self.dataset}: not available: {', '.join(missing)}")
        names = [str(one["name"]) for one in wanted]
        value = {"dataset": self.dataset, "reflections": {str(one["name"]): str(one["id"]) for one in wanted}}
        return Sighting(True, f"{self.dataset}: {', '.join(names)} available", value)

    def _is_there(self, reflection: dict[str, Any]) -> bool:
        named = f"reflection {reflection.get('name')} on {self.dataset}"
        if reflection.get("enabled") is False:
            raise DremioError(f"{named} is disabled. Set it to enabled in Dremio, or apply its declaration")
        if why := refresh.failure(reflection):
            raise DremioError(f"{named}: {why}")
        if (reflection.get("status") or {}).get("availability") != "AVAILABLE":
            return False
        if self.newer_than is None:
            return True
        fetched = refresh.marks(reflection)[0]
        return bool(fetched) and parse_time(fetched) >= parse_time(self.newer_than)


Watch = JobDone | TableFresh | ReflectionsAvailable
_KINDS: Mapping[str, type[Watch]] = {one.kind: one for one in (JobDone, TableFresh, ReflectionsAvailable)}


def dump(watch: Watch) -> dict[str, Any]:
    """A watch as plain JSON, for a trigger."""
    return {"kind": watch.kind} | asdict(watch)


def parse(data: Mapping[str, Any]) -> Watch:
    """The watch that `dump` wrote.

    :raises KeyError: for a kind that this version does not know.
    """
    return _KINDS[data["kind"]](**{key: value for key, value in data.items() if key != "kind"})


def look(
    watch: Watch, rest: RestSession, until: float, started: Callable[[str], None] = lambda job_id: None
) -> Sighting:
    """Look once from a worker.

    :param until: epoch seconds; a query that runs then is cancelled.
    :param started: told the id of each query's job, for a kill.
    :raises LookGivenUp: time was over in the middle of it.
    :raises DremioError: what is watched can never come true, or the server does not answer.
    """
    steps, job_id = watch.look(), None
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                if time.time() + step.seconds > until:
                    if job_id is not None:
                        with suppress(DremioError):  # best effort: it only reads
                            rest.send(calls.cancel_job(job_id))
                    raise LookGivenUp
                time.sleep(step.seconds)
                step = next(steps)
                continue
            try:
                answer = rest.send(step)
            except DremioNotFound as error:
                step = steps.throw(error)
            else:
                if step.path == "sql":
                    job_id = answer["id"]
                    started(job_id)
                step = steps.send(answer)
    except StopIteration as end:
        return cast(Sighting, end.value)


async def look_async(watch: Watch, rest: AsyncRestSession, until: float) -> Sighting:
    """Look once from a trigger; the twin of `look`. Cancelled itself, it cancels its query."""
    steps, job_id = watch.look(), None
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                if time.time() + step.seconds > until:
                    raise LookGivenUp
                await asyncio.sleep(step.seconds)
                step = next(steps)
                continue
            try:
                answer = await rest.send(step)
            except DremioNotFound as error:
                step = steps.throw(error)
            else:
                job_id = answer["id"] if step.path == "sql" else job_id
                step = steps.send(answer)
    except StopIteration as end:
        return cast(Sighting, end.value)
    except (LookGivenUp, asyncio.CancelledError):
        if job_id is not None:
            with suppress(DremioError):  # best effort: it only reads
                await rest.send(calls.cancel_job(job_id))
        raise
