"""The Airflow connection becomes a profile that dbt-dremio takes, without its secret."""

from typing import Any

import pytest
from airflow.models.connection import Connection

from lakehouse.dbt.manifest import NAMES
from lakehouse.dbt.profile import DremioProfileMapping


def mapping(**fields: Any) -> DremioProfileMapping:
    extra = fields.pop("extra", {})
    found = DremioProfileMapping(conn_id="dremio_default")
    found._conn = Connection(conn_id="dremio_default", conn_type="dremio", extra=extra, **fields)
    return found


def test_software_with_a_password() -> None:
    profile = mapping(host="dremio.example", port=9047, login="etl", password="s3cret")
    assert profile.profile == {
        "type": "dremio",
        "software_host": "dremio.example",
        "port": 9047,
        "user": "etl",
        "password": "{{ env_var('COSMOS_CONN_DREMIO_PASSWORD') }}",
        "use_ssl": False,
        "verify_ssl": True,
        "threads": 4,
        **NAMES,
    }
    assert profile.env_vars == {"COSMOS_CONN_DREMIO_PASSWORD": "s3cret"}


@pytest.mark.parametrize("host", ["https://dremio.example", "dremio.example", "https://dremio.example:443/"])
def test_host_may_have_a_scheme(host: str) -> None:
    profile = mapping(host=host, port=443, login="etl", password="x").profile
    assert (profile["software_host"], profile["use_ssl"]) == ("dremio.example", host.startswith("https"))


def test_token_goes_where_dbt_looks_for_it() -> None:
    profile = mapping(host="h", port=1, login="etl", password="x", extra={"auth": "pat", "use_ssl": True}).profile
    assert "password" not in profile
    assert profile["pat"] == "{{ env_var('COSMOS_CONN_DREMIO_PASSWORD') }}"
    assert profile["use_ssl"] is True


def test_cloud_has_a_project_and_no_port() -> None:
    profile = mapping(host="api.dremio.cloud", port=443, password="x", extra={"project_id": "p-1"}).profile
    assert (profile["cloud_host"], profile["cloud_project_id"]) == ("api.dremio.cloud", "p-1")
    assert not {"software_host", "port", "use_ssl"} & set(profile)


def test_no_secret_in_the_file() -> None:
    contents = mapping(host="h", port=1, login="etl", password="s3cret").get_profile_file_contents(
        "lakehouse", "dremio"
    )
    assert "s3cret" not in contents
