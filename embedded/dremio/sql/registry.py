"""The functions that Dremio has: nothing outside this registry reaches DuckDB.

An entry has a signature of type letters (`kinds.CLASSES`; ``a`` any; ``?`` after a letter: may be left out; ``*`` at
the end: any number more of the last), a DuckDB template with ``{0} {1} ...`` (``{all}``: all arguments;
aggregates: ``{d}`` DISTINCT, ``{w}`` ORDER BY, ``{i}`` IGNORE NULLS, ``{o}`` FILTER and OVER) or a builder,
and the type of the result (or a function of the argument types). Overloads are tried in order: first those that fit
as they are, then those that Dremio reaches by an implicit cast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from embedded.dremio.errors import ValidationError
from embedded.dremio.sql import kinds
from embedded.dremio.sql.kinds import Kind
from embedded.dremio.types import DremioType

if TYPE_CHECKING:
    from sqlglot import exp

    from embedded.dremio.sql.expressions import ExpressionBinder


class Bound(NamedTuple):
    """A bound expression: DuckDB's text and Dremio's type (None: not known)."""

    sql: str
    kind: Kind
    literal: str | None = None  # the value of a literal, for functions that need it when planning
    unit: str | None = None  # the single unit that an interval was made with


@dataclass(frozen=True)
class Call:
    """What a builder gets: arguments as bound, the tree, and the binder."""

    name: str
    args: list[Bound]
    node: exp.Expr
    binder: ExpressionBinder
    clauses: Clauses


Builder = Callable[[Call], Bound]
Returns = DremioType | Callable[[list[Kind]], Kind]


@dataclass(frozen=True)
class Overload:
    """One form of a function."""

    signature: tuple[str, ...]
    required: int
    variadic: bool
    template: str | None
    builder: Builder | None
    returns: Returns | None

    def letter(self, position: int) -> str:
        """The type letter of the argument at a position."""
        return self.signature[min(position, len(self.signature) - 1)]

    def takes(self, count: int) -> bool:
        """True if this form has that many arguments."""
        return self.required <= count and (self.variadic or count <= len(self.signature))


FUNCTIONS: dict[str, list[Overload]] = {}
AGGREGATES: set[str] = set()
WINDOW_ONLY: set[str] = set()


def parse_signature(signature: str) -> tuple[tuple[str, ...], int, bool]:
    """``"s,i?"`` -> letters, number of required arguments, variadic."""
    items = [item for item in signature.replace(" ", "").split(",") if item]
    variadic = bool(items) and items[-1].endswith("*")
    letters = tuple(item.rstrip("?*") for item in items)
    required = sum(1 for item in items if not item.endswith(("?", "*")))
    return letters, required, variadic


def add(names: str, signature: str, template: str | Builder, returns: Returns | None = None) -> None:
    """Register one form of each of the blank-separated `names`."""
    letters, required, variadic = parse_signature(signature)
    if isinstance(template, str):
        overload = Overload(letters, required, variadic, template, None, returns)
    else:
        overload = Overload(letters, required, variadic, None, template, returns)
    for name in names.split():
        FUNCTIONS.setdefault(name, []).append(overload)


def aggregate(names: str, signature: str, template: str | Builder, returns: Returns | None = None) -> None:
    """Register an aggregate function."""
    add(names, signature, template, returns)
    AGGREGATES.update(names.split())


def window(names: str, signature: str, template: str | Builder, returns: Returns | None = None) -> None:
    """Register a function that needs OVER."""
    add(names, signature, template, returns)
    WINDOW_ONLY.update(names.split())


def fits(letter: str, kind: Kind) -> bool:
    """True if an argument of this type needs no cast."""
    return letter == "a" or kind is None or kind == kinds.NULL or kind.name in kinds.CLASSES[letter]


_COERCIONS: dict[str, dict[str, DremioType]] = {
    "s": {name: kinds.VARCHAR for name in (*kinds.NUMBERS, "BOOLEAN", "DATE", "TIME", "TIMESTAMP")},
    "f": {name: kinds.DOUBLE for name in ("INTEGER", "BIGINT", "DECIMAL", "VARCHAR")},
    "n": {"VARCHAR": kinds.DOUBLE},
    "i": {"VARCHAR": kinds.BIGINT},
    "t": {"DATE": kinds.TIMESTAMP, "VARCHAR": kinds.TIMESTAMP},
    "D": {"VARCHAR": kinds.TIMESTAMP},
    "d": {"VARCHAR": kinds.DATE},
    "m": {"VARCHAR": kinds.TIME},
    "b": {"VARCHAR": kinds.BOOLEAN},
    "x": {"VARCHAR": kinds.VARBINARY},
}


def coerced(letter: str, arg: Bound) -> Bound | None:
    """The argument cast implicitly as Dremio does, or None if Dremio would not."""
    if fits(letter, arg.kind):
        return arg
    target = _COERCIONS.get(letter, {}).get(arg.kind.name if arg.kind else "")
    if target is None:
        return None
    from embedded.dremio.sql import casts

    return casts.cast(arg, target)


@dataclass(frozen=True)
class Clauses:
    """What surrounds an aggregate call, ready for its template: ``{d}``, ``{w}``, ``{o}`` and ``{i}``."""

    distinct: str = ""  # "DISTINCT "
    order: str = ""  # " ORDER BY ..."
    over: str = ""  # " FILTER (...) OVER (...)"
    nulls: str = ""  # " IGNORE NULLS"


PLAIN = Clauses()


def call(
    name: str,
    args: list[Bound],
    node: exp.Expr,
    binder: ExpressionBinder,
    clauses: Clauses = PLAIN,
) -> Bound:
    """Bind a call; raises ValidationError for an unknown function or arguments that no form takes."""
    overloads = FUNCTIONS.get(name, [])
    for overload in overloads:
        if overload.takes(len(args)) and all(fits(overload.letter(i), arg.kind) for i, arg in enumerate(args)):
            return _apply(overload, name, args, node, binder, clauses)
    for overload in overloads:
        if not overload.takes(len(args)):
            continue
        cast = [coerced(overload.letter(i), arg) for i, arg in enumerate(args)]
        if all(arg is not None for arg in cast):
            return _apply(overload, name, [arg for arg in cast if arg is not None], node, binder, clauses)
    shown = ", ".join(kinds.signature_name(arg.kind) for arg in args)
    raise ValidationError(f"No match found for function signature {name}({shown})")


_NULLS = {
    "s": kinds.VARCHAR,
    "d": kinds.DATE,
    "t": kinds.TIMESTAMP,
    "D": kinds.TIMESTAMP,
    "m": kinds.TIME,
    "b": kinds.BOOLEAN,
    "x": kinds.VARBINARY,
}


def _typed(letter: str, arg: Bound) -> Bound:
    """A null of no type as one of the type that the function takes: DuckDB could not choose between its own."""
    kind = _NULLS.get(letter) if arg.kind == kinds.NULL else None
    return arg if kind is None else Bound(f"CAST(NULL AS {kinds.duckdb_type(kind)})", kind)


def _apply(
    overload: Overload,
    name: str,
    args: list[Bound],
    node: exp.Expr,
    binder: ExpressionBinder,
    clauses: Clauses,
) -> Bound:
    args = [_typed(overload.letter(position), arg) for position, arg in enumerate(args)]
    if overload.builder is not None:
        return overload.builder(Call(name, args, node, binder, clauses))
    assert overload.template is not None
    sqls = [arg.sql for arg in args]
    sql = overload.template.format(
        *sqls, all=", ".join(sqls), d=clauses.distinct, w=clauses.order, o=clauses.over, i=clauses.nulls
    )
    returns = overload.returns
    kind = returns([arg.kind for arg in args]) if callable(returns) else returns
    return Bound(sql, kind)
