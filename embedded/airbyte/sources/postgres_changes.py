"""Follows a replication slot: from pgoutput's messages to delivered rows, committed state and a confirmed slot.

The order is the promise. What a transaction changed is in the bucket before the state says so, and the state is
stored before the slot is confirmed. So the slot is never ahead of the state, and what a killed sync had read and not
committed, the server sends again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.sources import pgoutput
from embedded.airbyte.sources.pgoutput import HEADER, Flags, Numbers, Relation, Rows
from embedded.airbyte.sources.postgres import Table, identifier
from embedded.airbyte.sources.postgres_text import UNAVAILABLE, TextColumns
from embedded.airbyte.sources.replication import KEEPALIVE, POSTGRES_EPOCH, Replication

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery

LSN, UPDATED_AT, DELETED_AT = "_ab_cdc_lsn", "_ab_cdc_updated_at", "_ab_cdc_deleted_at"
CDC_COLUMNS: dict[str, dict[str, Any]] = {
    LSN: {"type": "number"},
    UPDATED_AT: {"type": "string"},
    DELETED_AT: {"type": "string"},
}
# Work is made durable, and the slot released up to it, this often; a killed sync repeats no more than that.
CHECKPOINT_SECONDS = 60.0
HEARTBEAT_SECONDS = 10.0
BATCH_BYTES = 64 * 1024 * 1024


class Follower:
    """Reads one slot's stream for the streams of a sync.

    :param live_tables: asks the database for its tables as they are now, by stream name.
    :param commit: makes all that was delivered durable, and the position with it.
    """

    def __init__(
        self,
        replication: Replication,
        duck: duckdb.DuckDBPyConnection,
        streams: list[ConfiguredStream],
        live_tables: Callable[[], Mapping[str, Table]],
        delivery: "Delivery",
        commit: Callable[[int], None],
        batch_rows: int,
    ) -> None:
        self._replication = replication
        self._duck = duck
        self._streams = {stream.name: stream for stream in streams}
        self._live_tables = live_tables
        self._tables = dict(live_tables())
        self._delivery = delivery
        self._commit = commit
        self._batch_rows = batch_rows
        self._relations: dict[int, Relation] = {}
        self._columns: dict[int, TextColumns] = {}
        self._begin: bytes | None = None  # of the transaction that the stream is in
        self._pending: list[bytes] = []
        self._pending_begin: bytes | None = None
        self._pending_bytes = 0
        self._unavailable: dict[str, int] = {}

    def run(self, position: int, target: int) -> int:
        """Deliver the transactions from `position` up to `target`; returns how far the stream was read."""
        committed, committed_at, told_at = position, time.monotonic(), time.monotonic()
        self._replication.confirm(committed)
        while position < target:
            for message in self._replication.receive(HEARTBEAT_SECONDS):
                reached = self._take(message)
                if reached is None:
                    continue
                position = max(position, reached)
                if position >= target:
                    break
                if time.monotonic() >= committed_at + CHECKPOINT_SECONDS:
                    committed, committed_at = self._checkpoint(position), time.monotonic()
            if time.monotonic() >= told_at + HEARTBEAT_SECONDS:
                self._replication.confirm(committed)
                told_at = time.monotonic()
        self._checkpoint(position)
        for column, rows in self._unavailable.items():
            self._delivery.ledger.log(
                "WARN",
                f"{rows} updates left {column} as it was, and it is stored apart (TOAST), so that it is not in the "
                f"log: {UNAVAILABLE} stands for it, as in Airbyte, or null where the column is not a text. "
                f"ALTER TABLE {column.rpartition('.')[0]} REPLICA IDENTITY FULL logs it.",
            )
        return position

    def _take(self, message: bytes) -> int | None:
        """Take a message; returns the position up to which all is received, between two transactions only."""
        if message[0] == KEEPALIVE:
            return int.from_bytes(message[1:9]) if self._begin is None else None
        kind = message[HEADER]
        if kind in pgoutput.CHANGES:
            self._keep(message)
        elif kind == pgoutput.BEGIN:
            self._begin = message
        elif kind == pgoutput.COMMIT:
            self._begin = None
            return pgoutput.commit_end(message)
        elif kind == pgoutput.RELATION:
            self._deliver()
            self._describe(pgoutput.relation(message))
        elif kind == pgoutput.TRUNCATE:
            self._deliver()
            for oid in pgoutput.truncated(message):
                if oid in self._columns:
                    self._delete_all(oid, message)
        return None

    def _checkpoint(self, position: int) -> int:
        self._deliver()
        self._commit(position)
        self._replication.confirm(position)
        return position

    def _keep(self, message: bytes) -> None:
        if int.from_bytes(message[HEADER + 1 : HEADER + 5]) not in self._columns:
            return
        if self._pending_begin is not self._begin:
            assert self._begin is not None  # changes stand between a Begin and a Commit
            self._pending.append(self._begin)
            self._pending_begin = self._begin
        self._pending.append(message)
        self._pending_bytes += len(message)
        if len(self._pending) >= self._batch_rows or self._pending_bytes >= BATCH_BYTES:
            self._deliver()

    def _deliver(self) -> None:
        """Decode and write what has gathered."""
        if not self._pending:
            return
        for oid, rows in pgoutput.decode(self._pending, self._relations).items():
            self._write(oid, rows)
        self._pending, self._pending_begin, self._pending_bytes = [], None, 0

    def _write(self, oid: int, rows: Rows) -> None:
        relation = self._relations[oid]
        names = [column.name for column in relation.columns]
        unavailable = {names[number]: flags for number, flags in rows.unavailable.items()}
        table, changes = self._columns[oid].parse(
            dict(zip(names, rows.values, strict=True)), unavailable, len(rows.lsn)
        )
        for name, flags in unavailable.items():
            column = f"{relation.schema}.{relation.table}.{name}"
            self._unavailable[column] = self._unavailable.get(column, 0) + int(flags.sum())
        self._hand_over(relation, table, rows.lsn, rows.committed_at, rows.deleted, changes)

    def _hand_over(
        self,
        relation: Relation,
        table: pa.Table,
        lsn: Numbers,
        committed_at: Numbers,
        deleted: Flags,
        changes: pa.Array | None = None,
    ) -> None:
        stream = self._streams[relation.table]
        times = pa.array(committed_at + POSTGRES_EPOCH).cast(pa.timestamp("us")).dictionary_encode()
        updated_at = pc.strftime(times.dictionary, "%Y-%m-%dT%H:%M:%SZ").take(times.indices)
        columns = {
            LSN: pa.array(lsn.astype(np.float64)),
            UPDATED_AT: updated_at,
            DELETED_AT: pc.if_else(pa.array(deleted), updated_at, None),
        }
        for name in CDC_COLUMNS:
            if name in stream.read_columns:
                table = table.append_column(name, columns[name])
        self._delivery.write(stream.name, table, changes)

    def _describe(self, relation: Relation) -> None:
        """Take notice of a table, or of its change: from here on its rows have these columns."""
        stream = self._streams.get(relation.table)
        if stream is None or stream.namespace != relation.schema:
            self._columns.pop(relation.oid, None)  # it may have been renamed
            return
        if relation.identity == "f":
            relation = replace(relation, key=tuple(stream.primary_key))
        table, names = self._tables[relation.table], {column.name for column in relation.columns}
        if relation.oid in self._relations or not names <= set(table.types):
            # altered in the stream or since the sync began: what counts are the columns as they are now
            now = self._live_tables().get(relation.table)
            if now is not None:
                table.types, table.modifiers = table.types | now.types, table.modifiers | now.modifiers
        wanted = [name for name in stream.read_columns if name not in CDC_COLUMNS]
        if self._delivery.follows_new_columns:
            wanted += [name for name in table.types if name in names and name not in stream.columns]
        self._relations[relation.oid] = relation
        self._columns[relation.oid] = TextColumns(
            self._duck, {name: (table.types[name], table.modifiers[name]) for name in wanted}
        )

    def _delete_all(self, oid: int, truncate: bytes) -> None:
        """A truncated table's rows are not in the log: those that were delivered and live are deleted one by one."""
        relation, stream = self._relations[oid], self._streams[self._relations[oid].table]
        where = f"Table {relation.schema}.{relation.table} was truncated"
        if not stream.primary_key or DELETED_AT not in stream.read_columns:
            self._delivery.ledger.log("WARN", f"{where}; its rows stay in the lake, for the stream has no primary key.")
            return
        landed = self._delivery.landed(stream.name, [*stream.primary_key, LSN, DELETED_AT])
        keys = ", ".join(identifier(name) for name in stream.primary_key)
        self._duck.register("landed", landed)
        live = self._duck.execute(
            f"SELECT {keys} FROM landed QUALIFY {DELETED_AT} IS NULL "
            f"AND row_number() OVER (PARTITION BY {keys} ORDER BY {LSN} DESC NULLS LAST) = 1"
        ).to_arrow_table()
        self._duck.unregister("landed")
        self._delivery.ledger.log("WARN", f"{where}; {live.num_rows} rows that were delivered are marked as deleted.")
        if not live.num_rows:
            return
        table, _ = self._columns[oid].parse({}, {}, live.num_rows)
        for name in stream.primary_key:
            place = table.column_names.index(name)
            table = table.set_column(place, name, live[name].cast(table.schema.field(place).type))
        assert self._begin is not None  # a Truncate stands between a Begin and a Commit
        rows = np.ones(live.num_rows, np.int64)
        self._hand_over(
            relation,
            table,
            rows * pgoutput.position(truncate),
            rows * pgoutput.commit_time(self._begin),
            rows.astype(np.bool_),
        )
