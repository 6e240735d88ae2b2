"""
### Daily batch: from the sources to warm dashboards

Runs at 01:00 UTC for the day before. A manual run takes its day from the form (empty: yesterday).

| group | what it does |
|---|---|
| `extract` | one Airbyte sync per connection, side by side |
| `publish` | what has landed, by day, to `bronze/<source>/<stream>/date=<day>/` |
| `catalog` | promotes new folders in Dremio, refreshes the others, applies the views of `bronze` |
| `staging`, `intermediate`, `marts` | dbt, a task per model with its own tests; marts in the slot that nobody reads |
| `quality` | tests over several models: reconciliation, relationships, the document's data tests; stale sources |
| `reflections` | refreshed on the new slot, waited for, checked to accelerate |
| `release` | all views of `gold` switched to the new slot |
| `dashboards` | cached results of the last release forgotten, every chart of every declared dashboard warmed |
| `report` | the run's record; runs always, fails if a group failed |

**When a group fails:** repair what its message says, click the group in the run's column, *Clear*, keep
*Downstream* on. Every task may run again: it finds what it has already done. Readers of `gold` see the last
release until a run has passed its tests.

**One run at a time.** A run waits until those before it have ended, in `extract.wait_for_turn` or, if a later group
of it was cleared, in the first tasks of that group; the log of a waiting task says for which run.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, chain, task
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from lakehouse.airbyte.declared import load_connections
from lakehouse.airbyte.operators import AirbyteSyncOperator
from lakehouse.dbt.groups import layer, models_in
from lakehouse.dbt.operators import DbtSourceFreshnessOperator, DbtTestOperator
from lakehouse.dremio.hook import DremioHook
from lakehouse.dremio.operators.catalog import DremioApplyOperator, DremioPromoteOperator
from lakehouse.dremio.operators.reflections import DremioRefreshReflectionsOperator
from lakehouse.dremio.operators.release import DremioClaimSlotOperator, DremioReleaseOperator
from lakehouse.minio.operators import PublishOperator
from lakehouse.ops import batch, deadlines, records, turn
from lakehouse.ops.check import refuse_mistakes
from lakehouse.ops.report import ReportOperator
from lakehouse.superset.operators.invalidate import SupersetInvalidateOperator
from lakehouse.superset.operators.warm_up import SupersetWarmUpOperator

refuse_mistakes("connections/*.yaml", "dremio.yaml", "reflections.yaml", "dashboards.yaml", "daily_batch.yaml")

SYNC_LIMIT = timedelta(minutes=90)
END_OF_BATCH = "{{ batch_date(dag_run, params) + macros.timedelta(days=1) }}"
SLOT = "{{ ti.xcom_pull(task_ids='marts.claim_slot') }}"
DEADLINE = timedelta(hours=3, minutes=45)  # 04:45 UTC
QUARANTINED = """
SELECT dataset_name, reason, COUNT(*) AS row_count
FROM "intermediate"."int_quarantined_rows"
GROUP BY dataset_name, reason ORDER BY dataset_name, reason
"""


@task
def wait_for_turn() -> None:
    """Let the runs before this one end first. It does nothing by itself: every task asks before it begins."""


@task
def count_quarantined(**context: Any) -> list[dict[str, Any]]:
    """Record what was refused and why, for the report."""
    counts = [  # over REST, whose every request has a limit: Airflow cannot interrupt a wait for Flight
        {"dataset": row["dataset_name"], "reason": row["reason"], "rows": int(row["row_count"])}
        for row in DremioHook("dremio_default").query(QUARANTINED)
    ]
    records.record(context, "quarantined", counts)
    return counts


with DAG(
    dag_id="daily_batch",
    doc_md=__doc__,
    schedule="0 1 * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # does not count the runs of a backfill, see lakehouse.ops.turn
    max_active_tasks=4,  # the dbt tasks share the machine with what they wait for
    params={
        "batch_date": Param(
            None, type=["null", "string"], format="date", title="Batch date", description="Empty: the day before."
        )
    },
    default_args={
        "owner": "data-platform",
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=2),  # the tries of a cleared task go on counting
        "execution_timeout": timedelta(minutes=30),
        "pre_execute": turn.take,
    },
    deadline=DeadlineAlert(
        name="04:45 UTC",
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=DEADLINE,
        callback=SyncCallback(
            deadlines.missed, kwargs={"promise": "released by 04:45 UTC", "minutes": DEADLINE.total_seconds() / 60}
        ),
    ),
    user_defined_macros=batch.macros(),
    tags=["batch", "lakehouse", "tier-1"],
):
    extract = TaskGroup("extract", doc_md="One Airbyte sync per connection of `include/pipelines/connections`.")
    publish = TaskGroup("publish", doc_md="What landed, by day, to `bronze/<source>/<stream>/date=<day>/`.")
    catalog = TaskGroup("catalog", doc_md="Folders of bronze promoted or refreshed in Dremio; views of `bronze`.")

    with extract:
        my_turn = wait_for_turn()
    with catalog:
        views = DremioApplyOperator(task_id="views", parts=["views"])

    for connection in load_connections():
        name, streams = connection.name, connection.published_streams()
        with extract:
            # the limit of the sync itself: execution_timeout does not count while the task is deferred
            sync = AirbyteSyncOperator(
                task_id=name,
                connection=name,
                fresh_since=END_OF_BATCH,  # a sync of the connection's tier may be under way
                timeout=SYNC_LIMIT,
                execution_timeout=SYNC_LIMIT + timedelta(minutes=5),
            )
        chain(my_turn, sync)
        if not streams:  # delivered elsewhere than to the lake
            continue
        with publish:
            columns = sync.output["columns"]  # type: ignore[index]  # for streams that have never had a row
            by_day = PublishOperator(task_id=name, source=name, streams=streams, columns=columns)
        with catalog:
            tables = [f"datalake.bronze.{name}.{stream['name']}" for stream in streams]
            promoted = DremioPromoteOperator(task_id=name, tables=tables)
        chain(sync, by_day, promoted, views)

    staging = layer("staging", doc_md="Views in the space `staging`: typed, the newest version of each row.")
    intermediate = layer("intermediate", doc_md="Joined and reshaped: `datalake.silver` and space `intermediate`.")
    marts = layer(
        "marts", slot=SLOT, builds_slot=True, doc_md="The marts, in the slot of `datalake.gold` that nobody reads."
    )
    first_models = list(marts.get_roots())
    with marts:
        DremioClaimSlotOperator(task_id="claim_slot") >> first_models

    with TaskGroup("quality", doc_md="Tests over several models, stale sources, and what was quarantined.") as quality:
        DbtTestOperator(task_id="dbt_tests", select="tag:quality", slot=SLOT)
        DbtSourceFreshnessOperator(task_id="source_freshness")
        count_quarantined()

    with TaskGroup("reflections", doc_md="Reflections of the new slot, refreshed and seen to work.") as reflections:
        DremioRefreshReflectionsOperator(task_id="refresh")

    with TaskGroup("release", doc_md="All views of `gold` switched to the new slot.") as release:
        switch = DremioReleaseOperator(task_id="switch", marts=models_in("marts"), multiple_outputs=True)

    with TaskGroup("dashboards", doc_md="Old results forgotten, declared dashboards cached.") as dashboards:
        released = switch.output["views"]  # type: ignore[index]
        (
            SupersetInvalidateOperator(task_id="invalidate", datasets=released, schema="gold", required=False)
            >> SupersetWarmUpOperator(task_id="warm_up")
        )

    with TaskGroup("report", doc_md="The run's record. Runs always; fails if a group failed.") as report:
        ReportOperator(task_id="report", trigger_rule="all_done", pre_execute=None)  # it only tells: no need to wait

    steps = [catalog, staging, intermediate, marts, quality, reflections, release, dashboards]
    chain(*steps)
    [extract, publish, *steps] >> report  # of each, so that the report waits for what still runs beside a failure
