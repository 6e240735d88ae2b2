"""MongoDB as a source, with the configuration keys of Airbyte's source-mongodb-v2.

A full refresh reads a collection as it is; an incremental stream is read by change streams (`mongodb_cdc`), which is
Airbyte's only way too. MongoDB knows no columns: they come from a random sample of documents, and while documents are
read a column becomes wider, or a new one is followed, rather than that a value is lost. With `schema_enforced: false` a
document is one JSON text in the column `data`, beside its `_id`.
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import bson
import pyarrow as pa
from pymongo import MongoClient, errors
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream
from embedded.airbyte.failures import Kind, SyncFailure
from embedded.airbyte.sources.mongodb_cdc import CDC_COLUMNS, HISTORY_LOST, ChangeStreamSync, offered
from embedded.airbyte.sources.mongodb_types import OBJECT, TEXT, DocumentColumns, kind_of_values

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery

ID, DATA = "_id", "data"
DEFAULT_BATCH_ROWS = 10_000
CONNECT_MS = 10_000
CLUSTERS = ("ATLAS_REPLICA_SET", "SELF_MANAGED_REPLICA_SET")
CAPTURE_MODES = {"Lookup": "updateLookup", "Post Image": "required"}
NOT_OFFERED = ("system.", "replset.", "oplog.")  # collections of the server's own
PLACEHOLDER = re.compile(r"^(mongodb(?:\+srv)?://)<[^>@]*>:<[^>@]*>@")  # as Atlas shows the connection string
CREDENTIALS = re.compile(r"^mongodb(\+srv)?://[^/?]*@")
# the server's error codes
AUTHENTICATION, UNAUTHORIZED, NO_CHANGE_STREAMS, NO_POST_IMAGE, TOO_LARGE = 18, 13, 40573, 47, 10334
CUT_OFF = (43, 50, 91, 189, 237, 262, 11600, 11602, 10107)  # cursor gone, time over, server stops or steps down


def build(configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]) -> "MongoDbSource":
    """The reader of one configured cluster (`manifest` is not for this kind of source)."""
    return MongoDbSource(configuration, lakehouse)


class Cluster:
    """Where the databases are and who asks them: makes clients, and explains errors without the password."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        address = configuration["database_config"]
        if not isinstance(address, dict):
            raise SyncFailure("MongoDB: database_config is not an object.", origin="source", kind="config_error")
        self._string = PLACEHOLDER.sub(r"\1", str(address.get("connection_string") or "").strip().strip("\"'"))
        self._user = str(address.get("username") or "")
        self._password = str(address.get("password") or "")
        self._auth_source = str(address.get("auth_source") or "admin")
        self._atlas = address.get("cluster_type") == CLUSTERS[0]
        databases = address.get("databases") or address.get("database") or []
        self.databases = [databases] if isinstance(databases, str) else [str(name) for name in databases]
        if CREDENTIALS.match(self._string):
            self._string = CREDENTIALS.sub(r"mongodb\1://***@", self._string)  # for the message
            raise self.refused("connection_string holds user and password; put them into username and password")
        if not self._string.startswith(("mongodb://", "mongodb+srv://")):
            raise self.refused("connection_string must begin with mongodb:// or mongodb+srv://")
        if not self.databases:
            raise self.refused("databases names no database")
        if address.get("cluster_type", CLUSTERS[1]) not in CLUSTERS:
            raise self.refused(f"cluster_type {address['cluster_type']} is not one of {', '.join(CLUSTERS)}")

    @property
    def where(self) -> str:
        user = f", user {self._user}" if self._user else ""
        return f"MongoDB {self._string}, databases {', '.join(self.databases)}{user}"

    @contextmanager
    def client(self) -> Iterator[MongoClient[dict[str, Any]]]:
        """A client of the cluster; every error inside is a SyncFailure."""
        options: dict[str, Any] = {}
        if "serverselectiontimeoutms" not in self._string.lower():
            options["serverSelectionTimeoutMS"] = CONNECT_MS
        if self._user:
            options |= {"username": self._user, "password": self._password, "authSource": self._auth_source}
        if self._atlas:
            options["tls"] = True
        try:
            client: MongoClient[dict[str, Any]] = MongoClient(
                self._string, appname="airbyte", retryWrites=False, datetime_conversion="DATETIME_AUTO", **options
            )
        except (errors.PyMongoError, ValueError) as error:
            raise self.refused(f"{self._safe(error)}; check connection_string and its options") from error
        try:
            with client:
                yield client
        except (errors.PyMongoError, bson.errors.BSONError) as error:
            raise self.explain(error) from error

    def refused(self, reason: str) -> SyncFailure:
        return SyncFailure(f"{self.where}: {reason}.", origin="source", kind="config_error")

    def explain(self, error: Exception) -> SyncFailure:
        """A driver's error as a failure with what to do."""
        code = error.code if isinstance(error, errors.OperationFailure) else None
        text = self._safe(error)
        kind: Kind = "config_error"
        if code == AUTHENTICATION:
            reason = f"the password or user is wrong ({text}); check username, password and auth_source"
        elif code == UNAUTHORIZED:
            roles = "read on the database" if len(self.databases) == 1 else "readAnyDatabase"
            reason = f"{text}; grant the user the role {roles}"
        elif code == NO_CHANGE_STREAMS:
            reason = "the server is no replica set, which change streams need; make it one, or use a full refresh"
        elif code == NO_POST_IMAGE:
            reason = (
                f"{text}; update_capture_mode Post Image needs changeStreamPreAndPostImages to be enabled on the "
                "collection (collMod); enable it and clear the connection, or use Lookup"
            )
        elif code == TOO_LARGE:
            reason = f"a change is larger than a document may be ({text}); clear the connection to go on without it"
        elif code in HISTORY_LOST:
            reason = (
                f"the oplog does not reach back to where the changes are to be read from ({text}); clear the "
                "connection, and keep a longer oplog (storage.oplogMinRetentionHours) or sync more often"
            )
        elif isinstance(error, errors.ConfigurationError):
            reason = f"{text}; check connection_string and its options"
        elif isinstance(error, bson.errors.BSONError):
            reason = f"a document cannot be read ({text}); correct it"
        elif isinstance(error, errors.ServerSelectionTimeoutError):
            reason = f"no connection; check that it runs, connection_string, and TLS ({text})"
            kind = "transient_error"
        elif isinstance(error, errors.ConnectionFailure) or code in CUT_OFF:
            reason, kind = f"the connection or the query was cut off ({text}); it is tried again", "transient_error"
        else:
            reason, kind = text, "system_error"
        return SyncFailure(f"{self.where}: {reason}.", origin="source", kind=kind, detail=text)

    def _safe(self, error: Exception) -> str:
        """What a driver's error says, without the password and the whole answer."""
        text = str(error).split(", full error:")[0].split(", Timeout:")[0]
        return text.replace(self._password, "***") if self._password else text


class MongoDbSource:
    """Reads the collections of one or more databases."""

    def __init__(self, configuration: dict[str, Any], lakehouse: dict[str, Any]) -> None:
        self._cluster = Cluster(configuration)
        self._schema_enforced = configuration["database_config"].get("schema_enforced", True) is not False
        self._batch_rows = int(lakehouse.get("batch_size", DEFAULT_BATCH_ROWS))
        self._sample_size = int(configuration.get("discover_sample_size") or 10_000)
        self._discover_seconds = int(configuration.get("discover_timeout_seconds") or 600)
        self._checkpoint_seconds = int(configuration.get("checkpoint_target_interval_seconds") or 300)
        self._resync = configuration.get("invalid_cdc_cursor_position_behavior") == "Re-sync data"
        self._capture_mode = str(configuration.get("update_capture_mode") or "Lookup")
        if self._capture_mode not in CAPTURE_MODES:
            raise self._cluster.refused(
                f"update_capture_mode {self._capture_mode} is not one of {', '.join(CAPTURE_MODES)}"
            )

    def discover(self) -> list[DiscoveredStream]:
        """The collections that the user may read, with the fields that a sample of their documents has."""
        with self._cluster.client() as client:
            return [
                offered(name, database, self._fields(client[database][name]))
                for name, database in self._collections(client).items()
            ]

    def read(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]], delivery: "Delivery") -> None:
        with self._cluster.client() as client:
            ChangeStreamSync(
                self._cluster,
                client,
                {stream.name: self._read_of(client, stream, delivery) for stream in streams},
                delivery,
                full_document=CAPTURE_MODES[self._capture_mode],
                checkpoint_seconds=self._checkpoint_seconds,
                resync=self._resync,
            ).run(states)

    def _read_of(
        self, client: MongoClient[dict[str, Any]], stream: ConfiguredStream, delivery: "Delivery"
    ) -> "CollectionRead":
        assert stream.namespace is not None  # every stream of this source has its database there
        collection = client[stream.namespace][stream.name]
        return CollectionRead(collection, stream, delivery, self._batch_rows, schema_enforced=self._schema_enforced)

    def _collections(self, client: MongoClient[dict[str, Any]]) -> dict[str, str]:
        """Collection -> its database."""
        found: dict[str, str] = {}
        for database in self._cluster.databases:
            answer = client[database].list_collections(
                filter={"type": "collection"}, nameOnly=True, authorizedCollections=True
            )
            for name in sorted(entry["name"] for entry in answer):
                if name.startswith(NOT_OFFERED):
                    continue
                if name in found:
                    raise self._cluster.refused(
                        f"databases {found[name]} and {database} both have a collection {name}, which cannot be told "
                        "apart here; make a source of each database"
                    )
                found[name] = database
        return found

    def _fields(self, collection: Collection[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Field -> JSON schema."""
        pipeline: list[dict[str, Any]] = [{"$sample": {"size": self._sample_size}}]
        if not self._schema_enforced:
            pipeline = [{"$project": {ID: 1}}, {"$limit": self._sample_size}]
        documents = list(collection.aggregate(pipeline, maxTimeMS=self._discover_seconds * 1000))
        fields = {ID: TEXT.schema}
        for name in sorted(set().union(*documents)):
            fields[name] = kind_of_values([document.get(name) for document in documents]).schema
        return fields if self._schema_enforced else {ID: fields[ID], DATA: OBJECT.schema}


class CollectionRead:
    """One collection in one sync: its documents, and how they become rows."""

    def __init__(
        self,
        collection: Collection[dict[str, Any]],
        stream: ConfiguredStream,
        delivery: "Delivery",
        batch_rows: int,
        *,
        schema_enforced: bool,
    ) -> None:
        self.stream = stream
        self.batch_rows = batch_rows
        self.schema_enforced = schema_enforced
        self._collection = collection.with_options(read_concern=ReadConcern("majority"))
        self._delivery = delivery
        self._cdc_columns = [name for name in CDC_COLUMNS if name in stream.read_columns]
        self._columns = DocumentColumns(
            {name: schema for name, schema in stream.read_columns.items() if name not in CDC_COLUMNS},
            delivery.delivered_columns(stream.name),
            follow=schema_enforced and delivery.follows_new_columns,
            leave_out=stream.columns.keys() - stream.read_columns.keys(),
        )

    def documents(self, session: ClientSession) -> Iterator[list[dict[str, Any]]]:
        """All documents, some at a time. They are decoded whole batches at a time, which is the fastest."""
        batches: Any = self._collection.find_raw_batches({}, batch_size=self.batch_rows, session=session)
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = reader.submit(next, batches, None)  # the server works on it meanwhile
                if documents := self._decoded(batch):
                    yield documents

    def _decoded(self, batch: bytes) -> list[dict[str, Any]]:
        try:
            return bson.decode_all(batch, self._collection.codec_options)
        except bson.errors.InvalidBSON as error:
            raise SyncFailure(
                f"Collection {self._collection.full_name} holds a document that cannot be read ({error}); correct or "
                "remove it.",
                origin="source",
                kind="config_error",
            ) from error

    def write(self, documents: list[dict[str, Any]], cdc: Mapping[str, pa.Array]) -> None:
        """Deliver documents as rows.

        :param cdc: Airbyte's columns beside, a value per document.
        """
        if not self.schema_enforced:
            documents = [{ID: document.get(ID), DATA: document} for document in documents]
        table = self._columns.table(documents)
        for name in self._cdc_columns:
            table = table.append_column(name, cdc[name])
        self._delivery.write(self.stream.name, table)

    def remember(self) -> None:
        """Keep the columns' types for the syncs to come, and say which fields were left out."""
        self._delivery.remember_columns(self.stream.name, self._columns.types)
        if self._columns.unlisted:
            self._delivery.ledger.log(
                "WARN",
                f"Stream {self.stream.name}: fields that are no columns of the connection were not delivered: "
                f"{', '.join(sorted(self._columns.unlisted))}.",
            )
