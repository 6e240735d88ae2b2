"""Airbyte's operators, killed after their writes and run again: the end is that of an unbroken run."""

import io
import time

import pyarrow.parquet as pq
import pytest
from airflow.sdk import BaseHook

from lakehouse.airbyte.apply import plan
from lakehouse.airbyte.declared import load_declarations
from lakehouse.airbyte.operators import AirbyteApplyOperator, AirbyteSyncOperator
from lakehouse.minio.hook import ObjectStoreHook
from tests.integration.lakehouse.airbyte.test_sync import (  # noqa: F401
    BUCKET,
    airbyte,
    connection_id,
    declared,
    name,
)
from tests.integration.lakehouse.killing import Tries, killed_after_its_writes

pytestmark = pytest.mark.usefixtures("own_database")
KINDS = ("sources", "destinations", "connections")


def of_workspace(client, name, kind):  # noqa: F811
    spaces = [space["workspaceId"] for space in client.all("/workspaces") if space["name"] == name]
    return [entry for space in spaces for entry in client.all(f"/{kind}", {"workspaceIds": space})]


def test_sync(airbyte, connection_id, name, reach, tmp_path):  # noqa: F811
    """The sync that a dead try has started is taken over, known or not; no row lacks, none runs on."""
    store = ObjectStoreHook("minio_default")

    def fresh():
        while airbyte.running_job(connection_id):
            time.sleep(0.1)

    def seen():
        ids = set()
        for item in store.objects(BUCKET, f"{name}/landing/"):
            body = store.get_conn().get_object(Bucket=BUCKET, Key=item.key)["Body"].read()
            ids.update(pq.read_table(io.BytesIO(body), columns=["product_id"])["product_id"].to_pylist())
        return airbyte.running_job(connection_id), len(ids)

    task = Tries(lambda: AirbyteSyncOperator(task_id="sync", connection=name, workspace=name), tmp_path / "store.json")
    assert killed_after_its_writes(task, fresh, seen) >= 2
    assert seen()[1] > 0


def test_apply(airbyte, name, declared, tmp_path):  # noqa: F811
    client = airbyte.get_conn()

    def fresh():
        for kind in reversed(KINDS):
            for entry in of_workspace(client, name, kind):
                client.call("DELETE", f"/{kind}/{entry[f'{kind[:-1]}Id']}")

    def seen():
        there = [sorted(entry["name"] for entry in of_workspace(client, name, kind)) for kind in KINDS]
        return there, plan(client, load_declarations(declared), BaseHook.get_connection)

    task = Tries(lambda: AirbyteApplyOperator(task_id="apply", folder=str(declared)), tmp_path / "store.json")
    assert killed_after_its_writes(task, fresh, seen) >= 3
    assert seen() == ([[name], [f"{name}_lake"], [name]], []) and task.run() == {"changes": []}
