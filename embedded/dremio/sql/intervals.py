"""INTERVAL DAY TO SECOND and INTERVAL YEAR TO MONTH: literals, casts, arithmetic and parts."""

from __future__ import annotations

import itertools

from sqlglot import exp

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import kinds
from embedded.dremio.sql.registry import Bound
from embedded.dremio.types import DremioType

FUNCTIONS = {
    "YEAR": "to_years",
    "QUARTER": "to_quarters",
    "MONTH": "to_months",
    "WEEK": "to_weeks",
    "DAY": "to_days",
    "HOUR": "to_hours",
    "MINUTE": "to_minutes",
    "SECOND": "to_seconds",
}
MONTH_UNITS = ("YEAR", "QUARTER", "MONTH")
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12, "DECADE": 120, "CENTURY": 1200, "MILLENNIUM": 12000}
_MILLISECONDS = {"WEEK": 604_800_000, "DAY": 86_400_000, "HOUR": 3_600_000, "MINUTE": 60_000, "SECOND": 1_000}


def _is_months(value: Bound) -> bool:
    return value.kind == kinds.INTERVAL_MONTH


def of_value(value: Bound, unit: str, kind: DremioType) -> Bound:
    """CAST(value AS INTERVAL unit): of whole numbers, and of texts such as ``P1DT2H`` (a bare number: milliseconds
    or months)."""
    if value.kind == kind:
        return Bound(value.sql, kind, unit=unit)
    if value.kind == kinds.VARCHAR:
        if kind == kinds.INTERVAL_MONTH:
            return Bound(f"to_months(CAST(py_period_months({value.sql}) AS INTEGER))", kind, unit=unit)
        return Bound(f"day_interval(py_period_milliseconds({value.sql}))", kind, unit=unit)
    function = FUNCTIONS.get(unit)
    if function is None or (value.kind is not None and value.kind.name not in kinds.INTEGERS):
        raise UnsupportedOperation(f"CAST to INTERVAL {unit} is supported for whole numbers and texts only.")
    return Bound(f"{function}(CAST({value.sql} AS INTEGER))", kind, unit=unit)


def whole_units(value: Bound) -> str:
    """An interval as a number of the unit it was made with; a difference of dates as days."""
    if _is_months(value):
        if value.unit is None:
            raise UnsupportedOperation("CAST of an INTERVAL YEAR TO MONTH without a single unit to a number.")
        return f"(interval_months({value.sql}) // {_MONTHS[value.unit]})"
    return f"(interval_milliseconds({value.sql}) // {_MILLISECONDS[value.unit or 'DAY']})"


def scaled(value: Bound, operator: str, number: Bound) -> Bound:
    """An interval times or divided by a number, cut off to whole milliseconds or months."""
    if operator == "*" and number.kind is not None and number.kind.name in kinds.INTEGERS and _is_months(value):
        return Bound(f"({value.sql} * {number.sql})", value.kind, unit=value.unit)
    factor = f"CAST({number.sql} AS DOUBLE)"
    if _is_months(value):
        amount = f"trunc(interval_months({value.sql}) {operator} {factor})"
        return Bound(f"to_months(CAST({amount} AS INTEGER))", value.kind, unit=value.unit)
    amount = f"trunc(interval_milliseconds({value.sql}) {operator} {factor})"
    return Bound(f"day_interval(CAST({amount} AS BIGINT))", value.kind, unit=value.unit)


def to_text(value: Bound) -> str:
    """An interval as VARCHAR: ``1 year 2 months ``, ``3 days 4:5:6.7``."""
    return f"{'months_text' if _is_months(value) else 'days_text'}({value.sql})"


def part(value: Bound, unit: str) -> str:
    """EXTRACT(unit FROM interval), as BIGINT; raises ValidationError for a unit that intervals lack."""
    if unit in ("WEEK", "DOW", "DOY"):
        raise ValidationError(
            f"Cannot apply EXTRACT({unit}) to a value of type {value.kind.name if value.kind else ''}"
        )
    sql = value.sql
    if _is_months(value):
        months = f"interval_months({sql})"
        found = {
            "MONTH": f"{months} % 12",
            "QUARTER": f"({months} % 12 - 1) // 3 + 1",
            "EPOCH": f"epoch_ms(TIMESTAMP '1970-01-01' + {sql}) // 1000",
            **{name: f"{months} // {size}" for name, size in _MONTHS.items() if size >= 12},
        }.get(unit, "0")
    else:
        amount = f"interval_milliseconds({sql})"
        found = {
            "DAY": f"{amount} // 86400000",
            "HOUR": f"{amount} % 86400000 // 3600000",
            "MINUTE": f"{amount} % 3600000 // 60000",
            "SECOND": f"{amount} % 60000 // 1000",
            "EPOCH": f"{amount} // 1000",
            "QUARTER": "1",
        }.get(unit, "0")
    return f"CAST({found} AS BIGINT)"


def truncated(value: Bound, unit: str) -> Bound:
    """DATE_TRUNC(unit, interval)."""
    if unit == "WEEK":
        raise ValidationError("Cannot apply DATE_TRUNC by WEEK to an interval")
    if _is_months(value):
        size = _MONTHS.get(unit, 1)
        return Bound(f"to_months(CAST(interval_months({value.sql}) // {size} * {size} AS INTEGER))", value.kind)
    if unit not in _MILLISECONDS:
        return Bound(f"CASE WHEN {value.sql} IS NOT NULL THEN to_days(0) END", value.kind)
    size = _MILLISECONDS[unit]
    return Bound(f"day_interval(interval_milliseconds({value.sql}) // {size} * {size})", value.kind)


def literal(node: exp.Interval) -> Bound:
    """An interval literal: ``INTERVAL '3' DAY``, ``'1-2' YEAR TO MONTH``, ``'1 02:03:04' DAY TO SECOND``."""
    unit = node.args.get("unit")
    value = node.this.name if isinstance(node.this, exp.Literal) else None
    if isinstance(node.this, exp.Neg) and isinstance(node.this.this, exp.Literal):
        value = f"-{node.this.this.name}"
    if unit is None or value is None:
        raise UnsupportedOperation(f"Interval [{node.sql(dialect='dremio')}] is not supported.")
    _check_precision(value, unit)
    if isinstance(unit, exp.IntervalSpan):
        return _span(value, unit.this.name.upper(), unit.expression.name.upper())
    name = unit.name.upper().removeprefix("SQL_TSI_").rstrip("S") if unit.name.upper() != "S" else "SECOND"
    function = FUNCTIONS.get(name)
    if function is None:
        raise ValidationError(f"Unknown interval unit [{unit.name}]")
    try:
        number = f"{int(value)}" if name != "SECOND" else f"{float(value)}"
    except ValueError:
        raise ValidationError(f"Illegal interval literal format '{value}' for INTERVAL {name}") from None
    kind = kinds.INTERVAL_MONTH if name in MONTH_UNITS else kinds.INTERVAL_DAY
    return Bound(f"{function}({number})", kind, unit=name)


def _check_precision(value: str, unit: exp.Expr) -> None:
    """The first field has two digits, as in Calcite, or as many as it says: ``INTERVAL '100' DAY(3)``."""
    first = unit.this if isinstance(unit, exp.IntervalSpan) else unit
    precision = int(first.expressions[0].name) if isinstance(first, exp.Anonymous) else 2
    digits = "".join(itertools.takewhile(str.isdigit, value.lstrip("+-"))).lstrip("0")
    if len(digits) > precision:
        raise ValidationError(
            f"Interval field value {digits} exceeds precision of {first.name.upper()}({precision}) field"
        )


def _span(value: str, first: str, last: str) -> Bound:
    sign = -1 if value.startswith("-") else 1
    body = value.lstrip("+-")
    try:
        if (first, last) == ("YEAR", "MONTH"):
            years, _, months = body.partition("-")
            return Bound(f"to_months({sign * (int(years) * 12 + int(months))})", kinds.INTERVAL_MONTH)
        days, clock = 0, body
        if first == "DAY":
            day, _, clock = body.partition(" ")
            days, first = int(day), "HOUR"
        units = ["HOUR", "MINUTE", "SECOND"]
        names = units[units.index(first) : units.index(last) + 1]
        numbers = clock.split(":")
        if len(numbers) != len(names):
            raise ValueError
        scale = {"HOUR": 3600, "MINUTE": 60, "SECOND": 1}
        seconds = sum(float(n) * scale[name] for n, name in zip(numbers, names, strict=True))
        return Bound(f"(to_days({sign * days}) + to_seconds({sign * seconds}))", kinds.INTERVAL_DAY)
    except ValueError:
        raise ValidationError(f"Illegal interval literal format '{value}' for INTERVAL {first} TO {last}") from None
