"""Writes docs/dremio-compatibility.md from the examples that the tests check.

.venv-embedded/bin/python -m tests.unit.embedded.dremio.compatibility > docs/dremio-compatibility.md
"""

from __future__ import annotations

from typing import Any

from tests.unit.embedded.dremio.function_examples import EXAMPLES

ROWS = "(VALUES (1, 'a'), (2, 'b'), (4, 'c')) AS t(n, s)"
_OVER_ROWS = ("(n", "(s", "n,", "DISTINCT n", "BY n")

HEAD = """# What the embedded Dremio answers

This page is written from the tests (`tests/unit/embedded/dremio/compatibility.py`): each function below is checked
with the example shown. A function that is not listed, and a form of one that is not known, is refused with
`No match found for function signature ...`; it never reaches the engine below. Legend: **yes** works with Dremio's
meaning; **partly** works within the limit given; **no** is refused by name.

## Statements

| statement | | limits |
|---|---|---|
"""

STATEMENTS = [
    ("SELECT and all in it", "partly", "no TABLESAMPLE and WITH RECURSIVE, which Dremio's reference has not either"),
    (
        "CREATE TABLE [AS]",
        "yes",
        "in S3 and NAS sources with a root folder; Parquet, DuckLake keeps the metadata; TRUNCATE() is not laid out; "
        "NOT NULL is accepted and not enforced, as in Dremio",
    ),
    (
        "DROP TABLE, VIEW, FOLDER, FUNCTION",
        "yes",
        "DROP TABLE of promoted files forgets the promotion and leaves the files",
    ),
    ("CREATE [OR REPLACE] VIEW", "yes", "the query is checked when the view is made"),
    (
        "CREATE [OR REPLACE] FUNCTION",
        "yes",
        "of an expression or a query, scalar and tabular; no defaults of parameters",
    ),
    ("INSERT, UPDATE, DELETE, MERGE, TRUNCATE", "yes", "tables that were made by CREATE TABLE"),
    (
        "COPY INTO",
        "partly",
        "records end with a line; copy_errors() reads the files again and knows a table's last 50 jobs with "
        "rejected rows; no history tables",
    ),
    (
        "ALTER TABLE .. columns, PRIMARY KEY, LOCALSORT BY, TBLPROPERTIES",
        "yes",
        "types are widened only; partitions cannot be changed; a primary key is noted, not checked",
    ),
    ("ALTER .. REFRESH METADATA, FORGET METADATA", "yes", "the whole table is refreshed, whatever part is named"),
    ("ALTER .. REFLECTION, ACCELERATION", "partly", "no external reflections"),
    (
        "ALTER TABLE, VIEW .. ROUTE REFLECTIONS",
        "partly",
        "to the default queue or engine, the only one; refused by the community edition as Dremio's does",
    ),
    (
        "prepared statements with parameters (Flight SQL, JDBC)",
        "yes",
        "a parameter has the type of what it is compared or calculated with, of its CAST, or of its column in INSERT",
    ),
    (
        "AT SNAPSHOT, AT TIMESTAMP, table_history and its sisters",
        "yes",
        "no manifests: the files of one snapshot stand for one",
    ),
    ("ROLLBACK TABLE", "yes", "writes the old rows as a new snapshot"),
    ("OPTIMIZE TABLE", "yes", "file sizes are those of the engine; FOR PARTITIONS by columns as they are"),
    ("VACUUM TABLE", "partly", "expired snapshots can no longer be read; their files stay"),
    ("ANALYZE TABLE", "yes", "exact counts in sys.table_statistics; no plan depends on them, no quantiles"),
    ("SHOW, DESCRIBE, USE, EXPLAIN PLAN FOR", "yes", "the plan shown is DuckDB's"),
    ("external_query", "yes", "sources of type POSTGRES"),
    (
        "GRANT, REVOKE, roles and users",
        "partly",
        "with DREMIO_EDITION=enterprise, refused by the community edition as Dremio's does; see below",
    ),
    ("CREATE/DROP/MERGE/USE BRANCH and TAG, AT BRANCH", "no", "need a versioned (Nessie) source"),
    ("`x::type`, CREATE OR REPLACE TABLE", "no", "Dremio has neither"),
    ("ALTER SESSION and SYSTEM, SET and RESET of options", "no", "there are no options that could be set"),
]

DIFFERENCES = """
## Known differences

- An arithmetic overflow of INTEGER or BIGINT is an error; Dremio wraps around silently.
- APPROX_COUNT_DISTINCT and NDV count exactly, APPROX_PERCENTILE interpolates exactly.
- NaN is equal to NaN and greater than all numbers in comparisons too, not only in ORDER BY.
- Texts are cast to dates and timestamps with years of four digits and without a zone alone; others are refused.
- Regular expressions are RE2's: look-around and back references are refused.
- Timestamps read from Parquet and PostgreSQL are compared with their microseconds and shown with milliseconds.
- The codec of new tables is snappy; an S3 or NAS source's `propertyList` may name another for a folder:
  `{"name": "parquet.compression.gold", "value": "zstd"}`. Row groups hold up to 1,000,000 rows.
- A query of a promoted folder that has lost a file lists the folder again and is tried anew, as by Dremio, unless rows
  of it have been handed out by Flight; a statement that writes is not tried again.
- Sources: S3, NAS, POSTGRES and ELASTIC. Formats for promotion: Parquet, JSON and Text.

## Elasticsearch

An ELASTIC source has a table for each index and alias of Elasticsearch 7 and newer: `source.index._doc`. Its columns
are the fields of the mapping, then `_index`, `_type`, `_uid`, and `_id` if `showIdColumn` is set.

- Which fields hold lists is learned from the first 4,000 documents; a list that comes later fails the query with
  `New schema found. Please reattempt the query.`, and the next one reads it.
- A date is read as it is written, without its zone: `10:00+02:00` is 10:00. Objects and nested fields are STRUCT,
  geo_point is STRUCT of lat and lon.
- Left out are fields that the mapping does not have, geo_shape, dates in formats of weeks and ordinal days, and the
  types that Dremio does not read (flattened, ranges, date_nanos, unsigned_long and others).
- A new field is seen after ALTER TABLE .. REFRESH METADATA, a new index at once. Names with wildcards are not resolved.
- A query reads all documents of its indices by the scroll API before it answers: filters, limits and aggregations are
  not pushed down. Only the hosts of `hostList` are asked, as Dremio does with `useWhitelist`.

## Access control

With `DREMIO_EDITION=enterprise` every statement is checked for its user. A privilege on a container is one on all in
it; `ALL DATASETS IN` is for the datasets that exist now; `ALL` is all but MANAGE GRANTS and OWNERSHIP. Views and
functions read with the privileges of their owner, who is the user that made them or last replaced them. Privileges
that are not enforced here (VIEW REFLECTION, MODIFY, MONITOR and others) cannot be granted.

- UPDATE, DELETE and MERGE need SELECT on their table too; COPY INTO needs SELECT on the folder of the files.
- ALTER on a space or folder lets make views, functions and folders in it; ALTER or DROP on a view lets drop it.
- OPTIMIZE, VACUUM TABLE and ROLLBACK are for the table's owner and administrators, as are all but one's own jobs.
- Who calls a function needs EXECUTE on it, also when a view calls it.
- REST's paths of the catalog and of reflections are for administrators: other users work with SQL.

## Functions

| function | example | result |
|---|---|---|
"""


def query_of(name: str, expression: str) -> str:
    """The whole query of an example."""
    if any(place in expression for place in _OVER_ROWS):
        return f"SELECT {expression} FROM {ROWS}{' GROUP BY n' if name.startswith('GROUPING') else ''}"
    return f"SELECT {expression}"


def _cell(value: Any) -> str:
    shown = repr(value) if isinstance(value, (str, bytes)) else str(value)
    return "`" + shown.replace("|", "\\|") + "`"


def page() -> str:
    """The whole page."""
    statements = "".join(f"| {name} | {state} | {limit} |\n" for name, state, limit in STATEMENTS)
    functions = "".join(
        f"| {name} | `{expression.replace('|', chr(92) + '|')}` | {_cell(value)} |\n"
        for name, expression, value in EXAMPLES
    )
    note = f"\n`n` and `s` are the columns of `{ROWS}`.\n"
    return HEAD + statements + DIFFERENCES + functions + note


if __name__ == "__main__":
    print(page(), end="")
