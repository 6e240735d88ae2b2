"""Compaction on the running object store: beside a reader, with kills, and beside Dremio's tables."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.dremio.hook import DremioHook
from lakehouse.dremio.operators.catalog import DremioApplyOperator
from lakehouse.minio.exceptions import CannotCompact
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.operators import CompactOperator

pytestmark = pytest.mark.usefixtures("own_database")
PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
BUCKET = "datalake"
OBJECTS, ROWS = 40, 500


@pytest.fixture
def corner(store):
    """A prefix of the test's own with a folder of small objects; everything below it is removed afterwards."""
    prefix = f"it_{uuid.uuid4().hex[:8]}"
    for number in range(OBJECTS):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"id": range(number * ROWS, (number + 1) * ROWS)}), buffer)
        key = f"{prefix}/clicks/day=2026-11-24/{number:03}.parquet"
        store.get_conn().put_object(Bucket=BUCKET, Key=key, Body=buffer.getvalue())
    yield prefix
    store.remove(BUCKET, [item.key for item in store.objects(BUCKET, f"{prefix}/")])


def names(store, corner):
    return [item.key.rpartition("/")[2] for item in store.objects(BUCKET, f"{corner}/clicks/")]


def ids(store, corner):
    """All ids that a reader finds, by a listing and the objects that it names; None if one was gone by then."""
    found = []
    for item in store.objects(BUCKET, f"{corner}/clicks/"):
        if item.key.endswith(".parquet"):
            try:
                body = store.get_conn().get_object(Bucket=BUCKET, Key=item.key)["Body"].read()
            except store.get_conn().exceptions.NoSuchKey:
                return None
            found += pq.read_table(io.BytesIO(body))["id"].to_pylist()
    return sorted(found)


def compact(corner, layer="gold"):
    ti = SimpleNamespace(dag_id="d", run_id=corner, task_id="compact", map_index=-1, try_number=1)
    return CompactOperator(task_id="compact", bucket=BUCKET, prefix=f"{corner}/", layer=layer).execute({"ti": ti})


def test_many_small_objects_become_one_while_others_read(store, corner):
    done, seen = threading.Event(), []

    def read():
        reader = ObjectStoreHook("minio_default")
        while not done.is_set():
            seen.append(ids(reader, corner))

    reading = threading.Thread(target=read)
    reading.start()
    try:
        result = compact(corner)
    finally:
        done.set()
        reading.join()
    assert (result["before"], result["after"], result["rows"]) == (OBJECTS, 1, OBJECTS * ROWS)
    (name,) = names(store, corner)
    assert name.startswith("compacted-")
    assert ids(store, corner) == list(range(OBJECTS * ROWS))
    whole = set(range(OBJECTS * ROWS))
    assert all(set(found) == whole for found in seen if found is not None)
    assert compact(corner)["before"] == 0 and names(store, corner) == [name]


KILLED = """
import sys
from types import SimpleNamespace
from lakehouse.minio.operators import CompactOperator
corner = sys.argv[1]
ti = SimpleNamespace(dag_id="d", run_id=corner, task_id="compact", map_index=-1, try_number=1)
print("ready", flush=True)
CompactOperator(task_id="compact", bucket="datalake", prefix=f"{corner}/", layer="gold").execute({"ti": ti})
"""


def test_killed_the_next_run_makes_it_whole(store, corner):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, corner],
        env=os.environ | {"PYTHONPATH": str(PLUGINS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if any(name.startswith("compacted-") for name in names(store, corner)):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(name.startswith(("_compaction", "compacted-")) for name in names(store, corner))
    assert set(ids(store, corner)) == set(range(OBJECTS * ROWS))
    compact(corner)
    (name,) = names(store, corner)
    assert name.startswith("compacted-") and ids(store, corner) == list(range(OBJECTS * ROWS))


def test_the_files_of_a_table_of_dremios_are_refused(store, corner, tmp_path):
    declared = tmp_path / "dremio.yaml"
    declared.write_text(
        f"sources: [{{name: {corner}, type: S3, connection: minio_default, root_path: /{BUCKET}/{corner}}}]"
    )
    DremioApplyOperator(task_id="apply", path=str(declared), parts=["sources"]).execute({})
    dremio = DremioHook("dremio_default")
    try:
        for row in (1, 2):
            dremio.query(f"CREATE TABLE IF NOT EXISTS {corner}.lake.orders (id INT)")
            dremio.query(f"INSERT INTO {corner}.lake.orders SELECT {row} AS id")
        before = store.objects(BUCKET, f"{corner}/lake/")
        assert len([item for item in before if item.key.endswith(".parquet")]) > 1
        with pytest.raises(CannotCompact, match="OPTIMIZE TABLE"):
            compact(f"{corner}/lake")
        assert store.objects(BUCKET, f"{corner}/lake/") == before
    finally:
        dremio.query(f"DROP TABLE {corner}.lake.orders")
        dremio.delete_entity(dremio.find_entity([corner])["id"])
