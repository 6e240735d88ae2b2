"""Workspaces, sources, destinations and custom source definitions in PostgreSQL."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Json, Jsonb
from psycopg_pool import ConnectionPool

from embedded.airbyte.database import Db, Row
from embedded.airbyte.destinations import DESTINATION_TYPES
from embedded.airbyte.sources import SOURCE_TYPES

MASK = "**********"
# A stored low-code source hides what its manifest marks as secret, and whatever is named like one.
SECRET_WORDS = ("password", "secret", "token", "api_key", "access_key")


class Actors:
    """The tables of what connections join. All methods are safe to call from several threads."""

    def __init__(self, pool: ConnectionPool[Db]) -> None:
        self._pool = pool

    def one(self, query: str, values: Any) -> Row | None:
        with self._pool.connection() as db:
            return db.execute(query, values).fetchone()

    def many(self, query: str, values: Any) -> list[Row]:
        with self._pool.connection() as db:
            return db.execute(query, values).fetchall()

    def workspace(self, workspace_id: UUID) -> Row | None:
        return self.one("SELECT * FROM workspace WHERE workspace_id = %s", (workspace_id,))

    def workspaces(self, limit: int, offset: int) -> list[Row]:
        return self.many("SELECT * FROM workspace ORDER BY created_at LIMIT %s OFFSET %s", (limit, offset))

    def add_workspace(self, name: str) -> Row:
        return _sure(self.one("INSERT INTO workspace (name) VALUES (%s) RETURNING *", (name,)))

    def rename_workspace(self, workspace_id: UUID, name: str) -> Row | None:
        return self.one("UPDATE workspace SET name = %s WHERE workspace_id = %s RETURNING *", (name, workspace_id))

    def ensure_workspace(self) -> None:
        """A new Airbyte has one workspace: make it if there is none."""
        self.many(
            "INSERT INTO workspace (name) SELECT 'Default Workspace' "
            "WHERE NOT EXISTS (SELECT 1 FROM workspace) RETURNING 1",
            (),
        )

    def definition(self, definition_id: UUID) -> Row | None:
        """A custom (low-code) source definition."""
        return self.one(
            "SELECT * FROM declarative_definition WHERE definition_id = %s AND NOT deleted", (definition_id,)
        )

    def definitions(self, workspace_id: UUID, limit: int, offset: int) -> list[Row]:
        return self.many(
            """SELECT * FROM declarative_definition WHERE workspace_id = %s AND NOT deleted
               ORDER BY name, definition_id LIMIT %s OFFSET %s""",
            (workspace_id, limit, offset),
        )

    def add_definition(self, workspace_id: UUID, name: str, manifest: dict[str, Any]) -> Row:
        return _sure(
            self.one(
                """INSERT INTO declarative_definition (workspace_id, name, manifest)
                   VALUES (%s, %s, %s) RETURNING *""",
                (workspace_id, name, Json(manifest)),
            )
        )

    def replace_manifest(self, definition_id: UUID, manifest: dict[str, Any]) -> Row | None:
        return self.one(
            """UPDATE declarative_definition SET manifest = %s, version = version + 1
               WHERE definition_id = %s AND NOT deleted RETURNING *""",
            (Json(manifest), definition_id),
        )

    def delete_definition(self, definition_id: UUID) -> Row | None:
        return self.one(
            "UPDATE declarative_definition SET deleted = true WHERE definition_id = %s AND NOT deleted RETURNING *",
            (definition_id,),
        )

    def get(self, kind: str, actor_id: UUID) -> Row | None:
        return self.one("SELECT * FROM actor WHERE actor_id = %s AND kind = %s AND NOT deleted", (actor_id, kind))

    def list(self, kind: str, workspace_ids: list[UUID] | None, limit: int, offset: int) -> list[Row]:
        return self.many(
            """SELECT * FROM actor WHERE kind = %(kind)s AND NOT deleted
                 AND (%(workspaces)s::uuid[] IS NULL OR workspace_id = ANY (%(workspaces)s))
               ORDER BY created_at, actor_id LIMIT %(limit)s OFFSET %(offset)s""",
            {"kind": kind, "workspaces": workspace_ids, "limit": limit, "offset": offset},
        )

    def add(
        self, kind: str, workspace_id: UUID, definition_id: UUID, type_: str, name: str, configuration: dict[str, Any]
    ) -> Row:
        return _sure(
            self.one(
                """INSERT INTO actor (kind, workspace_id, definition_id, type, name, configuration)
                   VALUES (%s, %s, %s, %s, %s, %s) RETURNING *""",
                (kind, workspace_id, definition_id, type_, name, Jsonb(configuration)),
            )
        )

    def update(self, actor_id: UUID, name: str, configuration: dict[str, Any]) -> Row:
        return _sure(
            self.one(
                "UPDATE actor SET name = %s, configuration = %s WHERE actor_id = %s RETURNING *",
                (name, Jsonb(configuration), actor_id),
            )
        )

    def delete(self, actor_id: UUID) -> None:
        """Delete a source or destination and, as Airbyte does, end the connections that use it."""
        with self._pool.connection() as db:
            db.execute("UPDATE actor SET deleted = true WHERE actor_id = %s", (actor_id,))
            db.execute(
                "UPDATE connection SET status = 'deprecated' WHERE source_id = %s OR destination_id = %s",
                (actor_id, actor_id),
            )


def secret_names(type_: str, manifest: dict[str, Any] | None) -> set[str]:
    """The configuration keys whose values the API shows masked."""
    if type_ == "declarative":
        spec = ((manifest or {}).get("spec") or {}).get("connection_specification") or {}
        return {name for name, schema in (spec.get("properties") or {}).items() if schema.get("airbyte_secret")}
    types = [kinds[type_] for kinds in (SOURCE_TYPES, DESTINATION_TYPES) if type_ in kinds]
    return {secret for kind in types for secret in kind.secrets}


def masked(configuration: Any, secrets: set[str]) -> Any:
    """The configuration as the API shows it."""
    if isinstance(configuration, dict):
        return {
            key: MASK if _is_secret(key, value, secrets) else masked(value, secrets)
            for key, value in configuration.items()
        }
    if isinstance(configuration, list):
        return [masked(value, secrets) for value in configuration]
    return configuration


def unmasked(configuration: Any, stored: Any) -> Any:
    """A configuration that was read masked and is written back keeps the secrets that are stored."""
    if configuration == MASK and isinstance(stored, str):
        return stored
    if isinstance(configuration, dict):
        known = stored if isinstance(stored, dict) else {}
        return {key: unmasked(value, known.get(key)) for key, value in configuration.items()}
    return configuration


def _is_secret(key: str, value: Any, secrets: set[str]) -> bool:
    named = key in secrets or any(word in key.lower() for word in SECRET_WORDS)
    return named and isinstance(value, str) and value != ""


def _sure(row: Row | None) -> Row:
    assert row is not None  # statements with RETURNING that always touch one row
    return row
