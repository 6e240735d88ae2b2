"""Binds queries: SELECT, set operations, CTEs and FROM, to DuckDB's text with known columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sqlglot import exp

from embedded.dremio.errors import ParseError, UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, kinds
from embedded.dremio.sql.kinds import quoted
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.scope import Field, Relation, Scope
from embedded.dremio.sql.windows import window

if TYPE_CHECKING:
    from embedded.dremio.sql.expressions import ExpressionBinder


class Tables(Protocol):
    """Where the binder gets what a resolved table stands for."""

    def relation(self, table: exp.Table) -> Relation:
        """The physical text (usable after FROM) and columns of a table that `resolve` has tagged."""
        ...

    def table_function(self, queries: QueryBinder, call: exp.Anonymous, table: exp.Table) -> Relation:
        """A ``TABLE(f(...))`` other than FLATTEN."""
        ...

    def user_function(self, binder: ExpressionBinder, node: exp.Anonymous, path: tuple[str, ...] = ()) -> Bound | None:
        """A call of a SQL function made by CREATE FUNCTION, or None; `path` stands before its name."""
        ...

    user: str
    roles: frozenset[str] | None  # of the user, in lower case; None without access control
    personal: set[str]  # functions in the statement whose value depends on the user


_SELECT_ARGS = {
    "with_", "expressions", "from_", "joins", "where", "group", "having", "qualify", "order", "limit", "offset",
    "distinct", "windows", "laterals", "hint", "kind",
}  # fmt: skip


class QueryBinder:
    """Binds one statement's query."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._ctes: list[dict[str, Relation]] = []

    def bind(self, query: exp.Query) -> Relation:
        """Bind the outermost query; columns with one name are told apart as Dremio does (``x``, ``x0``)."""
        return self.query(query, None)

    def subquery(self, query: exp.Expr, scope: Scope | None) -> Relation:
        """Bind a nested query that may refer to `scope`."""
        return self.query(query, scope)

    def query(self, node: exp.Expr, parent: Scope | None) -> Relation:
        """Bind any kind of query."""
        if isinstance(node, exp.Subquery):
            if node.args.get("with_") or not isinstance(node.this, exp.Expr):
                raise UnsupportedOperation("WITH before a parenthesis is not supported.")
            inner = self.query(node.this, parent)
            tail = self._tail(node, inner.columns)
            return Relation(f"({inner.sql}){tail}" if tail else f"({inner.sql})", inner.columns)
        prefix = self._with(node, parent)
        if isinstance(node, exp.Select):
            relation = self._select(node, parent)
        elif isinstance(node, exp.SetOperation):
            relation = self._set_operation(node, parent)
        elif isinstance(node, exp.Values):
            relation = self._values(node, parent)
        else:
            raise UnsupportedOperation(f"[{node.sql(dialect='dremio')[:80]}] is no query.")
        if node.args.get("with_"):
            self._ctes.pop()
        return Relation(prefix + relation.sql, relation.columns)

    def cte(self, name: str) -> Relation | None:
        """The CTE of that name, innermost first."""
        for level in reversed(self._ctes):
            if name.lower() in level:
                return level[name.lower()]
        return None

    def special_call(self, name: str) -> Callable[[ExpressionBinder, exp.Anonymous], Bound] | None:
        """Calls whose arguments are not plain expressions."""
        from embedded.dremio.sql.special import SPECIAL

        return SPECIAL.get(name)

    def user_function(self, binder: ExpressionBinder, node: exp.Anonymous, path: tuple[str, ...] = ()) -> Bound | None:
        """See `Tables.user_function`."""
        return self.tables.user_function(binder, node, path)

    # -- parts -----------------------------------------------------------------------------------------------

    def _with(self, node: exp.Expr, parent: Scope | None) -> str:
        with_ = node.args.get("with_")
        if with_ is None:
            return ""
        if with_.args.get("recursive"):
            raise UnsupportedOperation("WITH RECURSIVE is not supported.")
        level: dict[str, Relation] = {}
        self._ctes.append(level)
        texts = []
        for cte in with_.expressions:
            relation = self.query(cte.this, parent)
            names = [column.name for column in cte.args["alias"].columns]
            columns = _renamed(relation.columns, names, cte.alias)
            listed = f"({', '.join(quoted(c.name) for c in columns)})"
            emitted = f"{cte.alias}_{len(self._ctes)}" if self._shadowed(cte.alias) else cte.alias
            texts.append(f"{quoted(emitted)} {listed} AS ({relation.sql})")
            level[cte.alias.lower()] = Relation(quoted(emitted), columns)
        return f"WITH {', '.join(texts)} "

    def _shadowed(self, name: str) -> bool:
        return any(name.lower() in level for level in self._ctes[:-1])

    def _set_operation(self, node: exp.SetOperation, parent: Scope | None) -> Relation:
        left = self.query(node.left, parent)
        right = self.query(node.right, parent)
        word = {exp.Union: "UNION", exp.Intersect: "INTERSECT", exp.Except: "EXCEPT"}[type(node)]
        if len(left.columns) != len(right.columns):
            raise ValidationError(f"Column count mismatch in {word}")
        fields: list[Field] = []
        for a, b in zip(left.columns, right.columns, strict=True):
            kind = kinds.common(a.kind, b.kind)
            if kind is None and a.kind is not None and b.kind is not None:
                raise ValidationError(f"Type mismatch in column {len(fields) + 1} of {word}")
            fields.append(Field(a.name, kind))
        sql = f"{_aligned(left, fields)} {word}{'' if node.args.get('distinct') else ' ALL'} {_aligned(right, fields)}"
        return Relation(sql + self._tail(node, fields), fields)

    def _tail(self, node: exp.Expr, columns: list[Field]) -> str:
        """ORDER BY, LIMIT and OFFSET after a set operation or a parenthesis: over the columns of the result."""
        from embedded.dremio.sql.expressions import ExpressionBinder

        scope = Scope()
        binder = ExpressionBinder(self, scope)
        binder.aliases = {c.name.lower(): Bound(quoted(c.name), c.kind) for c in columns}
        order = node.args.get("order")
        positions = {c.name.lower(): i for i, c in enumerate(columns, 1)}
        tail = f" {self.order(order, binder, positions)}" if order is not None else ""
        return tail + self._limit(node)

    def _limit(self, node: exp.Expr) -> str:
        tail = ""
        limit, offset = node.args.get("limit"), node.args.get("offset")
        if limit is not None:
            if isinstance(limit, exp.Fetch):
                options = limit.args.get("limit_options")
                if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
                    raise UnsupportedOperation("FETCH with PERCENT or TIES is not supported.")
                count = limit.args.get("count") or exp.Literal.number(1)
            else:
                count = limit.expression
            if not isinstance(count, exp.Literal) or not count.name.isdigit():
                raise ParseError("LIMIT must be a number.")
            tail += f" LIMIT {count.name}"
        if offset is not None:
            if not isinstance(offset.expression, exp.Literal) or not offset.expression.name.isdigit():
                raise ParseError("OFFSET must be a number.")
            tail += f" OFFSET {offset.expression.name}"
        return tail

    def order(self, node: exp.Order, binder: ExpressionBinder, positions: dict[str, int] | None = None) -> str:
        """ORDER BY; nulls come last unless said otherwise. `positions`: places of the select list's aliases."""
        binder.alias_first = positions is not None
        items = []
        for item in node.expressions:
            if not isinstance(item, exp.Ordered):
                raise ParseError("Failure parsing ORDER BY.")
            desc = bool(item.args.get("desc"))
            nulls = "FIRST" if item.args.get("nulls_first") else "LAST"
            items.append(f"{_order_key(item.this, binder, positions)} {'DESC' if desc else 'ASC'} NULLS {nulls}")
        binder.alias_first = False
        return "ORDER BY " + ", ".join(items)

    # -- SELECT ----------------------------------------------------------------------------------------------

    def _select(self, node: exp.Select, parent: Scope | None) -> Relation:
        from embedded.dremio.sql import sources
        from embedded.dremio.sql.expressions import ExpressionBinder

        unknown = {k for k, v in node.args.items() if v} - _SELECT_ARGS
        if unknown:
            raise UnsupportedOperation(f"{', '.join(sorted(unknown)).upper()} is not supported in SELECT.")
        if not node.expressions:
            raise ParseError("Failure parsing the query: SELECT needs a list of columns.")
        if node.args.get("hint") is not None:
            raise ParseError(f"Hint: {node.args['hint'].expressions[0].name} should be registered")
        scope = Scope(parent)
        from_text = sources.bind_from(self, node, scope)
        binder = ExpressionBinder(self, scope)
        items = self._items(node, binder)
        where = node.args.get("where")
        where_text = f" WHERE {binder.boolean(where.this)}" if where is not None else ""
        binder.aliases = {field.name.lower(): value for field, value in items}
        group_text = self._group(node, binder)
        having = node.args.get("having")
        having_text = f" HAVING {binder.boolean(having.this)}" if having is not None else ""
        windows = ", ".join(f"{quoted(w.name)} AS ({window(binder, w)})" for w in _named_windows(node))
        qualify = node.args.get("qualify")
        qualify_text = f" QUALIFY {binder.boolean(qualify.this)}" if qualify is not None else ""
        order = node.args.get("order")
        distinct = node.args.get("distinct")
        if distinct is not None and distinct.args.get("on"):
            raise UnsupportedOperation("DISTINCT ON is not supported.")
        positions = {field.name.lower(): place for place, (field, _) in enumerate(items, 1)}
        order_text = f" {self.order(order, binder, positions)}" if order is not None else ""
        if distinct is not None and order is not None:
            _check_distinct_order(order, binder, positions, {value.sql for _, value in items})
        columns = ", ".join(f"{value.sql} AS {quoted(field.name)}" for field, value in items)
        sql = (
            f"SELECT {'DISTINCT ' if distinct is not None else ''}{columns}{from_text}{where_text}{group_text}"
            f"{having_text}{f' WINDOW {windows}' if windows else ''}{qualify_text}{order_text}{self._limit(node)}"
        )
        return Relation(sql, [field for field, _ in items])

    def _items(self, node: exp.Select, binder: ExpressionBinder) -> list[tuple[Field, Bound]]:
        items: list[tuple[Field, Bound]] = []
        for expression in node.expressions:
            if isinstance(expression, exp.Star) or (
                isinstance(expression, exp.Column) and isinstance(expression.this, exp.Star)
            ):
                items += _star(expression, binder)
                continue
            alias = expression.alias if isinstance(expression, exp.Alias) else None
            inner = expression.this if isinstance(expression, exp.Alias) else expression
            value = binder.bind(inner)
            name = alias or _derived_name(inner) or f"EXPR${len(items)}"
            items.append((Field(name, value.kind), value))
        taken: set[str] = set()
        unique = []
        for field, value in items:
            name = _free(field.name, taken)
            unique.append((Field(name, field.kind), value))
        return unique

    def _group(self, node: exp.Select, binder: ExpressionBinder) -> str:
        group = node.args.get("group")
        if group is None:
            return ""
        if group.args.get("all") or group.args.get("totals"):
            raise ParseError("Failure parsing GROUP BY.")
        texts = [_group_item(e, binder) for e in group.expressions]
        return " GROUP BY " + ", ".join(texts)

    def _values(self, node: exp.Values, parent: Scope | None) -> Relation:
        from embedded.dremio.sql.expressions import ExpressionBinder

        binder = ExpressionBinder(self, Scope(parent))
        rows = [[binder.bind(e) for e in _row(item)] for item in node.expressions]
        width = len(rows[0])
        if any(len(row) != width for row in rows):
            raise ValidationError("Values passed to VALUES operator must have compatible types")
        fields, columns = [], []
        alias = node.args.get("alias")
        names = [column.name for column in alias.columns] if alias is not None else []
        for position in range(width):
            values, kind = casts.unify([row[position] for row in rows])
            columns.append(values)
            fields.append(Field(f"EXPR${position}", kind))
        fields = _renamed(fields, names, alias.name if alias is not None else "VALUES")
        listed = ", ".join("(" + ", ".join(column[r].sql for column in columns) + ")" for r in range(len(rows)))
        inside = ", ".join(quoted(field.name) for field in fields)
        return Relation(f'SELECT * FROM (VALUES {listed}) AS "values"({inside})', fields)


def _row(item: exp.Expr) -> list[exp.Expr]:
    if isinstance(item, exp.Tuple) and len(item.expressions) == 1 and isinstance(item.expressions[0], exp.Anonymous):
        item = item.expressions[0] if str(item.expressions[0].this).upper() == "ROW" else item
    if isinstance(item, exp.Tuple):
        return item.expressions
    if isinstance(item, exp.Anonymous) and str(item.this).upper() == "ROW":
        return item.expressions
    if isinstance(item, exp.Paren):
        return [item.this]
    return [item]


def _named_windows(node: exp.Select) -> list[exp.Expr]:
    return node.args.get("windows") or []


def _order_key(key: exp.Expr, binder: ExpressionBinder, positions: dict[str, int] | None) -> str:
    """A place in the select list, or an expression; a literal in a window is no place."""
    if positions is not None and isinstance(key, exp.Literal) and not key.is_string:
        return key.name
    if positions is not None and isinstance(key, exp.Column) and len(key.parts) == 1 and key.name.lower() in positions:
        return str(positions[key.name.lower()])
    bound = binder.bind(key)
    return f"({bound.sql})" if bound.literal is not None else bound.sql


def _check_distinct_order(
    order: exp.Order, binder: ExpressionBinder, positions: dict[str, int], selected: set[str]
) -> None:
    for item in order.expressions:
        key = _order_key(item.this, binder, positions)
        if not key.isdigit() and key not in selected:
            raise ValidationError(f"Expression '{item.this.sql(dialect='dremio')}' is not in the select clause")


def _group_item(node: exp.Expr, binder: ExpressionBinder) -> str:
    if isinstance(node, exp.Literal) and not node.is_string:
        return node.name
    for kind, word in ((exp.Rollup, "ROLLUP"), (exp.Cube, "CUBE")):
        if isinstance(node, kind):
            return f"{word} ({', '.join(_group_item(e, binder) for e in node.expressions)})"
    if isinstance(node, exp.GroupingSets):
        return f"GROUPING SETS ({', '.join(_grouping_set(e, binder) for e in node.expressions)})"
    if isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Tuple):
        return "(" + ", ".join(_group_item(e, binder) for e in node.expressions) + ")"
    bound = binder.bind(node)
    if isinstance(node, exp.Column) and len(node.parts) == 1:
        alias = binder.aliases.get(node.name.lower())
        if alias is not None and alias.sql != bound.sql:
            raise UnsupportedOperation(
                f"GROUP BY {node.name} is ambiguous: it names a column and another expression of the select list."
            )
    return f"({bound.sql})" if bound.literal is not None else bound.sql


def _grouping_set(node: exp.Expr, binder: ExpressionBinder) -> str:
    if isinstance(node, exp.Tuple | exp.Rollup | exp.Cube | exp.GroupingSets):
        return _group_item(node, binder)
    return f"({_group_item(node, binder)})"


def _star(node: exp.Expr, binder: ExpressionBinder) -> list[tuple[Field, Bound]]:
    star = node if isinstance(node, exp.Star) else node.this
    if star.args.get("replace") or star.args.get("rename"):
        raise UnsupportedOperation("SELECT * with REPLACE or RENAME is not supported.")
    left_out = {e.name.lower() for e in star.args.get("except_") or []}
    sources = binder.scope.sources
    if isinstance(node, exp.Column):
        wanted = [part.name.lower() for part in node.parts[:-1]]
        sources = [s for s in sources if [p.lower() for p in s.path][-len(wanted) :] == wanted]
        if not sources:
            raise ValidationError(f"Table '{'.'.join(wanted)}' not found")
    elif not sources:
        raise ValidationError("SELECT * requires a FROM clause")
    found = []
    if isinstance(node, exp.Star):
        found = [item for name, item in binder.scope.merged.items() if name not in left_out]
    for source in sources:
        for column in source.columns:
            hidden = column.name.lower() in source.hidden and isinstance(node, exp.Star)
            if column.name.lower() not in left_out and not hidden:
                sql = f"{quoted(source.alias)}.{quoted(column.name)}"
                found.append((column, Bound(sql, column.kind)))
    return found


def _derived_name(node: exp.Expr) -> str | None:
    if isinstance(node, exp.Column):
        return node.name
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        return node.expression.name
    return None


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 0
    while candidate.lower() in taken:
        candidate, number = f"{name}{number}", number + 1
    taken.add(candidate.lower())
    return candidate


def _renamed(columns: list[Field], names: list[str], alias: str) -> list[Field]:
    if not names:
        return columns
    if len(names) != len(columns):
        raise ValidationError(f"List of column aliases of '{alias}' has {len(names)} names for {len(columns)} columns")
    return [Field(name, column.kind) for name, column in zip(names, columns, strict=True)]


def _aligned(relation: Relation, fields: list[Field]) -> str:
    """A side of a set operation with its columns cast to the common types."""
    if all(c.kind == f.kind or f.kind is None for c, f in zip(relation.columns, fields, strict=True)):
        return f"({relation.sql})"
    items = []
    for column, field in zip(relation.columns, fields, strict=True):
        value = Bound(quoted(column.name), column.kind)
        if field.kind is not None and field.kind != kinds.NULL:
            value = casts.cast(value, field.kind)
        items.append(f"{value.sql} AS {quoted(field.name)}")
    return f"(SELECT {', '.join(items)} FROM ({relation.sql}))"
