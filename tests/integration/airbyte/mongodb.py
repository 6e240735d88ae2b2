"""A MongoDB server of the tests' own (mongo-java-server, see MongoDb.java), and a database in it that is read from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from tests.integration.airbyte.servers import REPOSITORY, Airbyte, free_port, wait_for

JARS = REPOSITORY / ".mongodb"


def installed() -> bool:
    """Whether a JDK is there, which runs a Java source as it is, and the server's jars."""
    return bool(shutil.which("javac")) and any(JARS.rglob("mongo-java-server-core-*.jar"))


class MongoDb:
    """The server as a process: a replica set of one member, in memory, without users."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        home.mkdir()
        jars = ":".join(str(jar) for jar in sorted(JARS.rglob("*.jar")))
        # the quickest start, in little memory
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx512m"]
        options += ["-Djava.util.Arrays.useLegacyMergeSort=true"]  # its $sample sorts by a comparator of random numbers
        program = Path(__file__).with_name("MongoDb.java")
        with (home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["java", *options, "-cp", jars, str(program), str(self.port)], stdout=log, stderr=log, cwd=home
            )
        wait_for(self.port)
        self.client: MongoClient[dict[str, Any]] = MongoClient(self.url, datetime_conversion="DATETIME_AUTO")

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/"

    def stop(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()


class Shop:
    """An empty database."""

    def __init__(self, server: MongoDb, name: str) -> None:
        self.server = server
        self.name = name
        self.db: Database[dict[str, Any]] = server.client[name]

    def source(self, airbyte: Airbyte, *, schema_enforced: bool = True, **changes: Any) -> str:
        configuration: dict[str, Any] = {
            "sourceType": "mongodb-v2",
            "database_config": {
                "cluster_type": "SELF_MANAGED_REPLICA_SET",
                "connection_string": self.server.url,
                "databases": [self.name],
                "schema_enforced": schema_enforced,
            },
        }
        body = {"name": self.name, "workspaceId": airbyte.workspace(), "configuration": configuration | changes}
        return str(airbyte.call("POST", "/sources", json=body)["sourceId"])
