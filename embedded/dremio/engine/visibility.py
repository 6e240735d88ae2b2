"""The rows of system tables that a user of the enterprise edition sees who is no administrator."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa

from embedded.dremio.access.control import AccessControl
from embedded.dremio.errors import PermissionDenied

_OPEN = {("sys", "version"), ("sys", "options"), ("information_schema", "catalogs")}


def visible(access: AccessControl, path: list[str], rows: list[dict[str, Any]], user: str) -> list[dict[str, Any]]:
    """The rows that the user may see; raises PermissionDenied for tables that are for administrators."""
    if access.is_admin(user):
        return rows
    key = (path[0], ".".join(path[1:]))
    if key in _OPEN:
        return rows
    if key in (("sys", "jobs"), ("sys", "jobs_recent")):
        return [row for row in rows if row["user_name"] == user]
    seen = [entity for entity in access.catalog.entities() if access.sees(user, entity)]
    if key in (("sys", "tables"), ("sys", "views")):
        ids = {entity.id for entity in seen}
        return [row for row in rows if (row.get("table_id") or row.get("view_id")) in ids]
    if key == ("information_schema", "schemata"):
        names = {".".join(entity.path[:depth]) for entity in seen for depth in range(1, len(entity.path) + 1)}
        return [row for row in rows if row["SCHEMA_NAME"] in names or _of_system(row["SCHEMA_NAME"])]
    if key[0] == "information_schema":
        datasets = {(".".join(entity.path[:-1]), entity.name) for entity in seen}
        return [
            row
            for row in rows
            if (row["TABLE_SCHEMA"], row["TABLE_NAME"]) in datasets or _of_system(row["TABLE_SCHEMA"])
        ]
    if key == ("sys", "privileges"):
        mine = {(one.kind.lower(), one.name) for one in access.grants.identities(user)}
        return [row for row in rows if (row["grantee_type"], row["grantee_id"]) in mine]
    raise PermissionDenied(f"{'.'.join(path)} is for administrators.")


def _of_system(schema: str) -> bool:
    return schema.lower() in ("information_schema", "sys")


def register(system: Any, access: AccessControl) -> None:
    """Make sys.privileges, sys.users, sys.roles and sys.membership show what there is."""

    def named(object_name: str) -> str:
        entity = next((e for e in access.catalog.entities() if e.id == object_name), None)
        return entity.dotted if entity is not None else object_name.removeprefix("path:").replace("/", ".")

    def privileges() -> list[dict[str, Any]]:
        ids = {entity.id for entity in access.catalog.entities()}
        return [
            {
                "grantee_id": one.grantee.name,
                "grantee_type": one.grantee.kind.lower(),
                "privilege": one.privilege.replace(" ", "_"),
                "object_id": named(one.object_name),
                "object_type": one.object_type,
            }
            for one in sorted(access.grants.all(), key=str)
            if one.object_type == "SYSTEM" or one.object_name.startswith("path:") or one.object_name in ids
        ]

    def users() -> list[dict[str, Any]]:
        return [
            {
                "user_id": user_id,
                "user_name": name,
                "first_name": "",
                "last_name": "",
                "status": "active",
                "user_type": "LOCAL",
                "created": created.astimezone(dt.UTC).replace(tzinfo=None),
                "owner_id": "",
                "owner_type": "user",
                "created_by": "LOCAL",
            }
            for user_id, name, created in access.grants.accounts()
        ]

    def roles() -> list[dict[str, Any]]:
        creators = access.grants.creators()
        ids = {name: user_id for user_id, name, _ in access.grants.accounts()}
        return [
            {
                "role_id": role_id,
                "role_name": name,
                "role_type": "LOCAL",
                "owner_id": ids.get(creators.get(name, ""), "$dremio$"),
                "owner_type": "user",
                "created_by": "LOCAL",
            }
            for name, role_id in sorted(access.grants.roles().items())
        ]

    def membership() -> list[dict[str, Any]]:
        return [
            {"role_name": role, "member_name": member.name, "member_type": member.kind.lower()}
            for role, member in sorted(access.grants.members(), key=str)
        ]

    def texts(*names: str) -> pa.Schema:
        return pa.schema([pa.field(name, pa.utf8()) for name in names])

    system.register(
        "privileges", texts("grantee_id", "grantee_type", "privilege", "object_id", "object_type"), privileges
    )
    names = ("user_id", "user_name", "first_name", "last_name", "status", "user_type")
    owned = ("owner_id", "owner_type", "created_by")
    created = pa.field("created", pa.timestamp("ms"))
    system.register("users", pa.schema([*texts(*names), created, *texts(*owned)]), users)
    system.register("roles", texts("role_id", "role_name", "role_type", *owned), roles)
    system.register("membership", texts("role_name", "member_name", "member_type"), membership)
