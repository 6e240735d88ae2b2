"""Dremio's date and time formats (``YYYY-MM-DD HH24:MI:SS.FFF``) as DuckDB's strftime patterns."""

from __future__ import annotations

from embedded.dremio.errors import UnsupportedOperation

# longest first; the case of an element does not count
_ELEMENTS = {
    "YYYY": "%Y",
    "MONTH": "%B",
    "AMPM": "%p",
    "HH24": "%H",
    "HH12": "%I",
    "MON": "%b",
    "DDD": "%j",
    "DAY": "%A",
    "FFF": "%g",
    "TZO": "%z",
    "TZD": "%Z",
    "YY": "%y",
    "MM": "%m",
    "DD": "%d",
    "DY": "%a",
    "HH": "%I",
    "MI": "%M",
    "SS": "%S",
    "AM": "%p",
    "PM": "%p",
    "WW": "%V",
}
_ORDERED = sorted(_ELEMENTS, key=len, reverse=True)


def pattern(text: str) -> str:
    """The strftime pattern of a Dremio format; raises UnsupportedOperation for an element not listed here."""
    out, at = "", 0
    upper = text.upper()
    while at < len(text):
        if text[at] == '"':
            end = text.find('"', at + 1)
            end = len(text) if end < 0 else end
            out += text[at + 1 : end].replace("%", "%%")
            at = end + 1
            continue
        for element in _ORDERED:
            if upper.startswith(element, at):
                out += _ELEMENTS[element]
                at += len(element)
                break
        else:
            if text[at].isalpha():
                raise UnsupportedOperation(f"Date format [{text}]: element [{text[at]}] is not supported.")
            out += "%%" if text[at] == "%" else text[at]
            at += 1
    return out
