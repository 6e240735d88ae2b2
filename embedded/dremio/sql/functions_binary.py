"""Values as bytes and back: CONVERT_TO and CONVERT_FROM with their encodings, and checks of UTF-8."""

from __future__ import annotations

import base64
import struct

from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, kinds
from embedded.dremio.sql.functions_python import python
from embedded.dremio.sql.kinds import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INTEGER,
    TIME,
    TIMESTAMP,
    VARBINARY,
    VARCHAR,
    text,
)
from embedded.dremio.sql.registry import Bound, Call, add
from embedded.dremio.types import DremioType

# encoding -> struct's code and the type; _BE: most significant byte first
_ENCODINGS: dict[str, tuple[str, DremioType]] = {
    "INT": ("<i", INTEGER),
    "INT_BE": (">i", INTEGER),
    "BIGINT": ("<q", BIGINT),
    "BIGINT_BE": (">q", BIGINT),
    "FLOAT": ("<f", FLOAT),
    "FLOAT_BE": (">f", FLOAT),
    "DOUBLE": ("<d", DOUBLE),
    "DOUBLE_BE": (">d", DOUBLE),
    "BOOLEAN_BYTE": ("?", BOOLEAN),
    "DATE_EPOCH": ("<q", DATE),
    "DATE_EPOCH_BE": (">q", DATE),
    "TIME_EPOCH": ("<q", TIME),
    "TIME_EPOCH_BE": (">q", TIME),
    "TIMESTAMP_EPOCH": ("<q", TIMESTAMP),
    "TIMESTAMP_EPOCH_BE": (">q", TIMESTAMP),
}


@python("py_pack_number", "DOUBLE VARCHAR", "BLOB")
def pack_number(value: float, code: str) -> bytes:
    """A FLOAT or DOUBLE as bytes."""
    return struct.pack(code, value)


@python("py_pack_whole", "BIGINT VARCHAR", "BLOB")
def pack_whole(value: int, code: str) -> bytes:
    """A whole number as bytes."""
    return struct.pack(code, value)


_CHARSETS = {
    "US-ASCII": "ascii",
    "ISO-8859-1": "latin-1",
    "UTF-8": "utf-8",
    "UTF-16": "utf-16-be",
    "UTF-16BE": "utf-16-be",
    "UTF-16LE": "utf-16-le",
}


@python("py_encode", "VARCHAR VARCHAR", "BLOB")
def encoded(value: str, charset: str) -> bytes:
    """A text as bytes of a charset; a character that it has not becomes ``?``. UTF-16 starts with its mark."""
    mark = b"\xfe\xff" if charset == "UTF-16" and value else b""
    return mark + value.encode(_CHARSETS[charset], "replace")


def _encode(call: Call) -> Bound:
    """ENCODE(text, charset)."""
    charset = (call.args[1].literal or "").upper()
    if charset not in _CHARSETS:
        raise UnsupportedOperation(f"ENCODE is supported with one of these charsets: {', '.join(_CHARSETS)}.")
    return Bound(f"py_encode({casts.to_text(call.args[0])}, {text(charset)})", VARBINARY)


def _unpacked(value: bytes, code: str) -> float:
    if len(value) != struct.calcsize(code):
        raise ValueError(f"Wrong length {len(value)} of the bytes to convert, {struct.calcsize(code)} are expected")
    return float(struct.unpack(code, value)[0])


@python("py_unpack_number", "BLOB VARCHAR", "DOUBLE")
def unpack_number(value: bytes, code: str) -> float:
    """The inverse of `pack_number`."""
    return _unpacked(value, code)


@python("py_unpack_whole", "BLOB VARCHAR", "BIGINT")
def unpack_whole(value: bytes, code: str) -> int:
    """The inverse of `pack_whole`."""
    if len(value) != struct.calcsize(code):
        raise ValueError(f"Wrong length {len(value)} of the bytes to convert, {struct.calcsize(code)} are expected")
    return int(struct.unpack(code, value)[0])


@python("py_replace_invalid", "BLOB VARCHAR", "VARCHAR")
def replace_invalid(value: bytes, replacement: str) -> str:
    """Bytes as text; each byte that is no UTF-8 becomes the replacement (nothing when that is empty)."""
    if len(replacement) > 1 or not replacement.isascii():
        raise ValueError("A single replacement character is expected")
    out, rest = "", value
    while rest:
        try:
            return out + rest.decode()
        except UnicodeDecodeError as error:
            out += rest[: error.start].decode() + replacement
            rest = rest[error.start + 1 :]
    return out


@python("py_is_utf8", "BLOB", "BOOLEAN")
def is_utf8(value: bytes) -> bool:
    """True if bytes are UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


@python("py_base64_bytes", "BLOB", "BLOB")
def base64_bytes(value: bytes) -> bytes:
    """Bytes in Base64, as bytes."""
    return base64.b64encode(value)


def _code(encoding: str) -> tuple[str, DremioType, bool]:
    code, kind = _ENCODINGS[encoding]
    return code, kind, kind.name in ("FLOAT", "DOUBLE")


def _convert_to(call: Call) -> Bound:
    """CONVERT_TO(value, encoding)."""
    value, encoding = call.args[0], (call.args[1].literal or "").upper()
    if encoding in ("UTF8", "UTF-8"):
        return Bound(f"encode({casts.to_text(value)})", VARBINARY)
    if encoding == "BASE64":
        sql = value.sql if value.kind == VARBINARY else f"encode({casts.to_text(value)})"
        return Bound(f"py_base64_bytes({sql})", VARBINARY)
    if encoding not in _ENCODINGS:
        raise UnsupportedOperation(f"CONVERT_TO(.., '{call.args[1].literal}') is not supported.")
    code, kind, fraction = _code(encoding)
    value = casts.cast(value, kind)
    if kind == TIME:
        sql = f"epoch_ms(DATE '1970-01-01' + {value.sql})"
    elif kind in (DATE, TIMESTAMP):
        sql = f"epoch_ms(CAST({value.sql} AS TIMESTAMP))"
    else:
        sql = f"CAST({value.sql} AS {'DOUBLE' if fraction else 'BIGINT'})"
    return Bound(f"py_pack_{'number' if fraction else 'whole'}({sql}, {text(code)})", VARBINARY)


def convert_from(value: Bound, encoding: str) -> Bound:
    """CONVERT_FROM(value, encoding) for all encodings but JSON."""
    if encoding in ("UTF8", "UTF-8"):
        return Bound(value.sql if value.kind == VARCHAR else f"decode({value.sql})", VARCHAR)
    if encoding not in _ENCODINGS:
        raise UnsupportedOperation(f"CONVERT_FROM(.., '{encoding}') is not supported.")
    if value.kind not in (VARBINARY, VARCHAR, kinds.NULL):
        raise ValidationError("CONVERT_FROM expects a VARBINARY")
    code, kind, fraction = _code(encoding)
    data = f"encode({value.sql})" if value.kind == VARCHAR else value.sql
    sql = f"py_unpack_{'number' if fraction else 'whole'}({data}, {text(code)})"
    if kind in (DATE, TIMESTAMP, TIME):
        return Bound(f"CAST(make_timestamp({sql} * 1000) AS {kind.name})", kind)
    return Bound(f"CAST({sql} AS {kind.name})", kind)


add("CONVERT_TO", "a,s", _convert_to)
add("ENCODE", "s,s", _encode)
add("CONVERT_REPLACEUTF8", "x,s", "py_replace_invalid({0}, {1})", VARCHAR)
add("IS_UTF8", "x", "py_is_utf8({0})", BOOLEAN)
add("IS_UTF8", "s", "CASE WHEN {0} IS NOT NULL THEN TRUE END", BOOLEAN)
