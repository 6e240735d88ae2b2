"""PostgreSQL as a source, with the configuration keys and the state of Airbyte's source-postgres.

All streams of a sync are read in one REPEATABLE READ snapshot. DuckDB's postgres extension fetches them by binary
COPY, a whole table in parallel by ranges of its pages. An incremental stream is read from its last cursor value
on, inclusively: rows that share the value with the last one read are read again, unless it is certain that they
are the very row versions that were read before (their number and a digest of their identities are in the state).

The limit that cursor reading has in Airbyte too: a transaction that commits a row with a cursor value *below* what
was already read is not seen. Use `now()` of short transactions, or a full refresh from time to time.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import duckdb_extensions
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import conninfo, sql

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream
from embedded.airbyte.failures import SyncFailure

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery

DEFAULT_BATCH_ROWS = 10_000
DEFAULT_THREADS = 4
CONNECT_SECONDS = 10
SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

DATE_TIME_TZ = {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"}
DATE_TIME = {"type": "string", "format": "date-time", "airbyte_type": "timestamp_without_timezone"}
TEXT = {"type": "string"}
# PostgreSQL's type name -> (JSON schema, DuckDB expression over the column {c}). What is not here arrives as the
# text that PostgreSQL itself shows for the value.
TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "bool": ({"type": "boolean"}, "{c}"),
    "int2": ({"type": "integer"}, "CAST({c} AS BIGINT)"),
    "int4": ({"type": "integer"}, "CAST({c} AS BIGINT)"),
    "int8": ({"type": "integer"}, "{c}"),
    "oid": ({"type": "integer"}, "CAST({c} AS BIGINT)"),
    "float4": ({"type": "number"}, "CAST({c} AS DOUBLE)"),
    "float8": ({"type": "number"}, "{c}"),
    # numeric(p, s) stays an exact decimal; without precision it is a double, as in Airbyte
    "numeric": ({"type": "number"}, "{c}"),
    "date": (
        {"type": "string", "format": "date"},
        "CASE WHEN isinf({c}) THEN error({refusal}) ELSE {c} END",
    ),
    "timestamp": (DATE_TIME, "CASE WHEN isinf({c}) THEN error({refusal}) ELSE {c} END"),
    "timestamptz": (DATE_TIME_TZ, "CASE WHEN isinf({c}) THEN error({refusal}) ELSE {c} END"),
    "time": ({"type": "string", "format": "time", "airbyte_type": "time_without_timezone"}, "{c}"),
    "bytea": (TEXT, "'\\x' || lower(hex({c}))"),
}
ALL_ROWS = sql.SQL("true")
# types that say when a row changed, or grow with it
CURSOR_TYPES = {"int2", "int4", "int8", "numeric", "float4", "float8", "date", "timestamp", "timestamptz",
                "text", "varchar", "bpchar", "uuid"}  # fmt: skip

# Types whose order or exact value is not the same outside of PostgreSQL (collations, numeric without precision)
ORDERED_BY_POSTGRESQL = {"text", "varchar", "bpchar", "numeric", "float4", "float8"}

COLUMNS_QUERY = """
SELECT c.oid::bigint AS table_oid, n.nspname AS schema, c.relname AS table, c.relkind AS kind,
       a.attname AS name, t.typname AS type, t.typtype AS type_kind, a.atttypmod AS typmod, a.attnotnull AS required,
       coalesce(a.attnum = ANY (i.indkey::int2[]), false) AS in_key,
       array_position(i.indkey::int2[], a.attnum) AS key_position
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND has_table_privilege(c.oid, 'SELECT')
ORDER BY n.nspname, c.relname, a.attnum
"""


def build(
    configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]
) -> "PostgresSource":
    """The reader of one configured database (`manifest` is not for this kind of source)."""
    if (configuration.get("replication_method") or {}).get("method") == "CDC":
        from embedded.airbyte.sources.postgres_cdc import PostgresCdcSource  # only where it is used

        return PostgresCdcSource(configuration, lakehouse)
    return PostgresSource(configuration, lakehouse)


class PostgresSource:
    """Reads tables of one PostgreSQL database."""

    def __init__(self, configuration: dict[str, Any], lakehouse: dict[str, Any]) -> None:
        self._schemas = configuration.get("schemas") or ["public"]
        self._host = configuration["host"]
        self._port = int(configuration.get("port") or 5432)
        self._database = configuration["database"]
        self._user = configuration["username"]
        self._batch_rows = int(lakehouse.get("batch_size", DEFAULT_BATCH_ROWS))
        self._threads = int(lakehouse.get("threads", DEFAULT_THREADS))
        self._buffer_mb = int(lakehouse.get("buffer_size_mb", 256))
        method = (configuration.get("replication_method") or {}).get("method", "Standard")
        if method not in ("Standard", "CDC"):
            raise self._refused(f"replication method {method} is not supported here; use CDC, or Standard (cursor)")
        tunnel = (configuration.get("tunnel_method") or {}).get("tunnel_method", "NO_TUNNEL")
        if tunnel != "NO_TUNNEL":
            raise self._refused(f"tunnel method {tunnel} is not supported here; use NO_TUNNEL")
        ssl = (configuration.get("ssl_mode") or {}).get("mode", "prefer")
        if ssl not in SSL_MODES:
            raise self._refused(f"ssl_mode {ssl} is not one of {', '.join(sorted(SSL_MODES))}")
        self._dsn = conninfo.make_conninfo(
            host=self._host,
            port=self._port,
            dbname=self._database,
            user=self._user,
            password=configuration.get("password") or None,
            sslmode=ssl,
            connect_timeout=CONNECT_SECONDS,
            application_name="airbyte-source-postgres",
        )

    def discover(self) -> list[DiscoveredStream]:
        """Tables and views of the configured schemas that the user may read."""
        return [table.stream for table in self._tables().values()]

    def read(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]], delivery: "Delivery") -> None:
        tables = self._tables()
        duck = self._attach()
        try:
            duck.execute("BEGIN")
            for stream in streams:
                TableRead(duck, tables[stream.name], stream, self._batch_rows, delivery).run(
                    states.get(stream.name) or {}
                )
            duck.execute("COMMIT")
        except duckdb.Error as error:
            raise self._explain_duckdb(error) from error
        finally:
            duck.close()

    def _tables(self) -> dict[str, "Table"]:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as db:
                rows = db.execute(COLUMNS_QUERY, (self._schemas,)).fetchall()
                names = [column.name for column in db.execute(COLUMNS_QUERY, ([],)).description or []]
        except psycopg.Error as error:
            raise self._unreachable(error) from error
        tables: dict[str, Table] = {}
        for values in rows:
            row = dict(zip(names, values, strict=True))
            # A name that stands in two schemas belongs to the first of them that is configured.
            known = tables.get(row["table"])
            rank = self._schemas.index(row["schema"])
            if known is None or rank < self._schemas.index(known.schema):
                known = tables[row["table"]] = Table(row["schema"], row["table"], row["kind"])
            if known.schema == row["schema"]:
                known.add(row)
        return tables

    def _attach(self) -> duckdb.DuckDBPyConnection:
        duckdb_extensions.import_extension("postgres_scanner")
        duck = duckdb.connect(config={"threads": self._threads, "memory_limit": f"{max(self._buffer_mb, 64)}MB"})
        try:
            duck.execute("LOAD postgres_scanner")
            duck.execute("SET TimeZone = 'UTC'")
            duck.execute("SET enable_progress_bar = false")
            # what its threads may read ahead: with the default of 1 MB they wait for the writer again and again
            duck.execute("SET streaming_buffer_size = '32MB'")
            duck.execute(f"SET pg_connection_limit = {self._threads + 2}")
            # The parts of the address are quoted for libpq by psycopg and for SQL here.
            duck.execute(f"ATTACH {quoted(self._dsn)} AS src (TYPE postgres, READ_ONLY)")
        except duckdb.Error as error:
            duck.close()
            raise self._explain_duckdb(error) from error
        return duck

    @property
    def _where(self) -> str:
        return f"PostgreSQL {self._host}:{self._port}, database {self._database}, user {self._user}"

    def _refused(self, reason: str) -> SyncFailure:
        return SyncFailure(f"{self._where}: {reason}.", origin="source", kind="config_error")

    def _unreachable(self, error: psycopg.Error) -> SyncFailure:
        text = str(error).strip()
        if "password authentication failed" in text or "no password supplied" in text:
            reason, kind = "the password or user is wrong; check the source's username and password", "config_error"
        elif "does not exist" in text:
            reason, kind = f"{text.splitlines()[-1].strip()}; check the source's configuration", "config_error"
        elif isinstance(error, psycopg.OperationalError):
            reason, kind = "no connection; check that it runs and that host and port are right", "transient_error"
        else:
            reason, kind = text.splitlines()[0], "system_error"
        return SyncFailure(f"{self._where}: {reason}.", origin="source", kind=kind, detail=text)  # type: ignore[arg-type]

    def _explain_duckdb(self, error: duckdb.Error) -> SyncFailure:
        """DuckDB shows the connection string in some of its errors: it must not get out."""
        text = str(error).replace(self._dsn, self._where)
        password = conninfo.conninfo_to_dict(self._dsn).get("password")
        if password:
            text = text.replace(str(password), "***")
        lost = any(
            sign in text for sign in ("server closed the connection", "terminating connection", "Unable to connect")
        )
        kind = "transient_error" if lost else "config_error" if "refused:" in text else "system_error"
        return SyncFailure(f"{self._where}: {text.splitlines()[0]}", origin="source", kind=kind, detail=text)  # type: ignore[arg-type]


class Table:
    """A table as PostgreSQL's catalog describes it."""

    def __init__(self, schema: str, name: str, kind: str) -> None:
        self.schema = schema
        self.name = name
        # rows of a view have no identity
        self.has_row_identity = kind in ("r", "p", "m")
        self.is_logged = kind in ("r", "p")
        self.types: dict[str, str] = {}
        self.modifiers: dict[str, int] = {}
        self.nullable: set[str] = set()
        self._keys: list[tuple[int, str]] = []
        self._columns: dict[str, dict[str, Any]] = {}

    def add(self, row: dict[str, Any]) -> None:
        name, type_ = row["name"], row["type"]
        self.types[name] = type_
        self.modifiers[name] = row["typmod"]
        if not row["required"]:
            self.nullable.add(name)
        if row["in_key"]:
            self._keys.append((row["key_position"], name))
        self._columns[name] = TYPES[type_][0] if type_ in TYPES else TEXT

    @property
    def stream(self) -> DiscoveredStream:
        return DiscoveredStream(
            name=self.name,
            namespace=self.schema,
            columns=self._columns,
            incremental=any(type_ in CURSOR_TYPES for type_ in self.types.values()),
            primary_key=[name for _, name in sorted(self._keys)],
        )

    def select_list(self, columns: list[str]) -> str:
        """The DuckDB select list that gives the columns the types of Airbyte's Parquet files.

        :raises SyncFailure: DuckDB would read something else than the column.
        """
        spellings = Counter(name.lower() for name in self.types)
        for name in columns:
            if spellings[name.lower()] > 1:
                raise self._refused(f"{name} differs from another column in upper and lower case alone")
            if self.types[name] == "numeric" and self.modifiers[name] >= 0:
                precision, scale = numeric_shape(self.modifiers[name])
                if not 0 <= scale <= precision:
                    raise self._refused(f"{name} is numeric({precision},{scale}), which is no decimal in the lake")
        return ", ".join(f"{self._expression(name)} AS {identifier(name)}" for name in columns)

    def _refused(self, reason: str) -> SyncFailure:
        return SyncFailure(
            f"Table {self.schema}.{self.name}: column {reason}; change it, or read a view that does.",
            origin="source",
            kind="config_error",
        )

    def _expression(self, name: str) -> str:
        type_ = self.types[name]
        column = identifier(name)
        if type_ in TYPES:
            refusal = quoted(f"refused: column {name} of table {self.schema}.{self.name} holds infinity, "
                              "which a date in the lake cannot be")  # fmt: skip
            return TYPES[type_][1].format(c=column, refusal=refusal)
        if type_.startswith("_"):
            return f"CAST(to_json({column}) AS VARCHAR)"
        return f"CAST({column} AS VARCHAR)"


class TableRead:
    """One stream of one sync, inside the snapshot of the DuckDB transaction."""

    def __init__(
        self,
        duck: duckdb.DuckDBPyConnection,
        table: Table,
        stream: ConfiguredStream,
        batch_rows: int,
        delivery: "Delivery",
        constants: str = "",
    ) -> None:
        """:param constants: further columns of every row, as a DuckDB select list that begins with a comma."""
        self._duck = duck
        self._table = table
        self._stream = stream
        self._batch_rows = batch_rows
        self._delivery = delivery
        self._constants = constants

    def run(self, state: dict[str, Any]) -> None:
        stream, cursor = self._stream, self._stream.cursor
        self._delivery.begin(stream)
        if not stream.incremental:
            self.copy_whole()
            self._delivery.checkpoint(stream.name, {})
            return
        assert cursor is not None  # the catalog gives every incremental stream one
        if cursor not in self._table.types:
            raise SyncFailure(
                f"Stream {stream.name}: its cursor column {cursor} is gone from table "
                f"{self._table.schema}.{self._table.name}; configure another cursor or restore the column.",
                origin="source",
                kind="config_error",
            )
        known = state if state.get("cursor_field") == [cursor] else {}
        last = known.get("cursor")
        if last is None:
            newest = self._copy(self._whole_table(), ALL_ROWS, cursor)
        else:
            try:
                since = self._since(last, self._seen_before(known))
            except duckdb.Error as error:
                if "invalid input syntax" not in str(error):
                    raise
                raise SyncFailure(
                    f"Stream {stream.name}: its cursor column {cursor} is of type {self._table.types[cursor]} now, and "
                    f"the last value that was read, {last}, is none. Clear the stream (a reset), or configure another.",
                    origin="source",
                    kind="config_error",
                ) from error
            newest = self._copy(self._rows_where(since), since, cursor)
        if self._table.types[cursor] in ORDERED_BY_POSTGRESQL:
            newest = self._highest(cursor)
        self._delivery.checkpoint(stream.name, self._state(newest if newest is not None else last))

    def copy_whole(self) -> None:
        """Deliver all rows."""
        self._copy(self._whole_table(), ALL_ROWS, None)

    def _whole_table(self) -> str:
        """All rows, read in parallel where the table is large."""
        return f"src.{identifier(self._table.schema)}.{identifier(self._table.name)}"

    def _rows_where(self, condition: sql.Composable) -> str:
        """Some rows, found by PostgreSQL (which may have an index for it)."""
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in self._columns())
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, self._qualified(), condition)
        return f"postgres_query('src', {quoted(query.as_string())})"

    def _refuse_special_numbers(self, names: list[str], condition: sql.Composable) -> None:
        """Refuse NaN and infinity in numeric columns, which DuckDB reads as 0.

        :param names: the numeric columns in which a 0 was read: looking through the others would find nothing.
        """
        if not names:
            return
        tests = [
            sql.SQL("coalesce(bool_or({} IN ('NaN', 'Infinity', '-Infinity')), false)").format(sql.Identifier(name))
            for name in names
        ]
        query = sql.SQL("SELECT array[{}] AS special FROM {} WHERE {}").format(
            sql.SQL(", ").join(tests), self._qualified(), condition
        )
        found = self._first_row(query)[0]
        special = [name for name, is_special in zip(names, found, strict=True) if is_special]
        if special:
            raise SyncFailure(
                f"Column {', '.join(special)} of table {self._table.schema}.{self._table.name} holds NaN or infinity, "
                "which a number in the lake cannot be; correct the rows or deselect the column.",
                origin="source",
                kind="config_error",
            )

    def _since(self, last: str, seen: bool) -> sql.Composable:
        """The condition for rows from a cursor value on.

        Rows without a cursor value are read every time: that is the only way not to miss one.
        """
        cursor = self._stream.cursor
        assert cursor is not None
        condition = sql.SQL("{column} {operator} {last}::{type}").format(
            column=sql.Identifier(cursor),
            operator=sql.SQL(">" if seen else ">="),
            last=sql.Literal(last),
            type=sql.Identifier("pg_catalog", self._table.types[cursor]),
        )
        if cursor in self._table.nullable:
            return sql.SQL("({} OR {} IS NULL)").format(condition, sql.Identifier(cursor))
        return condition

    def _seen_before(self, state: dict[str, Any]) -> bool:
        """Whether the rows that share the last cursor value are exactly those that were read then."""
        if "cursor_rows_digest" not in state:
            return False
        count, digest = self._rows_at(state["cursor"])
        return count == state["cursor_record_count"] and digest == state["cursor_rows_digest"]

    def _rows_at(self, cursor_value: str) -> tuple[int, str]:
        """Number and digest of the row versions that have the cursor value, in this snapshot."""
        assert self._stream.cursor is not None
        query = sql.SQL(
            "SELECT count(*) AS n, coalesce(sum(hashtextextended("
            "tableoid::text || ctid::text || xmin::text, 0)), 0)::text AS digest FROM {} WHERE {} = {}::{}"
        ).format(
            self._qualified(),
            sql.Identifier(self._stream.cursor),
            sql.Literal(cursor_value),
            sql.Identifier("pg_catalog", self._table.types[self._stream.cursor]),
        )
        count, digest = self._first_row(query)
        return int(count), str(digest)

    def _first_row(self, query: sql.Composable) -> tuple[Any, ...]:
        """The one row of an aggregate, computed by PostgreSQL in this snapshot."""
        row = self._duck.execute(f"SELECT * FROM postgres_query('src', {quoted(query.as_string())})").fetchone()
        assert row is not None  # an aggregate has one row
        return tuple(row)

    def _highest(self, cursor: str) -> str | None:
        """The highest cursor value of the table in this snapshot, as PostgreSQL orders and shows it.

        Infinity, and NaN, which PostgreSQL has above it, do not count: no later row would ever be read.
        """
        query = sql.SQL("SELECT max({0})::text FROM {1}").format(sql.Identifier(cursor), self._qualified())
        if self._table.types[cursor] in ("float4", "float8", "numeric"):
            query = sql.SQL("{} WHERE {} < 'Infinity'").format(query, sql.Identifier(cursor))
        highest = self._first_row(query)[0]
        return None if highest is None else str(highest)

    def _state(self, cursor_value: str | None) -> dict[str, Any]:
        """The stream's state, in the form of Airbyte's source-postgres."""
        state: dict[str, Any] = {
            "state_type": "cursor_based",
            "version": 2,
            "stream_name": self._stream.name,
            "stream_namespace": self._table.schema,
            "cursor_field": [self._stream.cursor],
            "cursor": cursor_value,
        }
        if cursor_value is not None and self._table.has_row_identity:
            state["cursor_record_count"], state["cursor_rows_digest"] = self._rows_at(cursor_value)
        return state

    def _copy(self, relation: str, condition: sql.Composable, cursor: str | None) -> str | None:
        """Deliver a relation's rows, those that meet the condition; returns the highest cursor value, as text."""
        newest: Any = None
        numbers = [name for name in self._columns() if self._table.types[name] == "numeric"]
        zeros: list[str] = []
        query = f"SELECT {self._table.select_list(self._columns())}{self._constants} FROM {relation}"
        for batch in self._duck.execute(query).to_arrow_reader(self._batch_rows):
            self._delivery.write(self._stream.name, pa.Table.from_batches([batch]))
            zeros += [name for name in numbers if name not in zeros and has_zero(batch.column(name))]
            if cursor is not None and cursor in batch.schema.names:
                top = pc.max(batch.column(cursor)).as_py()
                newest = top if newest is None or (top is not None and top > newest) else newest
        self._refuse_special_numbers(zeros, condition)
        return None if newest is None else cursor_text(newest)

    def _columns(self) -> list[str]:
        return list(self._stream.read_columns)

    def _qualified(self) -> sql.Identifier:
        return sql.Identifier(self._table.schema, self._table.name)


def has_zero(numbers: pa.Array) -> bool:
    return bool(pc.any(pc.equal(numbers, pa.scalar(0, numbers.type))).as_py())


def numeric_shape(modifier: int) -> tuple[int, int]:
    """Precision and scale of a numeric column; the scale has 11 bits, the highest is its sign."""
    return (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 0x400) - 0x400


def cursor_text(value: Any) -> str:
    """A cursor value as text that PostgreSQL reads back as the same value."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (int, str, Decimal)):
        return str(value)
    raise TypeError(f"A cursor of type {type(value).__name__} is not supported.")


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
