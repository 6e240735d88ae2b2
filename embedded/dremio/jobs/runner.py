"""Runs statements as jobs: to a stored result (REST) or into a stream (Flight)."""

from __future__ import annotations

import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from embedded.dremio.engine import Engine, Handle, Relationship, Result, Session, Statement, StatementKind
from embedded.dremio.engine.results import BATCH_ROWS
from embedded.dremio.errors import Canceled, DremioError
from embedded.dremio.jobs.model import Job, JobState
from embedded.dremio.jobs.results import ResultStore
from embedded.dremio.jobs.store import JobStore
from embedded.dremio.sql.statements_access import without_password

log = logging.getLogger(__name__)

STREAM_QUEUE_BATCHES = 4
# Writers wait for the engine's one writer lock in these threads; readers must find a free one beside them.
JOB_THREADS = 32
# Statements that were short before have a lane of their own, as Dremio has queues by cost: no more of them at once than
# there are processors, or they would get in each other's way, and none behind one that is long.
SHORT_SECONDS = 0.05
SHORT_THREADS = os.cpu_count() or 1
UNEXPECTED = "Something went wrong."


class JobRunner:
    """Everything that happens to a job between its submission and its end. Thread safe.

    DuckDB is used on threads of this class, never on a caller's: gRPC's handler threads must not touch it.
    """

    def __init__(self, engine: Engine, store: JobStore, results: ResultStore) -> None:
        self.engine = engine
        self.store = store
        self.results = results
        self._threads = ThreadPoolExecutor(JOB_THREADS, thread_name_prefix="job")
        self._short = ThreadPoolExecutor(SHORT_THREADS, thread_name_prefix="short-job")
        self.on_relationships: Callable[[tuple[Relationship, ...]], None] = lambda relationships: None

    def new_job(self, sql: str, session: Session, query_type: str) -> Job:
        """A job that is known to the store and waits to be run."""
        job = Job(sql=without_password(sql), user=session.user, query_type=query_type, context=list(session.context))
        job.handle = Handle(job.job_id)
        job.enter(JobState.PENDING)
        self.store.add(job)
        return job

    def submit(self, sql: str, session: Session, query_type: str) -> Job:
        """Run a statement in the background and keep its result for paging; ``job.future`` ends with it."""
        job = self.new_job(sql, session, query_type)
        self._threads.submit(self._run_to_store, job, session, sql)
        return job

    def _run_to_store(self, job: Job, session: Session, sql: str) -> None:
        try:
            job.enter(JobState.METADATA_RETRIEVAL)
            _stop_if_cancelled(job)
            job.enter(JobState.PLANNING)
            statement = self.engine.prepare(sql, session)

            def stored(again: bool) -> int:
                result = self._execute(job, self.engine.prepare(sql, session) if again else statement, session)
                rows = self.results.store(job.job_id, result.schema, result.batches).rows
                return rows if result.records is None else result.records

            if statement.kind == StatementKind.QUERY:  # a file may be gone in the middle of its rows, which nobody saw
                self.complete(job, self.engine.again_if_files_are_gone(stored))
            else:
                self.complete(job, stored(False))
        except BaseException as error:
            self.end_badly(job, error)

    def _execute(self, job: Job, statement: Statement, session: Session) -> Result:
        job.datasets = [".".join(path) for path in statement.dataset_paths]
        job.reflections = [_relationship_json(one) for one in statement.relationships]
        job.enter(JobState.QUEUED)
        _stop_if_cancelled(job)
        job.enter(JobState.STARTING)
        job.enter(JobState.RUNNING)
        self.store.changed(job)
        result = self.engine.execute(statement, session, job.handle)
        if result.relationships:
            job.reflections = [_relationship_json(one) for one in result.relationships]
            self.on_relationships(result.relationships)
        return result

    def complete(self, job: Job, rows: int) -> None:
        job.row_count = rows
        self._end(job, JobState.COMPLETED)

    def _end(self, job: Job, state: JobState) -> None:
        job.enter(state)
        self.store.changed(job)
        job.future.set_result(None)

    def end_badly(self, job: Job, error: BaseException) -> None:
        if isinstance(error, Canceled) or job.handle.cancelled:
            job.cancellation_reason = job.handle.reason or str(error)
            self._end(job, JobState.CANCELED)
            return
        if not isinstance(error, DremioError):
            log.error("job %s failed unexpectedly", job.job_id, exc_info=error)
        job.error_message = error_text(error)
        self._end(job, JobState.FAILED)

    def cancel(self, job: Job, reason: str) -> None:
        """Stop a job; one that has ended stays as it is."""
        if not job.done:
            job.handle.cancel(reason)

    def close(self) -> None:
        """Cancel what runs and wait for its end, so that no job is left without one."""
        for job in self.store.unfinished():
            self.cancel(job, "Query is cancelled because the server is stopping.")
        self._short.shutdown(wait=True, cancel_futures=True)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def stream(self, statement: Statement, session: Session) -> JobStream:
        """Run a prepared statement and give its batches as they come.

        Returns when the first batch is there, so that what fails before it is raised here (DremioError).
        At most STREAM_QUEUE_BATCHES batches wait for the client.
        """
        job = self.new_job(statement.sql, session, "FLIGHT")
        stream = JobStream(self, job)
        threads = self._short if statement.is_short else self._threads
        threads.submit(stream.start, statement, session)
        stream.wait_for_first_batch()
        return stream


@dataclass(frozen=True)
class _End:
    """The last thing in a stream's queue: how it ended."""

    error: BaseException | None = None


class JobStream:
    """The batches of a running job, handed from a feeder thread to the client's thread."""

    def __init__(self, runner: JobRunner, job: Job) -> None:
        self._runner = runner
        self.job = job
        self.schema: pa.Schema | None = None
        self._queue: queue.Queue[pa.RecordBatch | _End] = queue.Queue(STREAM_QUEUE_BATCHES)
        self._first: pa.RecordBatch | _End | None = None
        self._closed = threading.Event()
        self._rows = 0

    def start(self, statement: Statement, session: Session) -> None:
        """On a job's thread: execute, and deliver a result of one batch; a longer one gets a feeder thread."""
        begun = time.monotonic()
        try:
            result = self._runner._execute(self.job, statement, session)
            self.schema = result.schema
            batches = iter(result.batches)
            known = [next(batches)]
            statement.is_short = time.monotonic() - begun < SHORT_SECONDS and statement.kind == StatementKind.QUERY
            if known[0].num_rows < BATCH_ROWS:
                known += itertools.islice(batches, 1)
                if len(known) == 1:  # with its end at once: the client's thread is woken once
                    self._finish(result, known[0])
                    return
        except BaseException as error:
            self._fail(error)
            return
        rest = itertools.chain(known, batches)
        threading.Thread(target=self._feed, args=(result, rest), name="flight-feed", daemon=True).start()

    def _feed(self, result: Result, batches: Iterator[pa.RecordBatch]) -> None:
        try:
            for batch in batches:
                self._rows += batch.num_rows
                self._deliver(batch)
            self._finish(result)
        except BaseException as error:
            result.close()
            self._fail(error)

    def _deliver(self, item: pa.RecordBatch | _End) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue
        if isinstance(item, pa.RecordBatch):
            raise Canceled(self.job.handle.reason or "Query is cancelled because the client went away.")

    def _finish(self, result: Result, only: pa.RecordBatch | None = None) -> None:
        if only is not None:
            self._rows = only.num_rows
        self._runner.complete(self.job, self._rows if result.records is None else result.records)
        if only is not None:
            self._deliver(only)
        self._deliver(_End())

    def _fail(self, error: BaseException) -> None:
        self._runner.end_badly(self.job, error)
        # what DuckDB raises when it is interrupted in the middle of a stream says nothing of a cancellation
        cancelled = self.job.state is JobState.CANCELED
        self._deliver(_End(Canceled(self.job.cancellation_reason) if cancelled else error))

    def wait_for_first_batch(self) -> None:
        """Raises what the statement failed with before its first batch."""
        self._first = self._queue.get()
        if isinstance(self._first, _End) and self._first.error is not None:
            raise self._first.error

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches in order; closing the iterator early cancels the job."""
        item = self._first
        try:
            while isinstance(item, pa.RecordBatch):
                yield item
                item = self._queue.get()
        finally:
            self.close()
        if isinstance(item, _End) and item.error is not None:
            raise item.error

    def close(self) -> None:
        """No more batches are wanted: what still runs is cancelled."""
        self._closed.set()
        self._runner.cancel(self.job, "Query is cancelled because the client went away.")


def error_text(error: BaseException) -> str:
    """What a client sees of an error: Dremio's description, or nothing of an internal one's details."""
    return error.description if isinstance(error, DremioError) else f"{UNEXPECTED} ({type(error).__name__})"


def _stop_if_cancelled(job: Job) -> None:
    if job.handle.cancelled:
        raise Canceled(job.handle.reason)


def _relationship_json(one: Relationship) -> dict[str, str]:
    return {
        "datasetId": one.dataset_id,
        "reflectionId": one.reflection_id,
        "relationship": one.relationship,
    }
