"""Reading MySQL by its binlog: every change once and in order, no gap, and failures that say what to do."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.mariadb import GRANTS, MariaDb, Shop
from tests.integration.airbyte.servers import Airbyte

ORDERS = "CREATE TABLE orders (order_id bigint PRIMARY KEY, status varchar(20))"
STREAM = {"name": "orders", "syncMode": "incremental_deduped_history"}


def changes(lake: Lake, namespace: str, stream: str = "orders") -> list[tuple[Any, ...]]:
    """What was delivered: key, status, and whether it is a delete."""
    return [
        (row["order_id"], row["status"], row["_ab_cdc_deleted_at"] is not None) for row in lake.rows(namespace, stream)
    ]


def newest(rows: list[dict[str, Any]]) -> dict[int, str]:
    """The rows as staging has them: the newest version of each key, without those that were deleted."""
    latest: dict[int, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["_ab_cdc_cursor"]):
        latest[row["order_id"]] = row
    return {key: row["status"] for key, row in latest.items() if row["_ab_cdc_deleted_at"] is None}


def purge(shop: Shop) -> None:
    """Remove all of the server's binlog files but the newest, which it does once it needs them no more itself."""
    deadline = time.monotonic() + 20
    while len(logs := shop.execute("SHOW BINARY LOGS")) > 1:
        shop.execute(f"PURGE BINARY LOGS TO '{logs[-1][0]}'")
        assert time.monotonic() < deadline, f"the server keeps {logs}"
        time.sleep(0.05)


@pytest.fixture
def orders(mysql_shop: Shop) -> Shop:
    mysql_shop.execute(ORDERS, "INSERT INTO orders VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    return mysql_shop


def connect(airbyte: Airbyte, destination: str, shop: Shop, *streams: str, **changes: Any) -> tuple[str, str]:
    wanted = [STREAM | {"name": name} for name in streams or ("orders",)]
    return airbyte.connect(shop.source(airbyte, "CDC", **changes), destination, wanted)


def test_every_change_comes_once_in_order_with_airbytes_columns(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    orders.execute("CREATE TABLE other (order_id int)", "CREATE TABLE keyless (order_id int, status varchar(9))")
    connection, namespace = connect(airbyte, destination, orders)
    assert airbyte.sync(connection) == 3
    assert airbyte.sync(connection) == 0
    orders.execute("INSERT INTO other VALUES (1)", "INSERT INTO orders VALUES (4, 'd')")
    orders.execute("UPDATE orders SET status = 'B' WHERE order_id = 2", "DELETE FROM orders WHERE order_id = 1")
    orders.execute("UPDATE orders SET order_id = order_id + 1 WHERE order_id > 2 ORDER BY order_id DESC")
    orders.execute("FLUSH BINARY LOGS", "INSERT INTO orders VALUES (6, 'f')")
    orders.execute("START TRANSACTION", "INSERT INTO orders VALUES (7, 'never')", "ROLLBACK", "TRUNCATE TABLE other")
    assert airbyte.sync(connection) == 8
    assert airbyte.sync(connection) == 0
    assert changes(lake, namespace)[3:] == [
        (4, "d", False),
        (2, "B", False),
        (1, "a", True),
        (4, "d", True),
        (5, "d", False),
        (3, "c", True),
        (4, "c", False),
        (6, "f", False),
    ]
    rows = lake.rows(namespace, "orders")
    assert newest(rows) == dict(orders.execute("SELECT order_id, status FROM orders"))
    cursors = [row["_ab_cdc_cursor"] for row in rows[3:]]
    assert cursors == sorted(set(cursors))
    assert min(cursors) > rows[0]["_ab_cdc_cursor"]
    last = rows[-1]
    assert last["_ab_cdc_log_file"].startswith("mysql-bin.")
    assert last["_ab_cdc_cursor"] == int(last["_ab_cdc_log_file"][-6:]) << 32 | int(last["_ab_cdc_log_pos"])
    orders.execute("FLUSH BINARY LOGS")
    assert airbyte.sync(connection) == 0
    purge(orders)
    assert airbyte.sync(connection) == 0  # the position has gone on with the server's
    streams = airbyte.call("GET", "/streams", params={"sourceId": orders.source(airbyte, "CDC")})
    modes = {stream["streamName"]: (stream["sourceDefinedCursorField"], stream["syncModes"]) for stream in streams}
    assert modes["orders"][0]
    assert modes["keyless"] == (False, ["full_refresh_overwrite", "full_refresh_append"])


def test_columns_may_change_in_the_stream(airbyte: Airbyte, lake: Lake, destination: str, orders: Shop) -> None:
    connection, namespace = connect(airbyte, destination, orders)
    airbyte.sync(connection)
    orders.execute("INSERT INTO orders VALUES (4, 'd')", "ALTER TABLE orders ADD note text AFTER order_id")
    orders.execute("INSERT INTO orders VALUES (5, 'new', 'e')")
    assert airbyte.sync(connection) == 2  # without names in the binlog: told apart by their number
    rows = lake.rows(namespace, "orders")[3:]
    assert [(row["order_id"], row["note"], row["status"]) for row in rows] == [(4, None, "d"), (5, "new", "e")]
    orders.execute("INSERT INTO orders VALUES (6, 'n', 's')", "ALTER TABLE orders DROP note, DROP status")
    orders.execute(
        "ALTER TABLE orders ADD status varchar(20), ADD note text", "INSERT INTO orders VALUES (7, 's', 'n')"
    )
    orders.execute("ALTER TABLE orders MODIFY note text FIRST, MODIFY status varchar(20) FIRST")
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert "set binlog_row_metadata=FULL" in airbyte.reason(job["jobId"])
    airbyte.wait(airbyte.start_sync(connection, "clear"))
    orders.execute("SET GLOBAL binlog_row_metadata = FULL")
    try:
        assert airbyte.sync(connection) == 7
        orders.execute("INSERT INTO orders VALUES ('s', 'n', 8)")
        orders.execute("ALTER TABLE orders MODIFY order_id bigint FIRST", "INSERT INTO orders VALUES (9, 'S', 'N')")
        assert airbyte.sync(connection) == 2
    finally:
        orders.execute("SET GLOBAL binlog_row_metadata = NO_LOG")
    rows = lake.rows(namespace, "orders")[-2:]
    assert [(row["order_id"], row["note"], row["status"]) for row in rows] == [(8, "n", "s"), (9, "N", "S")]


def test_a_stream_that_is_added_later_neither_misses_nor_doubles_a_change(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    orders.execute("CREATE TABLE late LIKE orders")
    connection, namespace = connect(airbyte, destination, orders)
    airbyte.sync(connection)
    orders.execute("INSERT INTO orders VALUES (4, 'd')", "INSERT INTO late VALUES (1, 'a')")
    both = [STREAM, STREAM | {"name": "late"}]
    airbyte.call("PATCH", f"/connections/{connection}", json={"configurations": {"streams": both}})
    assert airbyte.sync(connection) == 2
    orders.execute("INSERT INTO orders VALUES (5, 'e')", "INSERT INTO late VALUES (2, 'b')")
    assert airbyte.sync(connection) == 2
    assert [row[0] for row in changes(lake, namespace)] == [1, 2, 3, 4, 5]
    assert [row[0] for row in changes(lake, namespace, "late")] == [1, 2]


def test_a_change_that_was_logged_as_a_statement_fails_the_sync(
    airbyte: Airbyte, destination: str, orders: Shop
) -> None:
    orders.execute("CREATE TABLE orders_2 LIKE orders")
    connection, _ = connect(airbyte, destination, orders)
    airbyte.sync(connection)
    by_statement = "SET SESSION binlog_format = STATEMENT"
    orders.execute(by_statement, "INSERT INTO orders_2 VALUES (1, 'another table')")
    assert airbyte.sync(connection) == 0
    orders.execute(by_statement, "UPDATE orders SET status = 'unseen'")
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert "has a change of table orders as a statement" in airbyte.reason(job["jobId"])


@pytest.mark.parametrize("behavior", ["Fail sync", "Re-sync data"])
def test_a_position_that_the_server_has_purged(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop, behavior: str
) -> None:
    method = {"method": "CDC", "invalid_cdc_cursor_position_behavior": behavior}
    connection, namespace = connect(airbyte, destination, orders, replication_method=method)
    airbyte.sync(connection)
    orders.execute("INSERT INTO orders VALUES (4, 'd')", "FLUSH BINARY LOGS")
    purge(orders)
    job = airbyte.wait(airbyte.start_sync(connection))
    if behavior == "Fail sync":
        assert job["status"] == "failed"
        assert "is not on the server any more" in airbyte.reason(job["jobId"])
        assert len(airbyte.config("/jobs/get", id=job["jobId"])["attempts"]) == 1
    else:
        assert job["status"] == "succeeded"
        assert [row[0] for row in changes(lake, namespace)] == [1, 2, 3, 1, 2, 3, 4]


def test_a_user_who_may_not_read_the_binlog_is_told_what_is_missing(
    airbyte: Airbyte, destination: str, orders: Shop, mariadb: MariaDb
) -> None:
    mariadb.execute("CREATE OR REPLACE USER poor IDENTIFIED BY 'p'", f"GRANT SELECT ON {orders.name}.* TO poor")
    source = orders.source(airbyte, "CDC", username="poor", password="p")
    answer = airbyte.request("GET", "/streams", params={"sourceId": source})
    assert "BINLOG MONITOR" in answer.text
    mariadb.execute("GRANT BINLOG MONITOR ON *.* TO poor")
    connection, _ = airbyte.connect(source, destination, [STREAM])
    airbyte.sync(connection)
    orders.execute("INSERT INTO orders VALUES (4, 'd')")
    job = airbyte.wait(airbyte.start_sync(connection))
    assert "REPLICATION SLAVE" in airbyte.reason(job["jobId"])
    assert "REPLICATION SLAVE" in GRANTS


def test_killed_at_random_instants_while_the_source_goes_on(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    orders.execute("INSERT INTO orders SELECT seq, 'old' FROM seq_10_to_20000", "CREATE TABLE more LIKE orders")
    connection, namespace = airbyte.connect(
        orders.source(airbyte, "CDC"),
        destination,
        [STREAM, STREAM | {"name": "more"}],
        lakehouse={"max_retries": 20},
    )
    done = threading.Event()

    def write() -> None:
        number = 100_000
        with orders.server.connect(orders.name) as db, db.cursor() as cursor:
            while not done.is_set():
                number += 1
                key = random.randrange(10, 20_000)
                db.begin()
                cursor.execute(f"INSERT INTO orders VALUES ({number}, 'new'), (-{number}, 'new')")
                cursor.execute(f"INSERT INTO more VALUES ({number}, 'new')")
                cursor.execute(f"UPDATE orders SET status = 'v{number}' WHERE order_id = {key}")
                cursor.execute(f"DELETE FROM orders WHERE order_id = {key + 1}")
                db.commit()
                time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        killed = airbyte.kill_in_syncs(connection, 3)
    finally:
        done.set()
        writer.join()
    airbyte.sync(connection)
    assert killed > 0
    for name in ("orders", "more"):
        assert newest(lake.rows(namespace, name)) == dict(orders.execute(f"SELECT order_id, status FROM {name}"))
    assert airbyte.sync(connection) == 0
