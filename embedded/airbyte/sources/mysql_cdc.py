"""MySQL and MariaDB by their binlog (method CDC): a snapshot of each new stream, then its changes without a gap.

Every stream's state holds the binlog position up to which its rows are durable. A sync snapshots the streams that have
none, all at one position, and then reads the binlog once, from the lowest of all positions to where the server stood:
a change below its stream's own position is left out. So a stream that is added later, or a kill between the
checkpoints of two streams, leaves neither a gap nor a double.

Positions are committed between transactions only. Columns are told apart by the names in the binlog
(`binlog_row_metadata=FULL`); where it has none, by the table's columns of now and of the state, and if these cannot
explain an event the sync fails rather than guess.
"""

import datetime
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pymysql
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.constants import NONE_SOURCE
from pymysqlreplication.event import NotImplementedEvent, QueryEvent, XidEvent
from pymysqlreplication.row_event import (
    DeleteRowsEvent,
    PartialUpdateRowsEvent,
    RowsEvent,
    TableMapEvent,
    UpdateRowsEvent,
    WriteRowsEvent,
)

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.mysql_session import Server, Session
from embedded.airbyte.sources.mysql_types import BINARIES, DATE_TIME_TZ, INTEGER, KINDS, NUMBER, TEXT, ZERO_DATE, Column

if TYPE_CHECKING:
    from embedded.airbyte.sources.mysql import Table
    from embedded.airbyte.worker.delivery import Delivery

CURSOR = "_ab_cdc_cursor"
# Airbyte's columns of a changed row: JSON schema and Arrow type
CDC_COLUMNS: dict[str, tuple[dict[str, Any], pa.DataType]] = {
    "_ab_cdc_log_file": (TEXT, pa.string()),
    "_ab_cdc_log_pos": (NUMBER, pa.float64()),
    CURSOR: (INTEGER, pa.int64()),
    "_ab_cdc_updated_at": (DATE_TIME_TZ, pa.timestamp("us", "UTC")),
    "_ab_cdc_deleted_at": (DATE_TIME_TZ, pa.timestamp("us", "UTC")),
}
# server variable -> the values that a binlog reader can work with, first the one to set
REQUIRED_SETTINGS = {
    "log_bin": ("ON",),
    "binlog_format": ("ROW",),
    "binlog_row_image": ("FULL",),
    "binlog_row_value_options": ("",),  # partial JSON updates
    "binlog_transaction_compression": ("OFF",),
    "log_bin_compress": ("OFF",),
}
EVENTS = [WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent, PartialUpdateRowsEvent, TableMapEvent, QueryEvent,
          XidEvent, NotImplementedEvent]  # fmt: skip
# values that the reader gives as None, by the reason that it states
SPECIAL = {
    NONE_SOURCE.EMPTY_SET: "",
    NONE_SOURCE.OUT_OF_DATE_RANGE: ZERO_DATE,
    NONE_SOURCE.OUT_OF_DATETIME_RANGE: ZERO_DATE,
    NONE_SOURCE.OUT_OF_DATETIME2_RANGE: ZERO_DATE,
}
COMPRESSED = {40, 165, 166, 167, 168, 169, 170, 171}  # event types that the reader cannot open
CHANGES_BY_STATEMENT = ("insert", "update", "delete", "replace", "load")
READ_SECONDS = 300
LOCK_SECONDS = 10
PATIENT = "SET SESSION net_write_timeout = 3600"  # the server waits while files are uploaded
# how the binlog types a column, by the protocol's numbers; the second ones are those of servers before 5.6
BINLOG_TYPES = {
    "tinyint": (1,), "smallint": (2,), "mediumint": (9,), "int": (3,), "bigint": (8,), "year": (13,), "float": (4,),
    "double": (5,), "decimal": (246,), "date": (10,), "datetime": (18, 12), "timestamp": (17, 7), "time": (19, 11),
    "char": (254,), "binary": (254,), "varchar": (15,), "varbinary": (15,), "enum": (247,), "set": (248,),
    "bit": (16,), "json": (245,), "tinyblob": (252,), "blob": (252,), "mediumblob": (252,), "longblob": (252,),
    "tinytext": (252,), "text": (252,), "mediumtext": (252,), "longtext": (252,),
}  # fmt: skip
SPATIAL = (255,)

logging.getLogger("pymysqlreplication").setLevel(logging.ERROR)  # it warns of settings that are looked after here


@dataclass(frozen=True, order=True)
class Position:
    """A place in the server's binlog."""

    number: int
    offset: int
    file: str

    @classmethod
    def of(cls, file: str, offset: int) -> "Position":
        return cls(int(file.rsplit(".", 1)[1]), offset, file)

    def cursor(self, ordinal: int) -> int:
        """Airbyte's `_ab_cdc_cursor`. The rows of one event follow each other; each takes more than one byte of it."""
        return self.number << 32 | (self.offset + ordinal)

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"


def stream(table: "Table") -> DiscoveredStream:
    """A table as CDC offers it: with Airbyte's columns, and in full only if it has no primary key."""
    found = table.stream()
    found.incremental = bool(table.primary_key)
    if found.incremental:
        found.columns = found.columns | {name: schema for name, (schema, _) in CDC_COLUMNS.items()}
        found.cursor_is_fixed, found.default_cursor = True, CURSOR
    return found


def check(session: Session, server: Server) -> None:
    """Refuse a server whose binlog cannot be read, with the setting to change."""
    names = ", ".join(f"'{name}'" for name in REQUIRED_SETTINGS)
    for name, value in session.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"):
        allowed = REQUIRED_SETTINGS[name.lower()]
        if value.upper() not in allowed:
            raise server.refused(f"method CDC needs {name}={allowed[0] or chr(39) * 2}, and the server has {value}")
    _now(session)


def _now(session: Session) -> Position:
    """Where the server writes its binlog now."""
    version = session.rows("SELECT version()")[0][0]
    older = "MariaDB" in version or tuple(int(part) for part in version.split(".")[:2]) < (8, 2)
    row = session.rows("SHOW MASTER STATUS" if older else "SHOW BINARY LOG STATUS")[0]
    return Position.of(row[0], int(row[1]))


class BinlogSync:
    """One sync of a connection by the binlog.

    :param tables: what the database has now.
    :param resync: take a new snapshot where a state's position is gone, rather than fail.
    """

    def __init__(
        self,
        server: Server,
        session: Session,
        tables: "Callable[[], dict[str, Table]]",
        delivery: "Delivery",
        *,
        batch_rows: int,
        checkpoint_seconds: int,
        resync: bool,
    ) -> None:
        self._server = server
        self._session = session
        self._tables = tables
        self._delivery = delivery
        self._batch_rows = batch_rows
        self._checkpoint_seconds = checkpoint_seconds
        self._resync = resync
        self._server_id = 0
        self._followed: dict[str, _Followed] = {}
        self._nameless = False

    def run(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]]) -> None:
        check(self._session, self._server)
        self._server_id = int(self._session.rows("SELECT @@server_id")[0][0])
        tables = self._tables()
        positions = {
            stream.name: position
            for stream in streams
            if stream.incremental and (position := self._valid(stream.name, states.get(stream.name) or {}))
        }
        for stream in streams:
            self._delivery.begin(stream)
            if stream.incremental:
                before = (states.get(stream.name) or {}).get("columns") if stream.name in positions else None
                self._followed[stream.name] = _Followed(stream, tables[stream.name], before)
        fresh = [stream for stream in streams if stream.name not in positions]
        if fresh:
            positions |= self._snapshot(fresh, tables)
        for name, followed in self._followed.items():
            followed.position = positions[name]
        if self._followed:
            self._follow()

    def _valid(self, name: str, state: dict[str, Any]) -> Position | None:
        """The position of a state, if the server still has what comes after it."""
        if state.get("state_type") != "cdc":
            return None
        position = Position.of(state["log_file"], state["log_pos"])
        logs = {row[0]: int(row[1]) for row in self._session.rows("SHOW BINARY LOGS")}
        if state["server_id"] != self._server_id:
            reason = f"it is of the server with server_id {state['server_id']}, and this one's is {self._server_id}"
        elif logs.get(position.file, -1) < position.offset:
            reason = f"the server has {min(logs)} to {max(logs)}, {max(logs.values())} bytes at most"
        else:
            return position
        reason = f"stream {name}: binlog position {position} is not on the server any more ({reason})"
        if self._resync:
            self._delivery.ledger.log("WARN", f"{reason}; the table is read again (Re-sync data).")
            return None
        raise self._server.refused(
            f"{reason}; clear the connection, so that its tables are read anew, and keep the binlog for longer "
            "(binlog_expire_logs_seconds) or sync more often"
        )

    def _snapshot(self, streams: list[ConfiguredStream], tables: "dict[str, Table]") -> dict[str, Position]:
        """Read tables in full, as they are at one binlog position."""
        from embedded.airbyte.sources.mysql import TableRead

        position = self._begin_snapshot()
        self._delivery.ledger.log("INFO", f"Snapshot at binlog position {position}.")
        at = datetime.datetime.fromtimestamp(self._delivery.started_ms / 1000, datetime.UTC)
        meta = _meta(position, 0, at, deleted=False)
        for stream in streams:
            beside = {name: pa.scalar(meta[name], type_) for name, (_, type_) in CDC_COLUMNS.items()}
            wanted = {name: value for name, value in beside.items() if name in stream.read_columns}
            TableRead(self._session, tables[stream.name], stream, self._batch_rows, self._delivery).copy("TRUE", wanted)
            followed = self._followed.get(stream.name)
            self._delivery.checkpoint(stream.name, followed.state(position, self._server_id) if followed else {})
        self._session.rows("COMMIT")
        return {stream.name: position for stream in streams}

    def _begin_snapshot(self) -> Position:
        """Begin a transaction whose snapshot is that of a binlog position, to the transaction."""
        begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
        if "MariaDB" in self._session.rows("SELECT version()")[0][0]:
            self._session.rows(begin)
            status = dict(self._session.rows("SHOW STATUS LIKE 'binlog_snapshot_%'"))
            return Position.of(status["Binlog_snapshot_file"], int(status["Binlog_snapshot_position"]))
        # MySQL cannot say which position a snapshot has: writers are held off for the instant between the two
        self._session.rows(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        self._session.rows("FLUSH TABLES WITH READ LOCK")
        self._session.rows(begin)
        position = _now(self._session)
        self._session.rows("UNLOCK TABLES")
        return position

    def _follow(self) -> None:
        """Deliver all changes up to where the server is now."""
        target = _now(self._session)
        reached = min(followed.position for followed in self._followed.values())
        checkpoint_at = time.monotonic() + self._checkpoint_seconds
        for boundary in self._changes(reached, target) if reached < target else ():
            reached = boundary
            if time.monotonic() > checkpoint_at:
                self._checkpoint(reached)
                checkpoint_at = time.monotonic() + self._checkpoint_seconds
        self._checkpoint(reached)

    def _checkpoint(self, reached: Position) -> None:
        for followed in self._followed.values():
            self._flush(followed)
        if self._nameless:
            self._refuse_altered()
        for name, followed in self._followed.items():
            followed.position = max(followed.position, reached)
            self._delivery.checkpoint(name, followed.state(followed.position, self._server_id))

    def _refuse_altered(self) -> None:
        """Events without column names were read by the columns that the tables had: they must have them still."""
        now = self._tables()
        for name, followed in self._followed.items():
            if name not in now or layout(now[name]) != layout(followed.table):
                raise SyncFailure(
                    f"{self._server.where}: table {name} was altered while its changes were read; it is tried again.",
                    origin="source",
                    kind="transient_error",
                )

    def _changes(self, start: Position, target: Position) -> Iterator[Position]:
        """Take in the changes from a position on; yields each transaction's end, until one is at `target` or after."""
        reader = self._open(start)
        in_transaction = False
        try:
            for event in reader:
                end = Position.of(reader.log_file, reader.log_pos)
                begin = Position.of(reader.log_file, reader.log_pos - event.packet.event_size)
                if isinstance(event, TableMapEvent):
                    in_transaction = True
                    self._name_columns(event, begin)
                elif isinstance(event, RowsEvent):
                    self._take(event, begin)
                elif isinstance(event, NotImplementedEvent):
                    if event.event_type in COMPRESSED:
                        raise self._server.refused(
                            f"the binlog is compressed at {begin}, which cannot be read; set "
                            "binlog_transaction_compression (MySQL) or log_bin_compress (MariaDB) to OFF and clear "
                            "the connection"
                        )
                else:
                    if isinstance(event, XidEvent) or event.query.upper() in ("COMMIT", "ROLLBACK"):
                        in_transaction = False
                    else:
                        self._see_statement(event, begin)
                    if not in_transaction:
                        yield end
                        if end >= target:
                            return
            # all was sent; what follows the last change (a new file, say) need not be read again
            if not in_transaction:
                yield Position.of(reader.log_file, reader.log_pos)
        except pymysql.MySQLError as error:
            raise self._server.explain(error, f"reading the binlog from {start}") from error
        finally:
            reader.close()

    def _open(self, start: Position) -> BinLogStreamReader:
        streams = 0

        def connect(**settings: Any) -> Any:
            nonlocal streams
            streams += "cursorclass" not in settings  # which its second connection, for questions, has
            if streams > 1:
                # It would go on in the middle of a transaction and lose the rest of that silently.
                raise SyncFailure(
                    f"{self._server.where}: the connection was lost while the binlog was read; it is tried again.",
                    origin="source",
                    kind="transient_error",
                )
            return pymysql.connect(**settings)

        return BinLogStreamReader(
            connection_settings=self._server.address() | {"read_timeout": READ_SECONDS, "init_command": PATIENT},
            server_id=random.randrange(10**9, 2 * 10**9),
            log_file=start.file,
            log_pos=start.offset,
            resume_stream=True,
            blocking=False,
            only_schemas=[self._server.database],
            only_tables=list(self._followed),
            only_events=EVENTS,
            filter_non_implemented_events=False,
            pymysql_wrapper=connect,
            enable_logging=False,
        )

    def _name_columns(self, event: TableMapEvent, at: Position) -> None:
        """Give the reader the columns of a table where the binlog has no names."""
        followed = self._followed[event.table]
        if all(column.name for column in event.columns):
            return
        self._nameless = True
        fitting = [columns for columns in followed.layouts if _fits(columns, event.columns)]
        if not fitting or any([c.name for c in columns] != [c.name for c in fitting[0]] for columns in fitting):
            raise self._server.refused(
                f"table {event.table} had other columns at binlog position {at}, and the binlog does not say which; "
                "set binlog_row_metadata=FULL for the future, and clear the connection, so that its tables are "
                "read anew"
            )
        for column, known in zip(event.columns, fitting[0], strict=True):
            column.name = known.name
            column.unsigned = "unsigned" in known.column_type
            column.character_set_name = "binary" if known.data_type in BINARIES else known.charset
            column.enum_values, column.set_values = ["", *known.members], known.members

    def _take(self, event: RowsEvent, at: Position) -> None:
        followed = self._followed[event.table]
        if at < followed.position:
            return
        when = datetime.datetime.fromtimestamp(event.timestamp, datetime.UTC)
        ordinal = 0
        for row in event.rows:
            for values, none_sources, deleted in _versions(event, row, followed.stream.primary_key):
                special = {name: SPECIAL[reason] for name, reason in none_sources.items() if reason in SPECIAL}
                followed.rows.append(values | special | _meta(at, ordinal, when, deleted=deleted))
                ordinal += 1
        if len(followed.rows) >= self._batch_rows:
            self._flush(followed)

    def _flush(self, followed: "_Followed") -> None:
        rows, table = followed.rows, followed.table
        if not rows:
            return
        arrays = []
        for name in followed.stream.read_columns:
            values = [row.get(name) for row in rows]
            if name in CDC_COLUMNS:
                arrays.append(pa.array(values, CDC_COLUMNS[name][1]))
            else:
                arrays.append(table.checked(name, table.columns[name].from_binlog, values))
        self._delivery.write(followed.stream.name, pa.table(arrays, list(followed.stream.read_columns)))
        rows.clear()

    def _see_statement(self, event: QueryEvent, at: Position) -> None:
        """A statement in the binlog: a table's definition, or a change that was not logged by row."""
        text = event.query.strip()
        word = text.split(None, 1)[0].lower() if text else ""
        if word not in (*CHANGES_BY_STATEMENT, "truncate"):
            return
        for name, followed in self._followed.items():
            if at < followed.position or not re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text):
                continue
            if event.schema.decode() != self._server.database and self._server.database not in text:
                continue  # a table of that name in another database
            if word == "truncate":
                self._delivery.ledger.log(
                    "WARN", f"Stream {name}: the table was truncated at {at}; as in Airbyte, no deletes come of that."
                )
            else:
                raise self._server.refused(
                    f"the binlog has a change of table {name} as a statement at {at}, not by row (a session set its "
                    "own binlog_format); clear the connection, so that its tables are read anew"
                )


class _Followed:
    """A stream whose changes are read.

    :param before: the table's columns at the state's position (`layout`), where it has one.
    """

    def __init__(self, stream: ConfiguredStream, table: "Table", before: list[list[str | None]] | None) -> None:
        self.stream = stream
        self.table = table
        self.position: Position = Position(0, 0, "")
        self.rows: list[dict[str, Any]] = []
        self.layouts = [list(table.columns.values())]
        if before:
            self.layouts.append([_column(*entry) for entry in before])  # type: ignore[arg-type]
        unreadable = [n for n, c in table.columns.items() if n in stream.read_columns and c.kind is KINDS["other"]]
        if unreadable:
            raise SyncFailure(
                f"Stream {stream.name}: the type of column {', '.join(unreadable)} cannot be read out of the binlog; "
                "deselect it, or use method STANDARD.",
                origin="source",
                kind="config_error",
            )

    def state(self, position: Position, server_id: int) -> dict[str, Any]:
        return {
            "state_type": "cdc",
            "version": 2,
            "stream_name": self.stream.name,
            "stream_namespace": self.table.database,
            "log_file": position.file,
            "log_pos": position.offset,
            "server_id": server_id,
            "columns": layout(self.table),
        }


def layout(table: "Table") -> list[list[str | None]]:
    """The table's columns as the state remembers them."""
    return [[column.name, column.column_type, column.charset] for column in table.columns.values()]


def _column(name: str, column_type: str, charset: str | None) -> Column:
    return Column(name, column_type.split("(")[0].split(" ")[0], column_type, charset=charset)


def _fits(columns: list[Column], logged: list[Any]) -> bool:
    """Whether a table with these columns writes such events."""
    return len(columns) == len(logged) and all(
        column.type in BINLOG_TYPES.get(known.data_type, SPATIAL) for known, column in zip(columns, logged, strict=True)
    )


def _versions(event: RowsEvent, row: dict[str, Any], key: list[str]) -> Iterator[tuple[dict[str, Any], Any, bool]]:
    """What a changed row delivers: its values, why some are None, and whether it is gone."""
    if not isinstance(event, UpdateRowsEvent):
        yield row["values"], row["none_sources"], isinstance(event, DeleteRowsEvent)
        return
    before, after = row["before_values"], row["after_values"]
    if any(before.get(name) != after.get(name) for name in key):
        yield before, row["before_none_sources"], True  # under its old key the row is gone
    yield after, row["after_none_sources"], False


def _meta(at: Position, ordinal: int, when: datetime.datetime, *, deleted: bool) -> dict[str, Any]:
    return {
        "_ab_cdc_log_file": at.file,
        "_ab_cdc_log_pos": float(at.offset),
        CURSOR: at.cursor(ordinal),
        "_ab_cdc_updated_at": when,
        "_ab_cdc_deleted_at": when if deleted else None,
    }
