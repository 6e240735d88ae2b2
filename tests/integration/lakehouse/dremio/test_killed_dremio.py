"""Dremio's operators, killed after their writes and run again: the end is that of an unbroken run."""

import pytest

from lakehouse.dremio.operators.catalog import DremioApplyOperator, DremioPromoteOperator
from lakehouse.dremio.operators.sql import DremioSqlOperator
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.transfers.dremio_to_minio import DremioToMinioOperator
from lakehouse.transfers.minio_to_dremio import MinioToDremioOperator
from tests.integration.lakehouse.dremio.test_reflections import make as refresh_reflections
from tests.integration.lakehouse.killing import Tries, killed_after_its_writes

NO_KEYS = ("accessKey", "accessSecret")


@pytest.fixture
def tries(tmp_path):
    def make(operator):
        return Tries(operator, tmp_path / "store.json")

    return make


def remove(hook, path):
    entity = hook.find_entity(path)
    if entity and entity["entityType"] != "folder":  # a folder of files that is no table
        hook.delete_entity(entity["id"], entity.get("tag"))


def test_apply(hook, corner, tmp_path, tries):
    source, space = f"{corner}_s", f"{corner}_v"
    declared = tmp_path / "dremio.yaml"
    declared.write_text(
        f"sources:\n  - {{name: {source}, type: S3, connection: minio_default, root_path: /datalake/{corner},"
        " description: The corner.}\n"
        f"spaces:\n  - {{name: {space}, description: Its views.}}\n"
        f"views:\n  - {{path: {space}.numbers, description: Two., sql: 'SELECT * FROM (VALUES (1),(2)) AS t(a)'}}\n"
    )

    def fresh():
        remove(hook, [source])
        remove(hook, [space])

    def seen():
        found = []
        for path in ([source], [space], [space, "numbers"]):
            entity = hook.find_entity(path)
            config = {key: value for key, value in (entity.get("config") or {}).items() if key not in NO_KEYS}
            found.append((path, entity.get("type"), config, entity.get("sql"), hook.get_wiki(entity["id"])["text"]))
        return found

    try:
        task = tries(
            lambda: DremioApplyOperator(task_id="apply", path=str(declared), parts=["sources", "spaces", "views"])
        )
        assert killed_after_its_writes(task, fresh, seen) >= 6
        assert task.run() == {"changed": [], "declared": 3}
    finally:
        fresh()


def test_promote(hook, lake, put_parquet, tries, own_records):
    """One folder that is no table yet, and a table that has got another file."""
    new, old = f"{lake}.killed.new", f"{lake}.killed.old"
    put_parquet("killed/new/a.parquet", {"id": [1, 2]})
    put_parquet("killed/old/a.parquet", {"id": [1]})
    promote_old = DremioPromoteOperator(task_id="old", tables=[old])

    def fresh():
        remove(hook, new.split("."))
        remove(hook, old.split("."))
        ObjectStoreHook("minio_default").remove("datalake", [f"{lake}/killed/old/b.parquet"])
        promote_old._promote_or_submit(old)
        put_parquet("killed/old/b.parquet", {"id": [2, 3]})

    def seen():
        return hook.query(f"SELECT (SELECT COUNT(*) FROM {new}) AS n, (SELECT COUNT(*) FROM {old}) AS o")

    task = tries(lambda: DremioPromoteOperator(task_id="promote", tables=[new, old]))
    assert killed_after_its_writes(task, fresh, seen) >= 2
    assert seen() == [{"n": 2, "o": 3}]


def test_statements(hook, lake, tries):
    """The job that was started is adopted; one whose id was not kept yet is repeated, as `idempotent` says."""
    table = f"{lake}.sql.killed"
    sql = [
        f"CREATE TABLE IF NOT EXISTS {table} (a INT)",
        f"DELETE FROM {table}",
        f"INSERT INTO {table} SELECT 1 AS a WHERE (SELECT COUNT(*) FROM {table}) = 0",
    ]
    task = tries(lambda: DremioSqlOperator(task_id="sql", sql=sql, idempotent=True))
    kills = killed_after_its_writes(
        task,
        fresh=lambda: hook.run_job(f"DROP TABLE IF EXISTS {table}"),
        seen=lambda: hook.query(f"SELECT a FROM {table}"),
    )
    assert kills >= 2 * len(sql)
    assert hook.query(f"SELECT a FROM {table}") == [{"a": 1}]
    hook.run_job(f"DROP TABLE {table}")


def test_load(hook, lake, tries, context_of):
    """A reader sees the batch before or the new one, and no staging table stays."""
    table = f"{lake}.loading.t"
    numbers = "SELECT CAST(x AS BIGINT) AS id FROM (VALUES (1),(2),(3)) AS t(x)"
    place = {"bucket": "datalake", "prefix": f"{lake}/exports/killed", "batch": "2026-11-24"}
    DremioToMinioOperator(task_id="export", sql=numbers, **place).execute(context_of())

    def fresh():
        for row in hook.query(
            f"SELECT TABLE_NAME AS n FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{lake}.loading'"
        ):
            hook.run_job(f'DROP TABLE {lake}.loading."{row["n"]}"')
        hook.run_job(f"CREATE TABLE {table} AS SELECT CAST(0 AS BIGINT) AS id, 'old' AS _batch")

    def seen():
        tables = f"SELECT TABLE_NAME AS n FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{lake}.loading'"
        return hook.query(f"SELECT id, _batch FROM {table} ORDER BY id"), hook.query(tables)

    def readers():
        assert hook.query(f"SELECT COUNT(*) AS n FROM {table}") in ([{"n": 1}], [{"n": 4}])

    task = tries(lambda: MinioToDremioOperator(task_id="load", table=table, source=lake, **place))
    assert killed_after_its_writes(task, fresh, seen, readers) >= 5
    rows, tables = seen()
    assert len(rows) == 4 and tables == [{"n": "t"}]


def test_reflections(hook, lake, tmp_path, tries, own_records):
    table = f"{lake}.marts.killed"

    def fresh():
        hook.run_job(f"DROP TABLE IF EXISTS {table}")
        hook.run_job(
            f"CREATE TABLE {table} AS SELECT DATE '2026-11-24' AS order_date, CAST(n AS DOUBLE) AS amount"
            " FROM (VALUES (1),(2),(3)) AS t(n)"
        )

    def seen():
        (one,) = hook.list_reflections(hook.find_entity(table.split("."))["id"])
        return one["name"], one["status"]["availability"], one["recordCount"]

    task = tries(lambda: refresh_reflections(tmp_path, table))
    assert killed_after_its_writes(task, fresh, seen) >= 3
    assert seen() == ("it_agg", "AVAILABLE", 1)
    hook.run_job(f"DROP TABLE {table}")
