"""MySQL source: values of SELECT and binlog, positions, and errors without the password."""

from __future__ import annotations

import datetime
import ssl
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from asyncmy.errors import OperationalError
from pymysqlreplication.column import Column as LoggedColumn

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.mysql import MySqlSource
from embedded.airbyte.sources.mysql_cdc import Position, _column, _fits
from embedded.airbyte.sources.mysql_session import Server
from embedded.airbyte.sources.mysql_types import Column

CONFIGURATION = {"host": "db.example", "database": "shop", "username": "reader", "password": "s3cret' word"}


def column(column_type: str, *, required: bool = False, **more: Any) -> Column:
    return Column("c", column_type.split("(")[0].split(" ")[0], column_type, required, **more)


@pytest.mark.parametrize(
    ("of", "values", "expected"),
    [
        (column("int(11)"), [1, None], [1, None]),
        (column("year(4)"), [1900, 2026], [0, 2026]),
        (column("tinyint(1)"), [0, 2, None], [False, True, None]),
        (column("tinyint(1)", tinyint1_is_integer=True), [0, 2], [0, 2]),
        (column("tinyint(1) unsigned"), [0, 2], [0, 2]),
        (column("bigint(20) unsigned"), [2**64 - 1], [Decimal(2**64 - 1)]),
        (column("bit(1)"), ["1", "0"], [True, False]),
        (column("bit(12)"), ["100000000011"], ["CAM="]),
        (column("decimal(5,2)", precision=5, scale=2), [Decimal("-0.10")], [Decimal("-0.10")]),
        (column("decimal(40,1)", precision=40, scale=1), [Decimal("1E+20")], [1e20]),
        (column("timestamp"), [datetime.datetime(1970, 1, 1)], [None]),
        (column("date", required=True), ["0000-00-00"], [datetime.date(1970, 1, 1)]),
        (column("binary(3)"), [b"\xab"], ["qwAA"]),
        (column("set('b','a')"), [{"a", "b"}, "", None], ["b,a", "", None]),
        (
            column("json"),
            [{b"a": [1, None, b"\xc3\xbc"], b"b": {b"c": True}}, [], b"x"],
            ['{"a": [1, null, "ü"], "b": {"c": true}}', "[]", "x"],
        ),
    ],
    ids=str,
)
def test_values_out_of_the_binlog(of: Column, values: list[Any], expected: list[Any]) -> None:
    assert of.from_binlog(values).to_pylist() == expected


@pytest.mark.parametrize("text", ["0000-00-00 00:00:00", "2026-00-01 10:00:00", "2026-01-00 10:00:00"])
def test_a_zero_date_is_null_or_the_epoch(text: str) -> None:
    values = pa.array([text, "2026-01-02 03:04:05.5", None])
    kept = datetime.datetime(2026, 1, 2, 3, 4, 5, 500000)
    assert column("datetime(1)").finish(values).to_pylist() == [None, kept, None]
    assert column("datetime(1)", required=True).finish(values).to_pylist()[0] == datetime.datetime(1970, 1, 1)


@pytest.mark.parametrize("span", [datetime.timedelta(hours=-1), datetime.timedelta(hours=24)])
def test_a_time_that_is_no_time_of_day_is_refused(span: datetime.timedelta) -> None:
    with pytest.raises(ValueError, match="below 00:00:00 or above 23:59:59"):
        column("time").from_binlog([span])


def test_the_members_of_an_enum() -> None:
    assert column("enum('it''s','a,b','')").members == ["it's", "a,b", ""]


def test_positions_are_ordered_by_the_number_of_the_file() -> None:
    assert Position.of("mysql-bin.999999", 9) < Position.of("mysql-bin.1000000", 4)
    assert Position.of("mysql-bin.000002", 256).cursor(1) == (2 << 32) + 257


def test_columns_fit_events_by_number_and_type() -> None:
    logged = [LoggedColumn(type=8), LoggedColumn(type=15)]
    assert _fits([_column("a", "bigint(20) unsigned", None), _column("b", "varchar(9)", "latin1")], logged)
    assert not _fits([_column("a", "bigint(20)", None), _column("b", "int(11)", None)], logged)
    assert not _fits([_column("a", "bigint(20)", None)], logged)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"replication_method": {"method": "Standard"}}, "replication method Standard is not one of STANDARD, CDC"),
        ({"tunnel_method": {"tunnel_method": "SSH_KEY_AUTH"}}, "tunnel method SSH_KEY_AUTH is not supported"),
        ({"ssl_mode": {"mode": "maybe"}}, "ssl_mode maybe is not one of"),
        ({"jdbc_url_params": "a=b"}, "jdbc_url_params is not supported"),
    ],
)
def test_what_it_does_not_do_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SyncFailure, match=said) as caught:
        MySqlSource(CONFIGURATION | change, {})
    assert not caught.value.retryable


def test_certificates_are_checked_as_the_mode_says() -> None:
    for mode, verified in (("preferred", ssl.CERT_NONE), ("required", ssl.CERT_NONE)):
        context = Server(CONFIGURATION | {"ssl_mode": {"mode": mode}}).address()["ssl"]
        assert (context.verify_mode, context.check_hostname) == (verified, False)
    for certificate in ({}, {"ca_certificate": "no certificate"}):
        with pytest.raises(SyncFailure, match="certificates of ssl_mode verify_ca cannot be read"):
            Server(CONFIGURATION | {"ssl_mode": {"mode": "verify_ca", **certificate}}).address()


@pytest.mark.parametrize(
    ("error", "said", "retryable"),
    [
        (OperationalError(1045, "Access denied, s3cret' word"), "password or user is wrong", False),
        (OperationalError(2003, "Can't connect"), "no connection", True),
        (OperationalError(2013, "Lost connection"), "is tried again", True),
        (OperationalError(1227, "you need the RELOAD privilege"), "RELOAD privilege; grant it", False),
        (ConnectionRefusedError("refused"), "no connection", True),
        (OperationalError(9999, "s3cret' word"), "user reader: ***", True),
    ],
    ids=str,
)
def test_errors_say_what_to_do_without_the_password(error: Exception, said: str, retryable: bool) -> None:
    failure = Server(CONFIGURATION).explain(error)
    assert said in failure.message
    assert failure.retryable == retryable
    assert "s3cret" not in failure.message + failure.detail
