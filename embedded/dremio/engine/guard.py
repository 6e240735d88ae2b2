"""What each statement needs in the enterprise edition, asked before it is prepared.

Reading is checked where names are resolved (`Resolver`), writing where the target is found (`ddl.target_table`);
this is the rest. Where Dremio's documentation leaves open what a statement needs, its owner or an administrator may
run it, nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from embedded.dremio.access.control import AccessControl
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine.contracts import Session
from embedded.dremio.sql import records

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

# what the writing statements need on their table
_WRITES = {
    "INSERT": ("INSERT",),
    "UPDATE": ("SELECT", "UPDATE"),
    "DELETE": ("SELECT", "DELETE"),
    "MERGE": ("SELECT", "INSERT", "UPDATE"),
    "COPY INTO": ("INSERT",),
    "TRUNCATE TABLE": ("TRUNCATE",),
}
_REFLECTION_ACTIONS = (
    "CREATE REFLECTION",
    "DROP REFLECTION",
    "REFRESH REFLECTIONS",
    "ACCELERATION",
    "DEFAULT REFLECTION",
)


def check(engine: Engine, record: Any, session: Session) -> None:
    """Raise PermissionDenied when the user may not run the statement."""
    if engine.access is None:
        return
    rule = _RULES.get(type(record))
    if rule is not None:
        rule(engine, engine.access, record, session)


def may_write(engine: Engine, entity: Entity, session: Session, word: str) -> None:
    """Raise PermissionDenied when the user may not run INSERT, UPDATE .. (`word`) on a table."""
    access = engine.access
    if access is None:
        return
    needed = _WRITES.get(word)
    if needed is None:
        access.require_owner(session.user, entity.path, word)
        return
    for privilege in needed:
        access.require(access.identity(session.user), privilege, entity.path)


def may_execute(engine: Engine, function: Entity, session: Session) -> None:
    """Raise PermissionDenied when the user may not call a function."""
    if engine.access is not None:
        engine.access.require(engine.access.identity(session.user), "EXECUTE", function.path)


def sees(engine: Engine, user: str, entity: Entity) -> bool:
    """True when SHOW, DESCRIBE and INFORMATION_SCHEMA show the object to the user."""
    return engine.access is None or engine.access.sees(user, entity)


def made(engine: Engine, record: Any, session: Session) -> Callable[[], None]:
    """What is to be done once the statement has run: who makes an object, or a view's new query, owns it."""
    kinds = (records.CreateTable, records.CreateView, records.CreateFolder, records.CreateFunction)
    access = engine.access
    if access is None or not isinstance(record, kinds):
        return lambda: None
    path = _place(engine, record.path, session)
    before = engine.catalog.find(path)

    def own() -> None:
        after = engine.catalog.find(path)
        if after is not None and (before is None or before.id != after.id or before.tag != after.tag):
            access.grants.set_owner(after.id, access.identity(session.user))

    return own


def _place(engine: Engine, path: tuple[str, ...], session: Session) -> tuple[str, ...]:
    from embedded.dremio.engine.ddl import full_path

    return full_path(engine, path, session)


def _create_table(engine: Engine, access: AccessControl, record: records.CreateTable, session: Session) -> None:
    path = _place(engine, record.path, session)
    access.require(access.identity(session.user), "CREATE TABLE", path[:-1])


def _create_definition(
    engine: Engine, access: AccessControl, record: records.CreateView | records.CreateFunction, session: Session
) -> None:
    """ALTER lets add, delete and modify definitions: on the object that is replaced, or where a new one goes."""
    path = _place(engine, record.path, session)
    access.require(access.identity(session.user), "ALTER", path if engine.catalog.find(path) else path[:-1])


def _create_folder(engine: Engine, access: AccessControl, record: records.CreateFolder, session: Session) -> None:
    path = _place(engine, record.path, session)
    access.require(access.identity(session.user), "ALTER", path[:-1])


def _drop(engine: Engine, access: AccessControl, record: records.Drop, session: Session) -> None:
    from embedded.dremio.engine.ddl import existing

    who = access.identity(session.user)
    if record.kind == "FOLDER":
        path = _place(engine, record.path, session)
        folder = engine.catalog.find(path) or engine.catalog.find(record.path)
        if folder is None:
            return
        for entity in engine.catalog.entities():
            if entity.key[: len(folder.key)] == folder.key:
                access.require(who, "DROP", entity.path)
        return
    places = [existing(engine, record.path, session), engine.catalog.find(_place(engine, record.path, session))]
    for entity in filter(None, places):
        if record.kind != "TABLE" and access.may(who, "ALTER", entity.path):
            continue
        access.require(who, "DROP", entity.path)


def _alter(engine: Engine, access: AccessControl, record: records.AlterTable, session: Session) -> None:
    from embedded.dremio.engine.ddl import existing

    who = access.identity(session.user)
    privilege = "ALTER REFLECTION" if record.action in _REFLECTION_ACTIONS else "ALTER"
    entity = existing(engine, record.path, session)
    paths = [entity.path] if entity is not None else [record.path, _place(engine, record.path, session)]
    for path in paths:
        access.require(who, privilege, path)


def _copy(engine: Engine, access: AccessControl, record: records.CopyInto, session: Session) -> None:
    """The files are read: that needs SELECT on the folder, as a table of it would."""
    path = tuple(part.strip('"') for part in record.location.removeprefix("@").split("/") if part)
    access.require(access.identity(session.user), "SELECT", path)


def _analyze(engine: Engine, access: AccessControl, record: records.Analyze, session: Session) -> None:
    from embedded.dremio.engine.ddl import table

    access.require_owner(session.user, table(engine, record.path, session).path, "ANALYZE TABLE")


_RULES: dict[type, Callable[[Engine, AccessControl, Any, Session], None]] = {
    records.CreateTable: _create_table,
    records.CreateView: _create_definition,
    records.CreateFunction: _create_definition,
    records.CreateFolder: _create_folder,
    records.Drop: _drop,
    records.AlterTable: _alter,
    records.CopyInto: _copy,
    records.Analyze: _analyze,
}
