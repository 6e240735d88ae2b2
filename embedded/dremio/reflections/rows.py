"""Reflections in PostgreSQL (schema ``reflections``), so that they outlive the server."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

from psycopg_pool import ConnectionPool

from embedded.dremio.reflections.model import Built, Reflection

_DDL = """
CREATE SCHEMA IF NOT EXISTS reflections;
CREATE TABLE IF NOT EXISTS reflections.reflection (
    reflection_id text PRIMARY KEY, dataset_id text NOT NULL, name text NOT NULL, type text NOT NULL,
    fields jsonb NOT NULL, strategy text NOT NULL, arrow_cache boolean NOT NULL, enabled boolean NOT NULL,
    tag text NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, built jsonb,
    requested boolean NOT NULL, failures integer NOT NULL, last_failure text NOT NULL,
    last_failure_at timestamptz, considered bigint NOT NULL, matched bigint NOT NULL, chosen bigint NOT NULL);
"""

_COLUMNS = (
    "reflection_id, dataset_id, name, type, fields, strategy, arrow_cache, enabled, tag, created_at, updated_at,"
    " built, requested, failures, last_failure, last_failure_at, considered, matched, chosen"
)
_NAMES = _COLUMNS.split(", ")

_UPSERT = f"""
INSERT INTO reflections.reflection ({_COLUMNS}) VALUES ({", ".join(["%s"] * len(_NAMES))})
ON CONFLICT (reflection_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _NAMES[1:])}
"""


class ReflectionRows:
    """Reads and writes whole reflections; each method is one transaction."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        with pool.connection() as connection:
            connection.execute(_DDL)

    def load(self) -> list[Reflection]:
        """All reflections, oldest first. None of them is running any more."""
        with self._pool.connection() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM reflections.reflection ORDER BY created_at").fetchall()
        return [_reflection(dict(zip(_NAMES, row, strict=True))) for row in rows]

    def save(self, reflection: Reflection) -> None:
        """Insert or replace."""
        values = {name: getattr(reflection, name) for name in _NAMES}
        values["fields"] = json.dumps(reflection.fields)
        values["built"] = None if reflection.built is None else json.dumps(_built_json(reflection.built))
        with self._pool.connection() as connection:
            connection.execute(_UPSERT, [values[name] for name in _NAMES])

    def delete(self, reflection_id: str) -> None:
        """Forget one; absent is fine."""
        with self._pool.connection() as connection:
            connection.execute("DELETE FROM reflections.reflection WHERE reflection_id = %s", [reflection_id])


def _built_json(built: Built) -> dict[str, Any]:
    values = dataclasses.asdict(built)
    return {k: v.isoformat() if isinstance(v, dt.datetime) else v for k, v in values.items()}


def _reflection(values: dict[str, Any]) -> Reflection:
    built = values["built"]
    if built is not None:
        moments = {k: dt.datetime.fromisoformat(v) for k, v in built.items() if k.endswith("_at") and v}
        values["built"] = Built(**{**built, **moments})
    return Reflection(**values)
