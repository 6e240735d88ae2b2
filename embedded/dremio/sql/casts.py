"""CAST, implicit casts, arithmetic and intervals with Dremio's results."""

from __future__ import annotations

from typing import NamedTuple

from sqlglot import exp

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import intervals, kinds
from embedded.dremio.sql.intervals import MONTH_UNITS
from embedded.dremio.sql.kinds import Kind, duckdb_type, text
from embedded.dremio.sql.registry import Bound
from embedded.dremio.types import DremioType

_NAMES = {
    "BOOLEAN": "BOOLEAN",
    "INT": "INTEGER",
    "BIGINT": "BIGINT",
    "FLOAT": "FLOAT",
    "REAL": "FLOAT",
    "DOUBLE": "DOUBLE",
    "VARCHAR": "VARCHAR",
    "CHAR": "VARCHAR",
    "VARBINARY": "VARBINARY",
    "BINARY": "VARBINARY",
    "DATE": "DATE",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMP",
}
_CLOCK = "(\\d|[01]\\d|2[0-3]):\\d{1,2}(:\\d{1,2}([.]\\d+)?)?"
# the texts that Dremio and DuckDB read in one way
_FORMS = {
    "DATE": "\\d{4}[-/]\\d{1,2}[-/]\\d{1,2}([ T]" + _CLOCK + ".*)?",
    "TIME": _CLOCK,
    "TIMESTAMP": f"\\d{{4}}-\\d{{1,2}}-\\d{{1,2}}([ T]{_CLOCK}Z?)?",
} | dict.fromkeys(("FLOAT", "DOUBLE", "DECIMAL"), "[^_]*")


class Target(NamedTuple):
    """What CAST names: a type, the length of VARCHAR(n), the unit of INTERVAL <unit>."""

    kind: DremioType
    length: int | None = None
    unit: str | None = None


def target(node: exp.DataType) -> Target:
    """The type that a CAST or a column definition names; raises UnsupportedOperation."""
    if isinstance(node.this, exp.Interval):
        unit = (node.this.args.get("unit") or exp.var("DAY")).name.upper()
        months = unit in MONTH_UNITS
        return Target(kinds.INTERVAL_MONTH if months else kinds.INTERVAL_DAY, unit=unit)
    name = node.this.name if hasattr(node.this, "name") else str(node.this)
    inner = node.expressions
    if name == "DECIMAL":
        numbers = [int(param.name) for param in inner]
        precision = numbers[0] if numbers else 38
        scale = numbers[1] if len(numbers) > 1 else 0
        if precision > 38 or scale > precision:
            raise ValidationError(f"DECIMAL precision {precision} and scale {scale} must be at most 38 and precision")
        return Target(DremioType("DECIMAL", precision, scale))
    if name in ("LIST", "ARRAY") and inner:
        return Target(DremioType("LIST", children=(("", target(inner[0]).kind),)))
    if name == "STRUCT" and inner:
        return Target(DremioType("STRUCT", children=tuple(_struct_field(item) for item in inner)))
    if name == "MAP" and len(inner) == 2:
        return Target(DremioType("MAP", children=(("key", target(inner[0]).kind), ("value", target(inner[1]).kind))))
    if name not in _NAMES:
        raise ValidationError(f"Unknown type [{name}]")
    length = int(inner[0].name) if inner and _NAMES[name] == "VARCHAR" else None
    return Target(DremioType(_NAMES[name]), length)


def _struct_field(item: exp.Expr) -> tuple[str, DremioType]:
    if isinstance(item, exp.ColumnDef):
        return item.name, target(item.args["kind"]).kind
    raise UnsupportedOperation(f"[{item.sql(dialect='dremio')}] is no field of a STRUCT.")


def comparison_target(other: DremioType) -> DremioType:
    """What a text is cast to when it is compared with a value of another type."""
    if other.name == "DECIMAL":
        return DremioType("DECIMAL", 38, max(other.scale or 0, 6))
    return other


def cast(value: Bound, kind: DremioType) -> Bound:
    """An implicit cast; gives `value` itself when it has the type."""
    if value.kind == kind or (value.kind is not None and value.kind == kinds.NULL):
        return Bound(value.sql, kind, value.literal)
    return explicit(value, Target(kind), False)


def explicit(value: Bound, to: Target, safe: bool) -> Bound:
    """CAST (or TRY_CAST): the differences between Dremio's and DuckDB's results are made up for here."""
    source, kind = value.kind, to.kind
    word = "TRY_CAST" if safe else "CAST"
    name = source.name if source is not None else ""
    if kind.name.startswith("INTERVAL"):
        return intervals.of_value(value, to.unit or "DAY", kind)
    if name == "VARCHAR" and kind.name in _FORMS:
        checked = f"castable_text({value.sql}, {text(_FORMS[kind.name])}, {text(kind.name)})"
        value = Bound(f"try_{checked}" if safe else checked, source)
    sql = f"{word}({value.sql} AS {duckdb_type(kind)})"
    if kind.name in kinds.INTEGERS and name in ("FLOAT", "DOUBLE", "DECIMAL"):
        sql = f"{word}(round({value.sql}) AS {kind.name})"  # half away from zero; DuckDB would go to even
    elif kind.name in kinds.INTEGERS and name.startswith("INTERVAL"):
        sql = f"CAST({intervals.whole_units(value)} AS {kind.name})"
    elif kind.name == "BIGINT" and name == "TIMESTAMP":
        sql = f"epoch_ms({value.sql})"
    elif kind.name in kinds.NUMBERS and name in ("DATE", "TIME", "TIMESTAMP"):
        raise ValidationError(f"Cast function cannot convert value of type {name} to type {kind.name}")
    elif kind.name == "TIME" and name == "VARCHAR":
        sql = f"CAST(date_trunc('milliseconds', DATE '1970-01-01' + {sql}) AS TIME)"
    elif kind.name == "TIMESTAMP" and name == "VARCHAR":
        sql = f"date_trunc('milliseconds', {sql})"
    elif kind.name in kinds.INTEGERS and name == "VARCHAR":
        sql = f"{'try_' if safe else ''}text_to_integer({value.sql}, {text(kind.name)})"
        sql = f"CAST({sql} AS {kind.name})"
    elif kind.name == "VARCHAR":
        sql = to_text(value)
    elif kind.name == "VARBINARY" and name == "VARCHAR":
        sql = f"encode({value.sql})"
    elif kind.name in ("DATE", "TIMESTAMP", "TIME") and name in kinds.NUMBERS:
        raise ValidationError(f"Cast function cannot convert value of type {name} to type {kind.name}")
    elif kind.name == "DATE" and name == "VARCHAR":
        sql = f"{word}({word}({value.sql} AS TIMESTAMP) AS DATE)"
    elif kind.name == "BOOLEAN" and name not in ("VARCHAR", "BOOLEAN", "", "NULL", *kinds.INTEGERS):
        raise ValidationError(f"Cast function cannot convert value of type {name} to type BOOLEAN")
    if to.length is not None:
        sql = f"left({sql}, {to.length})"
    return Bound(sql, kind)


def to_text(value: Bound) -> str:
    """A value as VARCHAR, in Dremio's spelling."""
    name = value.kind.name if value.kind is not None else ""
    if name == "TIMESTAMP":
        return f"strftime({value.sql}, '%Y-%m-%d %H:%M:%S.%g')"
    if name == "TIME":
        return f"strftime(DATE '1970-01-01' + {value.sql}, '%H:%M:%S.%g')"
    if name == "VARBINARY":
        return f"decode({value.sql})"
    if name in ("DOUBLE", "FLOAT"):
        return f"java_text({value.sql})"
    if name.startswith("INTERVAL"):
        return intervals.to_text(value)
    if name in ("LIST", "STRUCT", "MAP"):
        raise ValidationError(f"Cast function cannot convert value of type {name} to type VARCHAR")
    if name == "VARCHAR":
        return value.sql
    return f"CAST({value.sql} AS VARCHAR)"


def unify(values: list[Bound]) -> tuple[list[Bound], Kind]:
    """Bring the branches of a CASE (or COALESCE ...) to their common type; None when DuckDB must decide."""
    kind: Kind = values[0].kind
    for value in values[1:]:
        kind = kinds.common(kind, value.kind)
    if kind is None:
        names = {value.kind.name for value in values if value.kind is not None and value.kind != kinds.NULL}
        if len(names) > 1 and all(value.kind is not None for value in values):
            raise ValidationError(f"Illegal mixing of types in CASE, COALESCE or ARRAY: {', '.join(sorted(names))}")
        return values, None
    if kind == kinds.NULL:
        return values, kind
    return [cast(value, kind) for value in values], kind


def arithmetic(operator: str, left: Bound, right: Bound) -> Bound:
    """``left operator right``; raises ValidationError where Dremio has no such operation."""
    a, b = left.kind, right.kind
    if a is None or b is None:
        raise UnsupportedOperation(f"[{left.sql} {operator} {right.sql}]: the type of an operand is not known.")
    if kinds.is_number(a) and kinds.is_number(b):
        return _numbers(operator, left, right, kinds.arithmetic(operator, a, b))
    if kinds.NULL in (a, b):
        other = b if a == kinds.NULL else a
        if kinds.is_number(other) or other == kinds.NULL:
            kind = kinds.INTEGER if other == kinds.NULL else other
            return Bound(f"CAST(NULL AS {duckdb_type(kind)})", kind)
    found = _dates(operator, left, right)
    if found is None:
        raise ValidationError(f"Cannot apply '{operator}' to arguments of type '<{a.name}> {operator} <{b.name}>'")
    return found


def _numbers(operator: str, left: Bound, right: Bound, kind: DremioType) -> Bound:
    if kind == kinds.DOUBLE:  # DuckDB would add a DECIMAL and a FLOAT as FLOAT
        left, right = cast(left, kind), cast(right, kind)
    if operator != "/":
        sql = f"({left.sql} {operator} {right.sql})"
        return Bound(f"CAST({sql} AS {duckdb_type(kind)})" if kind.name in ("DECIMAL", "FLOAT") else sql, kind)
    if kind.name in ("FLOAT", "DOUBLE"):
        name = kind.name
        dividend, divisor = f"CAST({left.sql} AS {name})", f"CAST({right.sql} AS {name})"
        known = right.literal is not None and right.literal.strip("-0.")
        sql = f"{dividend} / {divisor}" if known else f"float_quotient({dividend}, {divisor})"
        return Bound(f"CAST({sql} AS {name})", kind)
    if kind.name in kinds.INTEGERS:
        if right.literal is not None and right.literal.strip("-0"):
            return Bound(f"({left.sql} // {right.sql})", kind)
        return Bound(f"CAST(integer_quotient({left.sql}, {right.sql}) AS {kind.name})", kind)
    (_, s1), (_, s2) = kinds.parts(left.kind or kind), kinds.parts(right.kind or kind)
    scale = kind.scale or 0
    sql = f"decimal_quotient(decimal_digits({left.sql}), decimal_digits({right.sql}), {scale - s1 + s2})"
    unit = "0." + "0" * (scale - 1) + "1"
    return Bound(f"CAST(CAST({sql} AS DECIMAL(38, 0)) * {unit} AS {duckdb_type(kind)})", kind)


def _dates(operator: str, left: Bound, right: Bound) -> Bound | None:
    a = left.kind.name if left.kind else ""
    b = right.kind.name if right.kind else ""
    if operator == "+" and (a.startswith("INTERVAL") or a in kinds.INTEGERS) and b in ("DATE", "TIMESTAMP", "TIME"):
        return _dates(operator, right, left)
    if operator == "-" and (a, b) == ("DATE", "DATE"):
        return Bound(f"to_days({left.sql} - {right.sql})", kinds.INTERVAL_DAY)
    if operator == "-" and {a, b} <= {"DATE", "TIMESTAMP"}:
        return Bound(f"(CAST({left.sql} AS TIMESTAMP) - CAST({right.sql} AS TIMESTAMP))", kinds.INTERVAL_DAY)
    if operator in "+-" and a == "DATE" and b in kinds.INTEGERS:
        return Bound(f"({left.sql} {operator} CAST({right.sql} AS INTEGER))", kinds.DATE)
    if operator in "+-" and a in ("DATE", "TIMESTAMP") and b.startswith("INTERVAL"):
        return Bound(f"(CAST({left.sql} AS TIMESTAMP) {operator} {right.sql})", kinds.TIMESTAMP)
    if operator in "+-" and a == "TIME" and b == "INTERVAL DAY TO SECOND":
        return Bound(f"({left.sql} {operator} {right.sql})", kinds.TIME)
    if operator in "+-" and a == b and a.startswith("INTERVAL"):
        unit = left.unit if left.unit == right.unit else None
        return Bound(f"({left.sql} {operator} {right.sql})", left.kind, unit=unit)
    if operator in "*/" and a.startswith("INTERVAL") and b in kinds.NUMBERS:
        return intervals.scaled(left, operator, right)
    if operator == "*" and b.startswith("INTERVAL") and a in kinds.NUMBERS:
        return intervals.scaled(right, operator, left)
    return None
