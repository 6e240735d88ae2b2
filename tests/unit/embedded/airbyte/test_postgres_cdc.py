"""PostgreSQL's change data capture without a server: what is refused, and how messages become rows."""

from typing import Any
from unittest.mock import Mock

import duckdb
import numpy as np
import pytest

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources import pgoutput
from embedded.airbyte.sources.postgres import build
from embedded.airbyte.sources.postgres_cdc import PostgresCdcSource
from embedded.airbyte.sources.postgres_text import TextColumns
from embedded.airbyte.sources.replication import lsn_number, lsn_text

METHOD = {"method": "CDC", "plugin": "pgoutput", "replication_slot": "slot", "publication": "pub"}
SERVER = {"wal_level": "logical", "keep_size": "-1", "standby": False, "version": 180000, "may_replicate": True}


def source(**method: Any) -> PostgresCdcSource:
    configuration = {"host": "db", "database": "shop", "username": "reader", "replication_method": METHOD | method}
    made = build(configuration, None, {})
    assert isinstance(made, PostgresCdcSource)
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"replication_slot": ""}, "CDC needs replication_slot"),
        ({"plugin": "wal2json"}, "plugin wal2json is not supported; use pgoutput"),
        ({"invalid_cdc_cursor_position_behavior": "Guess"}, "'Guess' is not one of Fail sync, Re-sync data"),
    ],
)
def test_what_it_does_not_do_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SyncFailure, match=said):
        source(**change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"wal_level": "replica"}, "ALTER SYSTEM SET wal_level = logical, and restart"),
        ({"standby": True}, "reads the primary"),
        ({"version": 140000}, "PostgreSQL 15 or later"),
    ],
)
def test_a_server_that_cannot_do_it_is_told_why(change: dict[str, Any], said: str) -> None:
    db = Mock()
    db.execute.return_value.fetchone.return_value = SERVER | change
    with pytest.raises(SyncFailure, match=said):
        source()._check_server(db)


def test_a_position_is_a_number_and_back() -> None:
    assert lsn_number("16/B374D848") == 97500059720
    assert lsn_text(97500059720) == "16/B374D848"


def message(lsn: int, payload: bytes) -> bytes:
    return b"w" + lsn.to_bytes(8) + bytes(16) + payload


def row(*values: str | None) -> bytes:
    columns = (b"n" if value is None else b"t" + len(value.encode()).to_bytes(4) + value.encode() for value in values)
    return len(values).to_bytes(2) + b"".join(columns)


ITEMS = message(
    1, b"R" + (7).to_bytes(4) + b"public\0items\0d" + (2).to_bytes(2)
    + b"\1id\0" + (23).to_bytes(4) + bytes(4) + b"\0note\0" + (25).to_bytes(4) + bytes(4)
)  # fmt: skip
BEGIN = message(2, b"B" + (90).to_bytes(8) + (5).to_bytes(8) + (1).to_bytes(4))


def change(lsn: int, letter: str, *tuples: bytes) -> bytes:
    return message(lsn, letter.encode() + (7).to_bytes(4) + b"".join(tuples))


def test_messages_become_columns_in_their_order() -> None:
    items = pgoutput.relation(ITEMS)
    unchanged = (2).to_bytes(2) + b"t" + (1).to_bytes(4) + b"1" + b"u"
    messages = [
        BEGIN,
        change(10, "I", b"N", row("1", "ünï")),
        change(11, "U", b"N", unchanged),
        change(12, "U", b"K", row("1", None), b"N", row("2", "moved")),
        change(13, "U", b"K", row("2", None), b"N", row("2", "key is as it was")),
        change(14, "D", b"K", row("2", None)),
    ]
    rows = pgoutput.decode(messages, {7: items})[7]
    assert [values.to_pylist() for values in rows.values] == [
        ["1", "1", "1", "2", "2", "2"],
        ["ünï", None, None, "moved", "key is as it was", None],
    ]
    assert rows.deleted.tolist() == [False, False, True, False, False, True]
    assert rows.lsn.tolist() == [10, 11, 12, 12, 13, 14]
    assert rows.unavailable[1].tolist() == [False, True, False, False, False, False]
    assert set(rows.committed_at.tolist()) == {5}


def test_text_that_is_no_value_in_the_lake_is_null_and_told() -> None:
    types = {
        "n": ("numeric", (10 << 16 | 2) + 4),
        "at": ("timestamptz", -1),
        "tags": ("_text", -1),
        "new": ("int4", -1),
    }
    columns = TextColumns(duckdb.connect(), types)
    items = pgoutput.relation(ITEMS)
    texts = pgoutput.decode([BEGIN, change(1, "I", b"N", row("NaN", "infinity"))], {7: items})[7].values
    bounds = pgoutput.decode([BEGIN, change(1, "I", b"N", row('[0:1]={a,"b,c"}', None))], {7: items})[7].values
    table, changes = columns.parse(
        {"n": texts[0], "at": texts[1], "tags": bounds[0]}, {"at": np.array([False])}, rows=1
    )
    assert table.to_pylist() == [{"n": None, "at": None, "tags": '["a","b,c"]', "new": None}]
    assert str(table.schema.field("n").type) == "decimal128(10, 2)"
    assert changes is not None
    assert [entry["field"] for entry in changes[0].as_py()] == ["n", "at"]
