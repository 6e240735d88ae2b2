"""Streams of files, from the `streams` that all of Airbyte's file-based connectors have in their configuration."""

import codecs
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.formats import Columns, Format
from embedded.airbyte.sources.formats.csv_lines import Dialect
from embedded.airbyte.worker.parquet import AIRBYTE_FIELDS

URL = "_ab_source_file_url"
MODIFIED = "_ab_source_file_last_modified"
LINE = "line_number"
RESERVED = [URL, MODIFIED, LINE, *(field.name for field in AIRBYTE_FIELDS)]
_FROM_CSV = {"header_definition_type": "From CSV"}
# Options of Airbyte that are taken with these values only (the first is the default).
_ONLY: dict[str, dict[str, tuple[Any, ...]]] = {
    "stream": {
        "validation_policy": ("Emit Record",),
        "schemaless": (False, None),
        "legacy_prefix": (None, ""),
        "use_first_found_file_for_schema_discovery": (False, None),
    },
    "csv": {
        "escape_char": (None, ""),
        "skip_rows_before_header": (0, None),
        "skip_rows_after_header": (0, None),
        "header_definition": (None, _FROM_CSV),
        "null_values": (None, []),
        "inference_type": ("None", None),
        "ignore_errors_on_fields_mismatch": (False, None),
    },
    "jsonl": {},
    "parquet": {},
    "excel": {},
}


@dataclass(frozen=True)
class FileStream:
    """A stream of files.

    :param types: of columns that the configuration gives (`input_schema`); every file must have these.
    :param recent: how many of the newest files are read for the stream's columns, if the configuration gives none.
    """

    name: str
    globs: list[str]
    format: Format
    types: Columns = field(default_factory=dict)
    primary_key: list[str] = field(default_factory=list)
    recent: int = 1


def file_streams(entries: list[dict[str, Any]], lakehouse: dict[str, Any]) -> list[FileStream]:
    """The configured streams.

    :raises SyncFailure: naming stream, option and what is allowed.
    """
    return [_file_stream(entry, lakehouse.get("encoding_fallback")) for entry in entries]


def _file_stream(entry: dict[str, Any], fallback: str | None) -> FileStream:
    name, shape = entry["name"], entry.get("format") or {}
    kind = shape.get("filetype", "csv")
    if kind not in _FORMATS:
        raise refused(name, "format.filetype", kind, ", ".join(_FORMATS))
    for place, given, options in (("", entry, _ONLY["stream"]), ("format.", shape, _ONLY[kind])):
        for key, allowed in options.items():
            if given.get(key, allowed[0]) not in allowed:
                raise refused(name, place + key, given[key], json.dumps(allowed[0]))
    types = _types(name, kind, entry.get("input_schema"))
    return FileStream(
        name,
        entry.get("globs") or ["**"],
        _FORMATS[kind](name, shape, types, fallback),
        types,
        _keys(entry.get("primary_key")),
        int(entry.get("recent_n_files_to_read_for_schema_discovery") or 1),
    )


def _keys(primary_key: str | list[str] | None) -> list[str]:
    return [primary_key] if isinstance(primary_key, str) and primary_key else list(primary_key or [])


def _types(name: str, kind: str, text: str | None) -> Columns:
    if not text:
        return {}
    if kind == "parquet":
        raise refused(name, "input_schema", text, "none for Parquet, whose files have their own types")
    schema = json.loads(text)
    types = {column: {"type": type_} if isinstance(type_, str) else type_ for column, type_ in schema.items()}
    typed = [column for column, type_ in types.items() if type_ != {"type": "string"}]
    if kind == "csv" and typed:
        raise SyncFailure(
            f"Stream {name}: input_schema has columns that are no strings ({', '.join(typed)}); "
            "the embedded Airbyte reads CSV columns as text.",
            origin="source",
            kind="config_error",
        )
    return types


def refuse_other_than_records(configuration: dict[str, Any], *options: str) -> None:
    """Refuse options of a connector that would change what is read.

    :raises SyncFailure: files are to be copied instead of read, or one of `options` is set.
    """
    delivery = (configuration.get("delivery_method") or {}).get("delivery_type", "use_records_transfer")
    given = [option for option in options if configuration.get(option)]
    if delivery != "use_records_transfer":
        given = ["delivery_method"]
    if given:
        raise SyncFailure(
            f"The option {given[0]} is not supported by the embedded Airbyte; leave it out.",
            origin="source",
            kind="config_error",
        )


def refused(stream: str, option: str, value: Any, allowed: str) -> SyncFailure:
    """The failure for an option of Airbyte that is not supported here."""
    return SyncFailure(
        f"Stream {stream}: {option} {value!r} is not supported by the embedded Airbyte; it takes: {allowed}.",
        origin="source",
        kind="config_error",
    )


def _csv(name: str, shape: dict[str, Any], types: Columns, fallback: str | None) -> Format:
    from embedded.airbyte.sources.formats.csv_files import CsvFormat

    for encoding in filter(None, [shape.get("encoding"), fallback]):
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise refused(name, "format.encoding", encoding, "the encodings that Python knows") from None
    delimiter = shape.get("delimiter") or ","
    dialect = Dialect(
        delimiter="\t" if delimiter == r"\t" else delimiter,
        quote_char=shape.get("quote_char") or '"',
        double_quote=shape.get("double_quote") is not False,
        encoding=shape.get("encoding") or "utf8",
        fallback=fallback,
    )
    return CsvFormat(dialect, types, RESERVED)


def _jsonl(name: str, shape: dict[str, Any], types: Columns, fallback: str | None) -> Format:
    from embedded.airbyte.sources.formats.json_lines import JsonLinesFormat

    return JsonLinesFormat(RESERVED)


def _parquet(name: str, shape: dict[str, Any], types: Columns, fallback: str | None) -> Format:
    from embedded.airbyte.sources.formats.parquet_files import ParquetFormat

    return ParquetFormat(bool(shape.get("decimal_as_float")), RESERVED)


def _excel(name: str, shape: dict[str, Any], types: Columns, fallback: str | None) -> Format:
    from embedded.airbyte.sources.formats.excel_files import ExcelFormat

    return ExcelFormat(0, types, RESERVED)


_FORMATS: dict[str, Callable[[str, dict[str, Any], Columns, str | None], Format]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "excel": _excel,
}
