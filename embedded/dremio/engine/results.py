"""Results: DuckDB's Arrow batches in the types that Dremio emits, and the small results of commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from embedded.dremio.engine.contracts import Handle, Result
from embedded.dremio.errors import (
    Canceled,
    ConcurrentModification,
    DataReadError,
    DremioError,
    FunctionError,
    InvalidMetadata,
    ResourceError,
    ValidationError,
)

BATCH_ROWS = 65_536
DDL_SCHEMA = pa.schema([pa.field("ok", pa.bool_()), pa.field("summary", pa.utf8())])
RECORDS_SCHEMA = pa.schema([pa.field("Records", pa.int64())])
CTAS_SCHEMA = pa.schema(
    [
        pa.field("Fragment", pa.utf8()),
        pa.field("Records", pa.int64()),
        pa.field("Path", pa.utf8()),
        pa.field("Metadata", pa.binary()),
        pa.field("Partition", pa.int32()),
        pa.field("FileSize", pa.int64()),
        pa.field("IcebergMetadata", pa.binary()),
        pa.field("fileschema", pa.binary()),
        pa.field("PartitionData", pa.list_(pa.field("$data$", pa.binary()))),
    ]
)


# how DuckDB says that a file is gone: of S3, of a directory
_GONE = ("(HTTP 404", "No such file or directory", "No files found that match")


def translate(error: duckdb.Error | OSError, sql: str) -> DremioError:
    """A DuckDB error as Dremio's type of error, with the first line of its message.

    OSError is what pyarrow raises where DuckDB fails in the middle of a result.
    """
    message = str(error).strip()
    if isinstance(error, duckdb.InterruptException):
        return Canceled("Query is cancelled by the server.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return ResourceError("Query was cancelled because it exceeded the memory limits set by the administrator.")
    if isinstance(error, (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)):
        return ValidationError(_told(message), sql=sql)
    if isinstance(error, (duckdb.HTTPException, duckdb.IOException, OSError)):
        return (InvalidMetadata if any(said in message for said in _GONE) else DataReadError)(_told(message))
    if isinstance(error, duckdb.TransactionException):
        return ConcurrentModification(f"Concurrent operation has updated the table, please retry. {message}")
    first = message.partition("Python exception occurred while executing the UDF: ValueError: ")[2]
    return FunctionError(first.partition("\n\nLINE ")[0] or _told(message))


def _told(message: str) -> str:
    """DuckDB's message without its own kind of error and without the translated text."""
    return (message.partition("Error: ")[2] or message).partition("\n\nLINE ")[0]


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with the types of `schema`, column by column."""
    if batch.schema.equals(schema):
        return batch
    arrays = [
        array if array.type.equals(field.type) else _convert(array, field.type)
        for array, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _convert(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = array.cast(pa.timestamp(array.type.unit))
    if pa.types.is_time(array.type) and array.type.unit != "ms":
        return pc.cast(array, kind, safe=False)
    return pc.cast(array, kind, safe=False)


def stream(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    schema: pa.Schema,
    handle: Handle,
    shown: str,
    give_back: Callable[[], object],
) -> Iterator[pa.RecordBatch]:
    """Run a query and yield its batches. Errors are Dremio's.

    :param give_back: called when all was read; otherwise the cursor is closed.
    """
    after: Callable[[], object] = cursor.close
    try:
        reader = cursor.execute(sql).to_arrow_reader(BATCH_ROWS)
        seen = False
        for batch in reader:
            if handle.cancelled:
                raise Canceled(handle.reason)
            if batch.num_rows:
                seen = True
                yield conform(batch, schema)
        if not seen:
            yield empty(schema)
        after = give_back
    except (duckdb.Error, OSError) as error:
        if handle.cancelled:
            raise Canceled(handle.reason) from error
        raise translate(error, shown) from error
    finally:
        handle.attach(None)
        after()


class Started:
    """An iterator whose first item was fetched already, so that errors come early."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._first: pa.RecordBatch | None = next(batches)

    def __iter__(self) -> Started:
        return self

    def __next__(self) -> pa.RecordBatch:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._batches)

    def close(self) -> None:
        """Stop the query."""
        self._batches.close()  # type: ignore[attr-defined]


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """A batch of no rows."""
    return pa.RecordBatch.from_pylist([], schema=schema)


def rows(schema: pa.Schema, values: list[dict[str, Any]]) -> Result:
    """A result of rows made here."""
    return Result(schema, iter([pa.RecordBatch.from_pylist(values, schema=schema)]))


def summary(text: str, ok: bool = True) -> Result:
    """The result of a DDL statement."""
    return rows(DDL_SCHEMA, [{"ok": ok, "summary": text}])


def records(count: int) -> Result:
    """The result of a DML statement."""
    result = rows(RECORDS_SCHEMA, [{"Records": count}])
    result.records = count
    return result
