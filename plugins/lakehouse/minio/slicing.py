"""Cuts a landing object into one Parquet file per day, in a single pass over it."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from lakehouse.minio.batch_date import BatchDate
from lakehouse.minio.landing import MAX_ROW_GROUP, READ_ROWS
from lakehouse.minio.unify import conform

_DAY = "__day"
_BUFFERED_ROWS = 4_000_000  # held in memory for all days together
_LEAST_ROW_GROUP = 65_536
_FORMAT = ds.ParquetFileFormat()
_OPTIONS = _FORMAT.make_write_options(compression="snappy", use_dictionary=True, write_statistics=True, version="2.6")


def cut(landed: Path, folder: Path, schema: pa.Schema, rule: BatchDate, days: Collection[str]) -> dict[str, Path]:
    """Write the rows of `days` into one file per day below `folder`; return day -> file.

    Files are snappy-compressed Parquet with dictionaries and statistics, in the order of the rows, in row groups
    of up to 1M rows. A day without rows gets no file.

    :param landed: the landing object, fetched.
    :param schema: columns and types of the published stream.
    """
    share = max(_LEAST_ROW_GROUP, min(MAX_ROW_GROUP, _BUFFERED_ROWS // max(1, len(days))))
    with pq.ParquetFile(landed) as file:
        ds.write_dataset(
            _rows(file, schema, rule, days),
            folder,
            schema=schema.append(pa.field(_DAY, pa.string())),
            format=_FORMAT,
            file_options=_OPTIONS,
            partitioning=ds.partitioning(pa.schema([(_DAY, pa.string())])),
            basename_template="{i}.parquet",
            use_threads=False,  # keeps the rows in their order
            max_partitions=100_000,
            max_open_files=100_000,  # a file closed early would be a second file of its day
            min_rows_per_group=share,
            max_rows_per_group=MAX_ROW_GROUP,
            existing_data_behavior="overwrite_or_ignore",
        )
    return {path.parent.name: path for path in sorted(folder.glob("*/*.parquet"))}


def _rows(file: pq.ParquetFile, schema: pa.Schema, rule: BatchDate, days: Collection[str]) -> Iterator[pa.RecordBatch]:
    wanted = pa.array(sorted(days), pa.string())
    for batch in file.iter_batches(READ_ROWS):
        day = rule.days(batch)
        kept = conform(batch, schema).append_column(_DAY, day)
        yield kept.filter(pc.is_in(day, wanted))


def write_empty(path: Path, schema: pa.Schema) -> None:
    """Write a Parquet file that has the columns and no rows."""
    pq.write_table(schema.empty_table(), path, compression="snappy", version="2.6")
