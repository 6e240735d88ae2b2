"""A MariaDB server of the tests' own, and a database in it that is read from."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pymysql

from tests.integration.airbyte.servers import Airbyte, free_port, wait_for

PASSWORD = "pass'word with a blank"
GRANTS = "SELECT, RELOAD, REPLICATION SLAVE, REPLICATION CLIENT"


def program(name: str) -> str | None:
    """Where a program of MariaDB is; it may be installed without being in the path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")


def installed() -> bool:
    """Whether the server and what makes its data folder are there (Debian's two packages)."""
    return all(program(name) for name in ("mariadbd", "mariadb-install-db", "my_print_defaults"))


class MariaDb:
    """The server as a process, with a binlog."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        home.mkdir()
        user = ["--user=root"] if os.geteuid() == 0 else []
        install = [program("mariadb-install-db"), "--no-defaults", f"--datadir={home}/data", "--skip-test-db", *user]
        subprocess.run(
            [*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True, cwd=home
        )
        options = [
            *("--no-defaults", f"--datadir={home}/data", f"--socket={home}/socket", f"--port={self.port}", *user),
            *("--bind-address=127.0.0.1", "--server-id=1", "--log-bin=mysql-bin", "--binlog-format=ROW"),
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
            "ssl_mode": {"mode": "preferred"},
            "replication_method": {"method": method},
        }
        body = {"name": self.name, "workspaceId": airbyte.workspace(), "configuration": configuration | changes}
        return str(airbyte.call("POST", "/sources", json=body)["sourceId"])
