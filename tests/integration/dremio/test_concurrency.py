"""Writers and readers at once: nothing fails, and nothing is lost."""

import random
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from embedded.dremio.engine.duck import Duck
from tests.integration.dremio.conftest import Rest

SECONDS = 6


def test_tables_are_made_and_dropped_while_others_read(rest, source):
    """Through REST: two writers take turns at the writer lock, four readers see whole tables only."""
    folder = f"{source}.busy_{uuid.uuid4().hex[:8]}"
    digits = ", ".join(f"({digit})" for digit in range(10))
    numbers = f"SELECT a.n + 10 * b.n AS id, a.n AS part FROM (VALUES {digits}) AS a(n), (VALUES {digits}) AS b(n)"
    many = f"SELECT s.id, s.part FROM ({numbers}) AS s, ({numbers}) AS t, (VALUES {digits}) AS c(n)"
    for n in range(12):
        rest.run(f"CREATE TABLE {folder}.steady_{n} AS {numbers}")
    until = time.monotonic() + SECONDS

    def write(worker):
        made = 0
        while time.monotonic() < until:
            rest.run(f"CREATE TABLE {folder}.made_{worker} PARTITION BY (part) AS {many}")
            rest.run(f"INSERT INTO {folder}.made_{worker} {many}")
            assert rest.rows(f"SELECT COUNT(*) AS n FROM {folder}.made_{worker}") == [{"n": 200_000}]
            rest.run(f"DROP TABLE {folder}.made_{worker}")
            made += 1
        return made

    def read(worker):
        read = 0
        while time.monotonic() < until:
            table = f"{folder}.steady_{(read + worker) % 12}"
            assert rest.rows(f"SELECT SUM(id) AS total, {read} AS turn FROM {table}")[0]["total"] == 4950
            read += 1
        return read

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, n) for n in range(2)]
        readers = [pool.submit(read, n) for n in range(4)]
        assert min(each.result() for each in (*writers, *readers)) > 2


def test_sixteen_writers_lose_no_update(rest, reach, source):
    """Each adds to one counter and appends its own rows; what Dremio refuses as a conflict is sent again."""
    table, clients, turns = f"{source}.counter_{uuid.uuid4().hex[:8]}", 16, 4
    rest.run(f"CREATE TABLE {table} AS SELECT -1 AS client, 0 AS turn, 0 AS total")

    def write(client):
        own = Rest(reach["DREMIO_URL"], reach["DREMIO_USERNAME"], reach["DREMIO_PASSWORD"])
        for turn in range(turns):
            for sql in (
                f"UPDATE {table} SET total = total + 1 WHERE client = -1",
                f"INSERT INTO {table} VALUES ({client}, {turn}, 0)",
            ):
                while (job := own.finished(own.submit(sql)))["jobState"] != "COMPLETED":
                    assert "Concurrent operation" in job["errorMessage"], job["errorMessage"]

    with ThreadPoolExecutor(clients) as pool:
        for each in [pool.submit(write, client) for client in range(clients)]:
            each.result()
    assert rest.rows(f"SELECT total FROM {table} WHERE client = -1") == [{"total": clients * turns}]
    distinct = f"SELECT COUNT(*) AS n, COUNT(DISTINCT client * 100 + turn) AS d FROM {table} WHERE client >= 0"
    assert rest.rows(distinct) == [{"n": clients * turns, "d": clients * turns}]


def test_a_new_folder_is_written_to_where_it_is_read_from(rest, source, store):
    """While others read: DuckLake's CREATE SCHEMA gives a folder with dots in its name a random place at first."""
    parent = f"new_{uuid.uuid4().hex[:8]}"
    rest.run(f"CREATE TABLE {source}.{parent}.steady AS SELECT 1 AS n")
    stop = threading.Event()

    def read():
        while not stop.is_set():
            rest.rows(f"SELECT n FROM {source}.{parent}.steady")

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for n in range(20):
                rest.run(f"CREATE TABLE {source}.{parent}.f{n}.made AS SELECT {n} AS n")
                assert rest.rows(f"SELECT n FROM {source}.{parent}.f{n}.made") == [{"n": n}]
        finally:
            stop.set()
        for each in readers:
            each.result()
    listed = store.list_objects_v2(Bucket="datalake", Prefix=f"{source}/{parent}/")["Contents"]
    written = {item["Key"].split("/")[2] for item in listed if item["Key"].endswith(".parquet")}
    assert written == {"steady"} | {f"f{n}" for n in range(20)}


def test_tables_are_made_while_other_sources_come_and_go(rest, tmp_path):
    """What is attached to DuckDB as a whole is not asked for: a source that just goes has no metadata any more."""

    def add_source(name):
        body = {"entityType": "source", "type": "NAS", "name": name, "config": {"path": str(tmp_path)}}
        return rest.http.post("/catalog", json=body).raise_for_status().json()["id"]

    def churn(worker):
        turns = 0
        while not stop.is_set():
            gone = add_source(f"{steady}_{worker}")
            rest.http.delete(f"/catalog/{gone}").raise_for_status()
            turns += 1
        return turns

    steady, stop = f"it_{uuid.uuid4().hex[:10]}", threading.Event()
    made = add_source(steady)
    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(churn, worker) for worker in range(2)]
        try:
            for n in range(15):
                rest.run(f"CREATE TABLE {steady}.f{n}.t AS SELECT {n} AS n")
        finally:
            stop.set()
        assert min(each.result() for each in others) > 0
    assert rest.rows(f"SELECT n FROM {steady}.f14.t") == [{"n": 14}]
    rest.http.delete(f"/catalog/{made}").raise_for_status()


def test_a_transaction_keeps_the_schemas_that_it_refers_to(tmp_path):
    """DuckLake from DuckDB 1.5.3 to 1.5.5 frees them when another thread loads newer ones: the commit fails with
    "Failed to get path for schema with id <garbage>", or the process dies (duckdb/ducklake#1248)."""
    duck = Duck("", tmp_path / "duck", "300MB")
    lake = 'lake."gold.slot_a"'
    duck.root.execute(f"ATTACH 'ducklake:{tmp_path}/lake.duckdb' AS lake (DATA_PATH '{tmp_path}/files/')")
    duck.root.execute('CREATE SCHEMA lake."gold.slot_a"')
    for n in range(40):
        duck.root.execute(f"CREATE TABLE {lake}.t{n} AS SELECT range AS a, range % 7 AS b FROM range(1000)")
    until, writer = time.monotonic() + 2 * SECONDS, threading.Lock()

    def write():
        while time.monotonic() < until:
            table = f"{lake}.w{random.randrange(20)}"
            with writer, duck.cursor() as cursor:
                cursor.execute(f"BEGIN; DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (a BIGINT, b BIGINT)")
                cursor.execute(f"ALTER TABLE {table} SET PARTITIONED BY (b)")
                cursor.execute(f"INSERT INTO {table} SELECT range, range % 3 FROM range(20000) ORDER BY hash(range)")
                cursor.execute("COMMIT")

    def read():
        while time.monotonic() < until:
            with duck.cursor() as cursor:
                assert cursor.execute("SELECT count(*) FROM duckdb_tables()").fetchall()[0][0] >= 40

    try:
        with ThreadPoolExecutor(6) as pool:
            for each in [pool.submit(write) for _ in range(2)] + [pool.submit(read) for _ in range(4)]:
                each.result()
    finally:
        duck.close()
