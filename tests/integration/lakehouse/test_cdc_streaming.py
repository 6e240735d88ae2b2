"""A continuous sync that is killed at any instant: Dremio shows the source's rows, the batch finds each one once.

The same table is read by a second connection that only a batch syncs: bronze and what is made of it are the same.
"""

import asyncio
import io
import json
import multiprocessing
import os
import pkgutil
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pyarrow.parquet as pq
import pytest

from lakehouse.airbyte.hook import AirbyteHook
from lakehouse.airbyte.jobs import JobStatus
from lakehouse.dremio.hook import DremioHook
from lakehouse.dremio.operators.catalog import DremioPromoteOperator
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.live import bring_up_to_date
from lakehouse.minio.operators import CompactLandingOperator, PublishOperator
from lakehouse.streaming import trigger
from tests.integration.lakehouse.test_ingest import BUCKET, declared, empty_workspace, lake  # noqa: F401 - a fixture

KILLS = 3
CONNECTION = """
name: {connection}
source:
  type: postgres
  connection: shop_db
  from_connection: {{host: host, port: port, database: schema, username: login, password: password}}
  configuration:
    schemas: [public]
    replication_method: {{method: CDC, plugin: pgoutput, replication_slot: {connection}, publication: {name}}}
destination: {name}
schedule: {schedule}
namespace_format: source={connection}
streams:
  - {{name: {name}, sync_mode: incremental_deduped_history, cursor_field: _ab_cdc_lsn, primary_key: [id],
     batch_date: _ab_cdc_updated_at}}
"""
NEWEST = """
SELECT id, v FROM (
  SELECT id, v, _ab_cdc_deleted_at, ROW_NUMBER() OVER (PARTITION BY id ORDER BY _ab_cdc_lsn DESC) AS place FROM {table}
) WHERE place = 1 AND _ab_cdc_deleted_at IS NULL
"""
# the kinds of marts that there are: rows as they are, sums by day, and a row's history; of the changes after the start,
# because the first sync gives each row the position at which it read
MARTS = {
    "rows": NEWEST,
    "days": 'SELECT "date", COUNT(*) AS n, SUM(v) AS v, COUNT(_ab_cdc_deleted_at) AS gone FROM {table} WHERE v <> 0 OR'
    ' _ab_cdc_deleted_at IS NOT NULL GROUP BY "date"',
    "history": "SELECT id, v, _ab_cdc_lsn, LEAD(_ab_cdc_lsn) OVER (PARTITION BY id ORDER BY _ab_cdc_lsn) AS until,"
    " _ab_cdc_updated_at, _ab_cdc_deleted_at FROM {table} WHERE v <> 0 OR _ab_cdc_deleted_at IS NOT NULL",
}


@pytest.fixture(scope="module")
def name(reach: dict[str, str], own_database: str, stack_connections: None) -> Iterator[str]:
    """A table of the shop with publication and slot, a workspace and a source of the lake; removed afterwards."""
    name = f"it_{uuid.uuid4().hex[:8]}"
    with closing(psycopg2.connect(reach["SHOP_DB_URL"])) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, v bigint)")
        cursor.execute(f"CREATE PUBLICATION {name} FOR TABLE {name}")
        for slot in (name, f"{name}_off"):
            cursor.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        cursor.execute(f"INSERT INTO {name} SELECT i, 0 FROM generate_series(1, 50) i")
        yield name
        cursor.execute(f"SELECT pg_drop_replication_slot('{name}'), pg_drop_replication_slot('{name}_off')")
        cursor.execute(f"DROP PUBLICATION {name}; DROP TABLE {name}")
    dremio, store = DremioHook(), ObjectStoreHook("minio_default")
    sources = [name, f"{name}_off", f"live.{name}"]
    for table in [f"{BUCKET}.bronze.{source}.{name}" for source in sources]:
        entity = dremio.find_entity(table.split("."))
        if entity is not None and entity.get("type") == "PHYSICAL_DATASET":
            dremio.delete_entity(entity["id"], entity.get("tag"))
    for folder in (f"bronze/{name}", f"bronze/live/{name}/", f"bronze/landing/source={name}"):
        store.remove(BUCKET, [item.key for item in store.objects(BUCKET, folder)])
    empty_workspace(name)


@pytest.fixture(scope="module")
def include(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    schedules = {name: "continuous", f"{name}_off": "manual"}
    connections = {
        connection: CONNECTION.format(name=name, connection=connection, schedule=schedule)
        for connection, schedule in schedules.items()
    }
    return declared(name, connections, tmp_path_factory.mktemp("include"))


def settings(name: str) -> dict[str, object]:
    return {
        "connection": name, "streams": [name], "bucket": BUCKET, "source": "datalake",
        "landing_prefix": "bronze/landing", "live_prefix": "bronze/live", "airbyte_conn_id": "airbyte_default",
        "aws_conn_id": "minio_default", "dremio_conn_id": "dremio_default",
    }  # fmt: skip


def go_round(name: str, end_at: float) -> dict[str, object]:
    """What a triggerer does with the DAG's trigger, which it has from Airflow's database; quicker."""
    trigger.PAUSE = trigger.LONGEST_PAUSE = 0.2
    path, arguments = trigger.ContinuousSyncTrigger(settings=settings(name), end_at=end_at).serialize()

    async def first_event() -> dict[str, object]:
        fired = await anext(aiter(pkgutil.resolve_name(path)(**json.loads(json.dumps(arguments))).run()))
        return dict(fired.payload)

    return asyncio.run(first_event())


def change(url: str, name: str, over: threading.Event) -> None:
    """New rows, changed ones and deletions, transaction after transaction."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        number = 100
        while not over.is_set():
            number += 1
            cursor.execute(f"INSERT INTO {name} VALUES (%s, %s)", (number, number))
            cursor.execute(f"UPDATE {name} SET v = %s WHERE id %% 7 = %s", (number, number % 7))
            cursor.execute(f"DELETE FROM {name} WHERE id = %s", (random.randint(1, number),))
            connection.commit()
            time.sleep(0.02)


def ask(dremio: DremioHook, table: str, over: threading.Event, answers: list[int], failed: list[Exception]) -> None:
    """As a reader who knows nothing of what is joined and removed meanwhile."""
    while not over.is_set():
        try:
            answers.append(int(dremio.query(f"SELECT COUNT(DISTINCT _airbyte_raw_id) AS n FROM {table}")[0]["n"]))
        except Exception as error:
            failed.append(error)


def batch(source: str, stream: str) -> None:
    """What `daily_batch` does with a source after its sync."""
    streams = [{"name": stream, "batch_date": "_ab_cdc_updated_at"}]
    PublishOperator(task_id="p", source=source, streams=streams, batch="2026-01-01").execute(context("p"))
    DremioPromoteOperator(task_id="d", tables=[f"{BUCKET}.bronze.{source}.{stream}"]).execute(context("d"))


def sync(connection: str) -> None:
    with AirbyteHook() as airbyte:
        job, _ = airbyte.start_sync(airbyte.connection_id(connection))
        while not job.status.is_terminal:
            time.sleep(0.1)
            job = airbyte.job(job.job_id)
        assert job.status is JobStatus.SUCCEEDED


def context(task_id: str) -> dict[str, object]:
    ti = SimpleNamespace(dag_id="it", run_id="r", task_id=task_id, map_index=-1, try_number=1)
    return {"ti": ti}


def test_killed_again_and_again_nothing_lacks_and_the_batch_publishes_each_row_once(
    reach: dict[str, str],
    name: str,
    include: Path,
    lake: DremioHook,  # noqa: F811
) -> None:
    live = f"{BUCKET}.bronze.live.{name}.{name}"
    for connection in (name, f"{name}_off"):
        sync(connection)  # the first one, before anything changes
    assert go_round(name, end_at=0)["outcome"] == "ended"
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["lakehouse.streaming.continuous", "lakehouse.streaming.trigger", __name__])
    over = threading.Event()
    writer = threading.Thread(target=change, args=(reach["SHOP_DB_URL"], name, over))
    compact = CompactLandingOperator(task_id="compact", source=name, streams=[name])
    joined = 0
    answers: list[int] = []
    failed: list[Exception] = []
    reader = threading.Thread(target=ask, args=(lake, live, over, answers, failed))
    writer.start()
    reader.start()
    try:
        for _ in range(KILLS):
            child = processes.Process(target=go_round, args=(name, time.time() + 3600))
            child.start()
            time.sleep(random.uniform(0.5, 2.0))
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
            joined += compact.execute(context("compact"))["before"]
    finally:
        over.set()
        writer.join()
        reader.join()
    assert joined > 0
    assert not failed, f"{len(failed)} of {len(failed) + len(answers)} queries of the live table failed"
    assert answers == sorted(answers) and answers[-1] > 50, "no row is ever missing"
    assert go_round(name, end_at=0)["outcome"] == "ended"  # it may have found a sync that the last child had started
    assert go_round(name, end_at=0)["outcome"] == "ended"

    with closing(psycopg2.connect(reach["SHOP_DB_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT id, v FROM {name}")
        source = dict(cursor.fetchall())
    assert newest(lake, live) == source
    assert compact.execute(context("compact"))["before"] > 1
    before = keys(f"bronze/live/{name}/")
    landing = f"bronze/landing/source={name}"
    bring_up_to_date(
        ObjectStoreHook("minio_default"), BUCKET, landing, f"bronze/live/{name}", [name], datetime.now(UTC)
    )
    assert before - keys(f"bronze/live/{name}/")
    assert newest(lake, live) == source, "killed before Dremio is told: a query is answered nevertheless"

    sync(f"{name}_off")
    for connection in (name, f"{name}_off"):
        batch(connection, name)
    bronze, without = (f"{BUCKET}.bronze.{connection}.{name}" for connection in (name, f"{name}_off"))
    assert newest(lake, bronze) == source
    for mart, query in MARTS.items():
        streamed, batched = (sorted(map(str, lake.query(query.format(table=table)))) for table in (bronze, without))
        assert streamed == batched, f"the mart {mart} is another with streaming"
    published = rows(f"bronze/{name}/{name}/")
    landed = rows(f"bronze/landing/source={name}/{name}/")
    assert sorted(published) == sorted(landed)
    assert len(published) == len(set(published)), "joining has neither lost nor doubled a row"
    assert set(rows(f"bronze/live/{name}/{name}/")) == set(landed)
    before = len(published)
    compact.execute(context("compact"))
    batch(name, name)
    assert len(rows(f"bronze/{name}/{name}/")) == before, "what is published is not joined any more"


def newest(dremio: DremioHook, table: str) -> dict[int, int]:
    return {int(row["id"]): int(row["v"]) for row in dremio.query(NEWEST.format(table=table))}


def keys(prefix: str) -> set[str]:
    return {item.key for item in ObjectStoreHook("minio_default").objects(BUCKET, prefix)}


def rows(prefix: str) -> list[str]:
    """Airbyte's ids of all rows below a prefix."""
    store, found = ObjectStoreHook("minio_default"), []
    client = store.get_conn()
    for item in store.objects(BUCKET, prefix):
        if item.key.endswith(".parquet"):
            body = client.get_object(Bucket=BUCKET, Key=item.key)["Body"].read()
            found += pq.read_table(io.BytesIO(body), columns=["_airbyte_raw_id"])["_airbyte_raw_id"].to_pylist()
    return found
