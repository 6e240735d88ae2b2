"""INFORMATION_SCHEMA and sys: rows made from the catalog at each query, as VALUES in the translated text's place.

Each query gets its rows as a DuckDB table function of literals would: an Arrow table registered on the cursor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from embedded.dremio.catalog import Catalog, Entity, Kind
from embedded.dremio.errors import ValidationError
from embedded.dremio.sql.kinds import quoted
from embedded.dremio.sql.scope import Field, Relation
from embedded.dremio.types import DremioType, from_arrow

CATALOG_NAME = "DREMIO"
VERSION = "25.2.0-202410241428100111-a963b970"

_S, _I, _B, _L = pa.utf8(), pa.int32(), pa.bool_(), pa.int64()
_T = pa.timestamp("ms")

_SCHEMAS: dict[tuple[str, str], list[tuple[str, pa.DataType]]] = {
    ("information_schema", "catalogs"): [
        ("CATALOG_NAME", _S), ("CATALOG_DESCRIPTION", _S), ("CATALOG_CONNECT", _S),
    ],
    ("information_schema", "schemata"): [
        ("CATALOG_NAME", _S), ("SCHEMA_NAME", _S), ("SCHEMA_OWNER", _S), ("TYPE", _S), ("IS_MUTABLE", _S),
    ],
    ("information_schema", "tables"): [
        ("TABLE_CATALOG", _S), ("TABLE_SCHEMA", _S), ("TABLE_NAME", _S), ("TABLE_TYPE", _S),
    ],
    ("information_schema", "views"): [
        ("TABLE_CATALOG", _S), ("TABLE_SCHEMA", _S), ("TABLE_NAME", _S), ("VIEW_DEFINITION", _S),
    ],
    ("information_schema", "columns"): [
        ("TABLE_CATALOG", _S), ("TABLE_SCHEMA", _S), ("TABLE_NAME", _S), ("COLUMN_NAME", _S),
        ("ORDINAL_POSITION", _I), ("COLUMN_DEFAULT", _S), ("IS_NULLABLE", _S), ("DATA_TYPE", _S),
        ("COLUMN_SIZE", _I), ("CHARACTER_MAXIMUM_LENGTH", _I), ("CHARACTER_OCTET_LENGTH", _I),
        ("NUMERIC_PRECISION", _I), ("NUMERIC_PRECISION_RADIX", _I), ("NUMERIC_SCALE", _I),
        ("DATETIME_PRECISION", _I), ("INTERVAL_TYPE", _S), ("INTERVAL_PRECISION", _I),
    ],
    ("sys", "version"): [
        ("version", _S), ("commit_id", _S), ("commit_message", _S), ("commit_time", _S), ("build_email", _S),
        ("build_time", _S),
    ],
    ("sys", "options"): [
        ("name", _S), ("kind", _S), ("type", _S), ("status", _S), ("num_val", _L), ("string_val", _S),
        ("bool_val", _B), ("float_val", pa.float64()),
    ],
    ("sys", "privileges"): [
        ("grantee_id", _S), ("grantee_type", _S), ("privilege", _S), ("object_id", _S), ("object_type", _S),
    ],
    ("sys", "tables"): [
        ("table_id", _S), ("table_name", _S), ("path", _S), ("tag", _S), ("type", _L), ("format", _S),
        ("created", _T), ("owner_id", _S), ("owner_type", _S), ("record_count", _L), ("column_count", _I),
        ("is_approximate_stats", _B),
    ],
    ("sys", "table_statistics"): [
        ("table", _S), ("column", _S), ("created_at", _T), ("number_of_distinct_values", _L), ("row_count", _L),
        ("null_count", _L), ("quantiles", _S), ("heavy_hitters", _S),
    ],
    ("sys", "views"): [
        ("view_id", _S), ("space_id", _S), ("view_name", _S), ("schema_id", _S), ("path", _S), ("tag", _S),
        ("type", _L), ("created", _T), ("owner_id", _S), ("owner_type", _S), ("sql_definition", _S),
        ("sql_context", _S),
    ],
}  # fmt: skip

_NUMBERS = {"INTEGER": (32, 2, 0), "BIGINT": (64, 2, 0), "FLOAT": (24, 2, None), "DOUBLE": (53, 2, None)}


@dataclass
class Provider:
    """A system table: its schema and where its rows come from."""

    schema: pa.Schema
    rows: Callable[[], list[dict[str, Any]]]


class SystemTables:
    """All system tables, by (schema, name) in lower case."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._tables: dict[tuple[str, str], Provider] = {}
        self.visible: Callable[[list[str], list[dict[str, Any]], str], list[dict[str, Any]]] = lambda path, rows, _: (
            rows
        )
        makers: dict[tuple[str, str], Callable[[], list[dict[str, Any]]]] = {
            ("information_schema", "catalogs"): self._catalogs,
            ("information_schema", "schemata"): self._schemata,
            ("information_schema", "tables"): self._tables_rows,
            ("information_schema", "views"): self._views,
            ("information_schema", "columns"): self._columns,
            ("sys", "version"): self._version,
            ("sys", "options"): list,
            ("sys", "privileges"): list,
            ("sys", "tables"): self._sys_tables,
            ("sys", "table_statistics"): self._table_statistics,
            ("sys", "views"): self._sys_views,
        }
        for key, rows in makers.items():
            self._tables[key] = Provider(pa.schema([pa.field(n, t) for n, t in _SCHEMAS[key]]), rows)

    def register(self, name: str, schema: pa.Schema, rows: Callable[[], list[dict[str, Any]]]) -> None:
        """Make ``sys.<name>`` a table."""
        self._tables[("sys", name.lower())] = Provider(schema, rows)

    def find(self, path: list[str]) -> Provider:
        """The provider of a path; raises ValidationError."""
        found = self._tables.get((path[0], ".".join(path[1:])))
        if found is None:
            raise ValidationError(f"Object '{path[-1]}' not found within '{'.'.join(path[:-1])}'")
        return found

    def names(self) -> list[tuple[str, str, pa.Schema]]:
        """Schema name, table name and columns of every system table, as INFORMATION_SCHEMA shows them."""
        return [
            ("INFORMATION_SCHEMA" if s == "information_schema" else s, t.upper() if s != "sys" else t, p.schema)
            for (s, t), p in sorted(self._tables.items())
        ]

    def relation(self, path: list[str], user: str) -> Relation:
        """The relation of a system table: a name that the engine registers before it runs the text."""
        provider = self.find(path)
        fields = [Field(f.name, from_arrow(f)) for f in provider.schema]
        return Relation(quoted(registered_name(path)), fields)

    def arrow(self, path: list[str], user: str) -> pa.Table:
        """The rows of a system table now, as far as the user sees them."""
        provider = self.find(path)
        return pa.Table.from_pylist(self.visible(path, provider.rows(), user), schema=provider.schema)

    # -- rows ------------------------------------------------------------------------------------------------

    def _catalogs(self) -> list[dict[str, Any]]:
        return [
            {
                "CATALOG_NAME": CATALOG_NAME,
                "CATALOG_DESCRIPTION": "The internal metadata used by Dremio",
                "CATALOG_CONNECT": "",
            }
        ]

    def schemas(self) -> list[str]:
        """Names of all schemas: containers of the catalog, parents of tables, and the system's."""
        names = {"INFORMATION_SCHEMA", "sys"}
        for entity in self.catalog.entities():
            if entity.is_container:
                names.add(entity.dotted)
            for depth in range(1, len(entity.path)):
                names.add(".".join(entity.path[:depth]))
        return sorted(names)

    def _schemata(self) -> list[dict[str, Any]]:
        return [
            {
                "CATALOG_NAME": CATALOG_NAME,
                "SCHEMA_NAME": name,
                "SCHEMA_OWNER": "<owner>",
                "TYPE": "SIMPLE",
                "IS_MUTABLE": "NO",
            }
            for name in self.schemas()
        ]

    def datasets(self) -> list[Entity]:
        """All tables and views."""
        return [e for e in self.catalog.entities() if e.is_dataset]

    def _tables_rows(self) -> list[dict[str, Any]]:
        rows = [_table_row(s, t, "SYSTEM_TABLE") for s, t, _ in self.names()]
        for entity in self.datasets():
            kind = "VIEW" if entity.kind == Kind.VIEW else "TABLE"
            rows.append(_table_row(".".join(entity.path[:-1]), entity.name, kind))
        return rows

    def _views(self) -> list[dict[str, Any]]:
        return [
            {
                "TABLE_CATALOG": CATALOG_NAME,
                "TABLE_SCHEMA": ".".join(e.path[:-1]),
                "TABLE_NAME": e.name,
                "VIEW_DEFINITION": e.body["sql"],
            }
            for e in self.datasets()
            if e.kind == Kind.VIEW
        ]

    def _columns(self) -> list[dict[str, Any]]:
        rows = []
        for schema, table, columns in self.names():
            for position, field in enumerate(columns, 1):
                rows.append(_column_row(schema, table, field.name, from_arrow(field), position))
        for entity in self.datasets():
            for position, column in enumerate(entity.columns, 1):
                schema = ".".join(entity.path[:-1])
                rows.append(_column_row(schema, entity.name, column.name, column.type, position))
        return rows

    def _version(self) -> list[dict[str, Any]]:
        return [{"version": VERSION, "commit_id": "", "commit_message": "", "commit_time": "", "build_email": ""}]

    def _sys_tables(self) -> list[dict[str, Any]]:
        return [
            {
                "table_id": e.id,
                "table_name": e.name,
                "path": f"[{', '.join(e.path)}]",
                "tag": e.tag,
                "format": (e.body.get("format") or {}).get("type"),
                "created": e.created_at.replace(tzinfo=None),
                "column_count": len(e.columns),
                "is_approximate_stats": False,
            }
            for e in self.datasets()
            if e.kind == Kind.TABLE
        ]

    def _table_statistics(self) -> list[dict[str, Any]]:
        return [
            {
                "table": entity.dotted,
                "column": column,
                **counts,
                "created_at": datetime.fromisoformat(counts["created_at"]),
            }
            for entity in self.datasets()
            for column, counts in entity.internals.get("statistics", {}).items()
        ]

    def _sys_views(self) -> list[dict[str, Any]]:
        return [
            {
                "view_id": e.id,
                "view_name": e.name,
                "path": f"[{', '.join(e.path)}]",
                "tag": e.tag,
                "created": e.created_at.replace(tzinfo=None),
                "sql_definition": e.body["sql"],
                "sql_context": ".".join(e.body.get("sqlContext") or []),
            }
            for e in self.datasets()
            if e.kind == Kind.VIEW
        ]


def registered_name(path: list[str]) -> str:
    """The name under which a system table's rows are registered on the cursor that runs a query."""
    return "system$" + ".".join(path)


def _table_row(schema: str, name: str, kind: str) -> dict[str, Any]:
    return {"TABLE_CATALOG": CATALOG_NAME, "TABLE_SCHEMA": schema, "TABLE_NAME": name, "TABLE_TYPE": kind}


def _column_row(schema: str, table: str, name: str, kind: DremioType, position: int) -> dict[str, Any]:
    precision, radix, scale = _NUMBERS.get(kind.name, (None, None, None))
    if kind.name == "DECIMAL":
        precision, radix, scale = kind.precision, 10, kind.scale
    length = 65536 if kind.name in ("VARCHAR", "VARBINARY") else None
    return {
        "TABLE_CATALOG": CATALOG_NAME,
        "TABLE_SCHEMA": schema,
        "TABLE_NAME": table,
        "COLUMN_NAME": name,
        "ORDINAL_POSITION": position,
        "COLUMN_DEFAULT": None,
        "IS_NULLABLE": "YES",
        "DATA_TYPE": kind.information_schema_name,
        "COLUMN_SIZE": length or precision,
        "CHARACTER_MAXIMUM_LENGTH": length,
        "CHARACTER_OCTET_LENGTH": length,
        "NUMERIC_PRECISION": precision,
        "NUMERIC_PRECISION_RADIX": radix,
        "NUMERIC_SCALE": scale,
        "DATETIME_PRECISION": 3 if kind.name in ("TIME", "TIMESTAMP") else None,
        "INTERVAL_TYPE": kind.name.removeprefix("INTERVAL ") if kind.name.startswith("INTERVAL") else None,
        "INTERVAL_PRECISION": None,
    }
