"""Every function that the registry has gives its example's result."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from embedded.dremio.errors import DremioError, FunctionError, ParseError, UnsupportedOperation, ValidationError
from embedded.dremio.sql.registry import FUNCTIONS
from embedded.dremio.sql.special import SPECIAL
from tests.unit.embedded.dremio.answers import Answers
from tests.unit.embedded.dremio.compatibility import query_of
from tests.unit.embedded.dremio.function_examples import EXAMPLES


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers()


@pytest.mark.parametrize(("name", "expression", "expected"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_example(answers: Answers, name: str, expression: str, expected: Any) -> None:
    rows = answers.rows(query_of(name, expression))
    assert ([row[0] for row in rows] if len(rows) > 1 else rows[0][0]) == expected


def test_every_function_has_an_example() -> None:
    callable_names = {name for name in {*FUNCTIONS, *SPECIAL} if name.replace("_", "").isalnum()}
    assert callable_names == {name for name, _, _ in EXAMPLES}


# what a plain translation gets wrong without a word
MEANINGS = [
    ("7 / 2", 3),
    ("-7 / 2", -3),
    ("CAST(7.62 AS DECIMAL(3,2)) / CAST(2.45 AS DECIMAL(3,2))", Decimal("3.110204")),
    ("CAST(2.5 AS INTEGER)", 3),
    ("CAST(CAST(2.5 AS DOUBLE) AS INTEGER)", 3),
    ("CAST(TIMESTAMP '2020-01-01 00:00:00' AS VARCHAR)", "2020-01-01 00:00:00.000"),
    ("CAST(CAST(12345678.9 AS DOUBLE) AS VARCHAR)", "1.23456789E7"),
    ("CAST('abcdef' AS VARCHAR(3))", "abc"),
    ("EXTRACT(DOW FROM DATE '2018-04-22')", 1),
    ("MOD(5, 0)", 5),
    ("ARRAY[10, 20][0]", 10),
    ("NULL || 'a'", None),
    ("GREATEST(1, NULL)", None),
    ("LISTAGG('a')", "a"),
    ("ROUND(CAST('999999999999999999.5567' AS DECIMAL(28, 5)))", Decimal("1000000000000000000")),
    ("'2' = 2", True),
    ("DATE '2020-01-01' = '2020-01-01'", True),
    ("LOG(EXP(1))", 1.0),
    ("SHIFTLEFT(1, 35)", 8),
    ("SHIFTLEFT(-3, 2)", -12),
    ("SHIFTLEFT(CAST(1 AS BIGINT), 63)", -(2**63)),
    ("SHIFTRIGHT(-8, 33)", -4),
    ("CAST('2020-01-01 10:00:00.123456' AS TIMESTAMP)", datetime.datetime(2020, 1, 1, 10, 0, 0, 123000)),
    ("CAST('10:00:00.1239' AS TIME)", datetime.time(10, 0, 0, 123000)),
    ("CAST(TIMESTAMP '1970-01-01 00:00:01.5' AS BIGINT)", 1500),
    ("CONVERT_TIMEZONE('PST', '+02:00', '2021-04-01 15:27:32')", datetime.datetime(2021, 4, 2, 1, 27, 32)),
    ("CONVERT_TIMEZONE('EDT', TIMESTAMP '2021-01-01 15:27:32')", datetime.datetime(2021, 1, 1, 11, 27, 32)),
    ("DATE_TRUNC('MILLENNIUM', DATE '2000-12-31')", datetime.date(1001, 1, 1)),
    ("EXTRACT(EPOCH FROM TIMESTAMP '1969-12-31 23:59:59.500')", 0),
    ("EXTRACT(QUARTER FROM INTERVAL '1' DAY)", 1),
    ("EXTRACT(EPOCH FROM INTERVAL '1' DAY)", 86400),
    ("CAST(INTERVAL '5' HOUR AS INTEGER)", 5),
    ("CAST(INTERVAL '1' YEAR - INTERVAL '2' YEAR AS INTEGER)", -1),
    ("CAST(DATE '2020-01-05' - DATE '2020-01-01' AS INTEGER)", 4),
    ("CAST(CAST('P25DT-25H2778.608S' AS INTERVAL SECOND) AS VARCHAR)", "23 days 23:46:18.608"),
    ("CAST(CAST('P1Y2M' AS INTERVAL MONTH) AS VARCHAR)", "1 year 2 months "),
    ("CAST(INTERVAL '1' DAY * 2.5 AS VARCHAR)", "2 days 12:0:0.0"),
    ("CAST(INTERVAL '7' MONTH / 2 AS VARCHAR)", "0 years 3 months "),
    ("TO_TIMESTAMP('2020-01-01T10:00:00+02:00', 'YYYY-MM-DD\"T\"HH24:MI:SSTZO')", datetime.datetime(2020, 1, 1, 8)),
    ("'Spark' NOT LIKE ANY ('_park', '_mart')", True),
    ("'a%' LIKE ALL ('a!%', '%!%') ESCAPE '!'", True),
    ("(TIME '02:55:00', INTERVAL '1' HOUR) OVERLAPS (TIME '03:30:00', INTERVAL '2' HOUR)", True),
    ("(DATE '2020-01-01', DATE '2020-01-05') OVERLAPS (DATE '2020-01-06', INTERVAL '1' DAY)", False),
    ("(CAST(NULL AS DATE), DATE '2020-01-01') OVERLAPS (DATE '2020-01-01', DATE '2020-01-02')", None),
    ("TRY_CONVERT_FROM('[\"a\"]' AS VARCHAR ARRAY)", ["a"]),
    ('TRY_CONVERT_FROM(\'{"a": 1, "b": 2}\' AS ROW(a INT, c VARCHAR))', {"a": 1, "c": None}),
    ("TRY_CONVERT_FROM('[1]' AS ROW(a INT))", None),
    ("LENGTH(TIMESTAMP '2022-01-31 10:20:30')", 23),  # an implicit cast writes as CAST does
    ("CONCAT('a', 1e20)", "a1.0E20"),
    ("CAST(0.5 AS FLOAT) + 0.0001220703125 * 0.0001220703125 = 0.5", False),  # DOUBLE: FLOAT has not the digits
    ("COALESCE(YEAR(NULL), OCTET_LENGTH(NULL), UNIX_TIMESTAMP(NULL), SHIFTRIGHTUNSIGNED(NULL, 1), 5)", 5),
    ("CONCAT(ELT(1, NULL), REPEAT(NULL, 2), QUOTE(NULL), TO_DATE(NULL))", ""),
    ("CAST(INTERVAL '100' DAY(3) AS INTEGER)", 100),
    ("CAST('2020/1/5' AS DATE)", datetime.date(2020, 1, 5)),
    ("CAST('2020-01-05T10:00:00Z' AS TIMESTAMP)", datetime.datetime(2020, 1, 5, 10)),
    ("TRY_CAST('1_000' AS DOUBLE)", None),
    ("ISDATE('epoch')", False),
    ("'abc' SIMILAR TO 'a.c'", False),
    ("'abc' SIMILAR TO 'a[^x]_'", True),
    ("REGEXP_REPLACE('abc', '(b)', '$1$0')", "abbc"),
]


@pytest.mark.parametrize(("expression", "expected"), MEANINGS, ids=[m[0] for m in MEANINGS])
def test_meaning(answers: Answers, expression: str, expected: Any) -> None:
    assert answers.rows(f"SELECT {expression}")[0][0] == expected


TYPES = [
    ("1", "INTEGER"),
    ("3000000000", "BIGINT"),
    ("1.50", "DECIMAL(3, 2)"),
    ("1e0", "DOUBLE"),
    ("1 + 3000000000", "BIGINT"),
    ("1.5 + 1.25", "DECIMAL(4, 2)"),
    ("1.5 * 1.25", "DECIMAL(6, 3)"),
    ("CAST(1 AS FLOAT) + 1.5", "DOUBLE"),
    ("SUM(1)", "BIGINT"),
    ("SUM(1.5)", "DECIMAL(38, 1)"),
    ("AVG(1)", "DOUBLE"),
    ("DATE '2020-01-01' - DATE '2019-01-01'", "INTERVAL DAY TO SECOND"),
    ("DATE '2020-01-01' + INTERVAL '1' DAY", "TIMESTAMP"),
    ("DATE_TRUNC('MONTH', DATE '2020-01-01')", "DATE"),
    ("CASE WHEN TRUE THEN 1 ELSE 2.5 END", "DECIMAL(11, 1)"),
]


@pytest.mark.parametrize(("expression", "expected"), TYPES, ids=[t[0] for t in TYPES])
def test_type(answers: Answers, expression: str, expected: str) -> None:
    assert answers.types(f"SELECT {expression}") == [expected]


REFUSED: list[tuple[str, type[DremioError]]] = [
    ("SELECT /*+ BADHINT */ 1", ParseError),
    ("SELECT /*+ BADHINT(a) */ 1", ParseError),
    ("SELECT read_csv('/etc/passwd')", ValidationError),
    ("SELECT * FROM read_text('/etc/passwd')", ValidationError),
    ("SELECT * FROM '/etc/passwd'", ValidationError),
    ("SELECT * FROM duckdb_secrets()", ValidationError),
    ("SELECT getenv('HOME')", ValidationError),
    ("SELECT current_setting('memory_limit')", ValidationError),
    ("SELECT py_mask('a', 'ALL', 1, 'X', 'x', 'n')", ValidationError),
    ("SELECT text_to_integer('1', 'a')", ValidationError),
    ('SELECT "COUNT(*)"()', ValidationError),
    ("SELECT x FROM (VALUES (1)) AS t(y)", ValidationError),
    ("SELECT 1 UNION SELECT 1, 2", ValidationError),
    ("SELECT * FROM (VALUES (1)) t(a) TABLESAMPLE BERNOULLI (10)", UnsupportedOperation),
    ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", UnsupportedOperation),
    ("SELECT a + 1 AS a, COUNT(*) FROM (VALUES (1)) t(a) GROUP BY a", UnsupportedOperation),
    ("SELECT TO_CHAR(DATE '2020-01-01', n) FROM (VALUES ('YYYY')) t(n)", UnsupportedOperation),
    ("SELECT RANK()", ValidationError),
    ("SELECT CAST(DATE '2020-01-01' AS BIGINT)", ValidationError),
    ("SELECT SUM(x) IGNORE NULLS OVER () FROM (VALUES (1)) t(x)", ValidationError),
    ("SELECT 1 BETWEEN SYMMETRIC 3 AND 1", UnsupportedOperation),
    ("SELECT TO_CHAR(DATE '2020-01-01', 'YYYY_MM')", FunctionError),
    ("SELECT TO_DATE('20', 'CC')", UnsupportedOperation),
    ("SELECT CONVERT_TO('x', 'INT_HADOOPV')", UnsupportedOperation),
    ("SELECT EXTRACT(WEEK FROM INTERVAL '1' DAY)", ValidationError),
    ("SELECT MASK(DATE '2020-01-01')", UnsupportedOperation),
    ("SELECT CONVERT_TIMEZONE('abc', CURRENT_TIMESTAMP)", FunctionError),
    ("SELECT SUM(1) OVER (ORDER BY 1)", ValidationError),
    ("SELECT SUM(x) OVER (ORDER BY x ROWS 1 PRECEDING EXCLUDE TIES) FROM (VALUES (1)) t(x)", UnsupportedOperation),
    ("SELECT SUM(x) OVER (ORDER BY x GROUPS 1 PRECEDING) FROM (VALUES (1)) t(x)", UnsupportedOperation),
    ("SELECT RANK() OVER (PARTITION BY x) FROM (VALUES (1)) t(x)", ValidationError),
    ("SELECT LAG(x, -1) OVER (ORDER BY x) FROM (VALUES (1)) t(x)", ValidationError),
    ("SELECT DISTINCT x FROM (VALUES (1, 2)) t(x, y) ORDER BY y", ValidationError),
    ("SELECT SUM('1')", ValidationError),
    ("SELECT CONVERT_FROM('[12345678901234567890]', 'JSON')", ValidationError),
    ("SELECT REGEXP_REPLACE('abc', 'b', '$')", UnsupportedOperation),
    ("SELECT REGEXP_REPLACE('abc', 'b', '$1')", UnsupportedOperation),
    ("SELECT 999999999999999999999999999999999999999", ValidationError),
    ("SELECT INTERVAL '100' DAY", ValidationError),
    ("SELECT 1 IS TRUE", ValidationError),
    (
        "SELECT * FROM (VALUES (1)) a(x), (VALUES (1)) b(y) RIGHT JOIN (VALUES (1), (3)) c(z) ON b.y = c.z",
        UnsupportedOperation,  # whether the comma or the JOIN binds first makes the difference
    ),
    ("SELECT ARRAY[1, TRUE]", ValidationError),
    ("SELECT 0x10", ParseError),
    ("SELECT 1 == 1", ParseError),
    ("SELECT !TRUE", ParseError),
    ("SELECT 1 LIMIT 1.5", ParseError),
]


@pytest.mark.parametrize(("sql", "error"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(answers: Answers, sql: str, error: type[DremioError]) -> None:
    with pytest.raises(error):
        answers.rows(sql)


# texts that DuckDB would read, each with a meaning that Dremio does not give it
FAILS = [
    "CAST('20-01-05' AS DATE)",
    "CAST('epoch' AS DATE)",
    "CAST('2020-01-05 (BC)' AS DATE)",
    "DATE '10000-01-01'",
    "CAST('infinity' AS TIMESTAMP)",
    "CAST('2020-01-05 10:00:00+02:00' AS TIMESTAMP)",
    "TIME '24:00:00'",
    "CAST('1_000' AS DOUBLE)",
    "CAST('1_000' AS DECIMAL(9, 2))",
    "TO_DATE('20-01-05')",
    "UNIX_TIMESTAMP('epoch')",
    "SPLIT_PART('abc', '', 1)",
    "'abc' SIMILAR TO 'a[b%]_'",
]


@pytest.mark.parametrize("expression", FAILS)
def test_fails(answers: Answers, expression: str) -> None:
    with pytest.raises(duckdb.InvalidInputException):
        answers.rows(f"SELECT {expression}")


QUERIES = [
    ("SELECT n AS m, -n AS n FROM (VALUES (1), (2)) AS t(n) ORDER BY n", [(2, -2), (1, -1)]),
    ("SELECT * FROM (VALUES (1)) a(x) JOIN (VALUES (1, 2)) b(x, y) USING (x)", [(1, 2)]),
    (
        "SELECT *, a.x, b.x FROM (VALUES ('p', 1)) a(y, x) FULL JOIN (VALUES (2, 'q')) b(x, z) USING (x) ORDER BY x",
        [(1, "p", None, 1, None), (2, None, "q", None, 2)],
    ),
    ("SELECT * FROM (VALUES (1)) a(x) RIGHT JOIN (VALUES (1), (2)) b(x) USING (x) ORDER BY x", [(1,), (2,)]),
    (
        "SELECT * FROM (VALUES ('p', 1)) a(y, x) JOIN (VALUES (1, 'q')) b(x, z) USING (x)"
        " NATURAL JOIN (VALUES (1, 'r')) c(x, w)",
        [(1, "p", "q", "r")],
    ),
    ("SELECT a.*, b.* FROM (VALUES (1)) a(x) CROSS JOIN (VALUES (2)) b(x)", [(1, 2)]),
    ("WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS x FROM a) SELECT a.x, b.x FROM a, b", [(1, 2)]),
    ("SELECT x FROM (VALUES (1), (NULL), (2)) t(x) ORDER BY x DESC", [(2,), (1,), (None,)]),
    ("SELECT t.x FROM (VALUES (1), (2)) t(x) WHERE EXISTS (SELECT 1 FROM (VALUES (2)) u(x) WHERE u.x = t.x)", [(2,)]),
    ("SELECT CAST(1 AS INT) UNION ALL SELECT 'a'", [("1",), ("a",)]),
    ("SELECT * FROM (VALUES (1), (2)) MINUS SELECT 2", [(1,)]),
    (
        "SELECT a, b, SUM(a) FROM (VALUES (1, 2), (2, 3)) t(a, b)"
        " GROUP BY GROUPING SETS ((a), (a, b), ()) ORDER BY 1, 2",
        [(1, 2, 1), (1, None, 1), (2, 3, 2), (2, None, 2), (None, None, 3)],
    ),
    (
        "SELECT a, b, GROUPING_ID(a, b) FROM (VALUES (1, 2)) t(a, b) GROUP BY GROUPING SETS (a, ROLLUP (b)) ORDER BY 3",
        [(1, None, 1), (None, 2, 2), (None, None, 3)],
    ),
    (
        "SELECT * FROM (VALUES ('a', 1, 10), ('a', 2, 20), ('b', 1, 5)) t(g, y, x)"
        " PIVOT (SUM(x) AS s, COUNT(*) AS c FOR y IN (1 AS one, 2 AS two)) ORDER BY g",
        [("a", 10, 1, 20, 1), ("b", 5, 1, None, 0)],
    ),
    (
        "SELECT v.g, v.q FROM (VALUES ('a', 'p', 1), ('b', 'q', 2)) t(g, y, x)"
        " PIVOT (MAX(x) FOR y IN ('p', 'q' AS q)) AS v ORDER BY 1",
        [("a", None), ("b", 2)],
    ),
    (
        "SELECT * FROM (VALUES ('a', 1, 1, 10)) t(g, y, z, x) PIVOT (SUM(x) FOR (y, z) IN ((1, 1) AS u, (2, 2) AS v))",
        [("a", 10, None)],
    ),
    (
        "SELECT * FROM (VALUES (1, 10, NULL), (2, 20, 30)) t(id, a, b) UNPIVOT (v FOR n IN (a, b)) ORDER BY 1, 2",
        [(1, "a", 10), (2, "a", 20), (2, "b", 30)],
    ),
    (
        "SELECT * FROM (VALUES (1, 10, NULL)) t(id, a, b)"
        " UNPIVOT INCLUDE NULLS (v FOR n IN (a AS 'x', b AS 'y')) ORDER BY 2",
        [(1, "x", 10), (1, "y", None)],
    ),
    (
        "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY x), MEDIAN(x) FROM (VALUES (1.5), (2.6)) t(x)",
        [(2.05, 2.05)],
    ),
    ("SELECT n + 1 AS k, COUNT(*) FROM (VALUES (1), (1)) t(n) GROUP BY k HAVING COUNT(*) > 1", [(2, 2)]),
]


@pytest.mark.parametrize(("sql", "expected"), QUERIES, ids=[q[0] for q in QUERIES])
def test_query(answers: Answers, sql: str, expected: list[tuple[Any, ...]]) -> None:
    assert answers.rows(sql) == expected


def test_columns_of_one_name_are_told_apart(answers: Answers) -> None:
    translated = answers.connection.execute(answers.translate("SELECT 1 AS x, 2 AS x, 3"))
    assert [column[0] for column in translated.description or []] == ["x", "x0", "EXPR$2"]
