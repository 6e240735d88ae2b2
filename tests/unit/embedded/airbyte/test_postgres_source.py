"""PostgreSQL source: cursor texts, and errors without the password."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import duckdb
import psycopg
import pytest

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.postgres import PostgresSource, cursor_text

CONFIGURATION = {"host": "db.example", "database": "shop", "username": "reader", "password": "s3cret' word"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
            "2026-01-02T03:04:05.000006+00:00",
        ),
        (datetime.datetime(2026, 1, 2), "2026-01-02T00:00:00.000000"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (0.1, "0.1"),
        (12345678901234567, "12345678901234567"),
        (Decimal("1.10"), "1.10"),
        ("it's", "it's"),
    ],
)
def test_a_cursor_survives_as_text(value: Any, text: str) -> None:
    assert cursor_text(value) == text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"replication_method": {"method": "Xmin"}}, "replication method Xmin is not supported"),
        ({"tunnel_method": {"tunnel_method": "SSH_KEY_AUTH"}}, "tunnel method SSH_KEY_AUTH is not supported"),
        ({"ssl_mode": {"mode": "maybe"}}, "ssl_mode maybe is not one of"),
    ],
)
def test_what_it_does_not_do_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SyncFailure, match=said) as caught:
        PostgresSource(CONFIGURATION | change, {})
    assert not caught.value.retryable


def test_no_error_of_duckdb_shows_the_password() -> None:
    source = PostgresSource(CONFIGURATION, {})
    for text in (f"Unable to connect with {source._dsn}", "password is s3cret' word"):
        failure = source._explain_duckdb(duckdb.IOException(text))
        assert "s3cret" not in failure.message + failure.detail
        assert "user reader" in failure.message


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            'password authentication failed for user "reader"',
            "config_error",
            "check the source's username and password",
        ),
        ('FATAL:  database "shop" does not exist', "config_error", 'database "shop" does not exist'),
        ("connection refused", "transient_error", "check that it runs"),
    ],
)
def test_a_failed_connection_says_what_to_check(error: str, kind: str, said: str) -> None:
    failure = PostgresSource(CONFIGURATION, {})._unreachable(psycopg.OperationalError(error))
    assert failure.kind == kind
    assert said in failure.message
    assert "PostgreSQL db.example:5432, database shop, user reader" in failure.message
