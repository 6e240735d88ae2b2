"""Ingestion: the embedded Airbyte beside the tools that people would pick, on the same machine, source and bucket.

    .venv/bin/python benchmarks/ingestion.py [--rows 1M] [--columns 10 --columns 50] [--repeat 3] [--only csv]
    .venv/bin/python benchmarks/ingestion.py --growth 1M,10M,100M [--columns 10] [--repeat 3]

An instance of its own is made, and an environment for the peers, both deleted at the end. Each tool reads the source
whole and leaves snappy Parquet in the bucket; the embedded Airbyte does so by a job of its API, full_refresh_overwrite.

1. PostgreSQL: DuckDB alone (with Airbyte's four columns, so that both write the same), connectorx alone, ADBC alone,
   dlt with its two fast backends.
2. CSV in the bucket: bare DuckDB, all columns as text, as our source reads them, Airbyte's columns included.
3. REST, pages of 1000 records: Airbyte's bare CDK, which reads and writes nothing.
4. One connection of 1, 100 and 1,000 PostgreSQL tables of ten rows: what a stream costs, and the start: from the
   request until Airbyte's API counts the first rows as committed; dlt's, until its process has read the first rows.

With --growth instead: PostgreSQL by ours alone at each of these sizes, time per row and peak memory. 100M rows of 10
columns take 13 GB in PostgreSQL, 9 in the bucket, and twice these 9 while a run replaces the one before it.

MB are the table's pages in PostgreSQL, the file, and the bodies of the pages. Seconds are those of the best run, from
the request to the end that is seen, start of the process included. CPU seconds, which tell more than the clock where
the machine has other work, and peak memory (proportional sets) are those of the tool's own processes (ours: the sync's
worker), looked at every 100 ms, without PostgreSQL and the store.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import psycopg
from _instance import EMBEDDED, REPOSITORY, instance, row_count
from _peers import FIRST
from botocore.config import Config

THREADS = 2
BUCKET = "bench"
PAGE = 1000
PACKAGES = [
    "dlt[parquet,s3,sql-database]==1.31.0", "connectorx==0.4.6", "adbc-driver-postgresql==1.13.0", "duckdb==1.5.2",
    "duckdb-extensions==1.5.2", "duckdb-extension-postgres-scanner==1.5.2", "pyarrow", "boto3", "psycopg2-binary",
]  # fmt: skip
# Ten columns of a shop's table, repeated for more: keys, money, times, short and long text, nulls.
COLUMNS = [
    ("bigint", "i"),
    ("integer", "(i * 7919) % 1000003"),
    ("numeric(12,2)", "((i * 31) % 10000000) / 100.0"),
    ("double precision", "sqrt(i)"),
    ("timestamptz", "timestamptz '2024-01-01' + i * interval '17 seconds'"),
    ("date", "date '2024-01-01' + (i % 900)::int"),
    ("text", "'status ' || (i % 7)"),
    ("text", "md5(i::text)"),
    ("boolean", "i % 3 = 0"),
    ("integer", "CASE WHEN i % 5 = 0 THEN NULL ELSE (i % 1000)::int END"),
]


@dataclass
class Figure:
    """What one tool came to: seconds and CPU seconds of its best run, and the peak of its memory in any."""

    rows: int
    seconds: float
    cpu: float
    memory: int
    first: float = 0.0  # seconds until the first rows, where that is asked for


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=row_count, default=1_000_000, help="rows of each source (default 1M)")
    parser.add_argument("--columns", type=int, action="append", help="columns of the tables (default 10 and 50)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, the best counts (default 3)")
    parser.add_argument("--only", choices=["postgres", "csv", "rest", "streams"], help="one of the tables")
    parser.add_argument("--growth", type=sizes, help="sizes of one table, by ours alone, e.g. 1M,10M,100M")
    arguments = parser.parse_args()
    if arguments.rows % PAGE:
        parser.error(f"--rows is a multiple of {PAGE}, the records of a page")
    with (
        tempfile.TemporaryDirectory(prefix="lakehouse-bench-peers.") as folder,
        instance("20k", "--no-run", airflow=False),
    ):
        bench = Bench(arguments.rows, arguments.repeat, peers(Path(folder), PACKAGES))
        if arguments.growth:
            for columns in arguments.columns or [10]:
                bench.growth(arguments.growth, columns)
            return 0
        if arguments.only in (None, "postgres"):
            for columns in arguments.columns or [10, 50]:
                bench.postgres(columns)
        if arguments.only in (None, "csv"):
            bench.csv()
        if arguments.only in (None, "rest"):
            bench.rest()
        if arguments.only in (None, "streams"):
            bench.streams()
    return 0


def sizes(text: str) -> list[int]:
    """Numbers of rows, the smallest first; for argparse."""
    return sorted(row_count(each) for each in text.split(","))


def peers(folder: Path, packages: list[str]) -> Path:
    """An environment with the peers' packages; its Python."""
    uv = REPOSITORY / ".venv-uv" / "bin" / "uv"
    python = folder / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
    return python


class Bench:
    """The instance's services, and the measurements on them."""

    def __init__(self, rows: int, repeat: int, python: Path) -> None:
        self.rows, self.repeat, self.python = rows, repeat, python
        self.dsn = os.environ["SHOP_DB_URL"]
        settings = Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"})
        self.store = boto3.client(
            "s3", endpoint_url=os.environ["S3_ENDPOINT_URL"], region_name="us-east-1", config=settings
        )
        self.store.create_bucket(Bucket=BUCKET)
        self.airbyte = httpx.Client(base_url=os.environ["AIRBYTE_URL"], timeout=120)
        login = {"client_id": os.environ["AIRBYTE_CLIENT_ID"], "client_secret": os.environ["AIRBYTE_CLIENT_SECRET"]}
        token = self.ask("POST", "/applications/token", login)["access_token"]
        self.airbyte.headers["Authorization"] = f"Bearer {token}"
        self.workspace = self.ask("POST", "/workspaces", {"name": "bench"})["workspaceId"]
        lake = {
            "destinationType": "s3", "s3_bucket_name": BUCKET, "s3_bucket_path": "bench/ours",
            "access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "s3_endpoint": os.environ["S3_ENDPOINT_URL"], "s3_bucket_region": "us-east-1",
            "format": {"format_type": "Parquet", "compression_codec": "SNAPPY"},
        }  # fmt: skip
        body = {"name": "bench", "workspaceId": self.workspace, "configuration": lake}
        self.destination = self.ask("POST", "/destinations", body)["destinationId"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.airbyte.request(method, path.lstrip("/"), json=body)
        if answer.is_error:
            sys.exit(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    # --- what is read --------------------------------------------------------------------------------

    def postgres(self, columns: int) -> None:
        table = f"bench_{columns}"
        size = self.fill(table, columns, 0, self.rows)
        connection_id = self.connect(table, self.database("public"), [table])
        job = {"dsn": self.dsn, "table": table}
        names = ["DuckDB alone", "connectorx alone", "ADBC alone", "dlt, connectorx", "dlt, pyarrow"]
        found = self.measure(connection_id, names, job, self.python, self.rows)
        self.show(f"PostgreSQL, {self.rows:,} rows of {columns} columns, {size / 1e6:,.0f} MB", size, found)

    def growth(self, sizes: list[int], columns: int) -> None:
        """One table that grows, read whole at each size."""
        table, filled, base = f"bench_growth_{columns}", 0, 0.0
        print(f"\nPostgreSQL, a table of {columns} columns that grows, embedded Airbyte")
        print(
            f"  {'rows':<14}{'MB':>8}{'seconds':>9}{'rows/s':>12}{'us/row':>8}{'of first':>9}{'CPU us/row':>12}"
            f"{'peak MiB':>10}",
            flush=True,
        )
        for rows in sizes:
            size = self.fill(table, columns, filled, rows)
            connection_id = self.connect(f"{table}_{rows}", self.database("public"), [table])
            runs = [self.ours(connection_id, rows) for _ in range(self.repeat)]
            best, peak = min(runs, key=lambda run: run.seconds), max(run.memory for run in runs)
            filled, base = rows, base or best.seconds / rows
            print(
                f"  {rows:<14,}{size / 1e6:8,.0f}{best.seconds:9.2f}{rows / best.seconds:12,.0f}"
                f"{1e6 * best.seconds / rows:8.2f}{best.seconds / rows / base:8.2f}x"
                f"{1e6 * best.cpu / rows:12.2f}{peak / 2**20:10.0f}",
                flush=True,
            )

    def fill(self, table: str, columns: int, begin: int, end: int) -> int:
        """Rows after `begin` and up to `end`, written by PostgreSQL itself; the table's bytes then."""
        kinds = [COLUMNS[number % len(COLUMNS)] for number in range(columns)]
        values = ", ".join(f"({value})::{kind} AS c{number}" for number, (kind, value) in enumerate(kinds))
        rows = f"SELECT {values} FROM generate_series({begin + 1}::bigint, {end}) AS i"
        with closing(psycopg.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(f"CREATE UNLOGGED TABLE IF NOT EXISTS {table} AS {rows} WITH NO DATA")
            cursor.execute(f"INSERT INTO {table} {rows}")
            cursor.execute(f"VACUUM ANALYZE {table}")
            cursor.execute(f"SELECT pg_relation_size('{table}')")
            return int(cursor.fetchone()[0])  # type: ignore[index]

    def csv(self) -> None:
        key = "bench/in/rows.csv"
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
                values = ", ".join(f"({value})::{kind} AS c{number}" for number, (kind, value) in enumerate(COLUMNS))
                rows = f"SELECT {values} FROM generate_series(1, {self.rows}::bigint) AS i"
                with cursor.copy(f"COPY ({rows}) TO STDOUT (FORMAT csv, HEADER)") as parts:
                    file.writelines(parts)
            file.flush()
            size = os.path.getsize(file.name)
            self.store.upload_file(file.name, BUCKET, key)
        source = {
            "sourceType": "s3", "bucket": BUCKET, "endpoint": os.environ["S3_ENDPOINT_URL"], "region_name": "us-east-1",
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "streams": [{"name": "rows", "globs": ["bench/in/*.csv"], "format": {"filetype": "csv"}}],
        }  # fmt: skip
        connection_id = self.connect("csv", {"configuration": source}, ["rows"])
        found = self.measure(connection_id, ["bare DuckDB"], {"key": key}, self.python, self.rows)
        self.show(f"CSV, {self.rows:,} rows of {len(COLUMNS)} columns, {size / 1e6:,.0f} MB", size, found)

    def rest(self) -> None:
        """A service that answers from memory, in a process of its own thread: its time is in both figures."""
        record = {"id": 0, "name": "a name of some length", "amount": 12.5, "status": "open", "note": "x" * 60}
        body = json.dumps({"data": [record | {"id": number} for number in range(PAGE)]}).encode()
        with Service(body, self.rows // PAGE) as address:
            manifest = low_code(address, record)
            path = f"/workspaces/{self.workspace}/definitions/declarative_sources"
            definition = self.ask("POST", path, {"name": "bench", "manifest": manifest})["id"]
            connection_id = self.connect("rest", {"configuration": {}, "definitionId": definition}, ["rows"])
            job = {"manifest": manifest, "rows": self.rows}
            found = self.measure(connection_id, ["bare CDK"], job, EMBEDDED, self.rows)
        size = len(body) * (self.rows // PAGE)
        self.show(f"REST, {self.rows:,} records in pages of {PAGE}, {size / 1e6:,.0f} MB", size, found)

    def streams(self) -> None:
        """Syncs of few and many tables, all in one connection."""
        print("\nOne connection of tables with ten rows")
        print(f"  {'tables':<26}{'first rows s':>13}{'seconds':>9}{'CPU s':>8}{'peak MiB':>10}{'ours is':>9}")
        for count in (1, 100, 1000):
            schema = f"bench_{count}_tables"
            with closing(psycopg.connect(self.dsn)) as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE SCHEMA {schema}")
                for number in range(count):
                    rows = "SELECT i AS id, 'row ' || i AS name, now() AS updated_at FROM generate_series(1, 10) AS i"
                    cursor.execute(f"CREATE TABLE {schema}.table_{number} AS {rows}")
                    if number % 100 == 99:
                        connection.commit()
                connection.commit()
            names = [f"table_{number}" for number in range(count)]
            connection_id = self.connect(schema, self.database(schema), names)
            job = {"dsn": self.dsn, "schema": schema}
            found = self.measure(connection_id, ["dlt, all tables"], job, self.python, 10 * count)
            for name, each in found.items():
                ratio = each.seconds / found["embedded Airbyte"].seconds
                print(
                    f"  {f'{count:,}, {name}':<26}{each.first:13.2f}{each.seconds:9.2f}{each.cpu:8.2f}"
                    f"{each.memory / 2**20:10.0f}{ratio:8.2f}x",
                    flush=True,
                )

    def database(self, schema: str) -> dict[str, Any]:
        """The instance's PostgreSQL as a source."""
        url = httpx.URL(self.dsn)
        configuration = {
            "sourceType": "postgres", "host": url.host, "port": url.port, "database": url.path.lstrip("/"),
            "username": url.username, "password": url.password, "schemas": [schema],
        }  # fmt: skip
        return {"configuration": configuration}

    def connect(self, name: str, source: dict[str, Any], names: list[str], mode: str = "full_refresh_overwrite") -> str:
        """A connection of ours that reads these streams, whole if nothing else is said; its id."""
        made = self.ask("POST", "/sources", {"name": name, "workspaceId": self.workspace, **source})
        streams = [{"name": stream, "syncMode": mode} for stream in names]
        body = {
            "name": name, "sourceId": made["sourceId"], "destinationId": self.destination,
            "namespaceDefinition": "custom_format", "namespaceFormat": name, "configurations": {"streams": streams},
        }  # fmt: skip
        connection_id = self.ask("POST", "/connections", body)["connectionId"]
        self.ask("PUT", f"/connections/{connection_id}/lakehouse", {"threads": THREADS, "max_retries": 0})
        return str(connection_id)

    # --- measuring -----------------------------------------------------------------------------------

    def measure(
        self, connection_id: str, names: list[str], job: dict[str, Any], python: Path, rows: int
    ) -> dict[str, Figure]:
        """Each tool in turn, `repeat` times, so that all have the same machine."""
        job |= {"endpoint": os.environ["S3_ENDPOINT_URL"], "bucket": BUCKET, "threads": THREADS}
        runs: dict[str, list[Figure]] = {}
        for _ in range(self.repeat):
            runs.setdefault("embedded Airbyte", []).append(self.ours(connection_id, rows))
            for name in names:
                runs.setdefault(name, []).append(self.peer(python, name, job, rows))
        return {
            name: Figure(
                rows,
                *min((run.seconds, run.cpu) for run in each),
                max(run.memory for run in each),
                min(run.first for run in each),
            )
            for name, each in runs.items()
        }

    def ours(self, connection_id: str, rows: int) -> Figure:
        begun, first = time.monotonic(), 0.0
        asked = self.ask("POST", "/jobs", {"connectionId": connection_id, "jobType": "sync"})
        with Watch(server_of(self.airbyte.base_url.port), itself=False) as watch:
            while True:
                done = self.ask("GET", f"/jobs/{asked['jobId']}")
                if not first and done["rowsSynced"]:
                    first = time.monotonic() - begun
                if done["status"] in ("succeeded", "failed", "cancelled"):
                    break
                time.sleep(0.05)
        seconds = time.monotonic() - begun
        if done["status"] != "succeeded" or done["rowsSynced"] != rows:
            sys.exit(f"the sync ended as {done}")
        return Figure(rows, seconds, sum(watch.cpu.values()), watch.peak, first)

    def peer(self, python: Path, name: str, job: dict[str, Any], rows: int) -> Figure:
        command = [python, REPOSITORY / "benchmarks" / "_peers.py", name, json.dumps(job)]
        begun, clock = time.monotonic(), time.time()
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as process,
            Watch(psutil.Process(process.pid), itself=True) as watch,
        ):
            failed = process.wait()
            seconds = time.monotonic() - begun
            said.seek(0)
            text = said.read().decode()
            if failed:
                sys.exit(f"{name} failed:\n{text[-3000:]}")
        first = [float(line.removeprefix(FIRST)) - clock for line in text.splitlines() if line.startswith(FIRST)]
        return Figure(rows, seconds, sum(watch.cpu.values()), watch.peak, *first)

    def show(self, title: str, size: int, found: dict[str, Figure]) -> None:
        ours = found["embedded Airbyte"]
        print(f"\n{title}")
        print(f"  {'':<20}{'seconds':>9}{'rows/s':>12}{'MB/s':>8}{'CPU s':>8}{'peak MiB':>10}{'ours is':>9}")
        for name, each in found.items():
            rate = each.rows / each.seconds
            print(
                f"  {name:<20}{each.seconds:9.2f}{rate:12,.0f}{size / self.rows * rate / 1e6:8.0f}"
                f"{each.cpu:8.2f}{each.memory / 2**20:10.0f}{ours.rows / ours.seconds / rate:8.2f}x",
                flush=True,
            )


class Watch(threading.Thread):
    """The processes below one, and itself if that is asked for: the peak of their proportional sets, and their CPU
    seconds by process. One that was there before counts from then on.
    """

    def __init__(self, process: psutil.Process, *, itself: bool) -> None:
        super().__init__(daemon=True)
        self._process, self._itself, self._over = process, itself, threading.Event()
        self.peak = 0
        self.cpu: dict[int, float] = {}
        self._before = {} if itself else {each.pid: _cpu(each) for each in process.children(recursive=True)}

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.25):  # looking costs time, of the measured too
            self._look()

    def _look(self) -> None:
        total = 0
        try:
            for each in [*([self._process] if self._itself else []), *self._process.children(recursive=True)]:
                total += each.memory_full_info().pss
                self.cpu[each.pid] = _cpu(each) - self._before.get(each.pid, 0.0)
        except psutil.Error:  # one has just ended
            pass
        self.peak = max(self.peak, total)


def _cpu(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def server_of(port: int | None) -> psutil.Process:
    """The process that listens on a port of this machine."""
    (pid,) = {
        each.pid for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid
    }  # fmt: skip
    return psutil.Process(pid)


class Service:
    """A REST service that answers each page from memory; the last one is empty."""

    def __init__(self, body: bytes, pages: int) -> None:
        class Pages(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = int(self.path.partition("page=")[2].partition("&")[0] or 1)
                answer = body if page <= pages else b'{"data": []}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nothing: it would stand between the tables."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


def low_code(address: str, record: dict[str, Any]) -> dict[str, Any]:
    """A manifest that reads the service's pages."""
    kinds = {int: "integer", float: "number", str: "string"}
    schema = {"type": "object", "properties": {name: {"type": kinds[type(value)]} for name, value in record.items()}}
    page = {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "page"}
    strategy = {"type": "PageIncrement", "start_from_page": 1, "inject_on_first_request": True, "page_size": PAGE}
    retriever = {
        "type": "SimpleRetriever",
        "requester": {"type": "HttpRequester", "url_base": address, "path": "/rows", "http_method": "GET"},
        "record_selector": {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}},
        "paginator": {"type": "DefaultPaginator", "page_token_option": page, "pagination_strategy": strategy},
    }
    loader = {"type": "InlineSchemaLoader", "schema": schema}
    stream = {"type": "DeclarativeStream", "name": "rows", "retriever": retriever, "schema_loader": loader}
    return {
        "type": "DeclarativeSource", "version": "6.0.0", "streams": [stream],
        "check": {"type": "CheckStream", "stream_names": ["rows"]},
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
