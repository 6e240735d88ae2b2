"""The object store: wait for objects, see what lies where, hand out links.

One task writes a small batch of objects. A sensor waits for one of them by a pattern, another until the batch has
come to rest; then the storage is reported, links are made by which a person without keys can download the batch for
ten minutes, and batches older than thirty days are removed (the newest stays).
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from lakehouse.dremio.operators.catalog import DremioApplyOperator
from lakehouse.minio.operators import BucketApplyOperator
from lakehouse.minio.report_operators import DownloadLinksOperator, StorageReportOperator
from lakehouse.minio.retention import RetentionOperator
from lakehouse.minio.sensors import ObjectSensor, PrefixSensor
from lakehouse.transfers.dremio_to_minio import DremioToMinioOperator

HERE = Path(__file__).parent
BATCH = "examples/exports/days/batch=2026-11-24/"

with DAG(
    "example_object_store",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["example"],
    doc_md=__doc__,
):
    buckets = BucketApplyOperator(task_id="buckets", declaration=str(HERE / "storage.yaml"))
    lake = DremioApplyOperator(task_id="lake", path=str(HERE / "dremio.yaml"), parts=["sources"])
    export = DremioToMinioOperator(
        task_id="export",
        sql="SELECT DATE '2026-11-24' AS \"day\", 1.5 AS amount",
        bucket="datalake",
        prefix="examples/exports/days",
        batch="2026-11-24",
        file_format="csv",
    )
    first = ObjectSensor(task_id="first", bucket="datalake", key=f"{BATCH}part-*.csv", timeout=600)
    at_rest = PrefixSensor(
        task_id="at_rest",
        bucket="datalake",
        prefix=BATCH,
        min_age=7,  # seconds without a write
        newer_than="{{ dag_run.run_after }}",
        poke_interval=2,
        timeout=600,
    )
    storage = StorageReportOperator(task_id="storage", bucket="datalake", prefix="examples/", depth=2)
    links = DownloadLinksOperator(
        task_id="links", bucket="datalake", prefix="{{ ti.xcom_pull('export')['folder'] }}", seconds=600
    )
    retention = RetentionOperator(task_id="retention", bucket="datalake", keep_days={"examples/exports/days/": 30})
    buckets >> lake >> export >> [first, at_rest] >> storage >> links >> retention
