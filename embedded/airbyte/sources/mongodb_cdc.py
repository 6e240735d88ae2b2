"""MongoDB by change streams: each new stream is read in full, then its changes without a gap.

Every stream's state holds the resume token up to which its rows are durable. A sync takes the token of now, reads the
collections that have none in full, and then the changes of all streams once, from the lowest of all tokens to where the
server stood: a change below its stream's own token is left out. A collection is not read at one instant, but its
changes since the token follow in the same sync, and a change that comes twice is the same row. The order of tokens is
that of their text, which MongoDB's manual promises.
"""

import datetime
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pymongo import MongoClient, errors
from pymongo.change_stream import ChangeStream

from embedded.airbyte.catalog import DiscoveredStream
from embedded.airbyte.sources.mongodb_types import DATE, INTEGER

if TYPE_CHECKING:
    from embedded.airbyte.sources.mongodb import Cluster, CollectionRead
    from embedded.airbyte.worker.delivery import Delivery

CURSOR = "_ab_cdc_cursor"
CDC_COLUMNS = {"_ab_cdc_updated_at": DATE, "_ab_cdc_deleted_at": DATE, CURSOR: INTEGER}
AWAIT_MS = 500  # how long the server waits for a change before it says that there is none
HISTORY_LOST = (260, 280, 286)  # error codes: the token is none, is not in the oplog, or no longer
GONE = ("drop", "rename", "dropDatabase")


def offered(name: str, database: str, fields: dict[str, dict[str, Any]]) -> DiscoveredStream:
    """A collection as a stream, with Airbyte's columns."""
    return DiscoveredStream(
        name=name,
        namespace=database,
        columns=fields | {column: kind.schema for column, kind in CDC_COLUMNS.items()},
        cursor_is_fixed=True,
        default_cursor=CURSOR,
        primary_key=["_id"],
    )


class ChangeStreamSync:
    """One sync of a connection.

    :param full_document: what an update brings: the document as it is by then, or as the update left it.
    :param resync: read a collection anew where its token is gone, rather than fail.
    """

    def __init__(
        self,
        cluster: "Cluster",
        client: MongoClient[dict[str, Any]],
        reads: "dict[str, CollectionRead]",
        delivery: "Delivery",
        *,
        full_document: str,
        checkpoint_seconds: int,
        resync: bool,
    ) -> None:
        self._cluster = cluster
        self._client = client
        self._reads = reads
        self._delivery = delivery
        self._full_document = full_document
        self._checkpoint_seconds = checkpoint_seconds
        self._resync = resync
        self._followed = {name: _Followed(read) for name, read in reads.items() if read.stream.incremental}
        # Airbyte's formula: when the sync began, in units of 10 ns, and from there on one per row
        self._cursor = delivery.started_ms * 100_000

    def run(self, states: Mapping[str, dict[str, Any]]) -> None:
        # What one session reads is never older than what it has read before, whichever members of the cluster answer.
        with self._client.start_session(causal_consistency=True) as self._session:
            self._run(states)

    def _run(self, states: Mapping[str, dict[str, Any]]) -> None:
        for read in self._reads.values():
            self._delivery.begin(read.stream)
        valid: dict[str, bool] = {}
        for name, followed in self._followed.items():
            state = states.get(name) or {}
            self._cursor = max(self._cursor, state.get("cursor", 0))  # a clock may have been set back
            followed.token = self._valid(name, state, valid)
        fresh = [
            read for name, read in self._reads.items() if name not in self._followed or not self._followed[name].token
        ]
        if fresh:
            self._snapshot(fresh)
        if self._followed:
            self._follow()

    def _valid(self, name: str, state: dict[str, Any], known: dict[str, bool]) -> str:
        """The token of a state, if the server still has what comes after it."""
        token = str(state.get("resume_token") or "")
        if not token:
            return ""
        if state.get("schema_enforced") != self._reads[name].schema_enforced:
            raise self._cluster.refused(
                f"schema_enforced was {state.get('schema_enforced')} in the syncs before; clear the connection, so "
                "that its collections are read anew"
            )
        if token not in known:
            known[token] = self._is_there(token)
        if known[token]:
            return token
        reason = f"stream {name}: resume token {token} is not in the server's oplog any more"
        if self._resync:
            self._delivery.ledger.log("WARN", f"{reason}; the collection is read again (Re-sync data).")
            return ""
        raise self._cluster.refused(
            f"{reason}; clear the connection, so that its collections are read anew, and keep a longer oplog "
            "(storage.oplogMinRetentionHours) or sync more often"
        )

    def _is_there(self, token: str) -> bool:
        try:
            with self._watch(token, batch_size=1) as changes:
                changes.try_next()
        except errors.OperationFailure as error:
            if error.code not in HISTORY_LOST:
                raise
            return False
        return True

    def _snapshot(self, reads: "list[CollectionRead]") -> None:
        """Read collections in full."""
        at = pa.scalar(self._delivery.started_ms, pa.timestamp("ms", "UTC")).cast(DATE.type)
        token = self._now() if self._followed else ""
        for read in reads:
            for documents in read.documents(self._session):
                rows = len(documents)
                cdc = [pa.repeat(at, rows), pa.nulls(rows, DATE.type), self._cursors(rows)]
                read.write(documents, dict(zip(CDC_COLUMNS, cdc, strict=True)))
            read.remember()
            name = read.stream.name
            if name in self._followed:
                self._followed[name].token = token
                self._delivery.checkpoint(name, self._followed[name].state(self._cursor))
            else:
                self._delivery.checkpoint(name, {})

    def _follow(self) -> None:
        """Deliver all changes up to where the server is now."""
        target = self._now()
        reached = min(followed.token for followed in self._followed.values())
        quiet = ""
        checkpoint_at = time.monotonic() + self._checkpoint_seconds
        with self._watch(reached) as changes:
            while reached < target:
                change = changes.try_next()
                if change is not None:
                    reached = change["_id"]["_data"]
                    self._take(change, reached)
                elif changes.resume_token is not None:
                    reached = changes.resume_token["_data"]
                    if reached == quiet:  # an idle server's token may stand just below that of now
                        break
                    quiet = reached
                if time.monotonic() > checkpoint_at:
                    self._checkpoint(reached)
                    checkpoint_at = time.monotonic() + self._checkpoint_seconds
        self._checkpoint(reached)

    def _now(self) -> str:
        """The token of where the server is now."""
        with self._watch(None) as changes:
            if changes.resume_token is None:
                raise self._cluster.refused("the server gives no resume token; MongoDB 4.4 or later is needed")
            return str(changes.resume_token["_data"])

    def _watch(self, after: str | None, **options: Any) -> ChangeStream[dict[str, Any]]:
        """A change stream of the followed collections: of their database, or of the cluster if there are several."""
        databases = sorted({str(followed.read.stream.namespace) for followed in self._followed.values()})
        wanted = [
            {"ns.db": {"$in": databases}, "ns.coll": {"$in": list(self._followed)}},
            {"ns.db": {"$in": databases}, "operationType": "dropDatabase"},
            {"operationType": "invalidate"},
        ]
        place = self._client[databases[0]] if len(databases) == 1 else self._client
        if after is not None:
            options["start_after"] = {"_data": after}
        return place.watch(
            [{"$match": {"$or": wanted}}],
            self._full_document,
            max_await_time_ms=AWAIT_MS,
            session=self._session,
            **options,
        )

    def _take(self, change: Mapping[str, Any], token: str) -> None:
        operation, place = change["operationType"], change.get("ns") or {}
        if operation == "invalidate":
            raise self._cluster.refused("the database was dropped; clear the connection, so that it is read anew")
        if operation in GONE:
            self._delivery.ledger.log(
                "WARN", f"{operation} of {'.'.join(place.values())}; as in Airbyte, no deletes come of that."
            )
            return
        followed = self._followed.get(place.get("coll", ""))
        if followed is None or place["db"] != followed.read.stream.namespace or token <= followed.token:
            return
        deleted = operation == "delete"
        document = change["documentKey"] if deleted else change.get("fullDocument")
        if document is None:
            return  # an update of a document that was deleted by then, which is a change that follows
        at = change.get("wallTime") or change["clusterTime"].as_datetime().replace(tzinfo=None)
        followed.documents.append({"_id": document["_id"]} if deleted else document)
        followed.updated_at.append(at)
        followed.deleted_at.append(at if deleted else None)
        if len(followed.documents) >= followed.read.batch_rows:
            self._flush(followed)

    def _flush(self, followed: "_Followed") -> None:
        if not followed.documents:
            return
        cdc = [
            pa.array(followed.updated_at, DATE.type),
            pa.array(followed.deleted_at, DATE.type),
            self._cursors(len(followed.documents)),
        ]
        followed.read.write(followed.documents, dict(zip(CDC_COLUMNS, cdc, strict=True)))
        followed.documents, followed.updated_at, followed.deleted_at = [], [], []

    def _checkpoint(self, reached: str) -> None:
        for name, followed in self._followed.items():
            self._flush(followed)
            followed.read.remember()
            followed.token = max(followed.token, reached)
            self._delivery.checkpoint(name, followed.state(self._cursor))

    def _cursors(self, rows: int) -> pa.Array:
        self._cursor += rows
        return pa.array(np.arange(self._cursor - rows, self._cursor))


class _Followed:
    """A stream whose changes are read."""

    def __init__(self, read: "CollectionRead") -> None:
        self.read = read
        self.token = ""
        self.documents: list[dict[str, Any]] = []
        self.updated_at: list[datetime.datetime] = []
        self.deleted_at: list[datetime.datetime | None] = []

    def state(self, cursor: int) -> dict[str, Any]:
        return {
            "state_type": "cdc",
            "stream_name": self.read.stream.name,
            "stream_namespace": self.read.stream.namespace,
            "resume_token": self.token,
            "cursor": cursor,
            "schema_enforced": self.read.schema_enforced,
        }
