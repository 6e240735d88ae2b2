"""SHOW, DESCRIBE, USE, EXPLAIN PLAN FOR, and statements that are refused by name."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from embedded.dremio.catalog.entities import Entity, Kind
from embedded.dremio.engine import guard, results
from embedded.dremio.engine.contracts import Handle, Result, Session, Statement, StatementKind
from embedded.dremio.engine.ddl import ddl, dotted, existing
from embedded.dremio.errors import PermissionDenied, UnsupportedOperation, ValidationError
from embedded.dremio.sql import records, statements
from embedded.dremio.types import Column, from_arrow

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

_DESCRIBE = pa.schema(
    [
        pa.field("COLUMN_NAME", pa.utf8()),
        pa.field("DATA_TYPE", pa.utf8()),
        pa.field("IS_NULLABLE", pa.utf8()),
        pa.field("NUMERIC_PRECISION", pa.int32()),
        pa.field("NUMERIC_SCALE", pa.int32()),
        pa.field("EXTENDED_PROPERTIES", pa.utf8()),
        pa.field("MASKING_POLICY", pa.utf8()),
        pa.field("SORT_ORDER_PRIORITY", pa.int32()),
    ]
)
_SCHEMAS = pa.schema([pa.field("SCHEMA_NAME", pa.utf8())])
_TABLES = pa.schema([pa.field("TABLE_SCHEMA", pa.utf8()), pa.field("TABLE_NAME", pa.utf8())])
_FUNCTIONS = pa.schema([pa.field("FUNCTION_SCHEMA", pa.utf8()), pa.field("FUNCTION_NAME", pa.utf8())])
_FUNCTION = pa.schema(
    [
        pa.field(name, pa.utf8())
        for name in ("Name", "Input", "Return", "Body", "Created At", "Last Modified At", "Owner")
    ]
)
_CREATE = pa.schema([pa.field("Path", pa.utf8()), pa.field("Sql Definition", pa.utf8())])
_PROPERTIES = pa.schema([pa.field("table_properties_name", pa.utf8()), pa.field("table_properties_value", pa.utf8())])
_PLAN = pa.schema([pa.field("text", pa.utf8()), pa.field("json", pa.utf8())])


def command(sql: str, schema: pa.Schema, make: Any) -> Statement:
    """A statement whose rows `make(session)` gives."""

    def run(session: Session, handle: Handle) -> Result:
        return results.rows(schema, make(session))

    return Statement(sql, StatementKind.COMMAND, schema, plan=run)


def refuse(engine: Engine, record: records.Refused, session: Session, sql: str) -> Statement:
    """Statements that Dremio has and this edition or server has not."""
    raise (PermissionDenied if record.permission else UnsupportedOperation)(record.message)


def explain(engine: Engine, record: records.Explain, session: Session, sql: str) -> Statement:
    """EXPLAIN PLAN FOR: validates the statement; the plan shown is the translated text and DuckDB's plan."""
    inner = statements.parse(record.sql)
    if not isinstance(inner, records.Query):
        engine.prepare(record.sql, session)

        def no_plan(session: Session) -> list[dict[str, Any]]:
            return [{"text": record.sql, "json": "{}"}]

        return command(sql, _PLAN, no_plan)
    bound = engine.bind(record.sql, session, reflections=engine.reflections)

    def plan(session: Session) -> list[dict[str, Any]]:
        with engine.duck.cursor() as cursor:
            engine.register(cursor, bound.registered, bound.user)
            shown = cursor.execute(f"EXPLAIN {bound.sql}").fetchall()
        return [{"text": "\n".join(str(row[1]) for row in shown), "json": "{}"}]

    return command(sql, _PLAN, plan)


def use(engine: Engine, record: records.Use, session: Session, sql: str) -> Statement:
    """USE path: changes the session's context."""
    path = record.path
    if path == ("@home",):
        path = (f"@{session.user}",)
    if len(path) == 1 and "." in path[0] and engine.catalog.find(path) is None:
        path = tuple(path[0].split("."))
    entity = engine.catalog.find(path)
    system = path[0].lower() in ("sys", "information_schema") and len(path) == 1
    in_source = engine.catalog.source_of(path) is not None
    if not system and not in_source and (entity is None or not entity.is_container):
        raise ValidationError(
            f"Schema [{dotted(path)}] is not valid with respect to either root schema or current default schema."
        )

    def run(session: Session, handle: Handle) -> Result:
        session.context = path
        return results.summary(f"Default schema changed to [{dotted(path)}]")

    return ddl(sql, run)


def describe(engine: Engine, record: records.Describe, session: Session, sql: str) -> Statement:
    """DESCRIBE table, view or FUNCTION."""
    path = record.path
    if record.function:
        return _describe_function(engine, path, session, sql)
    if path[0].lower() in ("sys", "information_schema"):
        provider = engine.system_tables.find([p.lower() for p in path])
        columns = [Column(f.name, from_arrow(f)) for f in provider.schema]
    else:
        entity = _seen(engine, path, session)
        if entity is None or not entity.is_dataset:
            raise ValidationError(f"Unknown table [{dotted(path)}]")
        columns = entity.columns
    return command(sql, _DESCRIBE, lambda _: [_described(column) for column in columns])


def _seen(engine: Engine, path: tuple[str, ...], session: Session) -> Entity | None:
    """The object of that name, unless it is hidden from the user."""
    entity = existing(engine, path, session)
    return entity if entity is not None and guard.sees(engine, session.user, entity) else None


def _describe_function(engine: Engine, path: tuple[str, ...], session: Session, sql: str) -> Statement:
    entity = _seen(engine, path, session)
    if entity is None or entity.kind != Kind.FUNCTION:
        raise ValidationError(f"Unknown function [{dotted(path)}]")
    body = entity.body
    row = {
        "Name": entity.dotted,
        "Input": ", ".join(f"{p['name']} {p['type']}" for p in body["functionArgList"]),
        "Return": body["returnType"],
        "Body": body["functionBody"],
        "Created At": str(entity.created_at),
        "Last Modified At": str(entity.created_at),
        "Owner": None,
    }
    return command(sql, _FUNCTION, lambda _: [row])


def _described(column: Column) -> dict[str, Any]:
    from embedded.dremio.engine.system import _NUMBERS

    kind = column.type
    precision, _, scale = _NUMBERS.get(kind.name, (None, None, None))
    if kind.name == "DECIMAL":
        precision, scale = kind.precision, kind.scale
    return {
        "COLUMN_NAME": column.name,
        "DATA_TYPE": kind.information_schema_name,
        "IS_NULLABLE": "YES",
        "NUMERIC_PRECISION": precision,
        "NUMERIC_SCALE": scale,
        "EXTENDED_PROPERTIES": "[]",
        "MASKING_POLICY": "[]",
        "SORT_ORDER_PRIORITY": None,
    }


def matches(pattern: str | None, name: str) -> bool:
    """SQL's LIKE on a name, any case."""
    if pattern is None:
        return True
    glob = "".join({"%": "*", "_": "?"}.get(c, f"[{c}]" if c in "*?[" else c) for c in pattern.lower())
    return fnmatchcase(name.lower(), glob)


def show(engine: Engine, record: records.Show, session: Session, sql: str) -> Statement:
    """SHOW SCHEMAS, TABLES, VIEWS, CREATE VIEW, CREATE TABLE, TBLPROPERTIES."""
    if record.what == "SCHEMAS":
        return command(
            sql,
            _SCHEMAS,
            lambda s: [{"SCHEMA_NAME": n} for n in _shown_schemas(engine, s) if matches(record.like, n)],
        )
    if record.what == "FUNCTIONS":
        return command(sql, _FUNCTIONS, lambda s: _shown_functions(engine, record, s))
    if record.what in ("TABLES", "VIEWS"):
        return command(sql, _TABLES, lambda s: _shown_tables(engine, record, s))
    entity = _seen(engine, record.path, session)
    if record.what == "TBLPROPERTIES":
        if entity is None or "lake" not in entity.internals:
            raise ValidationError(f"Unknown table [{dotted(record.path)}]")
        properties = entity.internals.get("properties") or {}
        return command(
            sql,
            _PROPERTIES,
            lambda _: [{"table_properties_name": k, "table_properties_value": v} for k, v in properties.items()],
        )
    kind = Kind.VIEW if record.kind == "VIEW" else Kind.TABLE
    if entity is None or entity.kind != kind:
        raise ValidationError(f"Unknown {record.kind.lower()} [{dotted(record.path)}]")
    shown = entity.body["sql"] if kind == Kind.VIEW else _table_definition(entity)
    return command(sql, _CREATE, lambda _: [{"Path": f"[{dotted(entity.path)}]", "Sql Definition": shown}])


def _shown_schemas(engine: Engine, session: Session) -> list[str]:
    rows: list[dict[str, Any]] = [{"SCHEMA_NAME": name} for name in engine.system_tables.schemas()]
    return [
        row["SCHEMA_NAME"]
        for row in engine.system_tables.visible(["information_schema", "schemata"], rows, session.user)
    ]


def _table_definition(entity: Any) -> str:
    path = ".".join(f'"{part}"' for part in entity.path)
    columns = ",\n".join(f'  "{c.name}" {c.type.sql}' for c in entity.columns)
    return f"CREATE TABLE {path} (\n{columns}\n)"


def _shown_functions(engine: Engine, record: records.Show, session: Session) -> list[dict[str, Any]]:
    wanted = tuple(p.lower() for p in (record.path or session.context))
    return [
        {"FUNCTION_SCHEMA": dotted(entity.path[:-1]), "FUNCTION_NAME": entity.name}
        for entity in engine.catalog.entities()
        if entity.kind == Kind.FUNCTION
        and guard.sees(engine, session.user, entity)
        and (not wanted or entity.key[: len(wanted)] == wanted)
        and matches(record.like, entity.name)
    ]


def _shown_tables(engine: Engine, record: records.Show, session: Session) -> list[dict[str, Any]]:
    wanted = tuple(p.lower() for p in (record.path or session.context))
    found = []
    known = not wanted or wanted[0] in ("sys", "information_schema") or engine.catalog.find(wanted) is not None
    if not known and engine.catalog.source_of(wanted) is None:
        raise ValidationError(f"Invalid FROM/IN clause [{dotted(record.path)}]")
    for entity in engine.system_tables.datasets():
        if not guard.sees(engine, session.user, entity):
            continue
        is_view = entity.kind == Kind.VIEW
        if record.what == "VIEWS" and not is_view:
            continue
        if (not wanted or entity.key[:-1] == wanted) and matches(record.like, entity.name):
            found.append({"TABLE_SCHEMA": dotted(entity.path[:-1]), "TABLE_NAME": entity.name})
    for schema, table, _ in engine.system_tables.names():
        if record.what == "TABLES" and (not wanted or wanted == (schema.lower(),)) and matches(record.like, table):
            found.append({"TABLE_SCHEMA": schema, "TABLE_NAME": table})
    return found
