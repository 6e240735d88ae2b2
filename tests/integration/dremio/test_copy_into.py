"""COPY INTO: formats, options, and what happens with rows that do not fit."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.dremio.conftest import BUCKET, Rest

Copy = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(source: str) -> str:
    return f"in_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def put(store: Any, source: str, folder: str) -> Callable[[str, str], None]:
    """Puts a file into the test's folder."""

    def write(name: str, body: str) -> None:
        store.put_object(Bucket=BUCKET, Key=f"{source}/{folder}/{name}", Body=body.encode())

    return write


@pytest.fixture
def table(rest: Rest, source: str) -> str:
    name = f"{source}.copy_{uuid.uuid4().hex[:8]}"
    rest.run(f"CREATE TABLE {name} (id INT, name VARCHAR, day DATE)")
    return name


def copied(rest: Rest, sql: str) -> tuple[int, int]:
    (row,) = rest.rows(sql)
    return row["Rows Inserted"], row["Rows Rejected"]


CSV = "id,name,day\n1,a,2024-01-01\nx,b,2024-01-02\n3,,2024-01-03\n"
JSON = '{"ID": 1, "name": "a"}\n{"id": "x", "name": "b"}\n{"id": 3, "name": {"c": 1}}\n{"id": 4, "day": null}\n'


@pytest.mark.parametrize(
    ("name", "body", "on_error", "counts", "ids"),
    [
        ("a.csv", CSV, "continue", (2, 1), [1, 3]),
        ("a.csv", CSV, "skip_file", (0, 1), []),
        ("a.json", JSON, "continue", (2, 2), [1, 4]),
        ("a.json", JSON, "skip_file", (0, 1), []),
        ("a.csv", "id,name,day\n1,a\n2,b,2024-01-01,too,many\n", "abort", (2, 0), [1, 2]),
        ("a.json", '[{"id": 1}, {"id": 2}]', "abort", (2, 0), [1, 2]),
        ("a.json", '{"id": 1', "continue", (0, 1), []),
    ],
)
def test_on_error(
    rest: Rest,
    source: str,
    folder: str,
    put: Copy,
    table: str,
    name: str,
    body: str,
    on_error: str,
    counts: Any,
    ids: Any,
) -> None:
    put(name, body)
    sql = f"COPY INTO {table} FROM '@{source}/{folder}' FILES ('{name}') (ON_ERROR '{on_error}')"
    assert copied(rest, sql) == counts
    assert [row["id"] for row in rest.rows(f"SELECT id FROM {table} ORDER BY id")] == ids


def test_abort_leaves_nothing(rest: Rest, source: str, folder: str, put: Copy, table: str) -> None:
    put("a.csv", "id\n1\n2\n")
    put("b.csv", CSV)
    assert "Failed to cast the string x" in rest.error(f"COPY INTO {table} FROM '@{source}/{folder}' FILE_FORMAT 'csv'")
    assert rest.rows(f"SELECT * FROM {table}") == []


def test_a_bad_file_does_not_keep_the_others_out(rest: Rest, source: str, folder: str, put: Copy, table: str) -> None:
    put("a.csv", "id\n1\n2\n")
    put("b.csv", CSV)
    put("c.csv", "other\n1\n")
    sql = f"COPY INTO {table} FROM '@{source}/{folder}' FILE_FORMAT 'csv' (ON_ERROR 'skip_file')"
    assert copied(rest, sql) == (2, 2)


def test_options(rest: Rest, source: str, folder: str, put: Copy, table: str) -> None:
    put("a.csv", "# a comment\n1;' it''s ';31.01.2024\n2;N/A;01.02.2024\n3;;\n")
    sql = (
        f"COPY INTO {table} FROM '@{source}/{folder}/a.csv' (FIELD_DELIMITER ';', QUOTE_CHAR '''', ESCAPE_CHAR '''',"
        " EXTRACT_HEADER 'false', SKIP_LINES 1, TRIM_SPACE, NULL_IF ('N/A'), EMPTY_AS_NULL 'false',"
        " DATE_FORMAT 'DD.MM.YYYY', ON_ERROR 'continue')"
    )
    assert copied(rest, sql) == (2, 1)  # the empty text is no date
    assert rest.rows(f"SELECT * FROM {table} ORDER BY id") == [
        {"id": 1, "name": "it's", "day": "2024-01-31"},
        {"id": 2, "name": None, "day": "2024-02-01"},
    ]


@pytest.mark.parametrize(
    ("rest_of_it", "message"),
    [
        ("", "File format could not be inferred"),
        ("FILE_FORMAT 'avro'", "Specified File Format 'AVRO' is not supported"),
        ("FILES ('a.csv', 'b.json')", "Files with only one type of extension"),
        ("FILE_FORMAT 'csv' (NO_SUCH 'x')", "Specified 'NO_SUCH' option is not supported"),
        ("FILE_FORMAT 'json' (FIELD_DELIMITER ';')", "Unsupported format option FIELD_DELIMITER"),
        ("FILE_FORMAT 'csv' (FIELD_DELIMITER ';;')", "is not valid for Format Option 'FIELD_DELIMITER'"),
        ("FILE_FORMAT 'csv' (TRIM_SPACE 'yes')", "is not valid for Format Option 'TRIM_SPACE'"),
        ("FILE_FORMAT 'csv' (ON_ERROR 'ignore')", "is not valid for Copy Option ON_ERROR"),
        ("FILE_FORMAT 'parquet' (ON_ERROR 'continue')", "not supported for parquet"),
        ("FILE_FORMAT 'csv' (SKIP_LINES 'x')", "Invalid value for SKIP_LINES"),
    ],
)
def test_refused(rest: Rest, source: str, folder: str, table: str, rest_of_it: str, message: str) -> None:
    assert message in rest.error(f"COPY INTO {table} FROM '@{source}/{folder}' {rest_of_it}")


def test_copy_errors(rest: Rest, source: str, folder: str, put: Copy, table: str) -> None:
    put("a.csv", '\nid,name,day\n1,a,2024-01-01\n\nx,"two\nlines",never\n3,c,2024-13-01\n')
    put("b.csv", "id,name,day\n1,a,2024-01-01\n")
    put("c.csv", "other\n1\n")
    copy = f"COPY INTO {table} FROM '@{source}/{folder}' FILE_FORMAT"
    first = rest.run(f"{copy} 'csv' (SKIP_LINES 1, ON_ERROR 'continue')")["id"]
    shown = "line_number, row_number, column_name, error"
    rows = rest.rows(f"SELECT file_name, {shown} FROM TABLE(copy_errors('{table}')) WHERE error NOT LIKE 'No column%'")
    assert {row.pop("file_name") for row in rows} == {f"/{BUCKET}/{source}/{folder}/a.csv"}
    expected = [
        (5, 2, "id", 'While processing field "id". Could not convert "x" to INT.'),
        (5, 2, "day", 'While processing field "day". Could not convert "never" to DATE.'),
        (7, 3, "day", 'While processing field "day". Could not convert "2024-13-01" to DATE.'),
    ]
    assert [tuple(row.values()) for row in rows] == expected
    put("a.json", '{"id": 1}\n{"id": "x", "day": "y"}\n')
    put("b.json", '[\n {"id": 1},\n {"name": "a",\n "ID":\n "z"}\n]')
    rest.run(f"{copy} 'json' (ON_ERROR 'continue')")
    assert [
        (row["line_number"], row["row_number"], row["column_name"])
        for row in rest.rows(f"SELECT * FROM TABLE(copy_errors('{table}')) ORDER BY 1, 2, 3, 5 DESC")
    ] == [(2, 2, "id"), (2, 2, "day"), (5, 2, "id")]
    again = rest.rows(
        f"SELECT job_id, {shown} FROM TABLE(copy_errors('{table}', '{first}')) WHERE row_number IS NOT NULL"
    )
    assert [tuple(row.values()) for row in again] == [(first, *row) for row in expected]
    missing = "Could not find COPY INTO job details."
    assert missing in rest.error(f"SELECT * FROM TABLE(copy_errors('{table}', '{uuid.uuid4()}'))")
    rest.run(f"CREATE TABLE {table}_2 (id INT)")
    assert missing in rest.error(f"SELECT * FROM TABLE(copy_errors('{table}_2'))")
