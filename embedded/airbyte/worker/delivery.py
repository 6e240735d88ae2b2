"""From rows to durable files to committed state, per stream.

The order is the promise: rows go to local Parquet files, the files to the bucket, and only then is the state that
covers them stored. A kill between any two of these steps makes the next attempt read rows again, never skip them.
"""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.worker.destination import S3Destination
from embedded.airbyte.worker.ledger import Ledger
from embedded.airbyte.worker.parquet import ParquetFile, safe_name, with_airbyte_columns


class _StreamFiles:
    """What one attempt has written of one stream."""

    def __init__(self, namespace: str, generation: int) -> None:
        self.namespace = namespace
        self.generation = generation
        self.open: ParquetFile | None = None
        self.part = 0
        self.keys: list[str] = []
        self.columns: dict[str, str] = {}


class Delivery:
    """Takes a source's rows to the destination. One per attempt.

    :param started_ms: epoch milliseconds of the attempt's start; part of every file name, and extraction time.
    :param scratch: an empty local folder for files on their way.
    """

    def __init__(
        self,
        ledger: Ledger,
        destination: S3Destination,
        connection: Mapping[str, Any],
        scratch: Path,
        started_ms: int,
    ) -> None:
        self.ledger = ledger
        self.started_ms = started_ms
        self._destination = destination
        self._connection_id = connection["connection_id"]
        self._connection = connection
        self._prefix: str = connection["prefix"]
        lakehouse = connection["lakehouse"]
        self.buffer_bytes = int(lakehouse.get("buffer_size_mb", 256)) * 1024 * 1024
        self._raw_path: str | None = lakehouse.get("raw_path")
        self._scratch = scratch
        self._streams: dict[str, _StreamFiles] = {}

    def begin(self, stream: ConfiguredStream) -> None:
        """Declare a stream before its first rows."""
        generation = self.ledger.generation(self._connection_id, stream)
        self._streams[stream.name] = _StreamFiles(namespace(self._connection, stream), generation)

    def write(self, stream: str, data: pa.Table, changes: pa.Array | None = None) -> None:
        """Take rows. A table with other columns than the one before begins a new file.

        :param changes: per row, what was changed in its values on the way (see `parquet.META_CHANGE`).
        """
        files = self._streams[stream]
        data = data.rename_columns(_safe_names(stream, data.column_names))
        self.ledger.emitted(stream, data.num_rows, data.nbytes)
        rows = with_airbyte_columns(
            data,
            extracted_at_ms=self.started_ms,
            generation=files.generation,
            job_id=self.ledger.job_id,
            changes=changes,
        )
        if files.open is not None and not files.open.schema.equals(rows.schema):
            self._flush(stream)
        if files.open is None:
            files.open = self._new_file(stream, files, rows.schema)
            files.columns.update({field.name: str(field.type) for field in data.schema})
        files.open.write(rows, self.buffer_bytes)
        if files.open.full:
            self._flush(stream)

    def write_empty(self, stream: str, schema: pa.Schema) -> None:
        """Make sure that the stream's folder has a file, with no row, that shows its columns."""
        if not self._destination.keys(self._folder(stream)):
            self.write(stream, schema.empty_table())

    @property
    def follows_new_columns(self) -> bool:
        """Whether a column that the source has now and had not before is to be delivered."""
        return bool(self._connection["schema_changes"] == "propagate_columns")

    def delivered_columns(self, stream: str) -> dict[str, str]:
        """The columns (name -> Arrow type) that `remember_columns` was told of, in this and all earlier syncs."""
        return self.ledger.delivered_columns(self._connection_id, stream)

    def remember_columns(self, stream: str, columns: Mapping[str, str]) -> None:
        """Keep, for later syncs, which columns were delivered. A clear does not forget them."""
        self.ledger.remember_columns(self._connection_id, stream, columns)

    def raw(self, path: str, body: bytes) -> None:
        """Keep something of the source as it came, where the connection asks for that."""
        if self._raw_path:
            self._destination.put(self._raw_key(path), body)

    @property
    def keeps_raw(self) -> bool:
        """Whether the connection asks for what came, as it came."""
        return bool(self._raw_path)

    def raw_file(self, path: str, later: str, local: Path) -> None:
        """Keep a version of a file that the source may replace, where the connection asks for that.

        The first version stays at `path` for good; another is kept at `later`, which tells the versions apart.
        Keeping a version again changes nothing.
        """
        if not self._raw_path:
            return
        same = self._destination.holds(self._raw_key(path), local)
        if not same:
            self._destination.upload(local, self._raw_key(path if same is None else later))

    def _raw_key(self, path: str) -> str:
        assert self._raw_path is not None
        return f"{self._raw_path.strip('/')}/{path}"

    def checkpoint(self, stream: str, state: dict[str, Any], beside: str | None = None) -> None:
        """Make all rows of the stream durable, then store the state that covers them.

        :param beside: a stream that has no state of its own; the state covers its rows too.
        """
        covered = [stream] if beside is None else [stream, beside]
        for name in covered:
            self._flush(name)
        if not self._streams[stream].keys:
            self.ledger.log("INFO", f"Stream {stream}: no new rows.")
        self._log_column_changes(stream)
        self.ledger.commit(self._connection_id, stream, state, covered)

    def global_state(self) -> dict[str, Any] | None:
        """The committed state of a connection whose streams have one together (CDC)."""
        return self.ledger.global_state(self._connection_id)

    def commit_global(self, state: dict[str, Any]) -> None:
        """Make all rows of all streams durable, then store the one state that covers them."""
        for stream in self._streams:
            self._flush(stream)
            self._log_column_changes(stream)
        self.ledger.commit_global(self._connection_id, state, list(self._streams))

    def landed(self, stream: str, columns: list[str]) -> pa.Table:
        """These columns of all that was delivered of the stream, by this attempt and before; null where one is not."""
        self._flush(stream)
        keys = [key for key in self._destination.keys(self._folder(stream)) if key.endswith(".parquet")]
        names = {safe_name(name): name for name in columns}
        tables = []
        for key in keys:
            file = pq.ParquetFile(io.BytesIO(self._destination.get(key) or b""))
            found = [name for name in names if name in file.schema_arrow.names]
            tables.append(file.read(columns=found).rename_columns([names[name] for name in found]))
        if not tables:
            return pa.table({name: pa.nulls(0) for name in columns})
        return pa.concat_tables(tables, promote_options="permissive")

    def remove_older(self, stream: str) -> None:
        """Remove what the stream's folder holds of older generations and of failed attempts (overwrite)."""
        mine = set(self._streams[stream].keys)
        older = [key for key in self._destination.keys(self._folder(stream)) if key not in mine]
        self._destination.delete(older)
        if older:
            self.ledger.log("INFO", f"Stream {stream}: removed {len(older)} files of older generations.")

    def remove_all(self, stream: ConfiguredStream) -> None:
        """Remove all that was ever delivered of the stream (a clear)."""
        self._streams[stream.name] = _StreamFiles(namespace(self._connection, stream), 0)
        self.remove_older(stream.name)

    def _folder(self, stream: str) -> str:
        return self._destination.folder(self._streams[stream].namespace, self._prefix + stream)

    def _new_file(self, stream: str, files: _StreamFiles, schema: pa.Schema) -> ParquetFile:
        path = self._scratch / f"{re.sub(r'[^A-Za-z0-9_]', '_', stream)}_{files.part}.parquet"
        to = self._destination
        return ParquetFile(path, schema, to.codec, to.page_bytes, to.dictionary)

    def _flush(self, stream: str) -> None:
        """Upload what is still local."""
        files = self._streams[stream]
        if files.open is None:
            return
        files.open.close()
        key = self._destination.key(files.namespace, self._prefix + stream, self.started_ms, files.part)
        self._destination.upload(files.open.path, key, files.generation)
        self.ledger.log("INFO", f"Stream {stream}: {files.open.rows} rows to {key}.")
        files.open.path.unlink()
        files.keys.append(key)
        files.open, files.part = None, files.part + 1
        self.ledger.report()

    def _log_column_changes(self, stream: str) -> None:
        now = self._streams[stream].columns
        if not now:
            return
        before = self.ledger.record_columns(self._connection_id, stream, now)
        for line in column_changes(before, now):
            self.ledger.log("WARN", f"Stream {stream}: {line}")


def column_changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """What differs between two sets of columns (name -> type), one sentence each; nothing for a first sync."""
    if not before:
        return []
    added = [f"new column {name} ({now[name]}), null in older files." for name in now if name not in before]
    gone = [f"column {name} ({before[name]}) is gone from the source." for name in before if name not in now]
    changed = [
        f"column {name} changed its type from {before[name]} to {now[name]}."
        for name in now
        if name in before and before[name] != now[name]
    ]
    return added + gone + changed


def namespace(connection: Mapping[str, Any], stream: ConfiguredStream) -> str:
    """Where the connection puts a stream: nothing for the destination's default."""
    if connection["namespace_definition"] == "source":
        return stream.namespace or ""
    if connection["namespace_definition"] == "custom_format":
        return (connection["namespace_format"] or "").replace("${SOURCE_NAMESPACE}", stream.namespace or "")
    return ""


def _safe_names(stream: str, names: list[str]) -> list[str]:
    safe = [safe_name(name) for name in names]
    if len(set(safe)) != len(safe):
        twins = sorted(name for name, short in zip(names, safe, strict=True) if safe.count(short) > 1)
        raise SyncFailure(
            f"Stream {stream}: the columns {', '.join(twins)} have the same name in Parquet; rename or deselect one.",
            origin="destination",
            kind="config_error",
        )
    return safe
