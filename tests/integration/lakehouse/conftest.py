"""What the package's tests share: the running stack as Airflow connections, and a database schema of their own for run
records, leases and the release journal.
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg2
import pytest

from lakehouse.minio.hook import ObjectStoreHook

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def own_database(reach: dict[str, str]) -> Iterator[str]:
    """URL of an empty schema in the database of the run records; LAKEHOUSE_DB_URL names it meanwhile."""
    url, name = reach["LAKEHOUSE_DB_URL"], f"it_{uuid.uuid4().hex[:8]}"
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {name}")
    own = f"{url}?options={quote(f'-c search_path={name}')}"
    patch = pytest.MonkeyPatch()
    patch.setenv("LAKEHOUSE_DB_URL", own)
    yield own
    patch.undo()
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(scope="session", autouse=True)
def stack_connections(reach: dict[str, str]) -> Iterator[None]:
    """Dremio, object store with its bucket, Superset, Airbyte and the demo sources as Airflow connections."""
    shop = urlsplit(reach["SHOP_DB_URL"])
    rest, flight = urlsplit(reach["DREMIO_URL"]), urlsplit(reach["DREMIO_FLIGHT_URL"])
    connections = {
        "DREMIO_DEFAULT": {
            "conn_type": "dremio",
            "host": rest.hostname,
            "port": rest.port,
            "login": reach["DREMIO_USERNAME"],
            "password": reach["DREMIO_PASSWORD"],
            "extra": {"flight_port": flight.port},
        },
        "MINIO_DEFAULT": {
            "conn_type": "aws",
            "login": reach["AWS_ACCESS_KEY_ID"],
            "password": reach["AWS_SECRET_ACCESS_KEY"],
            "extra": {
                "endpoint_url": reach["S3_ENDPOINT_URL"],
                "region_name": "us-east-1",
                "config_kwargs": {"s3": {"addressing_style": "path"}},
            },
        },
        "SUPERSET_DEFAULT": {
            "conn_type": "superset",
            "host": reach["SUPERSET_URL"],
            "login": reach["SUPERSET_USERNAME"],
            "password": reach["SUPERSET_PASSWORD"],
        },
        "AIRBYTE_DEFAULT": {
            "conn_type": "airbyte",
            "host": reach["AIRBYTE_URL"],
            "login": reach["AIRBYTE_CLIENT_ID"],
            "password": reach["AIRBYTE_CLIENT_SECRET"],
            "extra": {"config_api_url": reach["AIRBYTE_CONFIG_URL"]},
        },
        "SHOP_DB": {
            "conn_type": "postgres",
            "host": shop.hostname,
            "port": shop.port,
            "login": shop.username,
            "password": shop.password,
            "schema": shop.path.removeprefix("/"),
        },
        "STORE_API": {"conn_type": "http", "host": reach["STORE_API_URL"], "password": reach["STORE_API_KEY"]},
    }
    patch = pytest.MonkeyPatch()
    for name, fields in connections.items():
        patch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(fields))
    ObjectStoreHook().ensure_bucket("datalake")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def small_airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What makes a process one with a small Airflow of its own, on SQLite, for `dag.test()` of what is in
    `AIRFLOW__CORE__DAGS_FOLDER`.
    """
    home = tmp_path_factory.mktemp("airflow")
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}",
    }
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, timeout=300)
    return settings
