"""Connections in PostgreSQL: what is synced from where to where, how, and under which settings."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.database import Db, Row

# Our own settings of a connection (Airbyte's API has no field for them): name -> type and allowed range.
LAKEHOUSE_NUMBERS: dict[str, tuple[float, float]] = {
    "batch_size": (1, 10_000_000),
    "threads": (1, 64),
    "timeout_minutes": (0.01, 10_080),
    "max_retries": (0, 20),
    "buffer_size_mb": (16, 65_536),
}
COMPRESSIONS = ("none", "gzip")

FIELDS = (
    "name", "status", "schedule", "namespace_definition", "namespace_format", "prefix", "schema_changes",
    "streams", "tags",
)  # fmt: skip
JSON_FIELDS = ("schedule", "streams", "tags")


class Connections:
    """The connection table. All methods are safe to call from several threads."""

    def __init__(self, pool: ConnectionPool[Db]) -> None:
        self._pool = pool

    def get(self, connection_id: UUID) -> Row | None:
        """A connection that was not deleted."""
        with self._pool.connection() as db:
            return db.execute(
                "SELECT * FROM connection WHERE connection_id = %s AND status <> 'deprecated'", (connection_id,)
            ).fetchone()

    def list(self, workspace_ids: list[UUID] | None, limit: int, offset: int) -> list[Row]:
        with self._pool.connection() as db:
            return db.execute(
                """SELECT * FROM connection WHERE status <> 'deprecated'
                     AND (%(workspaces)s::uuid[] IS NULL OR workspace_id = ANY (%(workspaces)s))
                   ORDER BY created_at, connection_id LIMIT %(limit)s OFFSET %(offset)s""",
                {"workspaces": workspace_ids, "limit": limit, "offset": offset},
            ).fetchall()

    def add(self, workspace_id: UUID, source_id: UUID, destination_id: UUID, fields: dict[str, Any]) -> Row:
        """Add a connection; `fields` has all of FIELDS."""
        values = {
            "workspace_id": workspace_id,
            "source_id": source_id,
            "destination_id": destination_id,
            **_adapted({name: fields[name] for name in FIELDS}),
        }
        columns, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        with self._pool.connection() as db:
            row = db.execute(
                f"INSERT INTO connection ({columns}) VALUES ({marks}) RETURNING *",
                list(values.values()),
            ).fetchone()
        assert row is not None  # INSERT ... RETURNING
        return row

    def update(self, connection_id: UUID, fields: dict[str, Any]) -> Row | None:
        """Change some of FIELDS or `lakehouse`."""
        values = _adapted(fields)
        if not values:
            return self.get(connection_id)
        columns = ", ".join(f"{name} = %s" for name in values)
        with self._pool.connection() as db:
            return db.execute(
                f"UPDATE connection SET {columns} WHERE connection_id = %s RETURNING *",
                [*values.values(), connection_id],
            ).fetchone()

    def state(self, connection_id: UUID) -> dict[str, Any] | None:
        """The committed state, in the form of the config API; None before the first one."""
        with self._pool.connection() as db:
            row = db.execute("SELECT state FROM airbyte_state WHERE connection_id = %s", (connection_id,)).fetchone()
        return row["state"] if row else None


def streams_of(connection: Row) -> list[ConfiguredStream]:
    return [ConfiguredStream(**stream) for stream in connection["streams"]]


def checked_lakehouse(settings: Any, streams: list[str]) -> dict[str, Any]:
    """Validate our own settings of a connection.

    :raises ValueError: naming the key, what is wrong, and what is allowed.
    """
    if not isinstance(settings, dict):
        raise ValueError("The lakehouse settings are not an object.")
    known = {*LAKEHOUSE_NUMBERS, "compression", "raw_path", "rejected_streams", "encoding_fallback"}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(f"Unknown lakehouse settings: {', '.join(unknown)}; known are: {', '.join(sorted(known))}.")
    for name, (low, high) in LAKEHOUSE_NUMBERS.items():
        value = settings.get(name, low)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"lakehouse.{name} is {value!r}: expected a number from {low:g} to {high:g}.")
    if settings.get("compression", "none") not in COMPRESSIONS:
        raise ValueError(f"lakehouse.compression is {settings['compression']!r}: expected {' or '.join(COMPRESSIONS)}.")
    for entry in settings.get("rejected_streams", []):
        if not isinstance(entry, dict) or entry.get("stream") not in streams or not entry.get("name"):
            raise ValueError(
                f"lakehouse.rejected_streams has {entry!r}: expected a name and a stream of the connection "
                f"({', '.join(streams)})."
            )
    return settings


def _adapted(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: Jsonb(value) if name in (*JSON_FIELDS, "lakehouse") else value for name, value in fields.items()}
