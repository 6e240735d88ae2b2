"""Parquet files, with their own types as far as the destination has them; nested values as JSON text."""

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedded.airbyte.sources.file_rows import Batch, FileUnreadable, refuse_twins
from embedded.airbyte.sources.formats import Columns, Settle

BATCH_ROWS = 65_536
# The JSON schema of a column that is delivered with a type (compare json_columns.column_type).
_SCHEMAS: dict[pa.DataType, dict[str, Any]] = {
    pa.bool_(): {"type": "boolean"},
    pa.int64(): {"type": "integer"},
    pa.float64(): {"type": "number"},
    pa.string(): {"type": "string"},
    pa.date32(): {"type": "string", "format": "date"},
    pa.time64("us"): {"type": "string", "format": "time", "airbyte_type": "time_without_timezone"},
    pa.timestamp("us", tz="UTC"): {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
    pa.timestamp("us"): {"type": "string", "format": "date-time", "airbyte_type": "timestamp_without_timezone"},
}


class ParquetFormat:
    """Parquet.

    :param decimal_as_float: Airbyte's option of that name; without it decimals stay exact.
    """

    def __init__(self, decimal_as_float: bool = False, reserved: Collection[str] = ()) -> None:
        self._decimal_as_float = decimal_as_float
        self._reserved = reserved

    def columns(self, path: Path) -> Columns:
        with _opened(path) as file:
            return {field.name: self._schema(field.type) for field in self._fields(file)}

    def batches(self, path: Path, settle: Settle) -> Iterator[Batch]:
        with _opened(path) as file:
            fields = self._fields(file)
            number = 1
            for batch in _whole(file.iter_batches(BATCH_ROWS)):
                columns = {
                    field.name: self._delivered(field, column)
                    for field, column in zip(fields, batch.columns, strict=True)
                }
                numbers = np.arange(number, number + batch.num_rows, dtype=np.int64)
                number += batch.num_rows
                yield Batch(pa.table(columns), pa.array(numbers))

    def _fields(self, file: pq.ParquetFile) -> list[pa.Field]:
        names = file.schema_arrow.names
        refuse_twins(names, self._reserved, "the file")
        return list(file.schema_arrow)

    def _schema(self, type_: pa.DataType) -> dict[str, Any]:
        if _is_nested(type_):
            return {"type": "array" if pa.types.is_list(type_) or pa.types.is_large_list(type_) else "object"}
        delivered = self._type(type_)
        return _SCHEMAS.get(delivered, {"type": "number"})  # what is left are decimals

    def _delivered(self, field: pa.Field, column: pa.Array) -> pa.Array:
        if _is_nested(field.type):
            return pa.array([_json(value, field.type) for value in column], pa.string())
        try:
            # times finer than a microsecond are cut
            return column.cast(self._type(field.type), safe=not pa.types.is_temporal(field.type))
        except pa.ArrowException as error:
            raise FileUnreadable(
                f"column {field.name} ({field.type}) cannot be delivered as {self._type(field.type)}: {error}"
            ) from None

    def _type(self, type_: pa.DataType) -> pa.DataType:
        kinds = pa.types
        if kinds.is_dictionary(type_):
            return self._type(type_.value_type)
        if kinds.is_decimal(type_):
            return pa.float64() if self._decimal_as_float else type_
        if kinds.is_timestamp(type_):
            return pa.timestamp("us", tz="UTC" if type_.tz else None)
        delivered: list[tuple[Callable[[pa.DataType], bool], pa.DataType]] = [
            (kinds.is_uint64, pa.decimal128(20, 0)),
            (kinds.is_integer, pa.int64()),
            (kinds.is_floating, pa.float64()),
            (kinds.is_date, pa.date32()),
            (kinds.is_time, pa.time64("us")),
            (kinds.is_duration, pa.int64()),
            (kinds.is_boolean, pa.bool_()),
        ]
        return next((to for is_kind, to in delivered if is_kind(type_)), pa.string())


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FileUnreadable(f"it is no whole Parquet file: {error}") from None


def _whole(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except (pa.ArrowException, OSError) as error:
        raise FileUnreadable(f"its data are damaged: {error}") from None


def _is_nested(type_: pa.DataType) -> bool:
    return bool(pa.types.is_nested(type_))


def _json(value: pa.Scalar, type_: pa.DataType) -> str | None:
    plain = value.as_py()
    if plain is None:
        return None
    if pa.types.is_map(type_):
        plain = dict(plain)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    """What JSON has no form for: times as ISO has them, numbers with all digits, bytes as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
