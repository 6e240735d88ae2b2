"""Time travel and the metadata functions of tables of the lake, read from DuckLake's metadata in PostgreSQL.

DuckLake's snapshots are those of a whole source; a table's own are the ones that created it or changed its rows.
Expired ones (VACUUM) are those below the table's ``oldest_snapshot`` in the catalog.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
from psycopg import sql as pg
from sqlglot import exp

from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine.duck import metadata_schema
from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.types import from_arrow

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

_S, _L, _I, _B, _T = pa.utf8(), pa.int64(), pa.int32(), pa.bool_(), pa.timestamp("ms")


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in fields])


SCHEMAS = {
    "table_snapshot": _schema(
        ("committed_at", _T), ("snapshot_id", _L), ("parent_id", _L), ("operation", _S), ("manifest_list", _S),
        ("summary", _S),
    ),
    "table_history": _schema(
        ("made_current_at", _T), ("snapshot_id", _L), ("parent_id", _L), ("is_current_ancestor", _B)
    ),
    "table_files": _schema(
        ("content", _S), ("file_path", _S), ("file_format", _S), ("partition", _S), ("record_count", _L),
        ("file_size_in_bytes", _L), ("column_sizes", _S), ("value_counts", _S), ("null_value_counts", _S),
        ("nan_value_counts", _S), ("lower_bounds", _S), ("upper_bounds", _S), ("key_metadata", pa.binary()),
        ("split_offsets", pa.list_(_L)), ("equality_ids", pa.list_(_I)), ("sort_order_id", _I), ("spec_id", _I),
    ),
    "table_manifests": _schema(
        ("path", _S), ("length", _L), ("partition_spec_id", _I), ("added_snapshot_id", _L),
        ("added_data_files_count", _L), ("existing_data_files_count", _L), ("deleted_data_files_count", _L),
        ("added_delete_files_count", _L), ("existing_delete_files_count", _L), ("deleted_delete_files_count", _L),
        ("partition_summaries", _S),
    ),
    "table_partitions": _schema(("partition", _S), ("record_count", _L), ("file_count", _L), ("spec_id", _I)),
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """One of a table's snapshots; `operation` is Iceberg's word."""

    id: int
    committed_at: datetime
    operation: str


class LakeMetadata:
    """Reads one table's metadata."""

    def __init__(self, engine: Engine, entity: Entity) -> None:
        source = engine.catalog.source_of(entity.path)
        assert source is not None
        self.dsn = engine.dsn
        self.entity = entity
        self.schema = metadata_schema(source)
        lake_schema, table = entity.internals["lake"]
        rows = self.query(
            "SELECT t.table_id, min(t.begin_snapshot) FROM {}.ducklake_table t JOIN {}.ducklake_schema s"
            " USING (schema_id) WHERE s.schema_name = %s AND t.table_name = %s AND t.end_snapshot IS NULL"
            " AND s.end_snapshot IS NULL GROUP BY 1",
            lake_schema,
            table,
        )
        if not rows:
            raise ValidationError(f"Table [{entity.dotted}] not found.")
        self.table_id = int(rows[0][0])

    def query(self, text: str, *values: Any) -> list[Any]:
        """Rows of a metadata query; ``{}`` stands for the metadata schema."""
        places = text.count("{}")
        composed = pg.SQL(text).format(*[pg.Identifier(self.schema)] * places)
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(composed, values).fetchall()

    def snapshots(self) -> list[Snapshot]:
        """The table's snapshots that have not been expired, oldest first."""
        rows = self.query(
            "SELECT s.snapshot_id, s.snapshot_time, coalesce(c.changes_made, '') FROM {}.ducklake_snapshot s"
            " LEFT JOIN {}.ducklake_snapshot_changes c USING (snapshot_id)"
            " WHERE s.snapshot_id >= (SELECT min(begin_snapshot) FROM {}.ducklake_table WHERE table_id = %s)"
            " ORDER BY s.snapshot_id",
            self.table_id,
        )
        oldest = int(self.entity.internals.get("oldest_snapshot") or 0)
        created = self.query("SELECT min(begin_snapshot) FROM {}.ducklake_table WHERE table_id = %s", self.table_id)[0][
            0
        ]
        found = []
        for snapshot_id, time, changes in rows:
            words = {word.strip() for word in changes.split(",")}
            operation = _operation(words, self.table_id)
            if operation is None and snapshot_id == created:
                operation = "append"
            if operation is not None and snapshot_id >= oldest:
                found.append(Snapshot(int(snapshot_id), time.astimezone(UTC).replace(tzinfo=None), operation))
        return found

    def files(self, version: int | None) -> list[dict[str, Any]]:
        """Data and delete files that are live at a version (None: now)."""
        live = (
            "(end_snapshot IS NULL)"
            if version is None
            else "(begin_snapshot <= %s AND coalesce(end_snapshot, %s) > %s)"
        )
        values = () if version is None else (version, version + 1, version)
        found = []
        for content, table, count in (
            ("DATA", "ducklake_data_file", "record_count"),
            ("POSITION_DELETES", "ducklake_delete_file", "delete_count"),
        ):
            rows = self.query(
                f"SELECT data_file_id, path, {count}, file_size_bytes, begin_snapshot FROM {{}}.{table}"
                f" WHERE table_id = %s AND {live} ORDER BY begin_snapshot, data_file_id",
                self.table_id,
                *values,
            )
            found += [
                {"id": r[0], "content": content, "path": r[1], "rows": r[2], "size": r[3], "begin": r[4]} for r in rows
            ]
        return found

    def partition_values(self) -> dict[int, list[Any]]:
        """Partition values of each data file, in the order of the partition's columns."""
        rows = self.query(
            "SELECT data_file_id, partition_value FROM {}.ducklake_file_partition_value WHERE table_id = %s"
            " ORDER BY data_file_id, partition_key_index",
            self.table_id,
        )
        found: dict[int, list[Any]] = {}
        for file_id, value in rows:
            found.setdefault(file_id, []).append(value)
        return found


def _operation(words: set[str], table_id: int) -> str | None:
    inserted = f"inserted_into_table:{table_id}" in words
    deleted = f"deleted_from_table:{table_id}" in words
    if f"compacted_table:{table_id}" in words or any(
        word.endswith(f":{table_id}") and word.startswith(("merge_adjacent", "rewrite", "compact")) for word in words
    ):
        return "replace"
    if inserted and deleted:
        return "overwrite"
    if deleted:
        return "delete"
    return "append" if inserted else None


def version_of(metadata: LakeMetadata, version: exp.Expr | None) -> int | None:
    """The snapshot that ``AT SNAPSHOT`` or ``AT TIMESTAMP`` names; raises ValidationError if there is none."""
    if version is None:
        return None
    value = version.expression
    shown = metadata.entity.dotted
    snapshots = metadata.snapshots()
    if version.name.upper() == "VERSION":
        if not isinstance(value, exp.Literal) or not value.name.isdigit():
            raise ValidationError(f"Invalid snapshot id of table [{shown}]")
        if int(value.name) not in {s.id for s in snapshots}:
            raise ValidationError(f"Table [{shown}] has no snapshot with id {value.name}: invalid snapshotId")
        return int(value.name)
    return at_time(metadata, moment(value), snapshots).id


def moment(value: exp.Expr) -> datetime:
    """A literal timestamp (text or TIMESTAMP literal), as UTC; raises ValidationError."""
    literal = value.this if isinstance(value, exp.Cast) else value
    try:
        return datetime.fromisoformat(literal.name.strip())
    except ValueError:
        raise ValidationError(f"[{literal.name}] is no timestamp: literal timestamps are supported") from None


def at_time(metadata: LakeMetadata, when: datetime, snapshots: list[Snapshot]) -> Snapshot:
    """The newest snapshot that is not after a moment; raises ValidationError."""
    before = [s for s in snapshots if s.committed_at <= when]
    if not before:
        raise ValidationError(f"Table [{metadata.entity.dotted}] has no snapshot at or before {when}: not found")
    return before[-1]


def at_clause(engine: Engine, entity: Entity, version: exp.Expr) -> str:
    """DuckLake's AT clause for a table reference with a version."""
    if version.name.upper() not in ("VERSION", "TIMESTAMP"):
        raise UnsupportedOperation("AT BRANCH, TAG and COMMIT need a versioned (Nessie) source; this server has none.")
    return f" AT (VERSION => {version_of(LakeMetadata(engine, entity), version)})"


def rows(engine: Engine, name: str, entity_id: str, version: int | None) -> pa.Table:
    """The rows of a metadata function now."""
    metadata = LakeMetadata(engine, engine.catalog.get_by_id(entity_id))
    return pa.Table.from_pylist(_ROWS[name](metadata, version), schema=SCHEMAS[name])


def _snapshot_rows(metadata: LakeMetadata, version: int | None) -> list[dict[str, Any]]:
    parent = None
    found = []
    for snapshot in metadata.snapshots():
        found.append(
            {
                "committed_at": snapshot.committed_at,
                "snapshot_id": snapshot.id,
                "parent_id": parent,
                "operation": snapshot.operation,
            }
        )
        parent = snapshot.id
    return found


def _history_rows(metadata: LakeMetadata, version: int | None) -> list[dict[str, Any]]:
    return [
        {
            "made_current_at": row["committed_at"],
            "snapshot_id": row["snapshot_id"],
            "parent_id": row["parent_id"],
            "is_current_ancestor": True,
        }
        for row in _snapshot_rows(metadata, version)
    ]


def _partition_text(metadata: LakeMetadata, values: list[Any]) -> str:
    names = [p[0] for p in metadata.entity.internals.get("partitions") or []]
    pairs = [f"{name}={value}" for name, value in zip(names, values, strict=False)]
    return "{" + ", ".join(pairs) + "}"


def _file_rows(metadata: LakeMetadata, version: int | None) -> list[dict[str, Any]]:
    partitions = metadata.partition_values()
    return [
        {
            "content": file["content"],
            "file_path": file["path"],
            "file_format": "PARQUET",
            "partition": _partition_text(metadata, partitions.get(file["id"], [])),
            "record_count": file["rows"],
            "file_size_in_bytes": file["size"],
            "spec_id": 0,
        }
        for file in metadata.files(version)
    ]


def _manifest_rows(metadata: LakeMetadata, version: int | None) -> list[dict[str, Any]]:
    """DuckLake has no manifests: the files of each snapshot stand for one, REWRITE MANIFESTS puts them together."""
    together = int(metadata.entity.internals.get("manifests_rewritten") or -1)
    groups: dict[int, int] = {}
    for file in metadata.files(version):
        begin = max(int(file["begin"]), together)
        groups[begin] = groups.get(begin, 0) + 1
    return [
        {
            "path": f"manifest-{begin}.avro",
            "partition_spec_id": 0,
            "added_snapshot_id": begin,
            "added_data_files_count": n,
        }
        for begin, n in sorted(groups.items())
    ]


def _partition_rows(metadata: LakeMetadata, version: int | None) -> list[dict[str, Any]]:
    if not metadata.entity.internals.get("partitions"):
        raise ValidationError(f"Table {metadata.entity.dotted} is not partitioned")
    values = metadata.partition_values()
    groups: dict[str, list[int]] = {}
    for file in metadata.files(version):
        if file["content"] == "DATA":
            group = groups.setdefault(_partition_text(metadata, values.get(file["id"], [])), [0, 0])
            group[0] += file["rows"]
            group[1] += 1
    return [
        {"partition": name, "record_count": count, "file_count": files, "spec_id": 0}
        for name, (count, files) in sorted(groups.items())
    ]


_ROWS: dict[str, Callable[[LakeMetadata, int | None], list[dict[str, Any]]]] = {
    "table_snapshot": _snapshot_rows,
    "table_history": _history_rows,
    "table_files": _file_rows,
    "table_manifests": _manifest_rows,
    "table_partitions": _partition_rows,
}


def columns(name: str) -> list[tuple[str, Any]]:
    """Names and Dremio types of a metadata function's columns."""
    return [(field.name, from_arrow(field)) for field in SCHEMAS[name]]
