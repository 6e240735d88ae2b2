import time
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from botocore.exceptions import ClientError, EndpointConnectionError

from lakehouse.minio import buckets, operators
from lakehouse.minio.declared import Bucket
from lakehouse.minio.exceptions import ColumnDropped, PublishError, StoreUnreachable, UnsafeKey
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.operators import BucketApplyOperator, PublishOperator
from lakehouse.minio.publish import Published
from lakehouse.ops.explain import explain

CONTEXT = {
    "params": {"batch_date": "2026-11-22"},
    "ti": SimpleNamespace(dag_id="d", run_id="r", task_id="publish.shop", map_index=-1, try_number=1),
}
STREAMS = [{"name": "orders", "batch_date": "updated_at"}, {"name": "items", "batch_date": "updated_at"}]


@pytest.fixture
def published(monkeypatch):
    """What the operator hands to the publisher; streams in `broken` fail."""
    calls = SimpleNamespace(streams=[], facts=[], broken={})

    class Publisher:
        def __init__(self, store, **options):
            calls.options = options

        def publish(self, stream, batch):
            calls.streams.append((stream, batch))
            if stream.name in calls.broken:
                raise calls.broken[stream.name]
            return Published(stream.name, 3, 3, 2, 2, 0, 0, ["2026-11-21", "2026-11-22"])

    monkeypatch.setattr("lakehouse.minio.publish.StreamPublisher", Publisher)
    monkeypatch.setattr("lakehouse.minio.hook.ObjectStoreHook", lambda conn_id: SimpleNamespace(lake="my-lake"))
    monkeypatch.setattr(operators, "record", lambda context, kind, payload: calls.facts.append((kind, payload)))
    return calls


def test_every_stream_is_published_for_the_runs_batch(published):
    result = PublishOperator(task_id="p", source="shop", streams=STREAMS).execute(CONTEXT)
    assert result["rows"] == {"orders": 3, "items": 3}
    assert {batch for _, batch in published.streams} == {"2026-11-22"}
    assert (published.options["bucket"], published.options["landing"]) == ("my-lake", "bronze/landing/source=shop")
    assert published.options["holder"] == ("d/r/publish.shop/-1", 1)
    ((kind, rows),) = published.facts
    assert kind == "rows"
    assert {"stage": "bronze", "dataset": "datalake.bronze.shop.orders", "rows": 3} in rows
    assert {"stage": "landing", "dataset": "shop.orders", "rows": 3} in rows


def test_columns_come_from_the_stream_and_else_from_the_sync(published):
    streams = [STREAMS[0], STREAMS[1] | {"columns": {"own": "date"}}]
    sync = {"orders": {"id": "integer"}, "items": {"id": "integer"}}
    PublishOperator(task_id="p", source="shop", streams=streams, columns=sync).execute(CONTEXT)
    assert {stream.name: stream.columns for stream, _ in published.streams} == {
        "orders": {"id": "integer"},
        "items": {"own": "date"},
    }


def test_a_stream_that_fails_does_not_keep_the_others_back(published):
    published.broken["orders"] = PublishError("orders", "no", "Do.")
    with pytest.raises(PublishError, match="stream orders"):
        PublishOperator(task_id="p", source="shop", streams=STREAMS).execute(CONTEXT)
    assert len(published.streams) == 2
    assert {row["dataset"] for row in published.facts[0][1]} == {"shop.items", "datalake.bronze.shop.items"}


def test_all_failures_are_told(published):
    published.broken |= {name: PublishError(name, "no", "Do.") for name in ("orders", "items")}
    with pytest.raises(ExceptionGroup, match=r"(?s)stream orders.*stream items"):
        PublishOperator(task_id="p", source="shop", streams=STREAMS).execute(CONTEXT)


def test_what_only_a_repair_helps_is_not_retried_for_one_stream_or_for_several(published):
    gone = {name: ColumnDropped(name, ["amount"], "k.parquet", "shop") for name in ("orders", "items")}
    published.broken |= gone
    with pytest.raises(AirflowFailException) as caught:
        PublishOperator(task_id="p", source="shop", streams=STREAMS).execute(CONTEXT)
    told = explain(caught.value)
    assert "stream orders: column 'amount' is gone" in told.what and "stream items: column" in told.what
    assert told.remedy.startswith("Nothing was published. Bring it back")
    with pytest.raises(AirflowFailException):
        PublishOperator(task_id="p", source="shop", streams=STREAMS[:1]).execute(CONTEXT)
    published.broken["items"] = PublishError("items", "no", "Do.")
    with pytest.raises(ExceptionGroup) as mixed:  # the other one may come through
        PublishOperator(task_id="p", source="shop", streams=STREAMS).execute(CONTEXT)
    assert not isinstance(mixed.value, AirflowFailException)


@pytest.mark.timeout(30)
def test_a_task_whose_time_is_over_stops_its_threads(published, monkeypatch):
    class Endless:
        def __init__(self, store, **options):
            self.stopped = options["stopped"]

        def publish(self, stream, batch):
            until = time.monotonic() + 20
            while not self.stopped() and time.monotonic() < until:
                time.sleep(0.01)
            raise PublishError(stream.name, "stopped", "Clear.")

    monkeypatch.setattr("lakehouse.minio.publish.StreamPublisher", Endless)
    started = time.monotonic()
    with pytest.raises(AirflowTaskTimeout), timeout(1):
        PublishOperator(task_id="p", source="shop", streams=STREAMS).execute(CONTEXT)
    assert time.monotonic() - started < 10


def test_buckets_are_made_once(monkeypatch, tmp_path):
    there = set()

    class Store:
        lake = "datalake"

        def __init__(self, conn_id):
            pass

        def ensure_bucket(self, bucket):
            return self._ensure(bucket)

        def ensure_prefix(self, bucket, prefix):
            return self._ensure(f"{bucket}/{prefix}")

        def _ensure(self, name):
            new = name not in there
            there.add(name)
            return new

    monkeypatch.setattr("lakehouse.minio.hook.ObjectStoreHook", Store)
    declared = tmp_path / "storage.yaml"
    declared.write_text("buckets: [{name: lake, prefixes: [bronze, silver]}]")
    apply = BucketApplyOperator(task_id="b", declaration=str(declared))
    nothing = {"made": [], "changed": [], "unsupported": []}
    assert apply.execute({}) == nothing | {"made": ["bucket lake", "lake/bronze", "lake/silver"]}
    assert apply.execute({}) == nothing


class Buckets:
    """An object store that knows buckets and prefixes alone."""

    def __init__(self):
        self.there = set()

    def has_bucket(self, bucket):
        return bucket in self.there

    def has_prefix(self, bucket, prefix):
        assert bucket in self.there, "a bucket that is not there cannot be listed"
        return f"{bucket}/{prefix}" in self.there

    def ensure_bucket(self, bucket):
        return not self.has_bucket(bucket) and not self.there.add(bucket)

    def ensure_prefix(self, bucket, prefix):
        return not self.has_prefix(bucket, prefix) and not self.there.add(f"{bucket}/{prefix}")


def test_a_plan_of_buckets_says_what_apply_then_says_and_makes_nothing():
    store, declared = Buckets(), [Bucket(name="lake", prefixes=["bronze", "silver"])]
    planned = buckets.plan(store, declared)
    assert planned.made == ["bucket lake", "lake/bronze", "lake/silver"] and not store.there
    assert buckets.apply(store, declared) == planned
    store.there.remove("lake/silver")
    assert buckets.plan(store, declared).made == ["lake/silver"]


@pytest.fixture
def hook(monkeypatch):
    conn = '{"conn_type":"aws","login":"key","password":"hidden-word","extra":{"endpoint_url":"http://s3.test:9000","region_name":"us-east-1"}}'
    monkeypatch.setenv("AIRFLOW_CONN_STORE", conn)
    return ObjectStoreHook("store")


def test_the_client_suits_servers_that_are_not_aws(hook):
    config = hook.get_conn().meta.config
    assert config.request_checksum_calculation == "when_required"
    assert config.response_checksum_validation == "when_required"
    assert config.connect_timeout == 5


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(EndpointConnectionError(endpoint_url="http://s3.test:9000"), id="no answer"),
        pytest.param(ClientError({"Error": {"Code": "InvalidAccessKeyId"}}, "ListObjectsV2"), id="wrong key"),
    ],
)
def test_an_unreachable_store_is_told_with_endpoint_and_key_but_no_secret(hook, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(hook.get_conn(), "get_paginator", fail)
    with pytest.raises(StoreUnreachable, match=r"http://s3\.test:9000 \(access key key\)") as told:
        hook.objects("lake", "bronze/")
    assert "hidden-word" not in str(told.value)
    assert "connection store" in str(told.value)


def test_a_key_that_servers_take_for_a_folder_is_refused(hook, tmp_path):
    with pytest.raises(UnsafeKey, match=r"<prefix>/\.keep"):
        hook.store("lake", "silver/", tmp_path / "x")
