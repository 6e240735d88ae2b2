"""Roles, their members and their privileges as declared state. Dremio Enterprise and Cloud alone have them.

Dremio keeps them in `sys.roles`, `sys.membership` and `sys.privileges`, which an administrator reads. A privilege is
known by its grantee, its object's dotted path and its word; GRANT and REVOKE may be repeated, CREATE ROLE may not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from lakehouse.dremio.exceptions import DremioError, DremioJobError
from lakehouse.dremio.hook import DremioHook
from lakehouse.dremio.quoting import quoted
from lakehouse.ops.declarations import Declared

Account = Annotated[str, StringConstraints(min_length=1, pattern=r'^[^"\n]+$')]
Privilege = Annotated[str, StringConstraints(pattern=r"^[A-Z]+( [A-Z]+)*$")]
_KINDS = ("SYSTEM", "SOURCE", "SPACE", "FOLDER", "TABLE", "VIEW", "FUNCTION")
_WORDS = {"PDS": "TABLE", "VDS": "VIEW", "PROJECT": "SYSTEM"}  # object_type of sys.privileges -> the word of REVOKE


class Grant(Declared):
    """Privileges on one object.

    :ivar on: kind and dotted path, `SPACE gold`, `TABLE datalake.bronze.postgres.orders`; or `SYSTEM` alone.
    :ivar privileges: Dremio's words, each by itself: `SELECT`, `ALTER REFLECTION`. Not `ALL`: what that stands for
        differs by kind and release, so it cannot be compared.
    """

    on: str
    privileges: list[Privilege] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "Grant":
        kind, _, path = self.on.partition(" ")
        if kind not in _KINDS or bool(path.strip()) == (kind == "SYSTEM") or '"' in path:
            raise ValueError(
                f"on: {self.on!r} must be one of {', '.join(_KINDS)}, then a dotted path (SYSTEM has none)"
            )
        if {"ALL", "OWNERSHIP"} & set(self.privileges):
            raise ValueError(f"on {self.on}: name the privileges one by one; ALL and OWNERSHIP cannot be declared")
        return self

    @property
    def path(self) -> str:
        """The object's dotted path; empty for SYSTEM."""
        return self.on.partition(" ")[2].strip()

    @property
    def target(self) -> str:
        """The object as GRANT names it."""
        kind = self.on.partition(" ")[0]
        return f"{kind} {quoted(self.path.split('.'))}" if self.path else kind


class Role(Declared):
    """A role, who is in it, and what it may do.

    :ivar users: users that are members; they must exist.
    :ivar roles: roles that are members, and so have its privileges.
    :ivar exclusive: take away members and privileges that are not declared; otherwise they are left.
    """

    name: Account
    users: list[Account] = Field(default_factory=list)
    roles: list[Account] = Field(default_factory=list)
    grants: list[Grant] = Field(default_factory=list)
    exclusive: bool = False


@dataclass(frozen=True)
class RoleChange:
    """One statement that is missing, and what it does in words."""

    sql: str
    text: str

    def __str__(self) -> str:
        return self.text


def plan_roles(hook: DremioHook, roles: Sequence[Role]) -> list[RoleChange]:
    """The statements that make the server's roles as declared; reads only.

    :raises DremioError: the server has no roles (Community Edition), or the user may not read them.
    """
    if not roles:
        return []
    try:
        names = {str(row["role_name"]).lower() for row in hook.query("SELECT role_name FROM sys.roles")}
        members = hook.query("SELECT role_name, member_name, member_type FROM sys.membership")
        privileges = hook.query(
            "SELECT grantee_id, grantee_type, privilege, object_id, object_type FROM sys.privileges"
        )
    except DremioJobError as error:
        raise DremioError(
            f"Roles are declared, and {hook.settings.rest_url} does not show any: {error.message.splitlines()[0]}. "
            "They need Dremio Enterprise or Cloud, and an administrator's login in the Airflow connection; otherwise "
            "take `roles` out of the declaration."
        ) from error
    changes: list[RoleChange] = []
    for role in roles:
        if role.name.lower() not in names:
            changes.append(RoleChange(f"CREATE ROLE {_name(role.name)}", f"create role {role.name}"))
    for role in roles:  # a role may be a member of one that is declared before it
        changes += _memberships(role, members)
        changes += _privileges(role, privileges)
    return changes


def apply_role_change(hook: DremioHook, change: RoleChange) -> None:
    """Run one statement of the plan; a role that was made since is fine.

    :raises DremioError: what Dremio answered, with the statement.
    """
    try:
        hook.run_job(change.sql, idempotent=not change.sql.startswith("CREATE"))
    except DremioJobError as error:
        if not (change.sql.startswith("CREATE ROLE") and "already exists" in error.message.lower()):
            raise


def _memberships(role: Role, rows: Iterable[Mapping[str, Any]]) -> list[RoleChange]:
    there = {
        (str(row["member_type"]).upper(), str(row["member_name"]).lower()): str(row["member_name"])
        for row in rows
        if str(row["role_name"]).lower() == role.name.lower()
    }
    declared = {("USER", user.lower()): user for user in role.users} | {
        ("ROLE", member.lower()): member for member in role.roles
    }
    changes = [
        RoleChange(
            f"GRANT ROLE {_name(role.name)} TO {kind} {_name(name)}", f"add {kind.lower()} {name} to {role.name}"
        )
        for (kind, key), name in declared.items()
        if (kind, key) not in there
    ]
    return changes + [
        RoleChange(
            f"REVOKE ROLE {_name(role.name)} FROM {kind} {_name(name)}",
            f"remove {kind.lower()} {name} from {role.name}",
        )
        for (kind, key), name in sorted(there.items())
        if role.exclusive and (kind, key) not in declared
    ]


def _privileges(role: Role, rows: Iterable[Mapping[str, Any]]) -> list[RoleChange]:
    there: dict[tuple[str, str], Mapping[str, Any]] = {
        (_path(row).lower(), str(row["privilege"]).replace("_", " ").upper()): row
        for row in rows
        if str(row["grantee_type"]).upper() == "ROLE" and str(row["grantee_id"]).lower() == role.name.lower()
    }
    changes, declared = [], {(grant.path.lower(), word) for grant in role.grants for word in grant.privileges}
    for grant in role.grants:
        words = ", ".join(word for word in grant.privileges if (grant.path.lower(), word) not in there)
        if words:
            sql = f"GRANT {words} ON {grant.target} TO ROLE {_name(role.name)}"
            changes.append(RoleChange(sql, f"grant {words} on {grant.on} to {role.name}"))
    surplus: dict[tuple[str, str], list[str]] = {}
    for (path, word), row in there.items() if role.exclusive else ():
        if (path, word) not in declared and word != "OWNERSHIP":
            kind = str(row["object_type"]).upper()
            surplus.setdefault((_WORDS.get(kind, kind), _path(row)), []).append(word)
    for (kind, path), words_ in sorted(surplus.items()):
        words, on = ", ".join(sorted(words_)), f"{kind} {path}".strip()
        target = f"{kind} {quoted(path.split('.'))}" if path else kind
        sql = f"REVOKE {words} ON {target} FROM ROLE {_name(role.name)}"
        changes.append(RoleChange(sql, f"revoke {words} on {on} from {role.name}"))
    return changes


def _path(row: Mapping[str, Any]) -> str:
    """The object of a row of sys.privileges, as `Grant.path` has it; the system itself has several names."""
    path = str(row["object_id"] or "").replace('"', "")
    return "" if path.upper() in ("SYSTEM", "PROJECT") else path


def _name(name: str) -> str:
    return quoted([name])
