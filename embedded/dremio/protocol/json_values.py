"""Arrow results as ``GET /api/v3/job/{id}/results`` writes them: Dremio's type names and value forms."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import struct
from collections.abc import Callable
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.types as pat

from embedded.dremio.types import columns_of


def schema_json(schema: pa.Schema) -> list[dict[str, Any]]:
    """The ``schema`` array of a results page."""
    return [column.rest for column in columns_of(schema)]


def rows_json(table: pa.Table, numbers_as_strings: bool) -> list[dict[str, Any]]:
    """The ``rows`` array of a results page.

    numbers_as_strings: what the request header ``x-dremio-job-data-number-format: number-as-string`` asks for.
    """
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        months = (field.metadata or {}).get(b"dremio:interval") == b"year_month"
        write = _months_text if months else _writer(field.type, numbers_as_strings)
        columns.append([None if value is None else write(value) for value in column.to_pylist()])
    names = table.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _writer(kind: pa.DataType, as_strings: bool) -> Callable[[Any], Any]:
    if pat.is_integer(kind):
        return str if as_strings else _same
    if pat.is_floating(kind):
        return _float_writer(kind, as_strings)
    if pat.is_decimal(kind):
        return _decimal_text if as_strings else _decimal_number
    if pat.is_map(kind):
        key, item = _writer(kind.key_type, as_strings), _writer(kind.item_type, as_strings)
        return lambda value: {str(key(k)): _nullable(item, v) for k, v in value}
    if pat.is_struct(kind):
        inner = {field.name: _writer(field.type, as_strings) for field in kind}
        return lambda value: {name: _nullable(inner[name], item) for name, item in value.items()}
    if pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind):
        element = _writer(kind.value_type, as_strings)
        return lambda value: [_nullable(element, item) for item in value]
    if kind == pa.month_day_nano_interval():
        return _interval_text
    return _scalar


def _nullable(write: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else write(value)


def _same(value: Any) -> Any:
    return value


def _float_writer(kind: pa.DataType, as_strings: bool) -> Callable[[float], Any]:
    single = pat.is_float32(kind)

    def write(value: float) -> Any:
        if math.isnan(value) or math.isinf(value):
            return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        text = _single_text(value) if single else repr(value)
        return text if as_strings else float(text)

    return write


def _single_text(value: float) -> str:
    """The shortest text that is read back as the same single-precision number, as Java writes it."""
    bits = struct.pack("f", value)
    texts = (format(value, f".{digits}g") for digits in range(6, 10))
    return next(text for text in texts if struct.pack("f", float(text)) == bits)


def _decimal_text(value: decimal.Decimal) -> str:
    return format(value, "f")


def _decimal_number(value: decimal.Decimal) -> orjson.Fragment:
    """A JSON number with all digits, which a float would lose."""
    return orjson.Fragment(_decimal_text(value))


def _scalar(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03d}"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, dt.time):
        return f"{value:%H:%M:%S}.{value.microsecond // 1000:03d}"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, bool | str):
        return value
    return str(value)


def _interval_text(value: pa.MonthDayNano) -> str:
    """INTERVAL DAY TO SECOND: a sign, three digits of days, the time of day (``+090 11:35:23.000``)."""
    total = value.days * 86_400_000 + value.nanoseconds // 1_000_000
    days, rest = divmod(abs(total), 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    sign = "-" if total < 0 else "+"
    return f"{sign}{days:03d} {hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _months_text(value: pa.MonthDayNano) -> str:
    """INTERVAL YEAR TO MONTH: ``+004-00``."""
    years, months = divmod(abs(value.months), 12)
    return f"{'-' if value.months < 0 else '+'}{years:03d}-{months:02d}"
