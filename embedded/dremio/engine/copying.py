"""COPY INTO: rows of CSV, JSON and Parquet files of a source into a table of the lake.

The files are checked first, outside of the write: so the write is one INSERT for each file, and a file that cannot be
read does not take the others down with it when ON_ERROR says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from embedded.dremio.catalog import storage
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine import copy_errors, lake, results
from embedded.dremio.engine.contracts import Handle, Result, Session, Statement, StatementKind
from embedded.dremio.engine.copy_scans import CopyOptions, Scan, scan_of
from embedded.dremio.engine.ddl import target_table
from embedded.dremio.engine.tables import physical_of
from embedded.dremio.errors import DataReadError, DremioError, ParseError, UnsupportedOperation, ValidationError
from embedded.dremio.sql import records
from embedded.dremio.sql.kinds import quoted

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

_SCHEMA = pa.schema([pa.field("Rows Inserted", pa.int64()), pa.field("Rows Rejected", pa.int64())])
_TEXT = {"DATE_FORMAT", "EMPTY_AS_NULL", "NULL_IF", "TIME_FORMAT", "TIMESTAMP_FORMAT", "TRIM_SPACE"}
_OPTIONS = {
    "csv": _TEXT | {"ESCAPE_CHAR", "EXTRACT_HEADER", "FIELD_DELIMITER", "QUOTE_CHAR", "RECORD_DELIMITER", "SKIP_LINES"},
    "json": _TEXT,
    "parquet": set(),
}
_LINE_ENDS = ("\n", "\r\n", "\r")
_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t", "\\\\": "\\", "\\'": "'", '\\"': '"', "\\r\\n": "\r\n"}
MAX_FILES = 1000


def prepare(engine: Engine, record: records.CopyInto, session: Session, sql: str) -> Statement:
    """COPY INTO table FROM '@source/folder[/file]' [FILES (..) | REGEX '..'] [FILE_FORMAT '..'] [(options)]."""
    entity = target_table(engine, record.path, session, "COPY INTO")
    source, folder = _location(engine, record.location)
    address = storage.address_of(source, folder)
    kind = _format(record)
    options, on_error = _options(record, kind)

    def run(session: Session, handle: Handle) -> Result:
        engine.duck.ensure(source)
        scans, rejected, files = [], 0, []
        for file in _files(record, source, address, kind):
            scan, bad = _checked(engine, entity, file, kind, options, on_error)
            rejected += bad
            files += [file] if bad else []
            if scan is not None:
                scans.append(scan)
        physical = physical_of(engine.catalog, engine.duck, entity)
        inserted = 0
        with lake.writing(engine, handle) as cursor:
            for scan in scans:
                rows = cursor.execute(_insert(physical, scan, on_error)).fetchall()
                inserted += int(rows[0][0]) if rows else 0
        if files:
            job = {"job_id": handle.job_id, "user": session.user, "folder": folder, "format": kind, "files": files}
            copy_errors.remember(engine, entity, job, options)
        result = results.rows(_SCHEMA, [{"Rows Inserted": inserted, "Rows Rejected": rejected}])
        result.records = inserted
        return result

    return Statement(sql, StatementKind.DML, _SCHEMA, plan=run)


def _checked(
    engine: Engine, entity: Entity, file: str, kind: str, options: CopyOptions, on_error: str
) -> tuple[Scan | None, int]:
    """How a file is read (None: not at all) and how many rows of it are rejected; with ``abort`` nothing is checked."""
    try:
        scan = scan_of(engine.duck, entity, file, kind, options)
        if on_error == "ABORT":
            return scan, 0
        with engine.duck.cursor() as cursor:
            (bad,) = cursor.execute(f"SELECT count(*) FROM {scan.sql} WHERE {scan.rejected}").fetchall()[0]
    except (DremioError, duckdb.Error):
        if on_error == "ABORT":
            raise
        return None, 1
    if on_error == "SKIP_FILE" and bad:
        return None, 1
    return scan, int(bad)


def _insert(physical: str, scan: Scan, on_error: str) -> str:
    listed = ", ".join(quoted(name) for name in scan.columns)
    values = ", ".join(scan.strict if on_error == "ABORT" else scan.lenient)
    where = "" if on_error == "ABORT" else f" WHERE NOT ({scan.rejected})"
    return f"INSERT INTO {physical} ({listed}) SELECT {values} FROM {scan.sql}{where}"


def _location(engine: Engine, location: str) -> tuple[Entity, tuple[str, ...]]:
    if not location.startswith("@"):
        raise ParseError("Specified location clause not found, Dremio sources should precede with '@'")
    parts = tuple(part.strip('"') for part in location.removeprefix("@").strip("/").split("/"))
    if any(part in ("", "..") for part in parts):
        raise ValidationError(f"Invalid location [{location}]: write '@source/folder'.")
    source = engine.catalog.source_of(parts)
    if source is None or source.body.get("type") not in ("S3", "NAS"):
        raise ValidationError(f"Source [{parts[0]}] not found or not a source of files.")
    return source, parts


def _extension(name: str) -> str:
    name = name.rpartition("/")[2].removesuffix(".gz")
    return name.rpartition(".")[2].lower() if "." in name else ""


def _format(record: records.CopyInto) -> str:
    """The format of the files: as given, or by the extension of the files named."""
    if len(record.files) > MAX_FILES:
        raise ParseError(f"Maximum number of files allowed in the FILES clause is {MAX_FILES}")
    if len({_extension(name) for name in record.files}) > 1:
        raise ParseError("Files with only one type of extension are allowed in the files list.")
    named = record.files[0] if record.files else record.pattern if record.pattern is not None else record.location
    kind = record.file_format or _extension(named)
    if not kind:
        raise ParseError(
            "File format could not be inferred from the file extension, please specify FILE_FORMAT option."
        )
    if kind not in _OPTIONS:
        raise ParseError(f"Specified File Format '{kind.upper()}' is not supported")
    return kind


def _options(record: records.CopyInto, kind: str) -> tuple[CopyOptions, str]:
    """The options of the format, and ON_ERROR; raises ParseError for those that Dremio does not have."""
    made, on_error = CopyOptions(), "ABORT"
    for name, value in record.options.items():
        if name == "ON_ERROR":
            on_error = str(value).upper()
            if on_error not in ("ABORT", "CONTINUE", "SKIP_FILE"):
                raise ParseError(f"Specified value '{value}' is not valid for Copy Option ON_ERROR")
            if on_error == "CONTINUE" and kind == "parquet":
                raise ParseError("ON_ERROR 'continue' option is not supported for parquet file format")
        elif name not in _OPTIONS["csv"]:
            raise ParseError(f"Specified '{name}' option is not supported")
        elif name not in _OPTIONS[kind]:
            raise ParseError(f"Unsupported format option {name} for file type {kind.upper()}.")
        else:
            setattr(made, name.lower(), _value(name, value))
    return made, on_error


def _value(name: str, value: Any) -> Any:
    bad = ParseError(f"Specified value '{value}' is not valid for Format Option '{name}' ")
    if name in ("TRIM_SPACE", "EMPTY_AS_NULL", "EXTRACT_HEADER"):
        if str(value).upper() not in ("TRUE", "FALSE"):
            raise bad
        return str(value).upper() == "TRUE"
    if name == "SKIP_LINES":
        if not str(value).isdigit():
            raise ParseError(f"Invalid value for SKIP_LINES: must be a non-negative integer, but got '{value}'")
        return int(value)
    if name == "NULL_IF":
        return [value] if isinstance(value, str) else list(value)
    if name in ("FIELD_DELIMITER", "QUOTE_CHAR", "ESCAPE_CHAR"):
        plain = _ESCAPES.get(value, value)
        if len(plain) != 1:
            raise bad
        return plain
    if name == "RECORD_DELIMITER":
        plain = _ESCAPES.get(value, value)
        if plain not in _LINE_ENDS:
            raise UnsupportedOperation("COPY INTO with another RECORD_DELIMITER than a line's end is not supported.")
        return plain
    return value


def _files(record: records.CopyInto, source: Entity, address: str, kind: str) -> list[str]:
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
    elif found != [address]:  # a folder: the files of the format in it
        found = [file for file in found if _extension(file) == kind]
    if not found:
        raise DataReadError(f"No files found in [{record.location}]")
    return found
