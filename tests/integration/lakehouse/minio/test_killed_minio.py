"""Buckets and retention, killed after their writes and run again: the end is that of an unbroken run."""

import json
import uuid

import pytest

from lakehouse.minio.operators import BucketApplyOperator
from lakehouse.minio.retention import RetentionOperator
from tests.integration.lakehouse.killing import Tries, killed_after_its_writes

DAYS = ["2020-01-01", "2020-01-02", "2020-01-03"]  # the newest of a table stays, however old it is


@pytest.fixture
def bucket(store):
    name = f"it-{uuid.uuid4().hex[:8]}"
    yield name
    if store.has_bucket(name):
        empty(store, name)


def empty(store, name):
    store.remove(name, [item.key for item in store.objects(name, "")])
    store.get_conn().delete_bucket(Bucket=name)


def test_buckets(store, bucket, tmp_path):
    declared = tmp_path / "storage.yaml"
    declared.write_text(f"buckets: [{{name: {bucket}, prefixes: [bronze/landing, silver, gold]}}]")

    def fresh():
        if store.has_bucket(bucket):
            empty(store, bucket)

    def seen():
        return [store.has_prefix(bucket, prefix) for prefix in ("bronze/landing", "silver", "gold")]

    task = Tries(lambda: BucketApplyOperator(task_id="buckets", declaration=str(declared)), tmp_path / "store.json")
    assert killed_after_its_writes(task, fresh, seen) >= 4
    assert seen() == [True] * 3 and task.run()["made"] == []


def test_retention(store, bucket, tmp_path, monkeypatch):
    """Whoever goes by a manifest finds all of the batch or no manifest, also in the middle of a removal."""
    monkeypatch.setattr("lakehouse.minio.hook._DELETE_LIMIT", 2)
    store.ensure_bucket(bucket)
    batches = {day: [f"exports/orders/batch={day}/part-{number}" for number in range(3)] for day in DAYS}
    manifests = {day: f"exports/orders/batch={day}/_manifest.json" for day in DAYS}

    def fresh():
        for day in DAYS:
            for key in (*batches[day], manifests[day]):
                store.get_conn().put_object(Bucket=bucket, Key=key, Body=json.dumps(batches[day]).encode())

    def seen():
        return [item.key for item in store.objects(bucket, "")]

    def readers():
        there = set(seen())
        assert all(set(batches[day]) <= there for day in DAYS if manifests[day] in there)

    task = Tries(
        lambda: RetentionOperator(task_id="retention", bucket=bucket, keep_days={"exports/orders/": 30}),
        tmp_path / "store.json",
    )
    assert killed_after_its_writes(task, fresh, seen, readers) >= 4
    assert seen() == sorted([*batches[DAYS[-1]], manifests[DAYS[-1]]])
