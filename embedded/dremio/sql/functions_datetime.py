"""Dates, times and timestamps: TIMESTAMP is UTC without zone and of milliseconds."""

from __future__ import annotations

import zoneinfo

from embedded.dremio.errors import FunctionError, UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, formats, intervals, kinds
from embedded.dremio.sql.kinds import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INTEGER,
    TIME,
    TIMESTAMP,
    VARCHAR,
    text,
)
from embedded.dremio.sql.registry import Bound, Call, add

_DAY_UNITS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY")
_ALL_UNITS = (*_DAY_UNITS, "HOUR", "MINUTE", "SECOND")
_TRUNC_UNITS = (*_ALL_UNITS, "DECADE", "CENTURY", "MILLENNIUM")
_MILLISECONDS = {"WEEK": 604_800_000, "DAY": 86_400_000, "HOUR": 3_600_000, "MINUTE": 60_000, "SECOND": 1_000}
_PARTS = {
    "YEAR": "year", "QUARTER": "quarter", "MONTH": "month", "WEEK": "week", "DAY": "day", "DOY": "doy",
    "HOUR": "hour", "MINUTE": "minute", "SECOND": "second", "CENTURY": "century", "DECADE": "decade",
    "MILLENNIUM": "millennium",
}  # fmt: skip


def _unit(arg: Bound, allowed: tuple[str, ...]) -> str:
    if arg.literal is None:
        raise UnsupportedOperation("The unit of a date function must be a literal.")
    unit = arg.literal.upper().removeprefix("SQL_TSI_")
    if unit not in allowed:
        raise ValidationError(f"'{arg.literal}' is not a valid time frame")
    return unit


def _name(arg: Bound) -> str:
    return arg.kind.name if arg.kind is not None else ""


def extract(sql: str, unit: str) -> str:
    """A part of a date, time, timestamp or interval as BIGINT; Sunday is day 1."""
    if unit == "DOW":
        return f"CAST(date_part('dow', {sql}) + 1 AS BIGINT)"
    if unit == "EPOCH":
        return f"(CAST(date_part('epoch', {sql}) * 1000 AS BIGINT) // 1000)"  # towards zero
    if unit not in _PARTS:
        raise ValidationError(f"'{unit}' is not a valid time frame")
    return f"CAST(date_part('{_PARTS[unit]}', {sql}) AS BIGINT)"


def _date_part(call: Call) -> Bound:
    unit = (call.args[0].literal or "").upper()
    value = call.args[1]
    if _name(value) == "VARCHAR":
        value = casts.cast(value, TIMESTAMP)
    if _name(value).startswith("INTERVAL"):
        return Bound(intervals.part(value, unit), BIGINT)
    if _name(value) not in ("DATE", "TIMESTAMP", "TIME", "NULL"):
        raise ValidationError(f"Cannot apply EXTRACT to a value of type {_name(value)}")
    if _name(value) == "TIME" and unit not in ("HOUR", "MINUTE", "SECOND", "EPOCH"):
        raise ValidationError(f"Cannot extract {unit} from a TIME")
    return Bound(extract(value.sql, unit), BIGINT)


def _part(unit: str):  # type: ignore[no-untyped-def]
    def build(call: Call) -> Bound:
        return Bound(extract(call.args[0].sql, unit), BIGINT)

    return build


def _date_trunc(call: Call) -> Bound:
    """DATE_TRUNC keeps the type: of a DATE a DATE, of a TIME a TIME."""
    unit = _unit(call.args[0], _TRUNC_UNITS)
    value = call.args[1]
    name = _name(value)
    if name == "TIME":
        if unit in _DAY_UNITS:
            return Bound("TIME '00:00:00'", TIME)
        return Bound(f"CAST(date_trunc('{unit.lower()}', DATE '1970-01-01' + {value.sql}) AS TIME)", TIME)
    if name.startswith("INTERVAL"):
        return intervals.truncated(value, unit)
    if unit in ("CENTURY", "MILLENNIUM"):  # they begin with the year 1 of theirs
        years = 100 if unit == "CENTURY" else 1000
        sql = f"make_date((date_part('year', {value.sql}) - 1) // {years} * {years} + 1, 1, 1)"
    else:
        sql = f"date_trunc('{unit.lower()}', {value.sql})"
    return Bound(f"CAST({sql} AS {name})", DATE if name == "DATE" else TIMESTAMP)


def _ceil_to(call: Call) -> Bound:
    """CEIL(moment TO unit)."""
    value, unit = call.args
    down = _date_trunc(Call(call.name, [unit, value], call.node, call.binder, call.clauses))
    up = _add_units(down, _unit(unit, _ALL_UNITS), "1")
    kind = up.kind if _name(value) != "DATE" else DATE
    return Bound(f"CASE WHEN {down.sql} = {value.sql} THEN {value.sql} ELSE {up.sql} END", kind)


def _add_units(value: Bound, unit: str, count: str) -> Bound:
    function = intervals.FUNCTIONS[unit]
    sql = f"({value.sql} + {function}(CAST({count} AS INTEGER)))"
    if _name(value) == "DATE" and unit in _DAY_UNITS:
        return Bound(f"CAST({sql} AS DATE)", DATE)
    if _name(value) == "TIME":
        return Bound(sql, TIME)
    return Bound(f"CAST({sql} AS TIMESTAMP)", TIMESTAMP)


def _timestampadd(call: Call) -> Bound:
    unit = _unit(call.args[0], _ALL_UNITS)
    return _add_units(call.args[2], unit, call.args[1].sql)


def _timestampdiff(call: Call) -> Bound:
    """TIMESTAMPDIFF counts whole units between two moments, towards zero."""
    unit = _unit(call.args[0], _ALL_UNITS)
    a, b = (f"CAST({arg.sql} AS TIMESTAMP)" for arg in call.args[1:])
    if unit in _MILLISECONDS:
        return Bound(f"CAST((epoch_ms({b}) - epoch_ms({a})) // {_MILLISECONDS[unit]} AS INTEGER)", INTEGER)
    months = {"YEAR": 12, "QUARTER": 3, "MONTH": 1}[unit]
    return Bound(f"CAST(whole_months({a}, {b}) // {months} AS INTEGER)", INTEGER)


def _shift(sign: str):  # type: ignore[no-untyped-def]
    def build(call: Call) -> Bound:
        value, delta = call.args
        if _name(value) == "VARCHAR":
            value = casts.cast(value, DATE)
        if _name(delta).startswith("INTERVAL"):
            return casts.arithmetic(sign, value, delta)
        if _name(delta) in kinds.INTEGERS and _name(value) in ("DATE", "TIMESTAMP"):
            return _add_units(value, "DAY", f"{sign if sign == '-' else ''}({delta.sql})")
        if call.name == "DATE_DIFF" and _name(delta) in ("DATE", "TIMESTAMP"):
            return casts.arithmetic("-", value, delta)
        raise ValidationError(f"No match found for function signature {call.name}(<{_name(value)}>, <{_name(delta)}>)")

    return build


def _format(arg: Bound) -> str:
    if arg.literal is None:
        raise UnsupportedOperation("A date format must be a literal.")
    return arg.literal


def _parsed(call: Call) -> str:
    """The TIMESTAMP parsed by a format; a third argument of 1 makes null of what does not fit."""
    lenient = len(call.args) > 2 and call.args[2].literal == "1"
    if len(call.args) > 2 and call.args[2].literal not in ("0", "1"):
        raise UnsupportedOperation(f"{call.name}: the third argument must be 0 or 1.")
    what = "time" if call.name == "TO_TIME" else "date"
    return formats.read(call.args[0].sql, _format(call.args[1]), what, lenient)


def _to_date(call: Call) -> Bound:
    return Bound(f"CAST({_parsed(call)} AS DATE)", DATE)


def _to_timestamp(call: Call) -> Bound:
    return Bound(_parsed(call), TIMESTAMP)


def _unix_timestamp(call: Call) -> Bound:
    return Bound(f"CAST(floor(epoch({_parsed(call)})) AS BIGINT)", BIGINT)


def _to_time(call: Call) -> Bound:
    return Bound(f"CAST({_parsed(call)} AS TIME)", TIME)


def _to_char(call: Call) -> Bound:
    value = call.args[0]
    sql = f"(DATE '1970-01-01' + {value.sql})" if _name(value) == "TIME" else value.sql
    return Bound(formats.printed(sql, _format(call.args[1])), VARCHAR)


# abbreviations stand for fixed offsets, in minutes, whatever the season
_ABBREVIATIONS = {
    "NST": -210, "NDT": -150, "AST": -240, "ADT": -180, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300,
    "MST": -420, "MDT": -360, "PST": -480, "PDT": -420, "AKST": -540, "AKDT": -480, "HST": -600, "WET": 0, "WEST": 60,
    "BST": 60, "CET": 60, "CEST": 120, "EET": 120, "EEST": 180, "MSK": 180, "MSD": 240, "IST": 120, "IDT": 180,
    "JST": 540, "KST": 540, "AWST": 480, "ACST": 570, "ACDT": 630, "AEST": 600, "AEDT": 660, "NZST": 720, "NZDT": 780,
}  # fmt: skip


def _offset(zone: str) -> int | None:
    """The minutes of ``+01:00`` or of an abbreviation, or None for a name."""
    if zone[:1] in "+-" and zone[1:3].isdigit() and zone[3:4] == ":" and zone[4:].isdigit():
        minutes = int(zone[1:3]) * 60 + int(zone[4:])
        return -minutes if zone[0] == "-" else minutes
    return _ABBREVIATIONS.get(zone.upper())


def _zoned(zone: Bound, sql: str, to_utc: bool) -> str:
    if zone.literal is None:
        raise UnsupportedOperation("CONVERT_TIMEZONE needs literal time zones.")
    offset = _offset(zone.literal)
    if offset is not None:
        return f"({sql} {'-' if to_utc else '+'} to_minutes({offset}))"
    known = {name.lower(): name for name in zoneinfo.available_timezones()}
    name = known.get(zone.literal.lower())
    if name is None or (len(zone.literal) <= 3 and zone.literal.upper() not in ("UTC", "GMT")):
        raise FunctionError(f"Unknown time-zone ID: {zone.literal}")
    if to_utc:
        return f"timezone('UTC', timezone({text(name)}, {sql}))"
    return f"timezone({text(name)}, timezone('UTC', {sql}))"


def _convert_timezone(call: Call) -> Bound:
    """CONVERT_TIMEZONE([from, ] to, timestamp): from UTC when only one zone is given."""
    value = call.args[-1].sql
    if len(call.args) == 3:
        value = _zoned(call.args[0], value, True)
    return Bound(_zoned(call.args[-2], value, False), TIMESTAMP)


_DAYS = {"SU": 0, "MO": 1, "TU": 2, "WE": 3, "TH": 4, "FR": 5, "SA": 6}


def _next_day(call: Call) -> Bound:
    day = (call.args[1].literal or "").upper()[:2]
    if day not in _DAYS:
        raise ValidationError(f"NEXT_DAY: [{call.args[1].literal}] is no day of the week")
    value = f"CAST({call.args[0].sql} AS DATE)"
    step = f"(({_DAYS[day]} - CAST(date_part('dow', {value}) AS INTEGER) + 6) % 7) + 1"
    return Bound(f"({value} + CAST({step} AS INTEGER))", DATE)


def _is_castable(call: Call) -> Bound:
    return Bound(f"({casts.explicit(call.args[0], casts.Target(DATE), True).sql} IS NOT NULL)", BOOLEAN)


def _is_date(call: Call) -> Bound:
    value = call.args[0].sql
    read = formats.read(value, _format(call.args[1]), "date", True)
    return Bound(f"({value} IS NOT NULL AND {read} IS NOT NULL)", BOOLEAN)


_NOW = "date_trunc('milliseconds', timezone('UTC', now()))"
add("CURRENT_TIMESTAMP NOW LOCALTIMESTAMP STATEMENT_TIMESTAMP TRANSACTION_TIMESTAMP", "", _NOW, TIMESTAMP)
add("CURRENT_TIMESTAMP_UTC", "", _NOW, TIMESTAMP)
add("CURRENT_TIMESTAMP LOCALTIMESTAMP", "i", _NOW, TIMESTAMP)
add("CURRENT_DATE CURRENT_DATE_UTC", "", f"CAST({_NOW} AS DATE)", DATE)
add("CURRENT_TIME LOCALTIME CURRENT_TIME_UTC", "", f"CAST({_NOW} AS TIME)", TIME)
add("UNIX_TIMESTAMP", "", "CAST(epoch(now()) AS BIGINT)", BIGINT)
add("UNIX_TIMESTAMP", "s,s", _unix_timestamp)
add("UNIX_TIMESTAMP", "t", "CAST(floor(epoch({0})) AS BIGINT)", BIGINT)
add("DATE_PART", "s,a", _date_part)
for _function, _of in (
    ("YEAR", "YEAR"), ("QUARTER", "QUARTER"), ("MONTH", "MONTH"), ("WEEK WEEKOFYEAR YEARWEEK", "WEEK"),
    ("DAY DAYOFMONTH", "DAY"), ("DAYOFWEEK", "DOW"), ("DAYOFYEAR", "DOY"),
):  # fmt: skip
    add(_function, "D", _part(_of))
for _of in ("HOUR", "MINUTE", "SECOND"):
    add(_of, "D", _part(_of))
    add(_of, "m", _part(_of))
add("DATE_TRUNC", "s,d", _date_trunc)
add("DATE_TRUNC", "s,t", _date_trunc)
add("DATE_TRUNC", "s,m", _date_trunc)
add("DATE_TRUNC", "s,v", _date_trunc)
add("TIMESTAMPADD", "s,i,D", _timestampadd)
add("TIMESTAMPADD", "s,i,m", _timestampadd)
add("TIMESTAMPDIFF", "s,D,D", _timestampdiff)
add("DATE_ADD", "a,a", _shift("+"))
add("DATE_SUB DATE_DIFF", "a,a", _shift("-"))
add("DATEDIFF", "d,d", "CAST({0} - {1} AS INTEGER)", INTEGER)
add("DATEDIFF", "D,D", "CAST(CAST({0} AS DATE) - CAST({1} AS DATE) AS INTEGER)", INTEGER)
add("DATEDIFF", "s,D,D", _timestampdiff)
add("LAST_DAY", "D", "last_day({0})", DATE)
add("NEXT_DAY", "D,s", _next_day)
add("MONTHS_BETWEEN", "D,D", "fractional_months(CAST({0} AS DATE), CAST({1} AS DATE))", DOUBLE)
add("DATETYPE", "i,i,i", "date_of({0}, {1}, {2})", DATE)
add("TIMESTAMPTYPE", "i,i,i,i,i,i,i", "moment_of({0}, {1}, {2}, {3}, {4}, {5}, {6})", TIMESTAMP)
add("TO_DATE", "s,s", _to_date)
add("TO_DATE", "s,s,i", _to_date)
add("TO_DATE", "s", lambda call: casts.cast(call.args[0], DATE))
add("TO_DATE", "D", "CAST({0} AS DATE)", DATE)
add("TO_DATE", "n", "CAST(epoch_moment({0}) AS DATE)", DATE)
add("TO_TIMESTAMP", "s,s", _to_timestamp)
add("TO_TIMESTAMP", "s,s,i", _to_timestamp)
add("TO_TIMESTAMP", "t", "{0}", TIMESTAMP)
add("TO_TIMESTAMP", "n", "epoch_moment({0})", TIMESTAMP)
add("TO_TIME", "s,s", _to_time)
add("TO_TIME", "s,s,i", _to_time)
add("TO_TIME", "n", "CAST(epoch_moment({0}) AS TIME)", TIME)
add("TO_CHAR DATE_FORMAT", "D,s", _to_char)
add("TO_CHAR", "m,s", _to_char)
add("CONVERT_TIMEZONE", "s,t", _convert_timezone)
add("CONVERT_TIMEZONE", "s,s,t", _convert_timezone)
add("ISDATE IS_DATE", "s", _is_castable)
add("ISDATE IS_DATE", "D", "({0} IS NOT NULL)", BOOLEAN)
add("IS_DATE ISDATE", "s,s", _is_date)
add("CEIL$TO", "D,s", _ceil_to)
add("FLOOR$TO", "D,s", lambda call: _date_trunc(Call(call.name, call.args[::-1], call.node, call.binder, call.clauses)))
