"""The reflections of this server: kept, built by jobs, refreshed by request and by policy, offered to queries.

A refresh builds a new native table beside the old one and then takes its place, so a reflection that accelerates
goes on doing so while it is rebuilt. The old table stays a while for queries that were planned with it.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from psycopg_pool import ConnectionPool
from sqlglot import exp

from embedded.dremio.catalog import Entity
from embedded.dremio.engine import Engine, ReflectionDefinition, Relationship, Rewrite, Session
from embedded.dremio.engine.contracts import DatasetUse
from embedded.dremio.errors import ConcurrentModification, DremioError, InvalidRequest, NotFound
from embedded.dremio.jobs.model import Job, JobState
from embedded.dremio.jobs.runner import JobRunner, error_text
from embedded.dremio.reflections.definition_sql import (
    building_sql,
    check_fields,
    quoted_path,
    used_columns,
)
from embedded.dremio.reflections.model import RAW, Built, Reflection, from_definition, now
from embedded.dremio.reflections.policy import RefreshPolicy, policy_of
from embedded.dremio.reflections.rewrite import Candidate, rewrite_query
from embedded.dremio.reflections.rows import ReflectionRows

log = logging.getLogger(__name__)

CLOCK_SECONDS = 2.0
OLD_TABLE_SECONDS = 600
RETRY_SECONDS = 5


class ReflectionService:
    """Implements ``engine.contracts.ReflectionStore`` and what the REST endpoints need. Thread safe."""

    def __init__(self, pool: ConnectionPool, runner: JobRunner, owner: str) -> None:
        self._runner = runner
        self._engine: Engine = runner.engine
        self._catalog = runner.engine.catalog
        self._owner = owner
        self._rows = ReflectionRows(pool)
        self._lock = threading.RLock()
        self._reflections = {one.reflection_id: one for one in self._rows.load()}
        self._old_tables: list[tuple[float, str]] = []
        self._forget_lost_tables()
        self._counted: set[str] = set()
        self._expired: set[str] = set()
        self._builders = ThreadPoolExecutor(1, thread_name_prefix="reflection")
        self._wake = threading.Event()
        self._stopping = False
        self.version = 0
        self._clock = threading.Thread(target=self._run_clock, name="reflection-clock", daemon=True)

    def _forget_lost_tables(self) -> None:
        """Bring the rows and the native tables together: the two are not written in one transaction."""
        present = set(self._engine.materializations())
        for reflection in self._reflections.values():
            if reflection.built is not None and reflection.built.table not in present:
                reflection.built = None
        used = {one.built.table for one in self._reflections.values() if one.built is not None}
        for table in present - used:
            self._engine.drop_materialization(table)

    def start(self) -> None:
        """Begin to build what is due, now and by the policies."""
        self._clock.start()

    def close(self) -> None:
        """Stop the clock and wait for the build that runs; cancel its job first (`JobRunner.close`)."""
        self._stopping = True
        self._wake.set()
        if self._clock.is_alive():
            self._clock.join(timeout=5)
        self._builders.shutdown(wait=True, cancel_futures=True)
        self._save_counters()

    # --- definitions ------------------------------------------------------------------------------------------

    def all(self) -> list[Reflection]:
        """The reflections of datasets that exist, oldest first; the others are dropped."""
        with self._lock:
            found = list(self._reflections.values())
        kept = []
        for reflection in found:
            if self._dataset(reflection.dataset_id) is None:
                self._remove(reflection)
            else:
                kept.append(reflection)
        return kept

    def of_dataset(self, dataset_id: str) -> list[Reflection]:
        """The reflections declared on one dataset."""
        return [one for one in self.all() if one.dataset_id == dataset_id]

    def get(self, reflection_id: str) -> Reflection:
        """Raises NotFound."""
        with self._lock:
            found = self._reflections.get(reflection_id)
        if found is None or self._dataset(found.dataset_id) is None:
            raise NotFound(f"Could not find reflection with id [{reflection_id}]")
        return found

    def dataset(self, reflection: Reflection) -> Entity:
        """The reflection's dataset. Raises NotFound when it was dropped meanwhile."""
        return self._catalog.get_by_id(reflection.dataset_id)

    def add(self, reflection: Reflection) -> Reflection:
        """A new reflection; its first build starts at once. Raises ConcurrentModification, InvalidRequest."""
        check_fields(reflection, self._existing_dataset(reflection.dataset_id))
        with self._lock:
            if any(one.name == reflection.name for one in self.of_dataset(reflection.dataset_id)):
                raise ConcurrentModification(f"Reflection [{reflection.name}] already exists on the dataset.")
            self._rows.save(reflection)
            self._reflections[reflection.reflection_id] = reflection
        self._changed()
        return reflection

    def replace(self, reflection_id: str, new: Reflection, tag: str | None) -> Reflection:
        """PUT: take over name, fields and enabled. Rebuilt only if the fields changed or it was disabled.

        Raises NotFound, ConcurrentModification when the tag is not the current one, InvalidRequest.
        """
        with self._lock:
            old = self.get(reflection_id)
            if tag != old.tag:
                raise ConcurrentModification(
                    "The reflection seems to have been modified by another flow. Get it again and repeat."
                )
            if new.dataset_id != old.dataset_id or new.type != old.type:
                raise InvalidRequest("The dataset and the type of a reflection cannot be changed.")
            check_fields(new, self._existing_dataset(new.dataset_id))
            rebuild = not old.same_definition(new) or (new.enabled and old.built is None)
            if not new.enabled or not old.same_definition(new):
                self._retire(old)
            old.name, old.fields, old.enabled = new.name, new.fields, new.enabled
            old.strategy, old.arrow_cache = new.strategy, new.arrow_cache
            old.tag, old.updated_at = str(uuid.uuid4()), now()
            old.requested, old.failures = rebuild or old.requested, 0 if rebuild else old.failures
            self._rows.save(old)
        self._changed()
        return old

    def remove(self, reflection_id: str) -> None:
        """Drop a reflection with its materialization. Raises NotFound."""
        self._remove(self.get(reflection_id))

    def _remove(self, reflection: Reflection) -> None:
        with self._lock:
            self._reflections.pop(reflection.reflection_id, None)
            self._retire(reflection)
            self._rows.delete(reflection.reflection_id)
        self._changed()

    def _retire(self, reflection: Reflection) -> None:
        if reflection.built is not None:
            self._old_tables.append((time.monotonic() + OLD_TABLE_SECONDS, reflection.built.table))
            reflection.built = None

    def _changed(self) -> None:
        self.version += 1
        self._wake.set()

    def _dataset(self, dataset_id: str) -> Entity | None:
        try:
            entity = self._catalog.get_by_id(dataset_id)
        except DremioError:
            return None
        return entity if entity.is_dataset else None

    def _existing_dataset(self, dataset_id: str) -> Entity:
        entity = self._dataset(dataset_id)
        if entity is None:
            raise InvalidRequest(f"Dataset with id [{dataset_id}] not found.")
        return entity

    # --- what the engine asks (SQL) -----------------------------------------------------------------------------

    def create(self, dataset_id: str, definition: ReflectionDefinition) -> None:
        """ALTER DATASET ... CREATE RAW | AGGREGATE REFLECTION."""
        self.add(from_definition(dataset_id, definition))

    def drop(self, dataset_id: str, name_or_id: str) -> None:
        """ALTER DATASET ... DROP REFLECTION. Raises NotFound."""
        for one in self.of_dataset(dataset_id):
            if name_or_id in (one.name, one.reflection_id):
                self._remove(one)
                return
        raise NotFound(f"Reflection [{name_or_id}] does not exist on the dataset.")

    def refresh(self, dataset_id: str) -> None:
        """Have all reflections that read the dataset rebuilt, soon; one that runs is run once more after."""
        with self._lock:
            for one in self.all():
                depends = one.built is not None and dataset_id in one.built.dependencies
                if one.dataset_id == dataset_id or depends:
                    one.requested, one.failures = True, 0
                    self._rows.save(one)
        self._wake.set()

    def set_acceleration(self, dataset_id: str, raw: bool, enabled: bool) -> None:
        """ALTER DATASET ... ENABLE | DISABLE RAW | AGGREGATE ACCELERATION."""
        with self._lock:
            for one in self.of_dataset(dataset_id):
                if (one.type == RAW) == raw and one.enabled != enabled:
                    if not enabled:
                        self._retire(one)
                    one.enabled, one.requested, one.updated_at = enabled, enabled, now()
                    one.tag = str(uuid.uuid4())
                    self._rows.save(one)
        self._changed()

    def rewrite(self, query: exp.Query, datasets: list[DatasetUse]) -> Rewrite:
        """Put materializations in the place of datasets where the result stays the same."""
        used = {use.id for use in datasets}
        with self._lock:
            if not any(one.dataset_id in used for one in self._reflections.values()):
                return Rewrite(None)
        candidates = [
            Candidate(one, one.built.table, dataset)
            for one in self.all()
            if one.dataset_id in used and (dataset := self._usable(one)) is not None and one.built is not None
        ]
        if not candidates:
            return Rewrite(None)
        outcome = rewrite_query(query, candidates, self._catalog)
        return Rewrite(
            query if outcome.chosen else None,
            tuple(_relationship(one.reflection, outcome.matched, outcome.chosen) for one in candidates),
        )

    def _usable(self, reflection: Reflection) -> Entity | None:
        """The reflection's dataset if its materialization may stand in for it now."""
        built, dataset = reflection.built, self._dataset(reflection.dataset_id)
        if not reflection.enabled or built is None or built.expired or dataset is None:
            return None
        if self._outdated(built):
            return None
        present = {column.name: column.type.sql for column in used_columns(reflection, dataset)}
        return dataset if present == built.fields else None

    def _outdated(self, built: Built) -> bool:
        """A dataset that it was made from is gone, or a view among them has another query now."""
        for dataset_id, tag in built.dependencies.items():
            entity = self._dataset(dataset_id)
            if entity is None or (tag is not None and entity.tag != tag):
                return True
        return False

    def count(self, relationships: tuple[Relationship, ...]) -> None:
        """Add a job to the counters of the reflections that took part in it."""
        with self._lock:
            for one in relationships:
                reflection = self._reflections.get(one.reflection_id)
                if reflection is None:
                    continue
                reflection.considered += 1
                reflection.matched += one.relationship in ("MATCHED", "CHOSEN")
                reflection.chosen += one.relationship == "CHOSEN"
                self._counted.add(one.reflection_id)

    # --- policies and builds --------------------------------------------------------------------------------------

    def policy(self, reflection: Reflection) -> RefreshPolicy:
        """The policy with the shortest period among the tables that the reflection reads."""
        policies = [policy_of(self._catalog, table) for table in self.tables(reflection)]
        never = 10**15
        return min(policies, key=lambda one: one.period_ms or never, default=RefreshPolicy())

    def tables(self, reflection: Reflection) -> list[Entity]:
        """The tables that the reflection is computed from (its dataset until the first build)."""
        ids = list(reflection.built.dependencies) if reflection.built else [reflection.dataset_id]
        entities = [self._dataset(one) for one in ids]
        return [one for one in entities if one is not None and one.kind.value == "table"]

    def due(self, reflection: Reflection) -> bool:
        """True when the reflection should be built now."""
        if not reflection.enabled or reflection.running or reflection.gave_up:
            return False
        failed_at = reflection.last_failure_at
        if reflection.failures and failed_at and now() - failed_at < dt.timedelta(seconds=RETRY_SECONDS):
            return False
        if reflection.requested or reflection.built is None or self._outdated(reflection.built):
            return True
        at = self.policy(reflection).next_refresh(reflection.built.started_at)
        return at is not None and at <= now()

    def _run_clock(self) -> None:
        while not self._stopping:
            try:
                self._tick()
            except Exception:
                log.exception("looking for reflections that are due failed; it will be tried again")
            self._wake.wait(CLOCK_SECONDS)
            self._wake.clear()

    def _tick(self) -> None:
        for reflection in self.all():
            with self._lock:
                if not self.due(reflection):
                    continue
                reflection.running, reflection.requested = True, False
            self._builders.submit(self._build, reflection)
        self._notice_expiry()
        self._drop_old_tables()
        self._save_counters()

    def _notice_expiry(self) -> None:
        """Queries are planned anew when a materialization has expired: plans are kept by `version`."""
        with self._lock:
            expired = {
                one.built.table for one in self._reflections.values() if one.built is not None and one.built.expired
            }
            if expired - self._expired:
                self.version += 1
            self._expired = expired

    def _drop_old_tables(self) -> None:
        with self._lock:
            due = [table for at, table in self._old_tables if at <= time.monotonic()]
            self._old_tables = [(at, table) for at, table in self._old_tables if at > time.monotonic()]
        for table in due:
            self._engine.drop_materialization(table)

    def _save_counters(self) -> None:
        with self._lock:
            counted, self._counted = self._counted, set()
            for reflection_id in counted & self._reflections.keys():
                self._rows.save(self._reflections[reflection_id])

    def _build(self, reflection: Reflection) -> None:
        materialization_id = str(uuid.uuid4())
        session = Session(user=self._owner)
        sql = f"REFRESH REFLECTION '{reflection.reflection_id}' AS '{materialization_id}'"
        job = self._runner.new_job(sql, session, "ACCELERATOR_CREATE")
        try:
            job.enter(JobState.PLANNING)
            job.enter(JobState.RUNNING)
            built = self._materialize(reflection, materialization_id, job, session)
        except BaseException as error:
            self._runner.end_badly(job, error)
            self._failed(reflection, error_text(error))
            return
        self._take_over(reflection, built)
        self._runner.complete(job, built.records)

    def _materialize(self, reflection: Reflection, materialization_id: str, job: Job, session: Session) -> Built:
        started = now()
        dataset = self._existing_dataset(reflection.dataset_id)
        dependencies = self._dependencies(dataset, session)
        table = f"reflection_{materialization_id.replace('-', '_')}"
        made = self._engine.build_materialization(table, building_sql(reflection, dataset), session, job.handle)
        tables = [self._dataset(one) for one, tag in dependencies.items() if tag is None]
        expiries = [policy_of(self._catalog, one).expiry(started) for one in tables if one is not None]
        return Built(
            materialization_id=materialization_id,
            table=table,
            job_id=job.job_id,
            records=made.records,
            size_bytes=made.size_bytes,
            started_at=started,
            finished_at=now(),
            expires_at=min((one for one in expiries if one is not None), default=None),
            dependencies=dependencies,
            fields={column.name: column.type.sql for column in used_columns(reflection, dataset)},
        )

    def _dependencies(self, dataset: Entity, session: Session) -> dict[str, str | None]:
        statement = self._engine.prepare(f"SELECT * FROM {quoted_path(dataset.path)}", session)
        ids = {dataset.id, *statement.datasets}
        entities = [self._dataset(one) for one in ids]
        return {one.id: one.tag if one.kind.value == "view" else None for one in entities if one is not None}

    def _take_over(self, reflection: Reflection, built: Built) -> None:
        with self._lock:
            self._retire(reflection)
            reflection.running, reflection.failures, reflection.last_failure = False, 0, ""
            if reflection.reflection_id in self._reflections and reflection.enabled:
                reflection.built = built
                self._rows.save(reflection)
            else:
                self._old_tables.append((time.monotonic(), built.table))
        self._changed()

    def _failed(self, reflection: Reflection, message: str) -> None:
        with self._lock:
            reflection.running = False
            reflection.failures += 1
            reflection.last_failure, reflection.last_failure_at = message, now()
            reflection.requested = not reflection.gave_up
            if reflection.reflection_id in self._reflections:
                self._rows.save(reflection)
        log.warning("reflection %s (%s) could not be built: %s", reflection.name, reflection.reflection_id, message)


def _relationship(reflection: Reflection, matched: set[str], chosen: set[str]) -> Relationship:
    word = "CONSIDERED"
    if reflection.reflection_id in chosen:
        word = "CHOSEN"
    elif reflection.reflection_id in matched:
        word = "MATCHED"
    return Relationship(reflection.dataset_id, reflection.reflection_id, word)
