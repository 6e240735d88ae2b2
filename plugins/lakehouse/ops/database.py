"""Where the run records are, and how a connection to them is opened."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, urlencode

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

DEFAULT_CONN_ID = "lakehouse_db"
DSN_VARIABLE = "LAKEHOUSE_DB_URL"
CONNECT_TIMEOUT = 3  # seconds
_FIELDS = frozenset({"host", "port", "user", "password", "dbname"})  # of the Airflow connection itself
_statement_seconds: ContextVar[float] = ContextVar("statement_seconds", default=30.0)


def dsn(conn_id: str = DEFAULT_CONN_ID) -> str:
    """Return the libpq URL of the database with the run records. It holds the password: never log it.

    For the default connection id the environment variable LAKEHOUSE_DB_URL wins, because listeners and the
    report page run where Airflow connections cannot be read. Any other id is always read from Airflow, with those
    fields of its extra that libpq knows (`sslmode`, `sslrootcert`, `options`, ...).

    :raises AirflowNotFoundException: neither the variable nor the Airflow connection exists.
    """
    url = os.environ.get(DSN_VARIABLE)
    if url and conn_id == DEFAULT_CONN_ID:
        return url
    from airflow.sdk import BaseHook  # costs 100 ms, and scheduler and api-server never come here

    conn = BaseHook.get_connection(conn_id)
    url = conn.get_uri().replace("postgres://", "postgresql://", 1).split("?")[0]
    options = {name: str(value) for name, value in conn.extra_dejson.items() if _is_option_of_libpq(name)}
    return f"{url}?{urlencode(options, quote_via=quote)}" if options else url


def _is_option_of_libpq(name: str) -> bool:
    if name in _FIELDS:
        return False
    try:
        parse_dsn(make_dsn(**{name: "x"}))
    except psycopg2.Error:
        return False
    return True


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Let statements of this block take at most `seconds` each, for callers that may not be held up."""
    token = _statement_seconds.set(seconds)
    try:
        yield
    finally:
        _statement_seconds.reset(token)


def connect(url: str, *, autocommit: bool = True) -> Any:
    """Open a connection (psycopg2) whose statements take at most 30 s (see `limited`). `options` of the URL are kept.

    A server whose machine is gone is noticed as soon: the kernel gives up what is not acknowledged in that time.

    :raises psycopg2.OperationalError: no connection within 3 s, or the login was refused.
    """
    milliseconds = round(1000 * _statement_seconds.get())
    own = f"-c statement_timeout={milliseconds} -c timezone=UTC"
    connection = psycopg2.connect(
        url,
        connect_timeout=CONNECT_TIMEOUT,
        application_name="lakehouse",
        keepalives_idle=max(1, milliseconds // 3000),
        keepalives_interval=max(1, milliseconds // 3000),
        keepalives_count=2,
        tcp_user_timeout=milliseconds,
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
