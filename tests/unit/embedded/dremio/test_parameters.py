"""Parameters of prepared statements: where they stand, and what a value becomes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from sqlglot import exp

from embedded.dremio.sql.dialect import parse_query
from embedded.dremio.sql.parameters import inserted, numbered, with_values
from embedded.dremio.types import DremioType

D = DremioType


def test_texts_names_and_comments_have_no_parameters() -> None:
    sql = """SELECT '?', "a?" -- ?\n/* ? */ FROM t WHERE a = ? AND b IN (?,'?')"""
    assert numbered(sql) == (sql.replace("= ?", "= :p0").replace("(?", "(:p1"), 2)


def test_values_of_an_insert_have_the_types_of_its_columns() -> None:
    query = parse_query("VALUES (:p0, 1), (2, :p1)")
    inserted(query, [D("DECIMAL", 12, 2), D("VARCHAR")])
    assert [str(item) for item in query.find_all(exp.Cast)] == ["CAST(:p0 AS DECIMAL(12, 2))", "CAST(:p1 AS VARCHAR)"]


@pytest.mark.parametrize(
    ("kind", "value", "literal"),
    [
        (D("INTEGER"), -5, "CAST(-5 AS INTEGER)"),
        (D("BIGINT"), 2**60, f"CAST({2**60} AS BIGINT)"),
        (D("DOUBLE"), 1e300, "CAST('1e+300' AS DOUBLE)"),
        (D("DECIMAL", 12, 2), Decimal("1.50"), "CAST('1.50' AS DECIMAL(12, 2))"),
        (D("BOOLEAN"), True, "CAST(TRUE AS BOOLEAN)"),
        (D("VARCHAR"), "a' OR '1'='1 -- ?", "CAST('a'' OR ''1''=''1 -- ?' AS VARCHAR)"),
        (D("DATE"), dt.date(2024, 2, 29), "CAST('2024-02-29' AS DATE)"),
        (D("TIME"), dt.time(1, 2, 3), "CAST('01:02:03' AS TIME)"),
        (D("TIMESTAMP"), dt.datetime(2024, 2, 29, 1, 2, 3, 4000), "CAST('2024-02-29 01:02:03.004' AS TIMESTAMP)"),
        (D("DATE"), None, "CAST(NULL AS DATE)"),
    ],
)
def test_a_value_becomes_a_literal_of_its_type(kind: DremioType, value: Any, literal: str) -> None:
    assert with_values("SELECT a -? FROM t", [kind], [value]) == f"SELECT a -{literal} FROM t"
