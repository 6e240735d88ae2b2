"""Tables of the lake: DuckLake tables below a file source, made, changed and dropped under the writer lock.

``datalake.gold.slot_a.t`` is DuckLake's table ``t`` in the schema ``gold.slot_a``, its files under
``<root>/gold/slot_a/t/``. DuckLake misplaces tables when transactions are retried concurrently, so every write holds
one lock from BEGIN to COMMIT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import psycopg

from embedded.dremio.catalog import storage
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine.contracts import Handle
from embedded.dremio.engine.duck import database_name, metadata_schema
from embedded.dremio.errors import Canceled, UnsupportedOperation, ValidationError
from embedded.dremio.sql.kinds import duckdb_type, quoted, text
from embedded.dremio.sql.records import Partition
from embedded.dremio.types import Column

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

ROOT_SCHEMA = "."  # tables directly below the source
ROW_GROUP_ROWS = 1_000_000
_CREATE_SCHEMA = """
WITH made AS (
    INSERT INTO {snapshot} (snapshot_id, snapshot_time, schema_version, next_catalog_id, next_file_id)
    SELECT snapshot_id + 1, now(), schema_version + 1, next_catalog_id + 1, next_file_id
    FROM {snapshot} ORDER BY snapshot_id DESC LIMIT 1
    RETURNING snapshot_id, next_catalog_id - 1 AS schema_id
), told AS (
    INSERT INTO {snapshot_changes} (snapshot_id, changes_made) SELECT snapshot_id, %(change)s FROM made
)
INSERT INTO {schema} (schema_id, schema_uuid, begin_snapshot, schema_name, path, path_is_relative)
SELECT schema_id, gen_random_uuid(), snapshot_id, %(schema)s, %(folder)s, true FROM made
"""


def schema_of(path: tuple[str, ...]) -> str:
    """DuckLake's schema for a table's path; parts are kept apart by dots, dots in them escaped."""
    return ".".join(p.replace("%", "%25").replace(".", "%2E") for p in path[1:-1]) or ROOT_SCHEMA


def path_of(source: Entity, schema: str, table: str) -> tuple[str, ...]:
    """The inverse of `schema_of`."""
    parts = () if schema == ROOT_SCHEMA else schema.split(".")
    return (source.name, *(p.replace("%2E", ".").replace("%25", "%") for p in parts), table)


@contextmanager
def writing(engine: Engine, handle: Handle) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor inside one transaction under the writer lock; committed at the end, rolled back on any error."""
    while not engine.writer.acquire(timeout=0.2):
        if handle.cancelled:
            raise Canceled(handle.reason)
    cursor = engine.duck.cursor()
    try:
        handle.attach(cursor)
        cursor.execute("BEGIN")
        try:
            yield cursor
            if handle.cancelled:
                raise Canceled(handle.reason)
            cursor.execute("COMMIT")
        except BaseException:
            _rollback(cursor)
            raise
    finally:
        handle.attach(None)
        cursor.close()
        engine.writer.release()


def _rollback(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.execute("ROLLBACK")
    except duckdb.Error:  # the failed COMMIT has ended the transaction already
        return


def target_source(engine: Engine, path: tuple[str, ...]) -> tuple[Entity, str]:
    """The file source that a new table's path lies in, and its DuckDB database; raises ValidationError."""
    source = engine.catalog.source_of(path)
    if source is None or len(path) < 2:
        raise ValidationError(f"Cannot create table [{'.'.join(path)}]: tables are made in a source.")
    if source.body.get("type") not in ("S3", "NAS"):
        raise UnsupportedOperation(f"Source [{source.name}] does not support CREATE TABLE.")
    storage.address_of(source, path)  # refuses names that would lead out of the source
    database = engine.duck.ensure(source)
    with engine.duck.cursor() as cursor:
        attached = cursor.execute("SELECT type FROM duckdb_databases() WHERE database_name = ?", [database]).fetchall()
    if not attached:
        raise UnsupportedOperation(f"Source [{source.name}] has no rootPath: tables need one bucket or folder.")
    return source, database


def ensure_schema(engine: Engine, source: Entity, database: str, path: tuple[str, ...]) -> str:
    """Make DuckLake's schema for a path, its folder named as the path is; the writer lock must be held."""
    schema = schema_of(path)
    with engine.duck.cursor() as cursor:
        found = f"SELECT 1 FROM {_metadata(source, 'schema')} WHERE schema_name = ? AND end_snapshot IS NULL"
        if cursor.execute(found, [schema]).fetchall():
            return schema
        _create_schema(engine, source, schema, folder="".join(f"{part}/" for part in path[1:-1]))
        for option, value in _options(source, path).items():
            cursor.execute(f"CALL {database}.set_option({text(option)}, {text(value)}, schema => {text(schema)})")
        return schema


def _metadata(source: Entity, table: str) -> str:
    """A table of a source's DuckLake metadata, as DuckDB has it attached.

    duckdb_schemas() and duckdb_tables() read every source that is attached, and fail when one of them just goes.
    """
    return f"__ducklake_metadata_{database_name(source)}.{metadata_schema(source)}.ducklake_{table}"


def _create_schema(engine: Engine, source: Entity, schema: str, folder: str) -> None:
    """What DuckLake's CREATE SCHEMA does, but with the folder named as the path is, and in one statement.

    DuckLake gives a schema with dots in its name a random folder. With that changed afterwards, a transaction that
    loaded the schema in between would write where nobody looks for its files. The rows are those of DuckLake's
    specification (https://ducklake.select/docs/stable/specification/queries).
    """
    tables = {
        name: psycopg.sql.Identifier(metadata_schema(source), f"ducklake_{name}")
        for name in ("snapshot", "snapshot_changes", "schema")
    }
    with psycopg.connect(engine.dsn) as connection:
        connection.execute(
            psycopg.sql.SQL(_CREATE_SCHEMA).format(**tables),
            {"change": f"created_schema:{quoted(schema)}", "schema": schema, "folder": folder},
        )


def _options(source: Entity, path: tuple[str, ...]) -> dict[str, str]:
    """Parquet options of new tables in a folder.

    The codec is snappy, or what the source's propertyList says for the folder:
    ``{"name": "parquet.compression.gold", "value": "zstd"}``.
    """
    codec = "snappy"
    for item in source.body.get("config", {}).get("propertyList") or []:
        name = str(item.get("name", ""))
        folder = name.removeprefix("parquet.compression.")
        if name != folder and ".".join(path[1:-1]).lower().startswith(folder.lower()):
            codec = str(item.get("value", codec)).lower()
    return {"parquet_compression": codec, "parquet_row_group_size": str(ROW_GROUP_ROWS)}


def create(
    cursor: duckdb.DuckDBPyConnection,
    physical: str,
    columns: list[Column],
    partitions: list[Partition],
) -> None:
    """An empty table with its partitioning, inside a transaction of `writing`."""
    listed = ", ".join(f"{quoted(c.name)} {duckdb_type(c.type)}" for c in columns)
    cursor.execute(f"CREATE TABLE {physical} ({listed})")
    if partitions:
        names = {c.name.lower(): c.name for c in columns}
        items = [partition_sql(p, names) for p in partitions]
        items = [item for item in items if item]
        if items:
            cursor.execute(f"ALTER TABLE {physical} SET PARTITIONED BY ({', '.join(items)})")


def partition_sql(partition: Partition, names: dict[str, str]) -> str:
    """DuckLake's form of a partition transform; raises ValidationError, UnsupportedOperation."""
    column = names.get(partition.column.lower())
    if column is None:
        raise ValidationError(f"Partition column [{partition.column}] is not a column of the table.")
    if partition.transform == "IDENTITY":
        return quoted(column)
    if partition.transform in ("YEAR", "MONTH", "DAY", "HOUR"):
        return _dated(partition.transform, quoted(column))
    if partition.transform == "BUCKET":
        return f"bucket({partition.argument}, {quoted(column)})"
    if partition.transform == "TRUNCATE":
        return ""  # DuckLake has no such transform; it changes the layout of files only, never a result
    raise ValidationError(f"Unknown partition transform [{partition.transform}]")


def _dated(transform: str, column: str) -> str:
    """Iceberg's month is a month of a year; DuckLake's is the calendar month, so the coarser units come along."""
    units = ("YEAR", "MONTH", "DAY", "HOUR")
    return ", ".join(f"{unit.lower()}({column})" for unit in units[: units.index(transform) + 1])


def lake_table(entity: Entity, what: str) -> None:
    """Raise UnsupportedOperation unless the entity is a table of the lake."""
    if "lake" not in entity.internals:
        raise UnsupportedOperation(f"{what}: [{entity.dotted}] is not an Iceberg table.")


def reconcile_all(engine: Engine) -> None:
    """Bring the catalog in line with DuckLake after a stop between two commits; sources that fail are left."""
    for source in engine.catalog.roots():
        if source.body.get("type") in ("S3", "NAS"):
            try:
                engine.duck.ensure(source)
                reconcile(engine, source)
            except duckdb.Error:
                continue


def reconcile(engine: Engine, source: Entity) -> None:
    """Adopt tables and columns of DuckLake that the catalog lacks, and drop entries whose table is gone."""
    with engine.duck.cursor() as cursor:
        rows = cursor.execute(
            f"SELECT schema_name, table_name FROM {_metadata(source, 'table')} AS t"
            f" JOIN {_metadata(source, 'schema')} AS s USING (schema_id)"
            " WHERE t.end_snapshot IS NULL AND s.end_snapshot IS NULL"
        ).fetchall()
    existing = {path_of(source, schema, table): (schema, table) for schema, table in rows}
    for entity in engine.catalog.entities():
        known = entity.internals.get("lake")
        if entity.key[:1] == source.key and known is not None and tuple(known) not in existing.values():
            engine.catalog.remove(entity)
    for path, (schema, table) in existing.items():
        columns = columns_of(engine, source, schema, table)
        present = engine.catalog.find(path)
        if present is None:
            engine.catalog.add_table(path, columns, (schema, table))
        elif "lake" in present.internals and present.columns != columns:
            engine.catalog.put(present, columns=columns)


def columns_of(engine: Engine, source: Entity, schema: str, table: str) -> list[Column]:
    """The columns of a table as DuckLake has them now."""
    from embedded.dremio.engine.tables import describe

    with engine.duck.cursor() as cursor:
        return describe(cursor, f"SELECT * FROM {database_name(source)}.{quoted(schema)}.{quoted(table)}")
