"""Where the run records are, and how a connection to them is opened."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

DEFAULT_CONN_ID = "lakehouse_db"
DSN_VARIABLE = "LAKEHOUSE_DB_URL"
CONNECT_TIMEOUT = 3  # seconds


def dsn(conn_id: str = DEFAULT_CONN_ID) -> str:
    """Return the libpq URL of the database with the run records. It holds the password: never log it.

    For the default connection id the environment variable LAKEHOUSE_DB_URL wins, because listeners and the
    report page run where Airflow connections cannot be read. Any other id is always read from Airflow.

    :raises AirflowNotFoundException: neither the variable nor the Airflow connection exists.
    """
    url = os.environ.get(DSN_VARIABLE)
    if url and conn_id == DEFAULT_CONN_ID:
        return url
    from airflow.sdk import BaseHook  # costs 100 ms, and scheduler and api-server never come here

    return BaseHook.get_connection(conn_id).get_uri().replace("postgres://", "postgresql://", 1).split("?")[0]


def connect(url: str, *, autocommit: bool = True) -> Any:
    """Open a connection (psycopg2) whose statements take at most 30 s. `options` of the URL are kept.

    :raises psycopg2.OperationalError: no connection within 3 s, or the login was refused.
    """
    own = "-c statement_timeout=30000 -c timezone=UTC"
    connection = psycopg2.connect(
        url,
        connect_timeout=CONNECT_TIMEOUT,
        application_name="lakehouse",
        options=f"{own} {parse_dsn(url).get('options', '')}".strip(),
    )
    connection.autocommit = autocommit
    return connection


def run(url: str, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement in a connection and transaction of its own; return its rows (none for a write).

    :raises psycopg2.Error: the database does not answer, or refuses the statement.
    """
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()
