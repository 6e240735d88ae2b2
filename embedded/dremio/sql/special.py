"""Calls whose arguments need the tree, not bound values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, functions_binary, kinds
from embedded.dremio.sql.kinds import duckdb_type, text
from embedded.dremio.sql.registry import Bound
from embedded.dremio.types import DremioType

if TYPE_CHECKING:
    from embedded.dremio.sql.expressions import ExpressionBinder


def _values(binder: ExpressionBinder, node: exp.Anonymous, minimum: int) -> list[Bound]:
    if len(node.expressions) < minimum:
        raise ValidationError(f"No match found for function signature {str(node.this).upper()}()")
    return [binder.bind(e) for e in node.expressions]


def coalesce(binder: ExpressionBinder, node: exp.Anonymous) -> Bound:
    """COALESCE: the branches get their common type first."""
    values, kind = casts.unify(_values(binder, node, 1))
    return Bound(f"COALESCE({', '.join(v.sql for v in values)})", kind)


def nvl(binder: ExpressionBinder, node: exp.Anonymous) -> Bound:
    """NVL and IFNULL: COALESCE of two."""
    if len(node.expressions) != 2:
        raise ValidationError(f"No match found for function signature {str(node.this).upper()}()")
    return coalesce(binder, node)


def nullif(binder: ExpressionBinder, node: exp.Anonymous) -> Bound:
    """NULLIF: compared after the implicit casts, with the first argument's type."""
    values = _values(binder, node, 2)
    left, right = binder.comparable(values[0], values[1])
    return Bound(f"CASE WHEN {left.sql} = {right.sql} THEN NULL ELSE {values[0].sql} END", values[0].kind)


def extreme(binder: ExpressionBinder, node: exp.Anonymous) -> Bound:
    """GREATEST and LEAST: null if any argument is (DuckDB's skip nulls)."""
    values, kind = casts.unify(_values(binder, node, 1))
    sqls = [v.sql for v in values]
    nulls = " OR ".join(f"{s} IS NULL" for s in sqls)
    name = str(node.this).lower()
    return Bound(f"CASE WHEN {nulls} THEN NULL ELSE {name}({', '.join(sqls)}) END", kind)


def flatten(binder: ExpressionBinder, node: exp.Anonymous) -> Bound:
    """FLATTEN in the select list: one row for each element."""
    values = _values(binder, node, 1)
    if len(values) != 1 or values[0].kind is None or values[0].kind.name != "LIST":
        raise ValidationError("Cannot apply FLATTEN to a value that is no list.")
    select = node.find_ancestor(exp.Select)
    calls = [c for c in select.find_all(exp.Anonymous) if str(c.this).upper() == "FLATTEN"] if select else []
    direct = [c for c in calls if c.find_ancestor(exp.Select) is select]
    if len(direct) > 1:
        raise UnsupportedOperation("More than one FLATTEN in a SELECT is not supported: nest subqueries.")
    return Bound(f"unnest({values[0].sql})", values[0].kind.children[0][1])


def _json_kind(value: Any) -> DremioType:
    if value is None:
        return kinds.NULL
    if isinstance(value, bool):
        return kinds.BOOLEAN
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValidationError(f"Failure while trying to convert JSON: {value} is out of range of BIGINT")
        return kinds.BIGINT
    if isinstance(value, float):
        return kinds.DOUBLE
    if isinstance(value, str):
        return kinds.VARCHAR
    if isinstance(value, list):
        element: DremioType | None = kinds.NULL
        for item in value:
            element = kinds.common(element, _json_kind(item)) if element is not None else None
        if element is None:
            raise UnsupportedOperation("CONVERT_FROM: a JSON list of mixed types is not supported.")
        return DremioType("LIST", children=(("", element),))
    children = tuple((name, _json_kind(item)) for name, item in value.items())
    return DremioType("STRUCT", children=tuple((n, k) for n, k in children if k != kinds.NULL))


def convert_from(binder: ExpressionBinder, node: exp.Anonymous) -> Bound:
    """CONVERT_FROM(x, 'JSON' | 'UTF8'): the shape of JSON is known when planning for literals only."""
    if len(node.expressions) != 2 or not isinstance(node.expressions[1], exp.Literal):
        raise ValidationError("No match found for function signature CONVERT_FROM()")
    encoding = node.expressions[1].name.upper()
    value = binder.bind(node.expressions[0])
    if encoding != "JSON":
        return functions_binary.convert_from(value, encoding)
    if value.literal is None:
        raise UnsupportedOperation("CONVERT_FROM(.., 'JSON') is supported for literals only: use TRY_CONVERT_FROM.")
    try:
        parsed = json.loads(value.literal)
    except ValueError as error:
        raise ValidationError(f"Failure while trying to convert JSON: {error}") from error
    return from_json(value.sql, _json_kind(parsed))


def from_json(sql: str, kind: DremioType) -> Bound:
    """A JSON text as a value of a given type."""
    structure = text(json.dumps(structure_of(kind)))
    return Bound(f"from_json({sql}, {structure})", kind)


def try_from_json(value: Bound, kind: DremioType) -> Bound:
    """A JSON text as a value of a given type; null when it is no such value. Fields that are missing are null."""
    structure = text(json.dumps(structure_of(kind)))
    return Bound(f"TRY(from_json_strict(py_json_completed({value.sql}, {structure}), {structure}))", kind)


def convert(binder: ExpressionBinder, node: exp.Anonymous) -> Bound:
    """``{fn CONVERT(value, TYPE)}``, JDBC's CAST; a type may be written ``SQL_INTEGER``."""
    if len(node.expressions) != 2 or not isinstance(node.expressions[1], exp.Column | exp.Var):
        raise ValidationError("No match found for function signature CONVERT()")
    name = node.expressions[1].name.upper().removeprefix("SQL_")
    kind = exp.DataType.build({"INTEGER": "INT"}.get(name, name), dialect="dremio")
    return casts.explicit(binder.bind(node.expressions[0]), casts.target(kind), False)


def structure_of(kind: DremioType) -> Any:
    """A type as DuckDB's JSON functions are told it."""
    if kind.name == "LIST":
        return [structure_of(kind.children[0][1])]
    if kind.name == "STRUCT":
        return {name: structure_of(child) for name, child in kind.children}
    return duckdb_type(kind if kind != kinds.NULL else kinds.VARCHAR)


def typeof(binder: ExpressionBinder, node: exp.Anonymous) -> Bound:
    """TYPEOF: the names of Arrow's types; of a null it is NULL."""
    values = _values(binder, node, 1)
    kind = values[0].kind
    if kind is None:
        raise UnsupportedOperation("TYPEOF of this expression is not supported.")
    if kind == kinds.NULL:
        return Bound("'NULL'", kinds.VARCHAR)
    name = text(_ARROW_NAMES.get(kind.name, kind.name))
    return Bound(f"CASE WHEN {values[0].sql} IS NULL THEN 'NULL' ELSE {name} END", kinds.VARCHAR)


_ARROW_NAMES = {
    "INTEGER": "INT", "FLOAT": "FLOAT4", "DOUBLE": "FLOAT8", "BOOLEAN": "BIT", "DATE": "DATEMILLI", "TIME": "TIMEMILLI",
    "TIMESTAMP": "TIMESTAMPMILLI", "INTERVAL DAY TO SECOND": "INTERVALDAY", "INTERVAL YEAR TO MONTH": "INTERVALYEAR",
}  # fmt: skip

SPECIAL: dict[str, Callable[[ExpressionBinder, exp.Anonymous], Bound]] = {
    "COALESCE": coalesce,
    "NVL": nvl,
    "IFNULL": nvl,
    "NULLIF": nullif,
    "GREATEST": extreme,
    "LEAST": extreme,
    "FLATTEN": flatten,
    "CONVERT": convert,
    "CONVERT_FROM": convert_from,
    "TYPEOF": typeof,
}
