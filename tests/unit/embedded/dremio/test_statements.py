"""Statements that are parsed by our own grammar."""

from __future__ import annotations

import pytest

from embedded.dremio.engine.contracts import ReflectionDefinition
from embedded.dremio.errors import ParseError
from embedded.dremio.sql import records
from embedded.dremio.sql.dialect import parse_query
from embedded.dremio.sql.records import Partition
from embedded.dremio.sql.statements import parse


def test_create_table_as_with_all_clauses() -> None:
    made = parse(
        'create table "lake"."a"."t" HASH partition by (month(d), b) localsort by (c)'
        " store as (type=>'iceberg') with single writer as ( select 1 )"
    )
    assert isinstance(made, records.CreateTable)
    assert made.path == ("lake", "a", "t")
    assert made.partitions == [Partition("d", "MONTH"), Partition("b")]
    assert made.sort == ["c"]
    assert made.options["type"] == "iceberg"
    assert made.query == "( select 1 )"


def test_create_table_with_types() -> None:
    made = parse(
        "CREATE TABLE IF NOT EXISTS s.t (a INT, b DECIMAL(10, 2) NOT NULL, c LIST<VARCHAR>, e ROW(x INT, y INT ARRAY))"
    )
    assert made.if_not_exists
    assert [(name, target.kind.sql) for name, target in made.columns] == [
        ("a", "INTEGER"),
        ("b", "DECIMAL(10, 2)"),
        ("c", "LIST<VARCHAR>"),
        ("e", "STRUCT<x: INTEGER, y: LIST<INTEGER>>"),
    ]


def test_a_comment_before_the_statement_is_no_part_of_it() -> None:
    assert parse('/* {"app": "dbt"} */ drop table if exists "a"."b"') == records.Drop("TABLE", ("a", "b"), True)


def test_raw_reflection() -> None:
    altered = parse("ALTER DATASET s.t CREATE RAW REFLECTION r USING DISPLAY (a, b) PARTITION BY (a) LOCALSORT BY (b)")
    assert altered.definition == ReflectionDefinition(
        "r", "RAW", display=("a", "b"), partitions=(("a", "IDENTITY"),), sort=("b",)
    )


def test_aggregate_reflection() -> None:
    altered = parse(
        "alter table s.t create aggregate reflection r using dimensions (d by day, e)"
        " measures (x (sum, count, approximate count distinct), y)"
    )
    assert altered.definition.dimensions == (("d", "DATE"), ("e", "NORMAL"))
    assert altered.definition.measures == (("x", ("SUM", "COUNT", "APPROX_COUNT_DISTINCT")), ("y", ()))


@pytest.mark.parametrize(
    ("sql", "action"),
    [
        ("alter table t add columns ( c int )", "ADD COLUMNS"),
        ("alter table t drop column c", "DROP COLUMN"),
        ('alter table t alter column "c" "c" bigint', "CHANGE COLUMN"),
        ("ALTER TABLE t CHANGE COLUMN a b VARCHAR", "CHANGE COLUMN"),
        ("alter pds t refresh metadata auto promotion force update delete when missing", "REFRESH METADATA"),
        ("alter vds v set enable_default_reflection = True", "DEFAULT REFLECTION"),
        ("ALTER DATASET t DISABLE AGGREGATE ACCELERATION", "ACCELERATION"),
        ("ALTER TABLE t SET TBLPROPERTIES ('a' = 'b')", "SET TBLPROPERTIES"),
        ("ALTER TABLE t ADD PRIMARY KEY (a, b)", "ADD PRIMARY KEY"),
        ("ALTER TABLE t DROP PRIMARY KEY", "DROP PRIMARY KEY"),
        ("ALTER TABLE t DROP COLUMN primary_one", "DROP COLUMN"),
        ("ALTER TABLE t LOCALSORT BY (a)", "LOCALSORT BY"),
        ("ALTER TABLE t ROUTE ALL REFLECTIONS TO QUEUE q", "ROUTE REFLECTIONS"),
        ("ALTER VIEW t ROUTE REFLECTIONS TO DEFAULT ENGINE", "ROUTE REFLECTIONS"),
    ],
)
def test_alter(sql: str, action: str) -> None:
    assert parse(sql).action == action


@pytest.mark.parametrize(
    "sql",
    [
        "ROLLBACK TABLE t TO",
        "VACUUM TABLE t",
        "VACUUM TABLE t EXPIRE SNAPSHOTS RETAIN_LAST '3'",
        "ATTACH 'x'",
        "PRAGMA version",
        "COPY (SELECT 1) TO '/tmp/x'",
        "INSTALL httpfs",
        "CALL x()",
        "ALTER TABLE t CREATE AGGREGATE REFLECTION r USING",
        "CREATE OR REPLACE TABLE t AS SELECT 1",
        "GRANT SELECT",
        "CREATE TABLE t (a INT NOT)",
        "CREATE TABLE t (a INT UNIQUE)",
        "CREATE TABLE t (a INT DEFAULT 5)",
        "CREATE TABLE t (a VARCHAR WITHOUT TIME ZONE)",
        "ALTER TABLE t ADD COLUMNS (a INT REFERENCES b)",
        "ALTER TABLE t ROUTE REFLECTIONS TO DEFAULT",
        "ANALYZE TABLE t COMPUTE STATISTICS",
    ],
)
def test_not_in_the_grammar(sql: str) -> None:
    with pytest.raises(ParseError):
        parse(sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT CAST(a AS INT) FROM (VALUES ) AS t(a)", "VALUES needs at least one row"),  # an empty seed of dbt
        ("SELECT a FROM t WHERE", "WHERE is incomplete"),
        ("SELECT a, FROM", "Expected table name, found the end"),
    ],
)
def test_a_parse_error_speaks_of_sql(sql: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_query(sql)
    assert caught.value.message == f"Failure parsing the query: {message}"


def test_a_parse_error_names_the_place() -> None:
    with pytest.raises(ParseError) as caught:
        parse("DROP TABLE\nIF t")
    assert (caught.value.line, caught.value.error_type) == (2, "PARSE")


@pytest.mark.parametrize("sql", [
        "GRANT SELECT ON TABLE t TO USER u",
        "CREATE ROLE r",
        "CREATE BRANCH b IN s",
        "ALTER SYSTEM SET a = 1",
        "SET a = 1",
        "RESET ALL",
    ],
)  # fmt: skip
def test_refused_by_name(sql: str) -> None:
    assert isinstance(parse(sql), records.Refused)


def test_copy_into() -> None:
    made = parse(
        "COPY INTO s.t FROM '@lake/in' FILES ('a.csv') FILE_FORMAT 'csv' (FIELD_DELIMITER ';', ON_ERROR 'abort')"
    )
    assert (made.location, made.files, made.options["FIELD_DELIMITER"]) == ("@lake/in", ["a.csv"], ";")
