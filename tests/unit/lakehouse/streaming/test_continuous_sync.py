"""Rounds over services that are objects: what is delivered whenever something fails, and when a try ends."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.airbyte.exceptions import SyncFailed
from lakehouse.airbyte.jobs import Job, JobStatus
from lakehouse.streaming import continuous, trigger
from lakehouse.streaming.continuous import ContinuousSync
from lakehouse.streaming.exceptions import StreamingGaveUp, StreamingStopped
from lakehouse.streaming.operators import ContinuousSyncOperator
from lakehouse.streaming.trigger import ContinuousSyncTrigger

SETTINGS = {
    "connection": "shop",
    "streams": ["customers", "orders"],
    "bucket": None,
    "source": "datalake",
    "landing_prefix": "bronze/landing",
    "live_prefix": "bronze/live",
    "airbyte_conn_id": "a",
    "aws_conn_id": "s",
    "dremio_conn_id": "d",
}


class Services:
    """Airbyte's jobs, what changes in the bucket at the next look, and the tables that Dremio was told of."""

    def __init__(self):
        self.jobs = [Job(3, JobStatus.SUCCEEDED, "c", rows=100)]
        self.changed, self.told, self.looks = [], [], 0
        self.down = False
        self.tables = {"customers", "orders"}

    # Airbyte
    def connection_id(self, name):
        return "c"

    def newest_jobs(self, connection_id):
        return list(reversed(self.jobs))[:5]

    def start_sync(self, connection_id):
        self.ended(0)
        return self.jobs[-1], False

    def details(self, job_id):
        return {}, "the slot is gone", True

    def ended(self, rows, status=JobStatus.SUCCEEDED):
        self.jobs.append(Job(len(self.jobs) + 3, status, "c", rows=rows))
        return self.jobs[-1]

    # object store
    lake = "my-lake"

    def look(self, store, bucket, landing, live, streams, now):
        assert (bucket, landing, live) == ("my-lake", "bronze/landing/source=shop", "bronze/live/shop")
        self.looks += 1
        changed, self.changed = self.changed, []
        return changed

    # Dremio
    def find_entity(self, path):
        assert path[:4] == ["datalake", "bronze", "live", "shop"]
        if self.down:
            raise ConnectionError("Dremio is down")
        return {"id": "x", "entityType": "dataset" if path[4] in self.tables else "folder"}

    def promote_folder(self, entity, path):
        self.tables.add(path[4])
        self.told.append(f"new {path[4]}")

    def refresh_metadata(self, path):
        self.told.append(path[4])


@pytest.fixture
def services(monkeypatch):
    services = Services()
    for hook in ("AirbyteHook", "DremioHook", "ObjectStoreHook"):
        monkeypatch.setattr(continuous, hook, lambda conn_id: services)
    monkeypatch.setattr(continuous, "bring_up_to_date", services.look)
    return services


def test_the_first_round_delivers_in_any_case_and_later_ones_what_any_job_has_brought(services):
    sync = ContinuousSync(**SETTINGS)
    services.tables = {"customers"}
    assert sync.deliver(sync.start()) == 0, "of an earlier job nothing is counted"
    assert services.told == ["customers", "new orders"], "but it may not have been delivered"
    services.told.clear()
    assert sync.deliver(sync.start()) == 0 and services.looks == 1, "an idle round asks nobody"
    job = sync.start()
    services.ended(40)  # the daily batch's, while ours had nothing left to bring
    services.changed = ["orders"]
    assert sync.deliver(job) == 40
    assert services.told == ["orders"]


def test_what_dremio_could_not_be_told_it_is_told_the_next_time(services):
    sync = ContinuousSync(**SETTINGS)
    sync.deliver(sync.start())
    services.told.clear()
    services.down, services.changed = True, ["orders"]
    with pytest.raises(ConnectionError):
        sync.deliver(services.ended(5))
    services.down = False
    sync.deliver(sync.start())
    assert services.told == ["orders"]


def test_a_failed_sync_is_an_error_and_what_it_had_landed_is_delivered(services):
    sync = ContinuousSync(**SETTINGS)
    sync.deliver(sync.start())
    services.told.clear()
    services.changed = ["orders"]
    with pytest.raises(SyncFailed, match="the slot is gone"):
        sync.deliver(services.ended(5, JobStatus.FAILED))
    assert services.told == ["orders"]


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self):
        self.now, self.pauses = 1_000.0, []

    def time(self):
        return self.now

    monotonic = time

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    async def to_thread(self, function, *arguments):
        return function(*arguments)


class Rounds:
    """A sync whose rounds bring what is listed; an exception is raised."""

    def __init__(self, *rounds):
        self.left = list(rounds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def start(self):
        return Job(1, JobStatus.RUNNING, "c")

    def look(self, job):
        return Job(1, JobStatus.SUCCEEDED, "c")

    def deliver(self, job):
        brought = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(brought, Exception):
            raise brought
        return brought


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(trigger, "time", clock)
    monkeypatch.setattr(trigger, "asyncio", clock)
    return clock


async def event(monkeypatch, *rounds, end_at):
    monkeypatch.setattr(ContinuousSyncTrigger, "_open", lambda self: Rounds(*rounds))
    fired = await anext(aiter(ContinuousSyncTrigger(settings={}, end_at=end_at).run()))
    return fired.payload


async def test_rounds_follow_quickly_while_rows_come_and_slower_when_none_do(clock, monkeypatch):
    done = await event(monkeypatch, 10, 0, 0, 0, 0, 5, 0, end_at=1_100)
    assert (done["outcome"], done["rows"], done["rounds"]) == ("ended", 15, 9)
    assert [pause for pause in clock.pauses if pause > 1] == [5, 7.5, 11.25, 16.875, 20, 5, 7.5, 11.25]


async def test_a_failed_round_is_tried_again_and_a_minute_of_them_ends_the_try(clock, monkeypatch):
    done = await event(monkeypatch, 10, ConnectionError("away"), 20, 0, end_at=1_030)
    assert (done["outcome"], done["rows"]) == ("ended", 30)
    begun = clock.now
    done = await event(monkeypatch, 10, ConnectionError("away"), end_at=clock.now + 3600)
    assert (done["outcome"], done["rounds"], done["error"]) == ("error", 1, "away")
    assert 60 < clock.now - begun < 90


async def test_one_round_is_made_whatever_the_time(clock, monkeypatch):
    done = await event(monkeypatch, ConnectionError("away"), 7, end_at=0)
    assert (done["outcome"], done["rounds"], done["rows"]) == ("ended", 1, 7)


async def test_a_sync_that_takes_longer_than_the_run_is_left_to_the_next(clock, monkeypatch):
    monkeypatch.setattr(Rounds, "look", lambda self, job: job)
    done = await event(monkeypatch, 7, end_at=clock.now + 3600)
    assert (done["outcome"], done["rounds"]) == ("ended", 0)
    assert clock.now == pytest.approx(4_600, abs=6)


def operator():
    return ContinuousSyncOperator(
        task_id="shop", connection="shop", streams=["customers", "orders"], duration=timedelta(hours=1),
        airbyte_conn_id="a", aws_conn_id="s", dremio_conn_id="d",
    )  # fmt: skip


def context(minutes):
    return {"dag_run": SimpleNamespace(start_date=datetime.now(UTC) - timedelta(minutes=minutes))}


def test_all_tries_end_with_the_run(monkeypatch):
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context(minutes=20))
    path, arguments = deferred.value.trigger.serialize()
    assert path == "lakehouse.streaming.trigger.ContinuousSyncTrigger"
    assert arguments["settings"] == SETTINGS
    assert arguments["end_at"] - datetime.now(UTC).timestamp() == pytest.approx(40 * 60, abs=5)
    assert timedelta(minutes=45) < deferred.value.timeout < timedelta(minutes=55)


def test_an_error_is_tried_again_until_the_run_is_over():
    failed = {"outcome": "error", "rounds": 3, "rows": 9, "longest": 1.0, "error": "the slot is gone."}
    with pytest.raises(StreamingStopped, match=r"sync of shop stopped: the slot is gone\. Repair") as stopped:
        operator().resume(context(minutes=20), failed)
    assert not isinstance(stopped.value, StreamingGaveUp)
    with pytest.raises(StreamingGaveUp):
        operator().resume(context(minutes=61), failed)
    with pytest.raises(StreamingStopped, match="outcome was expected"):
        operator().resume(context(minutes=20), None)
    assert operator().resume(context(minutes=61), failed | {"outcome": "ended"}) == {
        "rounds": 3,
        "rows": 9,
        "longest": 1.0,
    }
