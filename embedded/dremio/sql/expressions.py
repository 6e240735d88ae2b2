"""Binds expressions: from Dremio's tree to DuckDB's text with Dremio's meaning and type.

Only the node classes listed in `ExpressionBinder._HANDLERS` are known; anything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from sqlglot import exp

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, intervals, kinds, parameters, predicates, registry, windows
from embedded.dremio.sql.dialect import TryConvertFrom
from embedded.dremio.sql.kinds import text
from embedded.dremio.sql.registry import Bound, Clauses
from embedded.dremio.sql.scope import Scope
from embedded.dremio.types import DremioType

if TYPE_CHECKING:
    from embedded.dremio.sql.query import QueryBinder

_COMPARISONS = {exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}
BARE_FUNCTIONS = frozenset(
    {
        "CURRENT_DATE",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "CURRENT_USER",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "USER",
        "SESSION_USER",
        "SYSTEM_USER",
        "CURRENT_DATE_UTC",
        "CURRENT_TIME_UTC",
        "CURRENT_TIMESTAMP_UTC",
    }
)
UNITS = frozenset(["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"])


class BoundArgument(exp.Expression):
    """An argument in a function's body: ``meta`` has what is bound, the parameter's name, the scope of the call."""

    arg_types: ClassVar[dict[str, bool]] = {}


class ExpressionBinder:
    """Binds the expressions of one scope."""

    def __init__(self, queries: QueryBinder, scope: Scope) -> None:
        self.queries = queries
        self.scope = scope
        self.aliases: dict[str, Bound] = {}  # select aliases that ORDER BY, GROUP BY and HAVING may name
        self.alias_first = False  # in ORDER BY an alias hides a column of its name

    def bind(self, node: exp.Expr) -> Bound:
        """Bind one expression; raises ValidationError, UnsupportedOperation."""
        handler = self._HANDLERS.get(type(node))
        if handler is None:
            raise UnsupportedOperation(f"Expression [{node.sql(dialect='dremio')}] is not supported.")
        return handler(self, node)

    # -- leaves ----------------------------------------------------------------------------------------------

    def _literal(self, node: exp.Literal) -> Bound:
        value = str(node.this)
        if node.is_string:
            return Bound(text(value), kinds.VARCHAR, value)
        if value.isdigit():
            number = int(value)
            if number <= 2**31 - 1:
                return Bound(value, kinds.INTEGER, value)
            if number <= 2**63 - 1:
                return Bound(f"CAST({value} AS BIGINT)", kinds.BIGINT, value)
            if len(value) > kinds.MAX_PRECISION:
                raise ValidationError(f"Numeric literal '{value}' out of range")
            return Bound(f"CAST({value} AS DECIMAL({len(value)}, 0))", kinds.decimal(len(value), 0), value)
        if "e" in value.lower():
            return Bound(f"CAST({value} AS DOUBLE)", kinds.DOUBLE, value)
        whole, _, fraction = value.partition(".")
        digits = len(whole.lstrip("0")) + len(fraction)
        kind = DremioType("DECIMAL", max(digits, len(fraction), 1), len(fraction))
        if (kind.precision or 0) > 38:
            raise ValidationError(f"Numeric literal '{value}' out of range")
        return Bound(f"CAST({text(value)} AS {kinds.duckdb_type(kind)})", kind, value)

    def _bound_argument(self, node: BoundArgument) -> Bound:
        scope: Scope | None = self.scope
        while scope is not None and id(scope) != node.meta["outside"]:
            if any(c.name.lower() == node.meta["name"].lower() for s in scope.sources for c in s.columns):
                raise UnsupportedOperation(
                    f"[{node.meta['name']}] is a parameter of the function and a column in its query: rename one."
                )
            scope = scope.parent
        return Bound(*node.meta["bound"])

    def _hex(self, node: exp.HexString) -> Bound:
        return Bound(f"unhex({text(str(node.this))})", kinds.VARBINARY)

    def _null(self, node: exp.Null) -> Bound:
        return Bound("NULL", kinds.NULL)

    def _boolean(self, node: exp.Boolean) -> Bound:
        return Bound("TRUE" if node.this else "FALSE", kinds.BOOLEAN)

    def _column(self, node: exp.Expr) -> Bound:
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
            path = tuple(_dotted(node.this) or ([node.this.name] if isinstance(node.this, exp.Identifier) else []))
            called = self.queries.user_function(self, node.expression, path)
            if called is None:
                raise ValidationError(f"No match found for function signature {'.'.join(path)}.{node.expression.name}")
            return called
        names = _dotted(node)
        if names is None:
            base = self.bind(node.this)
            return self._field(base, node.expression.name)
        if self.alias_first and len(names) == 1 and names[0].lower() in self.aliases:
            return self.aliases[names[0].lower()]
        found = self.scope.resolve(names)
        if found is None and len(names) == 1:
            if names[0].lower() in self.aliases:
                return self.aliases[names[0].lower()]
            if names[0].upper() in BARE_FUNCTIONS and not _is_quoted(node):
                return registry.call(names[0].upper(), [], node, self)
        if found is None:
            shown = ".".join(names)
            raise ValidationError(
                f"Column '{names[-1]}' not found in any table"
                if len(names) == 1
                else f"Column '{shown}' not found: no such table or column"
            )
        bound, rest = found
        for name in rest:
            bound = self._field(bound, name)
        return bound

    def _field(self, base: Bound, name: str) -> Bound:
        if base.kind is not None and base.kind.name == "STRUCT":
            for field, kind in base.kind.children:
                if field.lower() == name.lower():
                    return Bound(f"struct_extract({base.sql}, {text(field)})", kind)
            raise ValidationError(f"Unable to find the referenced field: [{name}].")
        if base.kind is not None and base.kind.name == "MAP":
            return Bound(f"{base.sql}[{text(name)}]", base.kind.children[1][1])
        raise ValidationError(f"Unable to find the referenced field: [{name}].")

    def _bracket(self, node: exp.Bracket) -> Bound:
        if len(node.expressions) != 1 and not _is_map(node):
            raise UnsupportedOperation(f"[{node.sql(dialect='dremio')}] is not supported.")
        if _is_map(node):
            return registry.call("MAP_CONSTRUCT", [self.bind(e) for e in node.expressions], node, self)
        base, index = self.bind(node.this), self.bind(node.expressions[0])
        if base.kind is None:
            raise UnsupportedOperation(f"[{node.sql(dialect='dremio')}]: the type of the base is not known.")
        if base.kind.name == "LIST":
            # Dremio counts list elements from 0, DuckDB from 1; a negative index has no element
            return Bound(
                f"CASE WHEN {index.sql} >= 0 THEN list_extract({base.sql}, CAST({index.sql} AS BIGINT) + 1) END",
                base.kind.children[0][1],
            )
        if base.kind.name == "STRUCT" and index.literal is not None:
            return self._field(base, index.literal)
        if base.kind.name == "MAP":
            return Bound(f"{base.sql}[{index.sql}]", base.kind.children[1][1])
        raise ValidationError(f"Cannot take an element of a {base.kind.name}.")

    # -- operators -------------------------------------------------------------------------------------------

    def _paren(self, node: exp.Paren) -> Bound:
        inner = self.bind(node.this)
        return Bound(f"({inner.sql})", inner.kind, inner.literal, inner.unit)

    def _connector(self, node: exp.Connector) -> Bound:
        word = "AND" if isinstance(node, exp.And) else "OR"
        operands = [self.boolean(part) for part in node.flatten()]
        return Bound("(" + f" {word} ".join(operands) + ")", kinds.BOOLEAN)

    def boolean(self, node: exp.Expr) -> str:
        """Bind a condition."""
        bound = self.bind(node)
        if bound.kind is not None and bound.kind.name not in ("BOOLEAN", "NULL"):
            raise ValidationError(
                f"A condition must be BOOLEAN, but [{node.sql(dialect='dremio')}] is {bound.kind.name}"
            )
        return bound.sql

    def _not(self, node: exp.Not) -> Bound:
        return Bound(f"(NOT {self.boolean(node.this)})", kinds.BOOLEAN)

    def _neg(self, node: exp.Neg) -> Bound:
        inner = self.bind(node.this)
        if inner.kind is not None and inner.kind.name == "VARCHAR":
            inner = Bound(f"CAST({inner.sql} AS DOUBLE)", kinds.DOUBLE)
        literal = f"-{inner.literal}" if inner.literal is not None else None
        if inner.literal == str(2**31):
            return Bound("CAST(-2147483648 AS INTEGER)", kinds.INTEGER, literal)
        if inner.literal == str(2**63):
            return Bound("CAST(-9223372036854775808 AS BIGINT)", kinds.BIGINT, literal)
        return Bound(f"(-{inner.sql})", inner.kind, literal, inner.unit)

    def comparable(self, left: Bound, right: Bound) -> tuple[Bound, Bound]:
        """Bring two operands of a comparison to one type, as Dremio's implicit casts do."""
        a, b = left.kind, right.kind
        if a is None or b is None or a.name == b.name or kinds.NULL in (a, b):
            return left, right
        if a.name == "VARCHAR":
            return casts.cast(left, casts.comparison_target(b)), right
        if b.name == "VARCHAR":
            return left, casts.cast(right, casts.comparison_target(a))
        names = {a.name, b.name}
        numbers = kinds.is_number(a) and kinds.is_number(b)
        if not numbers and names != {"DATE", "TIMESTAMP"}:
            raise ValidationError(f"Cannot apply a comparison to arguments of type {a.name} and {b.name}")
        return left, right

    def _comparison(self, node: exp.Binary) -> Bound:
        if isinstance(node.expression, (exp.Any, exp.All)):
            left = self.bind(node.this)
            inner = node.expression.this
            query = inner.this if isinstance(inner, exp.Subquery) else inner
            word = "ANY" if isinstance(node.expression, exp.Any) else "ALL"
            relation = self.queries.subquery(query, self.scope)
            return Bound(f"({left.sql} {_COMPARISONS[type(node)]} {word} ({relation.sql}))", kinds.BOOLEAN)
        left, right = self.comparable(self.bind(node.this), self.bind(node.expression))
        return Bound(f"({left.sql} {_COMPARISONS[type(node)]} {right.sql})", kinds.BOOLEAN)

    def _distinct_from(self, node: exp.Binary) -> Bound:
        left, right = self.comparable(self.bind(node.this), self.bind(node.expression))
        word = "IS DISTINCT FROM" if isinstance(node, exp.NullSafeNEQ) else "IS NOT DISTINCT FROM"
        return Bound(f"({left.sql} {word} {right.sql})", kinds.BOOLEAN)

    def _between(self, node: exp.Between) -> Bound:
        if node.args.get("symmetric"):
            raise UnsupportedOperation("BETWEEN SYMMETRIC is not supported.")
        value, low = self.comparable(self.bind(node.this), self.bind(node.args["low"]))
        again, high = self.comparable(self.bind(node.this), self.bind(node.args["high"]))
        return Bound(f"({value.sql} >= {low.sql} AND {again.sql} <= {high.sql})", kinds.BOOLEAN)

    def _arithmetic(self, node: exp.Binary) -> Bound:
        return casts.arithmetic(_ARITHMETIC[type(node)], self.bind(node.this), self.bind(node.expression))

    def _mod(self, node: exp.Mod) -> Bound:
        return registry.call("MOD", [self.bind(node.this), self.bind(node.expression)], node, self)

    def _concat_operator(self, node: exp.DPipe) -> Bound:
        sides = [self.bind(node.this), self.bind(node.expression)]
        if any(side.kind is not None and side.kind.name == "LIST" for side in sides):
            return Bound(f"({sides[0].sql} || {sides[1].sql})", sides[0].kind)
        texts = [casts.cast(side, kinds.VARCHAR).sql for side in sides]
        return Bound(f"({texts[0]} || {texts[1]})", kinds.VARCHAR)

    def _is(self, node: exp.Is) -> Bound:
        what = node.expression
        inner = self.bind(node.this)
        if isinstance(what, exp.Null):
            return Bound(f"({inner.sql} IS NULL)", kinds.BOOLEAN)
        if isinstance(what, exp.Boolean):
            return Bound(
                f"({self.boolean(node.this)} IS NOT DISTINCT FROM {'TRUE' if what.this else 'FALSE'})", kinds.BOOLEAN
            )
        raise UnsupportedOperation(f"[{node.sql(dialect='dremio')}] is not supported.")

    def _like(self, node: exp.Expr) -> Bound:
        return predicates.like(self, node)

    def _similar(self, node: exp.SimilarTo) -> Bound:
        return registry.call("SIMILAR_TO", [self.bind(node.this), self.bind(node.expression)], node, self)

    def _in(self, node: exp.In) -> Bound:
        query = node.args.get("query")
        if query is not None:
            inner = query.this if isinstance(query, exp.Subquery) else query
            relation = self.queries.subquery(inner, self.scope)
            if isinstance(node.this, exp.Tuple):
                left = ", ".join(self.bind(e).sql for e in node.this.expressions)
                return Bound(f"(({left}) IN ({relation.sql}))", kinds.BOOLEAN)
            value = self.bind(node.this)
            kind = relation.columns[0].kind
            if value.kind and kind and "VARCHAR" in (value.kind.name, kind.name) and value.kind.name != kind.name:
                raise ValidationError(
                    f"Values passed to IN operator must have compatible types: {value.kind.name}, {kind.name}"
                )
            return Bound(f"({value.sql} IN ({relation.sql}))", kinds.BOOLEAN)
        if isinstance(node.this, exp.Tuple):
            rows = ", ".join(self.bind(e).sql for e in node.expressions)
            return Bound(f"({self.bind(node.this).sql} IN ({rows}))", kinds.BOOLEAN)
        value = self.bind(node.this)
        pairs = [self.comparable(value, self.bind(e)) for e in node.expressions]
        if all(left.sql == value.sql for left, _ in pairs):
            return Bound(f"({value.sql} IN ({', '.join(right.sql for _, right in pairs)}))", kinds.BOOLEAN)
        return Bound("(" + " OR ".join(f"{a.sql} = {b.sql}" for a, b in pairs) + ")", kinds.BOOLEAN)

    def _exists(self, node: exp.Exists) -> Bound:
        inner = node.this.this if isinstance(node.this, exp.Subquery) else node.this
        return Bound(f"EXISTS ({self.queries.subquery(inner, self.scope).sql})", kinds.BOOLEAN)

    def _scalar_subquery(self, node: exp.Subquery) -> Bound:
        relation = self.queries.subquery(node.this, self.scope)
        if len(relation.columns) != 1:
            raise ValidationError("Subquery returns more than 1 column where one value is expected.")
        return Bound(f"({relation.sql})", relation.columns[0].kind)

    def _tuple(self, node: exp.Tuple) -> Bound:
        return Bound("(" + ", ".join(self.bind(e).sql for e in node.expressions) + ")", None)

    def _array(self, node: exp.Array) -> Bound:
        items = [self.bind(e) for e in node.expressions]
        items, kind = casts.unify(items) if items else (items, kinds.NULL)
        of = DremioType("LIST", children=(("", kind),)) if kind is not None else None
        return Bound(f"list_value({', '.join(item.sql for item in items)})", of)

    # -- CASE, CAST and calls --------------------------------------------------------------------------------

    def _case(self, node: exp.Case) -> Bound:
        subject = node.args.get("this")
        conditions, values = [], []
        for branch in node.args["ifs"]:
            if subject is None:
                conditions.append(self.boolean(branch.this))
            else:
                left, right = self.comparable(self.bind(subject), self.bind(branch.this))
                conditions.append(f"{left.sql} = {right.sql}")
            values.append(self.bind(branch.args["true"]))
        if node.args.get("default") is not None:
            values.append(self.bind(node.args["default"]))
        values, kind = casts.unify(values)
        whens = " ".join(f"WHEN {c} THEN {v.sql}" for c, v in zip(conditions, values, strict=False))
        default = f" ELSE {values[-1].sql}" if len(values) > len(conditions) else ""
        return Bound(f"CASE {whens}{default} END", kind)

    def _if(self, node: exp.If) -> Bound:
        rest = [node.args["true"]] + ([node.args["false"]] if node.args.get("false") is not None else [])
        values, kind = casts.unify([self.bind(e) for e in rest])
        tail = f" ELSE {values[1].sql}" if len(values) > 1 else ""
        return Bound(f"CASE WHEN {self.boolean(node.this)} THEN {values[0].sql}{tail} END", kind)

    def _cast(self, node: exp.Cast) -> Bound:
        return casts.explicit(self.bind(node.this), casts.target(node.to), bool(node.args.get("safe")))

    def _interval(self, node: exp.Interval) -> Bound:
        return intervals.literal(node)

    def _extract(self, node: exp.Extract) -> Bound:
        unit = node.this.name.upper()
        return registry.call(
            "DATE_PART", [Bound(text(unit), kinds.VARCHAR, unit), self.bind(node.expression)], node, self
        )

    def _trim(self, node: exp.Trim) -> Bound:
        name = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}.get(str(node.args.get("position") or "").upper(), "BTRIM")
        args = [node.this] + ([node.expression] if node.args.get("expression") is not None else [])
        return registry.call(name, [self.bind(a) for a in args], node, self)

    def _substring(self, node: exp.Substring) -> Bound:
        args = [node.this, node.args.get("start"), node.args.get("length")]
        return registry.call("SUBSTRING", [self.bind(a) for a in args if a is not None], node, self)

    def _position(self, node: exp.StrPosition) -> Bound:
        args = [node.args["substr"], node.this, node.args.get("position")]
        return registry.call("LOCATE", [self.bind(a) for a in args if a is not None], node, self)

    def _overlay(self, node: exp.Overlay) -> Bound:
        args = [node.this, node.expression, node.args["from_"], node.args.get("for_")]
        return registry.call("OVERLAY", [self.bind(a) for a in args if a is not None], node, self)

    def _floor(self, node: exp.Expr) -> Bound:
        name = "FLOOR" if isinstance(node, exp.Floor) else "CEIL"
        args = [self.bind(node.this)]
        if node.args.get("to") is not None:
            unit = node.args["to"].name.upper()
            return registry.call(f"{name}$TO", [*args, Bound(text(unit), kinds.VARCHAR, unit)], node, self)
        if node.args.get("decimals") is not None:
            raise ValidationError(f"No match found for function signature {name}(<NUMERIC>, <NUMERIC>)")
        return registry.call(name, args, node, self)

    def _at_time_zone(self, node: exp.AtTimeZone) -> Bound:
        raise UnsupportedOperation("AT TIME ZONE is not supported: use CONVERT_TIMEZONE.")

    def _call(self, node: exp.Anonymous) -> Bound:
        return self.call(node, registry.PLAIN)

    def call(self, node: exp.Anonymous, clauses: Clauses) -> Bound:
        """Bind a call by name, inside of what `clauses` says."""
        name = str(node.this).strip('"').upper()
        if not name.replace("_", "").isalnum():  # the registry's own names are not for statements
            raise ValidationError(f"No match found for function signature {name}()")
        special = self.queries.special_call(name)
        if special is not None:
            return special(self, node)
        args = list(node.expressions)
        if args and isinstance(args[0], exp.Distinct):
            clauses = Clauses("DISTINCT ", clauses.order, clauses.over, clauses.nulls)
            args = list(args[0].expressions)
        if name in registry.WINDOW_ONLY and "OVER" not in clauses.over:
            raise ValidationError(f"OVER clause is necessary for window functions: {name}")
        aggregates = registry.AGGREGATES | registry.WINDOW_ONLY
        if clauses != registry.PLAIN and name not in aggregates and name in registry.FUNCTIONS:
            raise ValidationError(f"{name} is no aggregate function")
        if name not in registry.FUNCTIONS:
            user = self.queries.user_function(self, node)
            if user is not None:
                return user
        if len(args) == 1 and isinstance(args[0], exp.Star):
            return registry.call(f"{name}(*)", [], node, self, clauses)
        return registry.call(name, [self._argument(a) for a in args], node, self, clauses)

    def _argument(self, node: exp.Expr) -> Bound:
        if isinstance(node, exp.Column) and len(node.parts) == 1 and not _is_quoted(node):
            unit = node.name.upper().removeprefix("SQL_TSI_")
            if unit in UNITS and self.scope.resolve([node.name]) is None:
                return Bound(text(unit), kinds.VARCHAR, unit)
        if isinstance(node, exp.Var):
            return Bound(text(node.name), kinds.VARCHAR, node.name)
        return self.bind(node)

    def _overlaps(self, node: exp.Overlaps) -> Bound:
        return predicates.overlaps(self, node)

    def _try_convert_from(self, node: exp.Expr) -> Bound:
        from embedded.dremio.sql.special import try_from_json

        return try_from_json(casts.cast(self.bind(node.this), kinds.VARCHAR), casts.target(node.args["to"]).kind)

    _HANDLERS: ClassVar[dict[type, Callable[..., Bound]]] = {
        exp.Literal: _literal,
        exp.HexString: _hex,
        exp.Null: _null,
        exp.Placeholder: parameters.bind,
        exp.Boolean: _boolean,
        exp.Column: _column,
        exp.Dot: _column,
        exp.Bracket: _bracket,
        exp.Paren: _paren,
        exp.And: _connector,
        exp.Or: _connector,
        exp.Not: _not,
        exp.Neg: _neg,
        **dict.fromkeys(_COMPARISONS, _comparison),
        exp.NullSafeEQ: _distinct_from,
        exp.NullSafeNEQ: _distinct_from,
        exp.Between: _between,
        **dict.fromkeys(_ARITHMETIC, _arithmetic),
        exp.Mod: _mod,
        exp.DPipe: _concat_operator,
        exp.Is: _is,
        exp.Like: _like,
        exp.ILike: _like,
        exp.Escape: _like,
        exp.SimilarTo: _similar,
        exp.In: _in,
        exp.Exists: _exists,
        exp.Subquery: _scalar_subquery,
        exp.Tuple: _tuple,
        exp.Array: _array,
        exp.Case: _case,
        exp.If: _if,
        exp.Cast: _cast,
        exp.TryCast: _cast,
        exp.Interval: _interval,
        exp.Extract: _extract,
        exp.Trim: _trim,
        exp.Substring: _substring,
        exp.StrPosition: _position,
        exp.Overlay: _overlay,
        exp.Floor: _floor,
        exp.Ceil: _floor,
        exp.AtTimeZone: _at_time_zone,
        exp.Anonymous: _call,
        exp.Filter: windows.with_clauses,
        exp.WithinGroup: windows.with_clauses,
        exp.Window: windows.over_window,
        exp.Overlaps: _overlaps,
        TryConvertFrom: _try_convert_from,
        BoundArgument: _bound_argument,
    }


def _dotted(node: exp.Expr) -> list[str] | None:
    """The names of ``a.b.c``, or None when something else than names is in it."""
    if isinstance(node, exp.Column):
        names = [part.name for part in node.parts]
        return names
    if isinstance(node, exp.Dot):
        left = [node.this.name] if isinstance(node.this, exp.Identifier) else _dotted(node.this)
        if left is not None and isinstance(node.expression, exp.Identifier):
            return [*left, node.expression.name]
    return None


def _is_quoted(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and bool(node.this.args.get("quoted"))


def _is_map(node: exp.Bracket) -> bool:
    base = node.this
    return isinstance(base, exp.Column) and len(base.parts) == 1 and base.name.upper() == "MAP" and not _is_quoted(base)
