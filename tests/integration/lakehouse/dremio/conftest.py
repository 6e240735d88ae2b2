"""A corner of the running stack for these tests alone: a Dremio source, spaces, objects and a journal of their own.

Everything made here is removed again; the pipeline's own data is neither read nor touched.
"""

import io
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.config import Config

from lakehouse.dremio import release
from lakehouse.dremio.exceptions import DremioError
from lakehouse.dremio.hook import DremioHook
from lakehouse.ops import database, schema

BUCKET = "datalake"


@pytest.fixture(scope="session")
def hook(stack_connections: None) -> DremioHook:
    return DremioHook("dremio_default")


@pytest.fixture(scope="module")
def corner(hook: DremioHook, reach: dict[str, str]) -> Iterator[str]:
    """Name of a source and prefix that this module has to itself; the source is not made yet."""
    name = f"it_{uuid.uuid4().hex[:8]}"
    yield name
    for path in ([name], [f"{name}_space"]):
        entity = hook.find_entity(path)
        if entity is not None:
            hook.delete_entity(entity["id"], entity.get("tag"))
    bucket = _s3(reach).Bucket(BUCKET)
    for item in bucket.objects.filter(Prefix=f"{name}/"):
        item.delete()


@pytest.fixture(scope="module")
def put_parquet(reach: dict[str, str], corner: str) -> Callable[[str, dict[str, list[Any]]], None]:
    """Writes a Parquet object below the corner's prefix: key and columns."""

    def put(key: str, columns: dict[str, list[Any]]) -> None:
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer, compression="snappy")
        _s3(reach).Object(BUCKET, f"{corner}/{key}").put(Body=buffer.getvalue())

    return put


def _s3(reach: dict[str, str]) -> Any:
    config = Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"})
    return boto3.resource(
        "s3",
        endpoint_url=reach["S3_ENDPOINT_URL"],
        aws_access_key_id=reach["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=reach["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=config,
    )


@pytest.fixture(scope="module")
def lake(hook: DremioHook, corner: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The corner's source and space, made by the operator that the pipeline uses."""
    from lakehouse.dremio.operators.catalog import DremioApplyOperator

    path = tmp_path_factory.mktemp("declared") / "dremio.yaml"
    path.write_text(
        f"sources:\n  - {{name: {corner}, type: S3, connection: minio_default, root_path: /{BUCKET}/{corner},\n"
        "     config: {isPartitionInferenceEnabled: true}}\n"
        f"spaces:\n  - {{name: {corner}_space}}\n"
    )
    DremioApplyOperator(task_id="apply", path=str(path)).execute({})
    return corner


@pytest.fixture
def own_records(reach: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run records, leases and release journal in a database schema of the test's own."""
    url = reach["LAKEHOUSE_DB_URL"]
    name = f"it_{uuid.uuid4().hex[:8]}"

    def connect(dsn: str, *, autocommit: bool = True) -> Any:
        connection = psycopg2.connect(dsn, options=f"-c search_path={name} -c timezone=UTC")
        connection.autocommit = autocommit
        return connection

    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {name}")
    monkeypatch.setenv("LAKEHOUSE_DB_URL", url)
    monkeypatch.setattr(database, "connect", connect)
    monkeypatch.setattr(schema, "connect", connect)
    monkeypatch.setattr(schema, "_ready", set())
    yield
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def own_gold(hook: DremioHook, lake: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The corner in the place of datalake.gold and of the space gold, with marts in both slots."""
    space = f"{lake}_space"
    monkeypatch.setattr(release, "LAKE", f"{lake}.gold")
    monkeypatch.setattr(release, "SPACE", space)
    for slot, amount in (("a", 1), ("b", 2)):
        for mart in ("orders", "customers"):
            table = f'"{lake}"."gold"."slot_{slot}"."{mart}"'
            hook.run_job(f"DROP TABLE IF EXISTS {table}")
            hook.run_job(f"CREATE TABLE {table} AS SELECT 7 AS id, {amount} AS amount, 1 AS _built")
    yield space
    for slot in "ab":
        for mart in ("orders", "customers"):
            hook.run_job(f'DROP TABLE IF EXISTS "{lake}"."gold"."slot_{slot}"."{mart}"')
    for mart in ("orders", "customers"):
        try:
            hook.run_job(f'DROP VIEW "{space}"."{mart}"')
        except DremioError as error:  # the test may have made none
            assert "not found" in str(error).lower() or "unknown" in str(error).lower(), error


@pytest.fixture
def context_of() -> Callable[..., dict[str, Any]]:
    """A task's context, as far as the operators read it; `store` outlives a try."""

    def make(run_id: str = "manual__it", task_id: str = "it", store: Any = None) -> dict[str, Any]:
        ti = SimpleNamespace(
            dag_id="it",
            task_id=task_id,
            run_id=run_id,
            try_number=1,
            map_index=-1,
            xcom_push=lambda key, value: None,
        )
        return {"ti": ti, "task_state_store": store}

    return make
