"""Jobs and their attempts in PostgreSQL: created, listed, ended. Whoever runs them is `supervisor`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from embedded.airbyte.database import Db, Row
from embedded.airbyte.failures import SyncFailure

ACTIVE = ("pending", "running", "incomplete")
TERMINAL = ("succeeded", "failed", "cancelled")
# what the API calls a job type -> what the job row and the config API call it
CONFIG_TYPES = {"sync": "sync", "reset": "reset_connection", "clear": "clear"}
KEPT_JOBS = 1000  # of a connection: one that is synced every few seconds would fill the disk with its logs
_FORGET = """
    WITH old AS (
        SELECT job_id FROM job WHERE connection_id = %(connection)s AND status = ANY (%(terminal)s) AND job_id <= (
            SELECT job_id FROM job WHERE connection_id = %(connection)s ORDER BY job_id DESC OFFSET %(kept)s LIMIT 1
        )
    ), lines AS (DELETE FROM log_line USING old WHERE log_line.job_id = old.job_id),
    stats AS (DELETE FROM stream_stats USING old WHERE stream_stats.job_id = old.job_id),
    attempts AS (DELETE FROM attempt USING old WHERE attempt.job_id = old.job_id)
    DELETE FROM job USING old WHERE job.job_id = old.job_id
"""
ORDER_COLUMNS = {"createdAt": "created_at", "updatedAt": "updated_at"}


class AlreadyRunning(Exception):
    """The connection has a job that is not finished."""


class Jobs:
    """The job tables. All methods are safe to call from several threads."""

    def __init__(self, pool: ConnectionPool[Db]) -> None:
        self._pool = pool

    def create(self, connection_id: UUID, job_type: str) -> Row:
        """Add a pending job, and forget those before the connection's KEPT_JOBS newest.

        :param job_type: a key of CONFIG_TYPES.
        :raises AlreadyRunning: the connection has an unfinished job; nothing was added.
        """
        try:
            with self._pool.connection() as db:
                row = db.execute(
                    "INSERT INTO job (connection_id, config_type, status) VALUES (%s, %s, 'pending') RETURNING *",
                    (connection_id, CONFIG_TYPES[job_type]),
                ).fetchone()
                db.execute(_FORGET, {"connection": connection_id, "terminal": list(TERMINAL), "kept": KEPT_JOBS})
        except UniqueViolation:
            raise AlreadyRunning(f"A sync is already running for: {connection_id}") from None
        assert row is not None  # INSERT ... RETURNING
        return row

    def get(self, job_id: int) -> Row | None:
        with self._pool.connection() as db:
            return db.execute("SELECT * FROM job WHERE job_id = %s", (job_id,)).fetchone()

    def active_job(self, connection_id: UUID) -> Row | None:
        """The unfinished job of a connection."""
        with self._pool.connection() as db:
            return db.execute(
                "SELECT * FROM job WHERE connection_id = %s AND status = ANY (%s)", (connection_id, list(ACTIVE))
            ).fetchone()

    def search(
        self,
        *,
        connection_ids: list[UUID] | None = None,
        workspace_ids: list[UUID] | None = None,
        config_types: list[str] | None = None,
        statuses: list[str] | None = None,
        times: dict[str, datetime] | None = None,
        order: str = "created_at",
        descending: bool = False,
        limit: int = 20,
        offset: int = 0,
    ) -> tuple[list[Row], int]:
        """A page of jobs and the number of all that match.

        :param times: bounds named `created_at_start`, `created_at_end`, `updated_at_start`, `updated_at_end`.
        :param order: a value of ORDER_COLUMNS.
        """
        times = times or {}
        where = """
            (%(connections)s::uuid[] IS NULL OR j.connection_id = ANY (%(connections)s))
            AND (%(workspaces)s::uuid[] IS NULL OR c.workspace_id = ANY (%(workspaces)s))
            AND (%(types)s::text[] IS NULL OR j.config_type = ANY (%(types)s))
            AND (%(statuses)s::text[] IS NULL OR j.status = ANY (%(statuses)s))
            AND (%(created_from)s::timestamptz IS NULL OR j.created_at >= %(created_from)s)
            AND (%(created_to)s::timestamptz IS NULL OR j.created_at <= %(created_to)s)
            AND (%(updated_from)s::timestamptz IS NULL OR j.updated_at >= %(updated_from)s)
            AND (%(updated_to)s::timestamptz IS NULL OR j.updated_at <= %(updated_to)s)
        """
        values = {
            "connections": connection_ids,
            "workspaces": workspace_ids,
            "types": config_types,
            "statuses": statuses,
            "created_from": times.get("created_at_start"),
            "created_to": times.get("created_at_end"),
            "updated_from": times.get("updated_at_start"),
            "updated_to": times.get("updated_at_end"),
            "limit": limit,
            "offset": offset,
        }
        tables = "FROM job j JOIN connection c USING (connection_id) WHERE " + where
        direction = "DESC" if descending else "ASC"
        assert order in ORDER_COLUMNS.values()
        with self._pool.connection() as db:
            total = db.execute("SELECT count(*) AS n " + tables, values).fetchone()
            page = db.execute(
                f"SELECT j.* {tables} ORDER BY j.{order} {direction}, j.job_id {direction} "
                "LIMIT %(limit)s OFFSET %(offset)s",
                values,
            ).fetchall()
        return page, int(total["n"]) if total else 0

    def attempts(self, job_id: int) -> list[Row]:
        """The attempts of a job, first to last, each with `stream_stats`: stream -> counters."""
        with self._pool.connection() as db:
            return db.execute(
                """SELECT a.*, (SELECT coalesce(jsonb_object_agg(stream, counters), '{}') FROM stream_stats s
                                WHERE (s.job_id, s.attempt) = (a.job_id, a.number)) AS stream_stats
                   FROM attempt a WHERE job_id = %s ORDER BY number""",
                (job_id,),
            ).fetchall()

    def log_lines(self, job_id: int, attempt: int) -> list[str]:
        """The attempt's log as text lines."""
        with self._pool.connection() as db:
            rows = db.execute(
                """SELECT logged_at, level, message FROM log_line
                   WHERE job_id = %s AND attempt = %s ORDER BY line_id""",
                (job_id, attempt),
            ).fetchall()
        return [f"{row['logged_at']:%Y-%m-%d %H:%M:%S} {row['level']} {row['message']}" for row in rows]

    def begin_attempt(self, job_id: int) -> int | None:
        """Start the next attempt of a job; None if the job was ended (cancelled) meanwhile."""
        with self._pool.connection() as db:
            job = db.execute(
                """UPDATE job SET status = 'running', updated_at = now(), started_at = coalesce(started_at, now())
                   WHERE job_id = %s AND status = ANY (%s) RETURNING job_id""",
                (job_id, list(ACTIVE)),
            ).fetchone()
            if job is None:
                return None
            row = db.execute(
                """INSERT INTO attempt (job_id, number, status)
                   SELECT %(job)s, count(*), 'running' FROM attempt WHERE job_id = %(job)s RETURNING number""",
                {"job": job_id},
            ).fetchone()
        assert row is not None  # INSERT ... RETURNING
        return int(row["number"])

    def end_attempt(self, job_id: int, number: int, failure: SyncFailure, timestamp_ms: int) -> None:
        """Record a failure of an attempt that could not record one itself; one that ended is left as it is."""
        with self._pool.connection() as db:
            db.execute(
                """UPDATE attempt SET status = 'failed', ended_at = now(), updated_at = now(), failures = %s
                   WHERE job_id = %s AND number = %s AND status = 'running'""",
                (Jsonb([failure.as_reason(timestamp_ms)]), job_id, number),
            )

    def set_status(self, job_id: int, status: str) -> bool:
        """Move an unfinished job to a status; False if it had ended already."""
        with self._pool.connection() as db:
            row = db.execute(
                """UPDATE job SET status = %s, updated_at = now()
                   WHERE job_id = %s AND status = ANY (%s) RETURNING job_id""",
                (status, job_id, list(ACTIVE)),
            ).fetchone()
        return row is not None

    def unfinished(self) -> list[Row]:
        """Jobs that a server which is gone has left, oldest first."""
        with self._pool.connection() as db:
            return db.execute("SELECT * FROM job WHERE status = ANY (%s) ORDER BY job_id", (list(ACTIVE),)).fetchall()

    def settings(self, job_id: int) -> dict[str, Any]:
        """The `lakehouse` settings of the job's connection."""
        with self._pool.connection() as db:
            row = db.execute(
                "SELECT c.lakehouse FROM job JOIN connection c USING (connection_id) WHERE job_id = %s", (job_id,)
            ).fetchone()
        return row["lakehouse"] if row else {}


def totals(attempts: list[Row]) -> dict[str, int]:
    """The counters of all streams of all attempts, added up."""
    counters: dict[str, int] = {}
    for attempt in attempts:
        for stats in attempt["stream_stats"].values():
            for name, value in stats.items():
                counters[name] = counters.get(name, 0) + value
    return counters
