"""The embedded Dremio beside the engine and the libraries that it is made of, on the same machine and data.

    .venv/bin/python benchmarks/dremio.py [tpch] [latency] [flight] [reflections] [--rows 1M] [--repeat 3]

An instance of its own is made; without names all four are measured:

- tpch: the 22 queries at scale 1 by Flight, their answers held against those that the generator ships, and their times
  beside DuckDB's alone, which reads the same Parquet objects with the same memory and threads. Medians, in turn.
- latency: `SELECT 1` from the request to the rows, by one client and by 16, over REST and over Flight.
- flight: MB a second of a 10M-row result, beside a bare pyarrow Flight server that streams the same DuckDB query.
- reflections: the source document's four kinds of query on `--rows` rows, with and without reflections, by one client
  and by 16, and how long the reflections took to build.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _instance import EMBEDDED, REPOSITORY, instance, row_count

if not sys.executable.startswith(str(EMBEDDED.parent)):  # DuckDB is there, and not in Airflow's environment
    os.execv(EMBEDDED, [str(EMBEDDED), *sys.argv])

import boto3
import duckdb
import httpx
import pyarrow as pa
from duckdb_extensions import import_extension
from pyarrow import flight
from rich.console import Console
from rich.table import Table

MEMORY = os.environ.setdefault("DREMIO_MEMORY_LIMIT", "1GB")  # of the embedded Dremio and of DuckDB alone
TPCH_PACKAGE = f"duckdb-extension-tpch=={duckdb.__version__}"
FOLDER = "bench"
SPACE = "benchmark"
PARTS = ("tpch", "latency", "flight", "reflections")
# a plain Flight server over DuckDB: what streaming costs at least
BARE_SERVER = """
import sys, duckdb
from pyarrow import flight
class Server(flight.FlightServerBase):
    def do_get(self, context, ticket):
        reader = duckdb.connect(config={"threads": 2}).execute(ticket.ticket.decode()).fetch_record_batch(100_000)
        return flight.RecordBatchStream(reader)
server = Server("grpc://127.0.0.1:0")
print(server.port, flush=True)
server.serve()
"""
STREAM = (
    "SELECT range AS id, range % 1000 AS customer, CAST(range % 99991 AS DOUBLE) / 100 AS amount, "
    "'order-' || CAST(range % 5000 AS VARCHAR) AS name FROM range(10000000)"
)

console = Console(width=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--rows", type=row_count, default="1M", help="rows under the reflections (default 1M)")
    parser.add_argument("--repeat", type=int, default=3, help="counted runs of each query (default 3)")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}: {', '.join(PARTS)}")
    with instance("20k", "--no-run", airflow=False):
        dremio = Dremio()
        dremio.add_source()
        for part in arguments.parts or PARTS:
            globals()[f"measure_{part}"](dremio, arguments)
    return 0


class Dremio:
    """A client of both protocols, as a BI tool and a script are."""

    def __init__(self) -> None:
        self.url = os.environ["DREMIO_URL"]
        self._login = (os.environ["DREMIO_USERNAME"], os.environ["DREMIO_PASSWORD"])
        body = {"userName": self._login[0], "password": self._login[1]}
        token = httpx.post(f"{self.url}/apiv2/login", json=body).raise_for_status().json()["token"]
        self.headers = {"Authorization": f"_dremio{token}"}

    def rest(self) -> httpx.Client:
        """A connection to the REST API; close it."""
        return httpx.Client(base_url=f"{self.url}/api/v3", headers=self.headers, timeout=600)

    @contextmanager
    def flight(self) -> Iterator[Callable[[str], pa.Table]]:
        """A logged-in Flight connection: what runs a statement and gives its rows."""
        client = flight.FlightClient(os.environ["DREMIO_FLIGHT_URL"].replace("grpc://", "grpc+tcp://"))
        context = flight.FlightCallOptions(headers=[(b"schema", FOLDER.encode())])
        token = client.authenticate_basic_token(*self._login, context)
        options = flight.FlightCallOptions(headers=[token, (b"schema", FOLDER.encode())])

        def query(sql: str) -> pa.Table:
            info = client.get_flight_info(flight.FlightDescriptor.for_command(sql.encode()), options)
            return client.do_get(info.endpoints[0].ticket, options).read_all()

        try:
            yield query
        finally:
            client.close()

    def add_source(self) -> None:
        """The source `bench`: a folder of a bucket."""
        store = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT_URL"], region_name="us-east-1")
        store.create_bucket(Bucket="datalake")
        body = {
            "entityType": "source",
            "type": "S3",
            "name": FOLDER,
            "config": {
                "credentialType": "ACCESS_KEY",
                "accessKey": os.environ["AWS_ACCESS_KEY_ID"],
                "accessSecret": os.environ["AWS_SECRET_ACCESS_KEY"],
                "secure": False,
                "rootPath": f"/datalake/{FOLDER}",
                "compatibilityMode": True,
                "propertyList": [
                    {"name": "fs.s3a.path.style.access", "value": "true"},
                    {"name": "fs.s3a.endpoint", "value": os.environ["S3_ENDPOINT_URL"].split("://")[1]},
                ],
            },
        }
        with self.rest() as rest:
            rest.post("/catalog", json=body).raise_for_status()

    def promote(self, table: str) -> str:
        """Make a table of the Parquet files in the source's folder of that name; its id."""
        with self.rest() as rest:
            folder = rest.get(f"/catalog/by-path/{FOLDER}/{table}").raise_for_status().json()
            body = {
                "entityType": "dataset",
                "type": "PHYSICAL_DATASET",
                "id": folder["id"],
                "path": [FOLDER, table],
                "format": {"type": "Parquet"},
            }
            made = rest.post(f"/catalog/{folder['id'].replace('/', '%2F').replace(':', '%3A')}", json=body)
            return str(made.raise_for_status().json()["id"])

    def make_view(self, name: str, sql: str) -> str:
        """A view in the space `benchmark`; its id."""
        with self.rest() as rest:
            rest.post("/catalog", json={"entityType": "space", "name": SPACE}).raise_for_status()
            body = {"entityType": "dataset", "type": "VIRTUAL_DATASET", "path": [SPACE, name], "sql": sql}
            return str(rest.post("/catalog", json=body).raise_for_status().json()["id"])


def lake() -> duckdb.DuckDBPyConnection:
    """DuckDB alone, with the embedded Dremio's memory, reading and writing the instance's bucket."""
    duck = duckdb.connect(config={"memory_limit": MEMORY})
    import_extension("httpfs")
    duck.execute("LOAD httpfs")
    endpoint = os.environ["S3_ENDPOINT_URL"].split("://")[1]
    duck.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', "
        f"SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}', ENDPOINT '{endpoint}', USE_SSL false, URL_STYLE path)"
    )
    duck.execute("SET parquet_metadata_cache = true")
    return duck


def measure_tpch(dremio: Dremio, arguments: argparse.Namespace) -> None:
    """22 queries: right or wrong, and the times of both."""
    duck = lake()
    with tempfile.TemporaryDirectory() as packages:
        command = [REPOSITORY / ".venv-uv/bin/uv", "pip", "install", "--quiet", "--no-deps", "--target", packages]
        subprocess.run([*command, TPCH_PACKAGE], check=True)
        sys.path.append(packages)
        import_extension("tpch")
    duck.execute("LOAD tpch")
    duck.execute("CALL dbgen(sf = 1)")
    tables = [name for (name,) in duck.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()]
    for table in tables:
        path = f"s3://datalake/{FOLDER}/{table}/0.parquet"
        duck.execute(f"COPY {table} TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 100000)")
        duck.execute(f"DROP TABLE {table}")
        duck.execute(f"CREATE VIEW {table} AS SELECT * FROM '{path}'")
        dremio.promote(table)
    queries = duck.execute("SELECT query_nr, query FROM tpch_queries() ORDER BY 1").fetchall()
    answers = dict(duck.execute("SELECT query_nr, answer FROM tpch_answers() WHERE scale_factor = 1").fetchall())
    table = Table("query", "rows", "answer", title="TPC-H at scale 1, seconds", title_justify="left")
    for column in ("embedded Dremio", "DuckDB alone", "ratio"):
        table.add_column(column, justify="right")
    ratios = []
    with dremio.flight() as ours:
        for number, query in queries:
            sql = in_dremio(query)
            mine, bare = in_turn([lambda sql=sql: ours(sql), lambda query=query: duck.sql(query).arrow()], arguments)
            rows = ours(sql)
            right = same(rows, answers[number])
            ratios.append(mine / bare)
            table.add_row(
                f"Q{number}", f"{rows.num_rows}", "right" if right else "[red]wrong[/]",
                f"{mine:.3f}", f"{bare:.3f}", f"{mine / bare:.2f}",
            )  # fmt: skip
    table.add_row("geometric mean", "", "", "", "", f"{math.exp(statistics.fmean(map(math.log, ratios))):.2f}")
    console.print(table)


def in_dremio(query: str) -> str:
    """The query without what Dremio does not take: a closing semicolon, and `value` as a bare name."""
    return query.strip().rstrip(";").replace("AS value", 'AS "value"').replace("value DESC", '"value" DESC')


def same(rows: pa.Table, answer: str) -> bool:
    """Whether the rows are those of the answer (CSV with `|`), numbers to within a hundredth or a billionth."""
    lines = [line.split("|") for line in answer.strip().splitlines()[1:]]
    columns = [column.to_pylist() for column in rows.columns]
    if len(lines) != rows.num_rows:
        return False
    return all(
        close(columns[place][row], wanted) for row, line in enumerate(lines) for place, wanted in enumerate(line)
    )


def close(value: Any, wanted: str) -> bool:
    try:
        return math.isclose(float(value), float(wanted), rel_tol=1e-9, abs_tol=0.01)
    except (TypeError, ValueError):
        return str(value) == wanted


def in_turn(runs: list[Callable[[], object]], arguments: argparse.Namespace) -> list[float]:
    """The median seconds of each, run one after the other; a first round warms both and is not counted."""
    seconds: list[list[float]] = [[] for _ in runs]
    for repetition in range(1 + arguments.repeat):
        for run, taken in zip(runs, seconds, strict=True):
            begun = time.perf_counter()
            run()
            if repetition:
                taken.append(time.perf_counter() - begun)
    return [statistics.median(taken) for taken in seconds]


def measure_latency(dremio: Dremio, arguments: argparse.Namespace) -> None:
    """`SELECT 1`, submit to rows."""

    def by_rest(statements: int) -> list[float]:
        taken = []
        with dremio.rest() as rest:
            for _ in range(statements):
                begun = time.perf_counter()
                job = rest.post("/sql", json={"sql": "SELECT 1 AS one"}).json()["id"]
                while (state := rest.get(f"/job/{job}").json()["jobState"]) != "COMPLETED":
                    assert state not in ("FAILED", "CANCELED"), state
                rest.get(f"/job/{job}/results").raise_for_status()
                taken.append(time.perf_counter() - begun)
        return taken

    def by_flight(statements: int) -> list[float]:
        taken = []
        with dremio.flight() as query:
            for _ in range(statements):
                begun = time.perf_counter()
                query("SELECT 1 AS one")
                taken.append(time.perf_counter() - begun)
        return taken

    table = Table("protocol", title="SELECT 1, from the request to the rows", title_justify="left")
    for column in ("clients", "p50 ms", "p95 ms", "statements a second"):
        table.add_column(column, justify="right")
    for name, run in (("REST", by_rest), ("Flight", by_flight)):
        run(50)
        for clients in (1, 16):
            statements = 1000 // clients
            begun = time.perf_counter()
            with ThreadPoolExecutor(clients) as pool:
                taken = sorted(each for one in pool.map(run, [statements] * clients) for each in one)
            rate = len(taken) / (time.perf_counter() - begun)
            table.add_row(name, f"{clients}", *(f"{1000 * each:.1f}" for each in percentiles(taken)), f"{rate:.0f}")
    console.print(table)


def percentiles(taken: list[float]) -> tuple[float, float]:
    """p50 and p95."""
    ordered = sorted(taken)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


def measure_flight(dremio: Dremio, arguments: argparse.Namespace) -> None:
    """MB a second of a large result."""
    duck = lake()
    duck.execute(f"COPY ({STREAM}) TO 's3://datalake/{FOLDER}/stream/0.parquet' (FORMAT parquet)")
    dremio.promote("stream")
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "stream.parquet"
        duck.execute(f"COPY ({STREAM}) TO '{local}' (FORMAT parquet)")
        server = subprocess.Popen([sys.executable, "-c", BARE_SERVER], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            bare = flight.FlightClient(f"grpc://127.0.0.1:{int(server.stdout.readline())}")
            ticket = flight.Ticket(f"SELECT * FROM '{local}'".encode())
            with dremio.flight() as query:
                mine, its = in_turn(
                    [lambda: query(f"SELECT * FROM {FOLDER}.stream"), lambda: bare.do_get(ticket).read_all()],
                    arguments,
                )
                megabytes = query(f"SELECT * FROM {FOLDER}.stream").nbytes / 1e6
        finally:
            server.kill()
            server.wait()
    table = Table("", title=f"10M rows, {megabytes:.0f} MB of Arrow, by Flight", title_justify="left")
    table.add_column("MB/s", justify="right")
    table.add_row("embedded Dremio (Parquet in the store)", f"{megabytes / mine:.0f}")
    table.add_row("bare Flight server (Parquet on disk)", f"{megabytes / its:.0f}")
    table.add_row("ratio", f"{its / mine:.2f}")
    console.print(table)


def measure_reflections(dremio: Dremio, arguments: argparse.Namespace) -> None:
    """Four kinds of query with and without reflections."""
    rows = arguments.rows
    duck = lake()
    duck.execute(
        "COPY (SELECT range AS order_id, CAST(hash(range) % 100000 AS BIGINT) AS customer_id, "
        "DATE '2024-01-01' + CAST(hash(range + 1) % 730 AS INTEGER) AS order_date, "
        "['new', 'paid', 'sent', 'back'][1 + CAST(hash(range + 2) % 4 AS INTEGER)] AS status, "
        f"CAST(hash(range + 3) % 100000 AS DECIMAL(12, 2)) / 100 AS amount FROM range({rows}) t(range)) "
        f"TO 's3://datalake/{FOLDER}/orders/0.parquet' (FORMAT parquet, ROW_GROUP_SIZE 1000000)"
    )
    duck.execute(
        "COPY (SELECT range AS customer_id, ['home', 'office', 'public'][1 + CAST(hash(range) % 3 AS INTEGER)] "
        f"AS segment FROM range(100000) t(range)) TO 's3://datalake/{FOLDER}/customers/0.parquet' (FORMAT parquet)"
    )
    orders = dremio.promote("orders")
    dremio.promote("customers")
    view = dremio.make_view(
        "orders_by_segment",
        f"SELECT o.*, c.segment FROM {FOLDER}.orders o JOIN {FOLDER}.customers c ON o.customer_id = c.customer_id",
    )
    source = f"{FOLDER}.orders"
    queries = {
        "Simple SELECT": f"SELECT order_id, amount FROM {source} WHERE customer_id = 4711",
        "Aggregation": f"SELECT order_date, SUM(amount) FROM {source} WHERE status = 'paid' GROUP BY order_date",
        "Complex JOIN": "SELECT segment, EXTRACT(YEAR FROM order_date) AS y, SUM(amount) AS total, COUNT(*) AS n "
        f"FROM {SPACE}.orders_by_segment GROUP BY segment, EXTRACT(YEAR FROM order_date)",
        "Large scan": f"SELECT status, AVG(amount) AS a, SUM(amount) AS s, COUNT(*) AS n FROM {source} GROUP BY status",
    }
    without = {name: times(dremio, sql, arguments.repeat, 1) for name, sql in queries.items()}
    begun = time.perf_counter()
    declare(dremio, orders, view)
    built = time.perf_counter() - begun
    table = Table(
        "query", "chosen", title=f"{rows:,} rows; reflections built in {built:.1f} s; ms", title_justify="left"
    )
    for column in ("p95 without", "p95 with", "speed-up", "p95 with, 16 clients"):
        table.add_column(column, justify="right")
    for name, sql in queries.items():
        one, many = times(dremio, sql, 30, 1), times(dremio, sql, 10, 16)
        before, after = percentiles(without[name])[1], percentiles(one)[1]
        table.add_row(
            name, chosen(dremio, sql), f"{1000 * before:.0f}", f"{1000 * after:.0f}", f"{before / after:.1f}",
            f"{1000 * percentiles(many)[1]:.0f}",
        )  # fmt: skip
    console.print(table)


def times(dremio: Dremio, sql: str, statements: int, clients: int) -> list[float]:
    """Seconds of each statement, over Flight, by so many clients at once."""

    def one_client(_: int) -> list[float]:
        taken = []
        with dremio.flight() as query:
            query(sql)
            for _ in range(statements):
                begun = time.perf_counter()
                query(sql)
                taken.append(time.perf_counter() - begun)
        return taken

    with ThreadPoolExecutor(clients) as pool:
        return [each for taken in pool.map(one_client, range(clients)) for each in taken]


def declare(dremio: Dremio, orders: str, view: str) -> None:
    """An aggregation and a raw reflection of the orders, an aggregation of the join; waits until all accelerate."""
    sums = [{"name": "amount", "measureTypeList": ["SUM", "COUNT"]}]
    bodies: list[dict[str, Any]] = [
        {
            "datasetId": orders,
            "type": "AGGREGATION",
            "name": "by_day",
            "dimensionFields": [{"name": "order_date", "granularity": "DATE"}, {"name": "status"}],
            "measureFields": sums,
        },
        {
            "datasetId": view,
            "type": "AGGREGATION",
            "name": "by_segment",
            "dimensionFields": [{"name": "order_date", "granularity": "DATE"}, {"name": "segment"}],
            "measureFields": sums,
        },
        {
            "datasetId": orders,
            "type": "RAW",
            "name": "by_customer",
            "displayFields": [{"name": name} for name in ("order_id", "customer_id", "amount")],
            "sortFields": [{"name": "customer_id"}],
        },
    ]
    with dremio.rest() as rest:
        made = [rest.post("/reflection", json={**body, "enabled": True}).raise_for_status().json() for body in bodies]
        for reflection in made:
            while True:
                status = rest.get(f"/reflection/{reflection['id']}").json()["status"]
                if status["combinedStatus"] == "CAN_ACCELERATE":
                    break
                if status["refresh"] == "GIVEN_UP" or "FAIL" in status["combinedStatus"]:
                    sys.exit(f"reflection {reflection['name']} was not built: {status}")
                time.sleep(0.05)


def chosen(dremio: Dremio, sql: str) -> str:
    """The name of the reflection that answers."""
    with dremio.rest() as rest:
        job = rest.post("/sql", json={"sql": sql}).json()["id"]
        while (found := rest.get(f"/job/{job}").json())["jobState"] not in ("COMPLETED", "FAILED"):
            time.sleep(0.02)
        related = found.get("acceleration", {}).get("reflectionRelationships", [])
        ids = [one["reflectionId"] for one in related if one["relationship"] == "CHOSEN"]
        return ", ".join(rest.get(f"/reflection/{each}").json()["name"] for each in ids) or "none"


if __name__ == "__main__":
    sys.exit(main())
