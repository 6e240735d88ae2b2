"""``sys.jobs_recent`` and ``sys.jobs``, which the enterprise edition has."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa

from embedded.dremio.engine import Engine
from embedded.dremio.jobs.model import Job, JobState
from embedded.dremio.jobs.store import JobStore

SHOWN_JOBS = 100_000
_TIME = pa.timestamp("ms")

JOBS = pa.schema(
    [
        ("job_id", pa.utf8()),
        ("status", pa.utf8()),
        ("query_type", pa.utf8()),
        ("user_name", pa.utf8()),
        ("queried_datasets", pa.utf8()),
        ("attempt_count", pa.int32()),
        ("submitted_ts", _TIME),
        ("planning_start_ts", _TIME),
        ("execution_start_ts", _TIME),
        ("final_state_ts", _TIME),
        ("submitted_epoch_millis", pa.int64()),
        ("final_state_epoch_millis", pa.int64()),
        ("rows_returned", pa.int64()),
        ("accelerated", pa.bool_()),
        ("error_msg", pa.utf8()),
        ("query", pa.utf8()),
    ]
)


def register(engine: Engine, store: JobStore) -> None:
    """Make the tables known to the engine; rows are read at each query, newest first."""
    for name in ("jobs", "jobs_recent"):
        engine.register_system_table(name, JOBS, lambda: [_row(job) for job in store.recent(SHOWN_JOBS)])


def _plain(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def _milliseconds(moment: dt.datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)


def _row(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "status": job.state,
        "query_type": job.query_type,
        "user_name": job.user,
        "queried_datasets": ", ".join(job.datasets),
        "attempt_count": 1,
        "submitted_ts": _plain(job.started_at),
        "planning_start_ts": _plain(job.entered_at(JobState.PLANNING)),
        "execution_start_ts": _plain(job.entered_at(JobState.RUNNING)),
        "final_state_ts": _plain(job.ended_at),
        "submitted_epoch_millis": _milliseconds(job.started_at),
        "final_state_epoch_millis": _milliseconds(job.ended_at),
        "rows_returned": job.row_count or 0,
        "accelerated": any(one["relationship"] == "CHOSEN" for one in job.reflections),
        "error_msg": job.error_message,
        "query": job.sql,
    }
