"""Small objects: many arrive, one is left, and Dremio reads the same rows.

A task stores forty small Parquet objects, as a stream of clicks would in as many minutes. They are joined into one, in
the codec and the row groups of their layer, Dremio is told to look at the folder again, and a check proves that every
row is there once.
"""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.common.sql.operators.sql import SQLCheckOperator
from airflow.sdk import DAG, task

from lakehouse.dremio.operators.catalog import DremioApplyOperator, DremioPromoteOperator
from lakehouse.minio.operators import BucketApplyOperator, CompactOperator

HERE = Path(__file__).parent
FOLDER = "examples/clicks/day=2026-11-24/"


@task
def arrive() -> None:
    """Store forty objects, in place of what an earlier run has left."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lakehouse.minio.hook import ObjectStoreHook

    store = ObjectStoreHook("minio_default")
    store.remove("datalake", [item.key for item in store.objects("datalake", FOLDER)])
    with tempfile.TemporaryDirectory() as place:
        for minute in range(40):
            path = Path(place) / f"{minute:02}.parquet"
            pq.write_table(pa.table({"minute": [minute] * 25, "visitor": list(range(25))}), path)
            store.store("datalake", FOLDER + path.name, path)


with DAG(
    "example_compaction",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["example"],
    doc_md=__doc__,
):
    buckets = BucketApplyOperator(task_id="buckets", declaration=str(HERE / "storage.yaml"))
    lake = DremioApplyOperator(task_id="lake", path=str(HERE / "dremio.yaml"), parts=["sources"])
    compact = CompactOperator(task_id="compact", bucket="datalake", prefix="examples/clicks/", layer="silver")
    look_again = DremioPromoteOperator(task_id="look_again", tables=["examples.clicks"])
    every_row_once = SQLCheckOperator(
        task_id="every_row_once",
        conn_id="dremio_default",
        sql="SELECT COUNT(*) = 1000, COUNT(DISTINCT minute * 100 + visitor) = 1000 FROM examples.clicks",
    )
    buckets >> lake >> arrive() >> compact >> look_again >> every_row_once
