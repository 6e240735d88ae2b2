"""Binds FROM: tables, subqueries, VALUES, LATERAL, UNNEST, TABLE(...), and joins."""

from __future__ import annotations

from sqlglot import exp

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, kinds
from embedded.dremio.sql.dialect import path_of
from embedded.dremio.sql.expressions import ExpressionBinder
from embedded.dremio.sql.kinds import quoted
from embedded.dremio.sql.query import QueryBinder, _renamed
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.scope import Field, Relation, Scope, Source

_TABLE_ARGS = {"this", "alias", "db", "catalog", "version", "joins", "expressions"}


def bind_from(queries: QueryBinder, select: exp.Select, scope: Scope) -> str:
    """The FROM clause with all joins; fills `scope`."""
    from_ = select.args.get("from_")
    if from_ is None:
        if select.args.get("joins"):
            raise ValidationError("A join needs a FROM clause")
        return ""
    text = f" FROM {_item(queries, from_.this, scope)}"
    for lateral in select.args.get("laterals") or []:
        text += f", {_item(queries, lateral, scope)}"
    after_comma = bool(select.args.get("laterals"))
    for join in select.args.get("joins") or []:
        if after_comma and (join.side or "").upper() in ("RIGHT", "FULL"):
            raise UnsupportedOperation("RIGHT and FULL JOIN after a comma are not supported: write CROSS JOIN.")
        after_comma = after_comma or not any(join.args.get(key) for key in ("side", "kind", "method", "on", "using"))
        text += _join(queries, join, scope)
    return text


def _item(queries: QueryBinder, node: exp.Expr, scope: Scope) -> str:
    text = _single(queries, node, scope)
    nested = node.args.get("joins") or []
    if nested:
        text = f"({text}{''.join(_join(queries, join, scope) for join in nested)})"
    return text


def _single(queries: QueryBinder, node: exp.Expr, scope: Scope) -> str:
    if node.args.get("sample"):
        raise UnsupportedOperation("TABLESAMPLE is not supported.")
    if node.args.get("pivots"):
        return _pivots(queries, node, scope)
    if isinstance(node, exp.Table):
        return _table(queries, node, scope)
    if isinstance(node, exp.Subquery):
        return _subquery(queries, node, scope)
    if isinstance(node, exp.Values):
        relation = queries.query(node, scope.parent)
        alias = node.args.get("alias")
        source = scope.add((alias.name if alias is not None else "VALUES",), relation.columns)
        return f"({relation.sql}) AS {quoted(source.alias)}"
    if isinstance(node, exp.Lateral):
        return _lateral(queries, node, scope)
    if isinstance(node, exp.Unnest):
        return _unnest(queries, node, node.expressions, scope, bool(node.args.get("offset")))
    if isinstance(node, exp.Paren):
        return f"({_item(queries, node.this, scope)})"
    raise UnsupportedOperation(f"[{node.sql(dialect='dremio')[:80]}] is not supported in FROM.")


def _pivots(queries: QueryBinder, node: exp.Expr, scope: Scope) -> str:
    """An item with PIVOT or UNPIVOT behind it."""
    from embedded.dremio.sql.pivots import pivoted

    inner = node.copy()
    inner.set("pivots", None)
    inner.set("joins", None)
    inside = Scope(scope.parent)
    text = _single(queries, inner, inside)
    *earlier, last = node.args["pivots"]
    for pivot in earlier:
        relation = pivoted(queries, text, inside, pivot)
        inside = Scope(scope.parent)
        text = _aliased(relation, pivot, (_fresh(inside),), inside)
    return _aliased(pivoted(queries, text, inside, last), last, (_fresh(scope),), scope)


def _aliased(relation: Relation, node: exp.Expr, names: tuple[str, ...], scope: Scope) -> str:
    """``relation AS alias(columns)``, with the alias of `node` or the names given."""
    alias = node.args.get("alias")
    columns = relation.columns
    renames = ""
    if alias is not None:
        if alias.columns:
            columns = _renamed(columns, [c.name for c in alias.columns], alias.name)
            renames = f"({', '.join(quoted(c.name) for c in columns)})"
        if alias.name:
            names = (alias.name,)
    source = scope.add(names, columns)
    return f"{relation.sql} AS {quoted(source.alias)}{renames}"


def _table(queries: QueryBinder, node: exp.Table, scope: Scope) -> str:
    unknown = {k for k, v in node.args.items() if v} - _TABLE_ARGS
    if unknown:
        raise UnsupportedOperation(f"{', '.join(sorted(unknown)).upper()} of a table is not supported.")
    if isinstance(node.this, exp.Anonymous):
        return _table_call(queries, node, scope)
    if "cte" in node.meta:
        relation = queries.cte(node.meta["cte"])
        if relation is None:
            raise ValidationError(f"Object '{node.meta['cte']}' not found")
        return _aliased(relation, node, (node.meta["cte"],), scope)
    names = tuple(node.meta.get("names") or path_of(node))
    return _aliased(queries.tables.relation(node), node, names, scope)


def _table_call(queries: QueryBinder, node: exp.Table, scope: Scope) -> str:
    call = node.this
    if str(call.this).upper() != "TABLE" or len(call.expressions) != 1:
        raise ValidationError(f"No match found for function signature {str(call.this).upper()}(...)")
    inner = call.expressions[0]
    if isinstance(inner, exp.Anonymous) and str(inner.this).upper() == "FLATTEN":
        return _unnest(queries, node, inner.expressions, scope, False)
    relation = queries.tables.table_function(queries, inner, node)
    return _aliased(relation, node, ("EXPR$0",), scope)


def _subquery(queries: QueryBinder, node: exp.Subquery, scope: Scope) -> str:
    inner = node.this
    if isinstance(inner, (exp.Table, exp.Subquery)) and node.args.get("alias") is None:
        nested = _item(queries, inner, scope)
        return nested if nested.startswith("(") else f"({nested})"
    view = node.meta.get("view")
    relation = queries.query(inner, None if view else scope.parent)
    if not relation.sql.startswith("(") or isinstance(inner, exp.SetOperation):
        relation = Relation(f"({relation.sql})", relation.columns)
    names = tuple(node.meta.get("names") or ()) or (_fresh(scope),)
    if view and node.args.get("alias") is not None and node.meta.get("names"):
        source = scope.add(names, relation.columns)
        return f"{relation.sql} AS {quoted(source.alias)}"
    return _aliased(relation, node, names, scope)


def _fresh(scope: Scope) -> str:
    return f"EXPR${len(scope.sources)}"


def _lateral(queries: QueryBinder, node: exp.Lateral, scope: Scope) -> str:
    inner = node.this
    if isinstance(inner, exp.Anonymous) and str(inner.this).upper() == "FLATTEN":
        return _unnest(queries, node, inner.expressions, scope, False)
    if isinstance(inner, exp.Unnest):
        return _unnest(queries, node, inner.expressions, scope, bool(inner.args.get("offset")))
    if isinstance(inner, exp.Subquery):
        relation = queries.query(inner.this, scope)
        return "LATERAL " + _aliased(Relation(f"({relation.sql})", relation.columns), node, (_fresh(scope),), scope)
    raise UnsupportedOperation("LATERAL is supported before a subquery and FLATTEN only.")


def _unnest(queries: QueryBinder, node: exp.Expr, args: list[exp.Expr], scope: Scope, ordinality: bool) -> str:
    if len(args) != 1:
        raise ValidationError("UNNEST takes one list.")
    value = ExpressionBinder(queries, scope).bind(args[0])
    if value.kind is None or value.kind.name != "LIST":
        raise ValidationError("Cannot apply UNNEST to a value that is no list.")
    element = value.kind.children[0][1]
    columns = [Field("EXPR$0", element)]
    if ordinality:
        columns.append(Field("ORDINALITY", kinds.INTEGER))
        inside = (
            f'(SELECT unnest({value.sql}) AS "EXPR$0",'
            f' CAST(generate_subscripts({value.sql}, 1) AS INTEGER) AS "ORDINALITY")'
        )
    else:
        inside = f'(SELECT unnest({value.sql}) AS "EXPR$0")'
    correlated = "LATERAL " if scope.sources or scope.parent else ""
    alias = node.args.get("alias")
    names = [c.name for c in alias.columns] if alias is not None else []
    offset = node.args.get("offset")
    if isinstance(offset, exp.Identifier) and alias is not None and len(names) == 1:
        names.append(offset.name)
    columns = _renamed(columns, names, alias.name if alias is not None else "UNNEST")
    source = scope.add((alias.name if alias is not None and alias.name else _fresh(scope),), columns)
    renames = ", ".join(quoted(c.name) for c in columns)
    return f"{correlated}{inside} AS {quoted(source.alias)}({renames})"


def _join(queries: QueryBinder, join: exp.Join, scope: Scope) -> str:
    side = (join.side or "").upper()
    kind = (join.kind or "").upper()
    method = (join.method or "").upper()
    if kind in ("SEMI", "ANTI", "STRAIGHT") or method not in ("", "NATURAL"):
        raise UnsupportedOperation(f"{kind or method} JOIN is not supported.")
    before = list(scope.sources)
    right = _item(queries, join.this, scope)
    added = [source for source in scope.sources if source not in before]
    using = [i.name for i in join.args.get("using") or []]
    on = join.args.get("on")
    if method == "NATURAL":
        left_names = {*scope.merged, *(c.name.lower() for s in before for c in s.columns)}
        using = [c.name for s in added for c in s.columns if c.name.lower() in left_names]
    if using:
        condition = _using(using, side, before, added, scope)
        return f" {side + ' ' if side else ''}JOIN {right} ON {condition}"
    if on is not None:
        condition = ExpressionBinder(queries, scope).boolean(on)
        return f" {side + ' ' if side else ''}JOIN {right} ON {condition}"
    if side:
        raise ValidationError(f"{side} JOIN needs a condition (ON or USING)")
    if kind == "CROSS" or method == "NATURAL":
        return f" CROSS JOIN {right}"
    if kind == "INNER":
        raise ValidationError(
            "INNER, LEFT, RIGHT or FULL join requires a condition (NATURAL keyword or ON or USING clause)"
        )
    return f" CROSS JOIN {right}"


def _using(names: list[str], side: str, before: list[Source], added: list[Source], scope: Scope) -> str:
    """The condition of USING; the columns become one, of the side that has all rows."""
    conditions = []
    for name in names:
        right_source = _owner(name, added)
        right = _value(right_source, name)
        merged = scope.merged.get(name.lower())
        if merged is None:
            left_source = _owner(name, before)
            left_source.hidden.add(name.lower())
            left = _value(left_source, name)
        else:
            left = merged[1]
        right_source.hidden.add(name.lower())
        kind = kinds.common(left.kind, right.kind)
        if kind is not None and kind != kinds.NULL:
            left, right = casts.cast(left, kind), casts.cast(right, kind)
        conditions.append(f"{left.sql} = {right.sql}")
        sql = {"RIGHT": right.sql, "FULL": f"coalesce({left.sql}, {right.sql})"}.get(side, left.sql)
        shown = next(c.name for c in right_source.columns if c.name.lower() == name.lower())
        scope.merged[name.lower()] = (Field(shown, kind), Bound(sql, kind))
    return " AND ".join(conditions) or "TRUE"


def _value(source: Source, name: str) -> Bound:
    column = next(c for c in source.columns if c.name.lower() == name.lower())
    return Bound(f"{quoted(source.alias)}.{quoted(column.name)}", column.kind)


def _owner(name: str, sources: list[Source]) -> Source:
    for source in sources:
        if name.lower() not in source.hidden and any(c.name.lower() == name.lower() for c in source.columns):
            return source
    raise ValidationError(f"Column '{name}' not found in any table")
