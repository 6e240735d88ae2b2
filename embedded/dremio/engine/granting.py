"""GRANT, REVOKE, roles and users in the enterprise edition; the community edition refuses them by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from embedded.dremio.access.control import AccessControl
from embedded.dremio.access.grants import GrantedPrivilege, object_name
from embedded.dremio.access.privileges import OBJECT_TYPES, OWNERSHIP, granted_by, type_of
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine import results
from embedded.dremio.engine.commands import refuse
from embedded.dremio.engine.contracts import Handle, Result, Session, Statement
from embedded.dremio.engine.ddl import ddl, dotted, existing
from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql.statements_access import Grant, GrantRole, Principal

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

Target = tuple[tuple[str, ...], str]  # path and object_type


def prepare(engine: Engine, record: Any, session: Session, sql: str) -> Statement:
    """One of the statements: checked now, done when it runs."""
    access = engine.access
    if access is None:
        return refuse(engine, record, session, sql)
    act = _ACTS[type(record)]

    def run(session: Session, handle: Handle) -> Result:
        return results.summary(act(engine, access, record, session))

    _check(engine, access, record, session)
    return ddl(sql, run)


def _check(engine: Engine, access: AccessControl, record: Any, session: Session) -> None:
    if not isinstance(record, Grant):
        access.require_admin(session.user, record.message.split(" is not supported")[0])
        return
    if OWNERSHIP in record.privileges and (record.revoke or len(record.privileges) > 1):
        raise ValidationError("OWNERSHIP is granted alone, and moves with GRANT OWNERSHIP only.")
    for path, object_type in _targets(engine, record, session):
        if OWNERSHIP in record.privileges:
            access.require_owner(session.user, path, "GRANT OWNERSHIP")
        else:
            access.require_grant(session.user, path)
        for word in record.privileges:
            if not granted_by(word, object_type):
                raise UnsupportedOperation(f"Privilege {word} on {record.kind} is not supported.")
    access.grants.grantee(record.grantee_kind, record.grantee)


def _targets(engine: Engine, record: Grant, session: Session) -> list[Target]:
    """The objects of a GRANT: one, or every dataset that a container has now."""
    wanted = OBJECT_TYPES[record.kind]
    if wanted == "SYSTEM":
        return [((), wanted)]
    if wanted in ("PDS", "VDS", "FUNCTION"):
        entity = existing(engine, record.path, session)
        if entity is None or type_of(entity) != wanted:
            raise ValidationError(f"{record.kind.capitalize()} [{dotted(record.path)}] not found.")
        return [(entity.path, wanted)]
    path = _container(engine, record, session, wanted)
    if not record.all_datasets:
        return [(path, wanted)]
    key = tuple(part.lower() for part in path)
    return [(e.path, type_of(e)) for e in engine.catalog.entities() if e.is_dataset and e.key[: len(key)] == key]


def _container(engine: Engine, record: Grant, session: Session, wanted: str) -> tuple[str, ...]:
    for path in ((*session.context, *record.path), record.path):
        found: Entity | None = engine.catalog.find(path)
        if found is not None and found.is_container and type_of(found) == wanted:
            return found.path
        if found is None and wanted == "FOLDER" and len(path) > 1 and engine.catalog.source_of(path) is not None:
            return path
        if found is not None and found.is_container and record.kind == "SCHEMA":
            raise UnsupportedOperation(f"[{dotted(path)}] is a {type_of(found).lower()}: write ON {type_of(found)}.")
    raise ValidationError(f"{record.kind.capitalize()} [{dotted(record.path)}] not found.")


def _grant(engine: Engine, access: AccessControl, record: Grant, session: Session) -> str:
    grants = access.grants
    grantee = grants.grantee(record.grantee_kind, record.grantee)
    targets = _targets(engine, record, session)
    listed = ", ".join(record.privileges)
    shown = dotted(record.path) or "SYSTEM"
    if OWNERSHIP in record.privileges:
        for path, _ in targets:
            grants.set_owner(object_name(engine.catalog, path), grantee)
        return f"Ownership of [{shown}] granted to {grantee.kind.lower()} [{grantee.name}]."
    chosen = [
        GrantedPrivilege(object_name(engine.catalog, path), object_type, privilege, grantee)
        for path, object_type in targets
        for word in record.privileges
        for privilege in granted_by(word, object_type)
    ]
    (grants.revoke if record.revoke else grants.grant)(chosen)
    done = "revoked from" if record.revoke else "granted to"
    return f"{listed} on [{shown}] {done} {grantee.kind.lower()} [{grantee.name}]."


def _grant_role(engine: Engine, access: AccessControl, record: GrantRole, session: Session) -> str:
    grants = access.grants
    role, grantee = grants.grantee("ROLE", record.role), grants.grantee(record.grantee_kind, record.grantee)
    grants.set_member(role, grantee, not record.revoke)
    done = "revoked from" if record.revoke else "granted to"
    return f"Role [{role.name}] {done} {grantee.kind.lower()} [{grantee.name}]."


def _principal(engine: Engine, access: AccessControl, record: Principal, session: Session) -> str:
    grants, accounts, name = access.grants, access.accounts, record.name
    shown = f"{record.kind.capitalize()} [{name}]"
    if record.kind == "ROLE" and record.verb == "CREATE":
        grants.create_role(name, session.user)
        return f"{shown} created."
    if record.kind == "USER" and record.verb == "CREATE":
        accounts.create(name)
        engine.catalog.ensure_home(name)
        grants.users_changed()
        return f"{shown} created."
    known = grants.grantee(record.kind, name)
    if record.kind == "USER" and record.verb == "ALTER":
        accounts.set_password(known.name, record.password)
        return f"{shown} altered."
    if record.verb != "DROP":
        raise UnsupportedOperation(f"{record.verb} {record.kind} is not supported.")
    if known.name == session.user and record.kind == "USER":
        raise ValidationError("A user cannot drop itself.")
    grants.forget(known)
    if record.kind == "USER":
        accounts.drop(known.name)
        grants.users_changed()
    return f"{shown} dropped."


_ACTS: dict[type, Callable[[Engine, AccessControl, Any, Session], str]] = {
    Grant: _grant,
    GrantRole: _grant_role,
    Principal: _principal,
}
