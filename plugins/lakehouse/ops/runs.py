"""The rows about runs and tasks: written by the listener and the report, read by report and page."""

import json
from datetime import date, datetime
from typing import Any

from lakehouse.ops import database
from lakehouse.ops.explain import KILLED
from lakehouse.ops.schema import ensure_schema

_UPSERT_RUN = """
INSERT INTO pipeline_run AS r (dag_id, run_id, batch_date, state, started_at, ended_at)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (dag_id, run_id) DO UPDATE
SET batch_date = coalesce(excluded.batch_date, r.batch_date), state = excluded.state,
    started_at = coalesce(excluded.started_at, r.started_at), ended_at = excluded.ended_at
"""
_SUMMARISE = """
INSERT INTO pipeline_run AS r (dag_id, run_id, batch_date, state, summary) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (dag_id, run_id) DO UPDATE SET batch_date = excluded.batch_date, summary = excluded.summary
"""
# A deferred task begins twice in one try: the first time is kept. One that waits for its run's turn has not begun.
_UPSERT_TASK = """
INSERT INTO task_run AS t
    (dag_id, run_id, task_id, map_index, try_number, state, started_at, ended_at, hostname, log_url, error, remedy)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (dag_id, run_id, task_id, map_index, try_number) DO UPDATE
SET state = excluded.state,
    started_at = CASE WHEN 'up_for_reschedule' IN (t.state, excluded.state) THEN excluded.started_at
        ELSE coalesce(t.started_at, excluded.started_at) END,
    ended_at = excluded.ended_at, hostname = excluded.hostname, log_url = excluded.log_url,
    error = excluded.error, remedy = excluded.remedy
"""
_CLOSE = """
UPDATE task_run SET state = 'killed', ended_at = now(), error = %s, remedy = %s
WHERE dag_id = %s AND run_id = %s AND state = 'running'
"""
_TASK_COLUMNS = "task_id, map_index, try_number, state, started_at, ended_at, log_url, error, remedy"
_LATEST_TRIES = f"""
SELECT DISTINCT ON (task_id, map_index) {_TASK_COLUMNS} FROM task_run
WHERE dag_id = %s AND run_id = %s ORDER BY task_id, map_index, try_number DESC
"""
_RUN_COLUMNS = "dag_id, run_id, batch_date, state, started_at, ended_at, summary"


def _url() -> str:
    url = database.dsn()
    ensure_schema(url)
    return url


def keep_run(
    dag_id: str,
    run_id: str,
    batch: date | None,
    state: str,
    started_at: datetime | None,
    ended_at: datetime | None,
) -> None:
    """Write the state of a run; a run that ended leaves no task open (a killed one could not say so itself)."""
    url = _url()
    database.run(url, _UPSERT_RUN, (dag_id, run_id, batch, state, started_at, ended_at))
    if ended_at is not None:
        database.run(url, _CLOSE, (*KILLED, dag_id, run_id))


def forget(dag_id: str, run_id: str) -> None:
    """Forget the tries of a run that was deleted in Airflow, before one of the same name begins: it counts its tries
    from 1, and what the other left would pass for newer.
    """
    url, run = _url(), (dag_id, run_id)
    for table in ("task_fact", "task_run", "missed_deadline"):
        database.run(url, f"DELETE FROM {table} WHERE dag_id = %s AND run_id = %s", run)
    database.run(url, "UPDATE lease SET try_number = 0 WHERE starts_with(holder, %s)", (f"{dag_id}/{run_id}/",))


def keep_task(key: tuple[str, str, str, int, int], state: str, values: dict[str, Any]) -> None:
    """Write the state of one try of a task.

    :param key: dag id, run id, task id, map index, try number.
    :param values: started_at, ended_at, hostname, log_url, error, remedy.
    """
    names = ("started_at", "ended_at", "hostname", "log_url", "error", "remedy")
    database.run(_url(), _UPSERT_TASK, (*key, state, *(values.get(name) for name in names)))


def keep_summary(dag_id: str, run_id: str, batch: date, state: str, summary: dict[str, Any]) -> None:
    """Write the summary of a run, in place of an earlier one."""
    database.run(_url(), _SUMMARISE, (dag_id, run_id, batch, state, json.dumps(summary, default=str)))


def keep_missed_deadline(dag_id: str, run_id: str, promise: str) -> None:
    """Write that a run did not keep a deadline; the first time counts."""
    database.run(
        _url(),
        "INSERT INTO missed_deadline (dag_id, run_id, promise) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (dag_id, run_id, promise),
    )


def tasks(dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return the latest try of each task of a run that has begun."""
    names = _TASK_COLUMNS.split(", ")
    return [dict(zip(names, row, strict=True)) for row in database.run(_url(), _LATEST_TRIES, (dag_id, run_id))]


def run_of(dag_id: str, run_id: str) -> dict[str, Any] | None:
    """Return the row of a run, None if it never began."""
    found = _runs("WHERE dag_id = %s AND run_id = %s", (dag_id, run_id))
    return found[0] if found else None


def newest_runs(dag_ids: list[str], limit: int = 20) -> list[dict[str, Any]]:
    """Return the newest runs of some DAGs, newest first."""
    return _runs("WHERE dag_id = ANY(%s) ORDER BY started_at DESC NULLS LAST LIMIT %s", (dag_ids, limit))


def missed_deadlines(dag_id: str, run_id: str) -> list[str]:
    """Return the deadlines that a run did not keep."""
    statement = "SELECT promise FROM missed_deadline WHERE dag_id = %s AND run_id = %s ORDER BY missed_at"
    return [row[0] for row in database.run(_url(), statement, (dag_id, run_id))]


def _runs(condition: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
    names = _RUN_COLUMNS.split(", ")
    rows = database.run(_url(), f"SELECT {_RUN_COLUMNS} FROM pipeline_run {condition}", values)
    return [dict(zip(names, row, strict=True)) for row in rows]
