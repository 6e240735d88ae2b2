"""``TABLE(copy_errors('table' [, 'job id']))``: what was wrong with the rows that COPY INTO rejected.

As in Dremio the files are read again: a job keeps no more than how it read and which of its files had bad rows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine.copy_scans import CopyOptions, csv_reader, physical_lines, scan_of
from embedded.dremio.errors import DremioError, ValidationError
from embedded.dremio.sql.kinds import text

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

COPY_ERRORS = "copy_errors$"  # the first part of the function's registered name
SCHEMA = pa.schema(
    [
        pa.field("job_id", pa.utf8()),
        pa.field("file_name", pa.utf8()),
        pa.field("line_number", pa.int64()),
        pa.field("row_number", pa.int64()),
        pa.field("column_name", pa.utf8()),
        pa.field("error", pa.utf8()),
    ]
)
KEPT_JOBS = 50  # of each table
LARGEST_JSON = 64 * 1024 * 1024  # characters in which the lines of errors are looked for
_TYPES = {"INTEGER": "INT", "BOOLEAN": "BIT", "FLOAT": "FLOAT4", "DOUBLE": "FLOAT8"}


def remember(engine: Engine, entity: Entity, job: dict[str, Any], options: CopyOptions) -> None:
    """Keep how a job read (``job_id, user, folder, format``), and the ``files`` that it rejected rows of."""
    job |= {"options": vars(options), "executed_at": datetime.now(UTC).isoformat()}
    with engine.writer:
        current = engine.catalog.get_by_id(entity.id)
        jobs = [*current.internals.get("copies", []), job][-KEPT_JOBS:]
        engine.catalog.put(current, internals={**current.internals, "copies": jobs}, tag=False)


def job_of(engine: Engine, entity: Entity, arguments: list[exp.Expr], user: str) -> str:
    """The job that a call asks for, the user's last one if it names none; raises ValidationError."""
    wanted = arguments[1].name if len(arguments) > 1 and not isinstance(arguments[1], exp.Null) else None
    jobs = [job for job in entity.internals.get("copies", []) if job["user"] == user]
    jobs = [job for job in jobs if wanted in (None, job["job_id"])]
    if not jobs:
        raise ValidationError(
            "Could not find COPY INTO job details. Make sure the given table name (and jobId) are correct. Moreover the"
            " current user must match the one that triggered the original COPY INTO command."
        )
    if engine.access is not None:
        engine.access.require(engine.access.identity(user), "SELECT", tuple(jobs[-1]["folder"]))
    return str(jobs[-1]["job_id"])


def rows(engine: Engine, entity_id: str, job_id: str) -> pa.Table:
    """The errors of a job."""
    entity = engine.catalog.get_by_id(entity_id)
    job = next(job for job in entity.internals["copies"] if job["job_id"] == job_id)
    source = engine.catalog.source_of(tuple(job["folder"]))
    if source is None:
        raise ValidationError(f"Source [{job['folder'][0]}] that job {job_id} has read is no more.")
    engine.duck.ensure(source)
    options = CopyOptions(**job["options"])
    found = [
        {"job_id": job_id, "file_name": file.removeprefix("s3:/"), **error}
        for file in job["files"]
        for error in _errors(engine, entity, file, job["format"], options)
    ]
    return pa.Table.from_pylist(found, schema=SCHEMA)


def _errors(engine: Engine, entity: Entity, file: str, kind: str, options: CopyOptions) -> Iterator[dict[str, Any]]:
    """The bad values of a file, in its order; one error without a place if it cannot be read at all."""
    cursor = engine.duck.cursor()
    try:
        scan = scan_of(engine.duck, entity, file, kind, options)
        items = "".join(f", {bad}, {value}" for bad, value in zip(scan.conditions, scan.texts, strict=True))
        numbered = f'(SELECT *, row_number() OVER () AS "row$" FROM {scan.sql})'
        bad = [
            (row[0], name, value)
            for row in cursor.execute(f'SELECT "row$"{items} FROM {numbered} WHERE {scan.rejected}').fetchall()
            for name, is_bad, value in zip(scan.columns, row[1::2], row[2::2], strict=True)
            if is_bad
        ]
        lines = _LINES[kind](cursor, file, options, {(row, name.lower()) for row, name, _ in bad})
    except (DremioError, duckdb.Error) as error:
        yield {"error": str(error).partition("\n")[0]}
        return
    finally:
        cursor.close()
    kinds = {column.name: _TYPES.get(column.type.name, column.type.name) for column in entity.columns}
    # Dremio counts the header as row 0 of a CSV file; without one the first row is 0
    earlier = 1 if kind == "csv" and not options.extract_header else 0
    for row, name, value in bad:
        yield {
            "line_number": lines.get((row, name.lower())),
            "row_number": row - earlier,
            "column_name": name,
            "error": f'While processing field "{name}". Could not convert "{value}" to {kinds[name]}.',
        }


Places = dict[tuple[int, str], int]  # (row, column) to its line


def _csv_lines(
    cursor: duckdb.DuckDBPyConnection, file: str, options: CopyOptions, wanted: set[tuple[int, str]]
) -> Places:
    """The lines in which some rows begin."""
    columns: dict[int, list[str]] = {}
    for row, name in wanted:
        columns.setdefault(row, []).append(name)
    cursor.execute(f"SELECT line FROM {physical_lines(file, options)}")
    texts = (f"{line or ''}\n" for page in iter(lambda: cursor.fetchmany(10_000), []) for (line,) in page)
    reader = csv_reader(texts, options)
    found: Places = {}
    row, line, width = 0 if not options.extract_header else -1, options.skip_lines + 1, 0
    with suppress(csv.Error):
        for values in reader:
            width = width or len(values)
            if values or width == 1:  # an empty line is a row where there is one column
                row += 1
                found |= {(row, name): line for name in columns.get(row, [])}
            line = options.skip_lines + reader.line_num + 1
    return found


def _json_lines(
    cursor: duckdb.DuckDBPyConnection, file: str, options: CopyOptions, wanted: set[tuple[int, str]]
) -> Places:
    """The lines in which some fields' values begin; none of compressed and very large files."""
    found: Places = {}
    if file.endswith(".gz"):
        return found
    query = f"SELECT content FROM read_text({text(file)}) WHERE size < {LARGEST_JSON}"
    for (content,) in cursor.execute(query).fetchall():
        with suppress(json.JSONDecodeError, IndexError):  # it is not JSON as Python has it: then there are no lines
            for place, at in _members(content, {row for row, _ in wanted}):
                if place in wanted:
                    found[place] = content.count("\n", 0, at) + 1
    return found


def _members(content: str, rows: set[int]) -> Iterator[tuple[tuple[int, str], int]]:
    """(row, field) of the fields of some of the objects in a text, and where their values begin."""
    decoder, row, at = json.JSONDecoder(), 0, _past(content, 0, " \t\r\n[")
    while at < len(content) and content[at] != "]":
        row += 1
        if row in rows:
            place = _past(content, at + 1, " \t\r\n")
            while content[place] != "}":
                name, place = decoder.raw_decode(content, place)
                place = _past(content, place, " \t\r\n:")
                yield (row, name.lower()), place
                place = _past(content, decoder.raw_decode(content, place)[1], " \t\r\n,")
        at = _past(content, decoder.raw_decode(content, at)[1], " \t\r\n,")


def _past(content: str, at: int, skipped: str) -> int:
    while at < len(content) and content[at] in skipped:
        at += 1
    return at


_LINES: dict[str, Callable[..., Places]] = {
    "csv": _csv_lines,
    "json": _json_lines,
    "parquet": lambda cursor, file, options, wanted: {},
}
