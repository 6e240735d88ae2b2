"""PostgreSQL by change data capture: Airbyte's source-postgres with `replication_method: {method: CDC}`.

The slot and the publication are made by whoever owns the database, as with Airbyte; what is wrong with them is said
with the statement that puts it right. A sync reads the log up to where it ended when the sync began. A stream that is
new to the connection is read whole before, in one snapshot, and then takes part in the log.

Why that leaves no gap: the snapshot is exported by a temporary slot, so it has not seen exactly the transactions that
commit from that slot's first position P on, and the connection's own slot stands before P and is confirmed only when
all snapshots are in the bucket. What committed between the two positions comes twice, in the snapshot and as a
change. The snapshot's rows have as `_ab_cdc_lsn` the temporary slot's restart position, before which lies no change
that the snapshot has not seen, so that the newest version of a row by `_ab_cdc_lsn` is the right one, and also after
a snapshot that was broken off and begun again.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
from psycopg import errors
from psycopg.rows import dict_row

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.postgres import PostgresSource, TableRead, quoted
from embedded.airbyte.sources.postgres_changes import CDC_COLUMNS, DELETED_AT, LSN, UPDATED_AT, Follower
from embedded.airbyte.sources.replication import Replication, lsn_number, lsn_text

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery

BATCH_ROWS = 50_000
BUSY_SLOT_SECONDS = 15.0  # the server takes a moment to notice that a killed reader is gone
INVALID_POSITION = {"Fail sync", "Re-sync data"}

SERVER_QUERY = """
SELECT current_setting('wal_level') AS wal_level, current_setting('max_slot_wal_keep_size') AS keep_size,
       pg_is_in_recovery() AS standby, current_setting('server_version_num')::int AS version,
       (SELECT system_identifier::text FROM pg_control_system()) AS system,
       EXISTS (SELECT FROM pg_roles WHERE (rolname = current_user AND (rolreplication OR rolsuper))
               OR (rolname = 'rds_replication' AND pg_has_role(oid, 'member'))) AS may_replicate
"""
SLOT_QUERY = """
SELECT to_jsonb(s) AS slot, (pg_current_wal_lsn() - s.restart_lsn)::float8 AS retained FROM pg_replication_slots s
WHERE slot_name = %s
"""
PUBLISHED_QUERY = """
SELECT p.tablename AS table, p.schemaname AS schema, p.attnames AS columns, p.rowfilter,
       c.relreplident AS identity,
       -- another one where the publication was made anew, or the table put into it again
       concat_ws('/', b.oid, (SELECT oid FROM pg_publication_rel WHERE prpubid = b.oid AND prrelid = c.oid)) AS since,
       (SELECT array_agg(a.attname) FROM pg_index i JOIN pg_attribute a
            ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
        WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary AND i.indimmediate
                                                         WHEN 'i' THEN i.indisreplident END) AS key
FROM pg_publication b JOIN pg_publication_tables p USING (pubname)
JOIN pg_namespace n ON n.nspname = p.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
WHERE p.pubname = %s
"""


class PostgresCdcSource(PostgresSource):
    """Reads tables of one PostgreSQL database, and then their changes from one replication slot."""

    def __init__(self, configuration: dict[str, Any], lakehouse: dict[str, Any]) -> None:
        super().__init__(configuration, lakehouse)
        method = configuration["replication_method"]
        missing = [name for name in ("replication_slot", "publication") if not method.get(name)]
        if missing:
            raise self._refused(f"replication_method CDC needs {' and '.join(missing)}")
        if method.get("plugin", "pgoutput") != "pgoutput":
            raise self._refused(f"plugin {method['plugin']} is not supported; use pgoutput")
        invalid_position = method.get("invalid_cdc_cursor_position_behavior", "Fail sync")
        if invalid_position not in INVALID_POSITION:
            raise self._refused(
                f"invalid_cdc_cursor_position_behavior {invalid_position!r} is not one of "
                f"{', '.join(sorted(INVALID_POSITION))}"
            )
        self._slot: str = method["replication_slot"]
        self._publication: str = method["publication"]
        self._resync = invalid_position == "Re-sync data"
        self._heartbeat_query: str | None = method.get("heartbeat_action_query") or None
        self._batch_changes = int(lakehouse.get("batch_size", BATCH_ROWS))

    def discover(self) -> list[DiscoveredStream]:
        """The tables and views as they are, with Airbyte's CDC columns; what is published of a table counts."""
        tables = self._tables()
        try:
            with self._catalog() as db:
                self._check_server(db)
                self._slot_row(db)
                published = self._published(db)
        except psycopg.Error as error:
            raise self._explain(error) from error
        streams = []
        for table in tables.values():
            stream = table.stream
            columns = published.get((table.schema, table.name), {}).get("columns", stream.columns)
            stream.columns = {n: schema for n, schema in stream.columns.items() if n in columns} | CDC_COLUMNS
            stream.incremental = table.is_logged
            stream.cursor_is_fixed, stream.default_cursor = True, LSN
            streams.append(stream)
        return streams

    def read(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]], delivery: "Delivery") -> None:
        try:
            with self._catalog() as db:
                self._read(db, streams, delivery)
        except psycopg.Error as error:
            raise self._explain(error) from error

    def _read(
        self, db: "psycopg.Connection[dict[str, Any]]", streams: list[ConfiguredStream], delivery: "Delivery"
    ) -> None:
        followed = [stream for stream in streams if stream.incremental]
        server, slot = self._check_server(db), self._slot_row(db)
        published = self._published(db)
        self._check_streams(followed, published)
        self._report_slot(slot, server, delivery)
        since = {stream.name: published[stream.namespace or "", stream.name]["since"] for stream in followed}
        progress = self._progress(delivery.global_state(), slot, server["system"], followed, since, delivery)
        for stream in streams:
            delivery.begin(stream)
        new = [stream for stream in followed if stream.name not in progress.streams]
        whole = [stream for stream in streams if not stream.incremental]
        if new:
            self._snapshot(db, [*new, *whole], progress, delivery)
        elif whole:
            self._copy(self._attach(), whole, progress, delivery)
        if self._heartbeat_query:
            db.execute(self._heartbeat_query)
        row = db.execute("SELECT pg_current_wal_lsn()::text AS lsn").fetchone()
        assert row is not None  # a SELECT without FROM has one row
        if followed:
            self._follow(followed, progress, lsn_number(row["lsn"]), delivery)
            self._report_slot(self._slot_row(db), server, delivery)

    def _follow(
        self, streams: list[ConfiguredStream], progress: "_Progress", target: int, delivery: "Delivery"
    ) -> None:
        delivery.ledger.log(
            "INFO",
            f"Reading slot {self._slot} from {lsn_text(progress.lsn)} to {lsn_text(target)}, where WAL ends now.",
        )

        def commit(position: int) -> None:
            progress.lsn = position
            delivery.commit_global(progress.as_state())

        duck = duckdb.connect(config={"threads": self._threads, "memory_limit": f"{max(self._buffer_mb, 64)}MB"})
        try:
            duck.execute("SET TimeZone = 'UTC'")
            with self._started(progress.lsn) as replication:
                Follower(replication, duck, streams, self._tables, delivery, commit, self._batch_changes).run(
                    progress.lsn, target
                )
        finally:
            duck.close()

    def _started(self, position: int) -> Replication:
        """The slot's stream; a slot that a reader has just left may seem to be in use."""
        deadline = time.monotonic() + BUSY_SLOT_SECONDS
        while True:
            replication = Replication(self._dsn)
            try:
                replication.start(self._slot, self._publication, position)
                return replication
            except errors.ObjectInUse:
                replication.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            except psycopg.Error:
                replication.close()
                raise

    def _snapshot(
        self,
        db: "psycopg.Connection[dict[str, Any]]",
        streams: list[ConfiguredStream],
        progress: "_Progress",
        delivery: "Delivery",
    ) -> None:
        """Read tables whole, in the snapshot of a temporary slot."""
        names = ", ".join(stream.name for stream in streams)
        delivery.ledger.log("INFO", f"Snapshot of {names}; the server waits for the transactions that run now.")
        duck = self._attach()
        with Replication(self._dsn) as replication:
            slot = f"airbyte_snapshot_{secrets.token_hex(8)}"
            snapshot = replication.export_snapshot(slot)
            row = db.execute(
                "SELECT restart_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = %s", (slot,)
            ).fetchone()
            assert row is not None  # it lives as long as its connection
            duck.execute("BEGIN")
            take_it = quoted(f"SET TRANSACTION SNAPSHOT {quoted(snapshot)}")
            duck.execute(f"CALL postgres_execute('src', {take_it})")
        self._copy(duck, streams, progress, delivery, lsn_number(row["lsn"]))

    def _copy(
        self,
        duck: duckdb.DuckDBPyConnection,
        streams: list[ConfiguredStream],
        progress: "_Progress",
        delivery: "Delivery",
        lsn: int | None = None,
    ) -> None:
        tables = self._tables()
        values = {LSN: f"{lsn or progress.lsn}::DOUBLE", UPDATED_AT: quoted(_now()), DELETED_AT: "NULL::VARCHAR"}
        try:
            for stream in streams:
                own = {name: schema for name, schema in stream.read_columns.items() if name not in CDC_COLUMNS}
                constants = "".join(
                    f", {values[name]} AS {name}" for name in CDC_COLUMNS if name in stream.read_columns
                )
                read = replace(stream, columns=own, selected=None)
                TableRead(duck, tables[stream.name], read, self._batch_rows, delivery, constants).copy_whole()
                if stream.incremental:
                    progress.streams[stream.name] = stream.namespace
                delivery.commit_global(progress.as_state())
        except duckdb.Error as error:
            raise self._explain_duckdb(error) from error
        finally:
            duck.close()

    def _progress(
        self,
        state: dict[str, Any] | None,
        slot: dict[str, Any],
        system: str,
        streams: list[ConfiguredStream],
        since: dict[str, str],
        delivery: "Delivery",
    ) -> "_Progress":
        """Where the syncs before have come to; from the slot's position on if there were none."""
        confirmed = lsn_number(slot["confirmed_flush_lsn"])
        if state is None:
            return _Progress(confirmed, system, since)
        shared = state["shared_state"]
        progress = _Progress(shared["lsn"], system, since)
        progress.take_up(state["streamStates"], streams)
        if shared["system_identifier"] != system:
            gap = f"it is another server (system identifier {system}) than the one that was read before"
        elif confirmed > shared["lsn"]:
            gap = (
                f"slot {self._slot} begins at {lsn_text(confirmed)}, after {lsn_text(shared['lsn'])}, up to where the "
                "connection has read: it was made anew, or something else reads it"
            )
        elif progress.broken:
            gap = (
                f"{', '.join(progress.broken)} left publication {self._publication} for a time (or it was made anew), "
                "and what changed then is not in the log"
            )
        else:
            return progress
        if not self._resync:
            raise self._refused(
                f"{gap}. Clear the connection (a reset) and sync again, or set "
                'invalid_cdc_cursor_position_behavior to "Re-sync data" for a new snapshot'
            )
        delivery.ledger.log(
            "WARN", f"{self._where}: {gap}. All streams are read whole again; deletions meanwhile are not seen."
        )
        return _Progress(confirmed, system, since)

    def _catalog(self) -> "psycopg.Connection[dict[str, Any]]":
        try:
            return psycopg.connect(self._dsn, autocommit=True, row_factory=dict_row)
        except psycopg.Error as error:
            raise self._unreachable(error) from error

    def _check_server(self, db: "psycopg.Connection[dict[str, Any]]") -> dict[str, Any]:
        server = db.execute(SERVER_QUERY).fetchone()
        assert server is not None  # a SELECT without FROM has one row
        if server["version"] < 150_000:
            raise self._refused("CDC needs PostgreSQL 15 or later")
        if server["standby"]:
            raise self._refused("it is a standby; CDC reads the primary")
        if server["wal_level"] != "logical":
            raise self._refused(
                f"wal_level is {server['wal_level']}, and CDC needs logical: "
                "ALTER SYSTEM SET wal_level = logical, and restart the server"
            )
        if not server["may_replicate"]:
            raise self._refused(f"the user has no REPLICATION privilege: ALTER ROLE {self._user} REPLICATION")
        return server

    def _slot_row(self, db: "psycopg.Connection[dict[str, Any]]") -> dict[str, Any]:
        """The slot, of which the columns differ with PostgreSQL's version."""
        create = f"SELECT pg_create_logical_replication_slot('{self._slot}', 'pgoutput')"
        row = db.execute(SLOT_QUERY, (self._slot,)).fetchone()
        if row is None:
            raise self._refused(f"there is no replication slot {self._slot}: {create}")
        slot: dict[str, Any] = row["slot"] | {"retained": row["retained"]}
        if slot["plugin"] != "pgoutput" or slot["database"] != self._database:
            raise self._refused(
                f"slot {self._slot} is one of plugin {slot['plugin']} and database {slot['database']}: "
                f"drop it, or configure another. {create}"
            )
        if slot["wal_status"] == "lost" or slot.get("invalidation_reason"):
            raise self._refused(
                f"slot {self._slot} is invalid ({slot.get('invalidation_reason') or 'lost'}): the server gave up WAL "
                "that was not read yet, by max_slot_wal_keep_size or idle_replication_slot_timeout. "
                f"SELECT pg_drop_replication_slot('{self._slot}'); {create}; then clear the connection (a reset)"
            )
        return slot

    def _report_slot(self, slot: dict[str, Any], server: dict[str, Any], delivery: "Delivery") -> None:
        """Say how much of the source's disk the slot holds, and warn of what may come of it."""
        line = f"Slot {self._slot} retains {slot['retained'] / 1e6:.1f} MB of WAL ({slot['wal_status']})"
        if slot["wal_status"] != "reserved":
            line += (
                f"; the server gives it up after another {(slot['safe_wal_size'] or 0) / 1e6:.1f} MB: sync more often"
            )
        elif server["keep_size"] == "-1":
            line += "; without max_slot_wal_keep_size it fills the server's disk if the connection is not synced"
        delivery.ledger.log("INFO" if slot["wal_status"] == "reserved" else "WARN", f"{line}.")

    def _published(self, db: "psycopg.Connection[dict[str, Any]]") -> dict[tuple[str, str], dict[str, Any]]:
        """What the publication has of each table, by schema and name."""
        row = db.execute("SELECT * FROM pg_publication WHERE pubname = %s", (self._publication,)).fetchone()
        if row is None:
            raise self._refused(
                f"there is no publication {self._publication}: CREATE PUBLICATION {self._publication} FOR TABLE ..., "
                "and make the slot after it"
            )
        unpublished = [verb for verb in ("insert", "update", "delete") if not row[f"pub{verb}"]]
        if unpublished:
            raise self._refused(
                f"publication {self._publication} leaves out {', '.join(unpublished)}: "
                f"ALTER PUBLICATION {self._publication} SET (publish = 'insert, update, delete, truncate')"
            )
        rows = db.execute(PUBLISHED_QUERY, (self._publication,)).fetchall()
        return {(row["schema"], row["table"]): row for row in rows}

    def _check_streams(
        self, streams: list[ConfiguredStream], published: Mapping[tuple[str, str], dict[str, Any]]
    ) -> None:
        for stream in streams:
            name = f"{stream.namespace}.{stream.name}"
            row = published.get((stream.namespace or "", stream.name))
            if row is None:
                raise self._refused(
                    f"table {name} is not in publication {self._publication}: ALTER PUBLICATION {self._publication} "
                    f"ADD TABLE {name} (a partitioned table needs SET (publish_via_partition_root = true) too)"
                )
            if row["rowfilter"]:
                raise self._refused(
                    f"publication {self._publication} has a row filter for {name}, which a snapshot would not follow: "
                    "publish the table without WHERE"
                )
            if row["identity"] != "f" and not row["key"]:
                raise self._refused(
                    f"table {name} has no replica identity, so its updates and deletes cannot be followed: give it "
                    f"a primary key, or ALTER TABLE {name} REPLICA IDENTITY FULL"
                )
            beside = set(stream.primary_key) - set(row["key"] or stream.primary_key)
            if row["identity"] != "f" and beside:
                raise self._refused(
                    f"the replica identity of table {name} is {', '.join(row['key'])}, without the stream's key "
                    f"{', '.join(sorted(beside))}: a deletion would not say of what. "
                    f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT (its primary key) or FULL"
                )

    def _explain(self, error: psycopg.Error) -> SyncFailure:
        text = str(error).strip()
        first = text.splitlines()[0] if text else type(error).__name__
        match error:
            case errors.ObjectInUse():
                reason, kind = f"{first}; a slot has one reader, give each connection its own", "transient_error"
            case errors.LockNotAvailable():
                reason, kind = "a snapshot waits for transactions that are older; end them", "transient_error"
            case errors.ConfigurationLimitExceeded():
                reason, kind = (
                    f"{first}; a snapshot needs a slot for itself: raise max_replication_slots",
                    "config_error",
                )
            case errors.UndefinedObject():
                reason, kind = (
                    f"{first}; a publication has to be there before the slot: make it, drop the slot and make "
                    "the slot again",
                    "config_error",
                )
            case errors.InsufficientPrivilege():
                reason, kind = first, "config_error"
            case _:
                return self._unreachable(error)
        return SyncFailure(f"{self._where}: {reason}.", origin="source", kind=kind, detail=text)  # type: ignore[arg-type]


class _Progress:
    """What a connection has read: whole streams, and the log up to a position.

    :param since: what tells, by stream, since when it is published without a break.
    """

    def __init__(self, lsn: int, system: str, since: dict[str, str]) -> None:
        self.lsn = lsn
        self._system = system
        self._since = since
        self.streams: dict[str, str | None] = {}  # name -> schema
        self.broken: list[str] = []

    def take_up(self, states: list[dict[str, Any]], streams: list[ConfiguredStream]) -> None:
        """Know the streams that were read before; one that is not followed now is read whole if it comes back."""
        now = {stream.name: stream.namespace for stream in streams}
        for state in (entry["streamState"] for entry in states):
            name, schema = state["stream_name"], state["stream_namespace"]
            if name in now and now[name] == schema:
                self.streams[name] = schema
                if state["published_since"] != self._since[name]:
                    self.broken.append(name)

    def as_state(self) -> dict[str, Any]:
        """The state in the form of Airbyte's global state."""
        return {
            "shared_state": {"lsn": self.lsn, "system_identifier": self._system},
            "streamStates": [
                {
                    "streamDescriptor": {"name": name, "namespace": schema},
                    "streamState": {
                        "stream_name": name,
                        "stream_namespace": schema,
                        "cursor_field": [LSN],
                        "published_since": self._since[name],
                    },
                }
                for name, schema in sorted(self.streams.items())
            ],
        }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
