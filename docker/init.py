"""Prepares the containers' Airflow and Dremio; runs in the service airflow-init and may run any number of times.

1. The password of Airflow's administrator, where SimpleAuthManager reads it.
2. The Airflow connections that are absent; one that is there is left as a user has set it.
3. Dremio's first user.

Addresses come from the environment (see compose.yaml), passwords from /run/secrets.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

SECRETS = Path("/run/secrets")


def connections(environment: Mapping[str, str], secret: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """The Airflow connections, in the form that `airflow connections import` reads."""

    def postgres(database: str) -> dict[str, Any]:
        return {
            "conn_type": "postgres",
            "host": environment["POSTGRES_HOST"],
            "port": 5432,
            "login": database,
            "password": secret(f"postgres_{database}"),
            "schema": database,
        }

    s3 = {
        "endpoint_url": environment["S3_ENDPOINT_URL"],
        "region_name": environment["S3_REGION"],
        "config_kwargs": {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "path"},
        },
    }
    return {
        "dremio_default": {
            "conn_type": "dremio",
            "host": environment["DREMIO_HOST"],
            "port": 9047,
            "login": "admin",
            "password": secret("dremio_password"),
            "extra": json.dumps({"flight_port": 32010, "use_ssl": False, "flight_use_ssl": False}),
        },
        "airbyte_default": {
            "conn_type": "airbyte",
            "host": environment["AIRBYTE_URL"] + "/api/public/v1",
            "login": secret("airbyte_client_id"),
            "password": secret("airbyte_client_secret"),
            "extra": json.dumps({"config_api_url": environment["AIRBYTE_URL"] + "/api/v1"}),
        },
        "minio_default": {
            "conn_type": "aws",
            "login": secret("s3_access_key"),
            "password": secret("s3_secret_key"),
            "extra": json.dumps(s3),
        },
        "superset_default": {
            "conn_type": "superset",
            "host": environment["SUPERSET_URL"],
            "login": "admin",
            "password": secret("superset_password"),
        },
        "lakehouse_db": postgres("lakehouse"),
        "shop_db": postgres("shop"),
        "store_api": {
            "conn_type": "http",
            "host": environment["STORE_API_URL"],
            "password": secret("store_api_key"),
        },
    }


def write_password(environment: Mapping[str, str], secret: Callable[[str], str]) -> None:
    """Writes the file in which SimpleAuthManager looks passwords up."""
    file = Path(environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    file.touch(mode=0o600)
    file.write_text(json.dumps({"admin": secret("airflow_password")}))


def import_connections(wanted: dict[str, dict[str, Any]]) -> None:
    """Adds the connections that are absent.

    Raises:
        subprocess.CalledProcessError: Airflow's command failed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:  # created with mode 0600
        json.dump(wanted, file)
        file.flush()
        subprocess.run(["airflow", "connections", "import", file.name], check=True)


def create_first_user(base_url: str, password: str, wait: Callable[[float], None] = time.sleep) -> None:
    """Makes Dremio's administrator `admin` if Dremio has no user yet; asks again while Dremio is starting.

    Raises:
        SystemExit: Dremio has users, and none of them is `admin` with this password.
    """
    login = {"userName": "admin", "password": password}
    for _ in range(30):
        answer = httpx.post(f"{base_url}/apiv2/login", json=login, timeout=30)
        if answer.status_code < 500:
            break
        wait(5)
    if answer.status_code == 200:
        print("Dremio knows the user admin")
        return
    user = login | {"firstName": "Lakehouse", "lastName": "Administrator", "email": "admin@example.com"}
    # Dremio's own page sends this header in place of a token for its very first user.
    made = httpx.put(
        f"{base_url}/apiv2/bootstrap/firstuser",
        json=user | {"createdAt": int(time.time() * 1000)},
        headers={"Authorization": "_dremionull"},
        timeout=60,
    )
    if made.is_error:
        raise SystemExit(
            f"Dremio at {base_url} lets admin in with status {answer.status_code} and answers {made.status_code} to "
            f"its creation: {made.text[:300]}. If it has users already, put the password of admin into "
            "docker/secrets/dremio_password."
        )
    print("Dremio's first user admin made")


def main() -> None:
    """Does the three steps in order."""

    def secret(name: str) -> str:
        return (SECRETS / name).read_text().strip()

    write_password(os.environ, secret)
    import_connections(connections(os.environ, secret))
    create_first_user(f"http://{os.environ['DREMIO_HOST']}:9047", secret("dremio_password"))


if __name__ == "__main__":
    main()
