"""From the source's commit to Dremio: how old a change is when a query of `cdc_streaming`'s table first shows it.

    .venv/bin/python benchmarks/cdc_streaming.py [--minutes 3] [--rate 1000]

An instance of its own is made, with a table in the shop's PostgreSQL that is read by change data capture. Ten
transactions a second insert and update rows, so many changes together; a query asks Dremio for the newest change again
and again. The rounds are those of the DAG, made by its trigger in a process of its own, as the triggerer makes them.
A change's time is from its commit to the end of the first query that has it, so half of such a query is in the figure.
Landing objects are joined once in the middle, as the DAG does each hour. At the end each change is looked for.

The goal is a p95 of 10 s; the limit for any change is 60 s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from _instance import REPOSITORY, instance
from operators import apply_connections, connect_airflow, context, silence

sys.path.insert(0, str(REPOSITORY / "plugins"))
NAME = "bench_stream"
TRANSACTIONS = 10  # a second
CONNECTION = f"""
name: {NAME}
source:
  type: postgres
  connection: shop_db
  from_connection: {{host: host, port: port, database: schema, username: login, password: password}}
  configuration:
    schemas: [public]
    replication_method: {{method: CDC, plugin: pgoutput, replication_slot: {NAME}, publication: {NAME}}}
destination: datalake
schedule: continuous
namespace_format: source={NAME}
streams:
  - {{name: {NAME}, sync_mode: incremental_deduped_history, cursor_field: _ab_cdc_lsn, primary_key: [id],
      batch_date: _ab_cdc_updated_at}}
"""
# each transaction's number is in its rows: new ones, and as many of the second before changed
WRITE = f"""
INSERT INTO {NAME} SELECT %(n)s * 1000000::bigint + i, 'new', 9.99, now(), %(n)s FROM generate_series(1, %(half)s) i;
UPDATE {NAME} SET status = 'paid', changed_at = now(), n = %(n)s
WHERE id >= (%(n)s - {TRANSACTIONS}) * 1000000::bigint AND id < (%(n)s - {TRANSACTIONS} + 1) * 1000000::bigint;
"""
TABLE = f"datalake.bronze.live.{NAME}.{NAME}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long changes are written (default 3)")
    parser.add_argument("--rate", type=int, default=1000, help="changes a second (default 1000)")
    arguments = parser.parse_args()
    silence()
    with instance("20k", "--no-run"), tempfile.TemporaryDirectory() as folder:
        connect_airflow()
        make_source()
        declare(Path(folder))
        rounds = os.fork()
        if not rounds:
            follow()
        try:
            measure(arguments.minutes * 60, arguments.rate)
        finally:
            os.kill(rounds, signal.SIGKILL)
            os.waitpid(rounds, 0)
            forget_source()
    return 0


def make_source() -> None:
    with closing(psycopg2.connect(os.environ["SHOP_DB_URL"])) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(
            f"CREATE TABLE {NAME} (id bigint PRIMARY KEY, status text, amount numeric(12,2), changed_at timestamptz,"
            " n bigint)"
        )
        # without a row nothing lands, and there is no table to ask
        cursor.execute(f"INSERT INTO {NAME} VALUES (-1, 'new', 0, now(), 0)")
        cursor.execute(f"CREATE PUBLICATION {NAME} FOR TABLE {NAME}")
        cursor.execute(f"SELECT pg_create_logical_replication_slot('{NAME}', 'pgoutput')")


def forget_source() -> None:
    with closing(psycopg2.connect(os.environ["SHOP_DB_URL"])) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(
            "SELECT pg_terminate_backend(active_pid), pg_sleep(1) FROM pg_replication_slots WHERE slot_name = %s",
            (NAME,),
        )
        cursor.execute(f"SELECT pg_drop_replication_slot('{NAME}')")


def declare(folder: Path) -> None:
    """The connection, as a file beside the declared destination; and the bucket's source in Dremio."""
    from lakehouse.dremio.operators.catalog import DremioApplyOperator

    apply_connections()
    (folder / "pipelines" / "connections").mkdir(parents=True)
    (folder / "pipelines" / "connections" / f"{NAME}.yaml").write_text(CONNECTION)
    for name in ("airbyte.yaml", "storage.yaml"):
        (folder / "pipelines" / name).write_text((REPOSITORY / "include" / "pipelines" / name).read_text())
    catalog = REPOSITORY / "include" / "pipelines" / "dremio.yaml"
    DremioApplyOperator(task_id="dremio", path=str(catalog), parts=["sources"]).execute({})
    os.environ["LAKEHOUSE_INCLUDE"] = str(folder)
    apply_connections()


def follow() -> None:
    """What the triggerer does with the DAG's trigger, until it is killed."""
    from lakehouse.streaming.trigger import ContinuousSyncTrigger

    settings = {
        "connection": NAME, "streams": [NAME], "bucket": "datalake", "source": "datalake",
        "landing_prefix": "bronze/landing", "live_prefix": "bronze/live", "airbyte_conn_id": "airbyte_default",
        "aws_conn_id": "minio_default", "dremio_conn_id": "dremio_default",
    }  # fmt: skip

    async def go_round() -> None:
        event = await anext(aiter(ContinuousSyncTrigger(settings=settings, end_at=time.time() + 86_400).run()))
        print(f"The rounds ended: {event.payload}", file=sys.stderr)

    try:
        asyncio.run(go_round())
    finally:
        os._exit(1)


def measure(seconds: float, rate: int) -> None:
    from lakehouse.dremio.hook import DremioHook
    from lakehouse.minio.hook import ObjectStoreHook
    from lakehouse.minio.operators import CompactLandingOperator

    dremio, store = DremioHook("dremio_default"), ObjectStoreHook("minio_default")
    while not dremio.find_entity(TABLE.split(".")):  # the first sync, which reads the table
        time.sleep(0.5)
    committed: deque[tuple[int, float]] = deque()
    writer = threading.Thread(target=write, args=(committed, seconds, rate), daemon=True)
    compact = CompactLandingOperator(task_id="compact", source=NAME, streams=[NAME])
    joining = threading.Timer(seconds / 2, compact.execute, args=[context()])
    late: list[float] = []
    queries: list[float] = []
    writer.start()
    joining.start()
    while writer.is_alive() or committed:
        begun = time.time()
        newest = int(dremio.query(f"SELECT MAX(n) AS n FROM {TABLE}")[0]["n"] or 0)
        seen = time.time()
        queries.append(seen - begun)
        while committed and committed[0][0] <= newest:
            late.append(seen - committed.popleft()[1])
        time.sleep(0.2)
    check(dremio)
    cuts = statistics.quantiles(late, n=100)
    live = len(store.objects("datalake", f"bronze/live/{NAME}/"))
    print(f"\n{len(late) * rate // TRANSACTIONS:,} changes in {seconds / 60:g} minutes, {rate:,} a second")
    print(f"{'commit to Dremio, seconds':<40}{'p50':>8}{'p95':>8}{'max':>8}")
    print(f"{'':<40}{cuts[49]:>8.1f}{cuts[94]:>8.1f}{max(late):>8.1f}")
    print(f"the asking query: median {statistics.median(queries):.2f} s, none of {len(queries):,} failed")
    print(f"objects of the table at the end: {live}; load of the machine {os.getloadavg()[1]:.1f} on {os.cpu_count()}")


def write(committed: deque[tuple[int, float]], seconds: float, rate: int) -> None:
    """Commit ten transactions a second; keep each one's number and the moment of its commit."""
    with closing(psycopg2.connect(os.environ["SHOP_DB_URL"])) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        begun = time.time()
        for number in range(1, int(seconds * TRANSACTIONS) + 1):
            time.sleep(max(0.0, begun + number / TRANSACTIONS - time.time()))
            half = rate // TRANSACTIONS // 2
            cursor.execute(WRITE, {"n": number, "half": half})
            connection.commit()
            committed.append((number, time.time()))


def check(dremio: Any) -> None:
    """The newest version of each row is the source's, and every version came."""
    newest = (
        f"SELECT COUNT(*) AS found, SUM(id) AS ids, SUM(n) AS n FROM (SELECT id, n, ROW_NUMBER() OVER "
        f"(PARTITION BY id ORDER BY _ab_cdc_lsn DESC) AS place FROM {TABLE}) WHERE place = 1"
    )
    (ours,) = dremio.query(newest)
    with closing(psycopg2.connect(os.environ["SHOP_DB_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), SUM(id), SUM(n) FROM {NAME}")
        theirs = cursor.fetchone()
    if [int(ours[name]) for name in ("found", "ids", "n")] != [int(value) for value in theirs or ()]:
        sys.exit(f"Dremio has {ours}, the source has {theirs}")


if __name__ == "__main__":
    sys.exit(main())
