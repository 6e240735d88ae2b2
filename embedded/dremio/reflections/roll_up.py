"""One SELECT over one dataset, computed from one reflection: raw columns, or stored aggregates rolled up."""

from __future__ import annotations

from sqlglot import exp

from embedded.dremio.catalog import Entity
from embedded.dremio.reflections.definition_sql import (
    ROW_COUNT,
    day_dimensions,
    measure_column,
    used_columns,
)
from embedded.dremio.reflections.levels import (
    BASE,
    Level,
    NoMatch,
    call,
    call_name,
    check_value_node,
    mapped,
    names_source,
    source_names,
)
from embedded.dremio.reflections.model import RAW, Reflection

_SELECT_PARTS = frozenset(
    {"with_", "expressions", "from_", "where", "group", "having", "order", "limit", "offset", "distinct", "kind"}
)
_MINIMUM_AVERAGE_SCALE = 6
_ROLLED_UP = frozenset({"SUM", "MIN", "MAX", "AVG", "COUNT"})
# aggregates that make a SELECT a grouping one but cannot be rolled up
_OTHER_AGGREGATE_NAMES = """
    $SUM0 ANY_VALUE APPROX_COUNT_DISTINCT ARRAY_AGG BIT_AND BIT_OR CORR COVAR_POP COVAR_SAMP LISTAGG MEDIAN NDV
    PERCENTILE_CONT PERCENTILE_DISC STDDEV STDDEV_POP STDDEV_SAMP VARIANCE VAR_POP VAR_SAMP
"""
_AGGREGATES = _ROLLED_UP | frozenset(_OTHER_AGGREGATE_NAMES.split())


class RollUp:
    """How the SELECT reads from the materialization. Making one raises NoMatch; `apply` cannot fail."""

    def __init__(
        self, select: exp.Select, source: exp.Expr, level: Level, reflection: Reflection, dataset: Entity
    ) -> None:
        self._select, self._source, self._level = select, source, level
        self._raw = reflection.type == RAW
        self._types = {column.name: column.type for column in dataset.columns}
        self._days = set() if self._raw else day_dimensions(reflection, dataset)
        kept = [c.name for c in used_columns(reflection, dataset)] if self._raw else []
        self._dimensions = set(kept or reflection.column_names("dimensionFields")) - self._days
        self._measures = {
            (kind, item["name"])
            for item in reflection.fields.get("measureFields", [])
            for kind in item["measureTypeList"]
        }
        if {key for key, value in select.args.items() if value} - _SELECT_PARTS:
            raise NoMatch
        if not self._raw and not _is_grouping(select):
            raise NoMatch
        self._alias = (source_names(source) or ("",))[-1]
        self._output = {item.alias: item.this for item in select.expressions if isinstance(item, exp.Alias)}
        self._new = self._plan()

    def _plan(self) -> dict[str, object]:
        """The SELECT's new parts."""
        select = self._select
        new: dict[str, object] = {"expressions": [self._item(item) for item in select.expressions]}
        conditions = [self._mapped(one, "where") for one in self._level.filters]
        where = select.args.get("where")
        if where is not None:
            conditions.append(self._mapped(where.this, "where"))
        if conditions:
            new["where"] = exp.Where(this=exp.and_(*conditions, copy=False))
        for part in ("group", "having", "order"):
            node = select.args.get(part)
            if node is not None:
                new[part] = self._mapped(node, part)
        return new

    def apply(self, table: exp.Table) -> None:
        """Change the SELECT to read from the materialization."""
        for part, value in self._new.items():
            self._select.set(part, value)
        self._source.replace(table)

    def _item(self, item: exp.Expr) -> exp.Expr:
        """One output column under the name that it had."""
        if isinstance(item, exp.Column) and not isinstance(item.this, exp.Star):
            return exp.alias_(self._mapped(item, "select"), item.name, quoted=True)
        return self._mapped(item, "select")

    def _mapped(self, node: exp.Expr, part: str) -> exp.Expr:
        def change(one: exp.Expr) -> exp.Expr | None:
            if isinstance(one, exp.Column):
                return self._column(one, part)
            if call_name(one) in _AGGREGATES and not self._raw:
                return self._aggregate(one)
            if isinstance(one, exp.Cast) and one.to.this == exp.DataType.Type.DATE:
                return self._day(one)
            if not (self._raw and _is_aggregate_part(one)):
                check_value_node(one)
            return None

        return mapped(node, change)

    def _base_name(self, column: exp.Column) -> str | None:
        """The dataset's column that a column of the SELECT is, None when it is another name."""
        if column.meta.get(BASE):
            return column.name
        if isinstance(column.this, exp.Star) or not names_source(column, self._source):
            raise NoMatch
        return self._level.columns.get(column.name.lower())

    def _column(self, column: exp.Column, part: str) -> exp.Expr:
        base = self._base_name(column)
        if not column.meta.get(BASE) and len(column.parts) == 1:
            output = next((v for k, v in self._output.items() if k.lower() == column.name.lower()), None)
            if output is not None and part == "order":
                return column.copy()
            if output is not None and part in ("group", "having"):
                if base is None:
                    return column.copy()
                if not (isinstance(output, exp.Column) and self._base_name(output) == base):
                    raise NoMatch
        if base is None or base not in self._dimensions:
            raise NoMatch
        return self._stored(base)

    def _stored(self, name: str) -> exp.Column:
        table = exp.to_identifier(self._alias, quoted=True) if self._alias else None
        return exp.column(exp.to_identifier(name, quoted=True), table=table)

    def _day(self, cast: exp.Cast) -> exp.Expr | None:
        """CAST(c AS DATE) of a timestamp that is kept by day."""
        if isinstance(cast.this, exp.Column) and self._days:
            base = self._base_name(cast.this)
            if base in self._days and base is not None:
                return self._stored(base)
        return None

    # --- aggregates -----------------------------------------------------------------------------------------------

    def _aggregate(self, node: exp.Expr) -> exp.Expr:
        name, operands = call_name(node), node.expressions
        if name not in _ROLLED_UP or len(operands) != 1:
            raise NoMatch
        if name == "COUNT":
            return self._count(operands[0])
        base = self._argument(operands[0])
        if name in ("MIN", "MAX") and base in self._dimensions:
            return call(name, self._stored(base))
        if name == "AVG":
            return self._average(base)
        return call(name, self._measure(name, base))

    def _argument(self, node: exp.Expr | None) -> str:
        base = self._base_name(node) if isinstance(node, exp.Column) else None
        if base is None:
            raise NoMatch
        return base

    def _measure(self, kind: str, base: str) -> exp.Column:
        if (kind, base) not in self._measures:
            raise NoMatch
        return self._stored(measure_column(kind, base))

    def _count(self, operand: exp.Expr) -> exp.Expr:
        if isinstance(operand, exp.Star) or (isinstance(operand, exp.Literal) and not operand.is_string):
            return _total(self._stored(ROW_COUNT))
        if isinstance(operand, exp.Distinct):
            bases = [self._argument(one) for one in operand.expressions]
            if len(bases) != 1 or bases[0] not in self._dimensions:
                raise NoMatch
            return call("COUNT", exp.Distinct(expressions=[self._stored(bases[0])]))
        base = self._argument(operand)
        if base in self._dimensions:
            present = exp.Not(this=exp.Is(this=self._stored(base), expression=exp.Null()))
            return _total(exp.Case(ifs=[exp.If(this=present, true=self._stored(ROW_COUNT))]))
        return _total(self._measure("COUNT", base))

    def _average(self, base: str) -> exp.Expr:
        """SUM / COUNT in the type of AVG: DOUBLE, or for decimals exact with at least six digits."""
        total = call("SUM", self._measure("SUM", base))
        count = call("NULLIF", call("SUM", self._measure("COUNT", base)), exp.Literal.number(0))
        kind = self._types[base]
        if kind.name != "DECIMAL":
            return _quotient(exp.cast(total, "DOUBLE"), exp.cast(count, "DOUBLE"))
        scale = max(kind.scale or 0, _MINIMUM_AVERAGE_SCALE)
        whole = exp.cast(count, exp.DataType.build("DECIMAL(19, 0)"))
        return exp.cast(_quotient(total, whole), exp.DataType.build(f"DECIMAL(38, {scale})"))


def _quotient(dividend: exp.Expr, divisor: exp.Expr) -> exp.Expr:
    return exp.Paren(this=exp.Div(this=dividend, expression=divisor, typed=True, safe=False))


def _total(node: exp.Expr) -> exp.Expr:
    """A count is 0, not null, when there is no row."""
    return call("COALESCE", call("SUM", node), exp.Literal.number(0))


def _is_grouping(select: exp.Select) -> bool:
    """True when the SELECT's rows do not depend on how often a row of its source occurs, but for its aggregates."""
    if select.args.get("group") is not None or select.args.get("distinct") is not None:
        return True
    parts = [*select.expressions, select.args.get("having"), select.args.get("order")]
    return any(
        call_name(node) in _AGGREGATES for part in parts if part is not None for node in part.find_all(exp.Anonymous)
    )


def _is_aggregate_part(node: exp.Expr) -> bool:
    """Nodes that are safe over raw rows: an aggregate, its DISTINCT, the star of COUNT(*)."""
    if isinstance(node, exp.Star):
        return call_name(node.parent) == "COUNT" if node.parent is not None else False
    return call_name(node) in _AGGREGATES or isinstance(node, exp.Distinct | exp.Filter)
