"""Publishing on the running object store, with kills."""

import io
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.operators import BucketApplyOperator, PublishOperator
from lakehouse.ops import records

pytestmark = pytest.mark.usefixtures("own_database")
PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
BUCKET = "datalake"
START = datetime(2026, 8, 25, tzinfo=UTC)
DAYS = 60
ROWS = 20_000


@pytest.fixture(scope="module")
def store(stack_connections: None) -> ObjectStoreHook:
    return ObjectStoreHook("minio_default")


@pytest.fixture
def corner(store: ObjectStoreHook) -> Iterator[str]:
    """A prefix of the test's own; everything below it is removed afterwards."""
    store.ensure_bucket(BUCKET)
    prefix = f"it_{uuid.uuid4().hex[:8]}"
    yield prefix
    store.remove(BUCKET, [item.key for item in store.objects(BUCKET, f"{prefix}/")])


def land(store: ObjectStoreHook, corner: str, name: str, rows: int, first_day: int, days: int) -> None:
    """A landing object with rows spread over some days, in no order."""
    draw = random.Random(name)
    first = START + timedelta(days=first_day)
    changed = [first + timedelta(seconds=draw.randrange(days * 86400)) for _ in range(rows)]
    table = pa.table(
        {
            "_airbyte_raw_id": [f"{name}-{number}" for number in range(rows)],
            "_airbyte_extracted_at": pa.array([first] * rows, pa.timestamp("ms", "UTC")),
            "_airbyte_generation_id": pa.array([0] * rows, pa.int64()),
            "id": pa.array(range(rows), pa.int64()),
            "updated_at": pa.array(changed, pa.timestamp("us", "UTC")),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy")
    key = f"{corner}/landing/source=shop/orders/{name}.parquet"
    store.get_conn().put_object(Bucket=BUCKET, Key=key, Body=buffer.getvalue())


def operator(corner: str) -> PublishOperator:
    return PublishOperator(
        task_id="shop",
        source="shop",
        streams=[{"name": "orders", "batch_date": "updated_at"}],
        landing_prefix=f"{corner}/landing",
        published_prefix=corner,
    )


def context(run_id: str) -> dict:
    ti = SimpleNamespace(dag_id="d", run_id=run_id, task_id="publish.shop", map_index=-1, try_number=1)
    return {"params": {"batch_date": "2026-11-22"}, "ti": ti}


def rows_by_day(store: ObjectStoreHook, corner: str) -> dict[str, list[str]]:
    """Day -> sorted raw ids of what is published."""
    found: dict[str, list[str]] = {}
    for item in store.objects(BUCKET, f"{corner}/shop/orders/"):
        body = store.get_conn().get_object(Bucket=BUCKET, Key=item.key)["Body"].read()
        ids = pq.read_table(io.BytesIO(body), columns=["_airbyte_raw_id"])["_airbyte_raw_id"].to_pylist()
        found.setdefault(item.key.split("date=")[1][:10], []).extend(ids)
    return {day: sorted(ids) for day, ids in found.items()}


def test_every_row_is_in_its_day_once(store, corner):
    land(store, corner, "a", ROWS, 0, DAYS)
    result = operator(corner).execute(context(corner))
    (stream,) = result["streams"]
    assert (stream["rows"], stream["partitions"], stream["written"]) == (ROWS, DAYS, DAYS)
    rows = rows_by_day(store, corner)
    assert len(rows) == DAYS and sum(map(len, rows.values())) == ROWS == len(set().union(*rows.values()))
    before = store.objects(BUCKET, f"{corner}/shop/")
    assert operator(corner).execute(context(corner))["streams"][0]["written"] == 0
    assert store.objects(BUCKET, f"{corner}/shop/") == before
    counted = {row["stage"]: row["rows"] for row in records.collect("d", corner)["rows"]}
    assert counted == {"landing": ROWS, "bronze": ROWS}


def test_a_single_day_is_copied_inside_the_server(store, corner):
    land(store, corner, "a", 500, 3, 1)
    (stream,) = operator(corner).execute(context(corner))["streams"]
    assert (stream["copied"], stream["written"]) == (1, 0)
    (published,) = store.objects(BUCKET, f"{corner}/shop/")
    (landed,) = store.objects(BUCKET, f"{corner}/landing/")
    assert (published.size, published.etag) == (landed.size, landed.etag)


KILLED = """
import sys
from types import SimpleNamespace
from lakehouse.minio.operators import PublishOperator
corner = sys.argv[1]
ti = SimpleNamespace(dag_id="d", run_id=corner, task_id="publish.shop", map_index=-1, try_number=1)
operator = PublishOperator(task_id="shop", source="shop", streams=[{"name": "orders", "batch_date": "updated_at"}],
    landing_prefix=f"{corner}/landing", published_prefix=corner)
print("ready", flush=True)
operator.execute({"params": {"batch_date": "2026-11-22"}, "ti": ti})
"""


def killed_after(objects: int, store: ObjectStoreHook, corner: str) -> int:
    """Publish in a process of its own; kill -9 it when that many objects are there. Returns how many were."""
    environment = os.environ | {"PYTHONPATH": str(PLUGINS)}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, corner], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 60
    there = 0
    while there < objects and process.poll() is None and time.monotonic() < deadline:
        there = len(store.objects(BUCKET, f"{corner}/shop/"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(store.objects(BUCKET, f"{corner}/shop/"))


@pytest.mark.parametrize("objects", [0, 1, 25])
def test_killed_at_any_instant_the_next_try_makes_it_whole(store, corner, objects):
    land(store, corner, "a", ROWS, 0, DAYS)
    there = killed_after(objects, store, corner)
    assert there >= objects
    begun = time.monotonic()
    operator(corner).execute(context(corner))
    assert time.monotonic() - begun < 20  # the dead try's lease is this task's own: no waiting for its end
    rows = rows_by_day(store, corner)
    assert len(rows) == DAYS and sum(map(len, rows.values())) == ROWS
    assert len(store.objects(BUCKET, f"{corner}/shop/")) == DAYS  # and nothing left over


def test_out_of_order_is_the_same_as_in_order(store, corner):
    land(store, corner, "a", 2000, 0, 10)
    land(store, corner, "b", 300, 12, 1)
    operator(corner).execute(context(corner))
    land(store, corner, "c", 300, 5, 3)  # late rows
    operator(corner).execute(context(corner))
    in_steps = {item.key: item.etag for item in store.objects(BUCKET, f"{corner}/shop/")}
    store.remove(BUCKET, list(in_steps))
    operator(corner).execute(context(corner))
    at_once = {item.key: item.etag for item in store.objects(BUCKET, f"{corner}/shop/")}
    assert at_once == in_steps


def test_buckets_as_declared_and_again(store, tmp_path):
    name = f"it-{uuid.uuid4().hex[:8]}"
    declared = tmp_path / "storage.yaml"
    declared.write_text(f"buckets: [{{name: {name}, prefixes: [bronze/landing, silver]}}]")
    apply = BucketApplyOperator(task_id="buckets", declaration=str(declared))
    try:
        assert apply.execute({})["made"] == [f"bucket {name}", f"{name}/bronze/landing", f"{name}/silver"]
        assert apply.execute({})["made"] == []
        land_below = f"silver/x/{uuid.uuid4().hex}.txt"
        store.get_conn().put_object(Bucket=name, Key=land_below, Body=b"x")  # the prefix is no file in its way
        assert [item.key for item in store.objects(name, "silver/x/")] == [land_below]
    finally:
        store.remove(name, [item.key for item in store.objects(name, "")])
        store.get_conn().delete_bucket(Bucket=name)
