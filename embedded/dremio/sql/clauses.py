"""Clauses that several statements have: types, columns, partitions, and lists of keys and values."""

from __future__ import annotations

from typing import Any

from sqlglot import parse_one
from sqlglot.errors import ParseError as SqlglotParseError
from sqlglot.errors import TokenError
from sqlglot.tokens import TokenType

from embedded.dremio.sql.casts import Target, target
from embedded.dremio.sql.dialect import DremioDialect, TryConvertFrom
from embedded.dremio.sql.records import Partition
from embedded.dremio.sql.words import Words


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
        parsed = parse_one(f"TRY_CONVERT_FROM(NULL AS {text})", dialect=DremioDialect)
    except (SqlglotParseError, TokenError):
        parsed = None
    if not isinstance(parsed, TryConvertFrom):
        raise words.error(f"[{text}] is no type")
    return target(parsed.args["to"])
