import pyarrow as pa
import pytest

from lakehouse.minio.batch_date import BatchDate, day_in_name
from lakehouse.minio.exceptions import ColumnTypeChanged
from lakehouse.minio.unify import unified


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int64(), pa.int16(), pa.int64()),
        (pa.int32(), pa.float64(), pa.float64()),
        (pa.int64(), pa.float64(), None),  # beyond 2^53 a double rounds
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.int32(), pa.decimal128(12, 2), pa.decimal128(12, 2)),
        (pa.int64(), pa.decimal128(12, 2), None),
        (pa.decimal128(10, 2), pa.decimal128(12, 4), pa.decimal128(12, 4)),
        (pa.decimal128(10, 2), pa.decimal128(10, 4), None),
        (pa.timestamp("ms", "UTC"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), None),
        (pa.null(), pa.string(), pa.string()),
        (pa.string(), pa.int64(), None),
        (pa.bool_(), pa.int64(), None),
        (pa.list_(pa.int32()), pa.list_(pa.int64()), pa.list_(pa.int64())),
        (pa.list_(pa.int32()), pa.list_(pa.string()), None),
        (
            pa.struct([("a", pa.int32())]),
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
        ),
        (pa.struct([("a", pa.int32())]), pa.struct([("a", pa.string())]), None),
    ],
    ids=str,
)
def test_types_are_widened_only_without_loss(one, other, expected):
    schemas = [("first", pa.schema([("c", one)])), ("second", pa.schema([("c", other)]))]
    if expected is None:
        with pytest.raises(ColumnTypeChanged, match="second"):
            unified("s", schemas)
    else:
        assert unified("s", schemas).field("c").type == expected


def test_columns_keep_the_order_in_which_they_came_and_may_be_null():
    first = pa.schema([pa.field("b", pa.int64(), nullable=False)], metadata={"writer": "x"})
    schema = unified("s", [("k1", first), ("k2", pa.schema([("a", pa.string()), ("b", pa.int64())]))])
    assert schema.names == ["b", "a"] and schema.metadata is None and schema.field("b").nullable


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["2026-11-20T23:30:00-02:00"]), "2026-11-21"),
        (pa.array(["2026-11-20T23:30:00"]), "2026-11-20"),
        (pa.array(["2026-11-20"]), "2026-11-20"),
        (pa.array([20000], pa.date32()), "2024-10-04"),
        (pa.array([0], pa.timestamp("s", "America/New_York")), "1970-01-01"),
        (pa.array([-1], pa.timestamp("us")), "1969-12-31"),
        (pa.nulls(1), "2026-11-23"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_day_of_a_value_is_that_of_utc(values, expected):
    extracted = pa.array(["2026-11-23T01:00:00"]).cast(pa.timestamp("ms"))
    batch = pa.record_batch({"_airbyte_extracted_at": extracted, "c": values})
    assert BatchDate("c").days(batch).to_pylist() == [expected]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("invoices/2010-12-01.csv", "2010-12-01"),
        ("in/2011/20101231_x.csv", "2010-12-31"),
        ("shop_12_2010_12_05.csv", "2010-12-05"),
        ("2011-02-31.csv", "None"),
        ("2010-13-01.csv", "None"),
        ("1234567890.csv", "None"),
        ("2010-12-01/notes.csv", "None"),
        (None, "None"),
    ],
)
def test_the_day_in_a_files_name(name, expected):
    assert str(day_in_name(name)) == expected
