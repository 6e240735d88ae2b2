"""PostgreSQL by change data capture: what a table's changes become, and what stands in the way of them."""

from __future__ import annotations

import contextlib
import json
import math
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import psutil
import psycopg
import pytest

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.postgres import build
from embedded.airbyte.worker.delivery import Delivery
from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import Airbyte, Shop

METHOD = {"method": "CDC", "plugin": "pgoutput", "replication_slot": "airbyte_slot", "publication": "airbyte_pub"}
KILLS = 3
TYPES = {
    "flag": ("boolean", "true"),
    "small": ("smallint", "-7"),
    "whole": ("integer", "8"),
    "big": ("bigint", "9223372036854775807"),
    "single": ("real", "0.1"),
    "double": ("double precision", "1e300"),
    "money_like": ("numeric(12,2)", "1234567890.12"),
    "free": ("numeric", "0.5"),
    "day": ("date", "2024-02-29"),
    "wall": ("timestamp", "2024-02-29 12:34:56.123456"),
    "instant": ("timestamptz", "1969-12-31 23:59:59.000001-08"),
    "clock": ("time", "23:59:59.5"),
    "span": ("interval", "1 year 2 mons 3 days 04:05:06"),
    "raw": ("bytea", "\\x00ff"),
    "word": ("text", 'quote " and \\ and ümläut'),
    "nothing": ("text", None),
    "long": ("text", "x" * 20_000),
    "object": ("jsonb", '{"a": [1, null]}'),
    "ident": ("uuid", "00000000-0000-4000-8000-000000000001"),
    "address": ("inet", "10.0.0.1/8"),
    "numbers": ("integer[]", "{1,NULL,-3}"),
    "words": ("text[]", '{"a,b","c \\"d\\"",NULL}'),
    "grid": ("double precision[][]", "{{1.5,2.25},{3,4}}"),
    "flags": ("boolean[]", "{t,f}"),
    "mood": ("mood", "happy"),
}


def dedup(name: str, *key: str) -> dict[str, Any]:
    return {"name": name, "syncMode": "incremental_deduped_history", "primaryKey": [[column] for column in key]}


@pytest.fixture
def cdc(shop: Shop) -> Iterator[Shop]:
    """A shop with a table of orders, a publication of all tables, and a slot."""
    with shop.db.transaction():
        shop.db.execute("ALTER ROLE shopkeeper REPLICATION")
        shop.db.execute("CREATE TABLE orders (order_id bigint PRIMARY KEY, status text, amount numeric(12,2))")
        shop.db.execute("INSERT INTO orders SELECT g, 'new', g FROM generate_series(1, 3) g")
        shop.db.execute("CREATE PUBLICATION airbyte_pub FOR ALL TABLES")
    shop.configuration["replication_method"] = METHOD
    make_slot(shop)
    yield shop
    drop_slot(shop)


def make_slot(shop: Shop) -> None:
    shop.db.execute("SELECT pg_create_logical_replication_slot('airbyte_slot', 'pgoutput')")


def drop_slot(shop: Shop) -> None:
    shop.db.execute(
        """SELECT pg_terminate_backend(active_pid), pg_drop_replication_slot(slot_name) FROM pg_replication_slots
           WHERE slot_name = 'airbyte_slot'"""
    )


def newest(lake: Lake, namespace: str, stream: str, *key: str) -> dict[Any, dict[str, Any]]:
    """The newest version of each row that is not deleted, as staging takes it; without Airbyte's columns."""
    latest: dict[Any, dict[str, Any]] = {}
    for row in lake.rows(namespace, stream):
        identity = tuple(row[column] for column in key)
        if identity not in latest or row["_ab_cdc_lsn"] >= latest[identity]["_ab_cdc_lsn"]:
            latest[identity] = row
    return {
        identity if len(key) > 1 else identity[0]: {n: v for n, v in row.items() if not n.startswith("_ab_cdc")}
        for identity, row in latest.items()
        if row["_ab_cdc_deleted_at"] is None
    }


def test_a_snapshot_and_then_each_change(airbyte: Airbyte, lake: Lake, destination: str, cdc: Shop) -> None:
    connection, namespace = airbyte.connect(cdc.source(airbyte), destination, [dedup("orders", "order_id")])
    assert airbyte.sync(connection) == 3
    first = lake.rows(namespace, "orders")
    assert [row["order_id"] for row in first] == [1, 2, 3]
    assert {row["_ab_cdc_deleted_at"] for row in first} == {None}
    assert airbyte.sync(connection) == 0

    cdc.db.execute("UPDATE orders SET status = 'paid' WHERE order_id = 1")
    cdc.db.execute("DELETE FROM orders WHERE order_id = 2")
    cdc.db.execute("UPDATE orders SET order_id = 30 WHERE order_id = 3")
    cdc.db.execute("INSERT INTO orders VALUES (4, NULL, 0.5)")
    assert airbyte.sync(connection) == 5
    changes = lake.rows(namespace, "orders")[3:]
    shapes = [(row["order_id"], row["status"], row["_ab_cdc_deleted_at"] is not None) for row in changes]
    assert shapes == [(1, "paid", False), (2, None, True), (3, None, True), (30, "new", False), (4, None, False)]
    assert changes[0]["_ab_cdc_updated_at"].endswith("Z")
    assert set(newest(lake, namespace, "orders", "order_id")) == {1, 4, 30}

    state = airbyte.config("/state/get", connectionId=connection)
    assert state["stateType"] == "global"
    (confirmed,) = cdc.db.execute(
        "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'airbyte_slot'"
    ).fetchone() or (None,)
    assert state["globalState"]["shared_state"]["lsn"] == confirmed


def test_a_value_is_the_same_from_the_table_and_from_the_log(
    airbyte: Airbyte, lake: Lake, destination: str, cdc: Shop
) -> None:
    cdc.db.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    cdc.db.execute(f"CREATE TABLE every (id int PRIMARY KEY, {', '.join(f'{n} {t}' for n, (t, _) in TYPES.items())})")
    insert = f"INSERT INTO every VALUES (%s, {', '.join(f'%s::text::{type_}' for type_, _ in TYPES.values())})"
    cdc.db.execute(insert, [1, *[value for _, value in TYPES.values()]])
    connection, namespace = airbyte.connect(cdc.source(airbyte), destination, [dedup("every", "id")])
    assert airbyte.sync(connection) == 2  # the row was made after the slot, so it comes both ways
    from_table, from_log = lake.tables(namespace, "every")
    assert from_table.schema == from_log.schema
    (table_row,), (log_row,) = from_table.to_pylist(), from_log.to_pylist()
    for name in TYPES:
        if name == "grid":  # as JSON they are: 3 and 3.0
            assert json.loads(table_row[name]) == json.loads(log_row[name])
        else:
            assert table_row[name] == log_row[name], name
    cdc.db.execute(
        "INSERT INTO every (id, day, instant, free, double) VALUES (3, 'infinity', '-infinity', 'NaN', 'NaN')"
    )
    airbyte.sync(connection)
    (special,) = lake.tables(namespace, "every")[2].to_pylist()
    assert (special["day"], special["instant"], special["free"]) == (None, None, None)
    assert math.isnan(special["double"])
    nulled = {change["field"]: change["change"] for change in special["_airbyte_meta"]["changes"]}
    assert nulled == {"day": "NULLED", "instant": "NULLED", "free": "NULLED"}


def test_values_that_are_stored_apart(airbyte: Airbyte, lake: Lake, destination: str, cdc: Shop) -> None:
    cdc.db.execute("CREATE TABLE notes (id int PRIMARY KEY, seen int, note text)")
    cdc.db.execute("ALTER TABLE notes ALTER note SET STORAGE EXTERNAL")
    cdc.db.execute("INSERT INTO notes VALUES (1, 0, repeat('a', 9000)), (2, 0, repeat('b', 9000))")
    connection, namespace = airbyte.connect(cdc.source(airbyte), destination, [dedup("notes", "id")])
    airbyte.sync(connection)
    cdc.db.execute("UPDATE notes SET seen = 1 WHERE id = 1")
    job = airbyte.start_sync(connection)
    airbyte.wait(job)
    assert "ALTER TABLE public.notes REPLICA IDENTITY FULL" in airbyte.log(job)
    cdc.db.execute("ALTER TABLE notes REPLICA IDENTITY FULL")
    cdc.db.execute("UPDATE notes SET seen = 2 WHERE id = 2")
    cdc.db.execute("UPDATE notes SET id = 3 WHERE id = 2")
    assert airbyte.sync(connection) == 3
    assert newest(lake, namespace, "notes", "id") == {
        1: {"id": 1, "seen": 1, "note": "__debezium_unavailable_value"},
        3: {"id": 3, "seen": 2, "note": "b" * 9000},
    }


def test_a_table_that_is_altered_in_the_stream(airbyte: Airbyte, lake: Lake, destination: str, cdc: Shop) -> None:
    cdc.db.execute("CREATE TABLE items (item_id int PRIMARY KEY, order_id int)")
    cdc.db.execute("CREATE TABLE unrelated (id int)")
    streams = [dedup("orders", "order_id"), dedup("items", "item_id"), {"name": "unrelated"}]
    connection, namespace = airbyte.connect(cdc.source(airbyte), destination, streams)
    airbyte.sync(connection)
    cdc.db.execute("INSERT INTO orders VALUES (4, 'old', 1)")
    cdc.db.execute("ALTER TABLE orders ADD channel text DEFAULT 'web', ALTER amount TYPE text, DROP COLUMN status")
    cdc.db.execute("INSERT INTO orders VALUES (5, '5.00 EUR', 'shop')")
    cdc.db.execute("INSERT INTO unrelated VALUES (1)")  # is read whole, not followed
    cdc.db.execute("INSERT INTO items VALUES (1, 5)")
    cdc.db.execute("ALTER TABLE orders RENAME channel TO via")
    cdc.db.execute("UPDATE orders SET via = 'phone' WHERE order_id = 1")
    job = airbyte.start_sync(connection)
    assert airbyte.wait(job)["rowsSynced"] == 5, airbyte.log(job)
    changes = lake.tables(namespace, "orders")[1].to_pylist()
    assert [(row["order_id"], row["amount"], row["via"]) for row in changes] == [
        (4, "1.00", None),
        (5, "5.00 EUR", None),  # the column was renamed: in the log it is another
        (1, "1.00", "phone"),
    ]
    assert newest(lake, namespace, "items", "item_id") == {1: {"item_id": 1, "order_id": 5}}


def test_a_truncated_table(airbyte: Airbyte, lake: Lake, destination: str, cdc: Shop) -> None:
    connection, namespace = airbyte.connect(cdc.source(airbyte), destination, [dedup("orders", "order_id")])
    airbyte.sync(connection)
    with cdc.db.transaction():
        cdc.db.execute("INSERT INTO orders VALUES (4, 'before', 0)")
        cdc.db.execute("DELETE FROM orders WHERE order_id = 1")
        cdc.db.execute("TRUNCATE orders")
        cdc.db.execute("INSERT INTO orders VALUES (2, 'after', 0)")
    assert airbyte.sync(connection) == 6
    assert {row["status"] for row in newest(lake, namespace, "orders", "order_id").values()} == {"after"}


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("SELECT pg_drop_replication_slot('airbyte_slot')", "SELECT pg_create_logical_replication_slot('airbyte_slot'"),
        ("DROP PUBLICATION airbyte_pub", "there is no publication airbyte_pub: CREATE PUBLICATION"),
        ("ALTER PUBLICATION airbyte_pub SET (publish = 'insert, update')", "leaves out delete"),
        (
            "DROP PUBLICATION airbyte_pub; CREATE TABLE other (); CREATE PUBLICATION airbyte_pub FOR TABLE other",
            "ALTER PUBLICATION airbyte_pub ADD TABLE public.orders",
        ),
        (
            "DROP PUBLICATION airbyte_pub; CREATE PUBLICATION airbyte_pub FOR TABLE orders WHERE (order_id > 1)",
            "row filter for public.orders",
        ),
        ("ALTER TABLE orders REPLICA IDENTITY NOTHING", "ALTER TABLE public.orders REPLICA IDENTITY FULL"),
        ("ALTER ROLE shopkeeper NOREPLICATION", "ALTER ROLE shopkeeper REPLICATION"),
        (
            "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'; SELECT pg_reload_conf(), pg_sleep(0.2);"
            "CREATE TABLE wal (); SELECT pg_switch_wal(); DROP TABLE wal; SELECT pg_switch_wal();"
            "CREATE TABLE wal (); SELECT pg_switch_wal(); DROP TABLE wal; CHECKPOINT",
            "slot airbyte_slot is invalid (wal_removed)",
        ),
    ],
    ids=[
        "no slot", "no publication", "no deletes", "not published", "row filter", "no identity", "no privilege",
        "invalidated",
    ],
)  # fmt: skip
def test_what_is_missing_is_named(cdc: Shop, broken: str, reason: str) -> None:
    orders = ConfiguredStream("orders", "incremental_deduped_history", "public", "_ab_cdc_lsn", ["order_id"])
    try:
        for statement in broken.split("; "):
            cdc.db.execute(statement)
        source = build(cdc.configuration, None, {})
        with pytest.raises(SyncFailure, match=re.escape(reason)) as failure:
            source.read([orders], {}, Mock(spec=Delivery))
        assert failure.value.kind == "config_error"
    finally:
        cdc.db.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        cdc.db.execute("SELECT pg_reload_conf()")


def test_what_was_not_logged_for_the_connection_is_a_gap(
    airbyte: Airbyte, lake: Lake, destination: str, cdc: Shop
) -> None:
    source = cdc.source(airbyte)
    connection, namespace = airbyte.connect(source, destination, [dedup("orders", "order_id")])
    airbyte.sync(connection)
    drop_slot(cdc)
    cdc.db.execute("UPDATE orders SET status = 'unseen' WHERE order_id = 1")
    make_slot(cdc)
    job = airbyte.wait(airbyte.start_sync(connection))
    assert "slot airbyte_slot begins at" in airbyte.reason(job["jobId"])
    assert "Clear the connection (a reset)" in airbyte.reason(job["jobId"])
    assert len(airbyte.config("/jobs/get", id=job["jobId"])["attempts"]) == 1
    method = METHOD | {"invalid_cdc_cursor_position_behavior": "Re-sync data"}
    airbyte.call("PATCH", f"/sources/{source}", json={"configuration": {"replication_method": method}})
    assert airbyte.sync(connection) == 3
    assert newest(lake, namespace, "orders", "order_id")[1]["status"] == "unseen"

    cdc.db.execute("DROP PUBLICATION airbyte_pub")
    cdc.db.execute("UPDATE orders SET status = 'unpublished' WHERE order_id = 2")
    cdc.db.execute("CREATE PUBLICATION airbyte_pub FOR TABLE orders")
    job = airbyte.start_sync(connection)
    assert airbyte.wait(job)["status"] == "succeeded", airbyte.reason(job)
    assert "orders left publication airbyte_pub for a time" in airbyte.log(job)
    assert newest(lake, namespace, "orders", "order_id")[2]["status"] == "unpublished"


class Writer(threading.Thread):
    """Changes the orders, in transactions of a few rows, until it is told to stop."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(daemon=True)
        self._info = shop.db.info.dsn
        self.done = threading.Event()
        self.transactions = 0

    def run(self) -> None:
        dice = random.Random(7)
        with psycopg.connect(self._info, autocommit=True) as db:
            while not self.done.is_set():
                with db.transaction():
                    for _ in range(dice.randrange(1, 6)):
                        key, text = dice.randrange(1, 3000), f"v{self.transactions}"
                        db.execute(*dice.choice(self._statements(key, text, dice.randrange(3000, 9000))))
                self.transactions += 1
                time.sleep(0.002)

    def _statements(self, key: int, text: str, other: int) -> list[tuple[str, list[Any]]]:
        upsert = "INSERT INTO orders VALUES (%s, %s, 1) ON CONFLICT (order_id) DO UPDATE SET status = EXCLUDED.status"
        moved = """UPDATE orders SET order_id = %s, status = %s WHERE order_id = %s
                   AND NOT EXISTS (SELECT FROM orders WHERE order_id = %s)"""
        return [
            (upsert, [key, text]),
            ("UPDATE orders SET status = %s WHERE order_id = %s", [text, key]),
            ("DELETE FROM orders WHERE order_id = %s", [key]),
            (moved, [other, text, key, other]),
        ]


def test_killed_at_random_instants_while_the_table_changes(
    airbyte: Airbyte, lake: Lake, destination: str, cdc: Shop
) -> None:
    cdc.db.execute("INSERT INTO orders SELECT g, 'new', g FROM generate_series(4, 3000) g")
    connection, namespace = airbyte.connect(
        cdc.source(airbyte),
        destination,
        [dedup("orders", "order_id")],
        lakehouse={"max_retries": 20, "batch_size": 500},
    )
    writer = Writer(cdc)
    writer.start()
    killed = 0
    for number in range(KILLS):  # the first ones hit the snapshot, or what comes after it
        job = airbyte.start_sync(connection)
        while not (workers := airbyte.workers()):
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.4) if number else 0)  # a sync is short: one instant hits for certain
        with contextlib.suppress(psutil.NoSuchProcess):  # the sync was faster
            workers[0].send_signal(signal.SIGKILL)
            killed += 1
        assert airbyte.wait(job)["status"] == "succeeded", airbyte.reason(job)
        confirmed = cdc.db.execute("SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots").fetchall()
        state = airbyte.config("/state/get", connectionId=connection)["globalState"]["shared_state"]
        assert [(state["lsn"],)] == confirmed
    writer.done.set()
    writer.join()
    airbyte.sync(connection)
    assert killed > 0
    assert writer.transactions > 100
    in_source = dict(cdc.db.execute("SELECT order_id, status FROM orders").fetchall())
    assert {key: row["status"] for key, row in newest(lake, namespace, "orders", "order_id").items()} == in_source
    assert airbyte.sync(connection) == 0
