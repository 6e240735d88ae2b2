"""The protobuf messages of Flight SQL that Dremio's server understands (FlightSql.proto), read and written by hand.

They are small and few, so a field reader of a few lines stands in for generated code.
"""

from __future__ import annotations

from dataclasses import dataclass

PACKAGE = "type.googleapis.com/arrow.flight.protocol.sql."

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class MessageError(ValueError):
    """The bytes are not a protobuf message."""


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise MessageError("a number is cut off")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def fields(data: bytes) -> dict[int, list[int | bytes]]:
    """The message's fields by number, each with its values in order. Raises MessageError."""
    found: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        value: int | bytes
        if number == 0:
            raise MessageError("field number 0")
        if wire == _VARINT:
            value, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32, _BYTES):
            size = {_FIXED64: 8, _FIXED32: 4}.get(wire)
            if size is None:
                size, position = _varint(data, position)
            if position + size > len(data):
                raise MessageError("a field is cut off")
            value, position = data[position : position + size], position + size
        else:
            raise MessageError(f"wire type {wire}")
        found.setdefault(number, []).append(value)
    return found


def _write_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_field(number: int, value: bytes) -> bytes:
    """One length-delimited field."""
    return _write_varint(number << 3 | _BYTES) + _write_varint(len(value)) + value


def int_field(number: int, value: int) -> bytes:
    """One varint field (int64: negative values as two's complement)."""
    return _write_varint(number << 3 | _VARINT) + _write_varint(value)


def pack_any(name: str, message: bytes) -> bytes:
    """A ``google.protobuf.Any`` that holds the Flight SQL message of that name."""
    return bytes_field(1, (PACKAGE + name).encode()) + bytes_field(2, message)


@dataclass(frozen=True)
class Message:
    """A Flight SQL message: its name without the package and its fields."""

    name: str
    values: dict[int, list[int | bytes]]

    def text(self, number: int) -> str | None:
        """The field as text, None when it is absent."""
        value = self.raw(number)
        return None if value is None else value.decode()

    def raw(self, number: int) -> bytes | None:
        """The field as bytes, None when it is absent."""
        value = self.values.get(number, [None])[-1]
        return value if isinstance(value, bytes) else None

    def flag(self, number: int) -> bool:
        """The field as a boolean, False when it is absent."""
        return bool(self.values.get(number, [0])[-1])

    def texts(self, number: int) -> list[str]:
        """A repeated string field."""
        return [value.decode() for value in self.values.get(number, []) if isinstance(value, bytes)]

    def numbers(self, number: int) -> list[int]:
        """A repeated integer field, packed or not."""
        found: list[int] = []
        for value in self.values.get(number, []):
            if isinstance(value, int):
                found.append(value)
                continue
            position = 0
            while position < len(value):
                item, position = _varint(value, position)
                found.append(item)
        return found


def unpack_any(data: bytes) -> Message | None:
    """The Flight SQL message inside an Any, or None when the bytes are something else (Dremio: then SQL text)."""
    try:
        outer = fields(data)
        urls, bodies = outer.get(1, []), outer.get(2, [b""])
        if set(outer) - {1, 2} or len(urls) != 1 or not isinstance(urls[0], bytes):
            return None
        url = urls[0].decode()
        if not url.startswith(PACKAGE) or not isinstance(bodies[0], bytes):
            return None
        return Message(url.removeprefix(PACKAGE), fields(bodies[0]))
    except (MessageError, UnicodeDecodeError):
        return None
