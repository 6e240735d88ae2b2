"""Stream configurations against what a source offers."""

from __future__ import annotations

from typing import Any

import pytest

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream, InvalidCatalog, available_modes, configure

ORDERS = DiscoveredStream(
    "orders", {"id": {"type": "integer"}, "changed": {"type": "string"}}, namespace="public", primary_key=["id"]
)
FILES = DiscoveredStream("files", {"x": {}, "modified": {}}, cursor_is_fixed=True, default_cursor="modified")


def one(**request: Any) -> ConfiguredStream:
    return configure([{"name": "orders", **request}], [ORDERS, FILES])[0]


def test_without_a_request_all_streams_are_refreshed_whole() -> None:
    assert [(s.name, s.sync_mode) for s in configure(None, [ORDERS, FILES])] == [
        ("orders", "full_refresh_overwrite"),
        ("files", "full_refresh_overwrite"),
    ]


def test_keys_of_the_source_are_taken_where_none_are_given() -> None:
    stream = one(syncMode="incremental_deduped_history", cursorField=["changed"])
    assert (stream.cursor, stream.primary_key, stream.namespace) == ("changed", ["id"], "public")
    assert stream.incremental and not stream.overwrites


def test_a_cursor_that_the_source_defines_is_used() -> None:
    (stream,) = configure([{"name": "files", "syncMode": "incremental_append"}], [FILES])
    assert stream.cursor == "modified"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ([{"name": "x"}], "no stream 'x'; it has: files, orders"),
        ([{"name": "orders"}, {"name": "orders"}], "Duplicate streams"),
        ([{"name": "orders", "syncMode": "full_refresh_update"}], "Valid sync modes are: full_refresh_overwrite"),
        ([{"name": "orders", "syncMode": "incremental_append"}], "No cursor field"),
        ([{"name": "orders", "syncMode": "incremental_append", "cursorField": ["y"]}], "'y' is not a column"),
        ([{"name": "orders", "syncMode": "incremental_append", "cursorField": ["a", "b"]}], "Nested cursor"),
        ([{"name": "files", "syncMode": "incremental_append", "cursorField": ["x"]}], "defined by the source"),
        ([{"name": "files", "syncMode": "incremental_deduped_history"}], "A primary key is required"),
        ([{"name": "orders", "primaryKey": [["y"]]}], "Primary key y is not a column"),
        ([{"name": "orders", "primaryKey": [["id"], ["id"]]}], "Duplicate primary key"),
        ([{"name": "orders", "primaryKey": [["a", "b"]]}], "Nested primary keys"),
        ([{"name": "orders", "selectedFields": []}], "No fields selected"),
        ([{"name": "orders", "selectedFields": [{"fieldPath": ["a", "b"]}]}], "Nested field selection"),
        ([{"name": "orders", "selectedFields": [{"fieldPath": ["id"]}] * 2}], "Duplicate fields"),
        ([{"name": "orders", "selectedFields": [{"fieldPath": ["z"]}]}], "z do not exist"),
        ([{"name": "orders", "selectedFields": [{"fieldPath": ["changed"]}]}], "id is not"),
    ],
)
def test_contradictions_are_refused(request_: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InvalidCatalog, match=said):
        configure(request_, [ORDERS, FILES])


def test_selected_columns_are_read_and_all_are_remembered() -> None:
    stream = one(selectedFields=[{"fieldPath": ["id"]}])
    assert list(stream.read_columns) == ["id"]
    assert list(stream.columns) == ["id", "changed"]


def test_a_stream_without_a_cursor_has_no_incremental_modes() -> None:
    stream = DiscoveredStream("x", {"a": {}}, incremental=False)
    assert available_modes(stream) == ["full_refresh_overwrite", "full_refresh_append"]


def test_a_configured_stream_survives_being_stored() -> None:
    stream = one(syncMode="incremental_append", cursorField=["changed"])
    assert ConfiguredStream(**stream.as_json()) == stream
