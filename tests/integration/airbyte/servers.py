"""The Airbyte server of the tests as a process with its two APIs, and a database that it reads from."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from tests.integration.airbyte.lake import Lake

REPOSITORY = Path(__file__).parents[3]
START_SECONDS = 30
CLIENT_ID, CLIENT_SECRET = "client-of-the-tests", "secret-of-the-tests"
TERMINAL = ("succeeded", "failed", "cancelled")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Airbyte:
    """The server as a process, and its two APIs."""

    def __init__(self, database_url: str, data: Path) -> None:
        self.database_url = database_url
        self.port, self.config_port = free_port(), free_port()
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(timeout=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/public/v1"

    @property
    def config_url(self) -> str:
        return f"http://127.0.0.1:{self.config_port}/api/v1"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def launch(self) -> None:
        """Start the process, without waiting for it."""
        environment = os.environ | {
            "AIRBYTE_DATABASE_URL": self.database_url,
            "AIRBYTE_CLIENT_ID": CLIENT_ID,
            "AIRBYTE_CLIENT_SECRET": CLIENT_SECRET,
        }
        ports = ["--port", str(self.port), "--config-port", str(self.config_port)]
        with (self._data.parent / "airbyte.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "embedded.airbyte", *ports, "--data-dir", str(self._data)],
                cwd=REPOSITORY,
                env=environment,
                stderr=log,
            )

    def start(self) -> None:
        self.launch()
        wait_for(self.port)
        wait_for(self.config_port)
        credentials = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        token = self._http.post(f"{self.url}/applications/token", json=credentials).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(START_SECONDS)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, self.url + path, **options)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """A call of the public API that must succeed."""
        answer = self.request(method, path, **options)
        assert answer.status_code in (200, 204), f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def config(self, path: str, **body: Any) -> Any:
        """A call of the config API that must succeed."""
        answer = self._http.post(self.config_url + path, json=body)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def workspace(self) -> str:
        return str(self.call("GET", "/workspaces")["data"][0]["workspaceId"])

    def start_sync(self, connection: str, job_type: str = "sync") -> int:
        return int(self.call("POST", "/jobs", json={"connectionId": connection, "jobType": job_type})["jobId"])

    def wait(self, job: int, seconds: float = 60) -> dict[str, Any]:
        """The job once it has ended."""
        deadline = time.monotonic() + seconds
        while True:
            answer: dict[str, Any] = self.call("GET", f"/jobs/{job}")
            if answer["status"] in TERMINAL:
                return answer
            assert time.monotonic() < deadline, f"job {job} is {answer['status']} after {seconds} s"
            time.sleep(0.05)

    def sync(self, connection: str) -> int:
        """Sync, which must succeed; returns the rows that were committed."""
        job = self.wait(self.start_sync(connection))
        assert job["status"] == "succeeded", self.reason(job["jobId"])
        return int(job["rowsSynced"])

    def reason(self, job: int) -> str:
        """Why the last attempt of a job failed."""
        attempts = self.config("/jobs/get", id=job)["attempts"]
        summary = attempts[-1]["attempt"]["failureSummary"] if attempts else None
        return str(summary["failures"][0]["externalMessage"]) if summary else ""

    def log(self, job: int) -> str:
        """The log lines of all attempts."""
        attempts = self.config("/jobs/get", id=job)["attempts"]
        return "\n".join(line for attempt in attempts for line in attempt["logs"]["logLines"])

    def workers(self) -> list[psutil.Process]:
        """The worker processes that run now: the children of the fork server."""
        server = psutil.Process(self.process.pid)
        return [worker for child in server.children() for worker in child.children()]

    def kill_in_syncs(self, connection: str, syncs: int, *, at_once: bool = True) -> int:
        """Sync so many times, each with its worker killed -9 at a random instant; how many kills hit.

        Each must succeed all the same, by further attempts.

        :param at_once: the first kill is at the worker's beginning, so that one hits for certain.
        """
        killed = 0
        for number in range(syncs):
            job = self.start_sync(connection)
            until = time.monotonic() + 20
            while not self.workers() and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(0 if at_once and not number else random.uniform(0, 1.0))  # a sync may be shorter
            for worker in self.workers():
                with contextlib.suppress(psutil.NoSuchProcess):  # the sync was faster
                    worker.send_signal(signal.SIGKILL)
                    killed += 1
            assert self.wait(job)["status"] == "succeeded", self.reason(job)
        return killed

    def destination(self, lake: Lake) -> str:
        configuration = {
            "destinationType": "s3",
            "access_key_id": lake.key,
            "secret_access_key": lake.secret,
            "s3_endpoint": lake.endpoint,
            "s3_bucket_region": "us-east-1",
            "s3_bucket_name": "datalake",
            "s3_bucket_path": "bronze/landing",
            "format": {"format_type": "Parquet", "compression_codec": "SNAPPY"},
        }
        body = {"name": "datalake", "workspaceId": self.workspace(), "configuration": configuration}
        return str(self.call("POST", "/destinations", json=body)["destinationId"])

    def connect(
        self,
        source: str,
        destination: str,
        streams: list[dict[str, Any]] | None,
        *,
        lakehouse: dict[str, Any] | None = None,
        **more: Any,
    ) -> tuple[str, str]:
        """Make a connection; returns its id and the namespace (a folder of its own) that it writes to."""
        namespace = f"source=test_{secrets.token_hex(4)}"
        body: dict[str, Any] = {
            "sourceId": source,
            "destinationId": destination,
            "name": namespace,
            "namespaceDefinition": "custom_format",
            "namespaceFormat": namespace,
            "nonBreakingSchemaUpdatesBehavior": "propagate_columns",
        }
        if streams is not None:
            body["configurations"] = {"streams": streams}
        connection = str(self.call("POST", "/connections", json=body | more)["connectionId"])
        self.call("PUT", f"/connections/{connection}/lakehouse", json=lakehouse or {})
        return connection, namespace


class Shop:
    """A database to read from."""

    def __init__(self, url: str, name: str) -> None:
        self.db = psycopg.connect(url, autocommit=True)
        self.url = url
        self.name = name
        info = self.db.info
        self.configuration = {
            "sourceType": "postgres",
            "host": "127.0.0.1",
            "port": info.port,
            "database": name,
            "username": "shopkeeper",
            "password": "pass'word with a blank",
            "schemas": ["public"],
        }

    def source(self, airbyte: Airbyte, **changes: Any) -> str:
        body = {"name": self.name, "workspaceId": airbyte.workspace(), "configuration": self.configuration | changes}
        return str(airbyte.call("POST", "/sources", json=body)["sourceId"])
