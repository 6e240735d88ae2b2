"""Documents to Arrow columns: a column's type is the narrowest that holds all values seen so far.

Airbyte's mapping with two differences. A date is a timestamp, not text. And where a value does not fit its column, the
column becomes wider (integer, number, text) instead of the value null: nothing is lost because a sample did not show
it. Nested documents and arrays are JSON text, in Airbyte's form.
"""

import base64
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
from bson import DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

EXACT = 2**53  # up to here a double holds every integer


@dataclass(frozen=True, eq=False)
class Kind:
    """What a column holds: its JSON schema, its Arrow type."""

    name: str
    schema: dict[str, Any]
    type: pa.DataType


NULL = Kind("null", {"type": "string"}, pa.string())  # no value was seen
BOOLEAN = Kind("boolean", {"type": "boolean"}, pa.bool_())
INTEGER = Kind("integer", {"type": "number", "airbyte_type": "integer"}, pa.int64())
NUMBER = Kind("number", {"type": "number"}, pa.float64())
DATE = Kind(
    "date",
    {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
    pa.timestamp("us", "UTC"),
)
OBJECT = Kind("object", {"type": "object"}, pa.string())
ARRAY = Kind("array", {"type": "array"}, pa.string())
TEXT = Kind("text", {"type": "string"}, pa.string())
KINDS = (NULL, BOOLEAN, INTEGER, NUMBER, DATE, OBJECT, ARRAY, TEXT)

OF_TYPE = {
    type(None): NULL, bool: BOOLEAN, int: INTEGER, Int64: INTEGER, float: NUMBER, Decimal128: NUMBER, datetime: DATE,
    dict: OBJECT, DBRef: OBJECT, list: ARRAY, MinKey: NULL, MaxKey: NULL,
}  # fmt: skip


def wider(first: Kind, second: Kind) -> Kind:
    """The narrowest kind that holds the values of both."""
    if first == second or second == NULL:
        return first
    if first == NULL:
        return second
    if ARRAY in (first, second):
        return ARRAY  # what is no array becomes one of one element, as in Airbyte
    return NUMBER if {first, second} == {INTEGER, NUMBER} else TEXT


def kind_of_schema(schema: Mapping[str, Any]) -> Kind:
    """The kind that a stream's column was discovered with."""
    return next((kind for kind in KINDS[1:] if kind.schema == schema), TEXT)


def kind_of_values(values: list[Any], at_least: Kind = NULL) -> Kind:
    """The narrowest kind that holds these values and those of `at_least`."""
    types = set(map(type, values))
    kind = at_least
    for type_ in types:
        kind = wider(kind, OF_TYPE.get(type_, TEXT))
    if kind == NUMBER and types & {int, Int64} and not all(map(_fits_a_double, values)):
        return TEXT
    return kind


def _fits_a_double(value: Any) -> bool:
    """Whether a double is the same number, as far as it is an integer."""
    return not isinstance(value, int) or abs(value) <= EXACT


def arrow(kind: Kind, values: list[Any]) -> pa.Array:
    """Values as a column of a kind that holds them."""
    types = set(map(type, values))
    if kind == ARRAY:
        values = [None if value is None else as_json(value if type(value) is list else [value]) for value in values]
    elif kind == OBJECT:
        values = [None if value is None else as_json(value) for value in values]
    elif kind == TEXT:
        values = values if types == {str} else [as_text(value) for value in values]
    elif types & {MinKey, MaxKey, Decimal128}:
        values = [_plain_number(value) for value in values]
    return pa.array(values, kind.type)


def as_text(value: Any) -> str | None:
    """A value as text: scalars as Airbyte writes them, the rest as JSON."""
    if type(value) is str or value is None:
        return value
    if isinstance(value, str):
        return str(value)  # code, which is a string with a scope
    if isinstance(value, float):
        return repr(value)  # JSON has no NaN
    plain = value if isinstance(value, (int, dict, list)) else _plain(value)
    return plain if isinstance(plain, str) or plain is None else as_json(plain)


def as_json(value: Any) -> str:
    """A value as JSON, what JSON has no form for as Airbyte writes it."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _plain(value: Any) -> Any:
    """What JSON has no form for: ids and binary data as text, dates in ISO 8601, decimals as numbers."""
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, datetime):
        return f"{value.isoformat(timespec='milliseconds')}Z"
    if isinstance(value, Decimal128):
        number = float(value.to_decimal())
        return number if math.isfinite(number) else str(value)
    if isinstance(value, Timestamp):
        return _plain(value.as_datetime().replace(tzinfo=None))
    if isinstance(value, Regex):
        return f"({_options(value)}){value.pattern}" if value.flags else value.pattern
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, DBRef):
        return value.as_doc()
    if isinstance(value, DatetimeMS):  # a year that Python has not
        return f"{int(value)} ms"
    if isinstance(value, (MinKey, MaxKey)):
        return None
    raise TypeError(f"a value of BSON type {type(value).__name__}")


def _plain_number(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return float(value.to_decimal())
    return None if isinstance(value, (MinKey, MaxKey)) else value


def _options(regex: Regex[Any]) -> str:
    letters = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "u": re.UNICODE, "x": re.VERBOSE}
    return "".join(letter for letter, flag in letters.items() if regex.flags & flag)


class DocumentColumns:
    """The columns of one collection in one sync.

    :param discovered: column -> JSON schema, those to deliver.
    :param delivered: column -> Arrow type, of all syncs before: a type never becomes narrower again.
    :param follow: whether fields that are no columns yet become some.
    :param leave_out: fields that are not selected.
    """

    def __init__(
        self,
        discovered: Mapping[str, Mapping[str, Any]],
        delivered: Mapping[str, str],
        *,
        follow: bool,
        leave_out: Iterable[str] = (),
    ) -> None:
        self._kinds = {name: kind_of_schema(schema) for name, schema in discovered.items()}
        self._follow = follow
        self._leave_out = frozenset(leave_out)
        self.unlisted: set[str] = set()
        for name, type_ in delivered.items():
            before = next(kind for kind in reversed(KINDS) if str(kind.type) == type_)
            known = self._kinds.get(name)
            if known is None and name not in self._leave_out:
                self._kinds[name] = before
            elif known is not None and known.type != before.type:
                self._kinds[name] = wider(known, before)

    @property
    def types(self) -> dict[str, str]:
        """column -> Arrow type, for the syncs to come."""
        return {name: str(kind.type) for name, kind in self._kinds.items() if kind != NULL}

    def table(self, documents: list[dict[str, Any]]) -> pa.Table:
        """The documents as columns. A column whose type is too narrow becomes wider; a new field becomes a column."""
        new = set().union(*documents) - self._kinds.keys() - self._leave_out
        if self._follow:
            self._kinds |= dict.fromkeys(sorted(new), NULL)
        else:
            self.unlisted |= new
        arrays = {}
        for name in self._kinds:
            values = [document.get(name) for document in documents]
            kind = self._kinds[name] = kind_of_values(values, self._kinds[name])
            if kind != NULL:  # a new field gets its type with its first value
                arrays[name] = arrow(kind, values)
        return pa.table(arrays)
