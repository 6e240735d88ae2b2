"""Parameters (``?``) of prepared statements: the types that they have from where they stand, and values in their place.

As in Calcite, a parameter has the type of what it is compared or calculated with, of its CAST, or of the column that
it is inserted into; elsewhere its use is an error. A value becomes a literal of that type, so what runs is an ordinary
statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql.casts import target
from embedded.dremio.sql.dialect import DremioDialect, WordDialect, tokenize
from embedded.dremio.sql.kinds import duckdb_type
from embedded.dremio.sql.kinds import text as literal
from embedded.dremio.sql.registry import Bound
from embedded.dremio.types import DremioType

if TYPE_CHECKING:
    from embedded.dremio.sql.expressions import ExpressionBinder

_found: ContextVar[dict[int, DremioType] | None] = ContextVar("_found", default=None)
_QUOTED = ("VARCHAR", "DATE", "TIME", "TIMESTAMP", "FLOAT", "DOUBLE", "DECIMAL")
_PLAIN = ("BOOLEAN", "INTEGER", "BIGINT")


def _places(sql: str) -> list[Token]:
    return [token for token in tokenize(sql, WordDialect) if token.token_type == TokenType.PLACEHOLDER]


def _replaced(sql: str, places: list[Token], texts: list[str]) -> str:
    for place, new in reversed(list(zip(places, texts, strict=True))):
        sql = f"{sql[: place.start]}{new}{sql[place.end + 1 :]}"
    return sql


def numbered(sql: str) -> tuple[str, int]:
    """The text with its parameters as ``:p0``, ``:p1``; and how many there are."""
    places = _places(sql)
    return _replaced(sql, places, [f":p{at}" for at in range(len(places))]), len(places)


@contextmanager
def collected() -> Iterator[dict[int, DremioType]]:
    """What is bound in here may have numbered parameters; their types are found in the dictionary."""
    found: dict[int, DremioType] = {}
    token = _found.set(found)
    try:
        yield found
    finally:
        _found.reset(token)


def inserted(query: exp.Query, kinds: list[DremioType]) -> None:
    """Gives the parameters that are values of an INSERT the types of the columns that they are for."""
    values = query.find(exp.Values)
    if values is None or not isinstance(query, exp.Select) or query.args["from_"].this is not values:
        return
    for row in values.expressions:
        items = row.expressions if isinstance(row, exp.Tuple) else [row.unnest()]
        for item, kind in zip(items, kinds, strict=False):
            if isinstance(item, exp.Placeholder):
                item.replace(exp.cast(item.copy(), kind.sql, dialect=DremioDialect))


def bind(binder: ExpressionBinder, node: exp.Placeholder) -> Bound:
    """A parameter while its statement is prepared: a NULL of its type."""
    found = _found.get()
    if found is None or not node.name:
        raise UnsupportedOperation("Parameters (?) are for prepared statements of Flight SQL and JDBC alone.")
    kind = _kind(binder, node)
    if kind is None or kind.name not in _QUOTED + _PLAIN:
        raise ValidationError("Illegal use of dynamic parameter: its type is not known; write CAST(? AS a type).")
    found[int(node.name.removeprefix("p"))] = kind
    return Bound(f"CAST(NULL AS {duckdb_type(kind)})", kind)


def _kind(binder: ExpressionBinder, node: exp.Expr) -> DremioType | None:
    parent = node.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    if isinstance(parent, exp.Cast):
        return target(parent.args["to"]).kind
    if not isinstance(parent, (exp.Binary, exp.In, exp.Between)):
        return None
    others = [one for one in parent.iter_expressions() if not isinstance(one.unnest(), exp.Placeholder)]
    return binder.bind(others[0]).kind if others else None


def with_values(sql: str, kinds: list[DremioType], values: list[Any]) -> str:
    """The statement with a literal in each parameter's place; `values` are Python's of the Arrow types."""
    return _replaced(sql, _places(sql), [_literal(kind, value) for kind, value in zip(kinds, values, strict=True)])


def _literal(kind: DremioType, value: Any) -> str:
    if value is None:
        shown = "NULL"
    elif kind.name == "TIMESTAMP":
        shown = literal(value.isoformat(" ", "milliseconds"))
    else:
        shown = literal(str(value)) if kind.name in _QUOTED else str(value).upper()
    return f"CAST({shown} AS {kind.sql})"
