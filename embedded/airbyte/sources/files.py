"""Files as a source, with the state of Airbyte's file-based connectors: what is common to all storages and formats.

A file is read when it is new or was replaced (another time or content than the state remembers). Lines that do not
parse, and files that are not of the stream's format or columns, go to the stream that the connection names in
`lakehouse.rejected_streams`; without one they fail the sync, because nothing may be lost unsaid. A file that is damaged
or still being written fails the sync in any case, before anything of it is delivered.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.archives import members
from embedded.airbyte.sources.file_rows import Batch, FileRejected, FileUnreadable, Rejected
from embedded.airbyte.sources.file_storage import Storage, StoredFile, as_text, common_folder
from embedded.airbyte.sources.file_streams import LINE, MODIFIED, URL, FileStream
from embedded.airbyte.sources.formats import Columns
from embedded.airbyte.sources.formats.inference import of_arrow, widened
from embedded.airbyte.sources.json_columns import column_type

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery

TEXT = {"type": "string"}
OWN: Columns = {MODIFIED: TEXT, URL: TEXT, LINE: {"type": "integer"}}
REJECTED_SCHEMA = pa.schema(
    [(URL, pa.string()), (MODIFIED, pa.string()), (LINE, pa.int64()), ("line", pa.string()), ("reason", pa.string())]
)
# what is read before the state is stored: a sync of many files that dies does not begin anew
CHECKPOINT_BYTES = 64 * 1024 * 1024


class FileSource:
    """Reads the streams of files of one storage.

    :param start_date: files that are older are left out (ISO 8601).
    """

    def __init__(
        self, storage: Storage, streams: list[FileStream], lakehouse: dict[str, Any], start_date: str | None = None
    ) -> None:
        self._storage = storage
        self._streams = {stream.name: stream for stream in streams}
        self._start = as_text(datetime.fromisoformat(start_date)) if start_date else ""
        self._rejects = {entry["stream"]: entry["name"] for entry in lakehouse.get("rejected_streams", [])}
        self._scratch = tempfile.TemporaryDirectory(prefix="files-")
        self._fetched: dict[StoredFile, tuple[StoredFile, Path]] = {}

    def discover(self) -> list[DiscoveredStream]:
        """The configured streams; columns that the configuration does not give are those of the newest files."""
        return [
            DiscoveredStream(
                stream.name,
                (stream.types or self._columns(stream)) | OWN,
                cursor_is_fixed=True,
                default_cursor=MODIFIED,
                primary_key=stream.primary_key,
            )
            for stream in self._streams.values()
        ]

    def read(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]], delivery: "Delivery") -> None:
        for stream in streams:
            state = states.get(stream.name) or {}
            ours = self._streams[stream.name]
            rejects = self._rejects.get(stream.name)
            read = _StreamRead(stream, ours, state if stream.incremental else {}, rejects, delivery)
            for listed in self._matching(ours):
                if read.knows(listed):
                    continue
                fetched = self._fetch(listed)
                if fetched is None:
                    delivery.ledger.log("WARN", f"File {listed.uri} was removed while the sync ran; it is not read.")
                    continue
                read.take(*fetched)
                fetched[1].unlink()
            read.checkpoint()

    def _columns(self, stream: FileStream) -> Columns:
        """The columns of the newest files, as many as the stream asks for."""
        found: Columns = {}
        looked, reasons = 0, []
        for file in reversed(self._matching(stream)):
            fetched = self._fetch(file)
            if fetched is None:
                continue
            self._fetched[file] = fetched  # a sync that follows reads it
            try:
                for _, member in members(fetched[1], file.uri):
                    for name, schema in stream.format.columns(member).items():
                        before = found.get(name)
                        found[name] = widened(schema, str(column_type(before)[0])) if before else schema
            except FileRejected as error:
                reasons.append(f"{file.uri}: {error}")
                continue
            except FileUnreadable as error:
                raise _unreadable(file, error) from error
            looked += 1
            if looked >= stream.recent and found:
                return found
        if found:
            return found
        raise SyncFailure(
            f"Stream {stream.name}: "
            + (f"no file has columns ({reasons[0]})" if reasons else f"no file matches {', '.join(stream.globs)}")
            + f" in {self._storage.where}, so its columns are not known; add a file or give input_schema.",
            origin="source",
            kind="config_error",
        )

    def _matching(self, stream: FileStream) -> list[StoredFile]:
        """The stream's files, oldest first."""
        found = [file for file in self._storage.list(stream.globs) if file.modified >= self._start]
        return sorted(found, key=lambda file: (file.modified, file.uri))

    def _fetch(self, listed: StoredFile) -> tuple[StoredFile, Path] | None:
        """A file as it is now (it may have been replaced since it was listed); None if it is gone."""
        if listed in self._fetched:
            return self._fetched.pop(listed)
        path = Path(tempfile.mkstemp(dir=self._scratch.name)[1])
        file = self._storage.fetch(listed, path)
        if file is None:
            path.unlink()
        return (file, path) if file else None


class _StreamRead:
    """What one sync does with the files of one stream.

    :param state: what syncs before have read.
    :param rejects: the stream that takes what does not parse, if there is one.
    """

    def __init__(
        self,
        stream: ConfiguredStream,
        ours: FileStream,
        state: Mapping[str, Any],
        rejects: str | None,
        delivery: "Delivery",
    ) -> None:
        self._stream = stream
        self._ours = ours
        self._rejects = rejects
        self._delivery = delivery
        self._history: dict[str, str] = dict(state.get("history") or {})
        self._etags: dict[str, str] = dict(state.get("etags") or {})
        self._uncovered = 0
        delivery.begin(stream)
        if rejects:
            delivery.begin(ConfiguredStream(rejects, stream.sync_mode))
            delivery.write_empty(rejects, REJECTED_SCHEMA)
        self._delivered = dict(delivery.delivered_columns(stream.name))

    def knows(self, file: StoredFile) -> bool:
        """Whether this very file was read before."""
        if not file.version or self._etags.get(file.uri) != file.version:
            return False
        return self._history.get(file.uri) == file.modified or not file.timed

    def take(self, file: StoredFile, path: Path) -> None:
        """Deliver the rows of a file, and the file as it came."""
        try:
            for uri, member in members(path, file.uri):
                self._take_member(uri, file, member)
        except FileUnreadable as error:
            raise _unreadable(file, error) from error
        if self._delivery.keeps_raw:
            name = file.uri.removeprefix(common_folder(self._ours.globs)).lstrip("/")
            folder = self._stream.name
            self._delivery.raw_file(f"{folder}/{name}", f"{folder}/{_version(file, path)}/{name}", path)
        self._history[file.uri], self._etags[file.uri] = file.modified, file.version
        self._uncovered += path.stat().st_size
        if self._uncovered >= CHECKPOINT_BYTES:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Make all of it durable and store the state that says so."""
        newest = max(((modified, uri) for uri, modified in self._history.items()), default=None)
        state: dict[str, Any] = {"history": self._history, "etags": self._etags}
        if newest:
            state[MODIFIED] = f"{newest[0]}_{newest[1]}"
        self._delivery.checkpoint(self._stream.name, state if self._stream.incremental else {}, beside=self._rejects)
        self._uncovered = 0

    def _take_member(self, uri: str, file: StoredFile, path: Path) -> None:
        records, rejected = 0, 0
        first = ""
        try:
            for batch in self._ours.format.batches(path, self._settle):
                if batch.rows.num_rows:
                    self._delivery.write(self._stream.name, self._records(uri, file, batch), batch.changes)
                records += batch.rows.num_rows
                first = first or self._reject(uri, file, batch.rejected)
                rejected += len(batch.rejected)
        except FileRejected as error:
            rejected = 1
            first = self._reject(uri, file, [Rejected(0, "", str(error))])
        self._delivery.ledger.log(
            "WARN" if rejected else "INFO", f"File {uri}: {records} records, {rejected} rejected{first}."
        )

    def _reject(self, uri: str, file: StoredFile, lines: list[Rejected]) -> str:
        """Hand over what does not parse; returns the first of it for the log.

        :raises SyncFailure: no stream takes it.
        """
        if not lines:
            return ""
        if self._rejects is None:
            raise SyncFailure(
                f"File {uri}, line {lines[0].line_number}: {lines[0].reason}. Repair the file, or name a stream for "
                f"rejected lines of {self._stream.name} in lakehouse.rejected_streams.",
                origin="source",
                kind="config_error",
            )
        entries = [
            {URL: uri, MODIFIED: file.modified, LINE: line.line_number, "line": line.line, "reason": line.reason}
            for line in lines
        ]
        self._delivery.write(self._rejects, pa.Table.from_pylist(entries, schema=REJECTED_SCHEMA))
        return f" (first: line {lines[0].line_number}, {lines[0].reason})"

    def _settle(self, found: Columns) -> Columns:
        """The types of a file's columns, and the columns of the stream that it lacks.

        A column that was delivered before stays, and its type is not made narrower: the files of a stream differ.
        """
        known = {name: schema for name, schema in self._stream.columns.items() if name not in OWN}
        remembered = {name: of_arrow(type_) for name, type_ in self._delivered.items() if name not in known | found}
        schema = {
            name: self._ours.types.get(name) or widened(type_, self._delivered.get(name))
            for name, type_ in (known | found | remembered).items()
        }
        self._delivered |= {name: str(column_type(type_)[0]) for name, type_ in schema.items()}
        self._delivery.remember_columns(self._stream.name, self._delivered)
        return schema

    def _records(self, uri: str, file: StoredFile, batch: Batch) -> pa.Table:
        """The records with the columns of the stream, then the file's further ones, then where each comes from."""
        found, stream = batch.rows.column_names, self._stream
        order = [name for name in stream.columns if name in found]
        order += [name for name in found if name not in stream.columns]
        rows = batch.rows.select([name for name in order if stream.selected is None or name in stream.selected])
        for name, value in ((MODIFIED, file.modified), (URL, uri)):
            rows = rows.append_column(name, pa.repeat(value, len(rows)))
        return rows.append_column(LINE, batch.line_numbers)


def _unreadable(file: StoredFile, error: FileUnreadable) -> SyncFailure:
    return SyncFailure(
        f"File {file.uri} cannot be read: {error}. Nothing of it was taken. Put a whole file in its place; let writers "
        "use another name until a file is whole, and rename it then.",
        origin="source",
        kind="transient_error",
    )


def _version(file: StoredFile, path: Path) -> str:
    """The folder of a later version of a file: when it came, and what it is where two came within a second."""
    with path.open("rb") as body:
        digest = hashlib.file_digest(body, "sha256").hexdigest()[:8]
    return f"timestamp={datetime.fromisoformat(file.modified):%Y%m%d_%H%M%S}_{digest}"
