"""``python -m embedded.dremio --rest-port N --flight-port N --data-dir DIR``: the embedded Dremio in the foreground.

Environment: DREMIO_DATABASE_URL (PostgreSQL), DREMIO_USERNAME and DREMIO_PASSWORD (first administrator, set at every
start), DREMIO_EDITION (``community``, the default, or ``enterprise``), DREMIO_MEMORY_LIMIT (``2GB``; by default a tenth
of the machine's or container's memory, at least 1 GB).
SIGTERM and SIGINT stop it cleanly. Listens on 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import os
import signal
import sys
from pathlib import Path

import uvicorn
from psycopg_pool import ConnectionPool

from embedded.dremio.access.control import AccessControl
from embedded.dremio.access.grants import Grants
from embedded.dremio.catalog import Catalog
from embedded.dremio.engine import Engine
from embedded.dremio.jobs import system_tables as job_tables
from embedded.dremio.jobs.results import ResultStore
from embedded.dremio.jobs.runner import JobRunner
from embedded.dremio.jobs.store import JobStore
from embedded.dremio.protocol.auth import Accounts
from embedded.dremio.protocol.flight_server import DremioFlightServer
from embedded.dremio.protocol.rest import Services, build_app
from embedded.dremio.reflections import system_tables as reflection_tables
from embedded.dremio.reflections.service import ReflectionService

KEEP_ALIVE_SECONDS = 300
HOST = "127.0.0.1"
log = logging.getLogger("embedded.dremio")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m embedded.dremio", description=__doc__.splitlines()[0])
    parser.add_argument("--rest-port", type=int, default=9047)
    parser.add_argument("--flight-port", type=int, default=32010)
    parser.add_argument("--data-dir", type=Path, required=True)
    return parser.parse_args()


def _setting(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        sys.exit(f"embedded.dremio: the environment variable {name} is not set")
    return value


def _stop(signum: int, frame: object) -> None:
    """uvicorn raises the signal that stopped it once more at its end: that must not skip the clean-up."""
    raise SystemExit(0)


def main() -> None:
    """Start, serve until told to stop, stop."""
    faulthandler.enable()  # a crash of native code leaves the threads' stacks in the log
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # or each page of an Elasticsearch would be a line
    dsn, data_dir = _setting("DREMIO_DATABASE_URL"), arguments.data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    pool = ConnectionPool(dsn, min_size=1, max_size=8, open=True, timeout=10, check=ConnectionPool.check_connection)
    accounts = Accounts(pool)
    admin = accounts.ensure_admin(_setting("DREMIO_USERNAME"), _setting("DREMIO_PASSWORD"))
    catalog = Catalog(dsn)
    catalog.ensure_home(admin.name)
    engine = Engine(catalog, dsn, data_dir, memory_limit=os.environ.get("DREMIO_MEMORY_LIMIT"))
    jobs, results = JobStore(pool), ResultStore(data_dir / "results")
    runner = JobRunner(engine, jobs, results)
    reflections = ReflectionService(pool, runner, admin.name)
    engine.reflections = reflections
    runner.on_relationships = reflections.count
    reflection_tables.register(engine, reflections)
    enterprise = os.environ.get("DREMIO_EDITION", "community") == "enterprise"
    if enterprise:
        job_tables.register(engine, jobs)
        engine.control_access(AccessControl(Grants(pool), catalog, accounts))
    flight_server = DremioFlightServer(f"grpc://{HOST}:{arguments.flight_port}", accounts, runner)
    app = build_app(Services(accounts, catalog, runner, jobs, results, reflections, enterprise))
    config = uvicorn.Config(
        app,
        host=HOST,
        port=arguments.rest_port,
        log_level="warning",
        access_log=False,
        # dbt-dremio sends on a connection that was idle during a model and does not repeat what meets its end
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    log.info("REST on http://%s:%d, Flight on grpc://%s:%d", HOST, arguments.rest_port, HOST, flight_server.port)
    reflections.start()
    try:
        asyncio.run(uvicorn.Server(config).serve())
    finally:
        runner.close()
        reflections.close()
        flight_server.shutdown()
        engine.close()
        jobs.close()
        pool.close()


if __name__ == "__main__":
    main()
