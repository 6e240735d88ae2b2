"""What has been done to the shop, kept in the shop's own database (schema `demo`) in the transaction that did
it.

A step is in the journal if and only if its rows are in the tables, so a killed step is simply run again.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any

import psycopg

from embedded.demo.company import Company

# Any number: all writers of one shop wait for each other on this advisory lock.
WRITER_LOCK = 7_305_518

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS demo;
CREATE TABLE IF NOT EXISTS demo.journal (
    action text NOT NULL,
    day date NOT NULL,
    detail jsonb NOT NULL,
    done_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (action, day)
);
"""


@dataclass(frozen=True)
class ShopState:
    """What the journal says: whose shop it is, its last complete day, and when it was loaded."""

    company: Company
    through: datetime.date
    loaded_at: datetime.datetime


def lock_for_writing(connection: psycopg.Connection) -> None:
    """Makes the journal if it is missing and keeps other writers out until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
    connection.execute(SCHEMA)


def record(connection: psycopg.Connection, action: str, day: datetime.date, detail: dict[str, Any]) -> None:
    """Notes one step (`load`, `advance`, `load-files`); replaces a note of the same step and day."""
    connection.execute(
        "INSERT INTO demo.journal (action, day, detail) VALUES (%s, %s, %s) "
        "ON CONFLICT (action, day) DO UPDATE SET detail = excluded.detail, done_at = excluded.done_at",
        (action, day, json.dumps(detail)),
    )


def read(connection: psycopg.Connection) -> ShopState | None:
    """The state of the shop; None if it was never loaded."""
    if not _exists(connection):
        return None
    loaded = connection.execute("SELECT detail, day, done_at FROM demo.journal WHERE action = 'load'").fetchone()
    if loaded is None:
        return None
    detail, end_date, done_at = loaded
    latest = connection.execute("SELECT max(day) FROM demo.journal WHERE action IN ('load', 'advance')").fetchone()
    company = Company(seed=detail["seed"], scale=detail["scale"], end_date=end_date)
    return ShopState(company=company, through=latest[0] if latest else end_date, loaded_at=done_at)


def inbox_is_own(connection: psycopg.Connection) -> bool:
    """Whether `load-files` has put the user's own files in place of the generated ones."""
    if not _exists(connection):
        return False
    found = connection.execute("SELECT 1 FROM demo.journal WHERE action = 'load-files' LIMIT 1").fetchone()
    return found is not None


def _exists(connection: psycopg.Connection) -> bool:
    found = connection.execute("SELECT to_regclass('demo.journal')").fetchone()
    return found is not None and found[0] is not None
