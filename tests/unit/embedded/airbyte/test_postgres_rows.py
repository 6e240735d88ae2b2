"""What rows become on their way to PostgreSQL."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from embedded.airbyte.destinations.postgres_rows import copy_text, postgres_name, postgres_type, prepared, wider
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.worker.parquet import META_CHANGE, with_airbyte_columns


def rows(data: dict[str, Any], changes: pa.Array | None = None) -> pa.Table:
    return with_airbyte_columns(pa.table(data), extracted_at_ms=0, generation=1, job_id=7, changes=changes)


def test_names_are_those_of_airbytes_destination() -> None:
    assert [postgres_name(name) for name in ("source=shop", "2nd", "Ok_1", "ü")] == ["source_shop", "_2nd", "Ok_1", "_"]
    assert postgres_name("a" * 63) == "a" * 63
    assert postgres_name("a" * 64) == "a" * 54 + "_26890496"


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (pa.int32(), "bigint"),
        (pa.uint64(), "numeric"),
        (pa.float32(), "numeric(38,9)"),
        (pa.decimal128(12, 2), "numeric(38,9)"),
        (pa.decimal128(20, 12), "numeric"),  # its last digits would be lost
        (pa.decimal128(38, 0), "numeric"),
        (pa.timestamp("us", "UTC"), "timestamp with time zone"),
        (pa.time64("us"), "time without time zone"),
    ],
)
def test_types(type_: pa.DataType, expected: str) -> None:
    assert postgres_type("c", type_, "numeric(38,9)") == expected


def test_a_type_without_a_counterpart_is_refused() -> None:
    with pytest.raises(SyncFailure, match="Column c is of the Arrow type binary"):
        postgres_type("c", pa.binary(), "numeric")


def test_a_wider_type_holds_both() -> None:
    assert wider("bigint", "numeric(38,9)") == wider("numeric(38,9)", "bigint") == "numeric(38,9)"
    assert wider("numeric", "numeric(38,9)") == "numeric"
    assert wider("date", "bigint") == wider("jsonb", "character varying") == "character varying"
    assert wider("text", "bigint") == "text"


def test_zero_bytes_are_left_out_of_text_and_json() -> None:
    data = {"word": ["a\x00b", None], "object": ['"\\u0000\\u0000x\\\\u0000"', '{"k":"\\u0000"}']}
    table, types = prepared(rows(data), {"word": "character varying", "object": "jsonb"})
    assert table["word"].to_pylist() == ["ab", None]
    assert [json.loads(text) for text in table["object"].to_pylist()] == ["x\\u0000", {"k": ""}]
    assert types["object"] == "jsonb"


def test_json_that_is_none_is_text() -> None:
    _, types = prepared(rows({"object": ["{}", "no"]}), {"object": "jsonb"})
    assert types == {"object": "character varying"}


def test_numbers_that_are_too_large_are_null_and_told_beside_what_was_told_before() -> None:
    before = pa.array(
        [[], [{"field": "x", "change": "NULLED", "reason": "SOURCE_RETRIEVAL_ERROR"}]], pa.list_(META_CHANGE)
    )
    table, _ = prepared(rows({"n": [1.5, -1e29], "x": [1, None]}, before), {"n": "numeric(38,9)", "x": "bigint"})
    assert table["n"].to_pylist() == [1.5, None]
    first, second = (json.loads(text) for text in table["_airbyte_meta"].to_pylist())
    assert first == {"sync_id": 7, "changes": []}
    assert [(change["field"], change["reason"]) for change in second["changes"]] == [
        ("x", "SOURCE_RETRIEVAL_ERROR"),
        ("n", "DESTINATION_FIELD_SIZE_LIMITATION"),
    ]


def test_copy_tells_null_from_empty_text() -> None:
    table = pa.table({"a": ["", None, 'x",\n'], "n": [Decimal("1.50"), None, Decimal(0)], "b": [True, None, False]})
    assert copy_text(table).decode() == '"",1.50,true\n,,\n"x"",\n",0.00,false\n'
