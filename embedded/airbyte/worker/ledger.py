"""An attempt's record in PostgreSQL: its log, its statistics, and the state that it commits.

Every write is fenced: it happens only while the attempt is still the running one. A worker that was given up
(its job cancelled, its server restarted, its time over) can therefore not move a state behind its successor's
back; what it uploaded meanwhile is at worst delivered twice.
"""

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.database import Db
from embedded.airbyte.failures import SyncFailure

REPORT_SECONDS = 1.0  # between two writes of the counters that nothing but a look at the running job needs
COUNTERS = ("recordsEmitted", "bytesEmitted", "recordsCommitted", "bytesCommitted", "stateMessagesEmitted")


class AttemptOver(Exception):
    """The attempt is no longer the running one: the worker must stop and change nothing more."""


class Ledger:
    """One attempt of one job. Not for more than one thread at a time, except `log`."""

    def __init__(self, url: str, job_id: int, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self._db: Db = psycopg.connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            application_name=f"embedded-airbyte-job-{job_id}",
            options="-c synchronous_commit=off",  # of log lines: a fenced write waits for the disk
        )
        self._stats: dict[str, dict[str, int]] = {}
        self._unsaved: set[str] = set()  # streams whose counters have grown since they were written
        self._reported = time.monotonic()

    def close(self) -> None:
        self._db.close()

    def log(self, level: str, message: str) -> None:
        """Add a line to the attempt's log."""
        self._db.execute(
            "INSERT INTO log_line (job_id, attempt, level, message) VALUES (%s, %s, %s, %s)",
            (self.job_id, self.attempt, level, message.replace("\x00", "")),
        )

    def job(self) -> dict[str, Any]:
        """The job with its connection, source, destination and, for a low-code source, the manifest."""
        row = self._db.execute(
            """
            SELECT j.config_type, c.*, s.type AS source_type, s.configuration AS source_configuration,
                   s.name AS source_name, d.type AS destination_type,
                   d.configuration AS destination_configuration, m.manifest
            FROM job j
            JOIN connection c USING (connection_id)
            JOIN actor s ON s.actor_id = c.source_id
            JOIN actor d ON d.actor_id = c.destination_id
            LEFT JOIN declarative_definition m ON m.definition_id = s.definition_id
            WHERE j.job_id = %s
            """,
            (self.job_id,),
        ).fetchone()
        if row is None:
            raise AttemptOver(f"Job {self.job_id} does not exist.")
        return row

    def states(self, connection_id: Any) -> dict[str, dict[str, Any]]:
        """The committed state of each stream of the connection, by stream name."""
        row = self._db.execute("SELECT state FROM airbyte_state WHERE connection_id = %s", (connection_id,)).fetchone()
        entries = row["state"].get("streamState", []) if row else []
        return {entry["streamDescriptor"]["name"]: entry["streamState"] for entry in entries}

    def global_state(self, connection_id: Any) -> dict[str, Any] | None:
        """The committed state of the connection's streams together (CDC); None if each has its own, or none."""
        row = self._db.execute("SELECT state FROM airbyte_state WHERE connection_id = %s", (connection_id,)).fetchone()
        return row["state"].get("globalState") if row else None

    def begin(self, connection_id: Any, stream: ConfiguredStream) -> tuple[int, int]:
        """The generation that this job's records of a stream belong to, and its `commits`.

        A full refresh begins a new generation, once per job however many attempts it takes.
        """
        with self._running():
            row = self._db.execute(
                """
                INSERT INTO stream_record AS r (connection_id, stream, generation, generation_job)
                VALUES (%(connection)s, %(stream)s, %(first)s, %(job)s)
                ON CONFLICT (connection_id, stream) DO UPDATE SET
                    generation = CASE WHEN %(bump)s AND r.generation_job IS DISTINCT FROM %(job)s
                                      THEN r.generation + 1 ELSE r.generation END,
                    generation_job = CASE WHEN %(bump)s THEN %(job)s ELSE r.generation_job END
                RETURNING generation, commits
                """,
                {
                    "connection": connection_id,
                    "stream": stream.name,
                    "job": self.job_id,
                    "first": 0 if stream.incremental else 1,
                    "bump": not stream.incremental,
                },
            ).fetchone()
        assert row is not None  # an upsert with RETURNING always gives its row
        return int(row["generation"]), int(row["commits"])

    def commits(self, connection_id: Any, stream: str) -> int:
        """How many states that cover rows of the stream were stored, in all syncs."""
        row = self._db.execute(
            "SELECT commits FROM stream_record WHERE connection_id = %s AND stream = %s", (connection_id, stream)
        ).fetchone()
        return int(row["commits"]) if row else 0

    def record_columns(self, connection_id: Any, stream: str, columns: dict[str, str]) -> dict[str, str]:
        """Keep the columns (name -> type) that this sync writes; returns those of the sync before (or {})."""
        with self._running():
            row = self._db.execute(
                "SELECT columns FROM stream_record WHERE connection_id = %s AND stream = %s",
                (connection_id, stream),
            ).fetchone()
            self._db.execute(
                """
                INSERT INTO stream_record (connection_id, stream, columns) VALUES (%s, %s, %s)
                ON CONFLICT (connection_id, stream) DO UPDATE SET columns = EXCLUDED.columns
                """,
                (connection_id, stream, Jsonb(columns)),
            )
        return (row["columns"] or {}) if row else {}

    def delivered_columns(self, connection_id: Any, stream: str) -> dict[str, str]:
        """The columns (name -> type) that all syncs before delivered, as far as they were remembered."""
        row = self._db.execute(
            "SELECT delivered FROM stream_record WHERE connection_id = %s AND stream = %s", (connection_id, stream)
        ).fetchone()
        return (row["delivered"] or {}) if row else {}

    def remember_columns(self, connection_id: Any, stream: str, columns: Mapping[str, str]) -> None:
        """Add to the columns that were delivered; the newer type counts."""
        with self._running():
            self._db.execute(
                """
                INSERT INTO stream_record AS r (connection_id, stream, delivered) VALUES (%s, %s, %s)
                ON CONFLICT (connection_id, stream) DO UPDATE
                SET delivered = coalesce(r.delivered, '{}') || EXCLUDED.delivered
                """,
                (connection_id, stream, Jsonb(dict(columns))),
            )

    def emitted(self, stream: str, records: int, size: int) -> None:
        """Count records read (not yet durable); written to the database with the next checkpoint."""
        counters = self._counters(stream)
        counters["recordsEmitted"] += records
        counters["bytesEmitted"] += size

    def report(self) -> None:
        """Write the counters now and then, so that a poll of the running job sees them grow."""
        if time.monotonic() < self._reported + REPORT_SECONDS:
            return
        with self._running():
            self._save_stats()

    def commit(self, connection_id: Any, stream: str, state: dict[str, Any], covered: list[str]) -> None:
        """Everything emitted for the covered streams is durable: count it and store the state, in one transaction.

        :raises AttemptOver: the attempt was given up meanwhile; nothing is stored.
        """
        self._count_committed(covered)
        self._counters(stream)["stateMessagesEmitted"] += 1
        with self._running():
            self._put_state(connection_id, stream, state)
            self._count_commit(connection_id, covered)
            self._save_stats()

    def commit_global(self, connection_id: Any, state: dict[str, Any], covered: list[str]) -> None:
        """As `commit`, with one state for all streams of the connection."""
        self._count_committed(covered)
        with self._running():
            self._db.execute(
                """
                INSERT INTO airbyte_state (connection_id, state, updated_at)
                VALUES (%s, %s, now() AT TIME ZONE 'UTC')
                ON CONFLICT (connection_id) DO UPDATE SET updated_at = EXCLUDED.updated_at, state = EXCLUDED.state
                """,
                (connection_id, Jsonb({"stateType": "global", "globalState": state})),
            )
            self._count_commit(connection_id, covered)
            self._save_stats()

    def clear_states(self, connection_id: Any) -> None:
        """Forget all states and begin a new generation of every stream (a clear, formerly called reset)."""
        with self._running():
            self._db.execute("DELETE FROM airbyte_state WHERE connection_id = %s", (connection_id,))
            self._db.execute(
                """UPDATE stream_record SET generation = generation + 1, generation_job = %s
                   WHERE connection_id = %s AND generation_job IS DISTINCT FROM %s""",
                (self.job_id, connection_id, self.job_id),
            )

    def save_streams(self, connection_id: Any, before: list[dict[str, Any]], now: list[dict[str, Any]]) -> None:
        """Keep the columns that the source has now in the connection, unless someone changed it meanwhile."""
        with self._running():
            self._db.execute(
                "UPDATE connection SET streams = %s WHERE connection_id = %s AND streams = %s",
                (Jsonb(now), connection_id, Jsonb(before)),
            )

    def disable_connection(self, connection_id: Any) -> None:
        """Stop further syncs of the connection, as its policy on schema changes says."""
        with self._running():
            self._db.execute("UPDATE connection SET status = 'inactive' WHERE connection_id = %s", (connection_id,))

    def succeed(self) -> None:
        """End the attempt and its job."""
        with self._running():
            self._save_stats()
            self._db.execute(
                """UPDATE attempt SET status = 'succeeded', ended_at = now(), updated_at = now()
                   WHERE job_id = %s AND number = %s""",
                (self.job_id, self.attempt),
            )
            self._db.execute(
                "UPDATE job SET status = 'succeeded', updated_at = now() WHERE job_id = %s", (self.job_id,)
            )

    def fail(self, failure: SyncFailure, timestamp_ms: int) -> None:
        """End the attempt with its reason; whether the job goes on is the supervisor's decision."""
        with self._running():
            self._save_stats()
            self._db.execute(
                """UPDATE attempt SET status = 'failed', ended_at = now(), updated_at = now(), failures = %s
                   WHERE job_id = %s AND number = %s""",
                (Jsonb([failure.as_reason(timestamp_ms)]), self.job_id, self.attempt),
            )

    def _count_commit(self, connection_id: Any, covered: list[str]) -> None:
        self._db.execute(
            "UPDATE stream_record SET commits = commits + 1 WHERE connection_id = %s AND stream = ANY (%s)",
            (connection_id, covered),
        )

    def _count_committed(self, covered: list[str]) -> None:
        for name in covered:
            counters = self._counters(name)
            counters["recordsCommitted"] = counters["recordsEmitted"]
            counters["bytesCommitted"] = counters["bytesEmitted"]

    def _counters(self, stream: str) -> dict[str, int]:
        """The stream's counters, to be changed."""
        self._unsaved.add(stream)
        return self._stats.setdefault(stream, dict.fromkeys(COUNTERS, 0))

    def _save_stats(self) -> None:
        """Write the counters of the streams where they have grown, not of all: there may be thousands."""
        grown = {stream: self._stats[stream] for stream in self._unsaved}
        self._db.execute(
            """
            WITH saved AS (
                INSERT INTO stream_stats (job_id, attempt, stream, counters)
                SELECT %(job)s, %(attempt)s, key, value FROM jsonb_each(%(grown)s)
                ON CONFLICT (job_id, attempt, stream) DO UPDATE SET counters = EXCLUDED.counters
            )
            UPDATE attempt SET updated_at = now() WHERE job_id = %(job)s AND number = %(attempt)s
            """,
            {"job": self.job_id, "attempt": self.attempt, "grown": Jsonb(grown)},
        )
        self._unsaved.clear()
        self._reported = time.monotonic()

    def _put_state(self, connection_id: Any, stream: str, state: dict[str, Any]) -> None:
        entry = {"streamDescriptor": {"name": stream}, "streamState": state}
        self._db.execute(
            """
            INSERT INTO airbyte_state AS s (connection_id, state, updated_at)
            VALUES (%(id)s, jsonb_build_object('stateType', 'stream', 'streamState', jsonb_build_array(%(entry)s)),
                    now() AT TIME ZONE 'UTC')
            ON CONFLICT (connection_id) DO UPDATE SET
                updated_at = EXCLUDED.updated_at,
                state = jsonb_set(s.state - 'globalState' || '{"stateType": "stream"}', '{streamState}', (
                    SELECT coalesce(jsonb_agg(e ORDER BY e #>> '{streamDescriptor,name}'), '[]')
                    FROM (SELECT e FROM jsonb_array_elements(s.state -> 'streamState') e
                          WHERE e #>> '{streamDescriptor,name}' <> %(stream)s
                          UNION ALL SELECT %(entry)s) AS entries(e)))
            """,
            {"id": connection_id, "stream": stream, "entry": Jsonb(entry)},
        )

    def _running(self) -> "_Fence":
        return _Fence(self._db, self.job_id, self.attempt)


class _Fence:
    """A transaction that goes on only while the attempt is running, and holds it running until its end."""

    def __init__(self, db: Db, job_id: int, attempt: int) -> None:
        self._db = db
        self._key = (job_id, attempt)
        self._transaction = db.transaction()

    def __enter__(self) -> None:
        self._transaction.__enter__()
        row = self._db.execute(
            """SELECT set_config('synchronous_commit', 'on', true) FROM attempt a JOIN job j USING (job_id)
               WHERE a.job_id = %s AND a.number = %s AND a.status = 'running' AND j.status = 'running'
               FOR UPDATE""",
            self._key,
        ).fetchone()
        if row is None:
            over = AttemptOver(f"Attempt {self._key[1]} of job {self._key[0]} is not running any more.")
            self._transaction.__exit__(type(over), over, None)
            raise over

    def __exit__(self, *details: Any) -> None:
        self._transaction.__exit__(*details)
