"""An embedded Dremio of a test's own, over a folder and a PostgreSQL of its own, which may be configured and killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from embedded.settings import Settings, load
from embedded.stack import postgres, services
from embedded.stack.processes import running, session_of, start, stop_all
from tests.integration.dremio.conftest import Rest

LAKE = "lake"  # a source of type NAS, for tables


@dataclass
class OwnServer:
    """The two services and a way to be rid of them."""

    settings: Settings

    def client(self) -> Rest:
        """The administrator, logged in."""
        return Rest(self.settings.url("DREMIO_PORT"), "admin", self.settings.credentials["dremio_admin"])

    def kill(self, name: str) -> None:
        """kill -9 of every process of the service `dremio` or `postgres`."""
        process = running(self.settings.home, name)
        assert process is not None, f"{name} does not run"
        family = session_of(process.pid)
        for member in family:
            member.kill()
        psutil.wait_procs(family, timeout=10)

    def start(self) -> None:
        """Starts what does not run, and waits until it answers."""
        start(self.settings.home, postgres.service(self.settings))
        start(self.settings.home, services.dremio(self.settings))


@contextmanager
def own_server(home: Path, edition: str = "community") -> Iterator[OwnServer]:
    """A server with the source `lake`; stopped at the end."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAKEHOUSE_HOME", str(home))
        environment.setenv("LAKEHOUSE_PORTS", "free")
        environment.setenv("DREMIO_EDITION", edition)
        settings = load(create=True)
        assert settings is not None
        server = OwnServer(settings)
        postgres.prepare(settings)
        try:
            start(settings.home, postgres.service(settings))
            postgres.create_databases(settings)
            server.start()
            folder = home / LAKE
            folder.mkdir()
            body = {"entityType": "source", "type": "NAS", "name": LAKE, "config": {"path": str(folder)}}
            server.client().http.post("/catalog", json=body).raise_for_status()
            yield server
        finally:
            stop_all(settings.home)
