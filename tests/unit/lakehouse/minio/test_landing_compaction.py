"""Landing objects joined before they are published: of what is published, nothing changes but the number of objects."""

import io
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from lakehouse.minio import compaction
from lakehouse.minio.landing_compaction import LandingCompactor
from lakehouse.minio.live import bring_up_to_date
from lakehouse.minio.operators import CompactLandingOperator
from lakehouse.minio.publish import Stream
from lakehouse.ops.lease import LeaseLost
from tests.unit.lakehouse.minio.test_compaction import Killed, SteppedStore
from tests.unit.lakehouse.minio.test_operators import CONTEXT

STREAM = Stream("orders", "updated_at")
LANDING = "bronze/landing/source=shop/orders/"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ONE, TWO = datetime(2026, 11, 21, 12, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def store(lease, monkeypatch, request):
    monkeypatch.setattr(compaction, "Lease", lease)
    return getattr(request, "param", SteppedStore)()


def compact(store):
    return LandingCompactor(
        store,
        bucket="lake",
        landing="bronze/landing/source=shop",
        published="bronze/shop",
        stream="orders",
        conn_id="db",
        holder="d/r/t/-1",
    ).compact_stream()


def landed(store):
    return {key.removeprefix(LANDING): body for key, body in store.content.items() if key.startswith(LANDING)}


def test_what_is_not_published_is_joined_and_bronze_gets_each_row_once(store, publisher, land):
    for number in range(3):
        land(f"2026_11_26_100{number}_0", [(number, ONE), (number + 10, TWO)])
    assert compact(store)[0].before == 3
    (name,) = landed(store)
    assert name.startswith("2026_11_26_1002_0-joined-"), "in the order in which rows came"
    publisher.publish(STREAM, "2026-11-22")
    for number in (3, 4):
        land(f"2026_11_26_100{number}_0", [(number, ONE)])
    assert compact(store)[0].before == 2, "and not what is published"
    assert name in landed(store) and len(landed(store)) == 2
    assert compact(store) == []
    publisher.publish(STREAM, "2026-11-22")
    assert store.rows() == {"2026-11-21": [0, 1, 2, 3, 4], "2026-11-22": [10, 11, 12]}
    assert len(store.published()) == 3


def test_killed_at_any_step_landing_keeps_every_row_and_is_made_whole(store, land):
    for number in range(3):
        land(f"2026_11_26_100{number}_0", [(number, ONE)])
    begin = dict(store.content)
    compact(store)
    steps, whole = store.steps, dict(store.content)
    for dies_at in range(steps):
        store.content, store.steps, store.dies_at, store.read = dict(begin), 0, dies_at, []
        with pytest.raises(Killed):
            compact(store)
        store.dies_at = None
        compact(store)
        assert store.content == whole
        assert all(set(seen) == {0, 1, 2} for seen in store.read)
    (body,) = whole.values()
    table = pq.read_table(io.BytesIO(body))
    assert sorted(table["_airbyte_raw_id"].to_pylist()) == ["0", "1", "2"]


def test_killed_at_any_step_and_published_before_the_next_join_bronze_gets_each_row_once(store, publisher, land, index):
    for number in range(3):
        land(f"2026_11_26_100{number}_0", [(number, ONE)])
    begin = dict(store.content)
    compact(store)
    for dies_at in range(store.steps):
        store.content, store.steps, store.dies_at = dict(begin), 0, dies_at
        index.kept.clear()
        with pytest.raises(Killed):
            compact(store)
        store.dies_at = None
        for _ in range(2):  # the second time after the next join
            publisher.publish(STREAM, "2026-11-22")
            assert store.rows() == {"2026-11-21": [0, 1, 2]}, f"killed at step {dies_at}"
            compact(store)


def test_who_lost_the_lease_after_the_joined_object_appeared_removes_nothing(store, publisher, land, lease):
    for number in range(3):
        land(f"2026_11_26_100{number}_0", [(number, ONE)])
    begin = landed(store)
    lease.lost_after = 2
    with pytest.raises(LeaseLost):
        compact(store)
    lease.lost_after = None
    assert begin.items() < landed(store).items()
    publisher.publish(STREAM, "2026-11-22")
    assert landed(store) == begin and store.rows() == {"2026-11-21": [0, 1, 2]}


class FollowedStore(SteppedStore):
    """After each step the live copies are brought up to date, and read."""

    def __init__(self):
        super().__init__()
        self.following = False

    def step(self):
        if not self.following:
            super().step()

    def look(self):
        if not self.following:
            self.following = True
            bring_up_to_date(self, "lake", "bronze/landing/source=shop", "bronze/live/shop", ["orders"], NOW)
            self.following = False
            bodies = [body for key, body in self.content.items() if key.startswith("bronze/live/")]
            self.read.append(
                sorted(row for body in bodies for row in pq.read_table(io.BytesIO(body))["id"].to_pylist())
            )


@pytest.mark.parametrize("store", [FollowedStore], indirect=True)
def test_live_copies_show_each_row_once_at_every_step_of_a_join_and_after_a_kill(store, land):
    for number in range(3):
        land(f"2026_11_26_100{number}_0", [(number, ONE)])
    begin = dict(store.content)
    compact(store)
    steps, joined = store.steps, landed(store)
    for dies_at in range(steps):
        store.content, store.steps, store.dies_at = dict(begin), 0, dies_at
        with pytest.raises(Killed):
            compact(store)
        store.dies_at = None
        land("2026_11_26_1009_0", [(9, ONE)])
        store.look()
        assert store.read.pop() == [0, 1, 2, 9], "what comes after the kill is copied nevertheless"
        compact(store)
        store.look()
        assert store.read.pop() == [0, 1, 2, 9]
        assert {key.rpartition("/")[2] for key in store.content if "/live/" in key} == set(landed(store))
    assert len(joined) == 1 and {tuple(seen) for seen in store.read} <= {(0, 1, 2), (0, 1, 2, 9)}


def test_a_stream_that_is_being_published_is_left_to_the_next_run(store, lease, land, monkeypatch):
    monkeypatch.setattr("lakehouse.minio.hook.ObjectStoreHook", lambda conn_id: store)
    for number in range(2):
        land(f"2026_11_26_100{number}_0", [(number, ONE)])
    operator = CompactLandingOperator(task_id="shop", source="shop", streams=["orders"], bucket="lake")
    lease.held = 1
    assert operator.execute(CONTEXT) == {"before": 0, "after": 0, "rows": 0}
    assert operator.execute(CONTEXT) == {"before": 2, "after": 1, "rows": 2}
