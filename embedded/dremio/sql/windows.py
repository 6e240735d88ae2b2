"""What stands around a call of an aggregate or window function: FILTER, WITHIN GROUP, IGNORE NULLS and OVER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql.kinds import quoted
from embedded.dremio.sql.registry import Bound, Clauses

if TYPE_CHECKING:
    from embedded.dremio.sql.expressions import ExpressionBinder

NULL_TREATMENT = frozenset(["FIRST_VALUE", "LAST_VALUE", "NTH_VALUE", "LAG", "LEAD"])
NEEDS_ORDER = frozenset(["RANK", "DENSE_RANK", "PERCENT_RANK", "CUME_DIST", "NTILE", "LAG", "LEAD"])


def over_window(binder: ExpressionBinder, node: exp.Window) -> Bound:
    """``f(..) OVER name`` or ``f(..) OVER (..)``."""
    alias = node.args.get("alias")
    call = node.find(exp.Anonymous)
    if alias is None and not node.args.get("order") and call is not None and str(call.this).upper() in NEEDS_ORDER:
        raise ValidationError(f"{call.this} requires an ORDER BY clause in its window specification")
    if alias is not None and not node.args.get("partition_by") and not node.args.get("order"):
        return with_clauses(binder, node.this, f" OVER {quoted(alias.name)}")
    return with_clauses(binder, node.this, f" OVER ({window(binder, node)})")


def with_clauses(binder: ExpressionBinder, node: exp.Expr, over: str = "") -> Bound:
    """A call with its clauses; `over` is what DuckDB's text has after them."""
    order = ""
    nulls = ""
    if isinstance(node, exp.IgnoreNulls | exp.RespectNulls):
        nulls = " IGNORE NULLS" if isinstance(node, exp.IgnoreNulls) else ""
        node = node.this
        if not over or not isinstance(node, exp.Anonymous) or str(node.this).upper() not in NULL_TREATMENT:
            raise ValidationError("IGNORE NULLS and RESPECT NULLS belong to a window function")
    condition = ""
    if isinstance(node, exp.Filter):
        condition = f" FILTER (WHERE {binder.boolean(node.expression.this)})"
        node = node.this
    if isinstance(node, exp.WithinGroup):
        if str(node.this.this).upper() == "PERCENTILE_CONT":  # of decimals, too, it is a DOUBLE: DuckDB would round
            for item in node.expression.expressions:
                item.set("this", exp.cast(item.this, "DOUBLE"))
        order = " " + binder.queries.order(node.expression, binder)
        node = node.this
    if not isinstance(node, exp.Anonymous):
        raise ValidationError(f"[{node.sql(dialect='dremio')}] is no aggregate function")
    return binder.call(node, Clauses("", order, condition + over, nulls))


def window(binder: ExpressionBinder, node: exp.Expr) -> str:
    """The inside of OVER (...)."""
    texts = []
    if node.args.get("alias") is not None:
        texts.append(quoted(node.args["alias"].name))
    if node.args.get("partition_by"):
        texts.append("PARTITION BY " + ", ".join(binder.bind(e).sql for e in node.args["partition_by"]))
    if node.args.get("order") is not None:
        if any(
            isinstance(item.this, exp.Literal) and not item.this.is_string for item in node.args["order"].expressions
        ):
            raise ValidationError("Dremio does not currently support order by with ordinals in over clause")
        texts.append(binder.queries.order(node.args["order"], binder))
    spec = node.args.get("spec")
    if spec is not None:
        if spec.args.get("exclude") or spec.args["kind"].upper() not in ("ROWS", "RANGE"):
            raise UnsupportedOperation("A window frame is of ROWS or RANGE, without EXCLUDE.")
        start = _edge(spec.args.get("start"), spec.args.get("start_side"), binder)
        end = _edge(spec.args.get("end"), spec.args.get("end_side"), binder)
        texts.append(f"{spec.args['kind'].upper()} BETWEEN {start} AND {end or 'CURRENT ROW'}")
    return " ".join(texts)


def _edge(edge: str | exp.Expr | None, side: str | None, binder: ExpressionBinder) -> str:
    if edge is None:
        return ""
    shown = edge if isinstance(edge, str) else binder.bind(edge).sql
    return f"{shown} {side}" if side else str(shown)
