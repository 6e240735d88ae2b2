import asyncio
import threading
import time

import pytest
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.dremio.exceptions import DremioJobCanceled, DremioTimeout
from lakehouse.dremio.jobs import JobState
from lakehouse.dremio.operators import sql as module
from lakehouse.dremio.operators.sql import DremioSqlOperator
from lakehouse.dremio.triggers import DremioJobTrigger

DIGITS = "(VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9))"


def slow_sql(power):
    """A cross join of 10**power rows: some seconds of work that nothing can shorten."""
    tables = ", ".join(f"{DIGITS} AS t{n}(x)" for n in range(power))
    total = " + ".join(f"t{n}.x * {n + 1}" for n in range(power))
    return f"SELECT SUM(SQRT({total})) AS total FROM {tables}"


class Store(dict):
    def set(self, key, value):
        self[key] = value

    def delete(self, key):
        self.pop(key, None)


def test_statements_run_in_order_and_rows_are_counted(hook, lake, context_of):
    table = f'"{lake}"."sql"."numbers"'
    operator = DremioSqlOperator(
        task_id="it",
        sql=f"CREATE TABLE {table} AS SELECT * FROM (VALUES (1),(2),(3)) AS t(a); SELECT * FROM {table};",
    )
    try:
        result = operator.execute(context_of(store=Store()))
        assert result["row_count"] == 3 and len(result["statements"]) == 2
    finally:
        hook.run_job(f"DROP TABLE IF EXISTS {table}")


def test_few_rows_are_returned(context_of):
    operator = DremioSqlOperator(task_id="it", sql="SELECT x FROM (VALUES (1),(2)) AS t(x) ORDER BY x", return_rows=2)
    assert operator.execute(context_of(store=Store()))["rows"] == [{"x": 1}, {"x": 2}]


def test_a_long_job_is_deferred_awaited_by_the_trigger_and_picked_up(context_of, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)
    operator = DremioSqlOperator(task_id="it", sql=slow_sql(8))
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(store=Store()))
    trigger = deferred.value.trigger
    event = asyncio.run(first_event(trigger))
    assert event["reason"] == "ended"
    result = operator.resume(context_of(store=Store()), event)
    assert result["row_count"] == 1


def test_a_second_try_adopts_the_running_job(hook, context_of, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)
    store = Store()
    with pytest.raises(TaskDeferred) as first:
        DremioSqlOperator(task_id="it", sql=slow_sql(8)).execute(context_of(store=store))
    job_id = first.value.trigger.job_id
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 60.0)
    result = DremioSqlOperator(task_id="it", sql=slow_sql(8)).execute(context_of(store=store))
    assert result["statements"][0]["job_id"] == job_id
    assert store == {}


def test_a_kill_cancels_the_job_in_the_worker(hook, context_of):
    operator = DremioSqlOperator(task_id="it", sql=slow_sql(9), deferrable=False)
    errors = []

    def run():
        try:
            operator.execute(context_of())
        except DremioJobCanceled as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while operator._running_job is None:
        time.sleep(0.05)
    operator.on_kill()
    thread.join(timeout=30)
    assert errors and hook.get_job(errors[0].job_id).state is JobState.CANCELED


def test_a_kill_cancels_the_job_of_a_deferred_task(hook):
    job_id = hook.submit_sql(slow_sql(9))
    trigger = DremioJobTrigger(dremio_conn_id="dremio_default", job_id=job_id)
    asyncio.run(trigger.on_kill())
    assert hook.poll_job(job_id, 30).state is JobState.CANCELED


def test_the_timeout_leaves_no_job_behind(hook, context_of):
    operator = DremioSqlOperator(task_id="it", sql=slow_sql(9), timeout=1, deferrable=False)
    with pytest.raises(DremioTimeout):
        operator.execute(context_of())
    assert hook.poll_job(operator._running_job, 30).state is JobState.CANCELED


async def first_event(trigger):
    return (await anext(aiter(trigger.run()))).payload
