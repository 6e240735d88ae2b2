"""
### Roll back: show the release before the present one again

For the day on which a batch was released that should not have been. Trigger it by hand; there is nothing to fill in.

| task | what it does |
|---|---|
| `switch` | all views of `gold` back to the other slot, as they were when it was released |
| `invalidate` | what Superset has cached of these views, forgotten |
| `dashboards` | every chart of the declared dashboards computed anew and cached |

It is refused, and nothing changed, when there is no earlier release or when a batch has begun to build over its slot:
then run `daily_batch` again for the day once the cause is repaired. Run a second time it goes forward again. The next
daily batch builds the slot that readers no longer see, so nothing has to be undone.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from lakehouse.dremio.operators.release import DremioRollbackOperator
from lakehouse.ops.check import refuse_mistakes
from lakehouse.superset.operators.invalidate import SupersetInvalidateOperator
from lakehouse.superset.operators.warm_up import SupersetWarmUpOperator

refuse_mistakes("dashboards.yaml")

with DAG(
    dag_id="roll_back",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "owner": "data-platform",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=2),
        "execution_timeout": timedelta(minutes=30),
    },
    tags=["lakehouse", "tier-1"],
):
    switch = DremioRollbackOperator(task_id="switch", multiple_outputs=True)
    released = switch.output["views"]  # type: ignore[index]
    (
        SupersetInvalidateOperator(task_id="invalidate", datasets=released, schema="gold", required=False)
        >> SupersetWarmUpOperator(task_id="dashboards")
    )
