"""ANALYZE TABLE: counts of a table's columns, kept with the table and shown in ``sys.table_statistics``.

No plan depends on them, as in Dremio, where ``planner.use_statistics`` is off.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from embedded.dremio.catalog.entities import Entity, Kind
from embedded.dremio.engine import results
from embedded.dremio.engine.contracts import Handle, Result, Session, Statement
from embedded.dremio.engine.ddl import ddl, table
from embedded.dremio.errors import ValidationError
from embedded.dremio.sql import records
from embedded.dremio.sql.kinds import quoted

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine


def prepare(engine: Engine, record: records.Analyze, session: Session, sql: str) -> Statement:
    """ANALYZE TABLE .. FOR {ALL COLUMNS | COLUMNS (..)} {COMPUTE | DELETE} STATISTICS."""
    entity = table(engine, record.path, session)
    if entity.kind == Kind.VIEW:
        raise ValidationError(f'"{entity.dotted}" is not a physical dataset')
    columns = _columns(entity, record.columns)
    if record.delete:
        return ddl(sql, lambda session, handle: _delete(engine, entity, columns))

    def run(session: Session, handle: Handle) -> Result:
        _store(engine, entity, {**_stored(engine, entity), **_count(engine, entity, columns, session, handle)})
        return results.summary(f"Requested with a job ID: {handle.job_id}")

    return ddl(sql, run)


def _columns(entity: Entity, names: list[str]) -> list[str]:
    """The columns named, or all whose type is no nested one."""
    known = {column.name.lower(): column.name for column in entity.columns}
    missing = [name.lower() for name in names if name.lower() not in known]
    if missing:
        raise ValidationError(
            f"The following column(s) were not found in the table {entity.dotted}: [{', '.join(missing)}]."
        )
    plain = [c.name for c in entity.columns if c.type.name not in ("LIST", "STRUCT", "MAP")]
    return [known[name.lower()] for name in names] or plain


def _count(
    engine: Engine, entity: Entity, columns: list[str], session: Session, handle: Handle
) -> dict[str, dict[str, Any]]:
    counts = "".join(f", COUNT(DISTINCT {quoted(name)}), COUNT({quoted(name)})" for name in columns)
    query = f"SELECT COUNT(*){counts} FROM {'.'.join(quoted(part) for part in entity.path)}"
    (batch,) = engine.run_query(engine.bind(query, session), handle, query).batches
    rows, *found = (column[0].as_py() for column in batch.columns)
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    return {
        name.lower(): {
            "created_at": now, "number_of_distinct_values": distinct, "row_count": rows, "null_count": rows - present,
        }
        for name, distinct, present in zip(columns, found[::2], found[1::2], strict=True)
    }  # fmt: skip


def _delete(engine: Engine, entity: Entity, columns: list[str]) -> Result:
    kept = _stored(engine, entity)
    absent = [name.lower() for name in columns if kept.pop(name.lower(), None) is None]
    _store(engine, entity, kept)
    more = f", Non-existent columns: [{', '.join(absent)}]" if absent else ""
    return results.summary(f"Statistics Removed. Requested columns: []{more}")  # Dremio's first list is always empty


def _stored(engine: Engine, entity: Entity) -> dict[str, Any]:
    return dict(engine.catalog.get_by_id(entity.id).internals.get("statistics", {}))


def _store(engine: Engine, entity: Entity, statistics: dict[str, Any]) -> None:
    with engine.writer:
        current = engine.catalog.get_by_id(entity.id)
        engine.catalog.put(current, internals={**current.internals, "statistics": statistics}, tag=False)
