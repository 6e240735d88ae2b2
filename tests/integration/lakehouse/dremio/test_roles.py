"""Users and roles as declared state, on an enterprise server of this module's own: the community one has no roles."""

import json
import os
import secrets
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from lakehouse.dremio.declared.catalog import Catalog
from lakehouse.dremio.declared.plan import apply, plan
from lakehouse.dremio.exceptions import DremioError
from lakehouse.dremio.hook import DremioHook

REPOSITORY = Path(__file__).resolve().parents[4]
ROLES = {
    "spaces": [{"name": "reports"}],
    "roles": [
        {
            "name": "analysts",
            "users": ["ann"],
            "grants": [{"on": "SPACE reports", "privileges": ["SELECT", "ALTER REFLECTION"]}],
            "exclusive": True,
        }
    ],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def enterprise(own_database, tmp_path_factory):
    """A hook of the administrator."""
    rest, flight, password = free_port(), free_port(), secrets.token_hex(8)
    environment = os.environ | {
        "DREMIO_DATABASE_URL": own_database,
        "DREMIO_USERNAME": "admin",
        "DREMIO_PASSWORD": password,
        "DREMIO_EDITION": "enterprise",
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [REPOSITORY / ".venv-embedded/bin/python", "-m", "embedded.dremio", "--rest-port", str(rest)]
    command += ["--flight-port", str(flight), "--data-dir", tmp_path_factory.mktemp("dremio")]
    with subprocess.Popen(command, env=environment) as server, pytest.MonkeyPatch.context() as patch:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until and server.poll() is None:
                try:
                    httpx.get(f"http://127.0.0.1:{rest}/apiv2/server_status").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            connection = {"conn_type": "dremio", "host": "127.0.0.1", "port": rest, "login": "admin"}
            connection |= {"password": password, "extra": {"flight_port": flight}}
            patch.setenv("AIRFLOW_CONN_DREMIO_ENTERPRISE", json.dumps(connection))
            yield DremioHook("dremio_enterprise")
        finally:
            server.terminate()


def differences(hook):
    return plan(hook, Catalog(**ROLES), lambda conn_id: None)


def test_roles_are_made_then_nothing_is_left_and_drift_is_taken_back(enterprise):
    enterprise.run_job("CREATE USER ann")
    enterprise.run_job("CREATE USER bob")
    for change in differences(enterprise):
        apply(enterprise, change, lambda conn_id: None)
    assert differences(enterprise) == []

    enterprise.run_job("GRANT ALTER ON SPACE reports TO ROLE analysts")
    enterprise.run_job("GRANT ROLE analysts TO USER bob")
    enterprise.run_job("REVOKE SELECT ON SPACE reports FROM ROLE analysts")
    drift = differences(enterprise)
    assert sorted(map(str, drift)) == [
        "grant SELECT on SPACE reports to analysts",
        "remove user bob from analysts",
        "revoke ALTER on SPACE reports from analysts",
    ]
    for change in drift:
        apply(enterprise, change, lambda conn_id: None)
    assert differences(enterprise) == []


def test_users_get_the_password_of_their_connection_and_the_one_it_has_later(enterprise):
    passwords = {"dremio_eve": "first-word-1"}
    declared = Catalog(users=[{"name": "eve", "connection": "dremio_eve"}])

    def connections(conn_id):
        return SimpleNamespace(password=passwords[conn_id])

    for expected in ("create user eve", "update user eve: password"):
        (change,) = plan(enterprise, declared, connections)
        assert str(change) == expected
        apply(enterprise, change, connections)
        assert plan(enterprise, declared, connections) == []
        passwords["dremio_eve"] = "second-word-2"
    assert (
        enterprise.query("SELECT query FROM sys.jobs WHERE query LIKE '%word-%' AND query NOT LIKE '%sys.jobs%'") == []
    )


def test_the_community_edition_says_what_it_lacks(hook):
    with pytest.raises(DremioError, match="need Dremio Enterprise or Cloud"):
        plan(hook, Catalog(**ROLES), lambda conn_id: None, ["roles"])
