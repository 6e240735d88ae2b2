"""Results of finished jobs, kept for paging: small ones in memory, larger ones as Arrow files on disk.

Both are bounded in bytes and age; the oldest result goes first. A result that is gone must be computed again,
as in Dremio once ``results.max.age_in_days`` has passed.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

SPILL_BYTES = 1 << 17  # with KEPT_RESULTS this bounds what is held in memory
KEPT_BYTES = 2 << 30
KEPT_SECONDS = 24 * 3600
KEPT_RESULTS = 2_000


@dataclass
class StoredResult:
    """One job's rows. ``starts[i]`` is the number of rows before batch i."""

    schema: pa.Schema
    path: Path
    stored_at: float = field(default_factory=time.monotonic)
    batches: list[pa.RecordBatch] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    rows: int = 0
    nbytes: int = 0
    on_disk: bool = False

    def page(self, offset: int, limit: int) -> pa.Table:
        """Rows offset to offset + limit, fewer at the end. Raises FileNotFoundError when it was dropped."""
        if not self.on_disk:
            return pa.Table.from_batches(self._slices(self.batches.__getitem__, offset, limit), self.schema)
        with pa.memory_map(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            return pa.Table.from_batches(self._slices(reader.get_batch, offset, limit), self.schema)

    def _slices(self, batch_at, offset: int, limit: int) -> Iterator[pa.RecordBatch]:  # type: ignore[no-untyped-def]
        position = max(bisect.bisect_right(self.starts, offset) - 1, 0)
        end = min(offset + limit, self.rows)
        while position < len(self.starts) and self.starts[position] < end:
            batch, start = batch_at(position), self.starts[position]
            first = max(offset - start, 0)
            yield batch.slice(first, min(end - start, batch.num_rows) - first)
            position += 1


class ResultStore:
    """Takes a job's batches as they come and gives pages of them. Thread safe."""

    def __init__(self, directory: Path, kept_bytes: int = KEPT_BYTES) -> None:
        self._directory = directory
        self._kept_bytes = kept_bytes
        self._results: OrderedDict[str, StoredResult] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob("*.arrow"):
            leftover.unlink()

    def store(self, job_id: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> StoredResult:
        """Read all batches and keep them under the job's id. Memory use: one batch beyond SPILL_BYTES."""
        result = StoredResult(schema, self._directory / f"{job_id}.arrow")
        writer = None
        try:
            for batch in batches:
                if batch.num_rows == 0:
                    continue
                result.starts.append(result.rows)
                result.rows += batch.num_rows
                result.nbytes += batch.nbytes
                if writer is None and result.nbytes > SPILL_BYTES:
                    writer = self._spill(result)
                if writer is None:
                    result.batches.append(batch)
                else:
                    writer.write_batch(batch)
        except BaseException:
            if writer is not None:
                writer.close()
                result.path.unlink(missing_ok=True)
            raise
        if writer is not None:
            writer.close()
        self._keep(job_id, result)
        return result

    @staticmethod
    def _spill(result: StoredResult) -> pa.RecordBatchFileWriter:
        writer = pa.ipc.new_file(str(result.path), result.schema)
        for batch in result.batches:
            writer.write_batch(batch)
        result.batches.clear()
        result.on_disk = True
        return writer

    def _keep(self, job_id: str, result: StoredResult) -> None:
        with self._lock:
            self._results[job_id] = result
            self._bytes += result.nbytes
            oldest_allowed = time.monotonic() - KEPT_SECONDS
            while len(self._results) > 1:
                oldest = next(iter(self._results.values()))
                too_much = self._bytes > self._kept_bytes or len(self._results) > KEPT_RESULTS
                if not too_much and oldest.stored_at > oldest_allowed:
                    return
                _, dropped = self._results.popitem(last=False)
                self._bytes -= dropped.nbytes
                dropped.path.unlink(missing_ok=True)

    def find(self, job_id: str) -> StoredResult | None:
        """The job's result, or None when there never was one or it has been dropped."""
        with self._lock:
            return self._results.get(job_id)
