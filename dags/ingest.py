"""
### Ingest: sources brought to bronze between the daily batches

One DAG for each tier that a connection of `include/pipelines/connections` names under `schedule`: `ingest_15m`,
`ingest_6h`, `ingest_daily`, and one for each other cron. Times are UTC. A connection with `schedule: manual` is synced
by `daily_batch` alone; `daily_batch` syncs the others too.

| group | what it does |
|---|---|
| `extract` | one Airbyte sync per connection of the tier, side by side; one that runs already is waited for |
| `publish` | what has landed, by day, to `bronze/<source>/<stream>/date=<day>/` |
| `catalog` | promotes new folders in Dremio, refreshes the others |

**Beside the daily batch:** while a run of `daily_batch` is under way, `publish` and `catalog` are skipped, because the
batch reads bronze in several steps and must find it as it has published it. The sync still lands; the first run after
the batch publishes what has landed meanwhile.

**When a task fails:** repair what its message says and clear it, or leave it to the next run: each publishes all that
has landed.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, TaskGroup, chain

from lakehouse.airbyte.declared import load_connections
from lakehouse.airbyte.operators import AirbyteSyncOperator
from lakehouse.dremio.operators.catalog import DremioPromoteOperator
from lakehouse.minio.operators import PublishOperator
from lakehouse.ops import turn
from lakehouse.ops.check import refuse_mistakes

refuse_mistakes("connections/*.yaml")

SYNC_LIMIT = timedelta(minutes=90)
TODAY = "{{ (dag_run.logical_date or dag_run.run_after) | ds }}"  # of snapshots; the batch of that day replaces them

connections = load_connections()

for tier in sorted({connection.tier for connection in connections if connection.tier}):
    members = [connection for connection in connections if connection.tier == tier]
    with DAG(
        dag_id=f"ingest_{tier}",
        dag_display_name=f"ingest {members[0].schedule}",
        doc_md=__doc__,
        schedule=members[0].cron,
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,  # a sync reads all that is new, whenever it was due
        max_active_runs=1,
        max_active_tasks=4,
        default_args={
            "owner": "data-platform",
            "retries": 3,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=2),  # the tries of a cleared task go on counting
            "execution_timeout": timedelta(minutes=30),
        },
        tags=["ingest", "lakehouse", "tier-2"],
    ):
        extract = TaskGroup("extract", doc_md="One Airbyte sync per connection of the tier.")
        publish = TaskGroup("publish", doc_md="What landed, by day, to bronze. Skipped while `daily_batch` runs.")
        catalog = TaskGroup("catalog", doc_md="Folders of bronze promoted or refreshed in Dremio.")
        for connection in members:
            name, streams = connection.name, connection.published_streams()
            with extract:
                # the limit of the sync itself: execution_timeout does not count while the task is deferred
                sync = AirbyteSyncOperator(
                    task_id=name,
                    connection=name,
                    timeout=SYNC_LIMIT,
                    execution_timeout=SYNC_LIMIT + timedelta(minutes=5),
                )
            if not streams:  # delivered elsewhere than to the lake
                continue
            with publish:
                columns = sync.output["columns"]  # type: ignore[index]  # for streams that have never had a row
                by_day = PublishOperator(
                    task_id=name,
                    source=name,
                    streams=streams,
                    columns=columns,
                    batch=TODAY,
                    pre_execute=turn.leave_to("daily_batch"),
                )
            with catalog:
                tables = [f"datalake.bronze.{name}.{stream['name']}" for stream in streams]
                promoted = DremioPromoteOperator(task_id=name, tables=tables)
            chain(sync, by_day, promoted)
