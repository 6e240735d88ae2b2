"""The DAG of a tier really runs, by Airflow's own `dag.test()`: from the shop's table to a table of Dremio."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from airflow.sdk import BaseHook

from lakehouse.airbyte.apply import apply
from lakehouse.airbyte.declared import load_declarations
from lakehouse.airbyte.hook import AirbyteHook
from lakehouse.dremio.hook import DremioHook
from lakehouse.dremio.operators.catalog import DremioApplyOperator
from lakehouse.minio.hook import ObjectStoreHook

REPOSITORY = Path(__file__).resolve().parents[3]
BUCKET = "datalake"
AIRBYTE = """
workspace: {name}
destinations:
  - name: {name}
    type: s3
    connection: minio_default
    from_connection:
      access_key_id: login
      secret_access_key: password
      s3_endpoint: extra.endpoint_url
      s3_bucket_region: extra.region_name
    configuration:
      s3_bucket_name: datalake
      s3_bucket_path: bronze/landing
      s3_path_format: ${{NAMESPACE}}/${{STREAM_NAME}}/${{YEAR}}_${{MONTH}}_${{DAY}}_${{EPOCH}}_
      format: {{format_type: Parquet, compression_codec: SNAPPY}}
"""
CONNECTION = """
name: {name}
source:
  type: postgres
  connection: shop_db
  from_connection: {{host: host, port: port, database: schema, username: login, password: password}}
  configuration: {{schemas: [public]}}
destination: {name}
schedule: 15m
namespace_format: source={name}
streams:
  - {{name: products, sync_mode: incremental_deduped_history, cursor_field: updated_at, primary_key: [product_id],
     batch_date: updated_at}}
"""
# Twice; the second time while a run of daily_batch is under way.
RUN = """
import datetime, json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.models import DagRun
from airflow.utils.session import create_session

bag = DagBag(dag_folder=sys.argv[1])
assert not bag.import_errors, bag.import_errors
(dag,) = bag.dags.values()
for under_way in (False, True):
    if under_way:
        now = datetime.datetime.now(datetime.UTC)
        with create_session() as session:
            session.add(DagRun(dag_id="daily_batch", run_id="it", run_type="manual", run_after=now, state="running"))
    run = dag.test()
    print("STATES", json.dumps([dag.dag_id, {ti.task_id: str(ti.state) for ti in run.get_task_instances()}]))
"""


def declared(name: str, connections: dict[str, str], folder: Path) -> Path:
    """Declarations in that folder, of a workspace with these connections (name -> text); applied to Airbyte."""
    (folder / "pipelines" / "connections").mkdir(parents=True)
    (folder / "pipelines" / "airbyte.yaml").write_text(AIRBYTE.format(name=name))
    for connection, text in connections.items():
        (folder / "pipelines" / "connections" / f"{connection}.yaml").write_text(text)
    with AirbyteHook() as airbyte:
        apply(airbyte.get_conn(), load_declarations(folder / "pipelines"), BaseHook.get_connection)
    return folder


def empty_workspace(name: str) -> None:
    """Remove what `declared` has made in Airbyte."""
    with AirbyteHook() as airbyte:
        client, workspace = airbyte.get_conn(), airbyte.workspace_id(name)
        for kind in ("connections", "sources", "destinations"):
            for entry in client.all(f"/{kind}", {"workspaceIds": workspace}):
                client.call("DELETE", f"/{kind}/{entry[f'{kind[:-1]}Id']}")


@pytest.fixture(scope="module")
def name(reach: dict[str, str], own_database: str, stack_connections: None) -> Iterator[str]:
    """A workspace, a connection and a source of the lake of these tests' own; removed afterwards."""
    name = f"it_{uuid.uuid4().hex[:8]}"
    yield name
    dremio, store = DremioHook(), ObjectStoreHook("minio_default")
    for folder in (f"bronze/{name}/", f"bronze/landing/source={name}/"):
        store.remove(BUCKET, [item.key for item in store.objects(BUCKET, folder)])
    empty_workspace(name)
    table = dremio.find_entity(["datalake", "bronze", name, "products"])
    if table is not None:
        dremio.delete_entity(table["id"], table.get("tag"))


@pytest.fixture(scope="module")
def include(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return declared(name, {name: CONNECTION.format(name=name)}, tmp_path_factory.mktemp("include"))


@pytest.fixture
def lake(name: str, include: Path) -> Iterator[DremioHook]:
    """Dremio with the source `datalake`, which is there already where the pipeline has run."""
    dremio = DremioHook()
    there = dremio.find_entity(["datalake"])
    if there is None:
        source = "{name: datalake, type: S3, connection: minio_default, root_path: /datalake, config: {%s: true}}"
        (include / "datalake.yaml").write_text(f"sources: [{source % 'isPartitionInferenceEnabled'}]")
        DremioApplyOperator(task_id="a", path=str(include / "datalake.yaml"), parts=["sources"]).execute({})
    yield dremio
    if there is None:
        made = dremio.find_entity(["datalake"])
        dremio.delete_entity(made["id"], made.get("tag"))


def test_a_tier_delivers_and_leaves_bronze_alone_while_the_batch_runs(
    name, include, lake, small_airflow, reach, tmp_path
):
    shutil.copy(REPOSITORY / "dags" / "ingest.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        env=os.environ
        | small_airflow
        | {"LAKEHOUSE_INCLUDE": str(include), "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    states = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("STATES ")]
    tasks = [f"{group}.{name}" for group in ("extract", "publish", "catalog")]
    assert states == [
        ["ingest_15m", dict.fromkeys(tasks, "success")],
        ["ingest_15m", dict(zip(tasks, ("success", "skipped", "skipped"), strict=True))],
    ], done.stdout[-8000:] + done.stderr[-4000:]
    with psycopg2.connect(reach["SHOP_DB_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT updated_at::date) FROM products")
        expected = cursor.fetchone()
    (found,) = lake.query(
        f'SELECT COUNT(DISTINCT product_id) AS n, COUNT(DISTINCT "date") AS days FROM datalake.bronze.{name}.products'
    )
    assert (int(found["n"]), int(found["days"])) == expected
    for secret in ("DREMIO_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AIRBYTE_CLIENT_SECRET"):
        assert reach[secret] not in done.stdout + done.stderr, f"{secret} is in the log"
