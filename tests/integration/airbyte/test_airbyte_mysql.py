"""Reading MySQL by cursor: types, one snapshot, cursors, and failures that say what to do."""

from __future__ import annotations

import datetime
import threading
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.mariadb import PASSWORD, Shop
from tests.integration.airbyte.servers import Airbyte

UTC = datetime.UTC
KINDS = """
CREATE TABLE kinds (id int PRIMARY KEY, tiny tinyint, yes tinyint(1), medium mediumint unsigned,
    wide bigint unsigned, exact decimal(30,10), long_ decimal(50,2), single_ float, double_ double, bit_ bit(1),
    bits bit(12), year_ year, day date, local datetime(6), instant timestamp(6) NULL, clock time(6),
    zero_day date, zero_day_required date NOT NULL, zero_local datetime, zero_instant timestamp NULL,
    padded char(6), western varchar(20) CHARACTER SET latin1, text_ mediumtext CHARACTER SET utf8mb4, doc json,
    mood enum('sad', 'it''s ok'), colours set('red', 'green', 'blue'), no_colours set('red'), bytes varbinary(10),
    fixed binary(4), large mediumblob, `Odd name!` text) CHARACTER SET utf8mb4
"""
ROW = """
INSERT INTO kinds VALUES (%s, -2, 1, 16777215, 18446744073709551615, -12345678901234567890.0123456789, 1.25, 1.1, 1e300,
    1, b'100000000011', 2026, '0044-03-15', '2026-03-01 12:00:00.123456', '2026-03-01 12:00:00.123456',
    '23:59:59.999999', '0000-00-00', '0000-00-00', '2026-00-00 00:00:00', 0, 'ab', 'é€', 'ü😀', '{"a": [1, null]}',
    'it''s ok', 'blue,red', '', x'00ff', x'ab00', x'deadbeef', 'x')
"""
# The timestamp was written at +02:00, the server's zone. A float is the double that it is exactly.
EXPECTED = {
    "tiny": -2,
    "yes": True,
    "medium": 16777215,
    "wide": Decimal(18446744073709551615),
    "exact": Decimal("-12345678901234567890.0123456789"),
    "long_": 1.25,
    "single_": 1.10000002384185791015625,
    "double_": 1e300,
    "bit_": True,
    "bits": "CAM=",
    "year_": 2026,
    "day": datetime.date(44, 3, 15),
    "local": datetime.datetime(2026, 3, 1, 12, 0, 0, 123456),
    "instant": datetime.datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC),
    "clock": datetime.time(23, 59, 59, 999999),
    "zero_day": None,
    "zero_day_required": datetime.date(1970, 1, 1),
    "zero_local": None,
    "zero_instant": None,
    "padded": "ab",
    "western": "é€",
    "text_": "ü😀",
    "doc": '{"a": [1, null]}',
    "mood": "it's ok",
    "colours": "red,blue",
    "no_colours": "",
    "bytes": "AP8=",
    "fixed": "qwAAAA==",
    "large": "3q2+7w==",
    "Odd_name_": "x",
}
EMPTY = dict.fromkeys(EXPECTED) | {"zero_day_required": datetime.date(1970, 1, 1)}
CURSORS = {
    "bigint": ("9007199254740992", "9007199254740993"),
    "bigint unsigned": ("18446744073709551614", "18446744073709551615"),
    "decimal(30,10)": ("1.0000000001", "1.0000000002"),
    "float": ("1.1", "1.2"),
    "double": ("0.1", "1e300"),
    "varchar(20)": ("'A''b%'", "'a''c%'"),
    "date": ("'2026-01-01'", "'2026-01-02'"),
    "datetime(6)": ("'2026-01-01 00:00:00.000001'", "'2026-01-01 00:00:00.000002'"),
}
ORDERS = """
CREATE TABLE orders (order_id bigint PRIMARY KEY, amount decimal(12,2), updated_at timestamp(6) NULL);
INSERT INTO orders VALUES (1, 10.10, '2026-01-01 10:00'), (2, 20.20, '2026-01-02 10:00'), (3, 30.30, '2026-01-02 10:00')
"""
STREAM = {
    "name": "orders",
    "syncMode": "incremental_deduped_history",
    "cursorField": ["updated_at"],
    "primaryKey": [["order_id"]],
}


def ids(lake: Lake, namespace: str) -> list[int]:
    return [row["order_id"] for row in lake.rows(namespace, "orders")]


def test_every_type_arrives_exactly_by_select_and_by_binlog(
    airbyte: Airbyte, lake: Lake, destination: str, mysql_shop: Shop
) -> None:
    mysql_shop.execute("SET sql_mode = ''", KINDS, ROW % 1, "INSERT INTO kinds (id) VALUES (2)")
    connection, namespace = airbyte.connect(
        mysql_shop.source(airbyte, "CDC"), destination, [{"name": "kinds", "syncMode": "incremental_append"}]
    )
    assert airbyte.sync(connection) == 2
    for number, metadata in enumerate(("NO_LOG", "FULL", "MINIMAL")):
        mysql_shop.execute(f"SET GLOBAL binlog_row_metadata = {metadata}")
        mysql_shop.execute("SET sql_mode = ''", ROW % (3 + 2 * number))
        mysql_shop.execute("SET sql_mode = ''", f"INSERT INTO kinds (id) VALUES ({4 + 2 * number})")
    mysql_shop.execute("SET GLOBAL binlog_row_metadata = NO_LOG")
    assert airbyte.sync(connection) == 6
    for row in lake.rows(namespace, "kinds"):
        id_, data = row["id"], {name: value for name, value in row.items() if name in EXPECTED}
        assert (id_, data) == (id_, EXPECTED if id_ % 2 else EMPTY)
    first, second = (table.schema for table in lake.tables(namespace, "kinds"))
    assert first.equals(second)


def test_a_time_that_is_no_time_of_day_fails_the_sync_and_names_the_column(
    airbyte: Airbyte, destination: str, mysql_shop: Shop
) -> None:
    mysql_shop.execute("CREATE TABLE odd (id int, span time)", "INSERT INTO odd VALUES (1, '-01:00:00')")
    connection, _ = airbyte.connect(mysql_shop.source(airbyte), destination, [{"name": "odd"}])
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert "Column span (time) of table" in airbyte.reason(job["jobId"])
    assert len(airbyte.config("/jobs/get", id=job["jobId"])["attempts"]) == 1


def test_all_streams_of_a_sync_are_of_one_snapshot(
    airbyte: Airbyte, lake: Lake, destination: str, mysql_shop: Shop
) -> None:
    mysql_shop.execute("CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY)")
    mysql_shop.execute("INSERT INTO a SELECT seq FROM seq_1_to_20000", "INSERT INTO b SELECT id FROM a")
    done = threading.Event()

    def write() -> None:
        with mysql_shop.server.connect(mysql_shop.name) as db, db.cursor() as cursor:
            number = 20_000
            while not done.is_set():
                number += 1
                db.begin()
                cursor.execute(f"INSERT INTO a VALUES ({number})")
                cursor.execute(f"INSERT INTO b VALUES ({number})")
                db.commit()
                time.sleep(0.001)

    connection, namespace = airbyte.connect(mysql_shop.source(airbyte), destination, [{"name": "a"}, {"name": "b"}])
    writer = threading.Thread(target=write)
    writer.start()
    airbyte.sync(connection)
    done.set()
    writer.join()
    a, b = ({row["id"] for row in lake.rows(namespace, name)} for name in "ab")
    assert len(a) >= 20_000
    assert a == b


def test_an_incremental_sync_reads_what_is_new_and_what_changed_at_the_last_cursor_value(
    airbyte: Airbyte, lake: Lake, destination: str, mysql_shop: Shop
) -> None:
    mysql_shop.execute(*ORDERS.split(";"), "INSERT INTO orders VALUES (9, 1, NULL)")
    connection, namespace = airbyte.connect(mysql_shop.source(airbyte), destination, [STREAM])
    assert airbyte.sync(connection) == 4
    assert airbyte.sync(connection) == 1  # the row without a cursor value comes every time
    mysql_shop.execute("DELETE FROM orders WHERE order_id = 9")
    assert airbyte.sync(connection) == 0
    mysql_shop.execute("INSERT INTO orders VALUES (4, 40.40, '2026-01-03 10:00'), (5, 50.50, '2025-01-01 10:00')")
    assert airbyte.sync(connection) == 1  # 5 is below the cursor
    mysql_shop.execute("INSERT INTO orders VALUES (6, 60.60, '2026-01-03 10:00')")
    assert airbyte.sync(connection) == 2  # 4 and 6 share the last value
    assert airbyte.sync(connection) == 0
    mysql_shop.execute("UPDATE orders SET amount = 0, updated_at = '2026-01-03 10:00' WHERE order_id = 6")
    assert airbyte.sync(connection) == 2
    assert sorted(ids(lake, namespace)) == [1, 2, 3, 4, 4, 4, 6, 6, 9, 9]


def test_cursors_of_all_types_are_compared_exactly(
    airbyte: Airbyte, lake: Lake, destination: str, mysql_shop: Shop
) -> None:
    for number, (type_, (before, _)) in enumerate(CURSORS.items()):
        mysql_shop.execute(
            f"CREATE TABLE t{number} (order_id int PRIMARY KEY, updated_at {type_} NOT NULL)",
            f"INSERT INTO t{number} VALUES (1, {before})",
        )
    streams = [STREAM | {"name": f"t{number}"} for number in range(len(CURSORS))]
    connection, namespace = airbyte.connect(mysql_shop.source(airbyte), destination, streams)
    airbyte.sync(connection)
    for number, (_, after) in enumerate(CURSORS.values()):
        mysql_shop.execute(f"INSERT INTO t{number} VALUES (2, {after})")
    airbyte.sync(connection)
    assert airbyte.sync(connection) == 0
    for number, type_ in enumerate(CURSORS):
        assert (type_, [row["order_id"] for row in lake.rows(namespace, f"t{number}")]) == (type_, [1, 2])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "wrong-password"}, "the password or user is wrong"),
        ({"port": 1}, "no connection; check that it runs"),
        ({"database": "nothing"}, "Unknown database"),
        ({"host": "localhost"}, "ssl_mode and its certificates"),  # the certificate is of 127.0.0.1
    ],
)
def test_failures_say_what_to_do(airbyte: Airbyte, mysql_shop: Shop, changes: dict[str, Any], said: str) -> None:
    answer = airbyte.request("GET", "/streams", params={"sourceId": mysql_shop.source(airbyte, **changes)})
    assert answer.status_code >= 400
    assert said in answer.text
    assert "user reader" in answer.text
    assert "wrong-password" not in answer.text
    assert PASSWORD not in answer.text


def test_a_server_that_has_no_binlog_by_row_is_refused(airbyte: Airbyte, mysql_shop: Shop) -> None:
    source = mysql_shop.source(airbyte, "CDC")
    mysql_shop.execute("SET GLOBAL binlog_format = MIXED")
    try:
        answer = airbyte.request("GET", "/streams", params={"sourceId": source})
    finally:
        mysql_shop.execute("SET GLOBAL binlog_format = ROW")
    assert "method CDC needs binlog_format=ROW, and the server has MIXED" in answer.text
