"""The PostgreSQL destination: a table for each stream, as Airbyte's destination-postgres 3 makes it (direct load).

Rows are copied to a staging table. When a state is to be stored, one transaction takes them to the stream's table, by
appending or, by primary key and cursor, by merging, and keeps the state beside them: whatever is killed then, the next
attempt goes on where the rows are. The staging table of a full refresh waits for the stream's end and then takes the
place of the old table (overwrite), or is added to it (append), so that readers never see half.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.types.json import Jsonb

from embedded.airbyte.destinations import Target
from embedded.airbyte.destinations.postgres_rows import (
    CONSTRAINED,
    OWN,
    OWN_COLUMNS,
    copy_text,
    is_json,
    postgres_name,
    postgres_type,
    prepared,
    schema_types,
    wider,
)
from embedded.airbyte.destinations.s3 import distinct_names
from embedded.airbyte.failures import Kind, SyncFailure
from embedded.airbyte.worker.ledger import AttemptOver, Ledger

COPY_ROWS = 50_000
PASSING = ("08", "40", "53", "57")  # classes of errors that may be gone the next time: connection, conflict, resources
STATES, ORDER, DELETED_AT = "embedded_airbyte_state", "_airbyte_staged", "_ab_cdc_deleted_at"
TYPES_QUERY = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""


def build(configuration: dict[str, Any], ledger: Ledger, connection_id: Any, started_ms: int) -> "PostgresDestination":
    """The writer of one configured database, for one attempt of a connection."""
    return PostgresDestination(configuration, ledger, str(connection_id), started_ms)


class _Table:
    """What one attempt does with one stream."""

    def __init__(self, target: Target, schema: str, number: str) -> None:
        stream = target.stream
        self.target = target
        self.place = (schema, postgres_name(target.name))
        self.name = sql.Identifier(*self.place)
        self.keys = [postgres_name(key) for key in stream.primary_key]
        self.cursor = postgres_name(stream.cursor) if stream.cursor else None
        self.merges = stream.sync_mode == "incremental_deduped_history" and bool(self.keys)
        self.json = {postgres_name(name) for name, schema in stream.columns.items() if is_json(schema)}
        self.schema_types = {
            postgres_name(name): type_ for name, type_ in schema_types(stream.read_columns, number).items()
        }
        self.staging: sql.Identifier | None = None
        self.staging_name = ""
        self.types: dict[str, str] = {}  # of the staging table
        self.rows = 0


class PostgresDestination:
    """Writes the tables of one attempt.

    :param started_ms: tells this attempt from those before, which may still be running as orphans.
    """

    def __init__(self, configuration: dict[str, Any], ledger: Ledger, connection_id: str, started_ms: int) -> None:
        self._ledger = ledger
        self._connection_id = connection_id
        self._writer = started_ms
        self._schema: str = configuration.get("schema") or "public"
        self._internal = postgres_name(configuration.get("raw_data_schema") or "airbyte_internal")
        self._cascade = sql.SQL(" CASCADE" if configuration.get("drop_cascade") else "")
        self._number = "numeric" if configuration.get("unconstrained_number") else CONSTRAINED
        self._hard_delete = configuration.get("cdc_deletion_mode", "Hard delete") == "Hard delete"
        self._tables: dict[str, _Table] = {}
        self._schemas: set[str] = set()
        host, port = configuration["host"], int(configuration.get("port") or 5432)
        self._where = (
            f"PostgreSQL {host}:{port}, database {configuration['database']}, user {configuration['username']}"
        )
        with self._explained("connect"):
            self._db = psycopg.connect(
                host=host,
                port=port,
                dbname=configuration["database"],
                user=configuration["username"],
                password=configuration.get("password") or None,
                sslmode=(configuration.get("ssl_mode") or {}).get("mode")
                or ("require" if configuration.get("ssl") else "prefer"),
                connect_timeout=10,
                application_name="airbyte-destination-postgres",
                # staged rows need not be on disk before the transaction that takes them is
                options="-c synchronous_commit=off -c datestyle=ISO,YMD -c timezone=UTC",
                autocommit=True,
            )
            self._claim()

    def close(self) -> None:
        self._db.close()

    def stored_states(self) -> dict[str, tuple[Any, Any]]:
        with self._explained("read the states"):
            rows = self._db.execute(
                sql.SQL("SELECT stream, previous, state FROM {} WHERE connection_id = %s AND state IS NOT NULL").format(
                    self._states
                ),
                (self._connection_id,),
            )
            return {stream: (previous, state) for stream, previous, state in rows}

    def begin(self, target: Target) -> None:
        schema = postgres_name(target.namespace or self._schema)
        table = self._tables[target.stream.name] = _Table(target, schema, self._number)
        with self._explained(f"prepare {table.name.as_string()}"):
            self._make_schema(schema)
            # what an attempt that was killed has left; one that lives on fails by it
            leftovers = self._db.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND starts_with(relname, %s)",
                (_quoted(self._internal), self._staging_prefix(target)),
            ).fetchall()
            for (name,) in leftovers:
                self._db.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(self._internal, name)))

    def is_new(self, stream: str) -> bool:
        name = self._tables[stream].name
        with self._explained(f"look at {name.as_string()}"):
            return not self._types_of(name)

    def column_names(self, stream: str, names: list[str]) -> list[str]:
        return distinct_names(stream, names, [postgres_name(name) for name in names])

    def write(self, stream: str, rows: pa.Table, buffer_bytes: int) -> None:
        """Copy rows to the staging table, which gets the columns that it lacks."""
        table = self._tables[stream]
        own = set(OWN)
        wanted = {field.name: self._type(table, field) for field in rows.schema if field.name not in own}
        for start in range(0, max(rows.num_rows, 1), COPY_ROWS):
            part, types = prepared(rows.slice(start, COPY_ROWS), wanted)
            with self._explained(f"write to {table.name.as_string()}"):
                if table.staging is None:
                    self._stage(table, types)
                assert table.staging is not None
                self._fit(table.staging, table.types, types)
                columns = sql.SQL(", ").join(map(sql.Identifier, part.column_names))
                copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(table.staging, columns)
                if part.num_rows:
                    with self._db.cursor() as cursor, cursor.copy(copy) as stdin:
                        stdin.write(copy_text(part))
        table.rows += rows.num_rows
        self._ledger.report()

    def commit(self, streams: list[str], key: str, before: Any, state: Any) -> None:
        """Take the staged rows of incremental streams to their tables, with the state, in one transaction."""
        tables = [self._tables[name] for name in streams]
        staged = [table for table in tables if table.staging and table.target.stream.incremental]
        if not staged:
            return
        with self._explained("take rows to their tables"), self._transaction():
            for table in staged:
                assert table.staging is not None
                self._merge(table) if table.merges else self._append(table)
                self._db.execute(sql.SQL("TRUNCATE {}").format(table.staging))
            self._db.execute(
                sql.SQL(
                    "INSERT INTO {} (connection_id, stream, writer, previous, state) VALUES (%s, %s, %s, %s, %s) "
                    "ON CONFLICT (connection_id, stream) DO UPDATE "
                    "SET previous = EXCLUDED.previous, state = EXCLUDED.state"
                ).format(self._states),
                (self._connection_id, key, self._writer, Jsonb(before), Jsonb(state)),
            )
        for table in staged:
            self._told(table)

    def landed(self, stream: str, columns: list[str]) -> pa.Table:
        table = self._tables[stream]
        with self._explained(f"read {table.name.as_string()}"):
            live = self._types_of(table.name)
            parts = []
            for relation, types in ((table.name, live), (table.staging, table.types)):
                if relation is not None and types:
                    parts.append(
                        sql.SQL("SELECT {} FROM {}").format(
                            sql.SQL(", ").join(
                                _cast(postgres_name(name), {**table.types, **live}.get(postgres_name(name)), types)
                                for name in columns
                            ),
                            relation,
                        )
                    )
            rows = self._db.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall() if parts else []
        return pa.table({name: [row[place] for row in rows] for place, name in enumerate(columns)})

    def finish(self, stream: str) -> None:
        """Put what was staged in the place of the table, or append it; all of it at once."""
        table = self._tables[stream]
        job = {"job": self._ledger.job_id, "generation": table.target.generation}
        with self._explained(f"replace {table.name.as_string()}"), self._transaction():
            if table.target.stream.overwrites:
                if table.staging is None:
                    self._stage(table, table.schema_types)
                assert table.staging is not None
                schema, name = map(sql.Identifier, table.place)
                moved = sql.Identifier(table.place[0], table.staging_name)
                self._db.execute(sql.SQL("DROP TABLE IF EXISTS {}{}").format(table.name, self._cascade))
                self._db.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(table.staging, schema))
                self._db.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(moved, name))
                self._index(table)
            elif table.staging is not None:
                if self._ledger.attempt and self._types_of(table.name):
                    # an attempt before may have come to its end with this stream, and failed with another
                    self._db.execute(
                        sql.SQL(
                            "DELETE FROM {} WHERE _airbyte_generation_id = %(generation)s "
                            "AND (_airbyte_meta ->> 'sync_id')::bigint = %(job)s"
                        ).format(table.name),
                        job,
                    )
                self._append(table)
                self._db.execute(sql.SQL("DROP TABLE {}").format(table.staging))
        self._told(table)
        table.staging = None

    def clear(self, target: Target) -> None:
        self.begin(target)
        table = self._tables[target.stream.name]
        with self._explained(f"clear {table.name.as_string()}"), self._transaction():
            if self._types_of(table.name):
                self._db.execute(sql.SQL("TRUNCATE {}").format(table.name))
            self._db.execute(
                sql.SQL(
                    "UPDATE {} SET previous = NULL, state = NULL WHERE connection_id = %s AND stream IN ('', %s)"
                ).format(self._states),
                (self._connection_id, target.stream.name),
            )

    # --- between staging table and table -----------------------------------------------------------------

    def _stage(self, table: _Table, types: dict[str, str]) -> None:
        """Make the staging table: of this session alone, or one that can take the place of the stream's table."""
        columns = dict(OWN_COLUMNS)
        table.staging_name = f"{self._staging_prefix(table.target)}{self._writer}"
        if table.target.stream.incremental:
            table.staging = sql.Identifier("pg_temp", table.staging_name)
            columns |= {ORDER: "bigint GENERATED ALWAYS AS IDENTITY"}
        else:
            table.staging = sql.Identifier(self._internal, table.staging_name)
        table.types = dict(types)
        self._db.execute(sql.SQL("CREATE TABLE {} ({})").format(table.staging, _definitions(columns | types)))

    def _staging_prefix(self, target: Target) -> str:
        identity = f"{self._connection_id} {target.stream.name}".encode()
        return f"airbyte_tmp_{hashlib.sha256(identity).hexdigest()[:24]}_"

    def _append(self, table: _Table) -> None:
        self._make(table)
        self._insert(table, table.staging, sql.SQL(""))

    def _merge(self, table: _Table) -> None:
        """The newest version of each key, by cursor and then as it came, replaces what is not newer still."""
        assert table.staging is not None and table.cursor is not None
        made = self._make(table)
        live = self._types_of(table.name)
        newest, keys = sql.Identifier("pg_temp", "newest"), sql.SQL(", ").join(map(sql.Identifier, table.keys))
        cursor = sql.Identifier(table.cursor)
        self._db.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {newest} ON COMMIT DROP AS "
                "SELECT DISTINCT ON ({keys}) {columns} FROM {staging} "
                "ORDER BY {keys}, {cursor} DESC NULLS LAST, {order} DESC"
            ).format(
                newest=newest,
                keys=keys,
                columns=sql.SQL(", ").join(
                    sql.SQL("{} AS {}").format(_cast(name, live[name], table.types), sql.Identifier(name))
                    for name in [*OWN_COLUMNS, *table.types]
                ),
                staging=table.staging,
                cursor=cursor,
                order=sql.Identifier(ORDER),
            )
        )
        if not made:
            self._db.execute(sql.SQL("ANALYZE {}").format(newest))
            same = self._same_key(table, newest)
            self._db.execute(
                sql.SQL(
                    "DELETE FROM {newest} n USING {table} t WHERE {same} "
                    "AND (t.{cursor} > n.{cursor} OR (n.{cursor} IS NULL AND t.{cursor} IS NOT NULL))"
                ).format(newest=newest, table=table.name, same=same, cursor=cursor)
            )
            self._db.execute(sql.SQL("DELETE FROM {} t USING {} n WHERE {}").format(table.name, newest, same))
        deleted = self._hard_delete and DELETED_AT in table.types
        gone = sql.SQL(" WHERE {} IS NULL").format(sql.Identifier(DELETED_AT)) if deleted else sql.SQL("")
        self._insert(table, newest, gone)

    def _same_key(self, table: _Table, newest: sql.Identifier) -> sql.Composable:
        """The condition that rows of t and n have one key; null equals null, which no index helps to find."""
        keys = [sql.Identifier(key) for key in table.keys]
        nulls = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(key) for key in keys)
        row = self._db.execute(sql.SQL("SELECT EXISTS (SELECT 1 FROM {} WHERE {})").format(newest, nulls)).fetchone()
        same = "t.{0} IS NOT DISTINCT FROM n.{0}" if row and row[0] else "t.{0} = n.{0}"
        return sql.SQL(" AND ").join(sql.SQL(same).format(key) for key in keys)

    def _insert(self, table: _Table, relation: sql.Identifier | None, condition: sql.Composable) -> None:
        assert relation is not None
        live = self._types_of(table.name)
        names = [*OWN_COLUMNS, *table.types]
        self._db.execute(
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}{}").format(
                table.name,
                sql.SQL(", ").join(map(sql.Identifier, names)),
                sql.SQL(", ").join(_cast(name, live[name], table.types) for name in names),
                relation,
                condition,
            )
        )

    def _make(self, table: _Table) -> bool:
        """See to it that the stream's table is there, with all columns; returns whether it was made."""
        live = self._types_of(table.name)
        if live and not set(OWN_COLUMNS) <= set(live):
            raise SyncFailure(
                f"{self._where}: table {table.name.as_string()} is there and not Airbyte's (it lacks _airbyte_raw_id "
                "and others); rename it, or choose another schema or prefix.",
                origin="destination",
                kind="config_error",
            )
        if live:
            self._fit(table.name, live, table.types)
            return False
        self._db.execute(sql.SQL("CREATE TABLE {} ({})").format(table.name, _definitions(OWN_COLUMNS | table.types)))
        self._index(table)
        return True

    def _index(self, table: _Table) -> None:
        """The indexes of Airbyte's destination: the time of extraction and, where rows are merged, key and cursor."""
        wanted = [["_airbyte_extracted_at"]]
        if table.merges and table.cursor:
            wanted += [table.keys, [table.cursor]]
        for names in wanted:
            columns = sql.SQL(", ").join(map(sql.Identifier, names))
            self._db.execute(sql.SQL("CREATE INDEX ON {} ({})").format(table.name, columns))

    def _fit(self, relation: sql.Identifier, has: dict[str, str], wanted: dict[str, str]) -> None:
        """Add columns that a table lacks and widen those that values do not fit; `has` tells both afterwards."""
        for name, type_ in wanted.items():
            column = sql.Identifier(name)
            if name not in has:
                change = sql.SQL("ADD COLUMN {} {}").format(column, sql.SQL(type_))
            elif wider(has[name], type_) != has[name]:
                type_ = wider(has[name], type_)
                change = sql.SQL("ALTER COLUMN {0} TYPE {1} USING CAST({0} AS {1})").format(column, sql.SQL(type_))
            else:
                continue
            self._db.execute(sql.SQL("ALTER TABLE {} {}").format(relation, change))
            has[name] = type_

    def _type(self, table: _Table, field: pa.Field) -> str:
        type_ = postgres_type(field.name, field.type, self._number)
        return "jsonb" if type_ == "character varying" and field.name in table.json else type_

    def _types_of(self, relation: sql.Identifier) -> dict[str, str]:
        """The columns of a table; none if there is no such table."""
        return dict(self._db.execute(TYPES_QUERY, (relation.as_string(),)).fetchall())

    # --- the server --------------------------------------------------------------------------------------

    @property
    def _states(self) -> sql.Identifier:
        return sql.Identifier(self._internal, STATES)

    def _claim(self) -> None:
        """Become the one attempt that writes for this connection: a transaction of another fails from now on."""
        self._make_schema(self._internal)
        with self._db.transaction():
            self._lock()
            self._db.execute(
                sql.SQL(
                    "CREATE TABLE IF NOT EXISTS {} (connection_id uuid, stream text, writer bigint NOT NULL, "
                    "previous jsonb, state jsonb, PRIMARY KEY (connection_id, stream))"
                ).format(self._states)
            )
        self._db.execute(
            sql.SQL(
                "INSERT INTO {} (connection_id, stream, writer) VALUES (%s, '', %s) "
                "ON CONFLICT (connection_id, stream) DO UPDATE SET writer = EXCLUDED.writer"
            ).format(self._states),
            (self._connection_id, self._writer),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction that is on disk when it ends, and that fails if another attempt writes by now."""
        with self._db.transaction():
            self._db.execute("SET LOCAL synchronous_commit TO on")
            row = self._db.execute(
                sql.SQL("SELECT writer FROM {} WHERE connection_id = %s AND stream = '' FOR UPDATE").format(
                    self._states
                ),
                (self._connection_id,),
            ).fetchone()
            if row is None or row[0] != self._writer:
                raise AttemptOver("Another attempt writes to the destination by now.")
            yield

    def _make_schema(self, name: str) -> None:
        if name in self._schemas:
            return
        self._schemas.add(name)
        with self._db.transaction():
            self._lock()
            row = self._db.execute("SELECT to_regnamespace(%s) IS NULL", (_quoted(name),)).fetchone()
            if row and row[0]:
                self._db.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))

    def _lock(self) -> None:
        """Let no other attempt make schemas and tables at the same instant."""
        self._db.execute("SELECT pg_advisory_xact_lock(hashtext('embedded_airbyte'))")

    def _told(self, table: _Table) -> None:
        stream = table.target.stream.name
        self._ledger.log("INFO", f"Stream {stream}: {table.rows} rows to {table.name.as_string()}.")
        table.rows = 0

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        """Turn PostgreSQL's errors into a SyncFailure with what to check."""
        try:
            yield
        except psycopg.Error as error:
            text = str(error).strip() or type(error).__name__
            kind: Kind = "config_error"
            hint = "see detail"
            if "password authentication failed" in text or "no password supplied" in text:
                hint = "check user and password"
            elif "does not exist" in text:
                hint = "check that it exists"
            elif isinstance(error, psycopg.errors.InsufficientPrivilege):
                hint = "GRANT CREATE, TEMPORARY ON DATABASE to this user, and rights on schema and tables"
            elif isinstance(error, psycopg.errors.DependentObjectsStillExist):
                hint = "views depend on the table: drop them, or set drop_cascade (which drops them each time)"
            elif error.sqlstate is None or error.sqlstate[:2] in PASSING:
                kind, hint = "transient_error", "check that it runs and that host and port are right"
            raise SyncFailure(
                f"{self._where}: could not {action}: {text.splitlines()[0]}; {hint}.",
                origin="destination",
                kind=kind,
                detail=text,
            ) from error


def _cast(name: str, type_: str | None, has: dict[str, str]) -> sql.Composable:
    """A column as another type; null where it is not there."""
    if name not in has and name not in OWN_COLUMNS:
        return sql.SQL("NULL::{}").format(sql.SQL(type_ or "text"))
    column = sql.Identifier(name)
    if name in OWN_COLUMNS or has.get(name) == type_ or type_ is None:
        return column
    return sql.SQL("CAST({} AS {})").format(column, sql.SQL(type_))


def _definitions(columns: dict[str, str]) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(type_)) for name, type_ in columns.items()
    )


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()
