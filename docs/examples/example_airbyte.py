"""From a source to a table: synced by Airbyte, published by day, read through Dremio.

A task puts a price list into the bucket, once, as a supplier would. Airbyte has the source, the destination and the
connection between them from the files in `include/pipelines`; the sync delivers rows of new files to landing. From
there they are published as one partition per day, whole or not at all, Dremio is told of the table, and a check proves
that every row is there once: after a second run, which finds no new file, too.
"""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.common.sql.operators.sql import SQLCheckOperator
from airflow.sdk import DAG, task

from lakehouse.airbyte.operators import AirbyteApplyOperator, AirbyteSyncOperator
from lakehouse.dremio.operators.catalog import DremioApplyOperator, DremioPromoteOperator
from lakehouse.minio.operators import BucketApplyOperator, PublishOperator

HERE = Path(__file__).parent


@task
def arrive() -> None:
    """Store the price list of a day."""
    from lakehouse.minio.hook import ObjectStoreHook

    store, key = ObjectStoreHook("minio_default"), "examples/inbox/prices_2026-11-24.csv"
    if any(store.objects("datalake", key)):
        return
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("product,price\npen,1.50\nink,4.20\npaper,3.00\n")
        file.flush()
        store.store("datalake", key, Path(file.name))


with DAG(
    "example_airbyte",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["example"],
    doc_md=__doc__,
):
    buckets = BucketApplyOperator(task_id="buckets", declaration=str(HERE / "storage.yaml"))
    lake = DremioApplyOperator(task_id="lake", path=str(HERE / "dremio.yaml"), parts=["sources"])
    connections = AirbyteApplyOperator(task_id="connections", folder=str(HERE / "include" / "pipelines"))
    sync = AirbyteSyncOperator(task_id="sync", connection="example_prices", workspace="examples")
    publish = PublishOperator(
        task_id="publish",
        source="example_prices",
        streams=[{"name": "prices", "batch_date": "file_name"}],
        bucket="datalake",  # as in the files beside this one; without it, the bucket that the connection names
        landing_prefix="examples/landing",
        published_prefix="examples",
    )
    table = DremioPromoteOperator(task_id="table", tables=["examples.example_prices.prices"])
    every_row_once = SQLCheckOperator(
        task_id="every_row_once",
        conn_id="dremio_default",
        sql="SELECT COUNT(*) = 3, SUM(CAST(price AS DECIMAL(10, 2))) = 8.70 FROM examples.example_prices.prices",
    )
    buckets >> lake >> arrive() >> connections >> sync >> publish >> table >> every_row_once
