"""A query's result as objects, and objects into a table: each batch once.

`export` writes the batch to Parquet objects and commits them by a manifest; `load` copies exactly these into an Iceberg
table. Run again, the export replaces its batch and the load finds that it is there.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from lakehouse.dremio.operators.catalog import DremioApplyOperator
from lakehouse.dremio.operators.sql import DremioSqlOperator
from lakehouse.minio.operators import BucketApplyOperator
from lakehouse.transfers.dremio_to_minio import DremioToMinioOperator
from lakehouse.transfers.minio_to_dremio import MinioToDremioOperator

HERE = Path(__file__).parent
BATCH = "2026-11-24"
ORDERS = "SELECT CAST(id AS BIGINT) AS id, 1.5 AS amount FROM (VALUES (1), (2), (3)) AS orders(id)"
TABLE = "examples.transfers.orders"

with DAG(
    "example_transfers",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["example"],
    doc_md=__doc__,
):
    buckets = BucketApplyOperator(task_id="buckets", declaration=str(HERE / "storage.yaml"))
    lake = DremioApplyOperator(task_id="lake", path=str(HERE / "dremio.yaml"), parts=["sources"])
    table = DremioSqlOperator(
        task_id="table",
        sql=f"CREATE TABLE IF NOT EXISTS {TABLE} (id BIGINT, amount DECIMAL(10, 2), _batch VARCHAR)",
        idempotent=True,
    )
    export = DremioToMinioOperator(
        task_id="export", sql=ORDERS, bucket="datalake", prefix="examples/exports/orders", batch=BATCH
    )
    load = MinioToDremioOperator(
        task_id="load",
        table=TABLE,
        source="examples",
        bucket="datalake",
        prefix="examples/exports/orders",
        batch=BATCH,
    )
    buckets >> lake >> table >> export >> load
