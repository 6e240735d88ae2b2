"""Dremio's statements other than queries, parsed from tokens into plain records.

The grammar is that of the open-source server's ``parserImpls.ftl`` and ``alter.ftl``; what is not in it raises
ParseError, what is known but cannot be run here is refused by the engine with its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import ParseError as SqlglotParseError
from sqlglot.errors import TokenError

from embedded.dremio.sql.casts import Target, target
from embedded.dremio.sql.dialect import DremioDialect
from embedded.dremio.sql.words import Words

Path = tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """One item of PARTITION BY: column, IDENTITY|YEAR|MONTH|DAY|HOUR|BUCKET|TRUNCATE, and its number."""

    column: str
    transform: str = "IDENTITY"
    argument: int | None = None


@dataclass
class Query:
    sql: str


@dataclass
class Explain:
    sql: str


@dataclass
class CreateTable:
    path: Path
    if_not_exists: bool = False
    columns: list[tuple[str, Target]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # CREATE TABLE t (a, b) AS ..
    partitions: list[Partition] = field(default_factory=list)
    sort: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)  # STORE AS
    properties: dict[str, str] = field(default_factory=dict)
    query: str | None = None


@dataclass
class Drop:
    kind: str  # TABLE | VIEW | FOLDER | FUNCTION | SPACE
    path: Path
    if_exists: bool = False


@dataclass
class CreateView:
    path: Path
    query: str
    replace: bool = False
    names: list[str] = field(default_factory=list)


@dataclass
class CreateFolder:
    path: Path
    if_not_exists: bool = False


@dataclass
class CreateFunction:
    path: Path
    arguments: list[tuple[str, str]]
    returns: str
    body: str
    replace: bool = False
    if_not_exists: bool = False
    tabular: bool = False


@dataclass
class Dml:
    """INSERT, UPDATE, DELETE, MERGE: parsed further by sqlglot."""

    word: str
    sql: str


@dataclass
class Truncate:
    path: Path
    if_exists: bool = False


@dataclass
class AlterTable:
    """One action on a table or view; `action` says which of the other fields count."""

    path: Path
    action: str
    columns: list[tuple[str, Target]] = field(default_factory=list)
    name: str = ""
    new_name: str = ""
    kind: Target | None = None
    values: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    flag: bool = False
    definition: Any = None


@dataclass
class Optimize:
    path: Path
    data: bool = True
    manifests: bool = True
    options: dict[str, int] = field(default_factory=dict)
    partitions: str | None = None


@dataclass
class Vacuum:
    path: Path | None
    action: str = "EXPIRE"  # EXPIRE | ORPHANS
    older_than: str | None = None
    retain_last: int | None = None


@dataclass
class Rollback:
    path: Path
    snapshot: str | None = None
    timestamp: str | None = None


@dataclass
class CopyInto:
    path: Path
    location: str
    files: list[str] = field(default_factory=list)
    pattern: str | None = None
    file_format: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Analyze:
    path: Path
    columns: list[str]  # none: all
    delete: bool


@dataclass
class Show:
    what: str  # SCHEMAS | TABLES | VIEWS | FUNCTIONS | CREATE | TBLPROPERTIES
    path: Path = ()
    like: str | None = None
    kind: str = ""


@dataclass
class Describe:
    path: Path
    function: bool = False


@dataclass
class Use:
    path: Path


@dataclass
class Refused:
    """A statement that Dremio has and this server does not run, and why."""

    message: str
    permission: bool = False


def parse(sql: str) -> Any:
    """The record of one statement; raises ParseError."""
    words = Words(sql)
    first = words.word()
    if first in ("SELECT", "WITH", "VALUES", "("):
        return Query(sql)
    from embedded.dremio.sql import statements_access, statements_alter  # they use the records of this module

    parser = _PARSERS.get(first) or statements_alter.PARSERS.get(first) or statements_access.PARSERS.get(first)
    if parser is None:
        raise words.error("expected a statement")
    return parser(words)


def _explain(words: Words) -> Explain:
    words.expect("EXPLAIN", "PLAN")
    for extra in (
        ("INCLUDING", "ALL", "ATTRIBUTES"),
        ("INCLUDING", "ATTRIBUTES"),
        ("EXCLUDING", "ATTRIBUTES"),
        ("WITHOUT", "IMPLEMENTATION"),
        ("WITH", "IMPLEMENTATION"),
    ):
        words.accept(*extra)
    words.expect("FOR")
    return Explain(words.rest())


def _create(words: Words) -> Any:
    words.expect("CREATE")
    replace = words.accept("OR", "REPLACE")
    if words.accept("VIEW") or words.accept("VDS"):
        return _create_view(words, replace)
    if words.accept("FUNCTION"):
        return _create_function(words, replace)
    if replace:
        raise words.error("expected VIEW, VDS or FUNCTION")
    if words.accept("TABLE"):
        return _create_table(words)
    if words.accept("FOLDER"):
        exists = words.accept("IF", "NOT", "EXISTS")
        path = words.path()
        words.end()
        return CreateFolder(path, exists)
    for word in ("BRANCH", "TAG"):
        if words.accept(word):
            return Refused(f"CREATE {word} needs a versioned (Nessie) source; this server has none.")
    if words.word() in ("ROLE", "USER"):
        from embedded.dremio.sql.statements_access import principal

        return principal(words, "CREATE")
    raise words.error("expected TABLE, VIEW, FUNCTION or FOLDER")


def _create_view(words: Words, replace: bool) -> CreateView:
    path = words.path()
    names = words.names() if words.word() == "(" else []
    words.expect("AS")
    return CreateView(path, words.rest(), replace, names)


def _create_function(words: Words, replace: bool) -> CreateFunction:
    exists = words.accept("IF", "NOT", "EXISTS")
    path = words.path()
    arguments = []
    words.expect("(")
    while not words.accept(")"):
        arguments.append((words.name(), words.until(",", "DEFAULT")))
        if words.word() == "DEFAULT":
            raise words.error("defaults of parameters are not supported")
        words.accept(",")
    words.expect("RETURNS")
    tabular = words.word() == "TABLE"
    returns = words.until("RETURN")
    if tabular:
        table_columns(returns)
    words.expect("RETURN")
    return CreateFunction(path, arguments, returns, words.rest(), replace, exists, tabular)


def table_columns(returns: str) -> list[tuple[str, Target]]:
    """The columns of ``TABLE (a INT, b VARCHAR)``; raises ParseError."""
    words = Words(returns)
    words.expect("TABLE", "(")
    found = []
    while True:
        name = words.name()
        found.append((name, parse_type(words.until(","), words)))
        if not words.accept(","):
            break
    words.expect(")")
    words.end()
    return found


def _create_table(words: Words) -> CreateTable:
    made = CreateTable((), words.accept("IF", "NOT", "EXISTS"))
    made.path = words.path()
    if words.word() == "(":
        _table_columns(words, made)
    while not words.done() and words.word() != "AS":
        _table_option(words, made)
    if words.accept("AS"):
        made.query = words.rest()
    elif not made.columns:
        raise words.error("expected a list of columns or AS")
    return made


def _table_columns(words: Words, made: CreateTable) -> None:
    words.expect("(")
    while True:
        name = words.name()
        if words.word() in (",", ")"):
            made.names.append(name)
        else:
            kind = parse_type(words.until(",", "NOT", "NULL"), words)
            if not words.accept("NOT", "NULL"):  # Dremio takes note of neither: columns are always nullable
                words.accept("NULL")
            made.columns.append((name, kind))
        if not words.accept(","):
            break
    words.expect(")")
    if made.names and made.columns:
        raise words.error("columns need types, or none of them")


def _table_option(words: Words, made: CreateTable) -> None:
    for word in ("STRIPED", "HASH", "ROUNDROBIN"):
        words.accept(word)
    if words.accept("PARTITION", "BY"):
        made.partitions = partitions(words)
    elif words.accept("DISTRIBUTE", "BY"):
        words.names()
    elif words.accept("LOCALSORT", "BY"):
        made.sort = words.names()
    elif words.accept("STORE", "AS"):
        made.options = key_values(words, "=>")
    elif words.accept("TBLPROPERTIES"):
        made.properties = {k: str(v) for k, v in key_values(words, "=").items()}
    elif words.accept("WITH", "SINGLE", "WRITER"):
        made.options.setdefault("single_writer", True)
    else:
        raise words.error("expected PARTITION BY, LOCALSORT BY, STORE AS, TBLPROPERTIES or AS")


def partitions(words: Words) -> list[Partition]:
    """``(a, month(b), bucket(4, c))``."""
    found = []
    words.expect("(")
    while True:
        name = words.name()
        if words.accept("("):
            argument = None
            transform = name.upper()
            if transform in ("BUCKET", "TRUNCATE"):
                argument = words.number()
                words.expect(",")
            found.append(Partition(words.name(), transform, argument))
            words.expect(")")
        else:
            found.append(Partition(name))
        if not words.accept(","):
            break
    words.expect(")")
    return found


def key_values(words: Words, sign: str) -> dict[str, Any]:
    """``(key => value, ...)``; keys in lower case unless they were texts."""
    found: dict[str, Any] = {}
    words.expect("(")
    while not words.accept(")"):
        token = words.peek()
        key = words.text() if token is not None and words.word() == "" and _is_text(words) else words.name().lower()
        if not words.accept(sign) and not (sign == "=>" and words.accept("=", ">")):
            raise words.error(f"expected {sign}")
        found[key] = _value(words)
        words.accept(",")
    return found


def _is_text(words: Words) -> bool:
    from sqlglot.tokens import TokenType

    token = words.peek()
    return token is not None and token.token_type == TokenType.STRING


def _value(words: Words) -> Any:
    if _is_text(words):
        return words.text()
    if words.word().isdigit():
        return words.number()
    if words.accept("("):  # a list of texts: NULL_IF ('a', 'b')
        items = [words.text()]
        while words.accept(","):
            items.append(words.text())
        words.expect(")")
        return items
    word = words.name().upper()
    return {"TRUE": True, "FALSE": False}.get(word, word)


def parse_type(text: str, words: Words) -> Target:
    """A type's text; raises ParseError, ValidationError."""
    try:  # as a whole: DataType.build would pass over what follows the type (DEFAULT 5, UNIQUE)
        cast = parse_one(f"CAST(NULL AS {text})", dialect=DremioDialect)
    except (SqlglotParseError, TokenError):
        cast = None
    if not isinstance(cast, exp.Cast) or cast.args.get("format") or cast.args.get("default"):
        raise words.error(f"[{text}] is no type")
    return target(cast.to)


def _drop(words: Words) -> Any:
    words.expect("DROP")
    for word, kind in (
        ("TABLE", "TABLE"),
        ("VIEW", "VIEW"),
        ("VDS", "VIEW"),
        ("FOLDER", "FOLDER"),
        ("FUNCTION", "FUNCTION"),
    ):
        if words.accept(word):
            exists = words.accept("IF", "EXISTS")
            path = words.path()
            words.end()
            return Drop(kind, path, exists)
    for word in ("BRANCH", "TAG"):
        if words.accept(word):
            return Refused(f"DROP {word} needs a versioned (Nessie) source; this server has none.")
    if words.word() in ("ROLE", "USER"):
        from embedded.dremio.sql.statements_access import principal

        return principal(words, "DROP")
    raise words.error("expected TABLE, VIEW, FOLDER or FUNCTION")


def _dml(words: Words) -> Any:
    word = words.word()
    if word == "MERGE" and words.word(1) == "BRANCH":
        return Refused("MERGE BRANCH needs a versioned (Nessie) source; this server has none.")
    return Dml(word, words.sql)


def _truncate(words: Words) -> Truncate:
    words.expect("TRUNCATE")
    words.accept("TABLE")
    exists = words.accept("IF", "EXISTS")
    path = words.path()
    words.end()
    return Truncate(path, exists)


def _show(words: Words) -> Show:
    words.expect("SHOW")
    if words.accept("SCHEMAS") or words.accept("DATABASES"):
        return Show("SCHEMAS", like=_like(words))
    for what in ("TABLES", "VIEWS", "FUNCTIONS"):
        if words.accept(what):
            path = words.path() if words.accept("IN") or words.accept("FROM") else ()
            return Show(what, path, _like(words))
    if words.accept("CREATE"):
        kind = words.word()
        if kind not in ("TABLE", "VIEW"):
            raise words.error("expected TABLE or VIEW")
        words.at += 1
        path = words.path()
        words.end()
        return Show("CREATE", path, kind=kind)
    if words.accept("TBLPROPERTIES"):
        path = words.path()
        words.end()
        return Show("TBLPROPERTIES", path)
    raise words.error("expected SCHEMAS, TABLES, VIEWS, FUNCTIONS, CREATE or TBLPROPERTIES")


def _like(words: Words) -> str | None:
    pattern = words.text() if words.accept("LIKE") else None
    words.end()
    return pattern


def _describe(words: Words) -> Describe:
    words.at += 1
    function = words.word() == "FUNCTION" and words.peek(1) is not None and words.word(1) != "."
    words.accept("FUNCTION" if function else "TABLE")
    path = words.path()
    words.end()
    return Describe(path, function)


def _use(words: Words) -> Any:
    words.expect("USE")
    if words.word() in ("BRANCH", "TAG", "COMMIT", "REF", "REFERENCE") and words.word(1) != ".":
        return Refused(f"USE {words.word()} needs a versioned (Nessie) source; this server has none.")
    path = words.path()
    words.end()
    return Use(path)


def _set(words: Words) -> Refused:
    return Refused(f"{words.word()} of options is not supported: this server has none to change.")


_PARSERS = {
    "EXPLAIN": _explain,
    "CREATE": _create,
    "DROP": _drop,
    "INSERT": _dml,
    "UPDATE": _dml,
    "DELETE": _dml,
    "MERGE": _dml,
    "TRUNCATE": _truncate,
    "SHOW": _show,
    "DESCRIBE": _describe,
    "DESC": _describe,
    "USE": _use,
    "SET": _set,
    "RESET": _set,
}
