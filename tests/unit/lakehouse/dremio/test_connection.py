import json

import pytest
from airflow.sdk import Connection

from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.exceptions import DremioConfigError


def make(host="h", port=None, login="ana", password="s3cret-word", **extra):
    return Connection(
        conn_id="c",
        conn_type="dremio",
        host=host,
        port=port,
        login=login,
        password=password,
        extra=json.dumps(extra),
    )


@pytest.mark.parametrize(
    ("conn", "rest_url", "flight_uri"),
    [
        pytest.param(make(), "http://h:9047", "grpc://h:32010", id="defaults"),
        pytest.param(make(port=1, flight_port=2), "http://h:1", "grpc://h:2", id="ports"),
        pytest.param(make(use_ssl=True), "https://h:9047", "grpc+tls://h:32010", id="tls-for-both"),
        pytest.param(make(use_ssl=True, flight_use_ssl=False), "https://h:9047", "grpc://h:32010", id="tls-for-rest"),
        pytest.param(make(host="https://h:8443/"), "https://h:8443", "grpc+tls://h:32010", id="host-as-url"),
        pytest.param(
            make(host="api.dremio.cloud", project_id="p", flight_host="data.dremio.cloud", flight_port=443),
            "https://api.dremio.cloud:443",
            "grpc+tls://data.dremio.cloud:443",
            id="cloud",
        ),
    ],
)
def test_addresses(conn, rest_url, flight_uri):
    settings = DremioSettings.from_connection(conn)
    assert (settings.rest_url, settings.flight_uri) == (rest_url, flight_uri)


def test_cloud_paths_carry_the_project_and_use_the_token():
    settings = DremioSettings.from_connection(make(project_id="p1", ui_url="https://app.dremio.cloud"))
    assert settings.uses_token
    assert settings.api("job/7") == "/v0/projects/p1/job/7"
    assert settings.job_link("7") == "https://app.dremio.cloud/sonar/p1/job/7"


def test_software_paths():
    settings = DremioSettings.from_connection(make())
    assert settings.api("job/7") == "/api/v3/job/7"
    assert settings.job_link("7") == "http://h:9047/job/7"


@pytest.mark.parametrize(
    ("conn", "field"),
    [
        pytest.param(make(host=""), "host", id="no-host"),
        pytest.param(make(host="ftp://h"), "host", id="wrong-scheme"),
        pytest.param(make(password=""), "password", id="no-password"),
        pytest.param(make(login=None, auth="password"), "login", id="no-login"),
        pytest.param(make(auth="kerberos"), "auth", id="unknown-auth"),
        pytest.param(make(project_id="p", auth="password"), "auth", id="cloud-with-password"),
        pytest.param(make(use_ssl="maybe"), "use_ssl", id="flag"),
        pytest.param(make(timeout="soon"), "timeout", id="number"),
        pytest.param(make(timeout=-1), "timeout", id="negative"),
    ],
)
def test_a_wrong_connection_names_the_field(conn, field):
    with pytest.raises(DremioConfigError, match=f"'c': {field} "):
        DremioSettings.from_connection(conn)


def test_the_secret_is_not_in_the_repr():
    assert "s3cret-word" not in repr(DremioSettings.from_connection(make()))
