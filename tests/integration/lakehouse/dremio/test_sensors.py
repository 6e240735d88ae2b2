import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred

from lakehouse.dremio.exceptions import DremioJobCanceled
from lakehouse.dremio.sensors import DremioJobSensor, DremioReflectionSensor, DremioTableSensor
from lakehouse.ops import waiting as module
from tests.integration.lakehouse.dremio.test_reflections import run
from tests.integration.lakehouse.dremio.test_sql_operator import slow_sql


@pytest.fixture
def table(hook, lake):
    path = f"{lake}.sensors.orders"
    hook.run_job(f"DROP TABLE IF EXISTS {path}")
    yield path
    hook.run_job(f"DROP TABLE IF EXISTS {path}")


def create(hook, table, day="2026-11-24"):
    hook.run_job(f"CREATE TABLE {table} AS SELECT CAST('{day}' AS DATE) AS \"date\", 1.5 AS amount")


def test_the_end_of_a_job_is_seen_within_two_seconds(hook, context_of, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)
    job_id = hook.submit_sql(slow_sql(8))
    found = run(DremioJobSensor(task_id="it", job_id=job_id, timeout=120), context_of())
    assert found == {"job_id": job_id, "state": "COMPLETED", "row_count": 1}
    ended = datetime.fromisoformat(hook.get_job(job_id).ended_at)
    assert (datetime.now(UTC) - ended).total_seconds() < 2.5


def test_a_cancelled_job_fails_the_sensor(hook, context_of):
    job_id = hook.submit_sql(slow_sql(9))
    threading.Timer(0.5, hook.cancel_job, [job_id]).start()
    with pytest.raises(DremioJobCanceled):
        DremioJobSensor(task_id="it", job_id=job_id, poke_interval=0.2, deferrable=False).execute(context_of())


def test_a_table_is_waited_for_until_its_partition_has_rows(hook, table, context_of, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)
    sensor = DremioTableSensor(
        task_id="it", table=table, partition={"date": "2026-11-24"}, poke_interval=0.5, timeout=60
    )
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context_of())

    async def until_it_fires():
        waiting = asyncio.ensure_future(anext(aiter(deferred.value.trigger.run())))
        await asyncio.sleep(1)
        assert not waiting.done()
        await asyncio.to_thread(create, hook, table)
        return (await waiting).payload

    assert sensor.resume(context_of(), asyncio.run(until_it_fires())) == {"table": table, "rows": 1}


def test_freshness_by_column_and_by_snapshot(hook, table, context_of):
    before = datetime.now(UTC).isoformat()
    create(hook, table)
    by_column = DremioTableSensor(task_id="it", table=table, column="date", newer_than="2026-11-24", timeout=30)
    assert run(by_column, context_of())["newest"] == "2026-11-24T00:00:00+00:00"
    by_snapshot = DremioTableSensor(task_id="it", table=table, newer_than=before, timeout=30)
    assert run(by_snapshot, context_of())["newest"] >= before[:19]
    too_old = DremioTableSensor(task_id="it", table=table, column="date", newer_than="2026-11-25", timeout=0.1)
    with pytest.raises(AirflowSensorTimeout, match=r"last seen: newest date of .* is 2026-11-24"):
        run(too_old, context_of())


def test_new_files_are_seen_by_refreshing_metadata(hook, lake, put_parquet, context_of):
    put_parquet("files/one.parquet", {"id": [1]})
    hook.promote(
        hook.find_entity([lake, "files"])["id"],
        {"entityType": "dataset", "type": "PHYSICAL_DATASET", "path": [lake, "files"], "format": {"type": "Parquet"}},
    )
    put_parquet("files/two.parquet", {"id": [2, 3]})
    sensor = DremioTableSensor(task_id="it", table=f"{lake}.files", min_rows=3, refresh_metadata=True, timeout=30)
    assert run(sensor, context_of())["rows"] == 3


def test_a_reflection_is_waited_for_and_then_for_its_refresh(hook, table, context_of, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)
    create(hook, table)
    dataset_id = hook.find_entity(table.split("."))["id"]
    fields = [{"name": "date"}, {"name": "amount"}]
    made = hook.create_reflection(
        {
            "type": "RAW",
            "name": "it_raw",
            "datasetId": dataset_id,
            "enabled": True,
            "displayFields": fields,
            "entityType": "reflection",
        }
    )
    first = run(DremioReflectionSensor(task_id="it", dataset=table, timeout=60, poke_interval=0.2), context_of())
    assert first["reflections"] == {"it_raw": made["id"]}
    time.sleep(1.1)
    asked = datetime.now(UTC).isoformat()
    hook.refresh_reflections(dataset_id)
    again = DremioReflectionSensor(
        task_id="it", dataset=table, name="it_raw", newer_than=asked, timeout=60, poke_interval=0.2
    )
    run(again, context_of())
    assert hook.get_reflection(made["id"])["status"]["lastDataFetch"] >= asked[:19]
