"""`lakehouse plan` and `apply` as a person calls them, against the running stack, in a corner of it."""

import os
import subprocess
import sys
import uuid

import pytest

from lakehouse.airbyte.declared import Connection
from lakehouse.airbyte.hook import AirbyteHook
from lakehouse.dremio.hook import DremioHook
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.ops.declarations import load
from tests.integration.lakehouse.airbyte.test_sync import AIRBYTE, CONNECTION

BUCKET = "datalake"


@pytest.fixture(scope="module")
def corner(reach, stack_connections, tmp_path_factory):
    """Name of everything that is declared here; removed afterwards."""
    name = f"it_{uuid.uuid4().hex[:8]}"
    store, hook = ObjectStoreHook(), DremioHook()
    store.ensure_bucket(BUCKET)
    yield name
    hook.run_job(f"DROP TABLE IF EXISTS {name}.orders")
    for path in ([name], [f"{name}_space"]):
        if entity := hook.find_entity(path):
            hook.delete_entity(entity["id"], entity.get("tag"))
    store.remove(BUCKET, [item.key for item in store.objects(BUCKET, f"{name}/")])
    with AirbyteHook() as airbyte:
        for kind in ("connection", "source", "destination"):
            for entry in airbyte.get_conn().all(f"/{kind}s"):
                if entry["name"].startswith(name):
                    airbyte.get_conn().call("DELETE", f"/{kind}s/{entry[f'{kind}Id']}")


@pytest.fixture(scope="module")
def include(corner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("include")
    pipelines = folder / "pipelines"
    (pipelines / "connections").mkdir(parents=True)
    (pipelines / "storage.yaml").write_text(f"buckets: [{{name: {BUCKET}, prefixes: [{corner}/a, {corner}/b]}}]")
    (pipelines / "dremio.yaml").write_text(
        f"sources: [{{name: {corner}, type: S3, connection: minio_default, root_path: /{BUCKET}/{corner}}}]\n"
        f"spaces: [{{name: {corner}_space, description: A corner.}}]\n"
        f"views: [{{path: {corner}_space.days, sql: 'SELECT \"day\" FROM {corner}.orders'}}]\n"
    )
    (pipelines / "reflections.yaml").write_text(
        f"reflections:\n  - {{name: it_agg, dataset: {corner}.orders, type: AGGREGATION, dimensions: [day],\n"
        "     measures: {amount: [SUM]}, refresh_every_hours: 1}\n"
    )
    (pipelines / "airbyte.yaml").write_text(AIRBYTE.format(name=corner, bucket=BUCKET))
    (pipelines / "connections" / f"{corner}.yaml").write_text(CONNECTION.format(name=corner))
    return folder


@pytest.fixture
def lakehouse(include, reach):
    def call(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "lakehouse.cli", *arguments, "--include", str(include)],
            env=dict(os.environ) | {"AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        text = done.stdout + done.stderr
        for name in ("DREMIO_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AIRBYTE_CLIENT_SECRET"):
            assert reach[name] not in text, f"{name} is in the output"
        return done.returncode, text

    return call


def test_what_differs_is_shown_then_made_then_nothing_is_left(lakehouse, corner):
    assert lakehouse("check")[0] == 0
    code, planned = lakehouse("plan")
    assert code == 2, planned
    assert f"  ~ create {BUCKET}/{corner}/a" in planned
    assert f"  ~ create source {corner}" in planned
    assert f"  . reflection it_agg: {corner}.orders is not built yet" in planned
    assert f"  ~ connection {corner}: created" in planned
    assert "superset: nothing is declared" in planned
    hook = DremioHook()
    assert hook.find_entity([corner]) is None, "a plan changes nothing"

    code, applied = lakehouse("apply")
    assert code == 1, "the view's table is not there yet"
    assert f"! create view {corner}_space.days: " in applied and f"  * create source {corner}" in applied
    assert f"  * connection {corner}: created" in applied, "what failed keeps no other back"

    hook.run_job(f"CREATE TABLE {corner}.orders AS SELECT CAST('2026-11-24' AS DATE) AS \"day\", 1.5 AS amount")
    code, applied = lakehouse("apply")
    assert code == 0, applied
    assert f"  * create view {corner}_space.days" in applied
    assert f"  * create reflection it_agg on {corner}.orders" in applied
    code, planned = lakehouse("plan")
    assert code == 0 and "~" not in planned, planned

    entity = hook.find_entity([f"{corner}_space"])
    hook.set_wiki(entity["id"], "Something else.", hook.get_wiki(entity["id"]).get("version"))
    code, planned = lakehouse("plan", "--only", "dremio")
    assert code == 2 and f"  ~ update space {corner}_space: description differs" in planned
    assert lakehouse("apply", "--only", "dremio")[0] == 0
    assert lakehouse("plan", "--only", "dremio")[0] == 0


def test_a_service_that_is_away_fails_and_is_named(lakehouse, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", '{"conn_type": "airbyte", "host": "http://127.0.0.1:9"}')
    code, text = lakehouse("plan", "--only", "buckets,airbyte", "--airbyte-conn-id", "nowhere")
    assert code == 1 and "airbyte: failed" in text and "127.0.0.1:9" in text
    assert "buckets: as declared" in text


def test_a_new_connection_is_written_from_what_the_source_offers(lakehouse, corner, include):
    name = f"{corner}_new"
    options = ("--name", name, "--type", "postgres", "--connection", "shop_db", "--schedule", "6h")
    code, text = lakehouse("new-connection", *options)
    assert code == 0, text
    path = include / "pipelines" / "connections" / f"{name}.yaml"
    declared = load(path, Connection)
    orders = next(stream for stream in declared.streams if stream.name == "orders")
    assert (declared.tier, orders.cursor_field, orders.primary_key) == ("6h", "updated_at", ["order_id"])
    planned = lakehouse("plan", "--only", "airbyte")[1]
    # the source that was asked is the one that is declared, secrets and all
    assert f"connection {name}: created" in planned and f"source {name}" not in planned
    path.unlink()
