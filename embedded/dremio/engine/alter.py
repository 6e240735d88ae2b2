"""The actions of ALTER TABLE, VIEW and DATASET."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from embedded.dremio.catalog.entities import Entity, Kind
from embedded.dremio.engine import lake, results
from embedded.dremio.engine.contracts import Handle, ReflectionStore, Result, Session
from embedded.dremio.engine.tables import physical_of
from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql.kinds import duckdb_type, quoted
from embedded.dremio.sql.records import AlterTable
from embedded.dremio.types import Column

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine


def _lake(engine: Engine, record: AlterTable, session: Session) -> tuple[Entity, str]:
    from embedded.dremio.engine.ddl import table

    entity = table(engine, record.path, session)
    lake.lake_table(entity, f"ALTER TABLE {record.action}")
    return entity, physical_of(engine.catalog, engine.duck, entity)


def _column(entity: Entity, name: str) -> Column:
    for column in entity.columns:
        if column.name.lower() == name.lower():
            return column
    raise ValidationError(f"Column [{name}] is not present in table [{entity.dotted}]")


def _add(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    from embedded.dremio.engine.ddl import storable

    entity, physical = _lake(engine, record, session)
    names = {c.name.lower() for c in entity.columns}
    for name, _ in record.columns:
        if name.lower() in names:
            raise ValidationError(f"Column [{name}] already in the table.")
        names.add(name.lower())
    added = [Column(name, storable(target.kind)) for name, target in record.columns]
    with engine.writer:
        with lake.writing(engine, handle) as cursor:
            for column in added:
                cursor.execute(f"ALTER TABLE {physical} ADD COLUMN {quoted(column.name)} {duckdb_type(column.type)}")
        engine.catalog.put(entity, columns=[*entity.columns, *added])
    return results.summary("New columns added.")


def _drop(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    entity, physical = _lake(engine, record, session)
    column = _column(entity, record.name)
    if len(entity.columns) == 1:
        raise ValidationError("Cannot drop all columns of a table")
    if any(column.name.lower() == p[0].lower() for p in entity.internals.get("partitions") or []):
        raise UnsupportedOperation(f"[{record.name}] is a partition column. Partition spec change is not supported.")
    if column.name in (entity.internals.get("primary_key") or []):
        raise ValidationError(f"[{column.name}] is a column of the primary key: DROP PRIMARY KEY first.")
    sort = [name for name in entity.internals.get("sort") or [] if name.lower() != column.name.lower()]
    with engine.writer:
        with lake.writing(engine, handle) as cursor:
            cursor.execute(f"ALTER TABLE {physical} DROP COLUMN {quoted(column.name)}")
        remaining = [c for c in entity.columns if c is not column]
        engine.catalog.put(entity, columns=remaining, internals={**entity.internals, "sort": sort})
    return results.summary(f"Column [{record.name}] dropped")


_WIDER = {("INTEGER", "BIGINT"), ("FLOAT", "DOUBLE")}


def _change(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    """ALTER/CHANGE COLUMN old new type: a new name, and a type that holds every value of the old."""
    entity, physical = _lake(engine, record, session)
    column = _column(entity, record.name)
    assert record.kind is not None
    kind = record.kind.kind
    widened = kind != column.type
    if widened and (column.type.name, kind.name) not in _WIDER and not _wider_decimal(column, kind):
        raise ValidationError(f"Cannot change data type of column [{column.name}] from {column.type.sql} to {kind.sql}")
    renamed = record.new_name != column.name
    taken = {c.name.lower() for c in entity.columns if c is not column}
    if record.new_name.lower() in taken:
        raise ValidationError(f"Column [{record.new_name}] already present in table [{entity.dotted}]")
    with engine.writer:
        with lake.writing(engine, handle) as cursor:
            if widened:
                cursor.execute(f"ALTER TABLE {physical} ALTER {quoted(column.name)} SET DATA TYPE {duckdb_type(kind)}")
            if renamed:
                cursor.execute(f"ALTER TABLE {physical} RENAME {quoted(column.name)} TO {quoted(record.new_name)}")
        columns = [Column(record.new_name, kind) if c is column else c for c in entity.columns]
        internals = _renamed(entity.internals, column.name, record.new_name)
        engine.catalog.put(entity, columns=columns, internals=internals)
    return results.summary(f"Column [{record.name}] modified")


def _renamed(internals: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """What is known of a table's columns by name, after one of them has a new name."""

    def name(column: str) -> str:
        return new if column.lower() == old.lower() else column

    return {
        **internals,
        "partitions": [[name(p[0]), *p[1:]] for p in internals.get("partitions") or []],
        "sort": [name(column) for column in internals.get("sort") or []],
        "primary_key": [name(column) for column in internals.get("primary_key") or []],
    }


def _primary_key(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    """ADD and DROP PRIMARY KEY: it tells what is unique, and nobody checks it."""
    entity, _ = _lake(engine, record, session)
    known = entity.internals.get("primary_key") or []
    adds = record.action == "ADD PRIMARY KEY"
    if known and adds:
        raise ValidationError(f"Table [{entity.dotted}] has a primary key already: DROP PRIMARY KEY first.")
    if not known and not adds:
        raise ValidationError("No primary key to drop")
    engine.catalog.put(entity, internals={**entity.internals, "primary_key": _distinct(entity, record.names)})
    return results.summary("Primary key added." if adds else "Primary key dropped.")


def _local_sort(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    """LOCALSORT BY: how rows are laid out in files, which changes no result."""
    entity, _ = _lake(engine, record, session)
    engine.catalog.put(entity, internals={**entity.internals, "sort": _distinct(entity, record.names)})
    return results.summary(f"Sort order on table {entity.dotted} successfully updated")


def _distinct(entity: Entity, names: list[str]) -> list[str]:
    """Columns by name, each once; raises ValidationError."""
    found = [_column(entity, name).name for name in names]
    if len(set(found)) != len(found):
        raise ValidationError(f"A column is named twice: [{', '.join(found)}]")
    return found


def _wider_decimal(column: Column, kind: object) -> bool:
    old, new = column.type, kind
    return (
        getattr(new, "name", "") == old.name == "DECIMAL"
        and getattr(new, "scale", None) == old.scale
        and getattr(new, "precision", 0) >= (old.precision or 0)
    )


def _properties(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    entity, _ = _lake(engine, record, session)
    properties = {**(entity.internals.get("properties") or {}), **record.values}
    for name in record.names:
        properties.pop(name, None)
    engine.catalog.put(entity, internals={**entity.internals, "properties": properties})
    return results.summary("Table properties updated")


def _refresh(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    """REFRESH METADATA; a folder that is no table yet is promoted, as Dremio's automatic promotion does."""
    from embedded.dremio.engine.ddl import existing, full_path

    entity = existing(engine, record.path, session)
    if entity is None:
        path = full_path(engine, record.path, session)
        raise ValidationError(f"Table [{'.'.join(path)}] does not exist: promote it first.")
    if entity.kind != Kind.TABLE:
        raise ValidationError(f"[{entity.dotted}] is a view; only a table's metadata can be refreshed.")
    changed = engine.catalog.refresh_metadata(entity.path)
    state = "refreshed" if changed or "lake" in entity.internals else "read signature reused but metadata refreshed"
    return results.summary(f"Metadata for table '{entity.dotted}' {state}.")


def _forget(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    from embedded.dremio.engine.ddl import table

    entity = table(engine, record.path, session)
    if "lake" in entity.internals:
        raise UnsupportedOperation("FORGET METADATA of a table that this server made is not supported: DROP TABLE.")
    engine.catalog.remove(entity)
    return results.summary(f"Successfully removed table '{entity.dotted}' from namespace (and/or cache).")


def _store(engine: Engine) -> ReflectionStore:
    if engine.reflections is None:
        raise UnsupportedOperation("Reflections are not available.")
    return engine.reflections


def _reflection(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    from embedded.dremio.engine.ddl import table

    entity = table(engine, record.path, session)
    store = _store(engine)
    if record.action == "CREATE REFLECTION":
        store.create(entity.id, record.definition)
        return results.summary("Layout added.")
    if record.action == "DROP REFLECTION":
        store.drop(entity.id, record.name)
        return results.summary("Reflection dropped.")
    if record.action == "REFRESH REFLECTIONS":
        store.refresh(entity.id)
        return results.summary("Reflections refreshed.")
    store.set_acceleration(entity.id, record.name == "RAW", record.flag)
    return results.summary("Acceleration enabled." if record.flag else "Acceleration disabled.")


def _default_reflection(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    from embedded.dremio.engine.ddl import table

    entity = table(engine, record.path, session)
    engine.catalog.put(entity, internals={**entity.internals, "default_reflection": record.flag}, tag=False)
    return results.summary(f"{'Enabled' if record.flag else 'Disabled'} default reflection.")


def _route(engine: Engine, record: AlterTable, session: Session, handle: Handle) -> Result:
    """Reflections are refreshed by the one queue that there is, the default one."""
    from embedded.dremio.engine.ddl import existing

    if engine.access is None:
        raise UnsupportedOperation("This command is not supported in this edition of Dremio.")
    entity = existing(engine, record.path, session)
    if entity is None or not entity.is_dataset:
        raise ValidationError(f"Table [{'.'.join(record.path)}] does not exist.")
    if record.name:
        raise ValidationError(f"Invalid queue name: this server has no queue or engine [{record.name}]")
    return results.summary(f"OK: Reflections dependent on {entity.name} will be refreshed using the default queue")


ACTIONS: dict[str, Callable[[Engine, AlterTable, Session, Handle], Result]] = {
    "ADD COLUMNS": _add,
    "DROP COLUMN": _drop,
    "CHANGE COLUMN": _change,
    "ADD PRIMARY KEY": _primary_key,
    "DROP PRIMARY KEY": _primary_key,
    "LOCALSORT BY": _local_sort,
    "SET TBLPROPERTIES": _properties,
    "UNSET TBLPROPERTIES": _properties,
    "REFRESH METADATA": _refresh,
    "FORGET METADATA": _forget,
    "CREATE REFLECTION": _reflection,
    "DROP REFLECTION": _reflection,
    "REFRESH REFLECTIONS": _reflection,
    "ACCELERATION": _reflection,
    "ROUTE REFLECTIONS": _route,
    "DEFAULT REFLECTION": _default_reflection,
}
