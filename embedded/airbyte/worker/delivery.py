"""From rows to what the destination keeps to committed state, per stream.

The order is the promise: the destination has the rows for good, and only then is the state that covers them stored. A
kill between the two makes the next attempt read rows again, never skip them. A destination that stores the state
together with the rows (`Destination.stored_states`) makes even that unnecessary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedded.airbyte.catalog import FOLLOWING, ConfiguredStream
from embedded.airbyte.destinations import Destination, Target
from embedded.airbyte.destinations.s3 import S3Destination
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.worker.ledger import Ledger
from embedded.airbyte.worker.parquet import with_airbyte_columns


class Delivery:
    """Takes a source's rows to the destination. One per attempt.

    :param started_ms: epoch milliseconds of the attempt's start: the time of extraction of all its rows.
    """

    def __init__(
        self, ledger: Ledger, destination: Destination, connection: Mapping[str, Any], started_ms: int
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
        self._raw_bucket = destination.bucket if isinstance(destination, S3Destination) else None
        if self._raw_path and self._raw_bucket is None:
            raise SyncFailure(
                f"Connection {connection['name']}: lakehouse.raw_path needs a destination of type s3, which keeps what "
                "came as it came; leave it out.",
                origin="destination",
                kind="config_error",
            )
        self._generations: dict[str, int] = {}
        self._streams: dict[str, ConfiguredStream] = {}
        self._columns: dict[str, dict[str, str]] = {}
        self._states: dict[str, Any] = {}

    def states(self) -> dict[str, dict[str, Any]]:
        """The state of each stream, by its name, that covers what the destination has.

        A kill between the two commits leaves the destination one state ahead: that one is stored first.
        """
        stored = self.ledger.states(self._connection_id)
        for key, (before, state) in self._destination.stored_states().items():
            ours = stored.get(key) if key else self.ledger.global_state(self._connection_id)
            if state == ours or before != ours:
                continue
            if key:
                self.ledger.commit(self._connection_id, key, state, [])
            else:
                self.ledger.commit_global(self._connection_id, state, [])
            self.ledger.log("INFO", f"{key or 'All streams'}: the destination has rows of a state that was not stored.")
        states = self.ledger.states(self._connection_id)
        self._states = dict(states)
        return states

    def begin(self, stream: ConfiguredStream) -> None:
        """Declare a stream before its first rows."""
        self._streams[stream.name] = stream
        self._columns[stream.name] = {}
        self._generations[stream.name], commits = self.ledger.begin(self._connection_id, stream)
        self._destination.begin(self._target(stream, commits))

    def write(self, stream: str, data: pa.Table, changes: pa.Array | None = None) -> None:
        """Take rows; their columns may be others than those of the rows before.

        :param changes: per row, what was changed in its values on the way (see `parquet.META_CHANGE`).
        """
        data = data.rename_columns(self._destination.column_names(stream, data.column_names))
        self.ledger.emitted(stream, data.num_rows, data.nbytes)
        rows = with_airbyte_columns(
            data,
            extracted_at_ms=self.started_ms,
            generation=self._generations[stream],
            job_id=self.ledger.job_id,
            changes=changes,
        )
        self._columns[stream].update({field.name: str(field.type) for field in data.schema})
        self._destination.write(stream, rows, self.buffer_bytes)

    def write_empty(self, stream: str, schema: pa.Schema) -> None:
        """Make sure that something in the destination, with no row, shows the stream's columns."""
        if self._destination.is_new(stream):
            self.write(stream, schema.empty_table())

    @property
    def follows_new_columns(self) -> bool:
        """Whether a column that the source has now and had not before is to be delivered."""
        return self._connection["schema_changes"] in FOLLOWING

    def delivered_columns(self, stream: str) -> dict[str, str]:
        """The columns (name -> Arrow type) that `remember_columns` was told of, in this and all earlier syncs."""
        return self.ledger.delivered_columns(self._connection_id, stream)

    def remember_columns(self, stream: str, columns: Mapping[str, str]) -> None:
        """Keep, for later syncs, which columns were delivered. A clear does not forget them."""
        self.ledger.remember_columns(self._connection_id, stream, columns)

    def raw(self, path: str, body: bytes) -> None:
        """Keep something of the source as it came, where the connection asks for that."""
        if self._raw_bucket and self._raw_path:
            self._raw_bucket.put(self._raw_key(path), body)

    @property
    def keeps_raw(self) -> bool:
        """Whether the connection asks for what came, as it came."""
        return bool(self._raw_path)

    def raw_file(self, path: str, later: str, local: Path) -> None:
        """Keep a version of a file that the source may replace, where the connection asks for that.

        The first version stays at `path` for good; another is kept at `later`, which tells the versions apart.
        Keeping a version again changes nothing.
        """
        if not self._raw_bucket or not self._raw_path:
            return
        same = self._raw_bucket.holds(self._raw_key(path), local)
        if not same:
            self._raw_bucket.upload(local, self._raw_key(path if same is None else later))

    def _raw_key(self, path: str) -> str:
        assert self._raw_path is not None
        return f"{self._raw_path.strip('/')}/{path}"

    def checkpoint(self, stream: str, state: dict[str, Any], beside: str | None = None) -> None:
        """Make all rows of the stream durable, then store the state that covers them.

        :param beside: a stream that has no state of its own; the state covers its rows too.
        """
        covered = [stream] if beside is None else [stream, beside]
        self._destination.commit(covered, stream, self._states.get(stream), state)
        if not self._columns[stream]:
            self.ledger.log("INFO", f"Stream {stream}: no new rows.")
        self._log_column_changes(stream)
        self.ledger.commit(self._connection_id, stream, state, covered)
        self._states[stream] = state

    def global_state(self) -> dict[str, Any] | None:
        """The committed state of a connection whose streams have one together (CDC)."""
        return self.ledger.global_state(self._connection_id)

    def commit_global(self, state: dict[str, Any]) -> None:
        """Make all rows of all streams durable, then store the one state that covers them."""
        self._destination.commit(list(self._streams), "", self.global_state(), state)
        for stream in self._streams:
            self._log_column_changes(stream)
        self.ledger.commit_global(self._connection_id, state, list(self._streams))

    def landed(self, stream: str, columns: list[str]) -> pa.Table:
        """These columns of all that was delivered of the stream, by this attempt and before; null where one is not."""
        return self._destination.landed(stream, columns)

    def finish(self) -> None:
        """All streams were read to their ends: readers see full refreshes from now on."""
        for stream in self._streams.values():
            if not stream.incremental:
                self._destination.finish(stream.name)

    def remove_all(self, stream: ConfiguredStream) -> None:
        """Remove all that was ever delivered of the stream (a clear)."""
        self._generations[stream.name] = 0
        self._destination.clear(self._target(stream, self.ledger.commits(self._connection_id, stream.name)))

    def _target(self, stream: ConfiguredStream, commits: int) -> Target:
        return Target(
            stream=stream,
            namespace=namespace(self._connection, stream),
            name=self._prefix + stream.name,
            generation=self._generations[stream.name],
            commits=commits,
        )

    def _log_column_changes(self, stream: str) -> None:
        now = self._columns[stream]
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
