"""Dremio's types: between DuckDB's, Arrow's, INFORMATION_SCHEMA's and REST's names.

Dremio has INTEGER, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), BOOLEAN, VARCHAR, VARBINARY, DATE, TIME and TIMESTAMP of
milliseconds without zone, two intervals, LIST, STRUCT and MAP: nothing narrower, nothing unsigned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

MAX_PRECISION = 38

# REST name -> name in INFORMATION_SCHEMA.COLUMNS and DESCRIBE (OSS Column.java)
INFORMATION_SCHEMA_NAMES = {
    "VARCHAR": "CHARACTER VARYING",
    "VARBINARY": "BINARY VARYING",
    "LIST": "ARRAY",
    "STRUCT": "ROW",
    "INTERVAL DAY TO SECOND": "INTERVAL",
    "INTERVAL YEAR TO MONTH": "INTERVAL",
}

_ARROW = {
    "BOOLEAN": pa.bool_(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.utf8(),
    "VARBINARY": pa.binary(),
    "DATE": pa.date64(),
    "TIME": pa.time32("ms"),
    "TIMESTAMP": pa.timestamp("ms"),
    # pyarrow has no day-time interval; the field's metadata tells the two apart
    "INTERVAL DAY TO SECOND": pa.month_day_nano_interval(),
    "INTERVAL YEAR TO MONTH": pa.month_day_nano_interval(),
}

_FROM_DUCKDB = {
    "boolean": "BOOLEAN",
    "tinyint": "INTEGER",
    "smallint": "INTEGER",
    "integer": "INTEGER",
    "utinyint": "INTEGER",
    "usmallint": "INTEGER",
    "uinteger": "BIGINT",
    "bigint": "BIGINT",
    "ubigint": "BIGINT",
    "hugeint": "BIGINT",
    "uhugeint": "BIGINT",
    "bignum": "DOUBLE",
    "float": "FLOAT",
    "double": "DOUBLE",
    "varchar": "VARCHAR",
    "uuid": "VARCHAR",
    "enum": "VARCHAR",
    "bit": "VARCHAR",
    "blob": "VARBINARY",
    "date": "DATE",
    "time": "TIME",
    "time with time zone": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamp_s": "TIMESTAMP",
    "timestamp_ms": "TIMESTAMP",
    "timestamp_ns": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMP",
    "interval": "INTERVAL DAY TO SECOND",
    '"null"': "VARCHAR",
    "null": "VARCHAR",
    "sqlnull": "VARCHAR",
}


@dataclass(frozen=True)
class DremioType:
    """A Dremio type; `name` is REST's. `children`: LIST one unnamed, STRUCT its fields, MAP key and value."""

    name: str
    precision: int | None = None
    scale: int | None = None
    children: tuple[tuple[str, DremioType], ...] = ()

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that Dremio emits for it."""
        if self.name == "DECIMAL":
            return pa.decimal128(self.precision or MAX_PRECISION, self.scale or 0)
        if self.name == "LIST":
            return pa.list_(pa.field("$data$", self.children[0][1].arrow))
        if self.name == "STRUCT":
            return pa.struct([pa.field(name, child.arrow) for name, child in self.children])
        if self.name == "MAP":
            return pa.map_(self.children[0][1].arrow, self.children[1][1].arrow)
        return _ARROW[self.name]

    @property
    def information_schema_name(self) -> str:
        """The DATA_TYPE that INFORMATION_SCHEMA.COLUMNS and DESCRIBE show."""
        return INFORMATION_SCHEMA_NAMES.get(self.name, self.name)

    @property
    def sql(self) -> str:
        """The type as SQL writes it: ``DECIMAL(12, 2)``, ``LIST<INTEGER>``."""
        if self.name == "DECIMAL":
            return f"DECIMAL({self.precision}, {self.scale})"
        if self.name == "LIST":
            return f"LIST<{self.children[0][1].sql}>"
        if self.name == "STRUCT":
            return "STRUCT<" + ", ".join(f"{name}: {child.sql}" for name, child in self.children) + ">"
        if self.name == "MAP":
            return f"MAP<{self.children[0][1].sql}, {self.children[1][1].sql}>"
        return self.name

    @property
    def rest(self) -> dict[str, Any]:
        """The ``type`` object of REST results and of a dataset's ``fields``."""
        out: dict[str, Any] = {"name": self.name}
        if self.name == "DECIMAL":
            out |= {"precision": self.precision, "scale": self.scale}
        if self.children:
            out["subSchema"] = [
                {"type": child.rest} if self.name == "LIST" else {"name": name, "type": child.rest}
                for name, child in self.children
            ]
        return out


@dataclass(frozen=True)
class Column:
    """A column of a dataset: name in the spelling of its definition, and type."""

    name: str
    type: DremioType

    @property
    def rest(self) -> dict[str, Any]:
        """An element of a dataset's ``fields`` or of a result's ``schema``."""
        return {"name": self.name, "type": self.type.rest}


def from_duckdb(kind: DuckDBPyType) -> DremioType:
    """The Dremio type that stands for a DuckDB type; raises ValueError for types that Dremio lacks."""
    name = kind.id
    if name == "decimal":
        digits = {part: value for part, value in kind.children if isinstance(value, int)}
        return DremioType("DECIMAL", digits["precision"], digits["scale"])
    if name in ("list", "array"):
        return DremioType("LIST", children=(("", from_duckdb(_inner(kind)[0][1])),))
    if name == "struct":
        return DremioType("STRUCT", children=tuple((n, from_duckdb(t)) for n, t in _inner(kind)))
    if name == "map":
        parts = dict(_inner(kind))
        return DremioType("MAP", children=(("key", from_duckdb(parts["key"])), ("value", from_duckdb(parts["value"]))))
    if name in _FROM_DUCKDB:
        return DremioType(_FROM_DUCKDB[name])
    plain = str(kind).lower()
    if plain in _FROM_DUCKDB:
        return DremioType(_FROM_DUCKDB[plain])
    raise ValueError(f"no Dremio type for {kind}")


def _inner(kind: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    """The types inside a nested type, without what else DuckDB lists there (an array's size)."""
    return [(name, child) for name, child in kind.children if isinstance(child, DuckDBPyType)]


def from_arrow(field: pa.Field) -> DremioType:
    """The Dremio type of an Arrow field of a result schema."""
    kind = field.type
    if pa.types.is_decimal(kind):
        return DremioType("DECIMAL", kind.precision, kind.scale)
    if pa.types.is_map(kind):
        return DremioType("MAP", children=(("key", from_arrow(kind.key_field)), ("value", from_arrow(kind.item_field))))
    if pa.types.is_list(kind):
        return DremioType("LIST", children=(("", from_arrow(kind.value_field)),))
    if pa.types.is_struct(kind):
        return DremioType("STRUCT", children=tuple((f.name, from_arrow(f)) for f in kind))
    if kind == pa.month_day_nano_interval():
        months = (field.metadata or {}).get(b"dremio:interval") == b"year_month"
        return DremioType("INTERVAL YEAR TO MONTH" if months else "INTERVAL DAY TO SECOND")
    for name, arrow in _ARROW.items():
        if arrow == kind:
            return DremioType(name)
    raise ValueError(f"no Dremio type for Arrow's {kind}")


def arrow_schema(columns: list[Column]) -> pa.Schema:
    """The Arrow schema of a result with these columns."""
    fields = []
    for column in columns:
        metadata = {b"dremio:interval": b"year_month"} if column.type.name == "INTERVAL YEAR TO MONTH" else None
        fields.append(pa.field(column.name, column.type.arrow, metadata=metadata))
    return pa.schema(fields)


def columns_of(schema: pa.Schema) -> list[Column]:
    """The Dremio columns of a result schema, for REST's ``schema``."""
    return [Column(field.name, from_arrow(field)) for field in schema]


def to_json(kind: DremioType) -> dict[str, Any]:
    """A type as kept in the catalog; `from_json` reads it back."""
    out: dict[str, Any] = {"name": kind.name}
    if kind.precision is not None:
        out |= {"precision": kind.precision, "scale": kind.scale}
    if kind.children:
        out["children"] = [[name, to_json(child)] for name, child in kind.children]
    return out


def from_json(data: dict[str, Any]) -> DremioType:
    """The inverse of `to_json`."""
    children = tuple((name, from_json(child)) for name, child in data.get("children", []))
    return DremioType(data["name"], data.get("precision"), data.get("scale"), children)
