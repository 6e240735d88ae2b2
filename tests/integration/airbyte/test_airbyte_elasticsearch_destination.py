"""Elasticsearch as a destination: what its indices hold after each mode of syncing, and after kills."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.airbyte.elasticsearch import Elasticsearch, encrypted
from tests.integration.airbyte.servers import Airbyte, Shop
from tests.integration.airbyte.test_airbyte_cdc import cdc, dedup  # noqa: F401

SETTINGS = {"max_retries": 20, "batch_size": 1000}


def connect(airbyte: Airbyte, shop: Shop, destination: str, *streams: dict[str, Any]) -> tuple[str, str]:
    """A connection, and the beginning of the names of its indices."""
    connection, namespace = airbyte.connect(shop.source(airbyte), destination, list(streams), lakehouse=SETTINGS)
    return connection, f"{namespace}_"


def test_documents_and_their_mapping(airbyte: Airbyte, shop: Shop, elasticsearch: Elasticsearch) -> None:
    shop.db.execute(
        """CREATE TABLE "Kinds" AS SELECT 7::bigint AS id, 12345678901234567.25::numeric(20,2) AS exact,
           0.5::float8 AS real,
           true AS flag, date '2024-02-29' AS day, timestamptz '2024-02-29 12:00:00.000001+02' AS at,
           '2024-02-29'::text AS word, NULL::text AS nothing"""
    )
    destination = elasticsearch.destination(airbyte)
    connection, prefix = connect(airbyte, shop, destination, {"name": "Kinds", "primaryKey": [["id"], ["word"]]})
    assert airbyte.sync(connection) == 1
    assert elasticsearch.documents(f"{prefix}kinds") == {
        '[7,"2024-02-29"]': {
            "id": 7, "exact": 12345678901234567.25, "real": 0.5, "flag": True, "day": "2024-02-29",
            "at": "2024-02-29T10:00:00.000001+00:00", "word": "2024-02-29", "nothing": None,
        }
    }  # fmt: skip
    raw = elasticsearch.http.post(f"/{prefix}kinds/_search").text
    assert '"exact":12345678901234567.25' in raw
    (index,) = elasticsearch.call("GET", f"/{prefix}kinds").values()
    types = {name: field["type"] for name, field in index["mappings"]["properties"].items()}
    assert types == {
        "id": "long", "exact": "double", "real": "double", "flag": "boolean", "day": "date", "at": "date",
        "word": "text", "nothing": "text",
    }  # fmt: skip


def test_overwrite_shows_readers_the_old_documents_or_the_new_ones(
    airbyte: Airbyte, shop: Shop, elasticsearch: Elasticsearch
) -> None:
    shop.db.execute("CREATE TABLE orders AS SELECT g AS order_id, 0 AS version FROM generate_series(1, 4000) g")
    connection, prefix = connect(airbyte, shop, elasticsearch.destination(airbyte), {"name": "orders"})
    airbyte.sync(connection)
    seen: set[tuple[int, int]] = set()
    over = threading.Event()

    def look() -> None:
        body = {"size": 0, "track_total_hits": True, "aggs": {"sum": {"sum": {"field": "version"}}}}
        while not over.is_set():
            found = elasticsearch.call("POST", f"/{prefix}orders/_search", json=body)
            seen.add((found["hits"]["total"]["value"], int(found["aggregations"]["sum"]["value"])))

    reading = ThreadPoolExecutor(1).submit(look)
    shop.db.execute("UPDATE orders SET version = 1; DELETE FROM orders WHERE order_id > 3000")
    airbyte.kill_in_syncs(connection, 1, at_once=False)
    over.set()
    reading.result()  # no read has failed
    assert seen <= {(4000, 0), (3000, 3000)}, seen
    assert len(elasticsearch.documents(f"{prefix}orders")) == 3000
    assert len(elasticsearch.call("GET", f"/{prefix}orders*")) == 1


@pytest.mark.parametrize("upsert", [True, False], ids=["by primary key", "appended"])
def test_killed_at_any_instant_each_row_is_there_once(
    airbyte: Airbyte, shop: Shop, elasticsearch: Elasticsearch, upsert: bool
) -> None:
    shop.db.execute("CREATE TABLE orders (order_id bigint PRIMARY KEY, version int, updated_at timestamptz)")
    shop.db.execute("INSERT INTO orders SELECT g, 0, clock_timestamp() FROM generate_series(1, 4000) g")
    stream = {"name": "orders", "syncMode": "incremental_append", "cursorField": ["updated_at"]}
    connection, prefix = connect(airbyte, shop, elasticsearch.destination(airbyte, upsert=upsert), stream)
    versions: set[tuple[int, int]] = set()
    for version in range(1, 3):
        if version > 1:
            shop.db.execute(
                "UPDATE orders SET version = %s, updated_at = clock_timestamp() WHERE order_id %% 10 = %s",
                (version, version),
            )
        versions |= set(shop.db.execute("SELECT order_id, version FROM orders").fetchall())
        airbyte.kill_in_syncs(connection, 1, at_once=False)
    found = [(row["order_id"], row["version"]) for row in elasticsearch.documents(f"{prefix}orders").values()]
    now = set(shop.db.execute("SELECT order_id, version FROM orders").fetchall())
    assert len(found) == len(set(found))
    assert set(found) == (now if upsert else versions)

    airbyte.wait(airbyte.start_sync(connection, "clear"))
    assert airbyte.sync(connection) == 4000
    assert len(elasticsearch.documents(f"{prefix}orders")) == 4000


def test_changes_of_a_cdc_source(airbyte: Airbyte, cdc: Shop, elasticsearch: Elasticsearch) -> None:  # noqa: F811
    connection, prefix = connect(airbyte, cdc, elasticsearch.destination(airbyte), dedup("orders", "order_id"))
    assert airbyte.sync(connection) == 3
    cdc.db.execute("UPDATE orders SET status = 'paid' WHERE order_id = 1; DELETE FROM orders WHERE order_id = 2")
    cdc.db.execute("ALTER TABLE orders ADD COLUMN note text; INSERT INTO orders VALUES (4, 'new', 0.5, 'first')")
    airbyte.sync(connection)
    found = {id_: (row["status"], row.get("note")) for id_, row in elasticsearch.documents(f"{prefix}orders").items()}
    assert found == {"1": ("paid", None), "3": ("new", None), "4": ("new", "first")}
    cdc.db.execute("TRUNCATE orders; INSERT INTO orders VALUES (5, 'after', 1, NULL)")
    airbyte.sync(connection)
    assert set(elasticsearch.documents(f"{prefix}orders")) == {"5"}


def test_what_cannot_be_written_is_told(airbyte: Airbyte, shop: Shop, elasticsearch: Elasticsearch) -> None:
    shop.db.execute("CREATE TABLE orders AS SELECT 1 AS order_id, 'x'::text AS status")
    stream = {"name": "orders", "syncMode": "full_refresh_append"}
    connection, prefix = connect(airbyte, shop, elasticsearch.destination(airbyte), stream)
    elasticsearch.call("PUT", f"/{prefix}orders", json={"mappings": {"properties": {"status": {"type": "date"}}}})
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    assert "mapper [status] cannot be changed from type [date] to [text]" in airbyte.reason(job["jobId"])
    wrong = {"method": "basic", "username": "tester", "password": "secret-and-wrong"}
    connection, _ = connect(airbyte, shop, elasticsearch.destination(airbyte, authenticationMethod=wrong), stream)
    job = airbyte.wait(airbyte.start_sync(connection))
    assert "check user and password" in airbyte.reason(job["jobId"])
    assert "secret-and-wrong" not in airbyte.reason(job["jobId"]) + airbyte.log(job["jobId"])
    listed = airbyte.call("GET", "/destinations", params={"limit": 100})["data"]
    assert "secret-and-wrong" not in str(listed)


def test_tls_and_an_api_key(airbyte: Airbyte, shop: Shop, elasticsearch: Elasticsearch, tmp_path: Path) -> None:
    """The tests' build of Elasticsearch cannot make API keys: it refuses the one that it is sent."""
    shop.db.execute("CREATE TABLE orders AS SELECT 1 AS order_id")
    key = {"method": "secret", "apiKeyId": "one", "apiKeySecret": "very-secret"}
    with encrypted(elasticsearch, tmp_path) as (endpoint, certificate, came):
        trusting = {"endpoint": endpoint, "ca_certificate": certificate}
        connection, prefix = connect(airbyte, shop, elasticsearch.destination(airbyte, **trusting), {"name": "orders"})
        airbyte.sync(connection)
        assert [row["order_id"] for row in elasticsearch.documents(f"{prefix}orders").values()] == [1]
        wrong = {
            "is not trusted; set ca_certificate": {"ca_certificate": None},
            "ca_certificate is no certificate in PEM": {"ca_certificate": "nonsense"},
            "check user and password or API key": {"authenticationMethod": key},
        }
        for reason, change in wrong.items():
            destination = elasticsearch.destination(airbyte, **trusting | change)
            connection, _ = connect(airbyte, shop, destination, {"name": "orders"})
            job = airbyte.wait(airbyte.start_sync(connection))
            assert job["status"] == "failed"
            assert reason in airbyte.reason(job["jobId"])
            assert "very-secret" not in airbyte.log(job["jobId"])
    assert b"ApiKey " + base64.b64encode(b"one:very-secret") in bytes(came)
