"""JSON records to Arrow columns by a JSON schema, as Airbyte's S3 destination types them.

A value that does not fit its column becomes null, and the row's `_airbyte_meta.changes` says so: Airbyte's own way.
Who takes the files must look there (publishing does, and fails).
"""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa

from embedded.airbyte.worker.parquet import META_CHANGE


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{value!r} is not an integer")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{value!r} is out of range")
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not a boolean")
    return value


def _instant(value: Any) -> datetime:
    at = datetime.fromisoformat(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _local_time(value: Any) -> datetime:
    return datetime.fromisoformat(value).replace(tzinfo=None)


def column_type(schema: dict[str, Any]) -> tuple[pa.DataType, Callable[[Any], Any]]:
    """The Arrow type of a property, and what makes its values."""
    types = schema.get("type")
    names = [name for name in (types if isinstance(types, list) else [types]) if name != "null"]
    kind, shape = (names[0] if len(names) == 1 else None), schema.get("format")
    if kind == "integer" or schema.get("airbyte_type") == "integer":
        return pa.int64(), _integer
    if kind == "number":
        return pa.float64(), _number
    if kind == "boolean":
        return pa.bool_(), _boolean
    if kind == "string" and shape == "date":
        return pa.date32(), date.fromisoformat
    if kind == "string" and shape == "time":
        return pa.time64("us"), time.fromisoformat
    if kind == "string" and shape == "date-time":
        if schema.get("airbyte_type") == "timestamp_without_timezone":
            return pa.timestamp("us"), _local_time
        return pa.timestamp("us", tz="UTC"), _instant
    return pa.string(), _text if kind == "string" else _json


_NONE = frozenset({type(None)})
_DIRECT: dict[Callable[[Any], Any], frozenset[type]] = {
    _text: _NONE | {str},
    _integer: _NONE | {int},
    _number: _NONE | {int, float},
    _boolean: _NONE | {bool},
}


def to_table(records: list[dict[str, Any]], columns: dict[str, dict[str, Any]]) -> tuple[pa.Table, pa.Array | None]:
    """The records as a table, and per row the changes made to values that did not fit (None if there were none)."""
    changes: dict[int, list[dict[str, str]]] = {}
    arrays = {}
    for name, schema in columns.items():
        type_, convert = column_type(schema)
        found = [record.get(name) for record in records]
        if _DIRECT.get(convert, _NONE).issuperset(map(type, found)):
            # nothing to convert; what Arrow does not take all the same (a number out of range) is gone through below
            with suppress(pa.ArrowException, OverflowError):
                arrays[name] = pa.array(found, type_)
                continue
        values: list[Any] = []
        for row, value in enumerate(found):
            if value is not None:
                try:
                    value = convert(value)
                except (ValueError, TypeError):
                    value = None
                    changes.setdefault(row, []).append(
                        {"field": name, "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}
                    )
            values.append(value)
        arrays[name] = pa.array(values, type_)
    table = pa.table(arrays)
    if not changes:
        return table, None
    return table, pa.array([changes.get(row, []) for row in range(len(records))], pa.list_(META_CHANGE))
