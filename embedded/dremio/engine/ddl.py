"""CREATE, DROP and ALTER."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedded.dremio.catalog.entities import Entity, Kind
from embedded.dremio.engine import guard, lake, results
from embedded.dremio.engine.contracts import Handle, Result, Session, Statement, StatementKind
from embedded.dremio.engine.tables import physical_of
from embedded.dremio.errors import ConcurrentModification, UnsupportedOperation, ValidationError
from embedded.dremio.sql import kinds, records
from embedded.dremio.sql.kinds import duckdb_type, quoted
from embedded.dremio.sql.resolve import SYSTEM_SCHEMAS, Resolver, lookup, not_found
from embedded.dremio.types import Column, DremioType

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine


def dotted(path: tuple[str, ...]) -> str:
    """A path as Dremio's messages show it."""
    return ".".join(path)


def full_path(engine: Engine, path: tuple[str, ...], session: Session) -> tuple[str, ...]:
    """Where a new object of that name goes: as it stands when its root exists, else below the context."""
    if path[0] == "@home":
        path = (f"@{session.user}", *path[1:])
    if len(path) > 1 and engine.catalog.find(path[:1]) is not None:
        return path
    if session.context:
        return (*session.context, *path)
    return path if len(path) > 1 else (f"@{session.user}", *path)


def existing(engine: Engine, path: tuple[str, ...], session: Session) -> Entity | None:
    """The table, view or function that a name stands for."""
    if path[0] == "@home":
        path = (f"@{session.user}", *path[1:])
    return lookup(engine.catalog, path, [session.context, (f"@{session.user}",)])


def table(engine: Engine, path: tuple[str, ...], session: Session) -> Entity:
    """The table or view of that name; raises ValidationError."""
    entity = existing(engine, path, session)
    if entity is None or not entity.is_dataset:
        raise not_found(path)
    return entity


def target_table(engine: Engine, path: tuple[str, ...], session: Session, word: str) -> Entity:
    """The table of the lake that a statement writes; raises ValidationError, UnsupportedOperation."""
    if path[0].lower() in SYSTEM_SCHEMAS:
        raise ValidationError(f"{word} is not supported on this SYSTEM_TABLE at [{dotted(path)}].")
    entity = existing(engine, path, session)
    if entity is None or not entity.is_dataset:
        raise ValidationError(f"Table [{dotted(path)}] does not exist.")
    if entity.kind == Kind.VIEW:
        raise ValidationError(f"{word} is not supported on this VIEW at [{dotted(path)}].")
    lake.lake_table(entity, word)
    guard.may_write(engine, entity, session, word)
    return entity


def ddl(sql: str, run: Any, **more: Any) -> Statement:
    """A statement with the result (ok, summary)."""
    return Statement(sql, StatementKind.DDL, results.DDL_SCHEMA, plan=run, **more)


def create_table(engine: Engine, record: records.CreateTable, session: Session, sql: str) -> Statement:
    """CREATE TABLE, with or without AS."""
    path = full_path(engine, record.path, session)
    lake.target_source(engine, path)
    taken = engine.catalog.find(path)
    if taken is not None and not record.if_not_exists:
        raise ConcurrentModification(f"A table or view with given name [{dotted(path)}] already exists.")
    _check_options(record)
    if record.query is None:
        columns = [Column(name, storable(target.kind)) for name, target in record.columns]

        def run(session: Session, handle: Handle) -> Result:
            if engine.catalog.find(path) is not None and record.if_not_exists:
                return results.summary(f"Table [{dotted(path)}] already exists.")
            _make(engine, record, path, columns, None, handle)
            return results.summary("Table created")

        return ddl(sql, run)
    return _create_as(engine, record, path, session, sql)


def _check_options(record: records.CreateTable) -> None:
    kind = str(record.options.get("type", "iceberg")).lower()
    if kind not in ("iceberg", "parquet"):
        raise UnsupportedOperation(f"STORE AS (type => '{kind}') is not supported: tables are Iceberg or Parquet.")


def _create_as(
    engine: Engine, record: records.CreateTable, path: tuple[str, ...], session: Session, sql: str
) -> Statement:
    from embedded.dremio.engine.engine import uses

    bound = engine.bind(record.query or "", session, reflections=engine.reflections)
    names = record.names or [name for name, _ in record.columns] or [c.name for c in bound.columns]
    if len(names) != len(bound.columns):
        raise ValidationError(f"Number of columns in the definition ({len(names)}) differs from the query's.")
    kinds_ = [target.kind for _, target in record.columns] or [c.type for c in bound.columns]
    columns = [Column(name, storable(kind)) for name, kind in zip(names, kinds_, strict=True)]
    if len({name.lower() for name in names}) != len(names):
        raise ValidationError("A table cannot have two columns of one name.")

    def run(session: Session, handle: Handle) -> Result:
        if record.if_not_exists and engine.catalog.find(path) is not None:
            result = results.rows(results.CTAS_SCHEMA, [])
            result.records = 0
            return result
        count = _make(engine, record, path, columns, bound, handle)
        source = engine.catalog.source_of(path)
        assert source is not None
        row = {"Fragment": "0_0", "Records": count, "Path": "/".join(path[1:]), "PartitionData": []}
        result = results.rows(results.CTAS_SCHEMA, [row])
        result.records = count
        return result

    return Statement(
        sql,
        StatementKind.CTAS,
        results.CTAS_SCHEMA,
        **uses(bound.found),
        relationships=bound.relationships,
        plan=run,
    )


def storable(kind: DremioType) -> DremioType:
    """The type that a table's column has for values of a type; raises UnsupportedOperation."""
    if kind.name.startswith("INTERVAL"):
        raise UnsupportedOperation("A table cannot have a column of an INTERVAL type.")
    return kinds.VARCHAR if kind == kinds.NULL else kind


def _make(
    engine: Engine,
    record: records.CreateTable,
    path: tuple[str, ...],
    columns: list[Column],
    bound: Any,
    handle: Handle,
) -> int:
    """Create the table and fill it in one transaction; gives the number of rows."""
    source, database = lake.target_source(engine, path)
    with engine.writer:
        if engine.catalog.find(path) is not None:
            raise ConcurrentModification(f"A table or view with given name [{dotted(path)}] already exists.")
        schema = lake.ensure_schema(engine, source, database, path)
        physical = f"{database}.{quoted(schema)}.{quoted(path[-1])}"
        count = 0
        with lake.writing(engine, handle) as cursor:
            lake.create(cursor, physical, columns, record.partitions)
            if bound is not None:
                engine.register(cursor, bound.registered, bound.user, handle)
                inserted = cursor.execute(_fill(physical, columns, bound, record.sort)).fetchall()
                count = int(inserted[0][0]) if inserted else 0
        more = {
            "partitions": [[p.column, p.transform, p.argument] for p in record.partitions],
            "sort": record.sort,
            "properties": record.properties,
        }
        engine.catalog.add_table(path, columns, (schema, path[-1]), more)
    return count


def _fill(physical: str, columns: list[Column], bound: Any, sort: list[str]) -> str:
    items = []
    for column, field in zip(columns, bound.columns, strict=True):
        items.append(f"CAST({quoted(field.name)} AS {duckdb_type(column.type)}) AS {quoted(column.name)}")
    known = {c.name.lower(): c.name for c in columns}
    missing = [name for name in sort if name.lower() not in known]
    if missing:
        raise ValidationError(f"Sort column [{missing[0]}] is not a column of the table.")
    order = f" ORDER BY {', '.join(quoted(known[name.lower()]) for name in sort)}" if sort else ""
    return f"INSERT INTO {physical} SELECT {', '.join(items)} FROM ({bound.sql}){order}"


def drop(engine: Engine, record: records.Drop, session: Session, sql: str) -> Statement:
    """DROP TABLE, VIEW, FOLDER and FUNCTION."""

    def run(session: Session, handle: Handle) -> Result:
        if record.kind == "TABLE":
            return _drop_table(engine, record, session, handle)
        return _drop_other(engine, record, session)

    return ddl(sql, run)


def _drop_table(engine: Engine, record: records.Drop, session: Session, handle: Handle) -> Result:
    entity = existing(engine, record.path, session)
    name = dotted(record.path)
    if entity is None:
        if record.if_exists:
            return results.summary(f"Table [{name}] not found.")
        raise ValidationError(f"Table [{name}] does not exist.")
    if entity.kind != Kind.TABLE:
        raise ValidationError(f"[{name}] is not a TABLE")
    if "files" in entity.internals:
        engine.catalog.remove(entity)  # forget the promotion; files that others wrote stay
        return results.summary(f"Table [{name}] dropped")
    lake.lake_table(entity, "DROP TABLE")
    with engine.writer:
        with lake.writing(engine, handle) as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {physical_of(engine.catalog, engine.duck, entity)}")
        engine.catalog.remove(entity)
    return results.summary(f"Table [{name}] dropped")


def _drop_other(engine: Engine, record: records.Drop, session: Session) -> Result:
    kind = {"VIEW": Kind.VIEW, "FOLDER": Kind.FOLDER, "FUNCTION": Kind.FUNCTION}[record.kind]
    word = record.kind.capitalize()
    name = dotted(record.path)
    path = full_path(engine, record.path, session)
    entity = engine.catalog.find(path) or engine.catalog.find(record.path)
    if entity is None or entity.kind != kind:
        if entity is None and record.if_exists:
            return results.summary(f"{word} [{name}] not found.")
        raise ValidationError(
            f"Unknown {word.lower()} [{name}]" if entity is None else f"[{name}] is not a {record.kind}"
        )
    engine.catalog.remove(entity)
    return results.summary(
        f"{word} [{name}] deleted successfully." if kind == Kind.VIEW else f"{word} [{name}] dropped"
    )


def create_view(engine: Engine, record: records.CreateView, session: Session, sql: str) -> Statement:
    """CREATE [OR REPLACE] VIEW: the query is bound now, so a view that cannot run is not made."""
    from embedded.dremio.engine.engine import uses

    path = full_path(engine, record.path, session)
    bound = engine.bind(record.query, session)
    columns = bound.columns
    query = record.query
    if record.names:
        if len(record.names) != len(columns):
            raise ValidationError("The view's list of columns differs in number from its query's.")
        columns = [Column(name, c.type) for name, c in zip(record.names, columns, strict=True)]
        listed = ", ".join(quoted(name) for name in record.names)
        query = f'SELECT * FROM ({record.query}) AS "view"({listed})'
    found = engine.catalog.find(path)
    if found is not None and found.id in bound.found.entities:
        raise ValidationError(f"View [{dotted(path)}] cannot refer to itself.")

    def run(session: Session, handle: Handle) -> Result:
        before = engine.catalog.find(path)
        engine.catalog.create_view(path, query, session.context, columns, replace_existing=record.replace)
        done = "replaced" if before is not None else "created"
        return results.summary(f"View '{dotted(record.path)}' {done} successfully")

    return ddl(sql, run, **uses(bound.found))


def create_folder(engine: Engine, record: records.CreateFolder, session: Session, sql: str) -> Statement:
    """CREATE FOLDER in a space or home (a source's folders come with its files)."""
    path = full_path(engine, record.path, session)

    def run(session: Session, handle: Handle) -> Result:
        try:
            engine.catalog.create_folder(path)
        except ConcurrentModification:
            if not record.if_not_exists:
                raise
            return results.summary(f"Folder [{dotted(path)}] already exists.")
        return results.summary(f"Folder [{dotted(path)}] created.")

    return ddl(sql, run)


def create_function(engine: Engine, record: records.CreateFunction, session: Session, sql: str) -> Statement:
    """CREATE [OR REPLACE] FUNCTION: the body is bound now, so a function that cannot run is not made."""
    from embedded.dremio.engine.functions import UserFunctions

    path = full_path(engine, record.path, session)
    stored = {
        "returnType": record.returns,
        "functionBody": record.body,
        "functionArgList": [{"name": name, "type": kind} for name, kind in record.arguments],
        "isScalar": not record.tabular,
        "context": list(session.context),
    }
    UserFunctions(engine, session, Resolver(engine.catalog, session.user, engine.access)).check(dotted(path), stored)

    def run(session: Session, handle: Handle) -> Result:
        if record.if_not_exists and engine.catalog.find(path) is not None:
            return results.summary(f"Function {dotted(path)} already exists.")
        engine.catalog.create_function(path, stored, replace_existing=record.replace)
        return results.summary(f"Function, {dotted(path)}, is created.")

    return ddl(sql, run)


def alter(engine: Engine, record: records.AlterTable, session: Session, sql: str) -> Statement:
    """ALTER TABLE, VIEW and DATASET."""
    from embedded.dremio.engine import alter as actions

    action = actions.ACTIONS[record.action]
    entity = existing(engine, record.path, session)
    if entity is None and record.action != "REFRESH METADATA":
        raise ValidationError(f"Table [{dotted(record.path)}] does not exist.")

    def run(session: Session, handle: Handle) -> Result:
        return action(engine, record, session, handle)

    return ddl(sql, run)
