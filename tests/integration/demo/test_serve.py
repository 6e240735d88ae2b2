"""The REST service as a process: patient readers get every row, and new days appear without a restart."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.demo.conftest import Demo, free_port


@pytest.fixture
def service(demo: Demo) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    status, said = demo.run("load")
    assert status == 0, said
    port = free_port()
    process = demo.start("serve", "--port", str(port))
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-Api-Key": "store-key"})
    deadline = time.monotonic() + 30
    while True:
        try:
            if client.get("/health").status_code == 200:
                break
        except httpx.TransportError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
    yield client, process
    client.close()
    if process.poll() is None:
        process.kill()
    process.communicate()


def read_all(client: httpx.Client, path: str, seen: list[int]) -> list[dict[str, Any]]:
    """All rows of a stream in pages of 3, as a client reads that obeys Retry-After and repeats failures."""
    rows: list[dict[str, Any]] = []
    page = 1
    while True:
        response = client.get(path, params={"page": page, "page_size": 3})
        seen.append(response.status_code)
        if response.status_code == 429:
            time.sleep(float(response.headers["Retry-After"]))
        elif response.status_code == 200:
            answer = response.json()
            rows += answer["data"]
            page += 1
            if not answer["has_more"]:
                return rows
        else:
            assert response.status_code == 500


def test_every_review_once_in_spite_of_limits_and_failures_and_then_the_next_day(
    service: tuple[httpx.Client, subprocess.Popen[str]], demo: Demo
) -> None:
    client, _ = service
    seen: list[int] = []
    rows = read_all(client, "/v1/product-reviews", seen)
    assert [row["review_id"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 90
    read_all(client, "/v1/product-reviews", seen)
    assert {200, 429, 500} == set(seen)
    demo.run("advance")
    assert len(read_all(client, "/v1/product-reviews", seen)) > len(rows)


def test_days_that_have_passed_since_the_load_are_added_at_the_start(demo: Demo) -> None:
    demo.run("load")
    with psycopg.connect(demo.database_url) as connection:
        connection.execute("UPDATE demo.journal SET done_at = done_at - interval '2 days' WHERE action = 'load'")
    process = demo.start("serve", "--port", str(free_port()))
    try:
        deadline = time.monotonic() + 30
        days: list[str] = []
        while not days and time.monotonic() < deadline:
            time.sleep(0.5)
            with psycopg.connect(demo.database_url) as connection:
                found = connection.execute("SELECT day::text FROM demo.journal WHERE action = 'advance'")
                days = [row[0] for row in found]
        assert days[0] == "2026-04-01"
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_sigterm_stops_it_cleanly(service: tuple[httpx.Client, subprocess.Popen[str]]) -> None:
    _, process = service
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=15)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in errors
