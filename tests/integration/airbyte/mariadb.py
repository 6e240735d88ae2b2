"""A MariaDB server of the tests' own, and a database in it that is read from."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.airbyte.servers import Airbyte, free_port, wait_for

PASSWORD = "pass'word with a blank"
GRANTS = "SELECT, RELOAD, REPLICATION SLAVE, REPLICATION CLIENT"


def program(name: str) -> str | None:
    """Where a program of MariaDB is; it may be installed without being in the path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")


def installed() -> bool:
    """Whether the server and what makes its data folder are there (Debian's two packages)."""
    return all(program(name) for name in ("mariadbd", "mariadb-install-db", "my_print_defaults"))


def certificate(home: Path) -> str:
    """Make a key and a certificate of its own for 127.0.0.1 in `home`; returns the certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (home / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    (home / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return (home / "certificate.pem").read_text()


class MariaDb:
    """The server as a process, with a binlog and TLS."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        home.mkdir()
        self.certificate = certificate(home)
        user = ["--user=root"] if os.geteuid() == 0 else []
        install = [program("mariadb-install-db"), "--no-defaults", f"--datadir={home}/data", "--skip-test-db", *user]
        subprocess.run(
            [*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True, cwd=home
        )
        options = [
            *("--no-defaults", f"--datadir={home}/data", f"--socket={home}/socket", f"--port={self.port}", *user),
            *("--bind-address=127.0.0.1", "--server-id=1", "--log-bin=mysql-bin", "--binlog-format=ROW"),
            *(f"--ssl-cert={home}/certificate.pem", f"--ssl-key={home}/key.pem"),
            *("--default-time-zone=+02:00", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"),
        ]
        with (home / "log").open("wb") as log:
            self._process = subprocess.Popen([str(program("mariadbd")), *options], stderr=log, cwd=home)
        wait_for(self.port)
        self.execute(f"CREATE USER reader@'%' IDENTIFIED BY '{PASSWORD.replace(chr(39), chr(39) * 2)}'")
        self.execute(f"GRANT {GRANTS} ON *.* TO reader@'%'")

    def connect(self, database: str | None = None) -> Any:
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements; returns the last one's rows."""
        with self.connect(database) as db, db.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


class Shop:
    """An empty database that user `reader` may read."""

    def __init__(self, server: MariaDb, name: str) -> None:
        self.server = server
        self.name = name
        server.execute(f"CREATE DATABASE {name}")

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.execute(*statements, database=self.name)

    def source(self, airbyte: Airbyte, method: str = "STANDARD", **changes: Any) -> str:
        configuration: dict[str, Any] = {
            "sourceType": "mysql",
            "host": "127.0.0.1",
            "port": self.server.port,
            "database": self.name,
            "username": "reader",
            "password": PASSWORD,
            "ssl_mode": {"mode": "verify_identity", "ca_certificate": self.server.certificate},
            "replication_method": {"method": method},
        }
        body = {"name": self.name, "workspaceId": airbyte.workspace(), "configuration": configuration | changes}
        return str(airbyte.call("POST", "/sources", json=body)["sourceId"])
