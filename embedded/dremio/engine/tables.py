"""What a resolved table stands for in DuckDB: promoted files, a database's table, a table of the lake, sys tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from embedded.dremio.catalog import Catalog, elastic
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine import documents, system
from embedded.dremio.engine.duck import REFLECTIONS, Duck
from embedded.dremio.errors import DataReadError, UnsupportedOperation, ValidationError
from embedded.dremio.sql.kinds import quoted, text
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.scope import Field, Relation
from embedded.dremio.types import Column, from_duckdb

if TYPE_CHECKING:
    from embedded.dremio.sql.expressions import ExpressionBinder
    from embedded.dremio.sql.query import QueryBinder

# DuckDB types that are Dremio's as they are; others are cast when read
_PLAIN = {"boolean", "integer", "bigint", "float", "double", "varchar", "decimal", "date", "time", "timestamp", "blob"}


class EngineTables:
    """The binder's window on the engine, for one statement."""

    def __init__(self, catalog: Catalog, duck: Duck, system_tables: system.SystemTables, user: str) -> None:
        self.catalog = catalog
        self.duck = duck
        self.system_tables = system_tables
        self.user = user
        self.roles: frozenset[str] | None = None
        self.personal: set[str] = set()
        self.registered: list[list[str]] = []  # see `Engine.register`
        self.table_functions: Callable[[QueryBinder, exp.Anonymous, exp.Table], Relation] | None = None
        self.at_clause: Callable[[Entity, exp.Expr], str] | None = None
        self.functions: Callable[..., Bound | None] | None = None

    def relation(self, table: exp.Table) -> Relation:
        """See `sql.query.Tables`."""
        if "materialization" in table.meta:
            return self._materialization(table.meta["materialization"])
        if "system" in table.meta:
            self.registered.append(table.meta["system"])
            return self.system_tables.relation(table.meta["system"], self.user)
        entity = self.catalog.get_by_id(table.meta["dataset_id"])
        version = table.args.get("version")
        if version is not None and "lake" not in entity.internals:
            raise UnsupportedOperation(f"Time travel on [{entity.dotted}] is not supported: it is no Iceberg table.")
        fields = [Field(c.name, c.type) for c in entity.columns]
        if "fields" in entity.internals:
            self.registered.append([documents.DOCUMENTS, entity.id])
            return Relation(quoted(system.registered_name(self.registered[-1])), fields)
        physical = physical_of(self.catalog, self.duck, entity)
        if version is not None:
            return self._at_version(physical, entity, version)
        return Relation(normalized(self.duck, entity, physical), fields)

    def _at_version(self, physical: str, entity: Entity, version: exp.Expr) -> Relation:
        """The table as a snapshot has it, with the columns of that time."""
        assert self.at_clause is not None
        physical += self.at_clause(entity, version)
        with self.duck.cursor() as cursor:
            columns = describe(cursor, f"SELECT * FROM {physical}")
        return Relation(f"(SELECT * FROM {physical})", [Field(c.name, c.type) for c in columns])

    def table_function(self, queries: QueryBinder, call: exp.Anonymous, table: exp.Table) -> Relation:
        """See `sql.query.Tables`."""
        if self.table_functions is None:
            raise UnsupportedOperation(f"TABLE({call.sql(dialect='dremio')}) is not supported here.")
        return self.table_functions(queries, call, table)

    def user_function(self, binder: ExpressionBinder, node: exp.Anonymous, path: tuple[str, ...] = ()) -> Bound | None:
        """See `sql.query.Tables`."""
        return self.functions(binder, node, path) if self.functions is not None else None

    def _materialization(self, name: str) -> Relation:
        physical = f"{REFLECTIONS}.main.{quoted(name)}"
        with self.duck.cursor() as cursor:
            columns = describe(cursor, f"SELECT * FROM {physical}")
        return Relation(physical, [Field(c.name, c.type) for c in columns])


def describe(cursor: duckdb.DuckDBPyConnection, query: str) -> list[Column]:
    """The Dremio columns of a DuckDB query; raises ValidationError for types that Dremio lacks."""
    relation = cursor.sql(query)
    columns = []
    for name, kind in zip(relation.columns, relation.types, strict=True):
        try:
            columns.append(Column(name, from_duckdb(kind)))
        except ValueError as error:
            raise ValidationError(f"Column [{name}]: {error}") from error
    return columns


def physical_of(catalog: Catalog, duck: Duck, entity: Entity) -> str:
    """DuckDB's text for a table, as its files or its database have it."""
    source = catalog.source_of(entity.path)
    if source is None:
        raise ValidationError(f"Table [{entity.dotted}] lies in no source.")
    database = duck.ensure(source)
    if "lake" in entity.internals:
        schema, table = entity.internals["lake"]
        return f"{database}.{quoted(schema)}.{quoted(table)}"
    if "remote" in entity.internals:
        schema, table = entity.internals["remote"]
        return f"{database}.{quoted(schema)}.{quoted(table)}"
    return files_scan(source, entity)


def files_scan(source: Entity, entity: Entity) -> str:
    """The scan of a promoted folder or file: exactly the files listed at its promotion or last refresh."""
    file_format = entity.body.get("format", {})
    kind = file_format.get("type")
    addresses = [file["path"] for file in entity.internals["files"]]
    if kind == "Parquet" and any(a.endswith(".parquet") for a in addresses):
        addresses = [a for a in addresses if a.endswith(".parquet")]
    listed = "[" + ", ".join(text(a) for a in addresses) + "]"
    inferred = bool(source.body.get("config", {}).get("isPartitionInferenceEnabled"))
    partitioned = _has_key_folders(entity.internals["address"], addresses) and inferred
    hive = ", hive_partitioning = true, hive_types_autocast = false" if partitioned else ", hive_partitioning = false"
    depth = 0 if partitioned else _folder_depth(entity.internals["address"], addresses)
    name = ", filename = '$file$'" if depth else ""
    if kind == "Parquet":
        scan = f"read_parquet({listed}, union_by_name = true{hive}{name})"
    elif kind == "JSON":
        known = entity.internals.get("json_columns")
        shape = f"columns = {known}" if known else "union_by_name = true"
        scan = f"read_json({listed}, format = 'auto', {shape}, maximum_object_size = 67108864{hive}{name})"
    else:
        scan = f"read_csv({listed}{_text_options(file_format)}, union_by_name = true{hive}{name})"
    if not depth:
        return scan
    start = len(entity.internals["address"]) + 2
    dirs = ", ".join(
        f"CASE WHEN len(string_split(substr(\"$file$\", {start}), '/')) > {d + 1}"
        f' THEN string_split(substr("$file$", {start}), \'/\')[{d + 1}] END AS "dir{d}"'
        for d in range(depth)
    )
    return f'(SELECT * EXCLUDE ("$file$"), {dirs} FROM {scan})'


def _text_options(options: dict[str, Any]) -> str:
    delimiter = options.get("fieldDelimiter", ",")
    header = bool(options.get("extractHeader"))
    skip = int(bool(options.get("skipFirstLine")))
    given = [
        f"delim = {text(delimiter)}",
        f"quote = {text(options.get('quote', chr(34)))}",
        f"escape = {text(options.get('escape', chr(34)))}",
        f"header = {'true' if header else 'false'}",
        f"skip = {skip if header or not skip else 1}",
        "all_varchar = true",
        "auto_detect = true",
        "sample_size = 1",
        "null_padding = true",
        "strict_mode = false",
        "nullstr = '\\N'",
    ]
    if options.get("comment") and options["comment"] != "#":
        given.append(f"comment = {text(options['comment'])}")
    return ", " + ", ".join(given)


def _relative_folders(root: str, addresses: Iterable[str]) -> list[list[str]]:
    return [address[len(root) + 1 :].split("/")[:-1] for address in addresses if address != root]


def _folder_depth(root: str, addresses: Iterable[str]) -> int:
    return max((len(folders) for folders in _relative_folders(root, addresses)), default=0)


def _has_key_folders(root: str, addresses: Iterable[str]) -> bool:
    folders = _relative_folders(root, addresses)
    return bool(folders) and all(f and all("=" in name for name in f) for f in folders)


def normalized(duck: Duck, entity: Entity, physical: str) -> str:
    """The table with every column as Dremio's type; the physical text itself where nothing needs a cast."""
    casts = entity.internals.get("casts")
    if not casts:
        return physical
    items = [casts.get(c.name) or quoted(c.name) for c in entity.columns]
    return f"(SELECT {', '.join(items)} FROM {physical})"


def read_columns(
    duck: Duck, physical: str, what: str, plain_text_names: bool = False
) -> tuple[list[Column], dict[str, str]]:
    """Columns of a physical table and the casts that bring them to Dremio's types."""
    cursor = duck.cursor()
    try:
        relation = cursor.sql(f"SELECT * FROM {physical}")
        names, types = relation.columns, relation.types
    except duckdb.Error as error:
        raise DataReadError(f"Cannot read {what}: {error}") from error
    finally:
        cursor.close()
    columns, casts = [], {}
    for position, (name, kind) in enumerate(zip(names, types, strict=True)):
        dremio_name = chr(65 + position) if plain_text_names and position < 26 else name
        try:
            column = Column(dremio_name, from_duckdb(kind))
        except ValueError as error:
            raise DataReadError(f"Cannot read {what}: column [{name}]: {error}") from error
        columns.append(column)
        cast = _cast(quoted(name), kind)
        if cast is not None or dremio_name != name:
            casts[dremio_name] = f"{cast or quoted(name)} AS {quoted(dremio_name)}"
    return columns, casts


def _cast(column: str, kind: Any) -> str | None:
    name = kind.id
    if name in _PLAIN:
        return None
    if name == "timestamp with time zone":
        return f"timezone('UTC', {column})"
    if name.startswith("timestamp"):
        return f"CAST({column} AS TIMESTAMP)"
    if name in ("list", "struct", "map", "array", "interval"):
        return None
    if name in ("tinyint", "smallint", "utinyint", "usmallint"):
        return f"CAST({column} AS INTEGER)"
    if name in ("uinteger", "ubigint", "hugeint", "uhugeint"):
        return f"CAST({column} AS BIGINT)"
    if name == "time with time zone":
        return f"CAST({column} AS TIME)"
    return f"CAST({column} AS VARCHAR)"


def describe_files(catalog: Catalog, duck: Duck, entity: Entity) -> list[Column]:
    """Columns of a folder or file that is being promoted; keeps the casts in its internals."""
    source = catalog.source_of(entity.path)
    assert source is not None
    duck.ensure(source)
    entity.internals.pop("json_columns", None)
    if entity.body["format"].get("type") == "JSON":
        entity.internals["json_columns"] = json_columns(duck, entity)
    scan = files_scan(source, entity)
    options = entity.body["format"]
    lettered = (
        options.get("type") == "Text"
        and not options.get("extractHeader")
        and bool(options.get("autoGenerateColumnNames", True))
    )
    columns, casts = read_columns(duck, scan, f"the files below {entity.internals['address']}", lettered)
    entity.internals["casts"] = casts
    return columns


def json_columns(duck: Duck, entity: Entity) -> str:
    """The columns of JSON files for DuckDB's reader: texts stay texts, even those that look like dates."""
    addresses = "[" + ", ".join(text(file["path"]) for file in entity.internals["files"]) + "]"
    cursor = duck.cursor()
    try:
        relation = cursor.sql(
            f"SELECT * FROM read_json({addresses}, format = 'auto', union_by_name = true, hive_partitioning = false,"
            " maximum_object_size = 67108864)"
        )
        pairs = [f"{text(n)}: {text(_json_type(t))}" for n, t in zip(relation.columns, relation.types, strict=True)]
    except duckdb.Error as error:
        raise DataReadError(f"Cannot read the JSON files below {entity.internals['address']}: {error}") from error
    finally:
        cursor.close()
    return "{" + ", ".join(pairs) + "}"


def _json_type(kind: Any) -> str:
    name = kind.id
    if name == "list":
        return f"{_json_type(kind.children[0][1])}[]"
    if name == "struct":
        return "STRUCT(" + ", ".join(f"{quoted(n)} {_json_type(t)}" for n, t in kind.children) + ")"
    if name == "map":
        return f"MAP(VARCHAR, {_json_type(dict(kind.children)['value'])})"
    return {"bigint": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", "ubigint": "DOUBLE"}.get(name, "VARCHAR")


def describe_table(catalog: Catalog, duck: Duck, entity: Entity) -> list[Column]:
    """Columns of a table of a database or ELASTIC source; keeps the casts or the fields in its internals."""
    source = catalog.source_of(entity.path)
    if source is not None and source.body["type"] == "ELASTIC":
        fields = elastic.describe(source, entity.internals["remote"][0])
        entity.internals["fields"] = [field.to_json() for field in fields]
        return documents.columns_of(source, fields)
    columns, casts = read_columns(duck, physical_of(catalog, duck, entity), f"the table {entity.dotted}")
    entity.internals["casts"] = casts
    return columns
