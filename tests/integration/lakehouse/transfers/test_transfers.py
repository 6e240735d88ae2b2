"""From Dremio to objects and back on the running stack, with kills."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from lakehouse.dremio.operators.catalog import DremioApplyOperator
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.transfers.dremio_to_minio import DremioToMinioOperator
from lakehouse.transfers.exceptions import TransferError
from lakehouse.transfers.minio_to_dremio import MinioToDremioOperator
from tests.integration.lakehouse.dremio.conftest import (  # noqa: F401
    BUCKET,
    context_of,
    corner,
    hook,
)
from tests.integration.lakehouse.dremio.test_reflections import run
from tests.integration.lakehouse.dremio.test_sql_operator import DIGITS, Store

MILLION = ", ".join(f"{DIGITS} AS t{n}(x)" for n in range(6))
NUMBERS = " + ".join(f"t{n}.x * {10**n}" for n in range(6))
KINDS = (
    "SELECT CAST(1 AS BIGINT) AS id, CAST('2026-11-24' AS DATE) AS \"day\", CAST(1.50 AS DECIMAL(10, 2)) AS amount, "
    "CAST('2026-11-24 03:04:05' AS TIMESTAMP) AS \"at\", 'it''s; a \"name\"' AS name, TRUE AS ok"
)


@pytest.fixture(scope="module")
def store():
    made = ObjectStoreHook("minio_default")
    made.ensure_bucket(BUCKET)
    return made


@pytest.fixture(scope="module")
def lake(hook, store, corner, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("declared") / "dremio.yaml"
    path.write_text(
        f"sources:\n  - {{name: {corner}, type: S3, connection: minio_default, root_path: /{BUCKET}/{corner}}}\n"
    )
    DremioApplyOperator(task_id="apply", path=str(path), parts=["sources"]).execute({})
    return corner


def export(lake, sql, name="numbers", **kwargs):
    return DremioToMinioOperator(
        task_id="it", sql=sql, bucket=BUCKET, prefix=f"{lake}/exports/{name}", batch="2026-11-24", **kwargs
    )


def load(lake, table, name="numbers", **kwargs):
    return MinioToDremioOperator(
        task_id="it",
        table=table,
        source=lake,
        bucket=BUCKET,
        prefix=f"{lake}/exports/{name}",
        batch="2026-11-24",
        **kwargs,
    )


def body(store, key):
    return store.get_conn().get_object(Bucket=BUCKET, Key=key)["Body"].read()


def parts(store, found):
    return json.loads(body(store, found["manifest"]))["parts"]


@pytest.fixture
def table(hook, lake):  # noqa: F811
    path = f"{lake}.loaded.t"
    hook.run_job(f"DROP TABLE IF EXISTS {path}")
    yield path
    hook.run_job(f"DROP TABLE IF EXISTS {path}")


def test_a_million_rows_are_streamed_into_files_of_a_bounded_size(store, lake, context_of):  # noqa: F811
    found = export(lake, f"SELECT {NUMBERS} AS id FROM {MILLION}", rows_per_file=300_000).execute(context_of())
    assert found["rows"] == 1_000_000 and [part["rows"] for part in parts(store, found)] == [300_000] * 3 + [100_000]
    ids = set()
    for part in parts(store, found):
        ids.update(pq.read_table(io.BytesIO(body(store, found["folder"] + part["name"])))["id"].to_pylist())
    assert len(ids) == 1_000_000


def test_a_batch_run_again_leaves_nothing_of_the_first(store, lake, context_of):  # noqa: F811
    first = export(lake, "SELECT 1 AS id", "again").execute(context_of())
    second = export(lake, "SELECT 2 AS id", "again").execute(context_of())
    keys = {item.key for item in store.objects(BUCKET, first["folder"])}
    assert keys == {second["manifest"], *(second["folder"] + part["name"] for part in parts(store, second))}


def test_a_query_that_fails_leaves_the_batch_as_it_was(store, lake, context_of):  # noqa: F811
    before = export(lake, "SELECT 1 AS id", "failing").execute(context_of())
    with pytest.raises(TransferError, match="no_such_column"):
        export(lake, "SELECT no_such_column FROM (VALUES (1)) AS t(x)", "failing").execute(context_of())
    assert json.loads(body(store, before["manifest"]))["attempt"] == before["attempt"]
    assert len(store.objects(BUCKET, before["folder"])) == 2


@pytest.mark.parametrize(
    ("file_format", "compression"), [("parquet", "zstd"), ("parquet", "snappy"), ("csv", "none"), ("csv", "gzip")]
)
def test_there_and_back_again(hook, store, lake, table, context_of, file_format, compression):  # noqa: F811
    name = f"kinds_{file_format}_{compression}"
    export(lake, KINDS, name, file_format=file_format, compression=compression).execute(context_of())
    hook.run_job(f"CREATE TABLE {table} AS SELECT k.*, CAST(NULL AS VARCHAR) AS _batch FROM ({KINDS}) AS k WHERE 1 = 0")
    assert run(load(lake, table, name), context_of(store=Store())) == {
        "table": table,
        "batch": "2026-11-24",
        "rows": 1,
        "loaded": True,
    }
    (there,) = hook.query(f"SELECT * FROM {table}")
    (wanted,) = hook.query(KINDS)
    assert there == wanted | {"_batch": "2026-11-24"}


def test_a_batch_is_loaded_once_and_replaced_when_asked_to(hook, store, lake, table, context_of):  # noqa: F811
    hook.run_job(f"CREATE TABLE {table} AS SELECT CAST(0 AS BIGINT) AS id, 'old' AS _batch")
    export(lake, "SELECT CAST(x AS BIGINT) AS id FROM (VALUES (1),(2)) AS t(x)", "once").execute(context_of())
    assert run(load(lake, table, "once"), context_of(store=Store()))["loaded"] is True
    assert run(load(lake, table, "once"), context_of(store=Store()))["loaded"] is False
    assert hook.query(f"SELECT COUNT(*) AS n FROM {table}") == [{"n": 3}]

    export(lake, "SELECT CAST(x AS BIGINT) AS id FROM (VALUES (7),(8),(9)) AS t(x)", "once").execute(context_of())
    with pytest.raises(TransferError, match="it has 2 rows of batch 2026-11-24, its manifest counts 3"):
        run(load(lake, table, "once"), context_of(store=Store()))
    assert run(load(lake, table, "once", replace=True), context_of(store=Store()))["rows"] == 3
    assert hook.query(f"SELECT SUM(id) AS n FROM {table}") == [{"n": 24}]
    left = hook.query(f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{lake}.loaded'")
    assert [row["TABLE_NAME"] for row in left] == ["t"]


def test_a_file_that_was_damaged_leaves_the_replaced_batch_alone(hook, store, lake, table, context_of):  # noqa: F811
    hook.run_job(f"CREATE TABLE {table} AS SELECT CAST(1 AS BIGINT) AS id, '2026-11-24' AS _batch")
    found = export(lake, "SELECT CAST(x AS BIGINT) AS id FROM (VALUES (1),(2)) AS t(x)", "cut", file_format="csv")
    found = found.execute(context_of())
    (part,) = parts(store, found)
    store.get_conn().put_object(Bucket=BUCKET, Key=found["folder"] + part["name"], Body=b'"id"\n1\n')
    with pytest.raises(TransferError, match="it has 1 rows of batch 2026-11-24, its manifest counts 2"):
        run(load(lake, table, "cut", replace=True), context_of(store=Store()))
    assert hook.query(f"SELECT COUNT(*) AS n FROM {table}") == [{"n": 1}]


KILLED = """
import sys
from types import SimpleNamespace
from lakehouse.transfers.dremio_to_minio import DremioToMinioOperator
ti = SimpleNamespace(dag_id="it", task_id="it", run_id="r", try_number=1, map_index=-1)
DremioToMinioOperator(
    task_id="it", sql=sys.argv[1], bucket=sys.argv[2], prefix=sys.argv[3], batch="2026-11-24", rows_per_file=50_000
).execute({"ti": ti})
"""


def test_a_worker_killed_in_the_middle_is_put_right_by_the_next_run(store, lake, context_of):  # noqa: F811
    before = export(lake, "SELECT 1 AS id", "killed").execute(context_of())
    sql = f"SELECT {NUMBERS} AS id FROM {MILLION}"
    command = [sys.executable, "-c", KILLED, sql, BUCKET, f"{lake}/exports/killed"]
    process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while len(store.objects(BUCKET, before["folder"])) < 4 and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads(body(store, before["manifest"]))["attempt"] == before["attempt"]
    after = export(lake, sql, "killed", rows_per_file=500_000).execute(context_of())
    assert after["rows"] == 1_000_000
    assert len(store.objects(BUCKET, before["folder"])) == 3
