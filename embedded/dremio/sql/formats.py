"""Dremio's date and time formats (``YYYY-MM-DD HH24:MI:SS.FFF``), read as Dremio reads them, for DuckDB.

An element is the longest that the letters allow at that place; its case does not count. Text in double quotes and
the characters ``* - / , . ; :`` and blank stand for themselves; anything else is an error.
"""

from __future__ import annotations

from typing import NamedTuple

from embedded.dremio.errors import FunctionError, UnsupportedOperation
from embedded.dremio.sql.kinds import text

# element -> strftime's code (empty: DuckDB has none, see _PRINTED)
_ELEMENTS = {
    "YYYY": "%Y",
    "YY": "%y",
    "MONTH": "%B",
    "MON": "%b",
    "MM": "%m",
    "DDD": "%j",
    "DD": "%d",
    "DAY": "%A",
    "DY": "%a",
    "HH24": "%H",
    "HH12": "%I",
    "HH": "%I",
    "MI": "%M",
    "SS": "%S",
    "FFF": "%g",
    "WW": "%V",
    "AM": "%p",
    "PM": "%p",
    "TZO": "%z",
    "TZH:TZM": "%z",
    "TZD": "%Z",
    "D": "",
    "F": "",
    "FF": "",
    "AD": "",
    "BC": "",
    "CC": "",
}
# what the elements without a code print, of the moment {0}; the zone is always UTC
_PRINTED = {
    "D": "CAST(date_part('dow', {0}) + 1 AS VARCHAR)",
    "F": "left(strftime({0}, '%g'), 1)",
    "FF": "left(strftime({0}, '%g'), 2)",
    "AD": "CASE WHEN date_part('year', {0}) > 0 THEN 'AD' ELSE 'BC' END",
    "BC": "CASE WHEN date_part('year', {0}) > 0 THEN 'AD' ELSE 'BC' END",
    "CC": "CAST(date_part('year', {0}) // 100 AS VARCHAR)",
    "TZO": "'+00:00'",
    "TZH:TZM": "'+00:00'",
    "TZD": "'UTC'",
}
_LITERALS = "*-/,.;: "


class Piece(NamedTuple):
    """An element of a format (in upper case), or a text that stands for itself."""

    value: str
    literal: bool


def pieces(form: str) -> list[Piece]:
    """The elements and texts of a format; raises FunctionError where Dremio cannot read it."""
    found: list[Piece] = []
    at = 0
    while at < len(form):
        if form[at] == '"':
            end = form.find('"', at + 1)
            if end < 0:
                raise _unreadable(form, at)
            found.append(Piece(form[at + 1 : end], True))
            at = end + 1
        elif form[at] in _LITERALS:
            found.append(Piece(form[at], True))
            at += 1
        else:
            element = _element(form, at)
            found.append(Piece(element, False))
            at += len(element)
    return found


def _element(form: str, at: int) -> str:
    """The element that begins here: letters are taken as long as they begin one, and then have to be one."""
    rest = form[at:].upper()
    length = 1
    while length < len(rest) and any(name.startswith(rest[: length + 1]) for name in _ELEMENTS):
        length += 1
    if rest[:length] not in _ELEMENTS:
        raise _unreadable(form, at)
    return rest[:length]


def _unreadable(form: str, at: int) -> FunctionError:
    return FunctionError(f"Failure parsing the formatting string at column {at} of: {form}")


def printed(sql: str, form: str) -> str:
    """The moment `sql` as text in a format."""
    parts: list[str] = []
    pattern = ""
    for piece in pieces(form):
        code = _ELEMENTS.get(piece.value, "") if not piece.literal else piece.value.replace("%", "%%")
        if piece.literal or piece.value not in _PRINTED:
            pattern += code
            continue
        if pattern:
            parts.append(f"strftime({sql}, {text(pattern)})")
            pattern = ""
        parts.append(_PRINTED[piece.value].format(sql))
    if pattern or not parts:
        parts.append(f"strftime({sql}, {text(pattern)})")
    return parts[0] if len(parts) == 1 else "(" + " || ".join(parts) + ")"


class Reading(NamedTuple):
    """How a text is read: patterns to try in turn, what to put behind text and patterns, whether YY is in it."""

    patterns: list[str]
    default: str
    short_year: bool


def reading(form: str) -> Reading:
    """How to read texts of a format.

    A date without a year is in 2000, a time without a date on 1970-01-01 (DuckDB: 1900): put behind it.
    """
    pattern = ""
    elements = set()
    for piece in pieces(form):
        if piece.literal:
            pattern += piece.value.replace("%", "%%")
            continue
        code = _ELEMENTS[piece.value]
        if not code or piece.value in ("TZD", "WW"):
            raise UnsupportedOperation(f"Date format [{form}]: element [{piece.value}] cannot be read here.")
        elements.add(piece.value)
        pattern += code
    default = ""
    if not elements & {"YYYY", "YY"}:
        dated = elements & {"MM", "MON", "MONTH", "DD", "DDD", "DY", "DAY"}
        default = "2000" if dated else "1970"
        pattern += " %Y"
    found = [pattern]
    for full, short in (("%B", "%b"), ("%A", "%a")):
        found += [p.replace(full, short) for p in found if full in p]
    return Reading(found, default, "YY" in elements)


def read(sql: str, form: str, what: str, lenient: bool) -> str:
    """The TIMESTAMP that the text `sql` stands for in a format; null (lenient) or an error when it does not fit."""
    how = reading(form)
    patterns = "[" + ", ".join(text(p) for p in how.patterns) + "]"
    source = f"({sql} || ' {how.default}')" if how.default else sql
    moment = f"try_strptime({source}, {patterns})"
    if not lenient:
        moment = f"parsed_moment({sql}, {moment}, {text(what)})"
    moment = f"CAST({moment} AS TIMESTAMP)"
    return f"within_short_years({moment})" if how.short_year else moment
