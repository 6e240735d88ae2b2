"""
### Platform setup: make the services what the repository declares

Applies `include/pipelines/` to whatever the Airflow connections point at: buckets, Dremio's sources and spaces,
Airbyte's workspace and connections, Superset's database, datasets and dashboards, the tables of the run records.
Started by hand (`make up` does) after a change of a declaration or of a connection.

Applying twice changes nothing; the task `summary` says what was changed. Nothing is ever removed. The views of the
space `bronze` need the tables under them and are applied by `daily_batch`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

from lakehouse.airbyte.operators import AirbyteApplyOperator
from lakehouse.dremio.operators.catalog import DremioApplyOperator
from lakehouse.minio.operators import BucketApplyOperator
from lakehouse.ops import database
from lakehouse.ops.check import refuse_mistakes
from lakehouse.ops.schema import ensure_schema
from lakehouse.superset.operators.apply import SupersetApplyOperator

refuse_mistakes()  # everything under include/pipelines is applied here


@task
def run_records() -> None:
    """Make the tables of the run records, or bring them up to date."""
    ensure_schema(database.dsn("lakehouse_db"))


@task
def summary(**context: Any) -> dict[str, list[str]]:
    """Say what was changed, service by service."""
    changes: dict[str, list[str]] = {}
    for task_id, keys in (
        ("buckets", ("made", "changed")),
        ("airbyte", ("changes",)),
        ("dremio", ("changed",)),
        ("superset", ()),  # a list
    ):
        done = context["ti"].xcom_pull(task_ids=task_id) or []
        found = [item for key in keys for item in done.get(key, [])] if isinstance(done, dict) else done
        changes[task_id] = list(found)
        print(f"{task_id}: {'; '.join(changes[task_id]) or 'nothing changed'}")
    return changes


with DAG(
    dag_id="platform_setup",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "owner": "data-platform",
        "retries": 3,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=2),
        "execution_timeout": timedelta(minutes=10),
    },
    tags=["setup", "lakehouse", "tier-1"],
):
    buckets = BucketApplyOperator(task_id="buckets")
    dremio = DremioApplyOperator(task_id="dremio", parts=["sources", "spaces", "folders"])
    airbyte = AirbyteApplyOperator(task_id="airbyte")
    superset = SupersetApplyOperator(task_id="superset")

    buckets >> [dremio, airbyte]
    dremio >> superset
    [airbyte, superset, run_records()] >> summary()
