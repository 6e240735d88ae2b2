"""One schema for all landing objects of a stream."""

from collections.abc import Iterable

import pyarrow as pa

from lakehouse.minio.exceptions import ColumnTypeChanged

_INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
_UNITS = ["s", "ms", "us", "ns"]


def unified(stream: str, schemas: Iterable[tuple[str, pa.Schema]]) -> pa.Schema:
    """Return the schema that holds every column of `schemas`, each with a type that loses nothing.

    Columns stand in the order in which they first came; all may be null, because older objects lack the newer
    ones. Metadata (what a writer says of itself) is dropped.

    :param schemas: key of the landing object and its schema, oldest first.
    :raises ColumnTypeChanged: a type can only be changed with loss, or not at all.
    """
    types: dict[str, pa.DataType] = {}
    for key, schema in schemas:
        for field in schema:
            known = types.get(field.name)
            wider = field.type if known is None else _widened(known, field.type)
            if wider is None:
                raise ColumnTypeChanged(stream, field.name, str(known), str(field.type), key)
            types[field.name] = wider
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


def _widened(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds all values of both, None if there is none."""
    if one.equals(other):
        return one
    for narrow, wide in ((one, other), (other, one)):
        if pa.types.is_null(narrow) or _fits(narrow, wide):
            return wide
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return _widened_struct(one, other)
    if pa.types.is_list(one) and pa.types.is_list(other):
        item = _widened(one.value_type, other.value_type)
        return None if item is None else pa.list_(item)
    return None


def _fits(narrow: pa.DataType, wide: pa.DataType) -> bool:
    if narrow in _INTEGERS:
        if wide in _INTEGERS:
            return _INTEGERS.index(narrow) < _INTEGERS.index(wide)
        digits = {8: 3, 16: 5, 32: 10, 64: 19}[narrow.bit_width]
        if pa.types.is_decimal(wide):
            return wide.precision - wide.scale >= digits
        return wide == pa.float64() and narrow.bit_width <= 32  # beyond 2^53 a double rounds
    if pa.types.is_decimal(narrow) and pa.types.is_decimal(wide):
        return wide.scale >= narrow.scale and wide.precision - wide.scale >= narrow.precision - narrow.scale
    if pa.types.is_timestamp(narrow) and pa.types.is_timestamp(wide):
        return narrow.tz == wide.tz and _UNITS.index(narrow.unit) < _UNITS.index(wide.unit)
    return (narrow, wide) in (
        (pa.float32(), pa.float64()),
        (pa.string(), pa.large_string()),
        (pa.binary(), pa.large_binary()),
    )


def _widened_struct(one: pa.StructType, other: pa.StructType) -> pa.DataType | None:
    types = {field.name: field.type for field in one}
    for field in other:
        wider = _widened(types[field.name], field.type) if field.name in types else field.type
        if wider is None:
            return None
        types[field.name] = wider
    return pa.struct([pa.field(name, kind) for name, kind in types.items()])


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch with the columns and types of `schema`; columns that it lacks are null."""
    columns = [
        _cast(batch.column(field.name), field.type)
        if field.name in batch.schema.names
        else pa.nulls(len(batch), field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    return values if values.type.equals(kind) else values.cast(kind)
