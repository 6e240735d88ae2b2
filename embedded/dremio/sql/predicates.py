"""LIKE in its forms, and OVERLAPS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, kinds
from embedded.dremio.sql.registry import Bound

if TYPE_CHECKING:
    from embedded.dremio.sql.expressions import ExpressionBinder


def like(binder: ExpressionBinder, node: exp.Expr) -> Bound:
    """``x [NOT] LIKE|ILIKE pattern [ESCAPE c]``, and the same with ANY or ALL of several patterns."""
    escape = ""
    negate = bool(node.args.get("negate"))
    if isinstance(node, exp.Escape):
        escape = f" ESCAPE {binder.bind(node.expression).sql}"
        node = node.this
        negate = negate or bool(node.args.get("negate"))
    subject = casts.cast(binder.bind(node.this), kinds.VARCHAR)
    word = ("NOT " if negate else "") + ("LIKE" if isinstance(node, exp.Like) else "ILIKE")
    if not isinstance(node.expression, exp.Any | exp.All):
        return Bound(f"({subject.sql} {word} {binder.bind(node.expression).sql}{escape})", kinds.BOOLEAN)
    patterns = node.expression.this
    if isinstance(patterns, exp.Paren):
        patterns = exp.Tuple(expressions=[patterns.this])
    if not isinstance(patterns, exp.Tuple):
        raise UnsupportedOperation("LIKE ANY and ALL are supported over a list only.")
    between = " OR " if isinstance(node.expression, exp.Any) else " AND "
    sqls = [f"{subject.sql} {word} {binder.bind(p).sql}{escape}" for p in patterns.expressions]
    return Bound(f"({between.join(sqls)})", kinds.BOOLEAN)


def overlaps(binder: ExpressionBinder, node: exp.Overlaps) -> Bound:
    """``(start, end) OVERLAPS (start, end)``: an end may be a duration; periods that touch overlap."""
    (first0, last0), (first1, last1) = (_period(binder, side) for side in (node.this, node.expression))
    return Bound(f"({last0} >= {first1} AND {last1} >= {first0})", kinds.BOOLEAN)


def _period(binder: ExpressionBinder, node: exp.Expr) -> tuple[str, str]:
    """The earlier and the later end of a period."""
    if not isinstance(node, exp.Tuple) or len(node.expressions) != 2:
        raise ValidationError("OVERLAPS expects two periods: (start, end) OVERLAPS (start, end)")
    start, end = (binder.bind(e) for e in node.expressions)
    if end.kind is not None and end.kind.name.startswith("INTERVAL"):
        end = casts.arithmetic("+", start, end)
    if end.kind == kinds.TIMESTAMP:
        start = casts.cast(start, kinds.TIMESTAMP)
    a, b = start.sql, end.sql
    return f"CASE WHEN {a} <= {b} THEN {a} ELSE {b} END", f"CASE WHEN {a} <= {b} THEN {b} ELSE {a} END"
