import asyncio
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred
from botocore.exceptions import ClientError

from lakehouse.minio import triggers
from lakehouse.minio.awaited import Awaited, awaited_key, look
from lakehouse.minio.exceptions import ObjectStoreError, StoreUnreachable
from lakehouse.minio.hook import StoredObject
from lakehouse.minio.sensors import ObjectSensor, PrefixSensor
from lakehouse.minio.triggers import ObjectsTrigger
from lakehouse.ops import waiting

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
AWAY = StoreUnreachable("minio_default", "http://s3.test", "key", "no answer")


class Listing:
    """An object store that answers listings: keys with sizes and ages in seconds."""

    def __init__(self, **objects):
        self.found = objects
        self.errors = []

    def objects(self, bucket, prefix):
        if self.errors:
            raise self.errors.pop(0)
        return [
            StoredObject(key, size, "e", NOW - timedelta(seconds=age))
            for key, (size, age) in sorted(self.found.items())
            if key.startswith(prefix)
        ]

    def server_time(self, bucket):
        return NOW


@pytest.fixture
def store():
    return Listing()


@pytest.fixture
def make(store, monkeypatch):
    monkeypatch.setattr(waiting, "WAIT_IN_WORKER", 0.0)

    def build(kind, **kwargs):
        operator = kind(task_id="wait", bucket="lake", **kwargs)
        operator.__dict__["hook"] = store
        return operator

    return build


def waits(operator):
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute({})
    return deferred.value.trigger


def test_an_object_that_is_there_is_seen_at_once(make, store):
    store.found = {"in/a.csv": (7, 10)}
    assert make(ObjectSensor, key="in/a.csv").execute({}) == {
        "bucket": "lake",
        "objects": 1,
        "bytes": 7,
        "newest": "2026-11-25T11:59:50+00:00",
        "first_key": "in/a.csv",
    }


def test_a_key_that_only_begins_so_does_not_count(make, store):
    store.found = {"in/a.csv.tmp": (7, 10)}
    trigger = waits(make(ObjectSensor, key="in/a.csv"))
    assert isinstance(trigger, ObjectsTrigger) and trigger.seen.startswith("s3://lake/in/a.csv: 0 objects")


@pytest.mark.parametrize(
    ("key", "prefix"), [("in/*.csv", "in/"), ("in/2026-??-24.csv", "in/2026-"), ("in/[ab].csv", "in/")]
)
def test_a_pattern_lists_below_its_plain_beginning(key, prefix):
    assert (awaited_key("lake", key).prefix, awaited_key("lake", key).pattern) == (prefix, key)


def test_a_pattern_is_matched_over_the_whole_key(make, store):
    store.found = {"in/a.csv": (1, 5), "in/b.txt": (2, 5), "in/c.csv": (4, 5)}
    found = make(ObjectSensor, key="in/*.csv").execute({})
    assert (found["objects"], found["bytes"]) == (2, 5)


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        pytest.param({"min_objects": 3}, "2 objects of 30 bytes, wanted 3 objects", id="too-few"),
        pytest.param({"min_bytes": 31}, "2 objects of 30 bytes, wanted 1 objects and 31 bytes", id="too-small"),
        pytest.param({"min_age": 61}, "the newest object was written 60 s ago, wanted 61 s", id="still-written"),
        pytest.param(
            {"newer_than": "2026-11-25T11:59:01Z"}, "0 objects of 0 bytes written since 2026", id="older-than-asked"
        ),
    ],
)
def test_what_is_lacking_is_waited_for_and_said(make, store, rules, seen):
    store.found = {"in/a": (10, 60), "in/b": (20, 90), "in/.keep": (0, 1), "in/_manifest.json": (5, 1)}
    assert seen in waits(make(PrefixSensor, prefix="in/", **rules)).seen


def test_enough_objects_that_have_come_to_rest_end_the_wait(make, store):
    store.found = {"in/a": (10, 60), "in/b": (20, 90)}
    rules = {"min_objects": 2, "min_bytes": 30, "min_age": 60, "newer_than": "2026-11-25T11:58:30"}
    assert make(PrefixSensor, prefix="in/", **rules).execute({})["objects"] == 2


def test_a_server_that_tells_no_times_has_no_settled_objects():
    found = Awaited("lake", "in/", min_age=5).judge([StoredObject("in/a", 1, "e")], NOW)
    assert not found.done and "written is not told" in found.detail


def test_a_bucket_that_is_absent_is_waited_for_and_another_refusal_is_not(store):
    store.errors = [ClientError({"Error": {"Code": "NoSuchBucket"}}, "ListObjectsV2")]
    assert look(store, Awaited("lake", "in/")).detail == "there is no bucket lake yet"
    store.errors = [ClientError({"Error": {"Code": "InvalidBucketName"}}, "ListObjectsV2")]
    with pytest.raises(ClientError):
        look(store, Awaited("lake", "in/"))


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        (PrefixSensor, {"prefix": "in/", "min_objects": 0}, "`min_objects` is 0; it must be at least 1"),
        (ObjectSensor, {"key": "a", "min_age": -1}, "`min_age` is -1"),
        (ObjectSensor, {"key": "a", "newer_than": "noon"}, "Invalid isoformat string: 'noon'"),
    ],
)
def test_wrong_arguments_are_refused(make, kind, arguments, text):
    with pytest.raises(ValueError, match=text):
        make(kind, **arguments).execute({})


def test_a_store_that_is_away_fails_the_task_by_name(make, store):
    store.errors = [AWAY]
    with pytest.raises(StoreUnreachable, match=r"http://s3\.test"):
        make(ObjectSensor, key="a").execute({})


def test_the_event_ends_the_wait(make):
    sensor = make(ObjectSensor, key="a", timeout=60)
    assert sensor.resume({}, {"reason": "done", "detail": "there", "value": {"objects": 1}}) == {"objects": 1}
    with pytest.raises(AirflowSensorTimeout, match="not within 60 s; last seen: 0 objects"):
        sensor.resume({}, {"reason": "deadline", "detail": "0 objects", "value": {}})
    with pytest.raises(ObjectStoreError, match="no answer"):
        sensor.resume({}, {"reason": "unreachable", "detail": "no answer", "value": {}})


# --- the trigger ---------------------------------------------------------------------------------


@pytest.fixture
def event_of(store, monkeypatch):
    async def open_store(conn_id):
        return store

    monkeypatch.setattr(triggers, "open_store", open_store)

    async def run(*, seconds=5.0):
        trigger = ObjectsTrigger(
            aws_conn_id="c",
            awaited=asdict(Awaited("lake", "in/")),
            deadline=time.time() + seconds,
            poke_interval=0.01,
        )
        return (await anext(aiter(trigger.run()))).payload

    return run


def test_the_trigger_is_serialized_whole():
    awaited = asdict(Awaited("lake", "in/", "in/*.csv", min_age=5.0))
    arguments = {"aws_conn_id": "c", "awaited": awaited, "deadline": 5.0, "poke_interval": 1.0, "seen": "x"}
    assert ObjectsTrigger(**arguments).serialize() == ("lakehouse.minio.triggers.ObjectsTrigger", arguments)


async def test_the_trigger_fires_when_the_objects_are_there(store, event_of):
    waiting_for = asyncio.create_task(event_of())
    await asyncio.sleep(0.05)
    assert not waiting_for.done()
    store.found = {"in/a": (1, 1)}
    assert (await waiting_for)["value"]["first_key"] == "in/a"


async def test_the_trigger_survives_a_store_that_restarts(store, event_of, monkeypatch):
    store.found, store.errors = {"in/a": (1, 1)}, [AWAY, AWAY]
    assert (await event_of())["reason"] == "done"
    monkeypatch.setattr(triggers, "UNREACHABLE_SECONDS", -1.0)
    store.errors = [AWAY]
    assert (await event_of())["reason"] == "unreachable"


async def test_the_trigger_says_what_the_server_refuses(store, event_of):
    store.errors = [ClientError({"Error": {"Code": "InvalidBucketName"}}, "ListObjectsV2")]
    event = await event_of()
    assert event["reason"] == "failed" and "s3://lake/in/: " in event["detail"]


async def test_the_triggers_deadline_says_what_was_seen_last(event_of):
    event = await event_of(seconds=0.1)
    assert event["reason"] == "deadline" and event["detail"].startswith("s3://lake/in/: 0 objects")


async def test_the_trigger_reads_its_connection_before_it_goes_to_a_thread(monkeypatch):
    extra = json.dumps({"endpoint_url": "http://s3.test:9000", "region_name": "us-east-1"})
    connection = Connection(conn_id="c", conn_type="aws", login="key", password="hidden", extra=extra)

    async def aget_connection(conn_id):
        return connection

    monkeypatch.setattr(triggers.BaseHook, "aget_connection", aget_connection)
    store = await triggers.open_store("c")
    monkeypatch.setattr(triggers.BaseHook, "get_connection", None)
    client = await asyncio.to_thread(store.get_conn)
    assert client.meta.endpoint_url == "http://s3.test:9000"
