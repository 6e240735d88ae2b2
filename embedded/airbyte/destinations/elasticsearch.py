"""The Elasticsearch destination: an index for each stream, as Airbyte's destination-elasticsearch names it.

A document's `_id` is the row's primary key, or else tells which row it is of the sync that brings it, so that a sync
that is tried again writes the same documents. An overwritten stream is written to an index of its own, which takes the
stream's name, as an alias, when it is whole.
"""

import base64
import hashlib
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pyarrow as pa

from embedded.airbyte.destinations import Target
from embedded.airbyte.destinations.postgres_rows import OWN, is_json
from embedded.airbyte.destinations.s3 import distinct_names
from embedded.airbyte.failures import Kind, SyncFailure
from embedded.airbyte.sources.json_columns import column_type
from embedded.airbyte.worker.ledger import Ledger
from embedded.airbyte.worker.parquet import safe_name

BULK_ROWS, BULK_BYTES = 1_000, 5 * 1024 * 1024
PAGE_ROWS = 5_000
LONGEST_ID = 512
BUSY_TRIES = 6
SEARCH_SECONDS = 1
DELETED_AT = "_ab_cdc_deleted_at"
TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}  # as Elasticsearch makes it


def build(
    configuration: dict[str, Any], ledger: Ledger, connection_id: Any, started_ms: int
) -> "ElasticsearchDestination":
    """The writer of one configured server, for one attempt of a connection."""
    return ElasticsearchDestination(configuration, ledger, str(connection_id), started_ms)


class _Index:
    """What one attempt does with one stream."""

    def __init__(self, target: Target, upsert: bool, connection_id: str, started_ms: int) -> None:
        self.target = target
        stream = target.stream
        prefix = f"{target.namespace}_" if target.namespace else ""
        self.name = f"{prefix}{safe_name(target.name)}".lower()
        self.staged = f"{self.name}_airbyte_{started_ms}" if stream.overwrites else None
        self.keys = stream.primary_key if upsert else []
        self.deletes = bool(self.keys) and stream.sync_mode == "incremental_deduped_history"
        self.json = {name for name, schema in stream.columns.items() if is_json(schema)}
        self.fields: set[str] = set()
        self._stream = hashlib.sha256(f"{connection_id} {stream.name}".encode()).hexdigest()[:16]
        self._commits = target.commits
        self._rows = 0
        self.written = 0

    @property
    def place(self) -> str:
        return self.staged or self.name

    def committed(self) -> None:
        """What comes next belongs to another state. A full refresh begins anew, whatever was stored of it."""
        if self.target.stream.incremental:
            self._commits += 1
            self._rows = 0

    def id_of(self, row: dict[str, Any]) -> str:
        """The document's id; the same if the row is delivered again."""
        self._rows += 1
        key = [row.get(name) for name in self.keys]
        if not key or key == [None]:
            part = f"c{self._commits}" if self.target.stream.incremental else f"g{self.target.generation}"
            return f"{self._stream}-{part}-{self._rows}"
        text = orjson.dumps(key, default=str).decode() if len(key) > 1 else _key_text(key[0])
        return text if len(text.encode()) <= LONGEST_ID else hashlib.sha256(text.encode()).hexdigest()


class ElasticsearchDestination:
    """Writes the indices of one attempt."""

    def __init__(self, configuration: dict[str, Any], ledger: Ledger, connection_id: str, started_ms: int) -> None:
        self._ledger = ledger
        self._connection_id = connection_id
        self._started_ms = started_ms
        self._upsert = bool(configuration.get("upsert", True))
        self._indices: dict[str, _Index] = {}
        self._replaced: list[str] = []
        self._endpoint = configuration["endpoint"].rstrip("/")
        method = configuration.get("authenticationMethod") or {}
        headers = {}
        if method.get("method") == "secret":
            key = f"{method['apiKeyId']}:{method['apiKeySecret']}".encode()
            headers["Authorization"] = f"ApiKey {base64.b64encode(key).decode()}"
        self._http = httpx.Client(
            base_url=self._endpoint,
            headers=headers,
            auth=(method["username"], method["password"]) if method.get("method") == "basic" else None,
            timeout=httpx.Timeout(120, connect=10),
            verify=self._trust(configuration.get("ca_certificate")),
        )

    def _trust(self, certificate: str | None) -> ssl.SSLContext | bool:
        try:
            return ssl.create_default_context(cadata=certificate) if certificate else True
        except (ssl.SSLError, ValueError) as error:
            raise self._failure("ca_certificate is no certificate in PEM", "config_error", str(error)) from error

    def close(self) -> None:
        """Remove what was replaced, when searches that were under way have ended."""
        if self._replaced:
            time.sleep(SEARCH_SECONDS)
        for name in self._replaced:
            with suppress(SyncFailure):  # what is left, the next overwrite removes
                self._call("DELETE", f"/{name}", missing={})
        self._http.close()

    def stored_states(self) -> dict[str, tuple[Any, Any]]:
        return {}

    def begin(self, target: Target) -> None:
        index = _Index(target, self._upsert, self._connection_id, self._started_ms)
        self._indices[target.stream.name] = index
        if not index.staged:
            return
        for name, found in (self._call("GET", f"/{index.name}_airbyte_*/_alias", missing={}) or {}).items():
            if index.name not in found["aliases"]:  # what an attempt that was killed has left
                self._call("DELETE", f"/{name}", missing={})

    def is_new(self, stream: str) -> bool:
        return not self._exists(self._indices[stream].place)

    def column_names(self, stream: str, names: list[str]) -> list[str]:
        return distinct_names(stream, names, names)

    def write(self, stream: str, rows: pa.Table, buffer_bytes: int) -> None:
        """Index rows at once; they can be found after the next commit."""
        index = self._indices[stream]
        data = rows.drop_columns(OWN)
        self._map(index, {field.name: _field(field.type, field.name in index.json) for field in data.schema})
        lines: list[bytes] = []
        for start in range(0, data.num_rows, BULK_ROWS):
            for row in data.slice(start, BULK_ROWS).to_pylist():
                lines += self._lines(index, row)
                if sum(map(len, lines)) >= BULK_BYTES:
                    self._bulk(index, lines)
                    lines = []
            self._bulk(index, lines)
            lines = []
        index.written += data.num_rows

    def commit(self, streams: list[str], key: str, before: Any, state: Any) -> None:
        """Let what was written be found. It is on disk since it was written (`index.translog.durability`)."""
        for index in (self._indices[name] for name in streams):
            self._told(index)
            index.committed()

    def landed(self, stream: str, columns: list[str]) -> pa.Table:
        index = self._indices[stream]
        if not self._exists(index.place):
            return pa.table({name: pa.nulls(0) for name in columns})
        self._call("POST", f"/{index.place}/_refresh")
        rows = list(self._documents(index.place, columns))
        return pa.table({name: [row.get(name) for row in rows] for name in columns})

    def finish(self, stream: str) -> None:
        """Give the new index the stream's name, in one step; an index that bears the name itself goes in that step."""
        index = self._indices[stream]
        if not index.staged:
            return
        columns = index.target.stream.read_columns
        self._map(index, {name: _field(column_type(of)[0], name in index.json) for name, of in columns.items()})
        self._told(index)
        older = [name for name in self._concrete(index.name) if name != index.staged]
        actions: list[dict[str, Any]] = [
            {"remove_index": {"index": name}} if name == index.name
            else {"remove": {"index": name, "alias": index.name}}
            for name in older
        ]  # fmt: skip
        actions.append({"add": {"index": index.staged, "alias": index.name}})
        self._call("POST", "/_aliases", json={"actions": actions})
        self._replaced += [name for name in older if name != index.name]

    def clear(self, target: Target) -> None:
        self.begin(target)
        for name in self._concrete(self._indices[target.stream.name].name):
            self._call("DELETE", f"/{name}", missing={})

    def _lines(self, index: _Index, row: dict[str, Any]) -> list[bytes]:
        """A row as the two lines of a bulk request, or as the one that deletes it."""
        identity = {"_id": index.id_of(row)}
        if index.deletes and row.get(DELETED_AT) is not None:
            return [orjson.dumps({"delete": identity})]
        for name in index.json & row.keys():
            if row[name] is not None:
                row[name] = orjson.Fragment(row[name])
        return [orjson.dumps({"index": identity}), orjson.dumps(row, default=_number)]

    def _bulk(self, index: _Index, lines: list[bytes]) -> None:
        if not lines:
            return
        body = b"\n".join(lines) + b"\n"
        for attempt in range(BUSY_TRIES):
            answer = self._call(
                "POST", f"/{index.place}/_bulk", content=body, headers={"Content-Type": "application/x-ndjson"}
            )
            failed = [
                entry
                for item in answer["items"]
                for operation, entry in item.items()
                if entry["status"] >= 300 and not (operation == "delete" and entry["status"] == 404)
            ]
            refused = [entry for entry in failed if entry["status"] != 429]
            if refused:
                error = refused[0]["error"]
                raise self._failure(
                    f"{len(refused)} of {len(answer['items'])} documents of stream {index.target.stream.name} were "
                    f"refused by index {index.place}, the first one because {error['type']}: {error['reason']}. If a "
                    "column's type has changed, clear the stream and sync again",
                    "config_error",
                    str(error),
                )
            if not failed:
                return
            time.sleep(0.2 * 2**attempt)  # all again: each document has its id
        raise self._failure(f"index {index.place} has no room for more requests (429)", "transient_error")

    def _map(self, index: _Index, fields: dict[str, dict[str, Any] | None]) -> None:
        """Make the index if it is not there, with the fields that it lacks. Objects get fields as they come."""
        new = {name: field for name, field in fields.items() if name not in index.fields}
        if index.fields and not new:
            return
        mapping = {"properties": {name: field for name, field in new.items() if field is not None}}
        if not self._exists(index.place):
            # text that looks like a date is text
            self._call("PUT", f"/{index.place}", json={"mappings": mapping | {"date_detection": False}})
        elif mapping["properties"]:
            self._call("PUT", f"/{index.place}/_mapping", json=mapping)
        index.fields |= set(fields)

    def _documents(self, index: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        """The fields of all documents, page by page over one point in time."""
        pit = self._call("POST", f"/{index}/_pit?keep_alive=5m")["id"]
        after: list[Any] | None = None
        try:
            while True:
                body = {
                    "size": PAGE_ROWS,
                    "pit": {"id": pit, "keep_alive": "5m"},
                    "sort": [{"_shard_doc": "asc"}],
                    "_source": columns,
                    "track_total_hits": False,
                } | ({"search_after": after} if after else {})
                hits = self._call("POST", "/_search", json=body)["hits"]["hits"]
                if not hits:
                    return
                yield from (hit["_source"] for hit in hits)
                after = hits[-1]["sort"]
        finally:
            self._call("DELETE", "/_pit", json={"id": pit}, missing={})

    def _told(self, index: _Index) -> None:
        if index.written:
            self._call("POST", f"/{index.place}/_refresh")
            stream = index.target.stream.name
            self._ledger.log("INFO", f"Stream {stream}: {index.written} rows to index {index.name}.")
        index.written = 0

    def _exists(self, name: str) -> bool:
        return self._call("GET", f"/{name}", missing=None) is not None

    def _concrete(self, name: str) -> list[str]:
        """The index of this name, or those behind the alias of this name."""
        return list(self._call("GET", f"/{name}", missing={}))

    def _call(self, method: str, path: str, **options: Any) -> Any:
        """A call that must succeed; `missing` is what is returned where there is no such index."""
        missing = "missing" in options
        otherwise = options.pop("missing", None)
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise self._failure(
                    "its certificate is not trusted; set ca_certificate to that of its CA, and in endpoint the name "
                    "that the certificate is for",
                    "config_error",
                    str(error),
                ) from error
            raise self._failure(
                f"no answer to {method} {path}; check that it runs and that the endpoint is right",
                "transient_error",
                f"{type(error).__name__}: {error}",
            ) from error
        if answer.status_code == 404 and missing:
            return otherwise
        if answer.is_success:
            return answer.json()
        try:
            said = answer.json()["error"]
            reason = said if isinstance(said, str) else f"{said['type']}: {said['reason']}"
        except (ValueError, KeyError):
            reason = answer.text[:200]
        hint = {401: "; check user and password or API key", 403: "; the user lacks the right"}
        kind: Kind = "transient_error" if answer.status_code in (429, 502, 503, 504) else "config_error"
        raise self._failure(
            f"{method} {path} was answered by {answer.status_code} {reason}{hint.get(answer.status_code, '')}", kind
        )

    def _failure(self, text: str, kind: Kind, detail: str = "") -> SyncFailure:
        message = f"Elasticsearch {self._endpoint}: {text}."
        return SyncFailure(message, origin="destination", kind=kind, detail=detail)


def _field(type_: pa.DataType, is_object: bool) -> dict[str, Any] | None:
    """A column in the mapping; None for what Elasticsearch maps by what is in it."""
    if is_object:
        return None
    if pa.types.is_boolean(type_):
        return {"type": "boolean"}
    if pa.types.is_integer(type_):
        return {"type": "long"}
    if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return {"type": "double"}
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        return {"type": "date"}
    if pa.types.is_time(type_):
        return {"type": "keyword"}
    return TEXT


def _key_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def _number(value: Any) -> Any:
    """A decimal as the number that it is, with all its digits."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value).encode())
    raise TypeError(f"{type(value).__name__} has no form in JSON")
