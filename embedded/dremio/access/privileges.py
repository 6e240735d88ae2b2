"""Dremio's privileges that this server enforces, by the kind of object that they can be granted on."""

from __future__ import annotations

from embedded.dremio.catalog.entities import Entity, Kind

_DML = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
_INHERITED = (*_DML, "ALTER", "ALTER REFLECTION", "EXECUTE")

OWNERSHIP, MANAGE_GRANTS = "OWNERSHIP", "MANAGE GRANTS"

# object_type of sys.privileges -> what can be granted there, besides MANAGE GRANTS
GRANTABLE: dict[str, tuple[str, ...]] = {
    "SYSTEM": (*_INHERITED, "CREATE TABLE", "DROP", "EXTERNAL QUERY"),
    "SOURCE": (*_INHERITED, "CREATE TABLE", "DROP", "EXTERNAL QUERY"),
    "SPACE": (*_INHERITED, "DROP"),
    "FOLDER": (*_INHERITED, "CREATE TABLE", "DROP"),
    "PDS": (*_DML, "ALTER", "ALTER REFLECTION", "DROP"),
    "VDS": ("SELECT", "ALTER", "ALTER REFLECTION", "DROP"),
    "FUNCTION": ("EXECUTE", "ALTER", "DROP"),
}

# the word of the statement -> object_type of sys.privileges
OBJECT_TYPES = {
    "SYSTEM": "SYSTEM",
    "PROJECT": "SYSTEM",
    "SOURCE": "SOURCE",
    "SPACE": "SPACE",
    "CATALOG": "SOURCE",
    "FOLDER": "FOLDER",
    "SCHEMA": "FOLDER",
    "PDS": "PDS",
    "TABLE": "PDS",
    "VDS": "VDS",
    "VIEW": "VDS",
    "FUNCTION": "FUNCTION",
}

_KINDS = {
    Kind.HOME: "SPACE",
    Kind.SPACE: "SPACE",
    Kind.SOURCE: "SOURCE",
    Kind.FOLDER: "FOLDER",
    Kind.VIEW: "VDS",
    Kind.TABLE: "PDS",
    Kind.FUNCTION: "FUNCTION",
}


def type_of(entity: Entity | None) -> str:
    """The object_type of an entity; None is a folder of a source, which is stored nowhere."""
    return "FOLDER" if entity is None else _KINDS.get(entity.kind, "FOLDER")


def granted_by(word: str, object_type: str) -> tuple[str, ...]:
    """The privileges that a word of GRANT stands for on that kind of object; empty when it cannot be granted there.

    ALL is every privilege of the kind but MANAGE GRANTS and OWNERSHIP.
    """
    if word in ("ALL", "ALL PRIVILEGES"):
        return GRANTABLE[object_type]
    if word in GRANTABLE[object_type] or word == MANAGE_GRANTS:
        return (word,)
    if word == OWNERSHIP and object_type != "SYSTEM":
        return (word,)
    return ()
