"""Functions that DuckDB has no match for: Python functions that the engine registers with DuckDB.

Each is total for non-null arguments or raises ValueError with Dremio's message; nulls give null without a call.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
import zlib
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from embedded.dremio.sql.kinds import BIGINT, INTEGER, VARBINARY, VARCHAR, DremioType
from embedded.dremio.sql.registry import add

# DuckDB name -> (function, DuckDB argument types, DuckDB result type)
PYTHON_FUNCTIONS: dict[str, tuple[Callable[..., Any], list[Any], str]] = {}


def python(name: str, arguments: str, returns: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Declare a DuckDB function made of a Python one."""

    def register(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def or_null(*values: object) -> object:
            return None if None in values else function(*values)

        PYTHON_FUNCTIONS[name] = (or_null, arguments.split(), returns)
        return function

    return register


@python("py_crc32", "BLOB", "BIGINT")
def crc32(value: bytes) -> int:
    """CRC32 of bytes."""
    return zlib.crc32(value)


_SOUNDEX = {
    c: d for d, cs in {"1": "BFPV", "2": "CGJKQSXZ", "3": "DT", "4": "L", "5": "MN", "6": "R"}.items() for c in cs
}


@python("py_soundex", "VARCHAR", "VARCHAR")
def soundex(value: str) -> str:
    """Soundex of the ASCII letters; every letter without a code parts equal codes, H and W too."""
    letters = [c for c in value.upper() if "A" <= c <= "Z"]
    if not letters:
        return ""
    out, last = letters[0], _SOUNDEX.get(letters[0], "")
    for letter in letters[1:]:
        code = _SOUNDEX.get(letter, "")
        if code and code != last:
            out += code
        last = code
    return (out + "000")[:4]


@python("py_find_in_set", "VARCHAR VARCHAR", "INTEGER")
def find_in_set(value: str, items: str) -> int:
    """The place (from 1) of a value in a comma-separated list, 0 if it is not there."""
    parts = items.split(",")
    return parts.index(value) + 1 if "," not in value and value in parts else 0


@python("py_substring_index", "VARCHAR VARCHAR BIGINT", "VARCHAR")
def substring_index(value: str, delimiter: str, count: int) -> str:
    """What stands before (negative: after) the count-th delimiter."""
    if count == 0 or not delimiter:
        return ""
    parts = value.split(delimiter)
    return delimiter.join(parts[:count] if count > 0 else parts[count:])


@python("py_format_number", "VARCHAR INTEGER", "VARCHAR")
def format_number(value: str, places: int) -> str:
    """Thousands separated by commas, rounded half to even as Java's DecimalFormat does."""
    if places < 0:
        raise ValueError("FORMAT_NUMBER: the number of places must not be negative")
    number = Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return f"{number:,.{places}f}"


@python("py_parse_url", "VARCHAR VARCHAR", "VARCHAR")
def parse_url(url: str, part: str) -> str | None:
    """A part of a URL as java.net.URL gives it; null when it has none or the text is no URL."""
    split = urlsplit(url)
    if not split.scheme or "://" not in url:
        return None
    file = split.path + (f"?{split.query}" if split.query else "")
    user = f"{split.username or ''}" + (f":{split.password}" if split.password else "")
    found = {
        "PROTOCOL": split.scheme,
        "HOST": split.hostname,
        "PATH": split.path,
        "QUERY": split.query or None,
        "REF": split.fragment or None,
        "FILE": file,
        "AUTHORITY": split.netloc,
        "USERINFO": user or None,
    }
    return found.get(part)


@python("py_parse_url_key", "VARCHAR VARCHAR VARCHAR", "VARCHAR")
def parse_url_key(url: str, part: str, key: str) -> str | None:
    """The value of a key in a URL's query."""
    if part != "QUERY" or "://" not in url:
        return None
    return dict(reversed(parse_qsl(urlsplit(url).query, keep_blank_values=True))).get(key)


@python("py_normalize", "VARCHAR VARCHAR", "VARCHAR")
def normalize(value: str, form: str) -> str:
    """Unicode normalisation."""
    if form.upper() not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise ValueError(f"Unknown normalization form: {form}")
    return unicodedata.normalize(form.upper(), value)  # type: ignore[arg-type]


@python("py_recode", "VARCHAR VARCHAR", "VARCHAR")
def recode(value: str, charset: str) -> str:
    """The UTF-8 bytes of a text read in another charset (TO_UTF8)."""
    return value.encode().decode(charset, errors="replace")


@python("py_toascii", "VARCHAR VARCHAR", "VARCHAR")
def toascii(value: str, charset: str) -> str:
    """A text of ASCII characters only; others are refused."""
    if not value.isascii():
        raise ValueError("TOASCII of characters outside of ASCII is not supported")
    return value


@python("py_binary_string", "VARCHAR", "BLOB")
def binary_string(value: str) -> bytes:
    """Bytes of a text in which ``\\xhh`` stands for a byte."""
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda m: bytes([int(m.group(1), 16)]), value.encode())


@python("py_string_binary", "BLOB", "VARCHAR")
def string_binary(value: bytes) -> str:
    """The inverse: printable bytes as they are, others as ``\\xHH``."""
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02X}" for b in value)


def _completed(value: Any, structure: Any) -> Any:
    if isinstance(structure, dict) and isinstance(value, dict):
        return {name: _completed(value.get(name), inner) for name, inner in structure.items()}
    if isinstance(structure, list) and isinstance(value, list):
        return [_completed(item, structure[0]) for item in value]
    return value


@python("py_json_completed", "VARCHAR VARCHAR", "VARCHAR")
def json_completed(value: str, structure: str) -> str:
    """A JSON text with all fields of a structure: those that are missing are null. Other texts stay as they are."""
    try:
        return json.dumps(_completed(json.loads(value), json.loads(structure)), ensure_ascii=False)
    except ValueError:
        return value


@python("py_ascii", "VARCHAR", "INTEGER")
def ascii_code(value: str) -> int:
    """The first byte of the UTF-8 text, as a signed number; 0 of an empty text."""
    first = value.encode()[:1]
    return int.from_bytes(first, "big", signed=True) if first else 0


_LIST = DremioType("LIST", children=(("", VARCHAR),))


@python("py_regexp_split", "VARCHAR VARCHAR VARCHAR BIGINT", "VARCHAR[]")
def regexp_split(value: str, pattern: str, mode: str, number: int) -> list[str]:
    """REGEXP_SPLIT by FIRST, LAST, INDEX (the number-th match, from 0) or ALL (at most number pieces; -1 all)."""
    matches = list(re.finditer(pattern, value))
    mode = mode.upper()
    if mode == "ALL":
        pieces, start = [], 0
        for match in matches:
            pieces.append(value[start : match.start()])
            start = match.end()
        pieces.append(value[start:])
        return pieces if number < 0 else pieces[:number]
    chosen = {"FIRST": 0, "LAST": len(matches) - 1, "INDEX": number}.get(mode)
    if chosen is None:
        raise ValueError(f"REGEXP_SPLIT: unknown mode {mode}")
    if not 0 <= chosen < len(matches):
        return [value]
    return [value[: matches[chosen].start()], value[matches[chosen].end() :]]


add("ASCII", "s", "py_ascii({0})", INTEGER)
add("CRC32", "s", "py_crc32(encode({0}))", BIGINT)
add("CRC32", "x", "py_crc32({0})", BIGINT)
add("SOUNDEX", "s", "nullif(py_soundex({0}), '')", VARCHAR)
add("FIND_IN_SET", "s,s", "py_find_in_set({0}, {1})", INTEGER)
add("SUBSTRING_INDEX", "s,s,i", "py_substring_index({0}, {1}, CAST({2} AS BIGINT))", VARCHAR)
add("FORMAT_NUMBER", "n,i", "py_format_number(CAST({0} AS VARCHAR), CAST({1} AS INTEGER))", VARCHAR)
add("PARSE_URL", "s,s", "py_parse_url({0}, {1})", VARCHAR)
add("PARSE_URL", "s,s,s", "py_parse_url_key({0}, {1}, {2})", VARCHAR)
add("NORMALIZE_STRING", "s,s", "py_normalize({0}, {1})", VARCHAR)
add("TO_UTF8", "s,s", "py_recode({0}, {1})", VARCHAR)
add("TOASCII", "s,s", "py_toascii({0}, {1})", VARCHAR)
add("BINARY_STRING", "s", "py_binary_string({0})", VARBINARY)
add("STRING_BINARY", "x", "py_string_binary({0})", VARCHAR)
add("REGEXP_SPLIT", "s,s,s,i", "py_regexp_split({0}, {1}, {2}, CAST({3} AS BIGINT))", _LIST)
