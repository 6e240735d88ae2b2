"""Reading MongoDB: values as Airbyte types them, every change once and in order, no gap after a kill."""

from __future__ import annotations

import datetime
import json
import random
import threading
import time
from typing import Any

import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId, Regex, Timestamp

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.mongodb import Shop
from tests.integration.airbyte.servers import Airbyte

STREAM = {"name": "orders", "syncMode": "incremental_deduped_history"}
FULL = {"name": "orders", "syncMode": "full_refresh_overwrite"}
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
CDC_COLUMNS = ("_ab_cdc_updated_at", "_ab_cdc_deleted_at", "_ab_cdc_cursor")


@pytest.fixture
def orders(mongo_shop: Shop) -> Shop:
    mongo_shop.db.orders.insert_many([{"_id": number, "status": status} for number, status in enumerate("abc", 1)])
    return mongo_shop


def changes(lake: Lake, namespace: str, stream: str = "orders") -> list[tuple[Any, ...]]:
    """What was delivered: key, status, and whether it is a delete."""
    return [(row["_id"], row["status"], row["_ab_cdc_deleted_at"] is not None) for row in lake.rows(namespace, stream)]


def newest(rows: list[dict[str, Any]]) -> dict[int, str]:
    """The rows as staging has them: the newest version of each key, without those that were deleted."""
    latest: dict[int, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["_ab_cdc_cursor"]):
        latest[row["_id"]] = row
    return {key: row["status"] for key, row in latest.items() if row["_ab_cdc_deleted_at"] is None}


def documents(shop: Shop, stream: str = "orders") -> dict[int, str]:
    return {document["_id"]: document["status"] for document in shop.db[stream].find()}


def test_a_full_refresh_types_values_and_loses_none(
    airbyte: Airbyte, lake: Lake, destination: str, mongo_shop: Shop
) -> None:
    key = ObjectId()
    document = {
        "_id": key, "note": "straße", "count": 7, "large": Int64(2**60), "price": 1.5, "exact": Decimal128("2.25"),
        "paid": True, "ordered_at": MOMENT, "lines": [{"sku": ObjectId("65a000000000000000000001"), "at": MOMENT}],
        "address": {"city": "Köln", "when": MOMENT}, "raw": b"\x00\xff", "like": Regex("^a", "i"),
        "stamp": Timestamp(1767323045, 1), "nothing": None,
    }  # fmt: skip
    mongo_shop.db.orders.insert_one(document)
    connection, namespace = airbyte.connect(mongo_shop.source(airbyte), destination, [FULL])
    assert airbyte.sync(connection) == 1
    row = lake.rows(namespace, "orders")[0]
    assert row["_ab_cdc_updated_at"] is not None
    assert {name: value for name, value in row.items() if name not in CDC_COLUMNS} == {
        "_id": str(key), "note": "straße", "count": 7, "large": 2**60, "price": 1.5, "exact": 2.25, "paid": True,
        "ordered_at": MOMENT, "lines": '[{"sku":"65a000000000000000000001","at":"2026-01-02T03:04:05.678Z"}]',
        "address": '{"city":"Köln","when":"2026-01-02T03:04:05.678Z"}', "raw": "AP8=", "like": "(i)^a",
        "stamp": "2026-01-02T03:04:05.000Z", "nothing": None,
    }  # fmt: skip
    types = {field.name: str(field.type) for field in lake.tables(namespace, "orders")[0].schema}
    assert (types["count"], types["exact"], types["ordered_at"]) == ("int64", "double", "timestamp[us, tz=UTC]")
    mongo_shop.db.orders.drop()
    mongo_shop.db.orders.insert_many([{"count": 0.5, "lines": 3, "paid": "no"}, {"late": DatetimeMS(10**15)}, {}])
    assert airbyte.sync(connection) == 3
    first, second, third = lake.rows(namespace, "orders")
    assert (first["count"], first["lines"], first["paid"], first["note"]) == (0.5, "3", "no", None)
    assert second["late"] == "1000000000000000 ms"
    assert third["_id"]


def test_every_change_comes_once_in_order_with_airbytes_columns(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop
) -> None:
    connection, namespace = airbyte.connect(orders.source(airbyte), destination, [STREAM])
    assert airbyte.sync(connection) == 3
    assert airbyte.sync(connection) == 0
    orders.db.other.insert_one({"_id": 1, "status": "another collection"})
    orders.db.orders.insert_one({"_id": 4, "status": "d", "far": DatetimeMS(10**15)})
    orders.db.orders.update_one({"_id": 2}, {"$set": {"status": "B", "since": MOMENT}})
    orders.db.orders.replace_one({"_id": 3}, {"status": "C"})
    orders.db.orders.delete_one({"_id": 1})
    orders.db.orders.insert_one({"_id": 5, "status": "e"})
    orders.db.orders.update_one({"_id": 5}, {"$set": {"status": "gone by then"}})
    orders.db.orders.delete_one({"_id": 5})
    assert airbyte.sync(connection) == 6
    assert airbyte.sync(connection) == 0
    later = [(4, "d", False), (2, "B", False), (3, "C", False), (1, None, True), (5, "e", False), (5, None, True)]
    assert changes(lake, namespace)[3:] == later
    rows = lake.rows(namespace, "orders")
    assert newest(rows) == documents(orders)
    cursors = [row["_ab_cdc_cursor"] for row in rows]
    assert cursors == sorted(set(cursors))
    # fields that are new are followed; a year that Python has not is text
    assert (rows[3]["far"], rows[4]["since"]) == ("1000000000000000 ms", MOMENT)
    assert abs(rows[-1]["_ab_cdc_deleted_at"] - datetime.datetime.now(datetime.UTC)).total_seconds() < 60
    both = [STREAM, STREAM | {"name": "other"}]
    airbyte.call("PATCH", f"/connections/{connection}", json={"configurations": {"streams": both}})
    orders.db.orders.insert_one({"_id": 6, "status": "f"})
    assert airbyte.sync(connection) == 2  # a stream that is added later is read in full, the other from its token on
    assert changes(lake, namespace, "other") == [(1, "another collection", False)]


def test_without_a_schema_a_document_is_one_text(airbyte: Airbyte, lake: Lake, destination: str, orders: Shop) -> None:
    source = orders.source(airbyte, schema_enforced=False)
    connection, namespace = airbyte.connect(source, destination, [STREAM])
    assert airbyte.sync(connection) == 3
    orders.db.orders.insert_one({"_id": 4, "status": {"deep": [MOMENT, None]}})
    orders.db.orders.delete_one({"_id": 1})
    assert airbyte.sync(connection) == 2
    rows = lake.rows(namespace, "orders")
    assert set(rows[0]) == {"_id", "data", *CDC_COLUMNS}
    assert [(row["_id"], json.loads(row["data"])) for row in rows[2:]] == [
        (3, {"_id": 3, "status": "c"}),
        (4, {"_id": 4, "status": {"deep": ["2026-01-02T03:04:05.678Z", None]}}),
        (1, {"_id": 1}),
    ]
    configuration = airbyte.call("GET", f"/sources/{source}")["configuration"]
    configuration["database_config"]["schema_enforced"] = True
    airbyte.call("PATCH", f"/sources/{source}", json={"configuration": configuration})
    job = airbyte.wait(airbyte.start_sync(connection))
    assert "schema_enforced was False in the syncs before; clear the connection" in airbyte.reason(job["jobId"])


@pytest.mark.parametrize("behavior", ["Fail sync", "Re-sync data"])
def test_a_token_that_is_not_in_the_oplog_any_more(
    airbyte: Airbyte, lake: Lake, destination: str, orders: Shop, behavior: str
) -> None:
    source = orders.source(airbyte, invalid_cdc_cursor_position_behavior=behavior)
    connection, namespace = airbyte.connect(source, destination, [STREAM])
    airbyte.sync(connection)
    orders.db.orders.insert_one({"_id": 4, "status": "d"})
    orders.db.command("forgetOplog")
    job = airbyte.wait(airbyte.start_sync(connection))
    if behavior == "Fail sync":
        assert job["status"] == "failed"
        assert "is not in the server's oplog any more; clear the connection" in airbyte.reason(job["jobId"])
        assert len(airbyte.config("/jobs/get", id=job["jobId"])["attempts"]) == 1
    else:
        assert job["status"] == "succeeded"
        assert [row[0] for row in changes(lake, namespace)] == [1, 2, 3, 1, 2, 3, 4]


def test_a_post_image_that_is_missing_fails_the_sync(airbyte: Airbyte, destination: str, orders: Shop) -> None:
    source = orders.source(airbyte, update_capture_mode="Post Image")
    connection, _ = airbyte.connect(source, destination, [STREAM])
    airbyte.sync(connection)
    orders.db.orders.update_one({"_id": 1}, {"$set": {"status": "A"}})
    job = airbyte.wait(airbyte.start_sync(connection))
    assert "Post Image needs changeStreamPreAndPostImages to be enabled" in airbyte.reason(job["jobId"])


def test_killed_at_random_instants_while_the_source_goes_on(
    airbyte: Airbyte, lake: Lake, destination: str, mongo_shop: Shop
) -> None:
    db = mongo_shop.db
    db.orders.insert_many([{"_id": number, "status": "old"} for number in range(10, 10_000)])
    db.more.insert_one({"_id": 0, "status": "old"})
    connection, namespace = airbyte.connect(
        mongo_shop.source(airbyte), destination, [STREAM, STREAM | {"name": "more"}], lakehouse={"max_retries": 20}
    )
    done = threading.Event()

    def write() -> None:
        number = 100_000
        while not done.is_set():
            number += 1
            key = random.randrange(10, 10_000)
            db.orders.insert_one({"_id": number, "status": "new"})
            db.more.insert_one({"_id": number, "status": "new"})
            db.orders.update_one({"_id": key}, {"$set": {"status": f"v{number}"}})
            db.orders.delete_one({"_id": key + 1})
            time.sleep(0.02)

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
        assert newest(lake.rows(namespace, name)) == documents(mongo_shop, name)
    assert airbyte.sync(connection) == 0


def test_what_is_wrong_with_the_source_is_said_without_its_password(airbyte: Airbyte, mongo_shop: Shop) -> None:
    def answer(**changes: Any) -> str:
        url = {"connection_string": mongo_shop.server.url, "databases": [mongo_shop.name]}
        source = mongo_shop.source(airbyte, database_config=url | changes)
        return airbyte.request("GET", "/streams", params={"sourceId": source}).text

    nobody = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"
    assert "no connection; check that it runs" in answer(connection_string=nobody)
    said = answer(connection_string="mongodb://reader:hidden@127.0.0.1/")
    assert "put them into username and password" in said
    assert "hidden" not in said
