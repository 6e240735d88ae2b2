"""One server: two ports, one supervisor, one database."""

import asyncio
import contextlib
import logging
import shutil
import signal
import time
from pathlib import Path

import psycopg
import uvicorn

from embedded.airbyte.api.auth import Auth
from embedded.airbyte.api.config import config_app
from embedded.airbyte.api.public import public_app
from embedded.airbyte.database import SERVER_LOCK, create_tables, open_pool
from embedded.airbyte.jobs import Jobs
from embedded.airbyte.service import Service
from embedded.airbyte.supervisor import Supervisor

log = logging.getLogger("embedded.airbyte.server")

LOCK_SECONDS = 10.0


def serve(*, port: int, config_port: int, data_dir: str, database_url: str, client_id: str, client_secret: str) -> int:
    """Run until SIGTERM or SIGINT; returns the process's exit code.

    :param data_dir: its folder `scratch` is this server's own, and is emptied.
    """
    try:
        lock = _only_server(database_url)
    except (psycopg.Error, TimeoutError) as error:
        log.error("The embedded Airbyte cannot start: %s", error)
        return 1
    scratch = Path(data_dir) / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    pool = open_pool(database_url)
    create_tables(pool)
    jobs = Jobs(pool)
    supervisor = Supervisor(jobs, database_url, str(scratch))
    service = Service(pool, supervisor, jobs)
    service.actors.ensure_workspace()
    supervisor.warm_up()
    supervisor.recover()
    try:
        asyncio.run(_run(service, Auth(client_id, client_secret), port, config_port))
    finally:
        supervisor.close()
        pool.close()
        lock.close()
    return 0


async def _run(service: Service, auth: Auth, port: int, config_port: int) -> None:
    servers = [
        _Server(uvicorn.Config(app, host="127.0.0.1", port=number, log_level="warning", lifespan="off"))
        for app, number in ((public_app(service, auth), port), (config_app(service), config_port))
    ]
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    log.info("Public API on port %s, config API on port %s", port, config_port)
    # If one of them ends (its port is taken), the other must not live on alone.
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.gather(*tasks)
    for task in done:
        task.result()


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to us: two of them would take them from each other."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # as uvicorn has it
        yield


def _only_server(database_url: str) -> psycopg.Connection:
    """Hold the database's lock for one server, waiting a little for one that is ending, or for the database.

    :raises TimeoutError: another server works on the database.
    :raises psycopg.OperationalError: the database cannot be reached.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        late = time.monotonic() > deadline
        try:
            connection = psycopg.connect(
                database_url, autocommit=True, connect_timeout=5, application_name="embedded-airbyte-lock"
            )
        except psycopg.OperationalError:
            if late:
                raise
        else:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (SERVER_LOCK,)).fetchone()
            if row and row[0]:
                return connection
            connection.close()
            if late:
                raise TimeoutError(
                    "another embedded Airbyte works on this database (AIRBYTE_DATABASE_URL); stop it first"
                )
        time.sleep(0.5)
