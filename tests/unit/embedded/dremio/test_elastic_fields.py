"""Elasticsearch's mappings and documents: types, formats of dates, lists that no mapping tells of."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from embedded.dremio.catalog.elastic_fields import Field, ListFound, fields_of, marked, merged, reader, with_lists
from embedded.dremio.errors import DataReadError


def one(declared: dict[str, Any]) -> Field:
    (field,) = fields_of({"f": declared})
    return field


def day(field_format: str, value: Any) -> str:
    """A moment as read, or the type's name where it is no TIMESTAMP."""
    field = one({"type": "date", "format": field_format})
    read = reader(field)(value)
    if field.kind == "DATE":
        return f"DATE {read}"
    return f"{'TIME ' if field.kind == 'TIME' else ''}{dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=read)}"


@pytest.mark.parametrize(
    ("field_format", "value", "expected"),
    [
        ("strict_date_optional_time||epoch_millis", "2024-02-29T10:20:30.123456Z", "2024-02-29 10:20:30.123000"),
        ("strict_date_optional_time||epoch_millis", "2024-02-29T23:00:00-05:00", "2024-02-29 23:00:00"),
        ("strict_date_optional_time||epoch_millis", 1710111512345, "2024-03-10 22:58:32.345000"),
        ("strict_date_optional_time||epoch_millis", -1, "1969-12-31 23:59:59.999000"),
        ("date_optional_time", "2024-02", "2024-02-01 00:00:00"),
        ("date_optional_time", "2024", "2024-01-01 00:00:00"),
        ("epoch_second", "1709200800", "2024-02-29 10:00:00"),
        ("basic_date_time_no_millis", "20240229T102030Z", "2024-02-29 10:20:30"),
        ("yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis", "2024/02/29", "2024-02-29 00:00:00"),
        ("dd'th' MM uuuu", "29th 02 2024", "2024-02-29 00:00:00"),
        ("basic_date", "20240229", "DATE 2024-02-29"),
        ("date", "1969-12-31", "DATE 1969-12-31"),
        ("strict_date||epoch_millis", "2024-02-29", "2024-02-29 00:00:00"),
        ("hour_minute_second_millis", "10:20:30.5", "TIME 1970-01-01 10:20:30.500000"),
    ],
)
def test_dates(field_format: str, value: Any, expected: str) -> None:
    assert day(field_format, value) == expected


@pytest.mark.parametrize("value", ["17101115T1234", "2024-02-30", "now", True, {"a": 1}])
def test_what_is_no_date(value: Any) -> None:
    with pytest.raises(DataReadError, match=r"Field \[f\]: cannot read .* as TIMESTAMP"):
        reader(one({"type": "date"}))(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("long", "7", 7), ("long", "7.9", 7), ("integer", "", None), ("double", "1.50", 1.5),
        ("boolean", "false", False), ("keyword", "1.50", "1.50"), ("text", True, "true"),
        ("keyword", "", ""), ("binary", "AQI=", b"\x01\x02"),
    ],
)  # fmt: skip
def test_values(kind: str, value: Any, expected: Any) -> None:
    assert reader(one({"type": kind}))(value) == expected


@pytest.mark.parametrize(("kind", "value"), [("long", True), ("long", "x"), ("boolean", "yes"), ("text", {"a": 1})])
def test_values_that_do_not_fit(kind: str, value: Any) -> None:
    with pytest.raises(DataReadError):
        reader(one({"type": kind}))(value)


def test_what_dremio_does_not_know_is_left_out() -> None:
    properties = {
        "a": {"type": "flattened"}, "b": {"type": "date", "format": "week_date"}, "c": {"type": "geo_shape"},
        "d": {"type": "object", "enabled": False}, "e.f": {"type": "long"}, "g": {"type": "date_nanos"},
    }  # fmt: skip
    assert fields_of(properties) == []


def test_lists_are_learned_at_any_depth() -> None:
    fields = fields_of(
        {"a": {"properties": {"b": {"type": "long"}, "p": {"type": "geo_point"}}}, "c": {"type": "long"}}
    )
    (a, c) = with_lists(fields, [{"a": [{"b": 1}, {"b": [2], "p": [13.4, 52.5]}]}, {"a.b": 3, "c": 1}])
    assert (a.is_list, [child.is_list for child in a.children], c.is_list) == (True, [True, False], False)
    assert a.column.type.sql == "LIST<STRUCT<b: LIST<BIGINT>, p: STRUCT<lat: DOUBLE, lon: DOUBLE>>>"
    assert reader(a)({"b": 1, "p": "52.5,13.4"}) == [{"b": [1], "p": {"lat": 52.5, "lon": 13.4}}]
    with pytest.raises(ListFound) as found:
        reader(c)([1])
    assert marked(fields, found.value.path)[1].is_list
    with pytest.raises(ListFound) as found:
        reader(a)({"p": [[13.4, 52.5], [13.5, 52.6]]})
    (a, _) = marked([a, c], found.value.path)
    points = [{"lat": 52.5, "lon": 13.4}, {"lat": 52.6, "lon": 13.5}]
    assert reader(a)({"p": [[13.4, 52.5], [13.5, 52.6]]}) == [{"b": None, "p": points}]
    assert Field.from_json(a.to_json()) == a


def test_an_alias_has_the_fields_of_all_its_indices() -> None:
    first = fields_of({"a": {"type": "long"}, "b": {"type": "long"}})
    second = fields_of({"b": {"type": "keyword"}, "c": {"type": "date"}})
    assert [field.name for field in merged([first, second, first])] == ["a", "c"]
