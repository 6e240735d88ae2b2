"""An Elasticsearch server of the tests' own: the build that its makers test with, which has no Java of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import httpx

from tests.integration.airbyte.servers import REPOSITORY, START_SECONDS, Airbyte, free_port

FOLDER = REPOSITORY / ".elasticsearch"
USER, PASSWORD = "tester", "secret of the tests"
OPTIONS = ["-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.io.tmpdir=${ES_TMPDIR}"]
SETTINGS = """\
http.port: {port}
transport.port: {transport}
network.host: 127.0.0.1
discovery.type: single-node
xpack.security.enabled: true
path.data: {home}/data
path.logs: {home}/logs
cluster.routing.allocation.disk.threshold_enabled: false
"""


def installed() -> bool:
    """Whether a Java is there, and the server."""
    return bool(shutil.which("java")) and any(FOLDER.rglob("elasticsearch-*.zip"))


class Elasticsearch:
    """The server as a process: one node that asks for a password."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, auth=(USER, PASSWORD), timeout=60)
        programs = _unpacked()
        shutil.copytree(programs / "config", home / "config")
        settings = SETTINGS.format(port=port, transport=free_port(), home=home)
        password = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
        files = {
            "elasticsearch.yml": settings,
            "jvm.options": "\n".join(OPTIONS),
            "users": f"{USER}:{password}\n",
            "users_roles": f"superuser:{USER}\n",
        }
        for name, text in files.items():
            (home / "config" / name).write_text(text)
        user = "nobody" if os.geteuid() == 0 else None  # Elasticsearch refuses to run as root
        if user:
            for path in [home, *home.rglob("*")]:
                shutil.chown(path, user)
        java = Path(shutil.which("java") or "").resolve().parents[1]
        with (home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", programs / "bin" / "elasticsearch"],
                env={"PATH": os.environ["PATH"], "ES_JAVA_HOME": str(java), "ES_PATH_CONF": str(home / "config")},
                stdout=log, stderr=log, cwd=home, user=user, start_new_session=True,
            )  # fmt: skip
        self._wait(home)

    def _wait(self, home: Path) -> None:
        deadline = time.monotonic() + 2 * START_SECONDS
        while True:
            try:
                if self.http.get("/_cluster/health").is_success:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.stop()
                raise RuntimeError((home / "log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        self.http.close()
        with contextlib.suppress(ProcessLookupError):  # it has ended itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def call(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json()

    def documents(self, index: str) -> dict[str, dict[str, Any]]:
        """All documents of a small index by their ids."""
        hits = self.call("POST", f"/{index}/_search", json={"size": 10_000})["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in hits}

    def destination(self, airbyte: Airbyte, **changes: Any) -> str:
        configuration = {
            "destinationType": "elasticsearch",
            "endpoint": self.url,
            "authenticationMethod": {"method": "basic", "username": USER, "password": PASSWORD},
        }
        body = {"name": "search", "workspaceId": airbyte.workspace(), "configuration": configuration | changes}
        return str(airbyte.call("POST", "/destinations", json=body)["destinationId"])


@contextlib.contextmanager
def encrypted(elasticsearch: Elasticsearch, folder: Path) -> Iterator[tuple[str, str, bytearray]]:
    """A way to the server by TLS: its URL, the certificate that signs itself, and what came."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=tests", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    port = elasticsearch.http.base_url.port
    came = bytearray()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        while data := await reader.read(65536):
            kept += data
            writer.write(data)
            await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            copy(reader, behind, came), copy(behind_reader, writer, bytearray()), return_exceptions=True
        )

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(relay, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", certificate.read_text(), came
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def _unpacked() -> Path:
    (archive,) = FOLDER.rglob("elasticsearch-*.zip")
    programs = FOLDER / archive.stem
    if not (programs / "unpacked").exists():
        with zipfile.ZipFile(archive) as files:
            files.extractall(FOLDER)
        (programs / "unpacked").touch()
    return programs
