"""OPTIMIZE, VACUUM and ROLLBACK of tables of the lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from embedded.dremio.catalog import storage
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine import lake, results
from embedded.dremio.engine.contracts import Handle, Result, Session, Statement, StatementKind
from embedded.dremio.engine.ddl import ddl, dotted, target_table
from embedded.dremio.engine.duck import database_name
from embedded.dremio.engine.snapshots import LakeMetadata, at_time
from embedded.dremio.engine.tables import physical_of
from embedded.dremio.errors import ValidationError
from embedded.dremio.sql import records
from embedded.dremio.sql.dialect import parse_expression
from embedded.dremio.sql.expressions import ExpressionBinder
from embedded.dremio.sql.kinds import quoted, text
from embedded.dremio.sql.query import QueryBinder
from embedded.dremio.sql.resolve import Resolver
from embedded.dremio.sql.scope import Field, Scope

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

DEFAULT_EXPIRE_AGE = timedelta(days=5)
DEFAULT_ORPHAN_AGE = timedelta(days=3)
MIN_INPUT_FILES = 5
_COUNTS = pa.schema(
    [
        pa.field("rewritten_data_files_count", pa.int64()),
        pa.field("rewritten_delete_files_count", pa.int64()),
        pa.field("new_data_files_count", pa.int64()),
    ]
)
_SUMMARY = pa.schema([pa.field("summary", pa.utf8())])
_EXPIRED = pa.schema(
    [
        pa.field("deleted_data_files_count", pa.int64()),
        pa.field("deleted_position_delete_files_count", pa.int64()),
        pa.field("deleted_equality_delete_files_count", pa.int64()),
        pa.field("deleted_manifest_files_count", pa.int64()),
        pa.field("deleted_manifest_lists_count", pa.int64()),
        pa.field("deleted_partition_stats_files_count", pa.int64()),
    ]
)
_ORPHANS = pa.schema([pa.field("deleted_files_count", pa.int64()), pa.field("deleted_files_size_mb", pa.int64())])


def _lake_table(engine: Engine, path: tuple[str, ...], session: Session, what: str) -> tuple[Entity, Entity]:
    entity = target_table(engine, path, session, what)
    source = engine.catalog.source_of(entity.path)
    assert source is not None
    return entity, source


def optimize(engine: Engine, record: records.Optimize, session: Session, sql: str) -> Statement:
    """OPTIMIZE TABLE: puts small files together, and rewrites files with deleted rows."""
    entity, source = _lake_table(engine, record.path, session, "OPTIMIZE TABLE")
    condition = _partition_condition(engine, entity, record, session) if record.partitions else None
    known = {"min_input_files", "target_file_size_mb", "min_file_size_mb", "max_file_size_mb"}
    if set(record.options) - known:
        raise ValidationError(f"Unknown option {', '.join(sorted(set(record.options) - known))} of OPTIMIZE")
    if not record.data:

        def manifests(session: Session, handle: Handle) -> Result:
            newest = LakeMetadata(engine, entity).snapshots()[-1].id
            current = engine.catalog.get_by_id(entity.id)
            engine.catalog.put(current, internals={**current.internals, "manifests_rewritten": newest}, tag=False)
            return results.rows(_SUMMARY, [{"summary": "Optimize table successful"}])

        return Statement(sql, StatementKind.COMMAND, _SUMMARY, plan=manifests)

    def run(session: Session, handle: Handle) -> Result:
        if condition is not None:
            return results.rows(_COUNTS, [_rewrite_partitions(engine, entity, condition, record, handle)])
        return results.rows(_COUNTS, [_rewrite(engine, entity, source, record, handle)])

    return Statement(sql, StatementKind.COMMAND, _COUNTS, plan=run)


def _partition_condition(engine: Engine, entity: Entity, record: records.Optimize, session: Session) -> str:
    """The condition behind FOR PARTITIONS; raises ValidationError when it names other columns than those of the
    partitions, which are the values of columns as they are."""
    partitions = entity.internals.get("partitions") or []
    allowed = {p[0].lower() for p in partitions if p[1] == "IDENTITY"}
    node = parse_expression(record.partitions or "")
    for column in node.find_all(exp.Column):
        if column.name.lower() not in allowed:
            names = ", ".join(p[0] for p in partitions)
            raise ValidationError(f"OPTIMIZE command is only supported on the partition columns - [{names}]")
    scope = Scope()
    source = scope.add((entity.name,), [Field(c.name, c.type) for c in entity.columns])
    binder = ExpressionBinder(
        QueryBinder(engine.tables(session, Resolver(engine.catalog, session.user, engine.access))), scope
    )
    physical = physical_of(engine.catalog, engine.duck, entity)
    return f"{physical} AS {quoted(source.alias)} WHERE {binder.boolean(node)}"


def _rewrite_partitions(
    engine: Engine, entity: Entity, condition: str, record: records.Optimize, handle: Handle
) -> dict[str, Any]:
    """Write the rows of some partitions anew, when these have enough files: DuckLake merges whole tables only."""
    metadata = LakeMetadata(engine, entity)
    physical = physical_of(engine.catalog, engine.duck, entity)
    with engine.writer:
        before = metadata.files(None)
        with lake.writing(engine, handle) as cursor:
            rows = cursor.execute(f"SELECT DISTINCT filename FROM {condition}").fetchall()
            used = {str(row[0]).rpartition("/")[2] for row in rows}
            touched = {file["id"] for file in before if str(file["path"]).rpartition("/")[2] in used}
            if len(touched) >= record.options.get("min_input_files", MIN_INPUT_FILES):
                listed = ", ".join(quoted(c.name) for c in entity.columns)
                cursor.execute(f"CREATE TEMP TABLE partition_rows AS SELECT {listed} FROM {condition}")
                cursor.execute(f"DELETE FROM {condition}")
                cursor.execute(f"INSERT INTO {physical} ({listed}) SELECT {listed} FROM partition_rows")
                cursor.execute("DROP TABLE partition_rows")
    return _changes(before, metadata.files(None))


def _rewrite(
    engine: Engine, entity: Entity, source: Entity, record: records.Optimize, handle: Handle
) -> dict[str, Any]:
    metadata = LakeMetadata(engine, entity)
    before = metadata.files(None)
    schema, name = entity.internals["lake"]
    arguments = f"{text(database_name(source))}, {text(name)}, schema => {text(schema)}"
    enough = len(before) >= record.options.get("min_input_files", MIN_INPUT_FILES)
    if enough:
        with lake.writing(engine, handle) as cursor:
            if any(file["content"] != "DATA" for file in before):
                cursor.execute(f"CALL ducklake_rewrite_data_files({arguments}, delete_threshold => 0)").fetchall()
        with lake.writing(engine, handle) as cursor:
            cursor.execute(f"CALL ducklake_merge_adjacent_files({arguments})").fetchall()
    return _changes(before, metadata.files(None))


def _changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """The result of OPTIMIZE: how many files are gone and how many are new."""
    old, new = {(f["content"], f["path"]) for f in before}, {(f["content"], f["path"]) for f in after}
    gone = old - new
    return {
        "rewritten_data_files_count": sum(1 for content, _ in gone if content == "DATA"),
        "rewritten_delete_files_count": sum(1 for content, _ in gone if content != "DATA"),
        "new_data_files_count": sum(1 for content, _ in new - old if content == "DATA"),
    }


def _moment(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        raise ValidationError(f"[{value}] is no timestamp") from None


def vacuum(engine: Engine, record: records.Vacuum, session: Session, sql: str) -> Statement:
    """VACUUM TABLE: snapshots before a moment can no longer be read; orphan files are deleted."""
    assert record.path is not None
    entity, source = _lake_table(engine, record.path, session, "VACUUM")
    older_than = _moment(record.older_than) if record.older_than else None
    if record.retain_last is not None and record.retain_last < 1:
        raise ValidationError("RETAIN_LAST must be at least 1")
    if record.action == "ORPHANS":

        def orphans(session: Session, handle: Handle) -> Result:
            limit = older_than or datetime.now(UTC).replace(tzinfo=None) - DEFAULT_ORPHAN_AGE
            return results.rows(_ORPHANS, [_delete_orphans(engine, entity, source, limit)])

        return Statement(sql, StatementKind.COMMAND, _ORPHANS, plan=orphans)

    def run(session: Session, handle: Handle) -> Result:
        limit = older_than or datetime.now(UTC).replace(tzinfo=None) - DEFAULT_EXPIRE_AGE
        _expire(engine, entity, limit, record.retain_last or 1)
        return results.rows(_EXPIRED, [{field.name: 0 for field in _EXPIRED}])

    return Statement(sql, StatementKind.COMMAND, _EXPIRED, plan=run)


def _expire(engine: Engine, entity: Entity, older_than: datetime, retain: int) -> None:
    """Raise the table's oldest readable snapshot. Files stay until the whole source's snapshots expire."""
    with engine.writer:
        snapshots = LakeMetadata(engine, entity).snapshots()
        kept = [s for i, s in enumerate(snapshots) if s.committed_at >= older_than or i >= len(snapshots) - retain]
        current = engine.catalog.get_by_id(entity.id)
        internals = {**current.internals, "oldest_snapshot": kept[0].id}
        engine.catalog.put(current, internals=internals, tag=False)


def _delete_orphans(engine: Engine, entity: Entity, source: Entity, older_than: datetime) -> dict[str, Any]:
    """Delete Parquet files in the table's own folder that DuckLake's metadata does not name (by their unique names)."""
    with engine.writer:
        metadata = LakeMetadata(engine, entity)
        known = {str(row[0]).rpartition("/")[2] for row in metadata.query("SELECT path FROM {}.ducklake_data_file")}
        known |= {str(row[0]).rpartition("/")[2] for row in metadata.query("SELECT path FROM {}.ducklake_delete_file")}
        known |= {
            str(row[0]).rpartition("/")[2]
            for row in metadata.query("SELECT path FROM {}.ducklake_files_scheduled_for_deletion")
        }
        address = storage.address_of(source, entity.path)
        count = size = 0
        for file in storage.list_files(source, address):
            name = file.address.rpartition("/")[2]
            changed = storage.modified_at(file)
            if name.startswith("ducklake-") and name not in known and changed < older_than:
                storage.delete_file(source, file.address)
                count, size = count + 1, size + file.size
        return {"deleted_files_count": count, "deleted_files_size_mb": size // 1_000_000}


def rollback(engine: Engine, record: records.Rollback, session: Session, sql: str) -> Statement:
    """ROLLBACK TABLE: the rows of an earlier snapshot become the current ones, as a new snapshot."""
    entity, _ = _lake_table(engine, record.path, session, "ROLLBACK")
    when = _moment(record.timestamp) if record.timestamp else None

    def run(session: Session, handle: Handle) -> Result:
        with engine.writer:
            metadata = LakeMetadata(engine, entity)
            snapshots = metadata.snapshots()
            if when is not None:
                target = at_time(metadata, when, snapshots).id
            elif record.snapshot and record.snapshot.isdigit() and int(record.snapshot) in {s.id for s in snapshots}:
                target = int(record.snapshot)
            else:
                raise ValidationError(f"Cannot rollback table [{dotted(record.path)}]: no snapshot {record.snapshot}")
            physical = physical_of(engine.catalog, engine.duck, entity)
            with lake.writing(engine, handle) as cursor:
                old = cursor.sql(f"SELECT * FROM {physical} AT (VERSION => {target})").columns
                names = {c.name.lower() for c in engine.catalog.get_by_id(entity.id).columns}
                listed = ", ".join(quoted(name) for name in old if name.lower() in names)
                cursor.execute(
                    f"CREATE TEMP TABLE rollback_rows AS SELECT {listed} FROM {physical} AT (VERSION => {target})"
                )
                cursor.execute(f"DELETE FROM {physical}")
                cursor.execute(f"INSERT INTO {physical} ({listed}) SELECT {listed} FROM rollback_rows")
                cursor.execute("DROP TABLE rollback_rows")
        return results.summary(f"Table [{dotted(record.path)}] rollbacked")

    return ddl(sql, run)
