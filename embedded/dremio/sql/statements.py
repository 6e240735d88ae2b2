"""Dremio's statements other than queries, parsed from tokens into plain records.

The grammar is that of the open-source server's ``parserImpls.ftl`` and ``alter.ftl``; what is not in it raises
ParseError, what is known but cannot be run here is refused by the engine with its name.
"""

from __future__ import annotations

from typing import Any

from embedded.dremio.sql import statements_access, statements_alter
from embedded.dremio.sql.clauses import key_values, parse_type, partitions, table_columns
from embedded.dremio.sql.records import (
    CreateFolder,
    CreateFunction,
    CreateTable,
    CreateView,
    Describe,
    Dml,
    Drop,
    Explain,
    Query,
    Refused,
    Show,
    Truncate,
    Use,
)
from embedded.dremio.sql.words import Words


def parse(sql: str) -> Any:
    """The record of one statement; raises ParseError."""
    words = Words(sql)
    first = words.word()
    if first in ("SELECT", "WITH", "VALUES", "("):
        return Query(sql)
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
        return statements_access.principal(words, "CREATE")
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
        return statements_access.principal(words, "DROP")
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
