"""COPY INTO: rows of CSV, JSON and Parquet files of a source into a table of the lake."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

from embedded.dremio.catalog import storage
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine import lake, results
from embedded.dremio.engine.contracts import Handle, Result, Session, Statement, StatementKind
from embedded.dremio.engine.ddl import table
from embedded.dremio.engine.dml import assigned
from embedded.dremio.engine.tables import physical_of, read_columns
from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import statements
from embedded.dremio.sql.kinds import VARCHAR, duckdb_type, quoted, text
from embedded.dremio.sql.registry import Bound

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

_SCHEMA = pa.schema([pa.field("Rows Inserted", pa.int64()), pa.field("Rows Rejected", pa.int64())])
_EXTENSIONS = {"csv": "csv", "json": "json", "parquet": "parquet"}
_CSV_OPTIONS = {"FIELD_DELIMITER", "EXTRACT_HEADER", "ON_ERROR", "QUOTE_CHAR", "ESCAPE_CHAR", "NULL_IF", "TRIM_SPACE",
                "EMPTY_AS_NULL", "RECORD_DELIMITER", "SKIP_LINES"}  # fmt: skip


def prepare(engine: Engine, record: statements.CopyInto, session: Session, sql: str) -> Statement:
    """COPY INTO table FROM '@source/folder' [FILES (..) | REGEX '..'] [FILE_FORMAT '..'] [(options)]."""
    entity = table(engine, record.path, session)
    lake.lake_table(entity, "COPY INTO")
    source, address = _location(engine, record.location)
    if str(record.options.get("ON_ERROR", "abort")).lower() != "abort":
        raise UnsupportedOperation("COPY INTO with ON_ERROR other than 'abort' is not supported.")
    if set(record.options) - _CSV_OPTIONS:
        raise UnsupportedOperation(
            f"COPY INTO option {', '.join(sorted(set(record.options) - _CSV_OPTIONS))} is not supported."
        )
    if str(record.options.get("RECORD_DELIMITER", "\n")) not in ("\n", "\\n", "\r\n", "\\r\\n"):
        raise UnsupportedOperation("COPY INTO with another RECORD_DELIMITER than a line's end is not supported.")

    def run(session: Session, handle: Handle) -> Result:
        files, kind = _files(record, source, address)
        engine.duck.ensure(source)
        physical = physical_of(engine.catalog, engine.duck, entity)
        with lake.writing(engine, handle) as cursor:
            count = 0
            for file in files:
                insert = _insert(engine, physical, entity, record, file, kind)
                rows = cursor.execute(insert).fetchall()
                count += int(rows[0][0]) if rows else 0
        result = results.rows(_SCHEMA, [{"Rows Inserted": count, "Rows Rejected": 0}])
        result.records = count
        return result

    return Statement(sql, StatementKind.DML, _SCHEMA, plan=run)


def _location(engine: Engine, location: str) -> tuple[Entity, str]:
    parts = tuple(part.strip('"') for part in location.removeprefix("@").strip("/").split("/"))
    if not location.startswith("@") or any(part in ("", "..") for part in parts):
        raise ValidationError(f"Invalid location [{location}]: write '@source/folder'.")
    source = engine.catalog.source_of(parts)
    if source is None or source.body.get("type") not in ("S3", "NAS"):
        raise ValidationError(f"Source [{parts[0]}] not found or not a source of files.")
    return source, storage.address_of(source, parts)


def _files(record: statements.CopyInto, source: Entity, address: str) -> tuple[list[str], str]:
    found = [file.address for file in storage.list_files(source, address)]
    if record.files:
        wanted = {f"{address}/{name.lstrip('/')}" for name in record.files}
        missing = wanted - set(found)
        if missing:
            raise ValidationError(f"File [{sorted(missing)[0].rpartition('/')[2]}] not found in [{record.location}]")
        found = sorted(wanted)
    elif record.pattern is not None:
        try:
            matcher = re.compile(record.pattern)
        except re.error as error:
            raise ValidationError(f"Invalid REGEX [{record.pattern}]: {error}") from None
        found = [file for file in found if matcher.fullmatch(file[len(address) :])]
    kind = record.file_format or (found[0].rpartition(".")[2].lower() if found else "")
    if kind not in _EXTENSIONS:
        raise ValidationError(f"File format [{kind}] is not supported: give FILE_FORMAT 'csv', 'json' or 'parquet'.")
    if not record.files and record.pattern is None:
        found = [file for file in found if file.lower().removesuffix(".gz").endswith(f".{_EXTENSIONS[kind]}")]
    if not found:
        raise ValidationError(f"No files found in [{record.location}]")
    return found, kind


def _insert(engine: Engine, physical: str, entity: Entity, record: statements.CopyInto, file: str, kind: str) -> str:
    """The INSERT for one file: columns are matched by name (CSV without header: by position)."""
    if kind == "csv":
        scan = _csv(record, file)
    elif kind == "json":
        wanted = ", ".join(f"{quoted(c.name)}: {text(duckdb_type(c.type))}" for c in entity.columns)
        scan = f"read_json([{text(file)}], format = 'auto', columns = {{{wanted}}})"
    else:
        scan = f"read_parquet([{text(file)}])"
    columns, _ = read_columns(engine.duck, scan, f"the file {file}")
    header = str(record.options.get("EXTRACT_HEADER", "true")).lower() == "true"
    if kind == "csv" and not header:
        pairs = list(zip(entity.columns, columns, strict=False))
    else:
        by_name = {c.name.lower(): c for c in columns}
        pairs = [(c, by_name[c.name.lower()]) for c in entity.columns if c.name.lower() in by_name]
    if not pairs:
        raise ValidationError(f"No column name matches target schema in file {file}")
    items = []
    for target, column in pairs:
        value = Bound(quoted(column.name), VARCHAR if kind == "csv" else column.type)
        items.append(assigned(_nulled(value, record) if kind == "csv" else value, target))
    listed = ", ".join(quoted(target.name) for target, _ in pairs)
    return f"INSERT INTO {physical} ({listed}) SELECT {', '.join(items)} FROM {scan}"


def _nulled(value: Bound, record: statements.CopyInto) -> Bound:
    sql = value.sql
    if str(record.options.get("TRIM_SPACE", "false")).lower() == "true":
        sql = f"trim({sql})"
    nulls = record.options.get("NULL_IF") or []
    texts = [nulls] if isinstance(nulls, str) else list(nulls)
    if str(record.options.get("EMPTY_AS_NULL", "true")).lower() == "true":
        texts.append("")
    for each in texts:
        sql = f"nullif({sql}, {text(each)})"
    return Bound(sql, VARCHAR)


def _csv(record: statements.CopyInto, file: str) -> str:
    header = str(record.options.get("EXTRACT_HEADER", "true")).lower() == "true"
    options = [
        f"delim = {text(str(record.options.get('FIELD_DELIMITER', ',')))}",
        f"quote = {text(str(record.options.get('QUOTE_CHAR', chr(34))))}",
        f"escape = {text(str(record.options.get('ESCAPE_CHAR', chr(34))))}",
        f"header = {'true' if header else 'false'}",
        f"skip = {int(record.options.get('SKIP_LINES', 0))}",
        "all_varchar = true",
        "auto_detect = true",
        "sample_size = 1",
    ]
    return f"read_csv([{text(file)}], {', '.join(options)})"
