"""MySQL's and MariaDB's column types as Airbyte maps them: how a value is asked for, and how it becomes Arrow.

A value comes in one of two ways: out of a SELECT (numbers and times of day as such, all else as the server's text) or
out of the binlog (as mysql-replication decodes it). Both give the same Arrow value.
"""

import base64
import datetime
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

BOOLEAN = {"type": "boolean"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
TEXT = {"type": "string"}
BINARY = {"type": "string", "contentEncoding": "base64"}
DATE = {"type": "string", "format": "date"}
TIME = {"type": "string", "format": "time", "airbyte_type": "time_without_timezone"}
DATE_TIME = {"type": "string", "format": "date-time", "airbyte_type": "timestamp_without_timezone"}
DATE_TIME_TZ = {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"}

LOCAL = pa.timestamp("us")
INSTANT = pa.timestamp("us", "UTC")
EPOCH = datetime.datetime(1970, 1, 1)
ZERO_DATE = "0000-00-00"
LARGEST_DECIMAL = 38  # digits of a decimal in Parquet that every reader takes
INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "year"}
FLOATS = {"float", "double"}
TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"}
# with the prefix of a spatial type's own format (SRID, then WKB)
BINARIES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob",
            "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
            "geometrycollection", "geomcollection"}  # fmt: skip
# types that say when a row changed, or grow with it
CURSOR_TYPES = INTEGERS | FLOATS | {"decimal", "date", "datetime", "timestamp", "char", "varchar"}


@dataclass(frozen=True)
class Column:
    """A column as information_schema describes it."""

    name: str
    data_type: str
    column_type: str
    required: bool = False
    precision: int = 0
    scale: int = 0
    charset: str | None = None
    tinyint1_is_integer: bool = False

    @property
    def kind(self) -> "Kind":
        unsigned = "unsigned" in self.column_type
        if self.column_type == "bit(1)" or (self.column_type == "tinyint(1)" and not self.tinyint1_is_integer):
            return KINDS["boolean"]
        if self.data_type == "bigint" and unsigned:
            return KINDS["bigint unsigned"]
        if self.data_type in INTEGERS:
            return KINDS["integer"]
        if self.data_type == "decimal" and self.precision > LARGEST_DECIMAL:
            return KINDS["long decimal"]
        if self.data_type in BINARIES:
            return KINDS["binary"]
        if self.data_type in TEXTS:
            return KINDS["text"]
        return KINDS.get(self.data_type, KINDS["other"])

    @property
    def arrow_type(self) -> pa.DataType:
        return pa.decimal128(self.precision, self.scale) if self.kind is KINDS["decimal"] else self.kind.arrow

    @property
    def members(self) -> list[str]:
        """The values of an enum or set, in their order."""
        quoted = re.findall(r"'((?:[^']|'')*)'", self.column_type)
        return [text.replace("''", "'") for text in quoted] if self.data_type in ("enum", "set") else []

    @property
    def width(self) -> int:
        """The number between the parentheses of the type: bits of a bit, bytes of a binary."""
        found = re.search(r"\((\d+)\)", self.column_type)
        return int(found.group(1)) if found else 1

    def select(self, identifier: str) -> str:
        """The SQL expression that gives the value to `finish`."""
        return self.kind.select.format(c=identifier)

    def finish(self, values: pa.Array) -> pa.Array:
        """The column out of values of its kind's `wire` type; raises ValueError for what the lake cannot hold."""
        return self.kind.finish(self, values)

    def from_binlog(self, values: Sequence[Any]) -> pa.Array:
        """The column out of values of binlog rows."""
        kind = self.kind
        plain = [None if value is None else kind.from_binlog(self, value) for value in values]
        return self.finish(pa.array(plain, kind.wire))


@dataclass(frozen=True)
class Kind:
    """What columns of some types have in common.

    :param wire: what the values are on the way, out of a SELECT as out of `from_binlog`.
    """

    schema: dict[str, Any]
    arrow: pa.DataType
    wire: pa.DataType
    finish: Callable[[Column, pa.Array], pa.Array]
    from_binlog: Callable[[Column, Any], Any]
    select: str = "{c}"


def _same(column: Column, value: Any) -> Any:
    return value


def _unchanged(column: Column, values: pa.Array) -> pa.Array:
    return values


def _cast(column: Column, values: pa.Array) -> pa.Array:
    return values.cast(column.arrow_type)


def _times(column: Column, values: pa.Array) -> pa.Array:
    spans = values.cast(pa.int64())
    if len(spans) > spans.null_count:
        limits = pc.min_max(spans).as_py()
        if limits["min"] < 0 or limits["max"] >= 24 * 3600 * 1_000_000:
            raise ValueError("a time below 00:00:00 or above 23:59:59, which a time of day in the lake cannot be")
    return spans.cast(pa.time64("us"))


def _dates(column: Column, values: pa.Array) -> pa.Array:
    """Dates out of their text. A zero date becomes null, or the epoch in a column that is NOT NULL: Airbyte's way."""
    try:
        return _dated(values, column.arrow_type)
    except pa.ArrowInvalid:
        zero = pc.match_substring_regex(values, "^0000|^....-00|^.......-00")
        epoch = EPOCH.isoformat(" ")[: 10 if column.data_type == "date" else None]
        replacement = pa.scalar(epoch if column.required else None, pa.string())
        return _dated(pc.if_else(zero, replacement, values), column.arrow_type)


def _dated(texts: pa.Array, type_: pa.DataType) -> pa.Array:
    return texts.cast(LOCAL).cast(INSTANT) if type_ == INSTANT else texts.cast(type_)


def _base64(column: Column, values: pa.Array) -> pa.Array:
    encoded = [None if value is None else base64.b64encode(value).decode() for value in values.to_pylist()]
    return pa.array(encoded, pa.string())


def _decimal_text(column: Column, value: Any) -> str:
    return f"{value:f}"


def _binlog_integer(column: Column, value: Any) -> Any:
    return 0 if column.data_type == "year" and value == 1900 else value  # 0000 is stored as 1900 + 0


def _binlog_boolean(column: Column, value: Any) -> int:
    return int(value, 2) if isinstance(value, str) else int(value)  # a bit comes as its digits


def _binlog_bits(column: Column, value: str) -> bytes:
    return int(value, 2).to_bytes((column.width + 7) // 8, "big")


def _binlog_bytes(column: Column, value: Any) -> bytes:
    data: bytes = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
    # the binlog leaves the zeros out that a binary(n) ends with
    return data.ljust(column.width, b"\0") if column.data_type == "binary" else data


def _binlog_text(column: Column, value: Any) -> str:
    if isinstance(value, (set, frozenset)):
        return ",".join(member for member in column.members if member in value)
    if isinstance(value, bytes):
        return value.decode()
    if column.data_type == "json" and not isinstance(value, str):
        return json.dumps(_decoded(value), ensure_ascii=False, default=str)
    return str(value)


def _decoded(value: Any) -> Any:
    """JSON out of the binlog, with text for the bytes that mysql-replication leaves in it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {_decoded(key): _decoded(each) for key, each in value.items()}
    return [_decoded(each) for each in value] if isinstance(value, list) else value


def _binlog_date(column: Column, value: Any) -> str:
    if value == ZERO_DATE:
        return ZERO_DATE
    if column.data_type == "timestamp" and value == EPOCH:
        return ZERO_DATE  # how a zero timestamp is stored; its range begins a second later
    return str(value.isoformat(" ")) if isinstance(value, datetime.datetime) else str(value.isoformat())


INT, DOUBLE, STRING, BYTES = pa.int64(), pa.float64(), pa.string(), pa.binary()
LONG = pa.decimal128(20, 0)  # beyond int64, so that no value of a bigint unsigned is lost
TIME_OF_DAY, SPAN = pa.time64("us"), pa.duration("us")
KINDS = {
    "boolean": Kind(BOOLEAN, pa.bool_(), INT, _cast, _binlog_boolean, "{c} + 0"),
    "integer": Kind(INTEGER, INT, INT, _unchanged, _binlog_integer),
    "bigint unsigned": Kind(INTEGER, LONG, LONG, _unchanged, _same),
    # the server shows a float with six digits only; as a double it is exact
    "float": Kind(NUMBER, DOUBLE, DOUBLE, _unchanged, _same, "{c} + 0e0"),
    "double": Kind(NUMBER, DOUBLE, DOUBLE, _unchanged, _same),
    "decimal": Kind(NUMBER, pa.decimal128(LARGEST_DECIMAL, 0), STRING, _cast, _decimal_text),
    "long decimal": Kind(NUMBER, DOUBLE, STRING, _cast, _decimal_text),
    "date": Kind(DATE, pa.date32(), STRING, _dates, _binlog_date),
    "datetime": Kind(DATE_TIME, LOCAL, STRING, _dates, _binlog_date),
    "timestamp": Kind(DATE_TIME_TZ, INSTANT, STRING, _dates, _binlog_date),
    "time": Kind(TIME, TIME_OF_DAY, SPAN, _times, _same),
    "bit": Kind(BINARY, STRING, BYTES, _base64, _binlog_bits),
    "binary": Kind(BINARY, STRING, BYTES, _base64, _binlog_bytes),
    "text": Kind(TEXT, STRING, STRING, _unchanged, _binlog_text),
    "other": Kind(TEXT, STRING, STRING, _unchanged, _same, "CAST({c} AS CHAR)"),
}
