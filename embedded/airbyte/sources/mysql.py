"""MySQL and MariaDB as a source, with the configuration keys of Airbyte's source-mysql.

All streams of a sync are read by one connection in one transaction WITH CONSISTENT SNAPSHOT (tables of engines
without transactions, such as MyISAM, are read as they are). An incremental stream is read from its last cursor value
on, inclusively: rows that share the value with the last one read are read again, unless they are the very rows that
were read before (their number and a digest of their contents are in the state). Method CDC is in `mysql_cdc`.

The limit that cursor reading has in Airbyte too: a transaction that commits a row with a cursor value *below* what
was already read is not seen. Use CDC, or a full refresh from time to time.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.mysql_session import Server, Session, identifier
from embedded.airbyte.sources.mysql_types import CURSOR_TYPES, FLOATS, INTEGERS, Column

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery

DEFAULT_BATCH_ROWS = 10_000
METHODS = ("STANDARD", "CDC")
# what Airbyte's connector takes and this one does not
REFUSED_OPTIONS = ("jdbc_url_params", "table_filters")

COLUMNS_QUERY = """
SELECT c.table_name, c.column_name, c.data_type, c.column_type, c.is_nullable = 'NO', coalesce(c.numeric_precision, 0),
       coalesce(c.numeric_scale, 0), c.character_set_name
FROM information_schema.columns c
JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = {database}
ORDER BY c.table_name, c.ordinal_position
"""
KEYS_QUERY = """
SELECT table_name, column_name FROM information_schema.statistics
WHERE table_schema = {database} AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index
"""


def build(configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]) -> "MySqlSource":
    """The reader of one configured database (`manifest` is not for this kind of source)."""
    return MySqlSource(configuration, lakehouse)


class Table:
    """A table or view, as information_schema describes it."""

    def __init__(self, database: str, name: str) -> None:
        self.database = database
        self.name = name
        self.columns: dict[str, Column] = {}
        self.primary_key: list[str] = []

    @property
    def sql(self) -> str:
        return f"{identifier(self.database)}.{identifier(self.name)}"

    def stream(self) -> DiscoveredStream:
        return DiscoveredStream(
            name=self.name,
            namespace=self.database,
            columns={name: column.kind.schema for name, column in self.columns.items()},
            incremental=any(column.data_type in CURSOR_TYPES for column in self.columns.values()),
            primary_key=self.primary_key,
        )

    def select(self, names: list[str]) -> str:
        """A SELECT of columns, for `arrow`."""
        listed = ", ".join(f"{self.columns[name].select(identifier(name))} AS {identifier(name)}" for name in names)
        return f"SELECT {listed} FROM {self.sql}"

    def arrow(self, names: list[str], rows: list[tuple[Any, ...]]) -> list[pa.Array]:
        """The columns of rows of `select(names)`."""
        wire = pa.struct([(name, self.columns[name].kind.wire) for name in names])
        arrays = pa.array(rows, wire).flatten()  # transposed and typed in one go: three times as fast as zip
        return [self.checked(name, self.columns[name].finish, array) for name, array in zip(names, arrays, strict=True)]

    def checked(self, name: str, convert: Callable[[Any], pa.Array], values: Any) -> pa.Array:
        """The converted values of a column; what the lake cannot hold is refused by the column's name."""
        try:
            return convert(values)
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise SyncFailure(
                f"Column {name} ({self.columns[name].column_type}) of table {self.database}.{self.name} holds {error}; "
                "correct the rows or deselect the column.",
                origin="source",
                kind="config_error",
            ) from error


class MySqlSource:
    """Reads tables of one database."""

    def __init__(self, configuration: dict[str, Any], lakehouse: dict[str, Any]) -> None:
        self._server = Server(configuration)
        self._batch_rows = int(lakehouse.get("batch_size", DEFAULT_BATCH_ROWS))
        self._tinyint1_is_integer = bool(configuration.get("treat_tinyint1_as_integer"))
        self._checkpoint_seconds = int(configuration.get("checkpoint_target_interval_seconds") or 300)
        self._replication = configuration.get("replication_method") or {"method": "STANDARD"}
        method = self._replication.get("method")
        if method not in METHODS:
            raise self._server.refused(f"replication method {method} is not one of {', '.join(METHODS)}")
        tunnel = (configuration.get("tunnel_method") or {}).get("tunnel_method", "NO_TUNNEL")
        if tunnel != "NO_TUNNEL":
            raise self._server.refused(f"tunnel method {tunnel} is not supported here; use NO_TUNNEL")
        for option in REFUSED_OPTIONS:
            if configuration.get(option):
                raise self._server.refused(f"{option} is not supported here; leave it out")

    @property
    def _by_binlog(self) -> bool:
        return bool(self._replication["method"] == "CDC")

    def discover(self) -> list[DiscoveredStream]:
        """Tables and views of the database that the user may see."""
        with Session(self._server) as session:
            tables = self.tables(session).values()
            if not self._by_binlog:
                return [table.stream() for table in tables]
            from embedded.airbyte.sources import mysql_cdc

            mysql_cdc.check(session, self._server)
            return [mysql_cdc.stream(table) for table in tables]

    def read(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]], delivery: "Delivery") -> None:
        with Session(self._server) as session:
            if self._by_binlog:
                from embedded.airbyte.sources.mysql_cdc import BinlogSync

                BinlogSync(
                    self._server,
                    session,
                    lambda: self.tables(session),
                    delivery,
                    batch_rows=self._batch_rows,
                    checkpoint_seconds=self._checkpoint_seconds,
                    resync=self._replication.get("invalid_cdc_cursor_position_behavior") == "Re-sync data",
                ).run(streams, states)
                return
            tables = self.tables(session)
            session.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            for stream in streams:
                read = TableRead(session, tables[stream.name], stream, self._batch_rows, delivery)
                read.run(states.get(stream.name) or {})

    def tables(self, session: Session) -> dict[str, Table]:
        """What the database has now, by name."""
        database = session.literal(self._server.database)
        tables: dict[str, Table] = {}
        for table, name, data_type, column_type, required, precision, scale, charset in session.rows(
            COLUMNS_QUERY.format(database=database)
        ):
            tables.setdefault(table, Table(self._server.database, table)).columns[name] = Column(
                name=name,
                data_type=data_type.lower(),
                column_type=column_type.lower() if data_type.lower() not in ("enum", "set") else column_type,
                required=bool(required),
                precision=int(precision),
                scale=int(scale),
                charset=charset,
                tinyint1_is_integer=self._tinyint1_is_integer,
            )
        for table, name in session.rows(KEYS_QUERY.format(database=database)):
            if table in tables:
                tables[table].primary_key.append(name)
        return tables


class TableRead:
    """One stream of one sync, inside the session's snapshot."""

    def __init__(
        self, session: Session, table: Table, stream: ConfiguredStream, batch_rows: int, delivery: "Delivery"
    ) -> None:
        self._session = session
        self._table = table
        self._stream = stream
        self._batch_rows = batch_rows
        self._delivery = delivery

    def run(self, state: dict[str, Any]) -> None:
        stream = self._stream
        self._delivery.begin(stream)
        if not stream.incremental:
            self.copy("TRUE")
            self._delivery.checkpoint(stream.name, {})
            return
        assert stream.cursor is not None  # the catalog gives every incremental stream one
        known = state if state.get("cursor_field") == [stream.cursor] else {}
        last = known.get("cursor")
        if last is None:
            since = "TRUE"
        else:
            since = f"{self._cursor} {'>' if self._seen_before(known) else '>='} {self._literal(last)}"
        # rows without a cursor value are read every time: that is the only way not to miss one
        nullable = not self._table.columns[stream.cursor].required
        self.copy(f"({since} OR {identifier(stream.cursor)} IS NULL)" if nullable else since)
        newest = self._one(f"SELECT CAST(max({self._cursor}) AS CHAR) FROM {self._table.sql} WHERE {since}")[0]
        self._delivery.checkpoint(stream.name, self._state(last if newest is None else str(newest)))

    def copy(self, condition: str, beside: Mapping[str, Any] | None = None) -> None:
        """Deliver the rows that meet a condition.

        :param beside: more columns with one value (Arrow scalars) for all rows.
        """
        more = beside or {}
        names = [name for name in self._stream.read_columns if name not in more]

        def deliver(rows: list[tuple[Any, ...]]) -> None:
            arrays = self._table.arrow(names, rows) + [pa.repeat(value, len(rows)) for value in more.values()]
            self._delivery.write(self._stream.name, pa.table(arrays, [*names, *more]))

        self._session.each(f"{self._table.select(names)} WHERE {condition}", self._batch_rows, deliver)

    @property
    def _cursor(self) -> str:
        """The cursor column as it is compared: a float by its exact value."""
        assert self._stream.cursor is not None
        column = self._table.columns[self._stream.cursor]
        return column.select(identifier(column.name)) if column.data_type == "float" else identifier(column.name)

    def _literal(self, cursor_value: str) -> str:
        """A cursor value of the state as SQL: numbers without quotes, which would make doubles of them."""
        assert self._stream.cursor is not None
        data_type = self._table.columns[self._stream.cursor].data_type
        if data_type in INTEGERS:
            return str(int(cursor_value))
        if data_type in FLOATS:
            return f"{float(cursor_value)!r}e0" if "e" not in repr(float(cursor_value)) else repr(float(cursor_value))
        if data_type == "decimal":
            return f"{Decimal(cursor_value):f}"
        return self._session.literal(cursor_value)

    def _seen_before(self, state: dict[str, Any]) -> bool:
        """Whether the rows that share the last cursor value are exactly those that were read then."""
        if "cursor_rows_digest" not in state:
            return False
        return self._rows_at(state["cursor"]) == (state["cursor_record_count"], state["cursor_rows_digest"])

    def _rows_at(self, cursor_value: str) -> tuple[int, str]:
        """Number and digest of the rows that have the cursor value, in this snapshot."""
        columns = [self._table.columns[name] for name in self._stream.read_columns]
        content = ", ".join(f"quote({column.select(identifier(column.name))})" for column in columns)
        count, digest = self._one(
            f"SELECT count(*), sum(CAST(conv(left(md5(concat_ws(',', {content})), 15), 16, 10) AS UNSIGNED))"
            f" FROM {self._table.sql} WHERE {self._cursor} = {self._literal(cursor_value)}"
        )
        return int(count), str(digest)

    def _one(self, query: str) -> tuple[Any, ...]:
        return self._session.rows(query)[0]

    def _state(self, cursor_value: str | None) -> dict[str, Any]:
        """The stream's state, in the form of Airbyte's source-mysql."""
        state: dict[str, Any] = {
            "state_type": "cursor_based",
            "version": 2,
            "stream_name": self._stream.name,
            "stream_namespace": self._table.database,
            "cursor_field": [self._stream.cursor],
            "cursor": cursor_value,
        }
        if cursor_value is not None:
            state["cursor_record_count"], state["cursor_rows_digest"] = self._rows_at(cursor_value)
        return state
