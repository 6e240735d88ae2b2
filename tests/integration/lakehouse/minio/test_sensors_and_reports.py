"""Sensors, storage report and links on the running object store."""

import asyncio
import uuid

import httpx
import pytest
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.report_operators import DownloadLinksOperator, StorageReportOperator
from lakehouse.minio.retention import RetentionOperator
from lakehouse.minio.sensors import ObjectSensor, PrefixSensor
from lakehouse.ops import waiting

BUCKET = "datalake"


@pytest.fixture(scope="module")
def store(stack_connections):
    return ObjectStoreHook("minio_default")


@pytest.fixture
def corner(store):
    store.ensure_bucket(BUCKET)
    prefix = f"it_{uuid.uuid4().hex[:8]}"
    yield prefix
    store.remove(BUCKET, [item.key for item in store.objects(BUCKET, f"{prefix}/")])


@pytest.fixture
def put(store, corner):
    def put_(name, body=b"x"):
        store.get_conn().put_object(Bucket=BUCKET, Key=f"{corner}/{name}", Body=body)

    return put_


def test_an_object_is_waited_for_in_the_triggerer(put, corner, monkeypatch):
    monkeypatch.setattr(waiting, "WAIT_IN_WORKER", 0.0)
    sensor = ObjectSensor(task_id="it", bucket=BUCKET, key=f"{corner}/*.csv", poke_interval=0.2, timeout=60)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})

    async def until_it_fires():
        waiting_for = asyncio.ensure_future(anext(aiter(deferred.value.trigger.run())))
        await asyncio.sleep(1)
        assert not waiting_for.done()
        await asyncio.to_thread(put, "a.csv", b"1,2\n")
        return (await waiting_for).payload

    found = sensor.resume({}, asyncio.run(until_it_fires()))
    assert (found["first_key"], found["bytes"]) == (f"{corner}/a.csv", 4)


def test_objects_come_to_rest_by_the_servers_clock(put, corner):
    put("a")
    put(".keep", b"")
    sensor = PrefixSensor(
        task_id="it", bucket=BUCKET, prefix=f"{corner}/", min_age=2, poke_interval=0.2, deferrable=False, timeout=30
    )
    assert sensor.execute({})["objects"] == 1


def test_a_bucket_that_is_absent_is_waited_for():
    sensor = PrefixSensor(task_id="it", bucket=f"it-{uuid.uuid4().hex[:8]}", prefix="a/")
    assert "there is no bucket" in sensor.look({}, 0.0).detail


def test_the_report_counts_what_lies_there(put, corner):
    for name, size in (("a/1", 10), ("a/2", 20), ("b/c/3", 5)):
        put(name, b"x" * size)
    found = StorageReportOperator(task_id="it", bucket=BUCKET, prefix=f"{corner}/").execute({})
    assert [(one["prefix"], one["objects"], one["bytes"]) for one in found["prefixes"]] == [
        (f"{corner}/a/", 2, 30),
        (f"{corner}/b/", 1, 5),
    ]
    assert all(one["newest"] for one in found["prefixes"])


def test_a_link_downloads_without_keys_and_only_its_object(put, corner):
    put("mart.csv", b"id\n1\n")
    (link,) = DownloadLinksOperator(task_id="it", bucket=BUCKET, prefix=f"{corner}/", seconds=60).execute({})["links"]
    answer = httpx.get(link["url"])
    assert (answer.status_code, answer.content) == (200, b"id\n1\n")
    put("other.csv", b"secret")
    assert httpx.get(link["url"].replace("mart.csv", "other.csv")).status_code == 403


def test_retention_removes_what_its_report_has_named(put, corner):
    for day in ("2020-01-01", "2020-01-02", "2020-01-03"):
        for name in ("_manifest.json", "part-1.csv"):
            put(f"batch={day}/{name}", b"x")

    def run(report_only):
        return RetentionOperator(
            task_id="it", bucket=BUCKET, keep_days={f"{corner}/": 30}, keep_newest=2, report_only=report_only
        ).execute({})

    named = run(report_only=True)
    assert named["prefixes"][0]["removed"] == [f"{corner}/batch=2020-01-01/"]
    assert run(report_only=False)["prefixes"] == named["prefixes"]
    left = StorageReportOperator(task_id="it", bucket=BUCKET, prefix=f"{corner}/").execute({})
    assert [one["prefix"] for one in left["prefixes"]] == [f"{corner}/batch=2020-01-0{day}/" for day in (2, 3)]
    assert run(report_only=False)["objects"] == 0
