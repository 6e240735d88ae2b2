"""The engine itself; see the package's docstring for how it is used."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from sqlglot import exp

from embedded.dremio.access.control import AccessControl
from embedded.dremio.catalog import Catalog
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine import copy_errors, documents, guard, lake, results, snapshots, tables, visibility
from embedded.dremio.engine.contracts import (
    DatasetUse,
    Handle,
    Materialization,
    ReflectionStore,
    Relationship,
    Result,
    Session,
    Statement,
    StatementKind,
)
from embedded.dremio.engine.duck import REFLECTIONS, Duck
from embedded.dremio.engine.functions import UserFunctions
from embedded.dremio.engine.system import SystemTables, registered_name
from embedded.dremio.engine.table_functions import METADATA, TableFunctions
from embedded.dremio.errors import (
    Canceled,
    DataReadError,
    DremioError,
    InvalidMetadata,
    ResourceError,
    UnsupportedOperation,
)
from embedded.dremio.sql import parameters, records, statements
from embedded.dremio.sql.dialect import parse_query
from embedded.dremio.sql.kinds import quoted
from embedded.dremio.sql.query import QueryBinder
from embedded.dremio.sql.resolve import Found, Resolver
from embedded.dremio.types import Column, DremioType, arrow_schema, from_duckdb

POOL_THREADS = 4
CACHED_STATEMENTS = 500
MAX_STATEMENT = 2_000_000  # characters
ATTEMPTS = 5  # of a query whose tables lose files meanwhile
T = TypeVar("T")
_NAMED = re.compile(r"""['"]([^'"]+)['"]""")


@dataclass
class BoundQuery:
    """A query ready for DuckDB: text, columns, what is to be registered, and what it refers to."""

    sql: str
    columns: list[Column]
    registered: list[list[str]]
    found: Found
    relationships: tuple[Relationship, ...] = ()
    user: str = ""
    personal: frozenset[str] = frozenset()  # functions whose value depends on the user
    native: bool = False  # reads materializations alone: DuckDB's plan of it holds as long as they are there
    idle: list[duckdb.DuckDBPyConnection] = field(default_factory=list)  # connections that have it prepared

    @cached_property
    def schema(self) -> pa.Schema:
        """The result's Arrow schema."""
        return arrow_schema(self.columns)


class Engine:
    """One DuckDB instance over the catalog's sources; thread-safe."""

    def __init__(self, catalog: Catalog, dsn: str, data_dir: Path, memory_limit: str | None = None) -> None:
        self.catalog = catalog
        self.dsn = dsn
        self.duck = Duck(dsn, Path(data_dir), memory_limit)
        self.system_tables = SystemTables(catalog)
        self.reflections: ReflectionStore | None = None
        self.access: AccessControl | None = None  # of the enterprise edition
        self.writer = threading.RLock()
        self.pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="engine")
        self._cache: OrderedDict[tuple[Any, ...], Statement] = OrderedDict()
        self._cache_lock = threading.Lock()
        catalog.describe_files = lambda entity: tables.describe_files(catalog, self.duck, entity)
        catalog.describe_table = lambda entity: tables.describe_table(catalog, self.duck, entity)
        catalog.source_changed = self._source_changed
        lake.reconcile_all(self)

    def _source_changed(self, source: Entity, exists: bool) -> None:
        try:
            self.duck.source_changed(source, exists)
        except duckdb.Error as error:
            raise results.translate(error, "") from error

    # -- preparing -------------------------------------------------------------------------------------------

    def prepare(self, sql: str, session: Session) -> Statement:
        """Parse, resolve and bind `sql`; executes nothing."""
        key = self._cache_key(sql, session)
        cached = self._cached(key)
        if cached is not None:
            return cached
        statement = self.again_if_files_are_gone(lambda again: self._prepare_anew(sql, session))
        if statement.kind == StatementKind.QUERY:
            with self._cache_lock:
                self._cache[key] = statement
                while len(self._cache) > CACHED_STATEMENTS:
                    self._cache.popitem(last=False)
        return statement

    def prepared(self, sql: str, session: Session) -> Statement | None:
        """What `prepare` would give at once because nothing changed since it last did; DuckDB is not touched."""
        return self._cached(self._cache_key(sql, session))

    def _cache_key(self, sql: str, session: Session) -> tuple[Any, ...]:
        version = getattr(self.reflections, "version", 0) if self.reflections is not None else 0
        return (sql, session.context, session.user, self.catalog.version, version, self._access_version())

    def _cached(self, key: tuple[Any, ...]) -> Statement | None:
        with self._cache_lock:
            cached = self._cache.get(key)
            if cached is not None:
                self._cache.move_to_end(key)
            return cached

    def _prepare_anew(self, sql: str, session: Session) -> Statement:
        if len(sql) > MAX_STATEMENT:
            raise ResourceError(f"The statement has {len(sql)} characters; at most {MAX_STATEMENT} are accepted.")
        try:
            access_version = self._access_version()
            statement = self._prepare(sql, session)
            statement.access_version = access_version
            return statement
        except DremioError as error:
            error.sql = error.sql or sql
            raise
        except duckdb.Error as error:
            raise results.translate(error, sql) from error
        except RecursionError as error:
            raise ResourceError("The statement is nested too deeply.") from error

    def prepare_with_parameters(self, sql: str, session: Session) -> tuple[Statement, list[DremioType]]:
        """As `prepare`, of a text that may have parameters; with the types of these, in their order."""
        text, count = parameters.numbered(sql)
        if not count:
            return self.prepare(sql, session), []
        with parameters.collected() as found:
            statement = self.again_if_files_are_gone(lambda again: self._prepare_anew(text, session))
        if len(found) < count:
            raise UnsupportedOperation("Parameters (?) stand here where this server does not read them.", sql=sql)
        return dataclasses.replace(statement, sql=sql), [found[at] for at in range(count)]

    def _prepare(self, sql: str, session: Session) -> Statement:
        from embedded.dremio.engine.handlers import HANDLERS

        record = statements.parse(sql)
        if isinstance(record, records.Query):
            return self._prepare_query(sql, session)
        guard.check(self, record, session)
        statement = HANDLERS[type(record)](self, record, session, sql)
        if self.access is not None and statement.plan is not None:
            plan, own = statement.plan, guard.made(self, record, session)

            def run(session: Session, handle: Handle) -> Result:
                result: Result = plan(session, handle)
                own()
                return result

            statement.plan = run
        return statement

    def _access_version(self) -> int:
        return self.access.grants.version if self.access is not None else 0

    def _prepare_query(self, sql: str, session: Session) -> Statement:
        bound = self.bind(sql, session, reflections=self.reflections)
        schema = bound.schema

        def run(session: Session, handle: Handle) -> Result:
            return self.run_query(bound, handle, sql)

        return Statement(
            sql, StatementKind.QUERY, schema, **uses(bound.found), relationships=bound.relationships, plan=run
        )

    def bind(self, sql: str, session: Session, reflections: ReflectionStore | None = None) -> BoundQuery:
        """Parse, resolve, rewrite to reflections and bind a query's text."""
        return self.bind_tree(parse_query(sql), session, reflections)

    def bind_tree(self, tree: exp.Query, session: Session, reflections: ReflectionStore | None = None) -> BoundQuery:
        """As `bind`, for a parsed query (changed in place)."""
        resolver = Resolver(self.catalog, session.user, self.access)
        query = resolver.resolve(tree, session.context)
        relationships: tuple[Relationship, ...] = ()
        if reflections is not None and resolver.found.entities and not resolver.found.versions:
            datasets = [DatasetUse(e.id, e.path, e.kind.value == "view") for e in resolver.found.entities.values()]
            rewrite = reflections.rewrite(query.copy(), datasets)
            relationships = rewrite.relationships
            if rewrite.query is not None:
                query = rewrite.query
        # a function that is none of Dremio's own may read any table
        native = bool(relationships) and query.find(exp.Anonymous) is None
        native = native and all("materialization" in one.meta for one in query.find_all(exp.Table))
        window = self.tables(session, resolver)
        relation = QueryBinder(window).bind(query)
        with self.duck.cursor() as cursor:
            self.register(cursor, window.registered, session.user)
            described = cursor.sql(relation.sql)
            kinds = [from_duckdb(kind) for kind in described.types]
            columns = []
            for field, kind in zip(relation.columns, kinds, strict=True):
                known = field.kind is not None and field.kind.name != "NULL"
                columns.append(Column(field.name, field.kind if known and field.kind else kind))
        return BoundQuery(
            relation.sql,
            columns,
            window.registered,
            resolver.found,
            relationships,
            session.user,
            frozenset(window.personal),
            native,
        )

    def tables(self, session: Session, resolver: Resolver) -> tables.EngineTables:
        """The binder's window on this engine for one statement."""
        window = tables.EngineTables(self.catalog, self.duck, self.system_tables, session.user)
        if self.access is not None:
            window.roles = self.access.roles_of(session.user)
        functions = UserFunctions(self, session, resolver)
        window.table_functions = TableFunctions(self, session, resolver, functions, window.registered).relation
        window.at_clause = lambda entity, version: snapshots.at_clause(self, entity, version)
        window.functions = functions.call
        return window

    def register(
        self,
        cursor: duckdb.DuckDBPyConnection,
        registered: list[list[str]],
        user: str,
        handle: Handle | None = None,
    ) -> None:
        """Make known to a cursor what its text names and DuckDB cannot read by itself.

        These are system tables with the rows that the user sees, metadata functions, copy_errors and the tables of
        ELASTIC sources, of the latter two no rows if the text is not to run (with `handle`).
        """
        for path in map(list, dict.fromkeys(map(tuple, registered))):
            name = registered_name(path)
            if path[0] == documents.DOCUMENTS:
                documents.fill(cursor, name, self.catalog, self.catalog.get_by_id(path[1]), handle)
            elif path[0] == copy_errors.COPY_ERRORS:
                empty = copy_errors.SCHEMA.empty_table()
                cursor.register(name, empty if handle is None else copy_errors.rows(self, path[1], path[2]))
            elif path[0] == METADATA:
                version = int(path[3]) if path[3] else None
                cursor.register(name, snapshots.rows(self, path[1], path[2], version))
            else:
                cursor.register(name, self.system_tables.arrow(path, user))

    # -- running ---------------------------------------------------------------------------------------------

    def execute(self, statement: Statement, session: Session, handle: Handle | None = None) -> Result:
        """Run a prepared statement once."""
        handle = handle or Handle()
        if handle.cancelled:
            raise Canceled(handle.reason)
        if statement.access_version != self._access_version():  # a privilege may have gone since it was prepared
            statement = self.prepare(statement.sql, session)
        if statement.kind != StatementKind.QUERY:
            return self._run(statement, session, handle)
        return self.again_if_files_are_gone(
            lambda again: self._run(self.prepare(statement.sql, session) if again else statement, session, handle)
        )

    def again_if_files_are_gone(self, attempt: Callable[[bool], T]) -> T:
        """What `attempt` returns; if it misses a file, its tables are listed again and it is called anew, as by Dremio.

        It is told whether it is called anew. No statement that writes may be run so.
        """
        for number in range(ATTEMPTS - 1):
            try:
                return attempt(number > 0)
            except InvalidMetadata as error:
                if not self._list_again(error):
                    raise
        return attempt(True)

    def _list_again(self, error: InvalidMetadata) -> bool:
        """List the files again of the tables that name the missing one; False if the error names no file."""
        missing = set(_NAMED.findall(error.message))
        stale = [
            entity
            for entity in self.catalog.entities()
            if any(file["path"] in missing for file in entity.internals.get("files", ()))
        ]
        for entity in stale:
            with contextlib.suppress(DataReadError):  # another file has gone meanwhile: the next attempt says so
                self.catalog.refresh_metadata(entity.path)
        return bool(missing)  # where no table names it any more, another has listed the files since

    def _run(self, statement: Statement, session: Session, handle: Handle) -> Result:
        try:
            result = statement.plan(session, handle)
        except duckdb.Error as error:
            if handle.cancelled:
                raise Canceled(handle.reason) from error
            raise results.translate(error, statement.sql) from error
        result.relationships = statement.relationships
        return result

    def run_query(self, bound: BoundQuery, handle: Handle, shown: str) -> Result:
        """Start a bound query; its batches come as they are read."""
        if bound.native:
            return self._run_prepared(bound, handle, shown)
        cursor = self.duck.cursor()
        handle.attach(cursor)
        try:
            self.register(cursor, bound.registered, bound.user, handle)
        except BaseException:
            cursor.close()
            raise
        batches = results.stream(cursor, bound.sql, bound.schema, handle, shown, cursor.close)
        return Result(bound.schema, results.Started(batches))

    def _run_prepared(self, bound: BoundQuery, handle: Handle, shown: str) -> Result:
        """By a connection that has the query prepared: DuckDB's planning is most of the time that a small one takes."""
        try:
            cursor, text = bound.idle.pop(), "EXECUTE query"
        except IndexError:
            cursor, text = self.duck.cursor(), f"PREPARE query AS {bound.sql}; EXECUTE query"
        handle.attach(cursor)
        batches = results.stream(cursor, text, bound.schema, handle, shown, lambda: bound.idle.append(cursor))
        return Result(bound.schema, results.Started(batches))

    def cancel(self, handle: Handle) -> None:
        """Stop the statement that runs with `handle`."""
        handle.cancel()

    # -- reflections and system tables -----------------------------------------------------------------------

    def build_materialization(
        self, name: str, sql: str, session: Session, handle: Handle | None = None
    ) -> Materialization:
        """Make (or replace) the native table `name` from a Dremio query, read without reflections."""
        bound = self.bind(sql, session)
        if bound.personal:  # what one user's refresh read is not what another may see
            names = ", ".join(sorted(bound.personal))
            raise UnsupportedOperation(
                f"Reflection could not be created as it uses the following context-sensitive function(s): {names}"
            )
        target = f"{REFLECTIONS}.main.{quoted(name)}"
        handle = handle or Handle()
        cursor = self.duck.cursor()
        handle.attach(cursor)
        try:
            self.register(cursor, bound.registered, bound.user, handle)
            cursor.execute(f"CREATE OR REPLACE TABLE {target} AS {bound.sql}")
            count = cursor.execute(f"SELECT count(*) FROM {target}").fetchall()[0][0]
            width = 8 * max(1, len(bound.columns))
            return Materialization(name, count, count * width, bound.schema)
        except duckdb.Error as error:
            if handle.cancelled:
                raise Canceled(handle.reason) from error
            raise results.translate(error, sql) from error
        finally:
            handle.attach(None)
            cursor.close()

    def drop_materialization(self, name: str) -> None:
        """Drop the native table `name`; absent is fine."""
        with self.duck.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {REFLECTIONS}.main.{quoted(name)}")

    def materializations(self) -> list[str]:
        """Names of the native tables that exist (after a restart, for instance)."""
        with self.duck.cursor() as cursor:
            rows = cursor.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = ?", [REFLECTIONS]
            ).fetchall()
        return [row[0] for row in rows]

    def register_system_table(self, name: str, schema: pa.Schema, rows: Callable[[], list[dict[str, Any]]]) -> None:
        """Make ``sys.<name>`` (name without ``sys.``) a table whose rows are asked for at each query."""
        self.system_tables.register(name, schema, rows)

    def control_access(self, access: AccessControl) -> None:
        """Check every statement from now on, and show only what its user may see."""
        self.access = access
        self.system_tables.visible = lambda path, rows, user: visibility.visible(access, path, rows, user)
        visibility.register(self.system_tables, access)

    def close(self) -> None:
        """Stop the pool and close DuckDB."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.duck.close()


def uses(found: Found) -> dict[str, Any]:
    """The `datasets` and `dataset_paths` of a statement."""
    return {
        "datasets": tuple(found.entities),
        "dataset_paths": tuple(entity.path for entity in found.entities.values()),
    }
