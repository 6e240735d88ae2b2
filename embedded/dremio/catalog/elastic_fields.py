"""The fields of Elasticsearch's mappings as Dremio's types, and their values as Arrow takes them.

Any field may hold a list, which a mapping does not tell: Dremio learns it from the documents, and so does this.
Fields of types that Dremio does not know are left out, as it does.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any

from embedded.dremio.errors import DataReadError
from embedded.dremio.types import Column, DremioType

_TYPES = {
    "byte": "INTEGER",
    "short": "INTEGER",
    "integer": "INTEGER",
    "long": "BIGINT",
    "half_float": "FLOAT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "scaled_float": "DOUBLE",
    "boolean": "BOOLEAN",
    "binary": "VARBINARY",
    "text": "VARCHAR",
    "keyword": "VARCHAR",
    "ip": "VARCHAR",
}
_DEFAULT_FORMATS = ("date_optional_time", "epoch_millis")
_ISO_FORMATS = {
    *("date_optional_time", "date_time", "date_time_no_millis", "date_hour", "date_hour_minute"),
    *("date_hour_minute_second", "date_hour_minute_second_fraction", "date_hour_minute_second_millis"),
}
_DATE_FORMATS = {"date", "year_month_day", "year_month", "year", "basic_date"}
_TIME_FORMATS = {
    *("time", "time_no_millis", "t_time", "t_time_no_millis", "hour", "hour_minute", "hour_minute_second"),
    *("hour_minute_second_fraction", "hour_minute_second_millis"),
}
_PATTERNS = {
    "basic_date": "%Y%m%d",
    "basic_date_time": "%Y%m%dT%H%M%S.%f%z",
    "basic_date_time_no_millis": "%Y%m%dT%H%M%S%z",
}
_LETTERS = {
    **{"yyyy": "%Y", "uuuu": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "SSS": "%f"},
    **{"SSSSSS": "%f", "Z": "%z", "ZZ": "%z", "XX": "%z", "XXX": "%z"},
}
_EPOCH = datetime(1970, 1, 1)
POINT = ("geo_point",)  # the formats of a field of that type


@dataclass(frozen=True)
class Field:
    """A field of a mapping: `kind` is Dremio's type of one value, `children` those of an object."""

    name: str
    kind: str
    formats: tuple[str, ...] = ()
    children: tuple[Field, ...] = ()
    is_list: bool = False

    @property
    def column(self) -> Column:
        """The field as a column."""
        kind = DremioType(self.kind, children=tuple((c.name, c.column.type) for c in self.children))
        return Column(self.name, DremioType("LIST", children=(("", kind),)) if self.is_list else kind)

    def to_json(self) -> dict[str, Any]:
        """The field as kept in the catalog."""
        return {**vars(self), "children": [child.to_json() for child in self.children]}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Field:
        """The inverse of `to_json`."""
        children = tuple(Field.from_json(child) for child in data["children"])
        return Field(**{**data, "formats": tuple(data["formats"]), "children": children})


class ListFound(Exception):
    """A list where none was expected; `path` names the field."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(".".join(path))
        self.path = path


def fields_of(properties: dict[str, Any]) -> list[Field]:
    """The fields that a mapping's properties declare, without those whose type Dremio does not know."""
    found = [_field(name, declared) for name, declared in properties.items() if "." not in name]
    return [field for field in found if field is not None]


def _field(name: str, declared: dict[str, Any]) -> Field | None:
    kind = declared.get("type", "object")
    if kind in ("object", "nested"):
        children = tuple(fields_of(declared.get("properties", {})))
        return Field(name, "STRUCT", children=children) if children else None
    if kind == "geo_point":
        return Field(name, "STRUCT", POINT, (Field("lat", "DOUBLE"), Field("lon", "DOUBLE")))
    if kind == "date":
        given = declared.get("format")
        formats = tuple(f.removeprefix("strict_") for f in given.split("||")) if given else _DEFAULT_FORMATS
        kinds = {_format_kind(one) for one in formats}
        if None in kinds:
            return None
        return Field(name, str(kinds.pop()) if len(kinds) == 1 else "TIMESTAMP", formats)
    return Field(name, _TYPES[kind]) if kind in _TYPES else None


def merged(mappings: list[list[Field]]) -> list[Field]:
    """The fields of several indices under one alias; those that are declared otherwise in another are left out."""
    found: dict[str, Field | None] = {}
    for fields in mappings:
        for field in fields:
            known = found.get(field.name, field)
            if known is not None and (known.kind, known.formats) == (field.kind, field.formats):
                both = tuple(merged([list(known.children), list(field.children)]))
                found[field.name] = replace(known, children=both)
            else:
                found[field.name] = None
    return [field for field in found.values() if field is not None]


def with_lists(fields: Iterable[Field], documents: list[dict[str, Any]]) -> list[Field]:
    """The fields with those marked that hold a list in one of the documents."""
    documents = [undotted(document) for document in documents]
    return [_with_lists(field, [document.get(field.name) for document in documents]) for field in fields]


def _with_lists(field: Field, values: list[Any]) -> Field:
    lists = [value for value in values if isinstance(value, list) and not _is_point(field, value)]
    objects = [item for item in [*values, *_flat(lists)] if isinstance(item, dict)]
    return replace(field, is_list=bool(lists), children=tuple(with_lists(field.children, objects)))


def marked(fields: Iterable[Field], path: tuple[str, ...]) -> list[Field]:
    """The fields with the one of `path` marked as one that holds lists."""
    return [
        field
        if field.name != path[0]
        else replace(field, children=tuple(marked(field.children, path[1:])))
        if path[1:]
        else replace(field, is_list=True)
        for field in fields
    ]


def undotted(document: dict[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` is to Elasticsearch what ``{"a": {"b": 1}}`` is."""
    if not any("." in key for key in document):
        return document
    found: dict[str, Any] = {}
    for key, value in document.items():
        *parents, last = key.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        if isinstance(value, dict) and isinstance(place.get(last), dict):
            place[last] |= value
        else:
            place[last] = value
    return found


def reader(field: Field, parents: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """A function from a field's JSON to what Arrow takes for its column; raises ListFound, DataReadError."""
    path = (*parents, field.name)
    one = _object_reader(field, path) if field.kind == "STRUCT" else _value_reader(field, path)

    def of_list(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, list) and not _is_point(field, value):
            return [one(item) for item in (value if field.formats == POINT else _flat(value))]
        return [one(value)]

    def of_value(value: Any) -> Any:
        if isinstance(value, list) and not _is_point(field, value):
            raise ListFound(path)
        return one(value)

    return of_list if field.is_list else of_value


def _is_point(field: Field, value: list[Any]) -> bool:
    """A geo_point may be written ``[longitude, latitude]``."""
    return field.formats == POINT and bool(value) and not isinstance(value[0], (list, dict))


def _flat(values: list[Any]) -> list[Any]:
    """Lists in lists are one list to Elasticsearch."""
    return [item for value in values for item in (_flat(value) if isinstance(value, list) else [value])]


def _object_reader(field: Field, path: tuple[str, ...]) -> Callable[[Any], Any]:
    readers = [(child.name, reader(child, path)) for child in field.children]

    def read(value: Any) -> Any:
        if value is None:
            return None
        if field.formats == POINT and not isinstance(value, dict):
            value = _point(value, path)
        if not isinstance(value, dict):
            raise _unreadable(value, "an object", path)
        value = undotted(value)
        return {name: read_child(value.get(name)) for name, read_child in readers}

    return read


def _point(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    parts = value.split(",")[::-1] if isinstance(value, str) else value
    try:
        lon, lat = (float(part) for part in parts)
    except (TypeError, ValueError):
        raise _unreadable(value, "a point", path) from None
    return {"lat": lat, "lon": lon}


def _value_reader(field: Field, path: tuple[str, ...]) -> Callable[[Any], Any]:
    convert = _CONVERTERS.get(field.kind) or _moment_reader(field)

    def read(value: Any) -> Any:
        if value is None or (value == "" and field.kind != "VARCHAR"):
            return None
        try:
            return convert(value)
        except (TypeError, ValueError, KeyError, OverflowError, binascii.Error):
            raise _unreadable(value, field.kind, path) from None

    return read


def _unreadable(value: Any, wanted: str, path: tuple[str, ...]) -> DataReadError:
    return DataReadError(f"Field [{'.'.join(path)}]: cannot read [{str(value)[:100]}] as {wanted}.")


def _whole_number(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    try:
        return int(value)
    except ValueError:
        return int(float(value))


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False, "1": True, "0": False}[str(value)]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        raise ValueError
    return str(value).lower() if isinstance(value, bool) else str(value)


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "INTEGER": _whole_number,
    "BIGINT": _whole_number,
    "FLOAT": _number,
    "DOUBLE": _number,
    "BOOLEAN": _truth,
    "VARCHAR": _text,
    "VARBINARY": lambda value: base64.b64decode(value, validate=True),
}


def _format_kind(name: str) -> str | None:
    """DATE, TIME or TIMESTAMP; None for a format that cannot be read here."""
    if name in _DATE_FORMATS:
        return "DATE"
    if name in _TIME_FORMATS:
        return "TIME"
    known = name in _ISO_FORMATS or name in _PATTERNS or name in ("epoch_millis", "epoch_second")
    return "TIMESTAMP" if known or _strptime(name) is not None else None


def _moment_reader(field: Field) -> Callable[[Any], Any]:
    """Milliseconds of a TIMESTAMP or TIME, days of a DATE, by the first format that fits.

    What is written is what counts, as in Dremio: ``10:00+02:00`` is 10:00.
    """
    parsers = [_parser(name) for name in field.formats]

    def read(value: Any) -> Any:
        text = str(value)
        for parse in parsers:
            try:
                millis = parse(text)
            except ValueError:
                continue
            return date.fromordinal(_EPOCH.toordinal() + millis // 86_400_000) if field.kind == "DATE" else millis
        raise ValueError

    return read


def _parser(name: str) -> Callable[[str], int]:
    if name == "epoch_millis":
        return int
    if name == "epoch_second":
        return lambda text: int(text) * 1000
    if name in _TIME_FORMATS:
        return _parse_time
    pattern = _PATTERNS.get(name) or _strptime(name)
    if name in _ISO_FORMATS or name in _DATE_FORMATS - {"basic_date"}:
        return _parse_iso
    assert pattern is not None, name
    return lambda text: _millis(datetime.strptime(text, pattern))


def _parse_iso(text: str) -> int:
    if len(text) in (4, 7):  # a year, a year and a month
        text += "-01-01"[-3 if len(text) == 7 else -6 :]
    if text[4:5] != "-" or text[10:11] not in ("", "T"):
        raise ValueError
    return _millis(datetime.fromisoformat(text))


def _parse_time(text: str) -> int:
    return _millis(datetime.combine(_EPOCH, time.fromisoformat(text.removeprefix("T"))))


def _millis(moment: datetime) -> int:
    since = moment.replace(tzinfo=None) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def _strptime(pattern: str) -> str | None:
    """A pattern of Java's date formats as Python has it; None where it has parts that are not known here."""
    found, rest = "", pattern.removeprefix("8")
    while rest:
        if rest[0] == "'":
            literal, quote, rest = rest[1:].partition("'")
            if not quote:
                return None
            found += literal.replace("%", "%%") or "'"
        elif rest[0].isalpha():
            run = rest[: len(rest) - len(rest.lstrip(rest[0]))]
            if run not in _LETTERS:
                return None
            found, rest = found + _LETTERS[run], rest[len(run) :]
        else:
            found, rest = found + rest[0].replace("%", "%%"), rest[1:]
    return found if "%Y" in found else None
