"""JSON records to typed columns, and what does not fit."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest

from embedded.airbyte.sources.json_columns import column_type, to_table

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("schema", "value", "type_", "stored"),
    [
        ({"type": "integer"}, 5, pa.int64(), 5),
        ({"type": ["null", "integer"]}, 5.0, pa.int64(), 5),
        ({"type": "number", "airbyte_type": "integer"}, 7, pa.int64(), 7),
        ({"type": "number"}, 1, pa.float64(), 1.0),
        ({"type": "boolean"}, True, pa.bool_(), True),
        ({"type": ["string", "null"]}, "x", pa.string(), "x"),
        ({"type": "string"}, 12, pa.string(), "12"),
        ({"type": "string", "format": "date"}, "2026-01-02", pa.date32(), datetime.date(2026, 1, 2)),
        (
            {"type": "string", "format": "date-time"},
            "2026-01-02T03:04:05.678+02:00",
            pa.timestamp("us", tz="UTC"),
            datetime.datetime(2026, 1, 2, 1, 4, 5, 678000, tzinfo=UTC),
        ),
        (
            {"type": "string", "format": "date-time", "airbyte_type": "timestamp_without_timezone"},
            "2026-01-02T03:04:05",
            pa.timestamp("us"),
            datetime.datetime(2026, 1, 2, 3, 4, 5),
        ),
        ({"type": "string", "format": "time"}, "03:04:05", pa.time64("us"), datetime.time(3, 4, 5)),
        ({"type": "object"}, {"b": 1, "a": "é"}, pa.string(), '{"b":1,"a":"é"}'),
        ({"type": "array", "items": {"type": "integer"}}, [1, 2], pa.string(), "[1,2]"),
        ({}, "text", pa.string(), '"text"'),
        ({"type": ["string", "integer"]}, 3, pa.string(), "3"),
    ],
)
def test_types(schema: dict[str, Any], value: Any, type_: pa.DataType, stored: Any) -> None:
    assert column_type(schema)[0] == type_
    table, changes = to_table([{"x": value}, {}, {"x": None}], {"x": schema})
    assert table.schema.field("x").type == type_
    assert table["x"].to_pylist() == [stored, None, None]
    assert changes is None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "many"),
        ({"type": "integer"}, 1.5),
        ({"type": "integer"}, True),
        ({"type": "integer"}, 2**63),
        ({"type": "number"}, "much"),
        ({"type": "boolean"}, "yes"),
        ({"type": "string", "format": "date"}, "yesterday"),
        ({"type": "string", "format": "date-time"}, 12),
    ],
)
def test_a_value_that_does_not_fit_is_null_and_marked(schema: dict[str, Any], value: Any) -> None:
    table, changes = to_table([{"x": None}, {"x": value}], {"x": schema})
    assert table["x"].to_pylist() == [None, None]
    assert changes is not None
    assert changes.to_pylist() == [
        [],
        [{"field": "x", "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}],
    ]
