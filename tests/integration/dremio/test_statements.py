"""Statements against tables of the lake: what they answer and what they refuse."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.integration.dremio.conftest import Rest


@pytest.fixture
def table(rest: Rest, source: str) -> str:
    """A table with three partitions of three files each."""
    name = f"{source}.t_{uuid.uuid4().hex[:8]}"
    rest.run(f"CREATE TABLE {name} (id INT, p INT) PARTITION BY (p)")
    for first in (0, 3, 6):
        rest.run(f"INSERT INTO {name} VALUES ({first}, 1), ({first + 1}, 2), ({first + 2}, 3)")
    return name


@pytest.fixture
def function(rest: Rest, space: str) -> Iterator[str]:
    name = f"{space}.f"
    yield name
    rest.run(f"DROP FUNCTION IF EXISTS {name}")


def test_optimize_for_partitions(rest: Rest, table: str) -> None:
    assert "only supported on the partition columns - [p]" in rest.error(
        f"OPTIMIZE TABLE {table} FOR PARTITIONS id = 1"
    )
    few = rest.rows(f"OPTIMIZE TABLE {table} FOR PARTITIONS p = 1")
    assert list(few[0].values()) == [0, 0, 0]  # three files are not enough to be put together
    some = rest.rows(f"OPTIMIZE TABLE {table} REWRITE DATA (MIN_INPUT_FILES=2) FOR PARTITIONS p = 1")
    assert list(some[0].values()) == [3, 0, 1]
    assert rest.rows(f"SELECT p, COUNT(*) AS n, SUM(id) AS s FROM {table} GROUP BY p ORDER BY p") == [
        {"p": 1, "n": 3, "s": 9},
        {"p": 2, "n": 3, "s": 12},
        {"p": 3, "n": 3, "s": 15},
    ]
    files = rest.rows(f"SELECT COUNT(*) AS n FROM TABLE(table_files('{table}'))")
    assert files == [{"n": 7}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("INSERT INTO {source}.nosuch VALUES (1)", "Table [{source}.nosuch] does not exist."),
        ("UPDATE {source}.nosuch SET id = 1", "Table [{source}.nosuch] does not exist."),
        ("DROP TABLE {source}.nosuch", "Table [{source}.nosuch] does not exist."),
        ("INSERT INTO INFORMATION_SCHEMA.CATALOGS VALUES ('A')", "INSERT is not supported on this SYSTEM_TABLE"),
        ("DELETE FROM {space}.v", "DELETE is not supported on this VIEW at [{space}.v]"),
        ("CREATE TABLE {source}.i (d INTERVAL DAY)", "cannot have a column of an INTERVAL type"),
        (
            "CREATE TABLE {source}.i AS SELECT INTERVAL '1' DAY AS d",
            "A table cannot have a column of an INTERVAL type.",
        ),
        ("TRUNCATE TABLE {space}.v", "TRUNCATE TABLE is not supported on this VIEW at [{space}.v]"),
    ],
)
def test_what_cannot_be_written(rest: Rest, source: str, space: str, sql: str, message: str) -> None:
    rest.run(f"CREATE VIEW {space}.v AS SELECT 1 AS a")
    assert message.format(source=source, space=space) in rest.error(sql.format(source=source, space=space))


def test_functions(rest: Rest, space: str, table: str, function: str) -> None:
    same = f"CREATE FUNCTION {function} (p INT) RETURNS BIGINT RETURN SELECT SUM(id) FROM {table} WHERE p = p"
    assert "is a parameter of the function and a column" in rest.error(same)
    rest.run(f"CREATE FUNCTION {function} (x INT) RETURNS BIGINT RETURN SELECT SUM(id) FROM {table} WHERE p = x")
    assert rest.rows(f"SELECT t.p, {function}(t.p) AS s FROM (VALUES (1), (3)) AS t(p) ORDER BY 1") == [
        {"p": 1, "s": 9},
        {"p": 3, "s": 15},
    ]
    query = f"SELECT id FROM {table} WHERE p = x"
    rest.run(f"CREATE OR REPLACE FUNCTION {function} (x INT) RETURNS TABLE (n BIGINT) RETURN {query}")
    assert rest.rows(f"SELECT n FROM TABLE({function}(1)) ORDER BY n") == [{"n": 0}, {"n": 3}, {"n": 6}]
    assert "write TABLE(" in rest.error(f"SELECT {function}(1)")
    assert "Column 'nosuch' not found" in rest.error(f"CREATE FUNCTION {space}.g (x INT) RETURNS INT RETURN nosuch")
    assert rest.rows(f"SHOW FUNCTIONS IN {space}") == [{"FUNCTION_SCHEMA": space, "FUNCTION_NAME": "f"}]
    described = rest.rows(f"DESCRIBE FUNCTION {function}")
    assert (described[0]["Name"], described[0]["Return"]) == (function, "TABLE (n BIGINT)")


def test_a_primary_key_is_noted(rest: Rest, table: str) -> None:
    assert "No primary key to drop" in rest.error(f"ALTER TABLE {table} DROP PRIMARY KEY")
    assert "Column [nosuch] is not present" in rest.error(f"ALTER TABLE {table} ADD PRIMARY KEY (nosuch)")
    rest.run(f"ALTER TABLE {table} ADD PRIMARY KEY (ID)")
    assert "has a primary key already" in rest.error(f"ALTER TABLE {table} ADD PRIMARY KEY (p)")
    rest.run(f"ALTER TABLE {table} ALTER COLUMN id key_id INT")
    assert "of the primary key" in rest.error(f"ALTER TABLE {table} DROP COLUMN key_id")
    rest.run(f"ALTER TABLE {table} DROP PRIMARY KEY")
    rest.run(f"ALTER TABLE {table} DROP COLUMN key_id")


def test_not_null_is_accepted_and_not_enforced(rest: Rest, source: str) -> None:
    name = f"not_null_{uuid.uuid4().hex[:8]}"
    rest.run(f"CREATE TABLE {source}.{name} (a INT NOT NULL, b VARCHAR NULL)")
    rest.run(f"INSERT INTO {source}.{name} (b) VALUES ('x')")
    assert rest.rows(f"SELECT a, b FROM {source}.{name}") == [{"a": None, "b": "x"}]
    columns = f"SELECT DISTINCT IS_NULLABLE AS n FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = '{name}'"
    assert rest.rows(columns) == [{"n": "YES"}]
    route = f"ALTER TABLE {source}.{name} ROUTE REFLECTIONS TO DEFAULT QUEUE"
    assert "This command is not supported in this edition of Dremio." in rest.error(route)
    rest.run(f"DROP TABLE {source}.{name}")


def test_local_sort_and_a_renamed_partition_column(rest: Rest, table: str) -> None:
    rest.run(f"ALTER TABLE {table} LOCALSORT BY (id)")
    assert "named twice" in rest.error(f"ALTER TABLE {table} LOCALSORT BY (id, ID)")
    rest.run(f"ALTER TABLE {table} ALTER COLUMN p part INT")
    parts = rest.rows(f"SELECT \"partition\" AS p FROM TABLE(table_partitions('{table}')) ORDER BY 1")
    assert parts == [{"p": "{part=1}"}, {"p": "{part=2}"}, {"p": "{part=3}"}]
    rest.run(f"ALTER TABLE {table} DROP COLUMN id")
    rest.run(f"INSERT INTO {table} VALUES (1)")


def test_statistics_of_columns(rest, orders):
    def shown():
        rows = rest.rows(f'SELECT * FROM sys."table_statistics" WHERE "table" = \'{orders}\' ORDER BY "column"')
        return {row["column"]: (row["number_of_distinct_values"], row["row_count"], row["null_count"]) for row in rows}

    job = rest.run(f"ANALYZE TABLE {orders} FOR COLUMNS (status, ID) COMPUTE STATISTICS")
    assert rest.http.get(f"/job/{job['id']}/results").json()["rows"] == [
        {"ok": True, "summary": f"Requested with a job ID: {job['id']}"}
    ]
    assert shown() == {"id": (1000, 1000, 0), "status": (3, 1000, 100)}
    rest.run(f"ANALYZE TABLE {orders} FOR ALL COLUMNS COMPUTE STATISTICS")
    assert sorted(shown()) == ["amount", "day", "id", "status"]
    rest.run(f"ANALYZE TABLE {orders} FOR COLUMNS (id) DELETE STATISTICS")
    assert rest.rows(f"ANALYZE TABLE {orders} FOR ALL COLUMNS DELETE STATISTICS") == [
        {"ok": True, "summary": "Statistics Removed. Requested columns: [], Non-existent columns: [id]"}
    ]
    assert shown() == {}
    assert f"not found in the table {orders}: [nothing]" in rest.error(
        f"ANALYZE TABLE {orders} FOR COLUMNS (nothing) COMPUTE STATISTICS"
    )


def test_a_write_and_a_function_may_read_system_tables(rest, space, orders):
    rest.run(f"CREATE FUNCTION {space}.versions() RETURNS INT RETURN SELECT CAST(COUNT(*) AS INT) FROM sys.version")
    rest.run(
        f"UPDATE {orders} SET status = 'seen' FROM sys.version AS v WHERE id = {space}.versions() AND v.version <> ''"
    )
    assert rest.rows(f"SELECT id FROM {orders} WHERE status = 'seen'") == [{"id": 1}]
