"""The tables of a POSTGRES source, read live from its own information schema."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from embedded.dremio.catalog.entities import Entity
from embedded.dremio.errors import DataReadError, InvalidRequest


def conninfo(source: Entity) -> str:
    """The libpq connection string of a POSTGRES source (holds the password: never log it)."""
    config = source.body["config"]
    return make_conninfo(
        "",
        host=config["hostname"],
        port=str(config.get("port") or "5432"),
        dbname=config["databaseName"],
        user=config.get("username") or "",
        password=config.get("password") or "",
        sslmode="require" if config.get("useSsl") else "prefer",
        connect_timeout=5,
    )


def list_tables(source: Entity) -> list[tuple[str, str]]:
    """(schema, table) of every table and view that the source's user may see."""
    query = (
        "SELECT table_schema, table_name FROM information_schema.tables"
        " WHERE table_schema NOT IN ('information_schema', 'pg_catalog') ORDER BY 1, 2"
    )
    return [(str(row[0]), str(row[1])) for row in _rows(source, query)]


def check(source: Entity) -> None:
    """Raise InvalidRequest for a config that lacks something, DataReadError if the database does not answer."""
    missing = [key for key in ("hostname", "databaseName") if not source.body["config"].get(key)]
    if missing:
        raise InvalidRequest(f"Source [{source.name}]: config lacks {', '.join(missing)}.")
    _rows(source, "SELECT 1")


def _rows(source: Entity, query: str) -> list[Any]:
    try:
        with psycopg.connect(conninfo(source)) as connection:
            return connection.execute(query.encode()).fetchall()
    except psycopg.Error as error:
        raise DataReadError(
            f"Source {source.name}: the database {source.body['config'].get('databaseName')} did not answer: {error}"
        ) from error
