"""Killed at any instant: each row is there once after deduplication, none is skipped, and the job ends by itself."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import Airbyte, Shop

ROWS = 60_000
STREAM = {
    "name": "orders",
    "syncMode": "incremental_deduped_history",
    "cursorField": ["updated_at"],
    "primaryKey": [["order_id"]],
}


@pytest.fixture
def table(shop: Shop) -> Shop:
    shop.db.execute("CREATE TABLE orders (order_id bigint PRIMARY KEY, version int, updated_at timestamptz)")
    shop.db.execute(f"INSERT INTO orders SELECT g, 0, now() FROM generate_series(1, {ROWS}) g")
    return shop


@pytest.fixture
def mortal(airbyte: Airbyte, postgres: str, folder: Path) -> Iterator[Airbyte]:
    """A server that may be killed."""
    name = f"airbyte_{random.randrange(10**9)}"
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    server = Airbyte(postgres.rsplit("/", 1)[0] + f"/{name}", folder / name)
    server.start()
    yield server
    if server.process.poll() is None:
        server.stop()


def change(table: Shop, version: int) -> None:
    """Change every tenth row, and add some."""
    with table.db.transaction():
        table.db.execute(
            "UPDATE orders SET version = %s, updated_at = clock_timestamp() WHERE order_id %% 10 = %s",
            (version, version % 10),
        )
        table.db.execute(
            "INSERT INTO orders SELECT max(order_id) + g, %s, clock_timestamp() FROM orders, "
            "generate_series(1, 100) g GROUP BY g",
            (version,),
        )


def newest(rows: list[dict[str, Any]]) -> set[tuple[int, int]]:
    """The newest version of each row, as staging takes it."""
    latest: dict[int, dict[str, Any]] = {}
    for row in rows:
        known = latest.get(row["order_id"])
        if known is None or row["updated_at"] >= known["updated_at"]:
            latest[row["order_id"]] = row
    return {(row["order_id"], row["version"]) for row in latest.values()}


def in_source(table: Shop) -> set[tuple[int, int]]:
    return set(table.db.execute("SELECT order_id, version FROM orders").fetchall())


def test_workers_killed_at_random_instants(airbyte: Airbyte, lake: Lake, destination: str, table: Shop) -> None:
    connection, namespace = airbyte.connect(table.source(airbyte), destination, [STREAM], lakehouse={"max_retries": 20})
    killed = 0
    for version in range(1, 7):
        change(table, version)
        job = airbyte.start_sync(connection)
        until = time.monotonic() + 20
        while not airbyte.workers() and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(0 if version == 1 else random.uniform(0, 0.8))  # a sync is short: one instant hits for certain
        for worker in airbyte.workers():
            worker.send_signal(signal.SIGKILL)
            killed += 1
        ended = airbyte.wait(job)
        assert ended["status"] == "succeeded"
        assert newest(lake.rows(namespace, "orders")) == in_source(table)
    assert killed > 0
    assert airbyte.sync(connection) == 0


def test_a_killed_worker_is_told_and_tried_again(airbyte: Airbyte, destination: str, table: Shop) -> None:
    connection, _ = airbyte.connect(table.source(airbyte), destination, [STREAM])
    table.db.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
    job = airbyte.start_sync(connection)
    while not (workers := airbyte.workers()):
        time.sleep(0.01)
    workers[0].send_signal(signal.SIGKILL)
    while (status := airbyte.call("GET", f"/jobs/{job}")["status"]) == "running":
        time.sleep(0.05)
    assert status == "incomplete"
    assert "killed by signal 9" in airbyte.reason(job)
    table.db.execute("ROLLBACK")
    assert airbyte.wait(job)["status"] == "succeeded"
    assert len(airbyte.config("/jobs/get", id=job)["attempts"]) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_the_server_itself_goes_down_in_the_middle(
    mortal: Airbyte, lake: Lake, table: Shop, number: signal.Signals
) -> None:
    connection, namespace = mortal.connect(table.source(mortal), mortal.destination(lake), [STREAM])
    table.db.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
    job = mortal.start_sync(connection)
    while not (workers := mortal.workers()):
        time.sleep(0.01)
    mortal.stop(number)
    deadline = time.monotonic() + 10
    while any(worker.is_running() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(worker.is_running() for worker in workers), "a worker lives on without its server"
    table.db.execute("ROLLBACK")
    mortal.start()
    assert mortal.wait(job)["status"] == "succeeded"
    assert newest(lake.rows(namespace, "orders")) == in_source(table)
    first = mortal.config("/jobs/get", id=job)["attempts"][0]["attempt"]
    assert first["status"] == "failed"
    assert "server stopped" in first["failureSummary"]["failures"][0]["externalMessage"]


def test_a_second_server_does_not_work_on_the_same_database(mortal: Airbyte, folder: Path) -> None:
    second = Airbyte(mortal.database_url, folder / "second")
    second.launch()
    assert second.process.wait(30) == 1
    assert "another embedded Airbyte works on this database" in (folder / "airbyte.log").read_text()


def test_a_full_refresh_that_is_killed_leaves_one_generation(
    airbyte: Airbyte, lake: Lake, destination: str, table: Shop
) -> None:
    connection, namespace = airbyte.connect(table.source(airbyte), destination, [{"name": "orders"}])
    airbyte.sync(connection)
    change(table, 1)
    job = airbyte.start_sync(connection)
    while len(lake.files(namespace, "orders")) < 2 and not airbyte.call("GET", f"/jobs/{job}").get("lastUpdatedAt"):
        time.sleep(0.002)
    for worker in airbyte.workers():
        worker.send_signal(signal.SIGKILL)
    assert airbyte.wait(job)["status"] == "succeeded"
    rows = [(row["order_id"], row["version"]) for row in lake.rows(namespace, "orders")]
    assert len(rows) == len(set(rows))
    assert set(rows) == in_source(table)
    assert {table["_airbyte_generation_id"][0].as_py() for table in lake.tables(namespace, "orders")} == {2}
