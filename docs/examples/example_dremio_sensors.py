"""Wait for Dremio: a table with the day's rows, a job, a reflection.

One task builds a small table. Three sensors then wait, in the triggerer, without holding a worker: for the day's
partition, for the job that built it, and for the table's reflection to hold data of this run.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from lakehouse.dremio.operators.catalog import DremioApplyOperator
from lakehouse.dremio.operators.reflections import DremioRefreshReflectionsOperator
from lakehouse.dremio.operators.sql import DremioSqlOperator
from lakehouse.dremio.sensors import DremioJobSensor, DremioReflectionSensor, DremioTableSensor
from lakehouse.minio.operators import BucketApplyOperator

HERE = Path(__file__).parent
DAY = "2026-11-24"
TABLE = "examples.sensors.orders"

with DAG(
    "example_dremio_sensors",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["example"],
    doc_md=__doc__,
):
    buckets = BucketApplyOperator(task_id="buckets", declaration=str(HERE / "storage.yaml"))
    lake = DremioApplyOperator(task_id="lake", path=str(HERE / "dremio.yaml"), parts=["sources"])
    build = DremioSqlOperator(
        task_id="build",
        sql=[
            f"DROP TABLE IF EXISTS {TABLE}",
            f"CREATE TABLE {TABLE} AS SELECT CAST('{DAY}' AS DATE) AS \"day\", 7 AS id, 1.5 AS amount",
        ],
    )
    day_is_there = DremioTableSensor(
        task_id="day_is_there", table=TABLE, partition={"day": DAY}, poke_interval=5, timeout=600
    )
    job_is_done = DremioJobSensor(
        task_id="job_is_done",
        job_id="{{ ti.xcom_pull('build')['statements'][-1]['job_id'] }}",
        timeout=600,
    )
    accelerate = DremioRefreshReflectionsOperator(
        task_id="accelerate", path=str(HERE / "reflections.yaml"), slot="a", timeout=300
    )
    is_fast = DremioReflectionSensor(
        task_id="is_fast",
        dataset=TABLE,
        name="examples_orders_by_day",
        newer_than="{{ dag_run.run_after }}",
        timeout=600,
    )
    buckets >> lake >> build >> [day_is_there, job_is_done] >> accelerate >> is_fast
