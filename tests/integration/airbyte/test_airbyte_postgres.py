"""Reading PostgreSQL: types, sync modes, cursors, changes of the schema, and failures that say what to do."""

from __future__ import annotations

import datetime
import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import Airbyte, Shop

UTC = datetime.UTC
ORDERS = """
CREATE TABLE orders (order_id bigint PRIMARY KEY, amount numeric(12,2), status text, updated_at timestamptz);
INSERT INTO orders VALUES (1, 10.10, 'pending', '2026-01-01 10:00+00'), (2, 20.20, 'completed', '2026-01-02 10:00+00'),
    (3, 30.30, 'shipped', '2026-01-02 10:00+00');
"""


def incremental(name: str, cursor: str = "updated_at", key: str = "order_id") -> dict[str, Any]:
    return {
        "name": name,
        "syncMode": "incremental_deduped_history",
        "cursorField": [cursor],
        "primaryKey": [[key]],
    }


def ids(lake: Lake, namespace: str, stream: str = "orders") -> list[int]:
    return [row["order_id"] for row in lake.rows(namespace, stream)]


@pytest.fixture
def orders(shop: Shop) -> Shop:
    shop.db.execute(ORDERS)
    return shop


def test_a_file_has_airbytes_columns_types_and_name(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    connection, namespace = airbyte.connect(orders.source(airbyte), destination, [incremental("orders")])
    job = airbyte.start_sync(connection)
    airbyte.wait(job)
    (key,) = lake.files(namespace, "orders")
    assert key.startswith(f"bronze/landing/{namespace}/orders/{datetime.datetime.now(UTC):%Y_%m_%d}_")
    assert key.endswith("_0.parquet")
    file = pq.ParquetFile(io.BytesIO(lake.get(key)))
    assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
    shapes = [(field.name, str(field.type), field.nullable) for field in file.schema_arrow]
    changes = "list<element: struct<field: string, change: string, reason: string> not null>"
    assert shapes == [
        ("_airbyte_raw_id", "string", False),
        ("_airbyte_extracted_at", "timestamp[ms, tz=UTC]", False),
        ("_airbyte_generation_id", "int64", False),
        ("_airbyte_meta", f"struct<sync_id: int64 not null, changes: {changes} not null>", False),
        ("order_id", "int64", True),
        ("amount", "decimal128(12, 2)", True),
        ("status", "string", True),
        ("updated_at", "timestamp[us, tz=UTC]", True),
    ]
    row = file.read().to_pylist()[0]
    assert row["_airbyte_meta"] == {"sync_id": job, "changes": []}
    assert (row["order_id"], row["amount"], row["status"]) == (1, Decimal("10.10"), "pending")


def test_every_type_arrives_exactly(airbyte: Airbyte, lake: Lake, destination: str, shop: Shop) -> None:
    shop.db.execute("""
        CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE TABLE kinds (id int PRIMARY KEY, small smallint, exact numeric(30,10), free numeric, real_ real,
            double_ float8, day date, local timestamp, instant timestamptz, clock time, span interval, doc jsonb,
            uid uuid, mood mood, bytes bytea, numbers int[], yes boolean, padded char(4), "Odd name!" text);
        INSERT INTO kinds VALUES (1, -2, 12345678901234567890.0123456789, 1.5, 1.25, 1e300, '0044-03-15',
            '2026-03-01 12:00:00.123456', '2026-03-01 12:00:00.123456+05:30', '23:59:59.999999', '1 day 02:00',
            '{"a": [1, null]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ok', '\\xDEADbeef', '{1,NULL,3}', true,
            'ab', 'ü');
        INSERT INTO kinds (id) VALUES (2);
    """)
    connection, namespace = airbyte.connect(shop.source(airbyte), destination, [{"name": "kinds"}])
    assert airbyte.sync(connection) == 2
    full, empty = lake.rows(namespace, "kinds")
    assert full == {
        "id": 1,
        "small": -2,
        "exact": Decimal("12345678901234567890.0123456789"),
        "free": 1.5,
        "real_": 1.25,
        "double_": 1e300,
        "day": datetime.date(44, 3, 15),
        "local": datetime.datetime(2026, 3, 1, 12, 0, 0, 123456),
        "instant": datetime.datetime(2026, 3, 1, 6, 30, 0, 123456, tzinfo=UTC),
        "clock": datetime.time(23, 59, 59, 999999),
        "span": "1 day 02:00:00",
        "doc": '{"a": [1, null]}',
        "uid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "mood": "ok",
        "bytes": "\\xdeadbeef",
        "numbers": "[1,null,3]",
        "yes": True,
        "padded": "ab",  # char(n) without the blanks that pad it
        "Odd_name_": "ü",
    }
    assert set(empty.values()) == {2, None}


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("date", "infinity"),
        ("timestamptz", "-infinity"),
        ("timestamp", "infinity"),
        ("numeric(12,2)", "NaN"),
        ("numeric", "-Infinity"),
    ],
)
def test_a_value_that_a_lake_cannot_hold_fails_the_sync_and_names_the_column(
    airbyte: Airbyte, destination: str, shop: Shop, type_: str, value: str
) -> None:
    shop.db.execute(f"CREATE TABLE odd (id int PRIMARY KEY, due {type_}); INSERT INTO odd VALUES (1, '{value}')")
    connection, _ = airbyte.connect(shop.source(airbyte), destination, [{"name": "odd"}])
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert "due" in airbyte.reason(job["jobId"])
    assert len(airbyte.config("/jobs/get", id=job["jobId"])["attempts"]) == 1


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ('"Id" int, id int', "column Id differs from another column in upper and lower case alone"),
        ("id int, amount numeric(5,-2)", "column amount is numeric(5,-2)"),
        ("id int, _airbyte_raw_id int", "_airbyte_raw_id would not be the only column of that name"),
    ],
    ids=["names that differ in case", "a scale below 0", "a column of Airbyte's"],
)
def test_a_column_that_would_be_taken_for_another_is_refused(
    airbyte: Airbyte, destination: str, shop: Shop, columns: str, reason: str
) -> None:
    shop.db.execute(f"CREATE TABLE odd ({columns}); INSERT INTO odd VALUES (1, 200)")
    connection, _ = airbyte.connect(shop.source(airbyte), destination, [{"name": "odd"}])
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert reason in airbyte.reason(job["jobId"])


def test_a_cursor_that_is_not_a_number_or_changes_its_type(
    airbyte: Airbyte, lake: Lake, destination: str, shop: Shop
) -> None:
    shop.db.execute("CREATE TABLE orders AS SELECT 1 AS order_id, 'NaN'::float8 AS v UNION SELECT 2, 5")
    connection, namespace = airbyte.connect(shop.source(airbyte), destination, [incremental("orders", "v")])
    airbyte.sync(connection)
    shop.db.execute("INSERT INTO orders VALUES (3, 7)")
    airbyte.sync(connection)
    assert set(ids(lake, namespace)) == {1, 2, 3}
    shop.db.execute("ALTER TABLE orders ALTER v TYPE timestamptz USING now()")
    job = airbyte.wait(airbyte.start_sync(connection))
    assert "cursor column v is of type timestamptz now" in airbyte.reason(job["jobId"])


def test_incremental_takes_changes_and_nothing_twice(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    connection, namespace = airbyte.connect(orders.source(airbyte), destination, [incremental("orders")])
    assert airbyte.sync(connection) == 3
    assert airbyte.sync(connection) == 0
    assert len(lake.files(namespace, "orders")) == 1
    orders.db.execute("UPDATE orders SET status = 'returned', updated_at = '2026-01-05' WHERE order_id = 1")
    assert airbyte.sync(connection) == 1
    assert lake.rows(namespace, "orders")[-1]["status"] == "returned"


def test_a_late_row_with_the_last_cursor_value_is_not_skipped(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    connection, namespace = airbyte.connect(orders.source(airbyte), destination, [incremental("orders")])
    airbyte.sync(connection)
    orders.db.execute("INSERT INTO orders VALUES (4, 1, 'pending', '2026-01-02 10:00+00')")
    assert airbyte.sync(connection) == 3  # inclusive: all rows of that instant
    assert 4 in ids(lake, namespace)
    # as many rows as before have the value, but they are not the same ones
    orders.db.execute("DELETE FROM orders WHERE order_id = 2")
    orders.db.execute("INSERT INTO orders VALUES (5, 1, 'pending', '2026-01-02 10:00+00')")
    airbyte.sync(connection)
    assert 5 in ids(lake, namespace)
    assert airbyte.sync(connection) == 0


def test_rows_without_a_cursor_value_are_not_skipped(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    connection, namespace = airbyte.connect(orders.source(airbyte), destination, [incremental("orders")])
    airbyte.sync(connection)
    orders.db.execute("INSERT INTO orders VALUES (9, 1, 'pending', NULL)")
    assert airbyte.sync(connection) == 1
    assert ids(lake, namespace)[-1] == 9


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("integer", ["7", "9", "11"]),
        ("date", ["2026-01-01", "2026-01-02", "2026-02-01"]),
        ("timestamp", ["2026-01-01 00:00:00.000001", "2026-01-01 00:00:00.000002", "2026-01-01 00:00:00.000003"]),
        ("numeric(20,5)", ["1.00001", "1.00002", "99999999999.00001"]),
        ("numeric", ["1.00000000000000000001", "1.00000000000000000002", "1.00000000000000000003"]),
        ("double precision", ["0.1", "0.30000000000000004", "1e300"]),
        ("text", ["a", "b", "it's"]),
    ],
)
def test_cursors_of_other_types(
    airbyte: Airbyte, lake: Lake, destination: str, shop: Shop, type_: str, values: list[str]
) -> None:
    shop.db.execute(f"CREATE TABLE items (id int PRIMARY KEY, version {type_})")
    connection, namespace = airbyte.connect(shop.source(airbyte), destination, [incremental("items", "version", "id")])
    for number, value in enumerate(values):
        shop.db.execute("INSERT INTO items VALUES (%s, %s)", (number, value))
        assert airbyte.sync(connection) == 1
    assert airbyte.sync(connection) == 0
    assert [row["id"] for row in lake.rows(namespace, "items")] == [0, 1, 2]


def test_full_refresh_append_keeps_and_overwrite_replaces(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    source = orders.source(airbyte)
    appended, kept = airbyte.connect(source, destination, [{"name": "orders", "syncMode": "full_refresh_append"}])
    replaced, alone = airbyte.connect(source, destination, [{"name": "orders"}])
    for connection in (appended, replaced):
        assert (airbyte.sync(connection), airbyte.sync(connection)) == (3, 3)
    generations = [set(table["_airbyte_generation_id"].to_pylist()) for table in lake.tables(kept, "orders")]
    assert generations == [{1}, {2}]
    (table,) = lake.tables(alone, "orders")
    assert set(table["_airbyte_generation_id"].to_pylist()) == {2}


def test_a_failed_overwrite_leaves_what_was_there(airbyte: Airbyte, lake: Lake, destination: str, orders: Shop) -> None:
    connection, namespace = airbyte.connect(orders.source(airbyte), destination, [{"name": "orders"}])
    airbyte.sync(connection)
    before = lake.files(namespace, "orders")
    orders.db.execute("ALTER TABLE orders ADD due date DEFAULT 'infinity'")
    assert airbyte.wait(airbyte.start_sync(connection))["status"] == "failed"
    assert lake.files(namespace, "orders") == before


def test_new_dropped_and_changed_columns_are_followed_and_logged(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    connection, namespace = airbyte.connect(orders.source(airbyte), destination, [incremental("orders")])
    airbyte.sync(connection)
    orders.db.execute("""
        ALTER TABLE orders ADD channel text DEFAULT 'web', DROP COLUMN status, ALTER amount TYPE text;
        UPDATE orders SET updated_at = '2026-02-01' WHERE order_id = 3;
    """)
    job = airbyte.start_sync(connection)
    # the change of type rewrote the table, so the row that shares the last cursor value comes again
    assert airbyte.wait(job)["rowsSynced"] == 2
    rows = {row["order_id"]: row for row in lake.rows(namespace, "orders")}
    assert rows[3] == {
        "order_id": 3,
        "amount": "30.30",
        "updated_at": datetime.datetime(2026, 2, 1, tzinfo=UTC),
        "channel": "web",
    }
    log = airbyte.log(job)
    assert "new column channel (string)" in log
    assert "column status (string) is gone" in log
    assert "column amount changed its type from decimal128(12, 2) to string" in log
    catalog = airbyte.config("/connections/get", connectionId=connection)["syncCatalog"]
    assert set(catalog["streams"][0]["stream"]["jsonSchema"]["properties"]) == {
        "order_id", "amount", "updated_at", "channel",
    }  # fmt: skip


def test_new_columns_are_left_out_where_the_connection_says_so(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    connection, namespace = airbyte.connect(
        orders.source(airbyte), destination, [{"name": "orders"}], nonBreakingSchemaUpdatesBehavior="ignore"
    )
    orders.db.execute("ALTER TABLE orders ADD channel text DEFAULT 'web'")
    airbyte.sync(connection)
    assert "channel" not in lake.rows(namespace, "orders")[0]


def test_a_schema_change_disables_the_connection_where_it_says_so(
    airbyte: Airbyte, destination: str, orders: Shop
) -> None:
    policy = {"nonBreakingSchemaUpdatesBehavior": "disable_connection"}
    connection, _ = airbyte.connect(orders.source(airbyte), destination, [{"name": "orders"}], **policy)
    orders.db.execute("ALTER TABLE orders ADD channel text")
    assert airbyte.wait(airbyte.start_sync(connection))["status"] == "failed"
    assert airbyte.call("GET", f"/connections/{connection}")["status"] == "inactive"
    refused = airbyte.request("POST", "/jobs", json={"connectionId": connection, "jobType": "sync"})
    assert (refused.status_code, refused.json()["title"]) == (409, "state-conflict")


def test_streams_come_and_go_with_the_source_where_the_connection_says_so(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    policy = {"nonBreakingSchemaUpdatesBehavior": "propagate_fully"}
    connection, namespace = airbyte.connect(orders.source(airbyte), destination, [{"name": "orders"}], **policy)
    assert airbyte.sync(connection) == 3
    orders.db.execute("CREATE TABLE refunds (id int PRIMARY KEY); INSERT INTO refunds VALUES (1), (2)")
    orders.db.execute("ALTER TABLE orders ADD channel text")
    assert airbyte.sync(connection) == 5
    assert len(lake.rows(namespace, "refunds")) == 2
    assert "channel" in lake.rows(namespace, "orders")[-1]
    orders.db.execute("DROP TABLE orders")
    assert airbyte.sync(connection) == 2
    streams = airbyte.call("GET", f"/connections/{connection}")["configurations"]["streams"]
    assert [(stream["name"], stream["syncMode"]) for stream in streams] == [("refunds", "full_refresh_overwrite")]
    assert len(lake.rows(namespace, "orders")) == 3  # what was delivered stays
    orders.db.execute("DROP TABLE refunds")
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert "has no stream any more" in airbyte.reason(job["jobId"])


def test_selected_columns_only(airbyte: Airbyte, lake: Lake, destination: str, orders: Shop) -> None:
    fields = [{"fieldPath": [name]} for name in ("order_id", "amount")]
    connection, namespace = airbyte.connect(
        orders.source(airbyte), destination, [{"name": "orders", "selectedFields": fields}]
    )
    airbyte.sync(connection)
    airbyte.sync(connection)
    assert set(lake.rows(namespace, "orders")[0]) == {"order_id", "amount"}


def test_a_view_and_two_tables_are_read_in_one_snapshot(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    orders.db.execute("CREATE VIEW paid AS SELECT * FROM orders WHERE status <> 'pending'")
    connection, namespace = airbyte.connect(
        orders.source(airbyte), destination, [incremental("orders"), incremental("paid")]
    )
    airbyte.sync(connection)
    assert (ids(lake, namespace), ids(lake, namespace, "paid")) == ([1, 2, 3], [2, 3])


def test_a_missing_table_fails_at_once_and_is_named(airbyte: Airbyte, destination: str, orders: Shop) -> None:
    connection, _ = airbyte.connect(orders.source(airbyte), destination, [incremental("orders")])
    orders.db.execute("ALTER TABLE orders RENAME TO purchases")
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert "Stream orders" in airbyte.reason(job["jobId"])
    assert "purchases" in airbyte.reason(job["jobId"])
    orders.db.execute("ALTER TABLE purchases RENAME TO orders")
    assert airbyte.sync(connection) == 3


def test_a_cursor_column_that_is_gone_is_named(airbyte: Airbyte, destination: str, orders: Shop) -> None:
    connection, _ = airbyte.connect(orders.source(airbyte), destination, [incremental("orders")])
    orders.db.execute("ALTER TABLE orders DROP COLUMN updated_at")
    job = airbyte.wait(airbyte.start_sync(connection))
    assert "updated_at is gone" in airbyte.reason(job["jobId"])


def test_wrong_credentials_fail_at_once_without_the_password(airbyte: Airbyte, destination: str, orders: Shop) -> None:
    source = orders.source(airbyte)
    connection, _ = airbyte.connect(source, destination, [incremental("orders")])
    wrong = {"configuration": {"password": "not the right one"}}
    airbyte.call("PATCH", f"/sources/{source}", json=wrong)
    job = airbyte.wait(airbyte.start_sync(connection))
    reason = airbyte.reason(job["jobId"])
    assert "user shopkeeper" in reason
    assert "check the source's username and password" in reason
    assert "not the right one" not in str(airbyte.config("/jobs/get", id=job["jobId"]))
    assert len(airbyte.config("/jobs/get", id=job["jobId"])["attempts"]) == 1


def test_an_unreachable_database_is_tried_again_and_then_named(
    airbyte: Airbyte, destination: str, orders: Shop
) -> None:
    source = orders.source(airbyte)
    connection, _ = airbyte.connect(source, destination, [incremental("orders")], lakehouse={"max_retries": 1})
    airbyte.call("PATCH", f"/sources/{source}", json={"configuration": {"port": 1}})
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert "127.0.0.1:1" in airbyte.reason(job["jobId"])
    assert len(airbyte.config("/jobs/get", id=job["jobId"])["attempts"]) == 2


def test_large_tables_come_in_row_groups_of_a_million(
    airbyte: Airbyte, lake: Lake, destination: str, shop: Shop
) -> None:
    shop.db.execute(
        "CREATE TABLE big AS SELECT g::bigint AS id, 'name ' || g AS name FROM generate_series(1, 1200000) g"
    )
    connection, namespace = airbyte.connect(shop.source(airbyte), destination, [{"name": "big"}])
    assert airbyte.sync(connection) == 1_200_000
    (key,) = lake.files(namespace, "big")
    metadata = pq.ParquetFile(io.BytesIO(lake.get(key))).metadata
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert max(sizes) <= 1_000_000
    assert len(sizes) == 2
    chunks = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
    (chunk,) = [chunk for chunk in chunks if chunk.path_in_schema == "id"]
    assert chunk.statistics.has_min_max
    assert "RLE_DICTIONARY" in chunk.encodings
    table = pa.concat_tables(lake.tables(namespace, "big"))
    assert sorted(table["id"].to_pylist()) == list(range(1, 1_200_001))
    assert len(set(table["_airbyte_raw_id"].to_pylist())) == 1_200_000
