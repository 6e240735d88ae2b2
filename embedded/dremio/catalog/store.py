"""The catalog's rows in PostgreSQL (schema ``catalog``)."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from embedded.dremio.catalog.entities import Entity, Kind
from embedded.dremio.types import Column, from_json, to_json

_DDL = """
CREATE SCHEMA IF NOT EXISTS catalog;
CREATE TABLE IF NOT EXISTS catalog.entity (
    id text PRIMARY KEY,
    kind text NOT NULL,
    path text[] NOT NULL,
    path_key text[] NOT NULL UNIQUE,
    tag text NOT NULL,
    body jsonb NOT NULL,
    columns jsonb NOT NULL,
    internals jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    modified_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS catalog.collaboration (
    entity_id text NOT NULL REFERENCES catalog.entity(id) ON DELETE CASCADE,
    what text NOT NULL CHECK (what IN ('wiki', 'tag')),
    value jsonb NOT NULL,
    version text NOT NULL,
    PRIMARY KEY (entity_id, what)
);
"""

_UPSERT = """
INSERT INTO catalog.entity (id, kind, path, path_key, tag, body, columns, internals, created_at, modified_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, path = excluded.path, path_key = excluded.path_key,
    tag = excluded.tag, body = excluded.body, columns = excluded.columns, internals = excluded.internals,
    modified_at = excluded.modified_at
"""


class Store:
    """Reads and writes the rows; each method is one transaction."""

    def __init__(self, dsn: str) -> None:
        # checked: after a restart of PostgreSQL each would fail the statement that is given it
        check = ConnectionPool.check_connection
        self._pool = ConnectionPool(dsn, min_size=1, max_size=4, open=True, name="catalog", check=check)
        with self._pool.connection() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(7420001)")  # two processes starting at once
            connection.execute(_DDL)

    def load(self) -> list[Entity]:
        """All entities."""
        with self._pool.connection() as connection:
            rows = connection.execute(
                "SELECT id, kind, path, tag, body, columns, internals, created_at, modified_at FROM catalog.entity"
            ).fetchall()
        return [
            Entity(
                id=row[0],
                kind=Kind(row[1]),
                path=tuple(row[2]),
                tag=row[3],
                body=row[4],
                columns=[Column(name, from_json(kind)) for name, kind in row[5]],
                internals=row[6],
                created_at=row[7],
                modified_at=row[8],
            )
            for row in rows
        ]

    def save(self, *entities: Entity) -> None:
        """Insert or update."""
        with self._pool.connection() as connection:
            for entity in entities:
                columns = [[column.name, to_json(column.type)] for column in entity.columns]
                connection.execute(
                    _UPSERT,
                    (
                        entity.id,
                        entity.kind.value,
                        list(entity.path),
                        list(entity.key),
                        entity.tag,
                        Jsonb(entity.body),
                        Jsonb(columns),
                        Jsonb(entity.internals),
                        entity.created_at,
                        entity.modified_at,
                    ),
                )

    def delete(self, ids: list[str]) -> None:
        """Remove entities with their wikis and tags."""
        with self._pool.connection() as connection:
            connection.execute("DELETE FROM catalog.entity WHERE id = ANY(%s)", (ids,))

    def collaboration(self, entity_id: str, what: str) -> tuple[Any, str] | None:
        """The wiki text or the tags of an entity with their version."""
        with self._pool.connection() as connection:
            row = connection.execute(
                "SELECT value, version FROM catalog.collaboration WHERE entity_id = %s AND what = %s",
                (entity_id, what),
            ).fetchone()
        return None if row is None else (row[0], row[1])

    def set_collaboration(self, entity_id: str, what: str, value: Any, version: str, replaces: str | None) -> bool:
        """Write a wiki or tags if the stored version is still `replaces`; False if it is not."""
        with self._pool.connection() as connection:
            if replaces is None:
                done = connection.execute(
                    "INSERT INTO catalog.collaboration (entity_id, what, value, version)"
                    " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (entity_id, what, Jsonb(value), version),
                )
            else:
                done = connection.execute(
                    "UPDATE catalog.collaboration SET value = %s, version = %s"
                    " WHERE entity_id = %s AND what = %s AND version = %s",
                    (Jsonb(value), version, entity_id, what, replaces),
                )
            return done.rowcount == 1

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
