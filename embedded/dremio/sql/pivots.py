"""PIVOT and UNPIVOT behind an item of FROM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, kinds
from embedded.dremio.sql.expressions import ExpressionBinder
from embedded.dremio.sql.kinds import quoted, text
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.scope import Field, Relation, Scope
from embedded.dremio.sql.windows import with_clauses

if TYPE_CHECKING:
    from embedded.dremio.sql.query import QueryBinder


def pivoted(queries: QueryBinder, from_text: str, scope: Scope, pivot: exp.Pivot) -> Relation:
    """The item `from_text`, whose columns are in `scope`, after one PIVOT or UNPIVOT."""
    if len(pivot.args.get("fields") or []) != 1 or not isinstance(pivot.args["fields"][0], exp.In):
        raise UnsupportedOperation(f"[{pivot.sql(dialect='dremio')}] is not supported.")
    if pivot.args.get("unpivot"):
        return _unpivot(from_text, scope, pivot)
    return _pivot(ExpressionBinder(queries, scope), from_text, scope, pivot)


def _columns(scope: Scope) -> list[tuple[Field, str]]:
    return [(c, f"{quoted(s.alias)}.{quoted(c.name)}") for s in scope.sources for c in s.columns]


def _several(node: exp.Expr) -> list[exp.Expr]:
    return list(node.expressions) if isinstance(node, exp.Tuple) else [node]


def _aliased(node: exp.Expr) -> tuple[list[exp.Expr], exp.Expr | None]:
    """The parts of an element of IN, and its alias."""
    if isinstance(node, exp.PivotAlias | exp.Alias):
        return _several(node.this), node.args["alias"]
    return _several(node), None


def _pivot(binder: ExpressionBinder, from_text: str, scope: Scope, pivot: exp.Pivot) -> Relation:
    """One column for each value and aggregate; all columns that are not named in it are grouped by."""
    field = pivot.args["fields"][0]
    axes = [binder.bind(axis) for axis in _several(field.this)]
    used = {c.name.lower() for part in (*pivot.expressions, field.this) for c in part.find_all(exp.Column)}
    groups = [(c, sql) for c, sql in _columns(scope) if c.name.lower() not in used]
    items = [(Field(c.name, c.kind), sql) for c, sql in groups]
    for element in field.expressions:
        values, alias = _aliased(element)
        if len(values) != len(axes):
            raise ValidationError("PIVOT: the number of values and of columns after FOR differs")
        conditions = []
        for axis, value in zip(axes, values, strict=True):
            left, right = binder.comparable(axis, binder.bind(value))
            conditions.append(f"{left.sql} = {right.sql}")
        name = alias.name if alias is not None else "_".join(v.sql(dialect="dremio") for v in values)
        for aggregate in pivot.expressions:
            inner = aggregate.this if isinstance(aggregate, exp.Alias) else aggregate
            bound = with_clauses(binder, inner, f" FILTER (WHERE {' AND '.join(conditions)})")
            suffix = f"_{aggregate.alias}" if isinstance(aggregate, exp.Alias) else ""
            items.append((Field(name + suffix, bound.kind), bound.sql))
    listed = ", ".join(f"{sql} AS {quoted(f.name)}" for f, sql in items)
    grouped = f" GROUP BY {', '.join(sql for _, sql in groups)}" if groups else ""
    return Relation(f"(SELECT {listed} FROM {from_text}{grouped})", [f for f, _ in items])


def _unpivot(from_text: str, scope: Scope, pivot: exp.Pivot) -> Relation:
    """One row for each row and column named; rows in which all values are null are left out unless asked for."""
    field = pivot.args["fields"][0]
    axes = [axis.name for axis in _several(field.this)]
    measures = [m.name for e in pivot.expressions for m in _several(e)]
    known = {c.name.lower(): (c, sql) for c, sql in _columns(scope)}
    used: set[str] = set()
    rows: list[tuple[list[Bound], list[Bound]]] = []
    for element in field.expressions:
        parts, alias = _aliased(element)
        names = [part.name for part in parts]
        missing = [name for name in names if name.lower() not in known]
        if missing or len(names) != len(measures):
            raise ValidationError(f"UNPIVOT: Column '{(missing or names)[0]}' not found or too many")
        used |= {name.lower() for name in names}
        labels = _several(alias) if alias is not None else [exp.Literal.string("_".join(names))] * len(axes)
        if len(labels) != len(axes) or not all(isinstance(label, exp.Literal) for label in labels):
            raise ValidationError("UNPIVOT: an alias after AS has to be a literal for each column after FOR")
        shown = [Bound(text(x.name), kinds.VARCHAR) if x.is_string else Bound(x.name, kinds.INTEGER) for x in labels]
        rows.append((shown, [Bound(known[n.lower()][1], known[n.lower()][0].kind) for n in names]))
    kept = [(c, sql) for c, sql in _columns(scope) if c.name.lower() not in used]
    fields = [Field(c.name, c.kind) for c, _ in kept]
    values: list[list[Bound]] = []
    for place, name in enumerate([*axes, *measures]):
        column, kind = casts.unify([(labels + cells)[place] for labels, cells in rows])
        values.append(column)
        fields.append(Field(name, kind))
    selects = []
    for row in range(len(rows)):
        items = [f"{sql} AS {quoted(c.name)}" for c, sql in kept]
        cells = [column[row].sql for column in values]
        items += [f"{sql} AS {quoted(f.name)}" for f, sql in zip(fields[len(kept) :], cells, strict=True)]
        nulls = "" if pivot.args.get("include_nulls") else " OR ".join(f"{c} IS NOT NULL" for c in cells[len(axes) :])
        selects.append(f"SELECT {', '.join(items)} FROM {from_text}{f' WHERE {nulls}' if nulls else ''}")
    return Relation(f"({' UNION ALL '.join(selects)})", fields)
