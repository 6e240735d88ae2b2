"""The live copies: what has landed in the last days, whenever the copying was cut off."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.minio.live import KEPT, bring_up_to_date
from tests.unit.lakehouse.minio.conftest import MemoryStore

LANDING, LIVE = "bronze/landing/source=shop", "bronze/live/shop"
NOW = datetime(2026, 11, 26, 8, tzinfo=UTC)


class DatedStore(MemoryStore):
    """Objects have the age that `days` says, or none."""

    def __init__(self):
        super().__init__()
        self.days = {}

    def objects(self, bucket, prefix):
        found = super().objects(bucket, prefix)
        return [replace(item, modified=NOW - timedelta(days=self.days.get(item.key, 0))) for item in found]


@pytest.fixture
def dated():
    return DatedStore()


def land(store, name, body=b"rows", days=0.0, stream="orders"):
    key = f"{LANDING}/{stream}/{name}.parquet"
    store.content[key], store.days[key] = body, days


def look(store):
    return bring_up_to_date(store, "lake", LANDING, LIVE, ["customers", "orders"], NOW)


def live(store):
    return {key.removeprefix(f"{LIVE}/"): body for key, body in store.content.items() if key.startswith(LIVE)}


def test_what_has_landed_is_copied_once_and_only_a_stream_that_changed_is_named(dated):
    land(dated, "1", b"one")
    land(dated, "2", b"two")
    dated.content[f"{LANDING}/orders/_compaction.json"] = b"{}"
    assert look(dated) == ["orders"]
    assert look(dated) == [] and len(dated.copied) == 2
    land(dated, "1", b"customer", stream="customers")
    assert look(dated) == ["customers"]
    assert live(dated) == {
        "orders/1.parquet": b"one",
        "orders/2.parquet": b"two",
        "customers/1.parquet": b"customer",
    }


def test_what_is_older_or_was_joined_goes_and_a_silent_stream_keeps_its_last(dated):
    old = KEPT / timedelta(days=1)
    for name in ("1", "2", "3"):
        land(dated, name)
    look(dated)
    dated.days[f"{LANDING}/orders/1.parquet"] = old + 0.1
    for name in ("2", "3"):
        del dated.content[f"{LANDING}/orders/{name}.parquet"]
    land(dated, "3-joined-ab", b"rowsrows")
    assert look(dated) == ["orders"]
    assert list(live(dated)) == ["orders/3-joined-ab.parquet"]
    dated.days[f"{LANDING}/orders/3-joined-ab.parquet"] = old + 0.1
    assert look(dated) == []
    assert list(live(dated)) == ["orders/3-joined-ab.parquet"]


def test_cut_off_at_any_copy_the_next_look_does_the_rest(dated):
    for number in range(4):
        land(dated, str(number), b"rows" * number)
    for survived in range(4):
        for key in [key for key in dated.content if key.startswith(LIVE)]:
            del dated.content[key]
        dated.breaks_after = survived
        with pytest.raises(ConnectionError):
            look(dated)
        if survived:
            dated.content[f"{LIVE}/orders/0.parquet"] = b"r"  # half of it
        assert look(dated) == ["orders"]
        assert live(dated) == {f"orders/{number}.parquet": b"rows" * number for number in range(4)}
