"""Number formats (``#,##0.00``) of TO_CHAR and TO_NUMBER, with the meaning of Java's DecimalFormat."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

from embedded.dremio.sql.functions_python import python
from embedded.dremio.sql.kinds import DOUBLE, VARCHAR, Kind
from embedded.dremio.sql.registry import Bound, Call, add

_LONGEST = 100  # characters of a result


@dataclass(frozen=True)
class NumberFormat:
    """A pattern taken apart."""

    prefix: str
    suffix: str
    negative_prefix: str
    negative_suffix: str
    integer_digits: int  # at least
    fraction_digits: tuple[int, int]  # at least, at most
    grouping: int  # digits between commas, 0: none
    multiplier: int

    def format(self, value: Decimal) -> str:
        """A number as text."""
        least, most = self.fraction_digits
        scaled = (value * self.multiplier).quantize(Decimal(1).scaleb(-most), ROUND_HALF_EVEN)
        whole, _, fraction = f"{abs(scaled):f}".partition(".")
        fraction = fraction.rstrip("0").ljust(least, "0")
        whole = whole.lstrip("0").rjust(self.integer_digits, "0")
        if not whole and not fraction:
            whole = "0"
        if self.grouping:
            head = len(whole) % self.grouping
            groups = [whole[:head]] if head else []
            groups += [whole[i : i + self.grouping] for i in range(head, len(whole), self.grouping)]
            whole = ",".join(groups)
        body = whole + (f".{fraction}" if fraction else "")
        if scaled < 0 or (scaled == 0 and value.is_signed()):
            return f"{self.negative_prefix}{body}{self.negative_suffix}"
        return f"{self.prefix}{body}{self.suffix}"

    def parse(self, value: str) -> Decimal | None:
        """The number at the beginning of a text; None when there is none."""
        for prefix, suffix, sign in (
            (self.prefix, self.suffix, 1),
            (self.negative_prefix, self.negative_suffix, -1),
        ):
            if not value.startswith(prefix) or (sign == 1 and not prefix and value.startswith("-")):
                continue
            digits, end = self._digits(value, len(prefix))
            if digits and value.startswith(suffix, end):
                return sign * Decimal(digits) / self.multiplier
        return None

    def _digits(self, value: str, start: int) -> tuple[str, int]:
        found, at, point = "", start, False
        while at < len(value):
            c = value[at]
            if c.isdecimal():
                found += c
            elif c == "." and not point:
                found, point = found + c, True
            elif not (c == "," and self.grouping and not point):
                break
            at += 1
        exponent = value[at + 1 :].split(maxsplit=1)[0] if value[at : at + 1] == "E" and value[at + 1 :] else ""
        if exponent.lstrip("-").isdigit() and found.strip("."):
            return f"{found}E{exponent}", at + 1 + len(exponent)
        return (found if found.strip(".") else ""), at


@functools.lru_cache(maxsize=200)
def number_format(pattern: str) -> NumberFormat:
    """Take a pattern apart; raises ValueError for one that is malformed or not known here."""
    subpatterns = _split(pattern)
    prefix, number, suffix = subpatterns[0]
    if "E" in number:
        raise ValueError(f"Number format [{pattern}]: exponents are not supported")
    if number.count(".") > 1 or not number.strip("."):
        raise ValueError(f'Malformed pattern "{pattern}"')
    whole, point, fraction = number.partition(".")
    grouping = len(whole.rpartition(",")[2]) if "," in whole else 0
    plain = whole.replace(",", "")
    if "," in fraction or "0#" in plain or "#0" in fraction:
        raise ValueError(f'Malformed pattern "{pattern}"')
    least, most = fraction.count("0"), len(fraction)
    integers = plain.count("0")
    if not integers and not least and point:  # '#.#' prints a digit before the point, '.#' one behind it
        integers, least = (1, 0) if plain else (0, 1)
    multiplier = 1
    for sign, factor in (("%", 100), ("‰", 1000)):
        if sign in prefix + suffix:
            multiplier = factor
    negative = (f"-{prefix}", suffix) if len(subpatterns) == 1 else (subpatterns[1][0], subpatterns[1][2])
    return NumberFormat(prefix, suffix, *negative, integers, (least, most), grouping, multiplier)


def _split(pattern: str) -> list[tuple[str, str, str]]:
    """Prefix, number and suffix of each part between semicolons; quotes are taken off."""
    parts: list[tuple[str, str, str]] = []
    current, phase, at = ["", "", ""], 0, 0
    while at < len(pattern):
        c = pattern[at]
        if c == "'":
            end = pattern.find("'", at + 1)
            if end < 0:
                raise ValueError(f'Malformed pattern "{pattern}"')
            phase = 2 if phase == 1 else phase
            current[phase] += pattern[at + 1 : end] or "'"
            at = end + 1
            continue
        if c == ";":
            parts.append((current[0], current[1], current[2]))
            current, phase = ["", "", ""], 0
        elif c in "#0,." or (c == "E" and phase == 1):
            if phase == 2:
                raise ValueError(f"Unquoted special character '{c}' in pattern \"{pattern}\"")
            phase = 1
            current[1] += c
        elif c == "¤":
            raise ValueError(f"Number format [{pattern}]: currencies are not supported")
        else:
            phase = 2 if phase == 1 else phase
            current[phase] += c
        at += 1
    parts.append((current[0], current[1], current[2]))
    return parts


@python("py_whole_to_char", "BIGINT VARCHAR", "VARCHAR")
def whole_to_char(value: int, pattern: str) -> str:
    """TO_CHAR of a whole number."""
    return number_format(pattern).format(Decimal(value))[:_LONGEST]


@python("py_number_to_char", "DOUBLE VARCHAR", "VARCHAR")
def number_to_char(value: float, pattern: str) -> str:
    """TO_CHAR of any other number."""
    if math.isnan(value):
        return "NaN"
    form = number_format(pattern)
    if math.isinf(value):
        return f"{form.prefix if value > 0 else form.negative_prefix}∞{form.suffix}"
    return form.format(Decimal(value))[:_LONGEST]


@python("py_to_number", "VARCHAR VARCHAR", "DOUBLE")
def to_number(value: str, pattern: str) -> float:
    """TO_NUMBER: rounded to the digits that the pattern has behind the point."""
    form = number_format(pattern)
    found = form.parse(value)
    if found is None:
        raise ValueError(f"Cannot parse input: {value} with pattern : {pattern}")
    return float(Decimal(repr(float(found))).quantize(Decimal(1).scaleb(-form.fraction_digits[1]), ROUND_HALF_UP))


def _to_char(call: Call) -> Bound:
    kind: Kind = call.args[0].kind
    whole = kind is not None and kind.name in ("INTEGER", "BIGINT")
    function, name = ("py_whole_to_char", "BIGINT") if whole else ("py_number_to_char", "DOUBLE")
    return Bound(f"{function}(CAST({call.args[0].sql} AS {name}), {call.args[1].sql})", VARCHAR)


add("TO_CHAR", "n,s", _to_char)
add("TO_NUMBER", "s,s", "py_to_number({0}, {1})", DOUBLE)
