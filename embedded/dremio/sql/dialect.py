"""Dremio's grammar on sqlglot's tokenizer and expression parser.

Functions stay calls by name (the binder gives them Dremio's meaning), ``//`` is no comment, and what sqlglot would
read as an opaque command never gets here (see `statements`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dremio import Dremio as SqlglotDremio
from sqlglot.errors import ParseError as SqlglotParseError
from sqlglot.errors import TokenError
from sqlglot.parsers.dremio import DremioParser
from sqlglot.tokens import Token, TokenType
from sqlglot.tokens import Tokenizer as SqlglotTokenizer

from embedded.dremio.errors import ParseError

_KEPT_PARSERS = (
    "CAST",
    "TRY_CAST",
    "EXTRACT",
    "TRIM",
    "SUBSTRING",
    "OVERLAY",
    "FLOOR",
    "CEIL",
    "NORMALIZE",
)


class TryConvertFrom(exp.Expression):
    """``TRY_CONVERT_FROM(this AS to)``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "to": True}


def _position(parser: DremioParser) -> exp.Expr:
    """``POSITION(part IN text [FROM start])``, or a call with arguments."""
    first = parser._parse_bitwise()
    if not parser._match(TokenType.IN):
        parser._match(TokenType.COMMA)
        rest = parser._parse_csv(parser._parse_disjunction)
        return exp.Anonymous(this="POSITION", expressions=[first, *rest])
    this = parser._parse_bitwise()
    start = parser._parse_bitwise() if parser._match(TokenType.FROM) else None
    return exp.StrPosition(this=this, substr=first, position=start)


def _try_convert_from(parser: DremioParser) -> exp.Expr:
    """``value AS type``, with SQL's spelling of nested types: ``ROW(a INT, b VARCHAR ARRAY)``."""
    this = parser._parse_disjunction()
    if not parser._match(TokenType.ALIAS):
        parser.raise_error("Expected AS in TRY_CONVERT_FROM")
    return TryConvertFrom(this=this, to=_nested_type(parser))


def _nested_type(parser: DremioParser) -> exp.DataType:
    kind: exp.DataType
    if parser._match_text_seq("ROW"):
        parser._match_l_paren()
        fields = parser._parse_csv(lambda: exp.ColumnDef(this=parser._parse_id_var(), kind=_nested_type(parser)))
        parser._match_r_paren()
        kind = exp.DataType(this=exp.DType.STRUCT, expressions=fields, nested=True)
    else:
        found = parser._parse_types(allow_identifiers=False)
        if not isinstance(found, exp.DataType):
            parser.raise_error("Expected a type")
        kind = found  # type: ignore[assignment]
    while parser._match(TokenType.ARRAY):
        kind = exp.DataType(this=exp.DType.ARRAY, expressions=[kind], nested=True)
    return kind


class DremioDialect(SqlglotDremio):
    """The dialect used for every Dremio text."""

    class Tokenizer(SqlglotTokenizer):
        COMMENTS: ClassVar = ["--", ("/*", "*/")]
        HEX_STRINGS: ClassVar = [("x'", "'"), ("X'", "'")]
        VAR_SINGLE_TOKENS: ClassVar = {"$"}
        KEYWORDS: ClassVar[dict[str, Any]] = {**SqlglotTokenizer.KEYWORDS, "MINUS": TokenType.EXCEPT}

    class Parser(DremioParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar = {
            **{name: parser for name, parser in DremioParser.FUNCTION_PARSERS.items() if name in _KEPT_PARSERS},
            "POSITION": _position,
            "TRY_CONVERT_FROM": _try_convert_from,
        }
        NO_PAREN_FUNCTION_PARSERS: ClassVar = {
            name: parser for name, parser in DremioParser.NO_PAREN_FUNCTION_PARSERS.items() if name in ("ANY", "CASE")
        }
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}


class WordDialect(DremioDialect):
    """Every keyword a token of its own: for the statements that this program parses itself."""

    class Tokenizer(DremioDialect.Tokenizer):
        KEYWORDS: ClassVar[dict[str, Any]] = {}
        COMMANDS: ClassVar[set[Any]] = set()


def tokenize(sql: str, dialect: type[DremioDialect] = DremioDialect) -> list[Token]:
    """Tokens of a statement, without a closing semicolon; raises ParseError."""
    try:
        tokens = dialect().tokenize(sql)
    except TokenError as error:
        raise ParseError(f"Failure parsing the query: {error}", sql=sql) from error
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    return tokens


def parse_query(sql: str) -> exp.Query:
    """The tree of one SELECT, VALUES, WITH or set operation; raises ParseError with line and column."""
    tree = _parse(sql)
    if isinstance(tree, exp.Values):
        tree = exp.select("*").from_(tree)
    if isinstance(tree, exp.Subquery) and isinstance(tree.this, exp.Query):
        tree = exp.select("*").from_(tree) if tree.args.get("alias") else tree.this
    if not isinstance(tree, exp.Query):
        raise ParseError("Failure parsing the query.", sql=sql)
    return tree


def parse_expression(sql: str) -> exp.Expr:
    """The tree of one expression; raises ParseError."""
    query = parse_query(f"SELECT {sql}")
    if not isinstance(query, exp.Select) or len(query.expressions) != 1 or query.args.get("from_"):
        raise ParseError(f"Failure parsing the expression [{sql}].")
    return query.expressions[0]


def parse_statement(sql: str) -> exp.Expr:
    """The tree of a DML statement that sqlglot knows (INSERT, UPDATE, DELETE, MERGE); raises ParseError."""
    return _parse(sql)


def _parse(sql: str) -> exp.Expr:
    dialect = DremioDialect()
    tokens = tokenize(sql)
    for token in tokens:
        found, hint = sql[token.start : token.end + 1], ""
        if token.token_type == TokenType.DCOLON:
            hint = ", write CAST(.. AS ..)"
        elif found not in ("==", "!") and sql[token.start : token.start + 2].lower() != "0x":
            continue
        raise ParseError(
            f"Failure parsing the query: encountered '{found}'{hint}.", sql=sql, line=token.line, column=token.col
        )
    tokens = _odbc_literals(tokens)
    try:
        trees = dialect.parser().parse(tokens, sql)
    except SqlglotParseError as error:
        first = error.errors[0] if error.errors else {}
        raise ParseError(
            f"Failure parsing the query: {_plain(first.get('description') or str(error))}",
            sql=sql,
            line=first.get("line"),
            column=first.get("col"),
        ) from error
    if len(trees) != 1 or trees[0] is None or isinstance(trees[0], exp.Command):
        raise ParseError("Failure parsing the query: one statement is expected.", sql=sql)
    return trees[0]


def _plain(complaint: str) -> str:
    """sqlglot's complaint without the names of its classes."""
    _, incomplete, rest = complaint.partition(" missing for <class '")
    if incomplete:
        clause = rest.partition("'")[0].rpartition(".")[2].upper()
        return "VALUES needs at least one row" if clause == "VALUES" else f"{clause} is incomplete"
    expected, unexpected, rest = complaint.partition(" but got <Token ")
    if unexpected:
        found = rest.partition("text: ")[2].partition(", line: ")[0]
        return f"{expected}, found {'the end' if found == 'SENTINEL' else f'[{found}]'}"
    return complaint


_ODBC = {"D": (TokenType.DATE, "DATE"), "T": (TokenType.TIME, "TIME"), "TS": (TokenType.TIMESTAMP, "TIMESTAMP")}


def _odbc_literals(tokens: list[Token]) -> list[Token]:
    """``{d '2020-01-01'}``, ``{t ..}`` and ``{ts ..}`` as DATE, TIME and TIMESTAMP literals."""
    out: list[Token] = []
    at = 0
    while at < len(tokens):
        four = tokens[at : at + 4]
        if (
            len(four) == 4
            and four[0].token_type == TokenType.L_BRACE
            and four[1].text.upper() in _ODBC
            and four[2].token_type == TokenType.STRING
            and four[3].token_type == TokenType.R_BRACE
        ):
            kind, word = _ODBC[four[1].text.upper()]
            first = four[1]
            out += [Token(kind, word, first.line, first.col, first.start, first.end), four[2]]
            at += 4
        else:
            out.append(tokens[at])
            at += 1
    return out


def path_of(table: exp.Table) -> tuple[str, ...]:
    """The parts of a table's name, as written."""
    parts: list[str] = []
    for part in table.parts:
        if isinstance(part, exp.Identifier):
            parts.append(part.this)
        elif isinstance(part, exp.Parameter):
            parts.append(f"@{part.name}")
        else:
            raise ParseError(f"Failure parsing the query: [{part.sql()}] is no name of a table.")
    return tuple(parts)
