"""Keeps a row for each run and each try of a task, as Airflow tells of them.

Task events come in the task's own process (for one that was killed, in the scheduler); run events come in the
scheduler. Nothing here raises, and a database that is away or hangs costs each event 3 s: the first connection or
statement that takes so long ends it.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.listeners import hookimpl

from lakehouse.ops.batch import BatchDateError, batch_date
from lakehouse.ops.explain import explain

log = logging.getLogger(__name__)

LIMIT = 3.0  # seconds for a statement: run events come in the scheduler's own loop, where 30 s would hold up all runs


@hookimpl
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    """A try began, or went on after it was deferred."""
    _task(task_instance, "running")


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """A try succeeded."""
    _task(task_instance, "success", ended=True)


@hookimpl
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """A task skipped itself."""
    _task(task_instance, "skipped", ended=True)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """A try failed: says in the task's log what failed and what to do, and keeps both."""
    told = explain(error)
    what, remedy = _redacted(told.what), _redacted(told.remedy)
    log.error("What failed: %s.\nWhat to do: %s", what, remedy)
    retry = "retry" in str(getattr(task_instance, "state", "") or "").lower()
    _task(task_instance, "up_for_retry" if retry else "failed", ended=True, error=what, remedy=remedy)


@hookimpl
def on_dag_run_running(dag_run: Any, msg: str) -> None:
    """A run began, or begins again after tasks were cleared."""
    if getattr(dag_run, "clear_number", None) == 0:
        _forget_namesake(dag_run)
    _run(dag_run, "running")


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """A run ended well."""
    _run(dag_run, "success")


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """A run failed."""
    _run(dag_run, "failed")


def _task(ti: Any, state: str, *, ended: bool = False, **more: Any) -> None:
    try:
        from lakehouse.ops import database, runs  # psycopg2: not before there is something to write

        now = datetime.now(UTC)
        map_index = getattr(ti, "map_index", None)
        key = (ti.dag_id, ti.run_id, ti.task_id, -1 if map_index is None else map_index, ti.try_number)
        values = {
            "started_at": getattr(ti, "start_date", None) or now,
            "ended_at": (getattr(ti, "end_date", None) or now) if ended else None,
            "hostname": getattr(ti, "hostname", None),
            "log_url": getattr(ti, "log_url", None),
        }
        with database.limited(LIMIT):
            runs.keep_task(key, state, values | more)
    except Exception as error:
        log.warning("no record of %s of %s: %s", state, getattr(ti, "task_id", "?"), error)


def _run(dag_run: Any, state: str) -> None:
    try:
        from lakehouse.ops import database, runs

        ended = None if state == "running" else (dag_run.end_date or datetime.now(UTC))
        with database.limited(LIMIT):
            runs.keep_run(dag_run.dag_id, dag_run.run_id, _batch(dag_run), state, dag_run.start_date, ended)
    except Exception as error:
        log.warning("no record of %s of %s: %s", state, getattr(dag_run, "run_id", "?"), error)


def _forget_namesake(dag_run: Any) -> None:
    try:
        from lakehouse.ops import runs

        runs.forget(dag_run.dag_id, dag_run.run_id)
    except Exception as error:
        log.warning("records of an earlier run %s may remain: %s", getattr(dag_run, "run_id", "?"), error)


def _batch(dag_run: Any) -> Any:
    try:
        return batch_date({"dag_run": dag_run, "params": dag_run.conf or {}})
    except BatchDateError:
        return None


def _redacted(text: str) -> str:
    from airflow.sdk.log import redact

    return str(redact(text))
