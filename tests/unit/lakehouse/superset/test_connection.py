from types import SimpleNamespace

import pytest

from lakehouse.superset.connection import SupersetSettings, dremio_uri, masked
from lakehouse.superset.exceptions import SupersetConfigError


def connection(**fields):
    extra = fields.pop("extra", {})
    given = {"conn_id": "c", "host": None, "port": None, "login": "ana", "password": "pw"} | fields
    return SimpleNamespace(**given, extra_dejson=extra)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("http://superset.test:8088", None, "http://superset.test:8088"),
        ("superset.test", 8088, "http://superset.test:8088"),
        ("https://bi.test/superset/", None, "https://bi.test/superset"),
        ("https://bi.test", 8443, "https://bi.test:8443"),
    ],
)
def test_host_is_a_url_with_or_without_scheme_and_port(host, port, url):
    assert SupersetSettings.from_connection(connection(host=host, port=port)).url == url


def test_the_password_is_not_in_the_settings_repr():
    assert "pw-9" not in repr(SupersetSettings.from_connection(connection(host="h", password="pw-9")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "'c': host is empty"),
        ({"host": "h", "login": None}, "login and password are both needed"),
        ({"host": "http://"}, "is no URL"),
    ],
)
def test_an_unusable_connection_is_named_with_its_field(fields, message):
    with pytest.raises(SupersetConfigError, match=message):
        SupersetSettings.from_connection(connection(**fields))


def test_extra_sets_certificates_and_timeout():
    settings = SupersetSettings.from_connection(connection(host="https://h", extra={"verify_ssl": False, "timeout": 7}))
    assert (settings.verify, settings.timeout) == (False, 7.0)
    settings = SupersetSettings.from_connection(connection(host="https://h", extra={"ca_file": "/ca.pem"}))
    assert settings.verify == "/ca.pem"


@pytest.mark.parametrize(
    ("fields", "uri"),
    [
        (
            {"host": "d", "extra": {"flight_port": 20010, "use_ssl": False}},
            "dremio+flight://ana:pw@d:20010/dremio?UseEncryption=false",
        ),
        (
            {"host": "https://d:9047", "password": "p@/:w"},
            "dremio+flight://ana:p%40%2F%3Aw@d:32010/dremio?UseEncryption=true",
        ),
        (
            {"host": "d", "extra": {"use_ssl": True, "flight_use_ssl": False, "flight_host": "f"}},
            "dremio+flight://ana:pw@f:32010/dremio?UseEncryption=false",
        ),
        (
            {"host": "d", "extra": {"flight_use_ssl": True, "verify_ssl": False}},
            "dremio+flight://ana:pw@d:32010/dremio?UseEncryption=true&DisableCertificateVerification=true",
        ),
        (
            {"host": "d", "extra": {"flight_use_ssl": True, "ca_file": "/ca.pem"}},
            "dremio+flight://ana:pw@d:32010/dremio?UseEncryption=true&TrustedCerts=%2Fca.pem",
        ),
    ],
)
def test_dremios_uri_is_made_from_its_airflow_connection(fields, uri):
    assert dremio_uri(connection(**fields)) == uri


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host": None}, "needs its host, which is empty"),
        ({"host": "d", "password": None}, "needs its password"),
        ({"host": "d", "password": "a;b"}, "password contains a semicolon"),
    ],
)
def test_what_sqlalchemy_dremio_cannot_carry_is_refused(fields, message):
    with pytest.raises(SupersetConfigError, match=message) as caught:
        dremio_uri(connection(**fields))
    assert "a;b" not in str(caught.value)


def test_a_masked_uri_keeps_all_but_the_password():
    assert masked("dremio+flight://a%40b:p%40w@d:1/x?y=z") == "dremio+flight://a%40b:XXXXXXXXXX@d:1/x?y=z"
