"""PostgreSQL as a destination: what its tables hold after each mode of syncing, and after kills."""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import psycopg
import pyarrow as pa
import pytest

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.destinations import Destination, Target, open_destination
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.worker.ledger import AttemptOver
from embedded.airbyte.worker.parquet import with_airbyte_columns
from tests.integration.airbyte.servers import Airbyte, Shop
from tests.integration.airbyte.test_airbyte_cdc import cdc, dedup  # noqa: F401

OWN = ["_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_meta", "_airbyte_generation_id"]
MERGED = {
    "name": "orders",
    "syncMode": "incremental_deduped_history",
    "cursorField": ["updated_at"],
    "primaryKey": [["order_id"]],
}


class Warehouse:
    """A database to deliver to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.db = psycopg.connect(url, autocommit=True)

    def configuration(self) -> dict[str, Any]:
        return {
            "destinationType": "postgres",
            "host": "127.0.0.1",
            "port": self.db.info.port,
            "database": self.db.info.dbname,
            "schema": "warehouse",
            "username": "postgres",
        }

    def destination(self, airbyte: Airbyte, **changes: Any) -> str:
        configuration = self.configuration() | changes
        body = {"name": "warehouse", "workspaceId": airbyte.workspace(), "configuration": configuration}
        return str(airbyte.call("POST", "/destinations", json=body)["destinationId"])

    def connect(self, airbyte: Airbyte, shop: Shop, *streams: dict[str, Any], **changes: Any) -> str:
        connection, _ = airbyte.connect(
            shop.source(airbyte), self.destination(airbyte, **changes), list(streams),
            namespaceDefinition="destination", lakehouse={"max_retries": 20, "batch_size": 5000},
        )  # fmt: skip
        return connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.db.execute(query).fetchall()


@pytest.fixture
def warehouse(postgres: str) -> Iterator[Warehouse]:
    name = f"warehouse_{secrets.token_hex(4)}"
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
        made = Warehouse(postgres.rsplit("/", 1)[0] + f"/{name}")
        yield made
        made.db.close()
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_types_and_airbytes_columns(airbyte: Airbyte, shop: Shop, warehouse: Warehouse) -> None:
    shop.db.execute(
        """CREATE TABLE kinds AS SELECT 1::bigint AS id, 1.25::numeric(12,2) AS exact, 1e40::float8 AS large,
           0.1::float8 AS small, true AS flag, date '2024-02-29' AS day,
           timestamptz '2024-02-29 12:00:00.000001+02' AS at, timestamp '1969-12-31 23:59:59.5' AS wall,
           time '23:59:59.5' AS clock,
           E'quote " , \\n \\\\ ümläut' AS word,
           ''::text AS empty, NULL::text AS nothing"""
    )
    connection = warehouse.connect(airbyte, shop, {"name": "kinds"})
    assert airbyte.sync(connection) == 1
    columns = warehouse.rows(
        """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
           WHERE attrelid = 'warehouse.kinds'::regclass AND attnum > 0 ORDER BY attnum"""
    )
    assert [name for name, _ in columns[:4]] == OWN
    assert dict(columns) | {"small": "numeric(38,9)", "at": "timestamp with time zone"} == dict(columns)
    (row,) = warehouse.rows(
        "SELECT id, exact, large, small, flag, day::text, at, wall::text, clock::text, word, empty, nothing "
        "FROM warehouse.kinds"
    )
    assert row == (
        1, Decimal("1.250000000"), None, Decimal("0.100000000"), True, "2024-02-29",
        datetime(2024, 2, 29, 10, 0, 0, 1, UTC), "1969-12-31 23:59:59.5", "23:59:59.5",
        'quote " , \n \\ ümläut', "", None,
    )  # fmt: skip
    ((meta, generation),) = warehouse.rows("SELECT _airbyte_meta, _airbyte_generation_id FROM warehouse.kinds")
    assert meta["changes"] == [{"field": "large", "change": "NULLED", "reason": "DESTINATION_FIELD_SIZE_LIMITATION"}]
    assert generation == 1


def test_overwrite_shows_readers_the_old_rows_or_the_new_ones(
    airbyte: Airbyte, shop: Shop, warehouse: Warehouse
) -> None:
    shop.db.execute("CREATE TABLE orders AS SELECT g AS order_id, 0 AS version FROM generate_series(1, 40000) g")
    connection = warehouse.connect(airbyte, shop, {"name": "orders"})
    airbyte.sync(connection)
    seen: set[tuple[Any, ...]] = set()
    over = threading.Event()

    def look() -> None:
        with psycopg.connect(warehouse.url, autocommit=True) as reader:
            while not over.is_set():
                query = "SELECT count(*), min(version), max(version) FROM warehouse.orders"
                seen.update(reader.execute(query).fetchall())

    reading = ThreadPoolExecutor(1).submit(look)
    shop.db.execute("UPDATE orders SET version = 1; DELETE FROM orders WHERE order_id > 30000")
    airbyte.kill_in_syncs(connection, 1, at_once=False)
    over.set()
    reading.result()  # no read has failed
    assert seen <= {(40000, 0, 0), (30000, 1, 1)}, seen
    assert (30000, 1, 1) in set(warehouse.rows("SELECT count(*), min(version), max(version) FROM warehouse.orders"))
    assert warehouse.rows("SELECT DISTINCT _airbyte_generation_id FROM warehouse.orders") == [(2,)]
    assert warehouse.rows("SELECT relname FROM pg_class WHERE relname LIKE 'airbyte_tmp%'") == []

    warehouse.db.execute("CREATE VIEW warehouse.report AS SELECT order_id FROM warehouse.orders")
    failed = airbyte.wait(airbyte.start_sync(connection))
    assert failed["status"] == "failed"
    assert "drop_cascade" in airbyte.reason(failed["jobId"])
    assert warehouse.rows("SELECT count(*) FROM warehouse.report") == [(30000,)]


def test_killed_at_any_instant_each_row_is_there_once(airbyte: Airbyte, shop: Shop, warehouse: Warehouse) -> None:
    for table in ("merged", "appended"):
        shop.db.execute(f"CREATE TABLE {table} (order_id bigint PRIMARY KEY, version int, updated_at timestamptz)")
        shop.db.execute(f"INSERT INTO {table} SELECT g, 0, clock_timestamp() FROM generate_series(1, 20000) g")
    streams = [MERGED | {"name": "merged"}, MERGED | {"name": "appended", "syncMode": "incremental_append"}]
    connection = warehouse.connect(airbyte, shop, *streams)
    versions: set[tuple[Any, ...]] = set()
    for version in range(3):
        for table in ("merged", "appended"):
            changed = f"UPDATE {table} SET version = %s, updated_at = clock_timestamp() WHERE order_id %% 10 = %s"
            shop.db.execute(changed, (version, version))
        versions |= set(shop.db.execute("SELECT order_id, version FROM appended").fetchall())
        airbyte.kill_in_syncs(connection, 1, at_once=False)
    expected = {"merged": set(shop.db.execute("SELECT order_id, version FROM merged").fetchall()), "appended": versions}
    for table, rows in expected.items():
        found = warehouse.rows(f"SELECT order_id, version FROM warehouse.{table}")
        assert len(found) == len(set(found))
        assert set(found) == rows
    assert airbyte.sync(connection) == 0


def test_killed_between_the_two_commits_nothing_comes_twice(airbyte: Airbyte, shop: Shop, warehouse: Warehouse) -> None:
    """The rows are committed in the destination, and the worker dies while it waits to store the state."""
    shop.db.execute(
        "CREATE TABLE orders AS SELECT g AS order_id, clock_timestamp() AS updated_at FROM generate_series(1, 10) g"
    )
    connection = warehouse.connect(airbyte, shop, MERGED | {"syncMode": "incremental_append", "primaryKey": []})
    with psycopg.connect(airbyte.database_url) as blocking:
        blocking.execute("LOCK TABLE airbyte_state IN EXCLUSIVE MODE")
        job = airbyte.start_sync(connection)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                if warehouse.rows("SELECT count(*) FROM warehouse.orders") == [(10,)]:
                    break
            time.sleep(0.02)
        for worker in airbyte.workers():
            worker.send_signal(signal.SIGKILL)
    assert airbyte.wait(job)["status"] == "succeeded"
    assert "rows of a state that was not stored" in airbyte.log(job)
    assert warehouse.rows("SELECT count(*), count(DISTINCT order_id) FROM warehouse.orders") == [(10, 10)]

    airbyte.wait(airbyte.start_sync(connection, "clear"))
    assert warehouse.rows("SELECT count(*) FROM warehouse.orders") == [(0,)]
    assert airbyte.sync(connection) == 10


def test_an_attempt_that_was_given_up_and_lives_on_changes_nothing_more(warehouse: Warehouse) -> None:
    connection = uuid.uuid4()
    ledger = Mock(job_id=1, attempt=0)
    target = Target(ConfiguredStream("orders", "incremental_append"), "", "orders", generation=0, commits=0)
    whole = Target(ConfiguredStream("whole", "full_refresh_overwrite"), "", "whole", generation=1, commits=0)
    row = with_airbyte_columns(pa.table({"n": [1]}), extracted_at_ms=0, generation=0, job_id=1, changes=None)

    def begun(started_ms: int) -> Destination:
        made = open_destination("postgres", warehouse.configuration(), ledger, connection, started_ms)
        for each in (target, whole):
            made.begin(each)
            made.write(each.name, row, 0)
        return made

    orphan = begun(1)
    successor = begun(2)
    with pytest.raises(AttemptOver):
        orphan.commit(["orders"], "orders", None, {"n": 1})
    with pytest.raises((AttemptOver, SyncFailure)):
        orphan.finish("whole")
    with pytest.raises(SyncFailure, match="airbyte_tmp_"):
        orphan.write("whole", row, 0)
    successor.commit(["orders"], "orders", None, {"n": 1})
    successor.finish("whole")
    assert successor.stored_states() == {"orders": (None, {"n": 1})}
    for table in ("orders", "whole"):
        assert warehouse.rows(f"SELECT count(*) FROM warehouse.{table}") == [(1,)]
    orphan.close()
    successor.close()


def test_late_versions_null_keys_and_new_columns(airbyte: Airbyte, shop: Shop, warehouse: Warehouse) -> None:
    shop.db.execute("CREATE TABLE orders (order_id int, version int, updated_at int)")
    shop.db.execute("INSERT INTO orders VALUES (1, 1, 10), (1, 2, 20), (NULL, 1, 10), (3, 1, NULL)")
    connection = warehouse.connect(airbyte, shop, MERGED)
    airbyte.sync(connection)
    current = "SELECT order_id, version FROM warehouse.orders ORDER BY 1"
    assert warehouse.rows(current) == [(1, 2), (3, 1), (None, 1)]
    # the row with no cursor value is read each time, and must not displace a version that has one
    shop.db.execute("DELETE FROM orders; INSERT INTO orders VALUES (1, 3, NULL), (NULL, 2, 30)")
    shop.db.execute(
        "ALTER TABLE orders ADD COLUMN note text; ALTER TABLE orders ALTER COLUMN version TYPE numeric(9,2)"
    )
    shop.db.execute("INSERT INTO orders VALUES (4, 1.5, 40, 'new')")
    airbyte.sync(connection)
    assert warehouse.rows(current) == [(1, 2), (3, 1), (4, Decimal("1.5")), (None, 2)]
    assert warehouse.rows("SELECT note FROM warehouse.orders WHERE order_id = 4") == [("new",)]


def test_changes_of_a_cdc_source(airbyte: Airbyte, cdc: Shop, warehouse: Warehouse) -> None:  # noqa: F811
    hard = warehouse.connect(airbyte, cdc, dedup("orders", "order_id"))
    assert airbyte.sync(hard) == 3
    cdc.db.execute("UPDATE orders SET status = 'paid' WHERE order_id = 1; DELETE FROM orders WHERE order_id = 2")
    cdc.db.execute("UPDATE orders SET order_id = 30 WHERE order_id = 3; INSERT INTO orders VALUES (4, NULL, 0.5)")
    cdc.db.execute(
        "UPDATE orders SET status = 'x' WHERE order_id = 4; UPDATE orders SET status = 'y' WHERE order_id = 4"
    )
    airbyte.kill_in_syncs(hard, 1, at_once=False)
    current = "SELECT order_id, status FROM warehouse.orders ORDER BY 1"
    assert warehouse.rows(current) == [(1, "paid"), (4, "y"), (30, "new")]
    cdc.db.execute("TRUNCATE orders; INSERT INTO orders VALUES (5, 'after', 1)")
    airbyte.sync(hard)
    assert warehouse.rows(current) == [(5, "after")]


def test_what_cannot_be_written_is_told(airbyte: Airbyte, shop: Shop, warehouse: Warehouse) -> None:
    shop.db.execute("CREATE TABLE orders AS SELECT 1 AS order_id")
    warehouse.db.execute("CREATE SCHEMA warehouse; CREATE TABLE warehouse.orders (mine int)")
    job = airbyte.wait(
        airbyte.start_sync(warehouse.connect(airbyte, shop, {"name": "orders", "syncMode": "full_refresh_append"}))
    )
    assert job["status"] == "failed"
    assert 'table "warehouse"."orders" is there and not Airbyte\'s' in airbyte.reason(job["jobId"])
    wrong = {"username": "shopkeeper", "password": "secret-and-wrong"}
    job = airbyte.wait(airbyte.start_sync(warehouse.connect(airbyte, shop, {"name": "orders"}, **wrong)))
    reason = airbyte.reason(job["jobId"])
    assert "check user and password" in reason
    assert "secret-and-wrong" not in reason + airbyte.log(job["jobId"])
    answer = airbyte.request(
        "POST", "/destinations",
        json={
            "name": "x", "workspaceId": airbyte.workspace(),
            "configuration": {"destinationType": "postgres", "host": "h", "database": "d", "username": "u",
                              "tunnel_method": {"tunnel_method": "SSH_KEY_AUTH"}},
        },
    )  # fmt: skip
    assert answer.status_code == 422
    assert "SSH_KEY_AUTH is not supported" in answer.text
