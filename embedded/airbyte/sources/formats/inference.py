"""Types of columns from their values, wide enough for all of them.

The widest is text, which holds any value: what is no text, as JSON.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import chain
from typing import Any

BOOLEAN, INTEGER, NUMBER = {"type": "boolean"}, {"type": "integer"}, {"type": "number"}
TEXT, OBJECT, ARRAY = {"type": "string"}, {"type": "object"}, {"type": "array"}
INSTANT = {"type": "string", "format": "date-time"}
# What an earlier sync delivered as one of these is not made narrower by a file whose values would allow it.
_OF_ARROW = {"bool": BOOLEAN, "int64": INTEGER, "double": NUMBER, "string": TEXT, "timestamp[us, tz=UTC]": INSTANT}
_OF_PYTHON: dict[type, dict[str, Any]] = {
    bool: BOOLEAN,
    float: NUMBER,
    str: TEXT,
    dict: OBJECT,
    list: ARRAY,
    datetime: INSTANT,
    date: INSTANT,
}


class ColumnTypes:
    """The columns that records have, in the order of their first appearance."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any] | None] = {}

    def see(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take note of the records' fields and values."""
        for name in dict.fromkeys(chain.from_iterable(records)):
            values = [record.get(name) for record in records]
            found = self._found.get(name)
            for kind in set(map(type, values)) - {type(None)}:
                type_ = _OF_PYTHON.get(kind, TEXT)
                if kind is int:
                    numbers = [value for value in values if type(value) is int]
                    # what is beyond 64 bits would lose digits as a number
                    type_ = INTEGER if min(numbers) >= -(2**63) and max(numbers) < 2**63 else TEXT
                found = type_ if found is None else wider(found, type_)
            self._found[name] = found

    @property
    def schema(self) -> dict[str, dict[str, Any]]:
        """The columns as JSON schemas; one without any value is text."""
        return {name: type_ or TEXT for name, type_ in self._found.items()}


def wider(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The narrowest type that holds the values of both."""
    if one == other:
        return one
    numbers = (INTEGER, NUMBER)
    return NUMBER if one in numbers and other in numbers else TEXT


def of_arrow(name: str) -> dict[str, Any]:
    """The type of a column that was delivered as an Arrow type of this name."""
    return _OF_ARROW.get(name, TEXT)


def widened(schema: dict[str, Any], delivered: str | None) -> dict[str, Any]:
    """A column's type, not narrower than that which it was delivered with (an Arrow type's name)."""
    before = _OF_ARROW.get(delivered or "")
    if before is None or before == schema or (before == TEXT and schema in (OBJECT, ARRAY)):
        return schema
    return wider(before, schema)
