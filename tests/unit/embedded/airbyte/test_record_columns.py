"""Which columns the records of a sync are delivered with, by the schema, by what came before and by what came now."""

from __future__ import annotations

import re
from typing import Any

import pytest

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.json_columns import to_table
from embedded.airbyte.sources.record_columns import RecordColumns

SCHEMA = {"id": {"type": "integer"}, "rate": {"type": "number"}, "note": {"type": "string"}}
KNOWN = {"id": "int64", "rate": "double"}


def stream(**options: Any) -> ConfiguredStream:
    return ConfiguredStream("rates", "full_refresh_append", columns=SCHEMA, **options)


def deliver(columns: RecordColumns, *batches: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows as they are delivered, and what was said."""
    tables, said = [], []
    for batch in batches:
        for record in batch:
            said += columns.see(record)
        tables.append(to_table(batch, columns.schema)[0])
    return [row for table in columns.fit(tables) for row in table.to_pylist()], said


def test_a_column_of_the_schema_that_never_had_a_value_is_null() -> None:
    columns = RecordColumns(stream(), {}, follow=True)
    assert deliver(columns, [{"id": 1}]) == ([{"id": 1, "rate": None, "note": None}], [])
    assert columns.delivered == {"id": "int64"}


def test_a_column_that_had_values_is_left_out_if_no_record_has_it() -> None:
    columns = RecordColumns(stream(), KNOWN, follow=True)
    assert deliver(columns, [{"id": 1}], [{"id": 2}])[0] == [{"id": 1, "note": None}, {"id": 2, "note": None}]
    assert columns.lost == ["rate"]


@pytest.mark.parametrize("value", [2.5, None])
def test_one_record_that_has_the_column_is_enough(value: float | None) -> None:
    columns = RecordColumns(stream(), KNOWN, follow=True)
    rows, _ = deliver(columns, [{"id": 1}], [{"id": 2, "rate": value}])
    assert [row["rate"] for row in rows] == [None, value]
    assert columns.lost == []


def test_a_deselected_column_is_neither_lost_nor_new() -> None:
    columns = RecordColumns(stream(selected=["id"]), KNOWN, follow=True)
    assert deliver(columns, [{"id": 1, "note": "x"}]) == ([{"id": 1}], [])


def test_records_that_have_none_of_the_columns_fail_by_name() -> None:
    columns = RecordColumns(stream(selected=["id", "rate"]), KNOWN, follow=False)
    columns.see({"data": {}})
    with pytest.raises(SyncFailure, match=r"rates: no record has any of its columns \(id, rate\)"):
        columns.fit([to_table([{"data": {}}], columns.schema)[0]])


def test_new_fields_are_followed_as_text_that_no_later_value_can_break() -> None:
    columns = RecordColumns(stream(), {}, follow=True)
    rows, said = deliver(columns, [{"id": 1}], [{"id": 2, "level": 3}, {"id": 3, "level": {"a": "é"}}])
    assert [row["level"] for row in rows] == [None, "3", '{"a":"é"}']
    assert said == ["the service sends level, which the manifest's schema does not list; followed as text."]
    later = RecordColumns(stream(), columns.delivered, follow=True)
    assert deliver(later, [{"id": 4}]) == ([{"id": 4, "rate": None, "note": None, "level": None}], [])


@pytest.mark.parametrize(
    ("field", "before", "follow", "reason"),
    [
        pytest.param("level", {}, False, "", id="the connection follows none"),
        pytest.param("Rate", {}, True, ": in the lake it would have the name of the column rate", id="another case"),
        pytest.param("no te", {"no_te": "string"}, True, ": in the lake it would .* column no_te", id="another sign"),
        pytest.param("_airbyte_meta", {}, True, ": in the lake it would .* column _airbyte_meta", id="Airbyte's own"),
        pytest.param("old", {"old": "int64"}, True, ": as long as .* it was of type int64", id="it had a type"),
    ],
)
def test_a_field_that_is_not_followed_is_told_with_the_reason(
    field: str, before: dict[str, str], follow: bool, reason: str
) -> None:
    columns = RecordColumns(stream(), before, follow)
    rows, (said,) = deliver(columns, [{"id": 1, field: "x"}])
    assert field not in rows[0]
    assert re.fullmatch(
        f"the service sends {field}, which the manifest's schema does not list; "
        rf"not delivered{reason} \(the raw responses hold it\)\.",
        said,
    )
