"""
### CDC streaming: from the source's commit to Dremio within seconds

For the connections of `include/pipelines/connections` with `schedule: continuous`. What they bring is in the tables
`datalake.bronze.live.<connection>.<stream>`: every version of every row that came in the last seven days, duplicates
not excluded. `daily_batch` syncs these connections too and publishes what has landed, as if they were not continuous.

| group | what it does |
|---|---|
| `stream` | one task per connection: syncs, delivers, pauses for 5 s, up to 20 s while nothing comes; for an hour |
| `compact` | joins the many small objects that have landed, before the batch publishes them |

The rounds of `stream` are made in the triggerer: a task that streams is *deferred*. A run lasts an hour, and the next
one begins at once. **To stop it,** pause the DAG and mark the run as failed; what comes meanwhile is read afterwards.

**When a task fails:** it is tried again by itself, from the position that Airbyte has committed, after up to two
minutes; its log says what to repair. Nothing is to be cleared.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, TaskGroup

from lakehouse.airbyte.declared import load_connections
from lakehouse.minio.operators import CompactLandingOperator
from lakehouse.ops.check import refuse_mistakes
from lakehouse.streaming.operators import ContinuousSyncOperator

refuse_mistakes("connections/*.yaml")

RUN = timedelta(hours=1)

connections = [connection for connection in load_connections() if connection.continuous]

if connections:
    with DAG(
        dag_id="cdc_streaming",
        doc_md=__doc__,
        schedule="@continuous",
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        default_args={
            "owner": "data-platform",
            "retries": 30,  # as many as fill the run's hour
            "retry_delay": timedelta(seconds=5),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=2),
            "execution_timeout": timedelta(minutes=30),  # does not count while a task is deferred
        },
        tags=["ingest", "lakehouse", "tier-2"],
    ):
        stream = TaskGroup(
            "stream", doc_md="One task per continuous connection, deferred for as long as the run lasts."
        )
        compact = TaskGroup("compact", doc_md="Small landing objects joined, before they are published.")
        for connection in connections:
            name, streams = connection.name, [item.name for item in connection.streams]
            with stream:
                ContinuousSyncOperator(task_id=name, connection=name, streams=streams, duration=RUN)
            with compact:
                CompactLandingOperator(task_id=name, source=name, streams=streams)
