"""Syncs and declarations on the running Airbyte, in a workspace and a corner of the lake of these tests' own."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.airbyte.apply import apply
from lakehouse.airbyte.declared import load_declarations
from lakehouse.airbyte.exceptions import AirbyteAuthError, AirbyteHttpError, AirbyteUnreachable
from lakehouse.airbyte.hook import AirbyteHook
from lakehouse.airbyte.operators import AirbyteSyncOperator
from lakehouse.airbyte.trigger import AirbyteJobTrigger
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.ops import records

pytestmark = pytest.mark.usefixtures("own_database")
BUCKET = "datalake"

AIRBYTE = """
workspace: {name}
destinations:
  - name: {name}_lake
    type: s3
    connection: minio_default
    from_connection:
      access_key_id: login
      secret_access_key: password
      s3_endpoint: extra.endpoint_url
      s3_bucket_region: extra.region_name
    configuration:
      s3_bucket_name: {bucket}
      s3_bucket_path: {name}/landing
      s3_path_format: ${{NAMESPACE}}/${{STREAM_NAME}}/${{YEAR}}_${{MONTH}}_${{DAY}}_${{EPOCH}}_
      format: {{format_type: Parquet, compression_codec: SNAPPY}}
"""
CONNECTION = """
name: {name}
source:
  type: postgres
  connection: shop_db
  from_connection: {{host: host, port: port, database: schema, username: login, password: password}}
  configuration:
    schemas: [public]
    ssl_mode: {{mode: prefer}}
    replication_method: {{method: Standard}}
    tunnel_method: {{tunnel_method: NO_TUNNEL}}
destination: {name}_lake
namespace_format: source=shop
streams:
  - {{name: products, sync_mode: incremental_deduped_history, cursor_field: updated_at, primary_key: [product_id],
     batch_date: updated_at}}
"""


@pytest.fixture(scope="module")
def name() -> str:
    return f"it_{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def declared(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    (folder / "airbyte.yaml").write_text(AIRBYTE.format(name=name, bucket=BUCKET))
    (folder / "connections").mkdir()
    (folder / "connections" / f"{name}.yaml").write_text(CONNECTION.format(name=name))
    return folder


@pytest.fixture(scope="module")
def airbyte(stack_connections: None, name: str) -> Iterator[AirbyteHook]:
    with AirbyteHook("airbyte_default") as hook:
        yield hook
        client = hook.get_conn()
        workspaces = [space["workspaceId"] for space in client.all("/workspaces") if space["name"] == name]
        for kind in ("connections", "sources", "destinations"):
            for workspace in workspaces:
                for entry in client.all(f"/{kind}", {"workspaceIds": workspace}):
                    client.call("DELETE", f"/{kind}/{entry[f'{kind[:-1]}Id']}")
    store = ObjectStoreHook("minio_default")
    store.remove(BUCKET, [item.key for item in store.objects(BUCKET, f"{name}/")])


@pytest.fixture(scope="module")
def connection_id(airbyte: AirbyteHook, declared: Path, name: str) -> str:
    declarations = load_declarations(declared)
    changes = apply(airbyte.get_conn(), declarations, BaseHook.get_connection)
    assert f"connection {name}: created" in changes
    assert apply(airbyte.get_conn(), declarations, BaseHook.get_connection) == []
    return airbyte.connection_id(name, workspace=name)


class Store(dict):
    """task_state_store in memory."""

    def set(self, key, value, **_):
        self[key] = value

    def delete(self, key):
        self.pop(key, None)


def context(run_id: str) -> dict:
    ti = SimpleNamespace(
        dag_id="d", run_id=run_id, task_id="extract.shop", map_index=-1, try_number=1, xcom_push=lambda key, value: None
    )
    return {"ti": ti, "task_state_store": Store()}


def sync(name: str, **options) -> AirbyteSyncOperator:
    return AirbyteSyncOperator(task_id="shop", connection=name, workspace=name, **options)


async def waited(trigger: AirbyteJobTrigger) -> dict:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("no event")


def test_a_sync_tells_rows_and_types_per_stream(name, connection_id):
    result = sync(name, worker_seconds=60).execute(context(name))
    assert result["rows"] > 0 and result["streams"] == {"products": result["rows"]}
    assert result["columns"]["products"]["product_id"] == "integer"
    assert result["columns"]["products"]["updated_at"] == "timestamp"
    (row,) = records.collect("d", name)["rows"]
    assert row == {"stage": "source", "dataset": f"{name}.products", "rows": result["rows"]}


async def test_deferred_its_end_is_seen_within_two_seconds(name, connection_id, airbyte):
    with pytest.raises(TaskDeferred) as deferred:
        sync(name, worker_seconds=0).execute(context("deferred"))
    trigger = deferred.value.trigger
    event = await waited(AirbyteJobTrigger(**trigger.serialize()[1]))
    seen = time.time()
    assert event["outcome"] == "ended" and event["status"] == "succeeded"
    ended = airbyte.get_conn().config("/jobs/get_without_logs", {"id": event["job_id"]})["job"]["updatedAt"]
    assert seen - ended < 2 + 1  # the API's time is in whole seconds
    result = sync(name).execute_complete(context("deferred"), event)
    assert result["job_id"] == event["job_id"]


def test_two_tasks_at_once_share_one_sync(name, connection_id, airbyte):
    job, attached = airbyte.start_sync(connection_id)
    again, found = airbyte.start_sync(connection_id)
    assert not attached
    assert (found, again.job_id) == (True, job.job_id) or airbyte.job(job.job_id).status.is_terminal


def test_a_task_that_lost_its_worker_finds_its_job(name, connection_id):
    running = context("lost")
    with pytest.raises(TaskDeferred) as deferred:
        sync(name, worker_seconds=0).execute(running)
    result = sync(name, worker_seconds=60).execute(running)
    assert result["job_id"] == deferred.value.trigger.job_id


def test_after_a_clear_all_rows_are_read_anew(name, connection_id):
    whole = sync(name, worker_seconds=60, clear_first=True).execute(context("cleared"))
    assert sync(name, worker_seconds=60).execute(context("after"))["rows"] < whole["rows"]
    assert sync(name, worker_seconds=60, clear_first=True).execute(context("again"))["rows"] == whole["rows"] > 0


def test_wrong_credentials_are_told_without_the_secret(reach, monkeypatch):
    wrong = {"conn_type": "airbyte", "host": reach["AIRBYTE_URL"], "login": "nobody", "password": "hidden-word"}
    import json

    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(wrong))
    with pytest.raises(AirbyteAuthError, match="client id nobody") as error, AirbyteHook("wrong") as hook:
        hook.connection_id("postgres")
    assert "hidden-word" not in str(error.value)


def test_an_airbyte_that_is_away_is_told_within_seconds(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", '{"conn_type": "airbyte", "host": "http://127.0.0.1:1/api/public/v1"}')
    begun = time.monotonic()
    with pytest.raises(AirbyteUnreachable, match=r"http://127\.0\.0\.1:1"), AirbyteHook("away") as hook:
        hook.connection_id("postgres")
    assert time.monotonic() - begun < 10


def test_a_source_that_refuses_the_login_is_told_without_the_secret(airbyte, name, tmp_path, declared):
    folder = tmp_path / "pipelines"
    (folder / "connections").mkdir(parents=True)
    (folder / "airbyte.yaml").write_text((declared / "airbyte.yaml").read_text())
    broken = (declared / "connections" / f"{name}.yaml").read_text().replace(f"name: {name}\n", f"name: {name}_x\n")
    (folder / "connections" / f"{name}_x.yaml").write_text(broken)
    conn = BaseHook.get_connection("shop_db")
    wrong = SimpleNamespace(
        host=conn.host, port=conn.port, schema=conn.schema, login="nobody", password="hidden-word", extra_dejson={}
    )

    def connection(conn_id):
        return wrong if conn_id == "shop_db" else BaseHook.get_connection(conn_id)

    with pytest.raises(AirbyteHttpError) as error:
        apply(airbyte.get_conn(), load_declarations(folder), connection)
    assert "nobody" in str(error.value) and "hidden-word" not in str(error.value)


def test_the_form_can_test_the_connection(airbyte, connection_id, name):
    well, message = airbyte.test_connection()
    assert well and name in message
