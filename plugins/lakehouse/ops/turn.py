"""Turns: of the runs of a DAG one is under way at a time, also when Airflow would let several run.

Airflow's `max_active_runs` does not count the runs of a backfill (each backfill has a limit of its own, by default
10), so one can run beside another and beside the run that cron starts. A batch that publishes, builds and releases
in several steps needs them one after the other.

Every task asks before it begins (`take`, as `pre_execute`), and not the first one alone, because any group of an old
run may be cleared. The run has its turn when no run that is under way stands before it in a line in PostgreSQL, where
it has stood since it first asked. Whether a run is under way is asked of Airflow, not kept: nothing is to be given
back or to expire, so a killed process frees or blocks nobody. A run that has ended, or waits to be started again,
loses its place to the first that finds it before itself, and stands at the end when it is cleared.

A task whose run has to wait is rescheduled and holds no worker meanwhile. The DAG's first task does nothing else, so
that a waiting run is one waiting task.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2

from lakehouse.ops import database, runs
from lakehouse.ops.schema import ensure_schema

log = logging.getLogger(__name__)

PAUSE = 10.0  # seconds between two questions for each run ahead: whoever is far back need not ask often
_LOCK = 7_301_555  # of pg_advisory_xact_lock: places become visible in their order
_STAND_IN_LINE = """
INSERT INTO turn (dag_id, run_id) VALUES (%(dag_id)s, %(run_id)s)
ON CONFLICT (dag_id, run_id) DO UPDATE SET asked = turn.asked + 1
"""
_AHEAD = """
SELECT run_id, asked FROM turn WHERE dag_id = %(dag_id)s AND place < (
    SELECT place FROM turn WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s
) ORDER BY place
"""
# Not if that run has asked meanwhile: then it has been cleared, and has kept its place.
_SEND_AWAY = "DELETE FROM turn WHERE dag_id = %s AND run_id = %s AND asked = %s RETURNING run_id"


def take(context: Mapping[str, Any]) -> None:
    """Let the running task begin if its run has its turn, else have it rescheduled.

    Example::

        DAG("daily_batch", default_args={"pre_execute": turn.take})

    :param context: Airflow's task context.
    :raises AirflowRescheduleException: another run is under way; the log says which.
    :raises psycopg2.Error: the database of the run records does not answer.
    """
    from airflow.sdk.exceptions import AirflowRescheduleException  # an exception of the task process alone

    ti = context["ti"]
    first, ahead = _first_under_way(ti)
    if first is None:
        return
    pause = PAUSE * ahead
    log.info(
        "Run %s of %s is under way: this run waits until it has ended, and asks again in %.0f s. If that run "
        "cannot go on (its backfill is paused, say), let it, or mark it as failed.",
        first, ti.dag_id, pause,
    )  # fmt: skip
    _note(ti)
    raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=pause))


def leave_to(dag_id: str) -> Callable[[Mapping[str, Any]], None]:
    """Return a `pre_execute` that skips its task, and what comes after it, while a run of another DAG is under way.

    For what the other DAG does as well, and would be disturbed by: it reads in several steps what the task changes.

    Example::

        PublishOperator(task_id="postgres", source="postgres", streams=streams, pre_execute=leave_to("daily_batch"))
    """

    def unless_under_way(context: Mapping[str, Any]) -> None:
        from airflow.sdk.exceptions import AirflowSkipException  # as in `take`

        # a queued run too: it may be a failed one that was cleared, and goes on with what it has read
        if context["ti"].get_dr_count(dag_id=dag_id, states=["running", "queued"]):
            raise AirflowSkipException(f"A run of {dag_id} is under way: it is left to it and to the next run here.")

    return unless_under_way


def _first_under_way(ti: Any) -> tuple[str | None, int]:
    """The run that is under way before this one (None: it is this one's turn), and how many stand ahead."""
    ahead = _line_before(ti.dag_id, ti.run_id)
    for gone, (run_id, asked) in enumerate(ahead):
        # a queued run was cleared and may be waiting for this one to end, so it has to stand behind it
        if ti.get_dr_count(dag_id=ti.dag_id, run_ids=[run_id], states=["running"]):
            return run_id, len(ahead) - gone
        if not _send_away(ti.dag_id, run_id, asked):
            return _first_under_way(ti)  # it asked meanwhile, or another run was quicker
    return None, 0


def _line_before(dag_id: str, run_id: str) -> list[tuple[str, int]]:
    """Stand in line if the run does not yet; the runs before it, first one first."""
    url = database.dsn()
    ensure_schema(url)
    run = {"dag_id": dag_id, "run_id": run_id}
    connection = database.connect(url, autocommit=False)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            cursor.execute(_STAND_IN_LINE, run)
            cursor.execute(_AHEAD, run)
            return [(other, asked) for other, asked in cursor.fetchall()]
    finally:
        connection.close()


def _send_away(dag_id: str, run_id: str, asked: int) -> bool:
    return bool(database.run(database.dsn(), _SEND_AWAY, (dag_id, run_id, asked)))


def _note(ti: Any) -> None:
    """Waiting is not counted as time of the task's group."""
    try:
        key = (ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index, ti.try_number)
        runs.keep_task(key, "up_for_reschedule", {})
    except psycopg2.Error as error:  # a record is never worth a failed task
        log.warning("it was not kept that %s waits: %s", ti.task_id, str(error).strip())
