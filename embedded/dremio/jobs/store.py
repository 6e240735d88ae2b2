"""Jobs, live in memory and kept in PostgreSQL (table ``jobs.job``), written behind in batches.

A statement must not wait for PostgreSQL, so changes are collected and written a few times a second in one
pipeline. What a crash can lose is the last moment of a job's life: its row then still says that it runs, and
the next start marks it FAILED.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from collections import OrderedDict

import psycopg
from psycopg_pool import ConnectionPool

from embedded.dremio.jobs.model import TERMINAL, Job, JobState

log = logging.getLogger(__name__)

WRITE_INTERVAL_SECONDS = 0.2
KEPT_IN_MEMORY = 5_000

_DDL = """
CREATE SCHEMA IF NOT EXISTS jobs;
CREATE TABLE IF NOT EXISTS jobs.job (
    job_id text PRIMARY KEY, sql text NOT NULL, user_name text NOT NULL, query_type text NOT NULL,
    context text[] NOT NULL, state text NOT NULL, history jsonb NOT NULL, row_count bigint,
    error_message text NOT NULL, cancellation_reason text NOT NULL, reflections jsonb NOT NULL,
    datasets text[] NOT NULL, started_at timestamptz NOT NULL, ended_at timestamptz);
CREATE INDEX IF NOT EXISTS job_started ON jobs.job (started_at DESC);
"""

_COLUMNS = (
    "job_id, sql, user_name, query_type, context, state, history, row_count, error_message,"
    " cancellation_reason, reflections, datasets, started_at, ended_at"
)

# one statement for all that changed
_UPSERT = f"""
INSERT INTO jobs.job ({_COLUMNS}) SELECT {_COLUMNS} FROM jsonb_populate_recordset(NULL::jobs.job, %s)
ON CONFLICT (job_id) DO UPDATE SET state = excluded.state, history = excluded.history,
    row_count = excluded.row_count, error_message = excluded.error_message,
    cancellation_reason = excluded.cancellation_reason, reflections = excluded.reflections,
    datasets = excluded.datasets, ended_at = excluded.ended_at
"""

_MARK_LOST = """
UPDATE jobs.job SET state = 'FAILED', ended_at = now(),
    error_message = 'The server was stopped while this job was running. Run the statement again.'
WHERE state <> ALL (%s)
"""


class JobStore:
    """Finds a job by its id and remembers what becomes of it. Thread safe."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._changed: dict[str, Job] = {}
        self._flushing = threading.Lock()
        self._stop = threading.Event()
        with pool.connection() as connection:
            connection.execute(_DDL)
            connection.execute(_MARK_LOST, [[str(state) for state in TERMINAL]])
            connection.execute("DELETE FROM jobs.job WHERE started_at < now() - interval '30 days'")
        self._writer = threading.Thread(target=self._write_behind, name="job-writer", daemon=True)
        self._writer.start()

    def add(self, job: Job) -> None:
        """Make a job known; it is written with the next batch."""
        with self._lock:
            self._jobs[job.job_id] = job
            self._changed[job.job_id] = job
            self._forget_oldest()

    def changed(self, job: Job) -> None:
        """Have the job's present state written with the next batch."""
        with self._lock:
            self._changed[job.job_id] = job

    def _forget_oldest(self) -> None:
        while len(self._jobs) > KEPT_IN_MEMORY:
            oldest = next((key for key, job in self._jobs.items() if job.done), None)
            if oldest is None or oldest in self._changed:
                return
            del self._jobs[oldest]

    def find_live(self, job_id: str) -> Job | None:
        """The job if it is in memory, without asking PostgreSQL."""
        with self._lock:
            return self._jobs.get(job_id)

    def find(self, job_id: str) -> Job | None:
        """The job, from memory or from an earlier run of the server, or None."""
        return self.find_live(job_id) or self._load(job_id)

    def unfinished(self) -> list[Job]:
        """The jobs that have not ended."""
        with self._lock:
            return [job for job in self._jobs.values() if not job.done]

    def recent(self, limit: int) -> list[Job]:
        """The newest jobs of this and earlier runs, newest first."""
        self.flush()
        with self._pool.connection() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs.job ORDER BY started_at DESC LIMIT %s", [limit]
            ).fetchall()
        return [self.find_live(row[0]) or _job_of_row(row) for row in rows]

    def _load(self, job_id: str) -> Job | None:
        with self._pool.connection() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM jobs.job WHERE job_id = %s", [job_id]).fetchone()
        return _job_of_row(row) if row else None

    def _write_behind(self) -> None:
        while not self._stop.wait(WRITE_INTERVAL_SECONDS):
            try:
                self.flush()
            except psycopg.Error as error:
                log.warning("jobs cannot be written to PostgreSQL, will try again: %s", error)

    def flush(self) -> None:
        """Write what has changed until now. Raises psycopg.Error; what was not written stays to be written."""
        with self._flushing:  # who comes second finds written what the first has taken
            with self._lock:
                batch, self._changed = self._changed, {}
            if not batch:
                return
            try:
                with self._pool.connection() as connection:
                    connection.execute(_UPSERT, [json.dumps([_row_of_job(job) for job in batch.values()])])
            except psycopg.Error:
                with self._lock:
                    self._changed = {**batch, **self._changed}
                raise

    def close(self) -> None:
        """Stop writing behind and write the rest."""
        self._stop.set()
        self._writer.join(timeout=5)
        self.flush()


def _row_of_job(job: Job) -> dict[str, object]:
    return {
        "job_id": job.job_id,
        "sql": job.sql.replace("\0", ""),
        "user_name": job.user,
        "query_type": job.query_type,
        "context": job.context,
        "state": job.state,
        "history": [[state, at.isoformat()] for state, at in list(job.history)],
        "row_count": job.row_count,
        "error_message": job.error_message.replace("\0", ""),
        "cancellation_reason": job.cancellation_reason,
        "reflections": job.reflections,
        "datasets": job.datasets,
        "started_at": job.started_at.isoformat(),
        "ended_at": job.ended_at and job.ended_at.isoformat(),
    }


def _job_of_row(row: tuple) -> Job:
    job = Job(sql=row[1], user=row[2], query_type=row[3], context=row[4], job_id=row[0])
    job.state = JobState(row[5])
    job.history = [(JobState(state), dt.datetime.fromisoformat(at)) for state, at in row[6]]
    job.row_count, job.error_message, job.cancellation_reason = row[7:10]
    job.reflections, job.datasets, job.started_at, job.ended_at = row[10:14]
    job.future.set_result(None)
    return job
