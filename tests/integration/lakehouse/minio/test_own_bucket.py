"""A lake in a bucket of another name, which the Airflow connection alone tells: from landing to a table of Dremio."""

import io
import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.dremio.hook import DremioHook
from lakehouse.dremio.operators.catalog import DremioApplyOperator, DremioPromoteOperator
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.operators import BucketApplyOperator, CompactLandingOperator, PublishOperator
from lakehouse.ops import records

pytestmark = pytest.mark.usefixtures("own_database")
DAY = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def name(stack_connections: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a bucket, which nothing but the connection has, and of Dremio's source; both are removed afterwards."""
    name = f"it-{uuid.uuid4().hex[:8]}"
    connection = json.loads(os.environ["AIRFLOW_CONN_MINIO_DEFAULT"])
    connection["extra"]["service_config"] = {"s3": {"bucket_name": name}}
    monkeypatch.setenv("AIRFLOW_CONN_MINIO_DEFAULT", json.dumps(connection))
    yield name
    dremio, store = DremioHook(), ObjectStoreHook()
    if (source := dremio.find_entity([name])) is not None:
        dremio.delete_entity(source["id"], source.get("tag"))
    store.remove(name, [item.key for item in store.objects(name, "")])
    store.get_conn().delete_bucket(Bucket=name)


def land(store: ObjectStoreHook, number: int) -> None:
    """An object as Airbyte lands it, with one row."""
    row = {"_airbyte_raw_id": f"{number}", "_airbyte_extracted_at": DAY, "_airbyte_generation_id": 0, "id": number}
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row | {"updated_at": DAY}]), buffer)
    key = f"bronze/landing/source=shop/orders/2026_11_22_{int(DAY.timestamp()) * 1000 + number}_0.parquet"
    store.get_conn().put_object(Bucket=store.lake, Key=key, Body=buffer.getvalue())


def test_the_connection_alone_says_which_bucket(name: str, tmp_path: Path) -> None:
    ti = SimpleNamespace(dag_id="d", run_id=name, task_id="t", map_index=-1, try_number=1)
    context = {"params": {"batch_date": "2026-11-22"}, "ti": ti}
    (tmp_path / "storage.yaml").write_text("buckets: [{prefixes: [bronze/landing]}]")
    source = f"{{name: {name}, type: S3, connection: minio_default, config: {{isPartitionInferenceEnabled: true}}}}"
    (tmp_path / "dremio.yaml").write_text(f"sources: [{source}]")

    made = BucketApplyOperator(task_id="b", declaration=str(tmp_path / "storage.yaml")).execute(context)["made"]
    assert made == [f"bucket {name}", f"{name}/bronze/landing"]
    for number in range(40):
        land(ObjectStoreHook(), number)
    joined = CompactLandingOperator(task_id="c", source="shop", streams=["orders"]).execute(context)
    assert joined == {"before": 40, "after": 1, "rows": 40}
    streams = [{"name": "orders", "batch_date": "updated_at"}]
    assert PublishOperator(task_id="p", source="shop", streams=streams).execute(context)["rows"] == {"orders": 40}
    # in the report it stands under the name that the source has in dremio.yaml, whatever the bucket is called
    bronze = [row["dataset"] for row in records.collect("d", name)["rows"] if row["stage"] == "bronze"]
    assert bronze == ["datalake.bronze.shop.orders"]
    DremioApplyOperator(task_id="a", path=str(tmp_path / "dremio.yaml"), parts=["sources"]).execute(context)
    DremioPromoteOperator(task_id="d", tables=[f"{name}.bronze.shop.orders"]).execute(context)
    (found,) = DremioHook().query(f'SELECT COUNT(DISTINCT id) AS n, MIN("date") AS d FROM "{name}".bronze.shop.orders')
    assert (int(found["n"]), str(found["d"])[:10]) == (40, "2026-11-22")
