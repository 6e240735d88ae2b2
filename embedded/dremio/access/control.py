"""The checks: may this user do that to this object, and may it see the object at all."""

from __future__ import annotations

from typing import Protocol

from embedded.dremio.access.grants import ADMIN, SYSTEM, Grantee, Grants, object_name
from embedded.dremio.access.privileges import MANAGE_GRANTS
from embedded.dremio.catalog import Catalog, Entity
from embedded.dremio.errors import PermissionDenied


class Accounts(Protocol):
    """What the statements of users need of the store of accounts."""

    def create(self, name: str) -> None: ...

    def set_password(self, name: str, password: str | None) -> None: ...

    def drop(self, name: str) -> None: ...


class AccessControl:
    """Answers from memory; asked for every object of every statement."""

    def __init__(self, grants: Grants, catalog: Catalog, accounts: Accounts) -> None:
        self.grants = grants
        self.catalog = catalog
        self.accounts = accounts

    def is_admin(self, user: str) -> bool:
        """True for a user that may do everything."""
        return self.grants.is_admin(Grantee("USER", user))

    def identity(self, user: str) -> Grantee:
        """The user as a grantee."""
        return Grantee("USER", user)

    def roles_of(self, user: str) -> frozenset[str]:
        """Names of all roles of a user, in lower case."""
        return frozenset(one.name.lower() for one in self.grants.identities(user) if one.kind == "ROLE")

    def owner(self, path: tuple[str, ...]) -> Grantee:
        """The owner of the object at a path: with whose privileges a view or function reads."""
        return self.grants.owner(object_name(self.catalog, path)) or Grantee("ROLE", ADMIN)

    def may(self, who: Grantee, privilege: str, path: tuple[str, ...]) -> bool:
        """True when the privilege on the object, or on what it lies in, is granted, or the object is its own.

        Ownership is of the one object: who owns a folder does not own what others put there.
        """
        if self.grants.is_admin(who) or _in_home(who, path):
            return True
        identities = self.grants.identities_of(who)
        if path and self.owner(path) in identities:
            return True
        names = {object_name(self.catalog, path[:depth]) for depth in range(len(path) + 1)}
        return any(
            g.privilege == privilege and g.object_name in names and g.grantee in identities for g in self.grants.all()
        )

    def require(self, who: Grantee, privilege: str, path: tuple[str, ...], what: str = "") -> None:
        """Raise PermissionDenied unless `may`."""
        if not self.may(who, privilege, path):
            shown = what or (f"[{'.'.join(path)}]" if path else "the system")
            name = f"{who.kind.capitalize()} [{who.name}]" if who.name else "The owner, who is no more,"
            raise PermissionDenied(f"{name} has no privilege {privilege} on {shown}.")

    def require_owner(self, user: str, path: tuple[str, ...], what: str) -> None:
        """Raise PermissionDenied unless the object is the user's, or it is an administrator."""
        who = self.identity(user)
        if self.grants.is_admin(who) or _in_home(who, path) or self.owner(path) in self.grants.identities_of(who):
            return
        raise PermissionDenied(f"{what} needs the ownership of [{'.'.join(path)}], or an administrator.")

    def require_admin(self, user: str, what: str) -> None:
        """Raise PermissionDenied unless an administrator asks."""
        if not self.is_admin(user):
            raise PermissionDenied(f"{what} is for administrators.")

    def require_grant(self, user: str, path: tuple[str, ...]) -> None:
        """Raise PermissionDenied unless the user may grant and revoke privileges on the object."""
        self.require(self.identity(user), MANAGE_GRANTS, path)

    def sees(self, user: str, entity: Entity) -> bool:
        """True when the user has any privilege on the object, or on what it lies in."""
        who = self.identity(user)
        if self.grants.is_admin(who) or _in_home(who, entity.path):
            return True
        identities = self.grants.identities_of(who)
        path = entity.path
        names = {object_name(self.catalog, path[:depth]) for depth in range(1, len(path) + 1)} | {SYSTEM}
        return self.owner(path) in identities or any(
            g.object_name in names and g.grantee in identities for g in self.grants.all()
        )


def _in_home(who: Grantee, path: tuple[str, ...]) -> bool:
    """A home and everything in it is its user's."""
    return who.kind == "USER" and bool(path) and path[0].lower() == f"@{who.name}".lower()
