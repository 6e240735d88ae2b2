"""MASK and its sisters, which hide the characters of texts, the digits of whole numbers and the parts of dates."""

from __future__ import annotations

import hashlib
import unicodedata

from embedded.dremio.errors import UnsupportedOperation
from embedded.dremio.sql import kinds
from embedded.dremio.sql.functions_python import python
from embedded.dremio.sql.kinds import VARCHAR, text
from embedded.dremio.sql.registry import Bound, Call, add

# what an argument that is left out stands for: upper, lower, digit, other, number, day, month (from 0), year
_DEFAULTS = ("'X'", "'x'", "'n'", "'-1'", "'1'")
_UNMASKED = "-1"


def _range(mode: str, count: int, length: int) -> range:
    """The places that are masked."""
    count = max(0, min(count, length))
    return {
        "ALL": range(length),
        "FIRST": range(count),
        "LAST": range(length - count, length),
        "SHOW_FIRST": range(count, length),
        "SHOW_LAST": range(length - count),
    }[mode]


def _shape(argument: str, default: str) -> str | None:
    """The character that an argument names; None for -1, which leaves characters as they are."""
    if not argument:
        return None if default == _UNMASKED else default
    return None if argument == _UNMASKED else argument[0]


@python("py_mask", "VARCHAR VARCHAR BIGINT VARCHAR VARCHAR VARCHAR VARCHAR", "VARCHAR")
def mask(value: str, mode: str, count: int, upper: str, lower: str, digit: str, other: str) -> str:
    """A text with letters and digits of the masked places replaced by one character for each kind."""
    shapes = {"Lu": _shape(upper, "X"), "Ll": _shape(lower, "x"), "Nd": _shape(digit, "n")}
    rest = _shape(other, _UNMASKED)
    hidden = _range(mode, int(count), len(value))
    return "".join(
        (shapes.get(unicodedata.category(c), rest) or c) if place in hidden else c for place, c in enumerate(value)
    )


@python("py_mask_number", "BIGINT VARCHAR BIGINT VARCHAR", "BIGINT")
def mask_number(value: int, mode: str, count: int, number: str) -> int:
    """A whole number with the masked digits replaced by one digit (1 when it is none)."""
    digit = number if len(number) == 1 and number.isdigit() else "1"
    digits = str(abs(value)) if value else ""
    hidden = _range(mode, int(count), len(digits))
    masked = int("".join(digit if place in hidden else d for place, d in enumerate(digits)) or "0")
    return -masked if value < 0 else masked


@python("py_mask_hash", "VARCHAR", "VARCHAR")
def mask_hash(value: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(value.encode()).hexdigest()


def _argument(arg: Bound) -> str:
    """An argument as text; of numbers only those written out are known."""
    if arg.kind == kinds.VARCHAR:
        return arg.sql
    if arg.literal is None:
        raise UnsupportedOperation("MASK: arguments other than texts must be literals.")
    return text(arg.literal)


def _mask(mode: str):  # type: ignore[no-untyped-def]
    def build(call: Call) -> Bound:
        value, rest = call.args[0], call.args[1:]
        count = "4"
        if mode != "ALL" and rest:
            count, rest = f"CAST({rest[0].sql} AS BIGINT)", rest[1:]
        shapes = [_argument(arg) for arg in rest]
        shapes += _DEFAULTS[len(shapes) :]
        if value.kind == VARCHAR or value.kind == kinds.NULL:
            return Bound(f"py_mask({value.sql}, '{mode}', {count}, {', '.join(shapes[:4])})", VARCHAR)
        if value.kind is not None and value.kind.name in ("DATE", "TIMESTAMP"):
            return _mask_date(call, mode)
        name = value.kind.name if value.kind is not None else "BIGINT"
        return Bound(f"CAST(py_mask_number({value.sql}, '{mode}', {count}, {shapes[4]}) AS {name})", value.kind)

    return build


def _mask_date(call: Call, mode: str) -> Bound:
    """A date with day, month and year replaced where arguments 6 to 8 say so (-1: kept)."""
    value, given = call.args[0], call.args[6:]
    if mode != "ALL" or len(given) != 3 or any(arg.literal is None for arg in given):
        raise UnsupportedOperation(f"{call.name} of dates is supported with day, month and year written out only.")
    day, month, year = (int(arg.literal or _UNMASKED) for arg in given)
    day = day if day == -1 or 1 <= day <= 31 else 1
    month = month if month == -1 or 0 <= month <= 11 else 0
    parts = [
        f"date_part('{name}', {value.sql})" if number == -1 else str(number + offset)
        for name, number, offset in (("year", year, 0), ("month", month, 1), ("day", day, 0))
    ]
    name = value.kind.name if value.kind else "DATE"
    clock = "" if name == "DATE" else f" + ({value.sql} - date_trunc('day', {value.sql}))"
    return Bound(f"CAST(make_date({', '.join(parts)}){clock} AS {name})", value.kind)


for _names, _mode in (
    ("MASK_FIRST_N", "FIRST"),
    ("MASK_LAST_N", "LAST"),
    ("MASK_SHOW_FIRST_N", "SHOW_FIRST"),
    ("MASK_SHOW_LAST_N", "SHOW_LAST"),
):
    for _letter in ("s", "i"):
        add(_names, f"{_letter},i?,a?,a?,a?,a?,a?,a?,a?,a?", _mask(_mode))
for _letter in ("s", "i", "D"):
    add("MASK", f"{_letter},a?,a?,a?,a?,a?,a?,a?,a?", _mask("ALL"))
add("MASK_HASH", "s", "py_mask_hash({0})", VARCHAR)
