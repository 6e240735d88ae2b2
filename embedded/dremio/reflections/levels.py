"""What lies under a FROM item: the datasets that a SELECT's only source is a plain projection or filter of.

``SELECT .. FROM gold.orders`` where the view is ``SELECT a, b FROM lake.orders WHERE c > 0`` reads the level
``gold.orders`` and the level ``lake.orders`` with the filter ``c > 0``. A reflection on either may serve it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from embedded.dremio.catalog import Catalog, Entity
from embedded.dremio.errors import DremioError
from embedded.dremio.sql.dialect import path_of

_PLAIN_SELECT = frozenset({"expressions", "from_", "where", "order", "kind"})
BASE = "base_column"

# Nodes and calls that are functions of their operands' values alone: the same for equal operands, no matter how
# many rows there are. A call is an ``exp.Anonymous`` in the dialect's trees.
_VALUE_NODES = (exp.Connector, exp.Cast, exp.Case, exp.If, exp.Extract)
_VALUE_CALL_NAMES = """
    ABS BTRIM CEIL CEILING CHAR_LENGTH COALESCE CONCAT DATE_ADD DATE_DIFF DATE_PART DATE_SUB DATE_TRUNC DATEDIFF DAY
    DAYOFMONTH DAYOFWEEK DAYOFYEAR FLOOR GREATEST HOUR IF INITCAP LAST_DAY LEAST LEFT LENGTH LOWER LPAD LTRIM MINUTE
    MOD MONTH NULLIF NVL POSITION QUARTER REGEXP_LIKE REPLACE RIGHT ROUND RPAD RTRIM SECOND SIGN SPLIT_PART STRPOS
    SUBSTR SUBSTRING TIMESTAMPADD TIMESTAMPDIFF TO_CHAR TO_DATE TRIM TRUNCATE UPPER WEEK YEAR
"""
_VALUE_CALLS = frozenset(_VALUE_CALL_NAMES.split())
_NEVER = (
    exp.Query,
    exp.Window,
    exp.Filter,
    exp.WithinGroup,
    exp.Star,
    exp.Distinct,
    exp.Parameter,
    exp.Placeholder,
    exp.Lambda,
    exp.Bracket,
    exp.Dot,
    exp.UDTF,
)


class NoMatch(Exception):
    """The reflection cannot stand in here."""


@dataclass(frozen=True)
class Level:
    """One dataset under a source: `columns` maps a name that the SELECT sees (lower case) to the dataset's own."""

    dataset: Entity
    columns: dict[str, str]
    filters: tuple[exp.Expr, ...] = ()
    direct: bool = True


def source_names(source: exp.Expr) -> tuple[str, ...]:
    """The path by which a SELECT may name a FROM item; its last part is the alias."""
    alias = source.args.get("alias")
    if alias is not None and alias.name and not source.meta.get("names"):
        return (alias.name,)
    if source.meta.get("names"):
        return tuple(source.meta["names"])
    return path_of(source) if isinstance(source, exp.Table) else ()


def is_plain_source(source: exp.Expr) -> bool:
    """True for a table or subquery with nothing done to it: no joins, renamed columns, time travel, sample."""
    allowed = {"this", "alias", "db", "catalog"}
    if {key for key, value in source.args.items() if value} - allowed:
        return False
    alias = source.args.get("alias")
    return not (alias is not None and alias.columns)


def levels_of(source: exp.Expr, catalog: Catalog) -> list[Level]:
    """The levels under a source, outermost first; empty when it is nothing that could be replaced."""
    if not is_plain_source(source):
        return []
    found = []
    dataset_id = source.meta.get("dataset_id")
    if dataset_id is not None:
        try:
            dataset = catalog.get_by_id(dataset_id)
        except DremioError:
            return []
        found.append(Level(dataset, {c.name.lower(): c.name for c in dataset.columns}))
    if isinstance(source, exp.Subquery):
        found += _levels_below(source, catalog)
    return found


def _levels_below(source: exp.Subquery, catalog: Catalog) -> list[Level]:
    select = source.this
    while isinstance(select, exp.Subquery) and not select.args.get("alias") and is_plain_source(select):
        select = select.this
    inner = only_source(select) if isinstance(select, exp.Select) else None
    if inner is None or {key for key, value in select.args.items() if value} - _PLAIN_SELECT:
        return []
    deeper = levels_of(inner, catalog)
    if not deeper:
        return []
    visible = _visible_names(select, inner, list(deeper[0].columns) if deeper[0].direct else [], source)
    if visible is None:
        return []
    return [level for one in deeper if (level := _seen_through(one, visible, select, inner)) is not None]


def only_source(select: exp.Select) -> exp.Expr | None:
    """The only FROM item of a SELECT, None when there are more."""
    from_ = select.args.get("from_")
    if from_ is None or select.args.get("joins") or select.args.get("laterals"):
        return None
    source: exp.Expr = from_.this
    return source if isinstance(source, exp.Table | exp.Subquery) else None


def _visible_names(
    select: exp.Select, inner: exp.Expr, inner_columns: list[str], holder: exp.Subquery
) -> dict[str, str] | None:
    """Name outside (lower case) -> name inside (lower case), for a SELECT of plain columns only."""
    pairs: list[tuple[str, str]] = []
    for item in select.expressions:
        if isinstance(item, exp.Star) and not any(item.args.values()) and inner_columns:
            pairs += [(name, name) for name in inner_columns]
            continue
        column = item.this if isinstance(item, exp.Alias) else item
        if not isinstance(column, exp.Column) or not names_source(column, inner):
            return None
        pairs.append((item.alias_or_name.lower(), column.name.lower()))
    stored = holder.meta.get("columns")
    if stored:
        if len(stored) != len(pairs):
            return None
        pairs = [(name.lower(), inside) for name, (_, inside) in zip(stored, pairs, strict=True)]
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def _seen_through(level: Level, visible: dict[str, str], select: exp.Select, inner: exp.Expr) -> Level | None:
    columns = {out: level.columns[inside] for out, inside in visible.items() if inside in level.columns}
    filters = list(level.filters)
    where = select.args.get("where")
    if where is not None:
        try:
            filters.append(to_base(where.this, level, inner))
        except NoMatch:
            return None
    return Level(level.dataset, columns, tuple(filters), direct=False)


def names_source(column: exp.Column, source: exp.Expr) -> bool:
    """True when a column is unqualified or its qualifier is the source's name."""
    qualifier = [part.name.lower() for part in column.parts[:-1]]
    names = [name.lower() for name in source_names(source)]
    return not qualifier or qualifier == names[-len(qualifier) :]


def to_base(node: exp.Expr, level: Level, source: exp.Expr) -> exp.Expr:
    """An expression over the source's columns as one over the dataset's. Raises NoMatch."""

    def change(one: exp.Expr) -> exp.Expr | None:
        if isinstance(one, exp.Column):
            if not names_source(one, source) or one.name.lower() not in level.columns:
                raise NoMatch
            column = exp.column(exp.to_identifier(level.columns[one.name.lower()], quoted=True))
            column.meta[BASE] = True
            return column
        check_value_node(one)
        return None

    return mapped(node, change)


def check_value_node(node: exp.Expr) -> None:
    """Raises NoMatch for what is not a plain function of its operands' values."""
    if isinstance(node, _NEVER):
        raise NoMatch
    if isinstance(node, exp.Anonymous):
        if call_name(node) not in _VALUE_CALLS:
            raise NoMatch
    elif isinstance(node, exp.Func) and not isinstance(node, _VALUE_NODES):
        raise NoMatch


def call_name(node: exp.Expr) -> str:
    """The name of a call in upper case, empty for everything else."""
    return str(node.this).upper() if isinstance(node, exp.Anonymous) else ""


def call(name: str, *operands: exp.Expr) -> exp.Anonymous:
    """A call as the dialect's parser makes it."""
    return exp.Anonymous(this=name, expressions=list(operands))


def mapped(node: exp.Expr, change: Callable[[exp.Expr], exp.Expr | None]) -> exp.Expr:
    """A copy of a tree in which each node that `change` gives something for is that (not looked into further)."""
    new = change(node)
    if new is not None:
        return new
    copy = node.__class__()
    copy.comments = node.comments
    copy.meta.update(node.meta)
    for key, value in node.args.items():
        if isinstance(value, list):
            items = [mapped(v, change) if isinstance(v, exp.Expr) else v for v in value]
            copy.set(key, items)
        else:
            copy.set(key, mapped(value, change) if isinstance(value, exp.Expr) else value)
    return copy
