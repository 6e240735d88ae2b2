"""Parquet files as Airbyte's S3 destination writes them: its own columns first, then the data's."""

import functools
import io
import os
import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

META_CHANGE = pa.struct([("field", pa.string()), ("change", pa.string()), ("reason", pa.string())])
META = pa.struct(
    [
        pa.field("sync_id", pa.int64(), nullable=False),
        pa.field("changes", pa.list_(pa.field("item", META_CHANGE, nullable=False)), nullable=False),
    ]
)
AIRBYTE_FIELDS = [
    pa.field("_airbyte_raw_id", pa.string(), nullable=False),
    pa.field("_airbyte_extracted_at", pa.timestamp("ms", tz="UTC"), nullable=False),
    pa.field("_airbyte_generation_id", pa.int64(), nullable=False),
    pa.field("_airbyte_meta", META, nullable=False),
]
ROW_GROUP_ROWS = 1_000_000
FILE_BYTES = 200 * 1024 * 1024


def safe_name(name: str) -> str:
    """A column's name as Airbyte's Parquet files have it: letters, digits and underscores only."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def random_ids(count: int) -> pa.Array:
    """`count` random UUIDs (version 4) as strings."""
    raw = np.frombuffer(os.urandom(16 * count), dtype=np.uint8).reshape(count, 16).copy()
    raw[:, 6] = (raw[:, 6] & 0x0F) | 0x40
    raw[:, 8] = (raw[:, 8] & 0x3F) | 0x80
    digits = np.frombuffer(raw.tobytes().hex().encode(), dtype=np.uint8).reshape(count, 32)
    text = np.full((count, 36), ord("-"), dtype=np.uint8)
    for dashes, (first, last) in enumerate([(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]):
        text[:, first + dashes : last + dashes] = digits[:, first:last]
    offsets = np.arange(0, 36 * (count + 1), 36, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def with_airbyte_columns(
    data: pa.Table, *, extracted_at_ms: int, generation: int, job_id: int, changes: pa.Array | None
) -> pa.Table:
    """The data with Airbyte's columns before it.

    :param changes: per row, the list of META_CHANGE of its values; None where no value was changed.
    """
    times, generations, meta = _same_in_all_rows(data.num_rows, extracted_at_ms, generation, job_id)
    if changes is not None:
        changes = changes.cast(META.field("changes").type)
        meta = pa.StructArray.from_arrays([meta.field("sync_id"), changes], fields=list(META))
    columns: list[Any] = [random_ids(data.num_rows), times, generations, meta, *data.columns]
    return pa.Table.from_arrays(columns, schema=pa.schema([*AIRBYTE_FIELDS, *data.schema]))


@functools.lru_cache(maxsize=8)  # nearly all tables of a sync are of one size
def _same_in_all_rows(rows: int, extracted_at_ms: int, generation: int, job_id: int) -> tuple[pa.Array, ...]:
    """Airbyte's columns after the id, of rows without a changed value."""
    times = pa.array(np.full(rows, extracted_at_ms, dtype=np.int64)).cast(pa.timestamp("ms", tz="UTC"))
    offsets = pa.array(np.zeros(rows + 1, dtype=np.int32))
    changes = pa.ListArray.from_arrays(offsets, pa.array([], META_CHANGE), type=META.field("changes").type)
    sync_ids = pa.array(np.full(rows, job_id, dtype=np.int64))
    meta = pa.StructArray.from_arrays([sync_ids, changes], fields=list(META))
    return times, pa.array(np.full(rows, generation, dtype=np.int64)), meta


class ParquetFile:
    """One Parquet file in the making, in row groups of about a million rows.

    A row group is written while the rows of the next are read. What fails in that is raised by the next `write` that
    fills a row group, or by `close`, which leaves the sink open.

    :param sink: binary file that is written from begin to end.
    """

    def __init__(self, sink: io.IOBase, schema: pa.Schema, codec: str, page_bytes: int, dictionary: bool) -> None:
        self._sink = sink
        self.schema = schema
        self.rows = 0
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._writing: Future[None] | None = None
        self._writer = pq.ParquetWriter(
            sink,
            schema,
            compression=codec,
            use_dictionary=dictionary,
            data_page_size=page_bytes,
            write_statistics=True,
        )

    def write(self, table: pa.Table, buffer_bytes: int) -> None:
        """Add rows; a row group is written when a million rows or `buffer_bytes` have gathered."""
        for start in range(0, table.num_rows, ROW_GROUP_ROWS):
            part = table.slice(start, ROW_GROUP_ROWS)
            if self._pending_rows + part.num_rows > ROW_GROUP_ROWS:
                self._flush()
            self._pending.append(part)
            self._pending_rows += part.num_rows
            self._pending_bytes += part.nbytes
        self.rows += table.num_rows
        if self._pending_bytes >= buffer_bytes:
            self._flush()

    @property
    def full(self) -> bool:
        """Whether what is written has reached the size at which Airbyte begins the next file."""
        return self._sink.tell() >= FILE_BYTES

    def close(self) -> None:
        with self._thread:
            self._flush()
            if self._writing is not None:
                self._writing.result()
        self._writer.close()

    def _flush(self) -> None:
        if self._writing is not None:
            self._writing.result()
        if self._pending:
            self._writing = self._thread.submit(self._write_group, self._pending)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0

    def _write_group(self, tables: list[pa.Table]) -> None:
        self._writer.write_table(pa.concat_tables(tables), row_group_size=ROW_GROUP_ROWS)
