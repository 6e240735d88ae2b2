import asyncio

import pytest
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.dremio.exceptions import DremioError, DremioTimeout
from lakehouse.dremio.operators.reflections import DremioRefreshReflectionsOperator


@pytest.fixture
def table(hook, lake):
    path = f"{lake}.marts.orders"
    hook.run_job(f"DROP TABLE IF EXISTS {path}")
    days = "(VALUES (1),(2),(3)) AS d(n), (VALUES (1),(2),(3),(4),(5)) AS o(n)"
    hook.run_job(
        f"CREATE TABLE {path} AS SELECT CAST('2026-11-0' || CAST(d.n AS VARCHAR) AS DATE) AS order_date, "
        f"CAST(d.n * o.n AS DOUBLE) AS amount FROM {days}"
    )
    yield path
    hook.run_job(f"DROP TABLE IF EXISTS {path}")


def make(tmp_path, table, check="SELECT order_date, SUM(amount) FROM {dataset} GROUP BY order_date", **kwargs):
    path = tmp_path / "reflections.yaml"
    path.write_text(
        f"reflections:\n  - name: it_agg\n    dataset: {table}\n    type: AGGREGATION\n"
        "    dimensions: [order_date]\n    measures: {amount: [SUM, COUNT]}\n"
        f'    refresh_every_hours: 1\n    checks: ["{check}"]\n'
    )
    kwargs = {"timeout": 60} | kwargs
    return DremioRefreshReflectionsOperator(task_id="it", path=str(path), slot="a", **kwargs)


def run(operator, context):
    """Execute, playing triggerer for whatever is deferred."""
    step, kwargs = operator.execute, {}
    while True:
        try:
            return step(context, **kwargs)
        except TaskDeferred as deferred:
            event = asyncio.run(first_event(deferred.trigger))
            step = getattr(operator, deferred.method_name)
            kwargs = {"event": event}


async def first_event(trigger):
    return (await anext(aiter(trigger.run()))).payload


def test_built_refreshed_and_used_by_the_check(hook, table, tmp_path, context_of, own_records):
    (built,) = run(make(tmp_path, table), context_of())
    assert built["rows"] == 3
    first = hook.get_reflection(built["reflection_id"])["status"]["lastDataFetch"]

    hook.run_job(f"INSERT INTO {table} SELECT CAST('2026-11-09' AS DATE), CAST(100 AS DOUBLE)")
    (again,) = run(make(tmp_path, table), context_of())
    assert again["reflection_id"] == built["reflection_id"] and again["rows"] == 4
    assert hook.get_reflection(again["reflection_id"])["status"]["lastDataFetch"] > first
    entity = hook.find_entity(table.split("."))
    assert entity["accelerationRefreshPolicy"]["refreshPeriodMs"] == 3_600_000


def test_a_query_that_it_cannot_answer_fails_saying_so(table, tmp_path, context_of, own_records):
    operator = make(tmp_path, table, check="SELECT MAX(amount) FROM {dataset}", timeout=5)
    with pytest.raises(DremioTimeout, match=r"it_agg: SELECT MAX.*answered by none"):
        run(operator, context_of())


def test_a_column_that_is_not_there_is_named(hook, table, tmp_path, context_of, own_records):
    hook.run_job(f"DROP TABLE {table}")
    hook.run_job(f"CREATE TABLE {table} AS SELECT 1 AS something")
    with pytest.raises(DremioError, match="order_date"):
        run(make(tmp_path, table, timeout=20), context_of())
