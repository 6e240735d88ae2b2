"""What of an Airflow connection reaches PostgreSQL."""

import json

import pytest
from psycopg2.extensions import parse_dsn

from lakehouse.ops import database


@pytest.fixture
def connection(monkeypatch):
    def put(**extra):
        fields = {"conn_type": "postgres", "host": "db.test", "port": 5433, "login": "lake", "schema": "records"}
        fields |= {"password": "p@ss/word", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_RECORDS", json.dumps(fields))
        return parse_dsn(database.dsn("records"))

    return put


def test_address_and_login(connection):
    expected = {"host": "db.test", "port": "5433", "user": "lake", "password": "p@ss/word", "dbname": "records"}
    assert connection() == expected


def test_libpqs_options_are_kept_and_airflows_own_left_out(connection):
    found = connection(sslmode="verify-full", sslrootcert="/certs/ca one.pem", options="-c lock_timeout=5s", iam=True)
    assert found["sslmode"] == "verify-full"  # else the server's name would not be checked, and nobody would know
    assert found["sslrootcert"] == "/certs/ca one.pem"
    assert found["options"] == "-c lock_timeout=5s"
    assert "iam" not in found and found["dbname"] == "records"


def test_an_extra_does_not_replace_the_connections_own_fields(connection):
    assert connection(host="other.test", password="x", connect_timeout=1)["host"] == "db.test"
