"""REST and GraphQL services by a low-code manifest, run by Airbyte's own CDK.

The manifest runs unchanged in a real Airbyte. Around it: every response is kept as it came (where the connection
asks for that), records become Parquet columns by the manifest's schemas, and records that the last sync delivered
already (a cursor is read inclusively) are not delivered again.
"""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dpath
import pyarrow as pa
import requests
from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteStateMessageSerializer,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteCatalogSerializer,
    FailureType,
    Type,
)
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource
from airbyte_cdk.sources.declarative.extractors import dpath_extractor
from airbyte_cdk.sources.streams.http.http_client import HttpClient
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream
from embedded.airbyte.failures import Kind, SyncFailure
from embedded.airbyte.sources.json_columns import to_table
from embedded.airbyte.sources.record_columns import RecordColumns

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery

DEFAULT_BATCH_ROWS = 10_000
# rows of a stream between two stored states, where its manifest emits states often enough
CHECKPOINT_ROWS = 200_000
# Our part of a stream's state: digests of the records that have the highest cursor value delivered so far.
DELIVERED = "_lakehouse_delivered"
MOST_DIGESTS = 10_000

logger = logging.getLogger("airbyte")


def build(
    configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]
) -> "DeclarativeSource":
    """The reader of one service as its manifest describes it."""
    if manifest is None:
        raise SyncFailure(
            "The low-code definition of this source was deleted; create the source anew.",
            origin="source",
            kind="config_error",
        )
    return DeclarativeSource(configuration, manifest, lakehouse)


class DeclarativeSource:
    """Runs one manifest with one configuration."""

    def __init__(self, configuration: dict[str, Any], manifest: dict[str, Any], lakehouse: dict[str, Any]) -> None:
        self._configuration = configuration
        self._manifest = manifest
        self._batch_rows = int(lakehouse.get("batch_size", DEFAULT_BATCH_ROWS))
        self._compressed = lakehouse.get("compression", "gzip") == "gzip"
        spec = (manifest.get("spec") or {}).get("connection_specification") or {}
        self._secrets = [
            str(configuration[name])
            for name, schema in (spec.get("properties") or {}).items()
            if schema.get("airbyte_secret") and configuration.get(name)
        ]

    def discover(self) -> list[DiscoveredStream]:
        with self._explained():
            catalog = self._source(None, None).discover(logger, self._configuration)
        return [
            DiscoveredStream(
                name=stream.name,
                columns=dict(stream.json_schema.get("properties") or {}),
                namespace=stream.namespace,
                incremental=any(mode.value == "incremental" for mode in stream.supported_sync_modes or []),
                cursor_is_fixed=bool(stream.source_defined_cursor and stream.default_cursor_field),
                default_cursor=(stream.default_cursor_field or [None])[0],
                primary_key=[path[0] for path in stream.source_defined_primary_key or []],
            )
            for stream in catalog.streams
        ]

    def read(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]], delivery: "Delivery") -> None:
        catalog = _catalog(streams)
        state = [
            {"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": _of_cdk(stored)}}
            for name, stored in states.items()
            if any(stream.name == name and stream.incremental for stream in streams)
        ]
        cdk_state = [AirbyteStateMessageSerializer.load(entry) for entry in state]
        reads = {stream.name: _StreamRead(stream, states.get(stream.name) or {}, delivery) for stream in streams}
        reasons: list[str] = []
        with self._explained(reasons), _direct_paths(), _observed(self._compressed) as observed:
            source = self._source(catalog, cdk_state)
            for message in source.read(logger, self._configuration, catalog, cdk_state):
                self._keep(observed, delivery)
                self._take(message, reads, reasons)
            self._keep(observed, delivery)
        for stream_read in reads.values():
            stream_read.finish()

    def _take(self, message: AirbyteMessage, reads: dict[str, "_StreamRead"], reasons: list[str]) -> None:
        if message.type == Type.RECORD and message.record is not None:
            read = reads[message.record.stream]
            read.add(dict(message.record.data))
            if len(read.pending) >= self._batch_rows:
                read.write()
        elif message.type == Type.STATE and message.state is not None and message.state.stream is not None:
            dumped = AirbyteStateMessageSerializer.dump(message.state)["stream"]
            read = reads[dumped["stream_descriptor"]["name"]]
            read.state = dumped.get("stream_state") or {}
            if read.since_checkpoint >= CHECKPOINT_ROWS:
                read.checkpoint()
        elif message.type == Type.TRACE and message.trace is not None and message.trace.error is not None:
            stream = message.trace.error.stream_descriptor
            reasons.append(f"{stream.name}: {message.trace.error.message}" if stream else message.trace.error.message)

    def _keep(self, observed: "_Observed", delivery: "Delivery") -> None:
        """Store what came since the last call: responses in the lake, the CDK's warnings in the log."""
        while observed.pages:
            stream, number, body = observed.pages.popleft()
            at = datetime.fromtimestamp(delivery.started_ms / 1000, UTC)
            name = "response.json" if number == 0 else f"response_{number}.json"
            delivery.raw(f"{stream}/timestamp={at:%Y%m%d_%H%M%S}/{name}", body)
        while observed.lines:
            level, text = observed.lines.popleft()
            delivery.ledger.log(level, self._without_secrets(text))

    def _source(self, catalog: ConfiguredAirbyteCatalog | None, state: Any) -> ConcurrentDeclarativeSource:
        return ConcurrentDeclarativeSource(
            catalog=catalog, config=self._configuration, state=state, source_config=self._manifest
        )

    @contextmanager
    def _explained(self, reasons: Sequence[str] = ()) -> Iterator[None]:
        """Turns the CDK's errors into a SyncFailure without secrets.

        :param reasons: what failed, where the CDK has said so before it raises an error that holds all it received.
        """
        try:
            yield
        except SyncFailure:
            raise
        except AirbyteTracedException as error:
            kind: Kind = "transient_error" if error.failure_type == FailureType.transient_error else "system_error"
            if error.failure_type == FailureType.config_error:
                kind = "config_error"
            message = error.message or error.internal_message or "unknown error"
            if reasons:
                message = "; ".join(reasons)
            elif error.internal_message and error.internal_message not in message:
                message = f"{message} {error.internal_message}"
            raise self._failure(message, kind, f"{error.message} {error.internal_message}") from error
        except requests.RequestException as error:
            raise self._failure(str(error), "transient_error", repr(error)) from error
        except Exception as error:
            raise self._failure(f"{type(error).__name__}: {error}", "system_error", repr(error)) from error

    def _failure(self, message: str, kind: Kind, detail: str) -> SyncFailure:
        where = self._configuration.get("base_url") or self._configuration.get("url") or "the service"
        hint = " Check the address and that the service runs." if kind != "config_error" else ""
        if "401" in message or "403" in message:
            kind, hint = "config_error", " Check the source's credentials."
        text = self._without_secrets(f"Reading {where} failed: {message}{hint}")
        return SyncFailure(text, origin="source", kind=kind, detail=self._without_secrets(detail))

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class _StreamRead:
    """What one sync has received of one stream."""

    def __init__(self, stream: ConfiguredStream, stored: dict[str, Any], delivery: "Delivery") -> None:
        self.pending: list[dict[str, Any]] = []
        self.state: dict[str, Any] = _of_cdk(stored) if stream.incremental else {}
        self.since_checkpoint = 0
        self._stream = stream
        self._delivery = delivery
        delivered = (stored.get(DELIVERED) or {}) if stream.incremental else {}
        self._top: datetime | str | None = _comparable(delivered.get("cursor"))
        self._top_text: Any = delivered.get("cursor")
        self._digests: set[str] = set(delivered.get("digests") or [])
        self._known = frozenset(self._digests)
        delivery.begin(stream)
        self._columns = RecordColumns(stream, delivery.delivered_columns(stream.name), delivery.follows_new_columns)
        self._held: list[tuple[pa.Table, pa.Array | None]] = []

    def add(self, record: dict[str, Any]) -> None:
        """Take a record, unless the last sync delivered this very record."""
        for sentence in self._columns.see(record):
            self._warn(sentence)
        if self._stream.incremental and self._seen(record):
            return
        self.pending.append(record)

    def write(self) -> None:
        """Make a table of what is pending, and deliver if there is much.

        Tables are held back as long as memory allows, because a later record may show a column that these lack.
        """
        if not self.pending:
            return
        table, changes = to_table(self.pending, self._columns.schema)
        if changes is not None:
            fields = sorted({change["field"] for row in changes.to_pylist() for change in row})
            self._warn(
                f"values of {', '.join(fields)} do not fit the manifest's schema; they are null, and the rows' "
                "_airbyte_meta.changes say so."
            )
        self._held.append((table, changes))
        self.since_checkpoint += len(self.pending)
        self.pending = []
        if sum(held.nbytes for held, _ in self._held) >= self._delivery.buffer_bytes:
            self._deliver()

    def checkpoint(self) -> None:
        """Make everything received durable and store the last state that came."""
        self.write()
        self._deliver()
        state = dict(self.state)
        if self._stream.incremental and self._digests and len(self._digests) <= MOST_DIGESTS:
            state[DELIVERED] = {"cursor": self._top_text, "digests": sorted(self._digests)}
        self._delivery.checkpoint(self._stream.name, state)
        self.since_checkpoint = 0

    def finish(self) -> None:
        """The stream was read to its end."""
        self.checkpoint()

    def _deliver(self) -> None:
        """Hand over what is held back, with the columns that are known by now."""
        if not self._held:
            return
        tables = self._columns.fit(table for table, _ in self._held)
        if self._columns.lost:
            self._warn(
                f"no record of this sync has {', '.join(self._columns.lost)}, which earlier syncs delivered; "
                "its files are without."
            )
        for table, (_, changes) in zip(tables, self._held, strict=True):
            self._delivery.write(self._stream.name, table, changes)
        self._delivery.remember_columns(self._stream.name, self._columns.delivered)
        self._held = []

    def _warn(self, sentence: str) -> None:
        self._delivery.ledger.log("WARN", f"Stream {self._stream.name}: {sentence}")

    def _seen(self, record: dict[str, Any]) -> bool:
        assert self._stream.cursor is not None  # every incremental stream has one
        text = record.get(self._stream.cursor)
        at = _comparable(text)
        if at is None or (self._top is not None and _below(at, self._top)):
            return False
        digest = hashlib.sha1(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()
        if at != self._top:
            self._top, self._top_text, self._digests = at, text, set()
        self._digests.add(digest)
        return digest in self._known


def _comparable(value: Any) -> datetime | str | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _below(one: datetime | str, other: datetime | str) -> bool:
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one < other
    return str(one) < str(other)


def _of_cdk(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stored.items() if key != DELIVERED}


def _catalog(streams: list[ConfiguredStream]) -> ConfiguredAirbyteCatalog:
    return ConfiguredAirbyteCatalogSerializer.load(
        {
            "streams": [
                {
                    "stream": {
                        "name": stream.name,
                        "json_schema": {"type": "object", "properties": stream.columns},
                        "supported_sync_modes": ["full_refresh", "incremental"],
                    },
                    "sync_mode": "incremental" if stream.incremental else "full_refresh",
                    "destination_sync_mode": "overwrite" if stream.overwrites else "append",
                    "cursor_field": [stream.cursor] if stream.cursor else [],
                    "primary_key": [[key] for key in stream.primary_key],
                }
                for stream in streams
            ]
        }
    )


class _Observed(logging.Handler):
    """What the CDK's threads saw, for the main thread to take: responses in order, and warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.pages: deque[tuple[str, int, bytes]] = deque()
        self.lines: deque[tuple[str, str]] = deque()
        self._counts: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))

    def page(self, stream: str, body: bytes) -> None:
        """Called under the lock of this handler."""
        number = self._counts.get(stream, 0)
        self._counts[stream] = number + 1
        self.pages.append((stream, number, body))


@contextmanager
def _observed(compressed: bool) -> Iterator[_Observed]:
    """See each good response of each stream, by wrapping the one method of the CDK that all requests go through.

    The CDK has no hook for this that keeps the bytes. It is undone at the end; a worker runs one sync only.
    """
    observed = _Observed()
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [observed], False
    original = HttpClient._send_with_retry

    def send(self: HttpClient, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if not compressed:
            request.headers["Accept-Encoding"] = "identity"
        response = original(self, request, *args, **kwargs)
        observed.acquire()
        try:
            observed.page(self.name, response.content)
        finally:
            observed.release()
        return response

    HttpClient._send_with_retry = send  # type: ignore[method-assign]
    try:
        yield observed
    finally:
        HttpClient._send_with_retry = original  # type: ignore[method-assign]
        logger.handlers, logger.propagate = handlers, propagate


class _DirectPaths:
    """What the CDK's extractor calls of `dpath`. That goes through all that a page holds to find one key of it, which
    is a quarter of the time of a sync; a path of plain keys is followed instead.
    """

    values = staticmethod(dpath.values)

    @staticmethod
    def get(body: Any, path: list[str], default: Any) -> Any:
        found = body
        for name in path:
            if not isinstance(found, dict) or name not in found or any(sign in name for sign in "*?["):
                return dpath.get(body, path, default=default)
            found = found[name]
        return found


@contextmanager
def _direct_paths() -> Iterator[None]:
    dpath_extractor.dpath = _DirectPaths  # type: ignore[assignment]
    try:
        yield
    finally:
        dpath_extractor.dpath = dpath
