"""GRANT, REVOKE, and the statements of users and roles (the grammar of the open-source server's ``grant.ftl``).

Their records are refusals: that is what the community edition makes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlglot.tokens import TokenType

from embedded.dremio.errors import ParseError
from embedded.dremio.sql.records import Path, Refused
from embedded.dremio.sql.words import Words

_OBJECTS = (
    "SYSTEM", "PROJECT", "PDS", "TABLE", "VDS", "VIEW", "FUNCTION", "FOLDER", "SCHEMA", "SOURCE", "SPACE", "CATALOG",
)  # fmt: skip
_CONTAINERS = ("FOLDER", "SCHEMA", "SOURCE", "SPACE", "CATALOG")


@dataclass
class Grant(Refused):
    """GRANT or REVOKE of privileges on an object, or on all datasets that a container has now."""

    revoke: bool = False
    privileges: tuple[str, ...] = ()
    kind: str = ""
    path: Path = ()
    all_datasets: bool = False
    grantee_kind: str = ""  # USER | ROLE
    grantee: str = ""


@dataclass
class GrantRole(Refused):
    """GRANT ROLE r TO, REVOKE ROLE r FROM."""

    revoke: bool = False
    role: str = ""
    grantee_kind: str = ""
    grantee: str = ""


@dataclass
class Principal(Refused):
    """CREATE, ALTER and DROP of a USER or ROLE; ALTER USER sets a password, or takes it away (None)."""

    verb: str = ""
    kind: str = ""
    name: str = ""
    password: str | None = None


def _refusal(what: str) -> tuple[str, bool]:
    return f"{what} is not supported in this edition.", True


def principal(words: Words, verb: str) -> Principal:
    """What follows CREATE, ALTER or DROP: USER or ROLE and its name."""
    kind = words.word()
    words.at += 1
    name = words.name()
    password = None
    if verb == "ALTER" and words.accept("SET", "PASSWORD"):
        password = words.text()
    elif verb == "ALTER":
        words.expect("UNSET", "PASSWORD")
    words.end()
    return Principal(*_refusal(f"{verb} {kind}"), verb, kind, name, password)


def _grant(words: Words) -> Any:
    word = words.word()
    words.at += 1
    revoke = word == "REVOKE"
    if words.word() == "ROLE" and words.word(1) not in (",", "ON"):
        words.at += 1
        role = words.name()
        return GrantRole(*_refusal(f"{word} ROLE"), revoke, role, *_grantee(words, revoke))
    privileges = [_privilege(words)]
    while words.accept(","):
        privileges.append(_privilege(words))
    words.expect("ON")
    whole = words.accept("ALL", "DATASETS", "IN")
    kind = words.word()
    if kind not in (_CONTAINERS if whole else _OBJECTS):
        if kind in ("ENGINE", "ORG", "CLOUD", "USER", "ROLE", "SCRIPT", "ALL", "MODEL", "TAG", "PIPE"):
            return Refused(f"{word} on {kind} is not supported in this edition.", permission=True)
        raise words.error("expected the kind of an object: TABLE, VIEW, FOLDER, SPACE, SOURCE or another")
    words.at += 1
    path = () if kind in ("SYSTEM", "PROJECT") else words.path()
    if words.word() == "AT":
        return Refused(f"{word} at a branch needs a versioned (Nessie) source; this server has none.")
    return Grant(*_refusal(word), revoke, tuple(privileges), kind, path, whole, *_grantee(words, revoke))


def _privilege(words: Words) -> str:
    """One privilege, which may be of several words: ALTER REFLECTION."""
    found = []
    while words.word() not in ("", ",", "ON") and words.peek() is not None:
        found.append(words.word())
        words.at += 1
    if not found or words.peek() is None:
        raise words.error("expected privileges ON an object")
    return " ".join(found)


def _grantee(words: Words, revoke: bool) -> tuple[str, str]:
    words.expect("FROM" if revoke else "TO")
    kind = words.word()
    if kind not in ("USER", "ROLE"):
        raise words.error("expected USER or ROLE")
    words.at += 1
    name = words.name()
    words.end()
    return kind, name


def without_password(sql: str) -> str:
    """A statement as jobs show it: ALTER USER without the password that it sets."""
    if sql.lstrip()[:5].upper() != "ALTER":
        return sql
    try:
        words = Words(sql)
    except ParseError:
        return sql
    secret = words.tokens[-1]
    if words.word(1) != "USER" or secret.token_type != TokenType.STRING:
        return sql
    return f"{sql[: secret.start]}'***'{sql[secret.end + 1 :]}"


PARSERS: dict[str, Callable[[Words], Any]] = {"GRANT": _grant, "REVOKE": _grant}
