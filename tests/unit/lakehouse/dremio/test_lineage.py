"""What OpenLineage is told: datasets by Dremio's whole paths, the text, the job."""

import sys
from types import SimpleNamespace

import pytest
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.lineage import namespace, tables_of
from lakehouse.dremio.operators.sql import DremioSqlOperator
from lakehouse.transfers.minio_to_dremio import MinioToDremioOperator

ORDERS = "datalake.bronze.postgres.orders"


@pytest.mark.parametrize(
    ("sql", "inputs", "outputs"),
    [
        (
            f'SELECT * FROM {ORDERS} AS o JOIN gold."daily sales" AS g ON o.day = g.day',
            [ORDERS, "gold.daily sales"],
            [],
        ),
        (f"SELECT 1 FROM {ORDERS} AS a, {ORDERS} AS b", [ORDERS], []),
        (f"CREATE TABLE a.b.c.d AS WITH q AS (SELECT 1 FROM {ORDERS}) SELECT * FROM q", [ORDERS], ["a.b.c.d"]),
        (f"CREATE OR REPLACE VIEW gold.v AS SELECT * FROM {ORDERS}", [ORDERS], ["gold.v"]),
        (f"INSERT INTO gold.t (a, b) SELECT a, b FROM {ORDERS}", [ORDERS], ["gold.t"]),
        (f"INSERT INTO gold.t SELECT * FROM gold.t JOIN {ORDERS} ON TRUE", ["gold.t", ORDERS], ["gold.t"]),
        (
            f"MERGE INTO gold.t AS t USING (SELECT id FROM {ORDERS}) AS s ON t.id = s.id"
            " WHEN MATCHED THEN UPDATE SET id = 1",
            [ORDERS],
            ["gold.t"],
        ),
        (f"UPDATE gold.t SET a = 1 WHERE b IN (SELECT b FROM {ORDERS})", [ORDERS], ["gold.t"]),
        (f"DELETE FROM gold.t WHERE b IN (SELECT b FROM {ORDERS})", [ORDERS], ["gold.t"]),
        ("DROP TABLE IF EXISTS a.b.c.d", [], ["a.b.c.d"]),
        ("TRUNCATE TABLE a.b.c.d", [], ["a.b.c.d"]),
        ("ALTER TABLE a.b.c.d ADD COLUMNS (x INT)", [], ["a.b.c.d"]),
        ("COPY INTO a.b.c FROM '@src/folder' FILE_FORMAT 'csv'", [], ["a.b.c"]),
    ],
)
def test_tables_of_a_statement(sql: str, inputs: list[str], outputs: list[str]) -> None:
    found = tables_of([sql])
    assert (sorted(found.inputs), found.outputs, found.unread) == (sorted(inputs), outputs, [])


def test_what_cannot_be_read_is_said_and_the_rest_is_read() -> None:
    found = tables_of(["SELECT FROM WHERE", "OPTIMIZE TABLE a.b", f"SELECT 1 FROM {ORDERS}"])
    assert found.inputs == [ORDERS]
    assert [text for text, _ in found.unread] == ["SELECT FROM WHERE", "OPTIMIZE TABLE a.b"]
    assert all(why for _, why in found.unread)


def test_the_operator_tells_datasets_text_and_job(hook, dremio, task_context) -> None:
    operator = DremioSqlOperator(task_id="run_sql", sql=f"CREATE TABLE gold.t AS SELECT * FROM {ORDERS}; SELECT 1")
    operator.__dict__["hook"] = hook
    dremio.on_sql(lambda sql: {})
    started = operator.get_openlineage_facets_on_start()
    assert started is not None and "externalQuery" not in started.run_facets
    operator.execute(task_context)
    told = operator.get_openlineage_facets_on_complete(None)
    assert told is not None
    assert [(each.namespace, each.name) for each in told.inputs] == [("dremio://dremio.test:9047", ORDERS)]
    assert [each.name for each in told.outputs] == ["gold.t"]
    assert told.run_facets["externalQuery"].externalQueryId == "job-2"
    assert told.job_facets["sql"].query == f"CREATE TABLE gold.t AS SELECT * FROM {ORDERS};\nSELECT 1"
    assert "s3cret-word" not in repr(told)


def test_the_common_operators_tell_whole_paths_too(hook, monkeypatch) -> None:
    operator = SQLExecuteQueryOperator(
        task_id="run_sql", conn_id="dremio_default", sql=f"CREATE TABLE a.b.c.d AS SELECT * FROM {ORDERS}; SELECT 1"
    )
    monkeypatch.setattr(operator, "get_db_hook", lambda: hook)
    monkeypatch.setattr(hook, "get_connection", lambda conn_id: hook.connection)
    told = operator.get_openlineage_facets_on_complete(SimpleNamespace(task=operator))
    assert told is not None
    assert [(each.namespace, each.name) for each in told.inputs] == [("dremio://dremio.test:9047", ORDERS)]
    assert [each.name for each in told.outputs] == ["a.b.c.d"]


def test_a_statement_that_is_not_read_does_not_keep_the_others_back(hook) -> None:
    operator = DremioSqlOperator(task_id="run_sql", sql=f"VACUUM TABLE a.b EXPIRE SNAPSHOTS; SELECT 1 FROM {ORDERS}")
    operator.__dict__["hook"] = hook
    told = operator.get_openlineage_facets_on_start()
    assert told is not None and [each.name for each in told.inputs] == [ORDERS]
    failed = told.run_facets["extractionError"]
    assert (failed.totalTasks, failed.failedTasks) == (2, 1)


def test_a_load_tells_the_objects_and_the_table(hook) -> None:
    operator = MinioToDremioOperator(
        task_id="load", table="a.b.orders", source="datalake", bucket="lake", prefix="exports/orders/"
    )
    operator.__dict__["hook"] = hook
    told = operator.get_openlineage_facets_on_start()
    assert told is not None
    assert [(each.namespace, each.name) for each in told.inputs] == [("s3://lake", "exports/orders")]
    assert [each.name for each in told.outputs] == ["a.b.orders"]


def test_the_namespace_of_a_cloud_project() -> None:
    cloud = DremioSettings("https://api.dremio.cloud:443", "", "", None, secret="x", project_id="p1")
    assert namespace(cloud) == "dremio://api.dremio.cloud:443/p1"


@pytest.mark.parametrize("missing", ["sqlglot", "airflow.providers.openlineage.extractors"])
def test_without_the_extra_nothing_is_told_and_nothing_fails(hook, monkeypatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    operator = DremioSqlOperator(task_id="run_sql", sql=f"SELECT 1 FROM {ORDERS}")
    operator.__dict__["hook"] = hook
    assert operator.get_openlineage_facets_on_start() is None
