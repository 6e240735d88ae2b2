"""Record batches to Parquet or CSV files of a bounded size, one at a time."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

FileFormat = Literal["parquet", "csv"]
ROW_GROUP_ROWS = 128 * 1024  # rows that are held in memory before they are written
PARQUET_CODECS = ("zstd", "snappy", "gzip", "none")
CSV_CODECS = ("gzip", "none")


def extension(file_format: str, compression: str) -> str:
    """End of a file's name: `parquet`, `csv` or `csv.gz`.

    :raises ValueError: an unknown format, or a compression that it does not have.
    """
    known = {"parquet": PARQUET_CODECS, "csv": CSV_CODECS}
    if file_format not in known:
        raise ValueError(f"file_format {file_format!r} is none of {', '.join(known)}")
    if compression not in known[file_format]:
        raise ValueError(f"compression {compression!r}: {file_format} takes {', '.join(known[file_format])}")
    return file_format if file_format == "parquet" else "csv" + (".gz" if compression == "gzip" else "")


def write_files(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    folder: Path,
    *,
    file_format: FileFormat,
    compression: str,
    rows_per_file: int,
) -> Iterator[tuple[Path, int]]:
    """Write files of at most `rows_per_file` rows; yield each, closed, with its rows, before the next is begun.

    The caller removes a file when it has done with it, so that one file at most lies in `folder`. Without rows there
    is one file with the schema alone.

    :raises ValueError: a column that CSV cannot hold; names it.
    """
    schema = _storable(schema)
    if file_format == "csv":
        nested = [field.name for field in schema if pa.types.is_nested(field.type) or pa.types.is_binary(field.type)]
        if nested:
            raise ValueError(f"columns {', '.join(nested)} cannot stand in CSV: leave them out, or write Parquet")
    rows = _rows(batches, schema)
    number, waiting = 0, next(rows, None)
    while waiting is not None or number == 0:
        path, written = folder / f"{number:05}", 0
        with ExitStack() as stack:
            writer = _writer(stack, path, schema, file_format, compression)
            while waiting is not None and written < rows_per_file:
                taken = waiting.slice(0, rows_per_file - written)
                writer.write_table(taken)
                written += taken.num_rows
                rest = waiting.slice(taken.num_rows)
                waiting = rest if rest.num_rows else next(rows, None)
        yield path, written
        number += 1


def _rows(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables of about ROW_GROUP_ROWS rows: what Dremio sends in small batches would make small row groups."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        held.append(batch)
        count += batch.num_rows
        if count >= ROW_GROUP_ROWS:
            yield pa.Table.from_batches(held).cast(schema)
            held, count = [], 0
    if held:
        yield pa.Table.from_batches(held).cast(schema)


def _storable(schema: pa.Schema) -> pa.Schema:
    """Dremio sends dates as milliseconds; files hold days."""
    return pa.schema([pa.field(f.name, pa.date32(), f.nullable) if pa.types.is_date64(f.type) else f for f in schema])


def _writer(stack: ExitStack, path: Path, schema: pa.Schema, file_format: str, compression: str) -> Any:
    if file_format == "parquet":
        return stack.enter_context(pq.ParquetWriter(path, schema, compression=compression))
    sink = stack.enter_context(pa.output_stream(str(path), compression="gzip" if compression == "gzip" else None))
    return stack.enter_context(csv.CSVWriter(sink, schema))
