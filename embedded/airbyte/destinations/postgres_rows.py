"""Arrow columns as PostgreSQL takes them: their types, and their values as the text of COPY."""

import io
import json
import re
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.json_columns import column_type
from embedded.airbyte.worker.parquet import AIRBYTE_FIELDS

TEXT, JSON, CONSTRAINED = "character varying", "jsonb", "numeric(38,9)"
# Airbyte's own columns, as its destination has them
OWN_COLUMNS = {
    "_airbyte_raw_id": f"{TEXT} NOT NULL",
    "_airbyte_extracted_at": "timestamp with time zone NOT NULL",
    "_airbyte_meta": f"{JSON} NOT NULL",
    "_airbyte_generation_id": "bigint",
}
OWN = [field.name for field in AIRBYTE_FIELDS]
CONSTRAINED_LIMIT = 1e29
NUMBERS = ("bigint", CONSTRAINED, "numeric")  # each holds what the ones before it do
LONGEST_NAME = 63


def postgres_name(name: str) -> str:
    """The name of a schema, table or column as Airbyte's destination makes it: letters, digits and underscores."""
    short = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if short[:1].isdigit():
        short = f"_{short}"
    if len(short) <= LONGEST_NAME:
        return short
    digest = 0  # Java's String.hashCode
    for character in short:
        digest = (31 * digest + ord(character)) & 0xFFFFFFFF
    return f"{short[:54]}_{str(digest - (1 << 32) if digest >= 1 << 31 else digest)[-8:]}"


def schema_types(columns: dict[str, dict[str, Any]], number: str) -> dict[str, str]:
    """The types of a stream's columns by their JSON schema."""
    return {
        name: JSON if is_json(schema) else postgres_type(name, column_type(schema)[0], number)
        for name, schema in columns.items()
    }


def is_json(schema: dict[str, Any]) -> bool:
    """Whether a property is an object or a list, which Arrow has as JSON text."""
    types = schema.get("type")
    names = [name for name in (types if isinstance(types, list) else [types]) if name != "null"]
    return names in (["object"], ["array"])


def postgres_type(name: str, type_: pa.DataType, number: str) -> str:
    """The type of a column, as PostgreSQL itself writes it.

    :param number: the type of numbers that are not whole: CONSTRAINED, or numeric.
    """
    found = None
    if pa.types.is_boolean(type_):
        found = "boolean"
    elif pa.types.is_uint64(type_):
        found = "numeric"
    elif pa.types.is_integer(type_):
        found = "bigint"
    elif pa.types.is_floating(type_):
        found = number
    elif pa.types.is_decimal(type_):
        # an exact number stays exact
        found = number if type_.scale <= 9 and type_.precision - type_.scale <= 29 else "numeric"
    elif pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_null(type_):
        found = TEXT
    elif pa.types.is_date(type_):
        found = "date"
    elif pa.types.is_time(type_):
        found = "time without time zone"
    elif pa.types.is_timestamp(type_):
        found = "timestamp with time zone" if type_.tz else "timestamp without time zone"
    if found is None:
        raise SyncFailure(
            f"Column {name} is of the Arrow type {type_}, which has no type in PostgreSQL here; deselect it.",
            origin="destination",
            kind="config_error",
        )
    return found


def wider(one: str, other: str) -> str:
    """A type that holds the values of both, with nothing lost; `one` if it is of a kind that is not made here."""
    if one == other or one == "text":
        return one
    if one in NUMBERS and other in NUMBERS:
        return max(one, other, key=NUMBERS.index)
    return TEXT


def prepared(rows: pa.Table, types: dict[str, str]) -> tuple[pa.Table, dict[str, str]]:
    """The rows with values that PostgreSQL takes, and the types that they need.

    A zero byte in text is left out, and a number too large for CONSTRAINED is null and told in `_airbyte_meta`, both as
    Airbyte does. A column of JSON with a value that is none is one of text.
    """
    types = dict(types)
    changes: dict[int, list[str]] = {}
    columns: dict[str, Any] = {}
    for name in rows.column_names:
        column = rows[name]
        if name in OWN:
            continue
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            if types[name] == JSON and not all(_is_valid(text) for text in column.to_pylist()):
                types[name] = TEXT
            column = _without_zero(column, escaped=types[name] == JSON)
        elif types[name] == CONSTRAINED and pa.types.is_floating(column.type):
            large = pc.fill_null(pc.greater_equal(pc.abs(column), CONSTRAINED_LIMIT), False)
            if pc.any(large).as_py():
                for row in pc.indices_nonzero(large).to_pylist():
                    changes.setdefault(row, []).append(name)
                column = pc.if_else(large, pa.scalar(None, column.type), column)
        columns[name] = column
    own = {name: rows[name] for name in OWN} | {"_airbyte_meta": _meta(rows["_airbyte_meta"], changes)}
    return pa.table(own | columns), types


def copy_text(rows: pa.Table) -> bytes:
    """Prepared rows as CSV: text is quoted, null is not."""
    sink = io.BytesIO()
    pa_csv.write_csv(rows, sink, pa_csv.WriteOptions(include_header=False, quoting_style="needed"))
    return sink.getvalue()


def _is_valid(text: str | None) -> bool:
    try:
        return text is None or orjson.loads(text) is not ...
    except orjson.JSONDecodeError:
        return False


def _without_zero(column: pa.ChunkedArray, *, escaped: bool) -> pa.ChunkedArray:
    if not escaped:
        found = pc.any(pc.match_substring(column, "\x00")).as_py()
        return pc.replace_substring(column, "\x00", "") if found else column
    # in JSON it is an escape, unless its backslash is escaped itself; one may follow on another
    pattern = r"(^|[^\\])((?:\\\\)*)\\u0000"
    while pc.any(pc.match_substring_regex(column, pattern)).as_py():
        column = pc.replace_substring_regex(column, pattern, r"\1\2")
    return column


def _meta(meta: pa.ChunkedArray, added: dict[int, list[str]]) -> pa.Array:
    """`_airbyte_meta` as JSON."""
    changes = pc.struct_field(meta, "changes")
    if not meta.length() or (not added and not pc.sum(pc.list_value_length(changes)).as_py()):
        text = json.dumps({"sync_id": meta[0].as_py()["sync_id"], "changes": []}) if meta.length() else ""
        return pa.repeat(pa.scalar(text), meta.length())
    entries = meta.to_pylist()
    for row, names in added.items():
        entries[row]["changes"] = [
            *entries[row]["changes"],
            *({"field": n, "change": "NULLED", "reason": "DESTINATION_FIELD_SIZE_LIMITATION"} for n in names),
        ]
    return pa.array([json.dumps(entry) for entry in entries], pa.string())
