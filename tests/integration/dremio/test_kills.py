"""kill -9 of the server and of its PostgreSQL while statements are sent: no row is lost, no statement is half done."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.dremio.conftest import Rest
from tests.integration.dremio.own_server import LAKE, OwnServer, own_server

ROWS = 10  # of each INSERT
LOG = f"{LAKE}.kills.log"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_server(tmp_path_factory.mktemp("kills")) as made:
        numbers = ", ".join(f"({n})" for n in range(ROWS))
        rest = made.client()
        rest.run(f"CREATE TABLE {LAKE}.kills.numbers AS SELECT n FROM (VALUES {numbers}) AS v(n)")
        rest.run(f"CREATE TABLE {LOG} AS SELECT 0 AS batch, n FROM {LAKE}.kills.numbers")
        yield made


class Writer(threading.Thread):
    """Sends statements until the server is gone: batches into the log, and a table that is dropped for the next."""

    def __init__(self, rest: Rest, first: int) -> None:
        super().__init__()
        self.rest = rest
        self.batch = first  # the one that may be half done
        self.acknowledged: list[int] = []

    def run(self) -> None:
        try:
            while True:
                self.rest.run(f"INSERT INTO {LOG} SELECT {self.batch} AS batch, n FROM {LAKE}.kills.numbers")
                self.acknowledged.append(self.batch)
                self.batch += 1
                self.rest.run(f"CREATE TABLE {LAKE}.kills.t{self.batch} AS SELECT * FROM {LOG}")
                self.rest.run(f"DROP TABLE {LAKE}.kills.t{self.batch}")
        except (
            httpx.HTTPError,
            AssertionError,
        ):  # the connection broke, or the statement failed for want of PostgreSQL
            return


@pytest.mark.parametrize("victim", ["dremio", "dremio", "postgres"])
def test_a_kill_loses_and_halves_nothing(server: OwnServer, victim: str) -> None:
    rest = server.client()
    before = {row["batch"] for row in rest.rows(f"SELECT DISTINCT batch FROM {LOG}")}
    writer = Writer(rest, max(before) + 1)
    writer.start()
    writer.join(timeout=random.uniform(0.5, 1.5))
    server.kill(victim)
    writer.join(timeout=70)
    assert not writer.is_alive(), "a statement hangs though its server is gone"
    server.start()

    rest = server.client()
    counts = {row["batch"]: row["n"] for row in rest.rows(f"SELECT batch, COUNT(*) AS n FROM {LOG} GROUP BY batch")}
    assert set(counts.values()) == {ROWS}
    kept = before | set(writer.acknowledged)
    assert set(counts) - {writer.batch} == kept - {writer.batch}, "what was acknowledged is there, and nothing else"
    tables = rest.rows("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = 'lake.kills'")
    for name in sorted(row["TABLE_NAME"] for row in tables):
        assert rest.rows(f"SELECT COUNT(*) AS n FROM {LAKE}.kills.{name}")[0]["n"] >= ROWS
        if name.startswith("t"):
            rest.run(f"DROP TABLE {LAKE}.kills.{name}")
    rest.run(f"INSERT INTO {LOG} SELECT {writer.batch + 1} AS batch, n FROM {LAKE}.kills.numbers")
