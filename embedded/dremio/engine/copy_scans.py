"""How COPY INTO reads one file: its columns by name, their values as the target's types, and which rows are bad."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import duckdb

from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine.dml import assigned
from embedded.dremio.engine.duck import Duck
from embedded.dremio.engine.tables import read_columns
from embedded.dremio.errors import DataReadError, ValidationError
from embedded.dremio.sql import casts, formats
from embedded.dremio.sql.kinds import VARCHAR, quoted, text
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.special import structure_of
from embedded.dremio.types import Column, DremioType

_NESTED = ("LIST", "STRUCT", "MAP")


@dataclass
class CopyOptions:
    """The format options of COPY INTO, with Dremio's defaults."""

    field_delimiter: str = ","
    quote_char: str = '"'
    escape_char: str = '"'
    record_delimiter: str = "\n"
    extract_header: bool = True
    skip_lines: int = 0
    trim_space: bool = False
    empty_as_null: bool = True
    null_if: list[str] = field(default_factory=list)
    date_format: str = ""
    time_format: str = ""
    timestamp_format: str = ""


@dataclass
class Scan:
    """What follows FROM, and for each column of the target that the file has: its value, raising or null when bad.

    `rejected` is the condition of a row that has a value which is no value of the target's type, `texts` are the values
    as the file has them.
    """

    sql: str
    columns: list[str] = field(default_factory=list)
    strict: list[str] = field(default_factory=list)
    lenient: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def rejected(self) -> str:
        """True of a bad row."""
        return " OR ".join(self.conditions) or "FALSE"

    def add(self, target: Column, present: str, strict: str, lenient: str, shown: str) -> None:
        """A column; `present`: the condition that the file has a value there; `shown`: the value as a text."""
        self.texts.append(shown)
        self.columns.append(target.name)
        self.strict.append(strict)
        self.lenient.append(lenient)
        self.conditions.append(f"(({present}) AND ({lenient}) IS NULL)")


def scan_of(duck: Duck, entity: Entity, file: str, kind: str, options: CopyOptions) -> Scan:
    """How a file is read; raises DataReadError, ValidationError when it cannot be."""
    scan = {"csv": _csv, "json": _json, "parquet": _parquet}[kind](duck, entity, file, options)
    if not scan.columns:
        raise ValidationError(f"No column name matches target schema in file {file}")
    return scan


def _rows(duck: Duck, file: str, sql: str) -> list[tuple[Any, ...]]:
    cursor = duck.cursor()
    try:
        return cursor.execute(sql).fetchall()
    except duckdb.Error as error:
        raise DataReadError(f"Cannot read the file {file}: {error}") from error
    finally:
        cursor.close()


# -- CSV ---------------------------------------------------------------------------------------------------------


def _csv(duck: Duck, entity: Entity, file: str, options: CopyOptions) -> Scan:
    """Columns by the names in the header, or by position without one."""
    if options.extract_header:
        names = _header(duck, file, options)
        by_name = {c.name.lower(): c for c in entity.columns}
        targets = [by_name.get(name.strip().lower()) for name in names]
    else:
        targets = list(entity.columns)
    columns = ", ".join(f"{text(f'c{place}')}: 'VARCHAR'" for place in range(len(targets)))
    sql = f"read_csv([{text(file)}], {_dialect(options)}, header = {options.extract_header}, columns = {{{columns}}})"
    scan = Scan(sql)
    for place, target in enumerate(targets):
        if target is not None:
            value = _nulled(f"c{place}", options)
            scan.add(
                target,
                f"{value} IS NOT NULL",
                _from_text(value, target.type, options, False),
                _from_text(value, target.type, options, True),
                f"c{place}",
            )
    return scan


def _dialect(options: CopyOptions) -> str:
    """Rows with too few values end in nulls, values too many are left out."""
    return (
        f"delim = {text(options.field_delimiter)}, quote = {text(options.quote_char)},"
        f" escape = {text(options.escape_char)}, skip = {options.skip_lines}, auto_detect = false,"
        " null_padding = true, strict_mode = false, parallel = false, nullstr = chr(1)"  # '' is a text for now
    )


def _header(duck: Duck, file: str, options: CopyOptions) -> list[str]:
    """The names in the first line that is not skipped."""
    rows = _rows(duck, file, f"SELECT line FROM {physical_lines(file, options)} LIMIT 1")
    if not rows or rows[0][0] is None:
        return []
    return next(csv_reader([str(rows[0][0])], options))


def physical_lines(file: str, options: CopyOptions) -> str:
    """What follows FROM for the lines of a CSV file as they are, an empty one as null."""
    return (
        f"read_csv([{text(file)}], delim = chr(31), quote = '', escape = '', header = false,"
        f" skip = {options.skip_lines}, auto_detect = false, parallel = false, columns = {{'line': 'VARCHAR'}})"
    )


def csv_reader(lines: Iterable[str], options: CopyOptions) -> Any:
    """Python's reader of a file's lines."""
    doubled = options.quote_char == options.escape_char
    return csv.reader(
        lines,
        delimiter=options.field_delimiter,
        quotechar=options.quote_char,
        doublequote=doubled,
        escapechar=None if doubled else options.escape_char,
    )


def _nulled(value: str, options: CopyOptions) -> str:
    if options.trim_space:
        value = f"trim({value})"
    for each in [*options.null_if, *([""] if options.empty_as_null else [])]:
        value = f"nullif({value}, {text(each)})"
    return value


def _from_text(value: str, kind: DremioType, options: CopyOptions, lenient: bool) -> str:
    """A text as a value of a type; null (lenient) or an error when it is none."""
    form = {"DATE": options.date_format, "TIME": options.time_format, "TIMESTAMP": options.timestamp_format}
    if form.get(kind.name):
        moment = formats.read(value, form[kind.name], kind.name.lower(), lenient)
        return f"CAST({moment} AS {kind.name})"
    if kind.name in _NESTED:
        return _nested(value, kind, lenient)
    return casts.explicit(Bound(value, VARCHAR), casts.Target(kind), lenient).sql


# -- JSON --------------------------------------------------------------------------------------------------------


def _json(duck: Duck, entity: Entity, file: str, options: CopyOptions) -> Scan:
    """Columns by the names of the objects' fields."""
    scan = Scan(f"read_json_objects([{text(file)}], format = 'auto')")
    found = _rows(duck, file, f"SELECT DISTINCT unnest(json_keys(json)) FROM {scan.sql}")
    keys: dict[str, list[str]] = {}
    for (key,) in found:
        keys.setdefault(key.lower(), []).append(key)
    for target in entity.columns:
        spellings = sorted(keys.get(target.name.lower(), []))
        if not spellings:
            continue
        paths = [text(f'$."{key}"') for key in spellings]
        value = f"coalesce({', '.join(f'json_extract(json, {path})' for path in paths)})"
        present = f"{value} IS NOT NULL AND json_type({value}) <> 'NULL'"
        scan.add(
            target,
            present if target.type.name in _NESTED else f"{present} AND {_json_text(value, options)} IS NOT NULL",
            _from_json(value, target.type, options, False),
            _from_json(value, target.type, options, True),
            f"({value} ->> '$')",
        )
    return scan


def _json_text(value: str, options: CopyOptions) -> str:
    return _nulled(f"({value} ->> '$')", options)


def _from_json(value: str, kind: DremioType, options: CopyOptions, lenient: bool) -> str:
    if kind.name in _NESTED:
        return _nested(f"nullif(CAST({value} AS VARCHAR), 'null')", kind, lenient)
    complaint = text(f"A JSON object or array is no value of the type {kind.name}")
    bad = "NULL" if lenient else f"error({complaint})"
    plain = _from_text(_json_text(value, options), kind, options, lenient)
    return f"CASE WHEN json_type({value}) IN ('OBJECT', 'ARRAY') THEN {bad} ELSE {plain} END"


def _nested(value: str, kind: DremioType, lenient: bool) -> str:
    structure = text(json.dumps(structure_of(kind)))
    sql = f"from_json_strict(py_json_completed({value}, {structure}), {structure})"
    return f"TRY({sql})" if lenient else sql


# -- Parquet -----------------------------------------------------------------------------------------------------


def _parquet(duck: Duck, entity: Entity, file: str, options: CopyOptions) -> Scan:
    """Columns by name."""
    scan = Scan(f"read_parquet([{text(file)}])")
    columns, _ = read_columns(duck, scan.sql, f"the file {file}")
    by_name = {c.name.lower(): c for c in columns}
    for target in entity.columns:
        column = by_name.get(target.name.lower())
        if column is None:
            continue
        value = Bound(quoted(column.name), column.type)
        lenient = value.sql
        if column.type != target.type:
            lenient = casts.explicit(value, casts.Target(target.type), True).sql
        scan.add(target, f"{value.sql} IS NOT NULL", assigned(value, target), lenient, f"CAST({value.sql} AS VARCHAR)")
    return scan
