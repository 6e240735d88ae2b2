"""CSV files of a bucket as a source, with the configuration keys and the state of Airbyte's source-s3.

Every column is text. A file is read when it is new or was replaced (another time or content than the state
remembers). Lines that do not parse go to the stream that the connection names in `lakehouse.rejected_streams`;
without one they fail the sync, because nothing may be lost unsaid.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from botocore.exceptions import ClientError
from wcmatch import glob

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.object_store import explained, s3_client
from embedded.airbyte.sources.csv_lines import Dialect, Parsed, parse
from embedded.airbyte.worker.parquet import AIRBYTE_FIELDS

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery

URL = "_ab_source_file_url"
MODIFIED = "_ab_source_file_last_modified"
LINE = "line_number"
QUOTES = '"'  # some servers put them around an ETag in one answer and not in another
TEXT = {"type": "string"}
RESERVED = [URL, MODIFIED, LINE, *(field.name for field in AIRBYTE_FIELDS)]
REJECTED_SCHEMA = pa.schema(
    [(URL, pa.string()), (MODIFIED, pa.string()), (LINE, pa.int64()), ("line", pa.string()), ("reason", pa.string())]
)
# what is read before the state is stored: a sync of many files that dies does not begin anew
CHECKPOINT_BYTES = 64 * 1024 * 1024
DEFAULT_FORMAT: dict[str, tuple[Any, ...]] = {
    "filetype": ("csv",),
    "escape_char": (None,),
    "skip_rows_before_header": (0, None),
    "skip_rows_after_header": (0, None),
    "header_definition": (None, {"header_definition_type": "From CSV"}),
    "null_values": (None, []),
    "ignore_errors_on_fields_mismatch": (False, None),
}


@dataclass(frozen=True)
class _File:
    key: str
    modified: str
    etag: str


@dataclass(frozen=True)
class _FileStream:
    """A stream of the configuration."""

    name: str
    globs: list[str]
    dialect: Dialect
    columns: list[str] | None

    @property
    def prefix(self) -> str:
        """The folder that all files of the stream lie in."""
        plain = [glob_.split("*")[0].split("?")[0].split("[")[0].split("{")[0] for glob_ in self.globs]
        first = plain[0] if all(prefix == plain[0] for prefix in plain) else ""
        return first[: first.rfind("/") + 1]


def build(configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]) -> "FileSource":
    """The reader of one configured bucket (`manifest` is not for this kind of source)."""
    return FileSource(configuration, lakehouse)


class FileSource:
    """Reads the CSV files of one bucket."""

    def __init__(self, configuration: dict[str, Any], lakehouse: dict[str, Any]) -> None:
        self._bucket = configuration["bucket"]
        self._endpoint = configuration.get("endpoint") or "AWS"
        self._key_id = configuration.get("aws_access_key_id")
        self._start = configuration.get("start_date")
        self._client = s3_client(
            self._key_id,
            configuration.get("aws_secret_access_key"),
            configuration.get("endpoint"),
            configuration.get("region_name"),
        )
        fallback = lakehouse.get("encoding_fallback")
        self._streams = {entry["name"]: _file_stream(entry, fallback) for entry in configuration["streams"]}
        self._rejects = {entry["stream"]: entry["name"] for entry in lakehouse.get("rejected_streams", [])}

    def discover(self) -> list[DiscoveredStream]:
        """The configured streams; columns that the configuration does not give are those of the newest file."""
        return [self._discovered(stream) for stream in self._streams.values()]

    def read(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]], delivery: "Delivery") -> None:
        for stream in streams:
            state = states.get(stream.name) or {}
            self._read_stream(stream, state if stream.incremental else {}, delivery)

    def _read_stream(self, stream: ConfiguredStream, state: dict[str, Any], delivery: "Delivery") -> None:
        ours = self._streams[stream.name]
        history: dict[str, str] = dict(state.get("history") or {})
        etags: dict[str, str] = dict(state.get("etags") or {})
        rejects = self._rejects.get(stream.name)
        delivery.begin(stream)
        if rejects:
            delivery.begin(ConfiguredStream(rejects, stream.sync_mode))
            delivery.write_empty(rejects, REJECTED_SCHEMA)
        read = 0
        for listed in self._matching(ours):
            if history.get(listed.key) == listed.modified and etags.get(listed.key) == listed.etag:
                continue
            opened = self._open(listed)
            if opened is None:
                delivery.ledger.log("WARN", f"File {listed.key} was removed while the sync ran; it is not read.")
                continue
            file, body = opened
            self._deliver(stream, ours, file, body, rejects, delivery)
            history[file.key], etags[file.key] = file.modified, file.etag
            read += len(body)
            if read >= CHECKPOINT_BYTES:
                self._checkpoint(stream, history, etags, rejects, delivery)
                read = 0
        self._checkpoint(stream, history, etags, rejects, delivery)

    def _deliver(
        self,
        stream: ConfiguredStream,
        ours: _FileStream,
        file: _File,
        body: bytes,
        rejects: str | None,
        delivery: "Delivery",
    ) -> None:
        name = file.key.removeprefix(ours.prefix)
        delivery.raw_version(f"{stream.name}/{name}", f"{stream.name}/{_version(file, body)}/{name}", body)
        parsed = parse(body, ours.dialect, ours.columns or [], RESERVED)
        if parsed.rejected and rejects is None:
            first = parsed.rejected[0]
            raise SyncFailure(
                f"File {file.key}, line {first.line_number}: {first.reason} ({len(parsed.rejected)} such lines). "
                f"Repair the file, or name a stream for rejected lines of {stream.name} in "
                "lakehouse.rejected_streams.",
                origin="source",
                kind="config_error",
            )
        if parsed.rows:
            delivery.write(stream.name, _records(stream, file, parsed))
        if parsed.rejected and rejects is not None:
            delivery.write(rejects, _rejected(file, parsed))
        delivery.ledger.log(
            "WARN" if parsed.rejected else "INFO",
            f"File {file.key}: {len(parsed.rows)} records, {len(parsed.rejected)} rejected"
            + (
                f" (first: line {parsed.rejected[0].line_number}, {parsed.rejected[0].reason})."
                if parsed.rejected
                else "."
            ),
        )

    def _checkpoint(
        self,
        stream: ConfiguredStream,
        history: dict[str, str],
        etags: dict[str, str],
        rejects: str | None,
        delivery: "Delivery",
    ) -> None:
        newest = max(((modified, key) for key, modified in history.items()), default=None)
        state: dict[str, Any] = {"history": history, "etags": etags}
        if newest:
            state[MODIFIED] = f"{newest[0]}_{newest[1]}"
        delivery.checkpoint(stream.name, state if stream.incremental else {}, beside=rejects)

    def _discovered(self, stream: _FileStream) -> DiscoveredStream:
        names = stream.columns
        if names is None:
            newest = max(self._matching(stream), key=lambda file: file.modified, default=None)
            opened = self._open(newest) if newest else None
            if opened is None:
                raise SyncFailure(
                    f"Stream {stream.name}: no file matches {', '.join(stream.globs)} in bucket {self._bucket}, so "
                    "its columns are not known; add a file or give input_schema.",
                    origin="source",
                    kind="config_error",
                )
            names = parse(opened[1].partition(b"\n")[0], stream.dialect, []).header
        schema = dict.fromkeys(names, TEXT) | {MODIFIED: TEXT, URL: TEXT, LINE: {"type": "integer"}}
        return DiscoveredStream(stream.name, schema, cursor_is_fixed=True, default_cursor=MODIFIED)

    def _matching(self, stream: _FileStream) -> Iterator[_File]:
        """The stream's files, oldest first."""
        found = []
        with self._explained(f"list s3://{self._bucket}/{stream.prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=stream.prefix)
            for entry in (entry for page in pages for entry in page.get("Contents", [])):
                if glob.globmatch(entry["Key"], stream.globs, flags=glob.GLOBSTAR | glob.BRACE):
                    found.append(_File(entry["Key"], _time(entry["LastModified"]), entry["ETag"].strip(QUOTES)))
        if self._start:
            found = [file for file in found if file.modified >= _time(datetime.fromisoformat(self._start))]
        return iter(sorted(found, key=lambda file: (file.modified, file.key)))

    def _open(self, file: _File) -> tuple[_File, bytes] | None:
        """A file as it is now (it may have been replaced since it was listed); None if it is gone."""
        try:
            with self._explained(f"read s3://{self._bucket}/{file.key}"):
                answer = self._client.get_object(Bucket=self._bucket, Key=file.key)
                body = answer["Body"].read()
        except SyncFailure as failure:
            cause = failure.__cause__
            if isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise
        if answer["ETag"].strip(QUOTES) == file.etag:
            return file, body  # the listing's time is the finer one
        return _File(file.key, _time(answer["LastModified"]), answer["ETag"].strip(QUOTES)), body

    def _explained(self, action: str) -> explained:
        return explained("source", action, self._endpoint, self._key_id)


def _file_stream(entry: dict[str, Any], fallback: str | None) -> _FileStream:
    shape = entry["format"]
    for key, allowed in DEFAULT_FORMAT.items():
        if shape.get(key, allowed[0]) not in allowed:
            raise SyncFailure(
                f"Stream {entry['name']}: format.{key} {shape[key]!r} is not supported by the embedded Airbyte.",
                origin="source",
                kind="config_error",
            )
    columns = None
    if entry.get("input_schema"):
        schema = json.loads(entry["input_schema"])
        typed = [name for name, type_ in schema.items() if type_ not in ("string", {"type": "string"})]
        if typed:
            raise SyncFailure(
                f"Stream {entry['name']}: input_schema has columns that are no strings ({', '.join(typed)}); "
                "the embedded Airbyte reads CSV columns as text.",
                origin="source",
                kind="config_error",
            )
        columns = list(schema)
    dialect = Dialect(
        delimiter=shape.get("delimiter") or ",",
        quote_char=shape.get("quote_char") or '"',
        double_quote=shape.get("double_quote") is not False,
        encoding=shape.get("encoding") or "utf8",
        fallback=fallback,
    )
    return _FileStream(entry["name"], entry.get("globs") or ["**"], dialect, columns)


def _records(stream: ConfiguredStream, file: _File, parsed: Parsed) -> pa.Table:
    """The records with the columns of the stream, then the file's further ones, then where each comes from."""
    found = dict(zip(parsed.header, zip(*parsed.rows, strict=True), strict=True))
    wanted = [name for name in stream.read_columns if name in found]
    if stream.selected is None:
        wanted += [name for name in parsed.header if name not in stream.columns]
    rows = len(parsed.rows)
    columns = {name: pa.array(found[name], pa.string()) for name in wanted}
    own = {
        MODIFIED: pa.array([file.modified] * rows, pa.string()),
        URL: pa.array([file.key] * rows, pa.string()),
        LINE: pa.array(parsed.line_numbers, pa.int64()),
    }
    return pa.table(columns | own)


def _rejected(file: _File, parsed: Parsed) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {URL: file.key, MODIFIED: file.modified, LINE: line.line_number, "line": line.line, "reason": line.reason}
            for line in parsed.rejected
        ],
        schema=REJECTED_SCHEMA,
    )


def _version(file: _File, body: bytes) -> str:
    """The folder of a later version of a file: when it came, and what it is where two came within a second."""
    digest = hashlib.sha256(body).hexdigest()[:8]
    return f"timestamp={datetime.fromisoformat(file.modified):%Y%m%d_%H%M%S}_{digest}"


def _time(at: datetime) -> str:
    """A time in the form in which Airbyte's file sources show it: text that sorts."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
