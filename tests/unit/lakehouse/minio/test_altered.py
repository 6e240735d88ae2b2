"""Values that Airbyte could not deliver as they came fail the stream by name, and cost nothing where there are none."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from lakehouse.minio import altered
from lakehouse.minio.exceptions import ValuesAltered
from lakehouse.minio.publish import Stream

RATES = Stream("orders", "updated_at")
SNAPSHOT = Stream("orders", "snapshot")
BATCH = "2026-11-22"
NULLED = {"field": "rate", "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}
TRUNCATED = {"field": "body", "change": "TRUNCATED", "reason": "DESTINATION_FIELD_SIZE_LIMITATION"}
META = pa.struct(
    [
        pa.field("sync_id", pa.int64(), nullable=False),
        pa.field("changes", pa.list_(pa.struct([(name, pa.string()) for name in NULLED])), nullable=False),
    ]
)


def at(day):
    return datetime(2026, 11, day, 12, tzinfo=UTC)


def marked(*changes):
    """The columns of rows whose values were changed so."""
    return {
        "_airbyte_meta": pa.array([{"sync_id": 1, "changes": list(of_row)} for of_row in changes], META),
        "rate": pa.array([None if of_row else 1.5 for of_row in changes], pa.float64()),
    }


def test_a_value_that_was_nulled_fails_the_stream_by_column_and_reason(publisher, store, land):
    land("a", [(1, at(20))], columns=marked([]))
    publisher.publish(RATES, BATCH)
    key = land("b", [(2, at(21)), (3, at(21)), (4, at(21))], columns=marked([], [NULLED], [NULLED, TRUNCATED]))
    before = dict(store.content)
    for _ in range(2):  # a retry, for which the object is known, does not pass either
        with pytest.raises(ValuesAltered) as failed:
            publisher.publish(RATES, BATCH)
    assert store.content == before
    assert failed.value.altered == {
        "rate": "NULLED (DESTINATION_SERIALIZATION_ERROR)",
        "body": "TRUNCATED (DESTINATION_FIELD_SIZE_LIMITATION)",
    }
    text = str(failed.value)
    assert text.startswith(f"stream orders: {key} has values that are not as the source sent them: column 'rate'")
    assert "clear the stream in Airbyte" in text
    assert "dropped_columns of stream orders in include/pipelines/connections/shop.yaml" in text


def test_a_clear_and_a_good_sync_heal_it(publisher, store, land):
    key = land("a", [(1, at(20))], columns=marked([NULLED]))
    with pytest.raises(ValuesAltered):
        publisher.publish(RATES, BATCH)
    del store.content[key]
    land("b", [(1, at(20))], columns=marked([]))
    publisher.publish(RATES, BATCH)
    assert store.rows() == {"2026-11-20": [1]}


def test_a_declared_column_may_be_null_and_any_other_may_not(publisher, store, land):
    land("a", [(1, at(20))], columns=marked([NULLED]))
    accepting = Stream("orders", "updated_at", dropped_columns=["rate"])
    publisher.publish(accepting, BATCH)
    assert store.rows() == {"2026-11-20": [1]}
    land("b", [(2, at(21))], columns=marked([NULLED, TRUNCATED]))
    with pytest.raises(ValuesAltered) as failed:
        publisher.publish(accepting, BATCH)
    assert list(failed.value.altered) == ["body"]
    with pytest.raises(ValuesAltered, match="'rate'"):  # what was accepted for a time is not forgotten
        publisher.publish(RATES, BATCH)


def test_a_newer_snapshot_takes_the_place_of_one_with_altered_values(publisher, store, land):
    land("a", [(1, at(20))], columns=marked([NULLED]), generation=1)
    with pytest.raises(ValuesAltered):
        publisher.publish(SNAPSHOT, BATCH)
    land("b", [(2, at(20))], columns=marked([]), generation=2)
    publisher.publish(SNAPSHOT, BATCH)
    assert store.rows() == {BATCH: [2]}


@pytest.mark.parametrize(
    ("options", "reads"),
    [
        pytest.param({}, 0, id="the statistics say that there are none"),
        pytest.param({"write_statistics": False}, 1, id="without statistics the column is read"),
    ],
)
def test_the_changes_of_a_normal_object_are_not_read(publisher, store, land, monkeypatch, options, reads):
    read = []
    monkeypatch.setattr(altered, "_distinct", lambda changes: read.append(changes) or [])
    land("a", [(1, at(20)), (2, at(20))], columns=marked([], []), **options)
    publisher.publish(RATES, BATCH)
    assert store.rows() == {"2026-11-20": [1, 2]}
    assert len(read) == reads
