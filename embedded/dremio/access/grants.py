"""Roles, their members, grants and owners, kept in the PostgreSQL schema ``auth`` and read into memory after a change.

A grant names an object by its entity's id, so that it ends with the object and follows a rename; a folder of a source,
which is no entity, by its path. The empty name stands for the whole system.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, field

from psycopg_pool import ConnectionPool

from embedded.dremio.catalog import Catalog
from embedded.dremio.errors import ConcurrentModification, ValidationError

ADMIN, PUBLIC = "ADMIN", "PUBLIC"
SYSTEM = ""

_DDL = """
CREATE SCHEMA IF NOT EXISTS auth;
CREATE TABLE IF NOT EXISTS auth.role (
    role_name text PRIMARY KEY, role_id text NOT NULL UNIQUE DEFAULT gen_random_uuid()::text,
    created_by text NOT NULL DEFAULT '', created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS auth.member (
    role_name text NOT NULL REFERENCES auth.role ON DELETE CASCADE, member_type text NOT NULL,
    member_name text NOT NULL, PRIMARY KEY (role_name, member_type, member_name));
CREATE TABLE IF NOT EXISTS auth.granted (
    object_name text NOT NULL, object_type text NOT NULL, privilege text NOT NULL, grantee_type text NOT NULL,
    grantee_name text NOT NULL, PRIMARY KEY (object_name, privilege, grantee_type, grantee_name));
CREATE TABLE IF NOT EXISTS auth.owner (
    object_name text PRIMARY KEY, owner_type text NOT NULL, owner_name text NOT NULL);
INSERT INTO auth.role (role_name) VALUES ('ADMIN'), ('PUBLIC') ON CONFLICT DO NOTHING;
"""


@dataclass(frozen=True)
class Grantee:
    """A user or a role."""

    kind: str  # USER | ROLE
    name: str


@dataclass(frozen=True)
class GrantedPrivilege:
    """One privilege of one grantee on one object (an entity's id, a dotted path, or the empty name)."""

    object_name: str
    object_type: str
    privilege: str
    grantee: Grantee


@dataclass
class _Memory:
    """What the tables hold."""

    grants: frozenset[GrantedPrivilege] = frozenset()
    owners: dict[str, Grantee] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)  # name -> id
    members: set[tuple[str, Grantee]] = field(default_factory=set)
    admins: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)


class Grants:
    """The store. Thread safe: a change replaces what is in memory as a whole."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._memory = _Memory()
        self.version = 0
        self.change(_DDL)

    def change(self, *statements: str, parameters: list[str] | None = None) -> None:
        """Run statements in one transaction and read everything again."""
        with self._lock:
            with self._pool.connection() as connection:
                for statement in statements:
                    connection.execute(statement.encode(), parameters)
            self._memory = self._read()
            self.version += 1

    def _read(self) -> _Memory:
        with self._pool.connection() as connection:
            grants = connection.execute(
                "SELECT object_name, object_type, privilege, grantee_type, grantee_name FROM auth.granted"
            ).fetchall()
            owners = connection.execute("SELECT object_name, owner_type, owner_name FROM auth.owner").fetchall()
            roles = connection.execute("SELECT role_name, role_id FROM auth.role").fetchall()
            members = connection.execute("SELECT role_name, member_type, member_name FROM auth.member").fetchall()
            users = connection.execute("SELECT user_name, is_admin FROM auth.account").fetchall()
        return _Memory(
            frozenset(GrantedPrivilege(o, t, p, Grantee(k, n)) for o, t, p, k, n in grants),
            {name: Grantee(kind, owner) for name, kind, owner in owners},
            dict(roles),
            {(role, Grantee(kind, name)) for role, kind, name in members},
            {name for name, is_admin in users if is_admin},
            {name for name, _ in users},
        )

    # -- users and roles -------------------------------------------------------------------------------------

    def users_changed(self) -> None:
        """Read again after a change of the accounts."""
        self.change()

    def grantee(self, kind: str, name: str) -> Grantee:
        """The user or role of that name in any case; raises ValidationError."""
        known = self._memory.users if kind == "USER" else self._memory.roles
        for candidate in known:
            if candidate.lower() == name.lower():
                return Grantee(kind, candidate)
        raise ValidationError(f"{kind.capitalize()} [{name}] not found.")

    def create_role(self, name: str, creator: str) -> None:
        """A new role; raises ConcurrentModification."""
        if any(name.lower() == known.lower() for known in self._memory.roles):
            raise ConcurrentModification(f"Role [{name}] already exists.")
        self.change("INSERT INTO auth.role (role_name, created_by) VALUES (%s, %s)", parameters=[name, creator])

    def forget(self, grantee: Grantee) -> None:
        """Remove what a user or role has, and the role itself."""
        if grantee.kind == "ROLE" and grantee.name in (ADMIN, PUBLIC):
            raise ValidationError(f"Role [{grantee.name}] cannot be dropped.")
        pair = [grantee.kind, grantee.name]
        with self._pool.connection() as connection:
            connection.execute("DELETE FROM auth.granted WHERE grantee_type = %s AND grantee_name = %s", pair)
            connection.execute("DELETE FROM auth.member WHERE member_type = %s AND member_name = %s", pair)
            # what nobody owns has no privileges to read with: it must not become the administrators'
            connection.execute("UPDATE auth.owner SET owner_name = '' WHERE owner_type = %s AND owner_name = %s", pair)
            if grantee.kind == "ROLE":
                connection.execute("DELETE FROM auth.role WHERE role_name = %s", [grantee.name])
        self.change()

    def set_member(self, role: Grantee, member: Grantee, is_member: bool) -> None:
        """Put a user or role into a role, or take it out; raises ValidationError for a circle."""
        if role.name == PUBLIC:
            raise ValidationError("Every user is a member of the role [PUBLIC].")
        if is_member and member.kind == "ROLE" and (member == role or member in self._roles_of(role)):
            raise ValidationError(f"Role [{member.name}] cannot be a member of itself.")
        parameters = [role.name, member.kind, member.name]
        if is_member:
            self.change("INSERT INTO auth.member VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", parameters=parameters)
        else:
            self.change(
                "DELETE FROM auth.member WHERE role_name = %s AND member_type = %s AND member_name = %s",
                parameters=parameters,
            )

    def _roles_of(self, member: Grantee) -> set[Grantee]:
        """The roles of a user or role, direct and through roles."""
        memory, found, todo = self._memory, set[Grantee](), [member]
        while todo:
            one = todo.pop()
            for role, known in memory.members:
                holder = Grantee("ROLE", role)
                if known == one and holder not in found:
                    found.add(holder)
                    todo.append(holder)
        return found

    def identities(self, user: str) -> set[Grantee]:
        """The user and every role that it has."""
        one = Grantee("USER", user)
        return {one, Grantee("ROLE", PUBLIC), *self._roles_of(one), *self._roles_of(Grantee("ROLE", PUBLIC))}

    def is_admin(self, identity: Grantee) -> bool:
        """True for administrators and members of the role ADMIN."""
        if identity.kind == "USER":
            return identity.name in self._memory.admins or Grantee("ROLE", ADMIN) in self.identities(identity.name)
        return identity.name == ADMIN or Grantee("ROLE", ADMIN) in self._roles_of(identity)

    def identities_of(self, identity: Grantee) -> set[Grantee]:
        """As `identities`, for a role too."""
        return self.identities(identity.name) if identity.kind == "USER" else {identity, *self._roles_of(identity)}

    def roles(self) -> dict[str, str]:
        """Names of roles, and their ids."""
        return dict(self._memory.roles)

    def accounts(self) -> list[tuple[str, str, dt.datetime]]:
        """Id, name and time of creation of every user, by name."""
        query = "SELECT user_id, user_name, created_at FROM auth.account ORDER BY user_name"
        with self._pool.connection() as connection:
            return list(connection.execute(query).fetchall())

    def creators(self) -> dict[str, str]:
        """The names of roles, and of the users that made them; those that were always there have none."""
        with self._pool.connection() as connection:
            return dict(connection.execute("SELECT role_name, created_by FROM auth.role").fetchall())

    def members(self) -> set[tuple[str, Grantee]]:
        """All pairs of role and member."""
        return set(self._memory.members)

    # -- grants and owners -----------------------------------------------------------------------------------

    def all(self) -> frozenset[GrantedPrivilege]:
        """Every grant."""
        return self._memory.grants

    def owner(self, object_name: str) -> Grantee | None:
        """The owner of an object; None when it belongs to the administrators."""
        return self._memory.owners.get(object_name)

    def set_owner(self, object_name: str, owner: Grantee) -> None:
        """Make a user or role the owner of an object."""
        self.change(
            "INSERT INTO auth.owner VALUES (%s, %s, %s) ON CONFLICT (object_name)"
            " DO UPDATE SET owner_type = excluded.owner_type, owner_name = excluded.owner_name",
            parameters=[object_name, owner.kind, owner.name],
        )

    def grant(self, granted: list[GrantedPrivilege]) -> None:
        """Add grants, all or none."""
        with self._pool.connection() as connection:
            for one in granted:
                connection.execute(
                    "INSERT INTO auth.granted VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    [one.object_name, one.object_type, one.privilege, one.grantee.kind, one.grantee.name],
                )
        self.change()

    def revoke(self, granted: list[GrantedPrivilege]) -> None:
        """Remove grants, all or none; one that is not there is no error."""
        with self._pool.connection() as connection:
            for one in granted:
                connection.execute(
                    "DELETE FROM auth.granted WHERE object_name = %s AND privilege = %s"
                    " AND grantee_type = %s AND grantee_name = %s",
                    [one.object_name, one.privilege, one.grantee.kind, one.grantee.name],
                )
        self.change()


def object_name(catalog: Catalog, path: tuple[str, ...]) -> str:
    """How grants name the object at a path."""
    if not path:
        return SYSTEM
    entity = catalog.find(path)
    return entity.id if entity is not None else "path:" + "/".join(part.lower().replace("/", "//") for part in path)
