"""Which services the embedded stack has, and in which order they come up.

`steps()` is a small graph: a step starts as soon as the steps it needs are done, so that on two cores the waits of
one service are the work of another.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from embedded.settings import REPOSITORY, Settings
from embedded.stack import airflow, postgres
from embedded.stack.processes import (
    Service,
    StackError,
    environment_for,
    last_log_lines,
    listens,
    log_file,
    responds,
    start,
)

PYTHON = REPOSITORY / ".venv-embedded" / "bin" / "python"
MINIO = REPOSITORY / ".minio" / "minio"
SUPERSET_BIN = REPOSITORY / ".venv-superset" / "bin"


def all_services(settings: Settings) -> list[Service]:
    """Every service, in the order in which they start; they stop in the opposite one."""
    return [
        postgres.service(settings),
        object_store(settings),
        dremio(settings),
        airbyte(settings),
        store_api(settings),
        superset(settings),
        *airflow.services(settings),
    ]


def object_store(settings: Settings) -> Service:
    """The S3 server that the installation was made with."""
    return minio(settings) if settings.s3_server == "minio" else rclone(settings)


def minio(settings: Settings) -> Service:
    """The real MinIO, its last community release; its console is off."""
    port = settings.ports["S3_PORT"]
    return Service(
        name="s3",
        command=[
            str(MINIO),
            "server",
            str(settings.home / "minio"),
            "--address",
            f"127.0.0.1:{port}",
            "--certs-dir",
            str(settings.home / "minio-certs"),
        ],
        environment={
            "MINIO_ROOT_USER": settings.credentials["s3_access_key"],
            "MINIO_ROOT_PASSWORD": settings.credentials["s3_secret_key"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        },
        healthy=responds(settings.url("S3_PORT") + "/minio/health/live"),
        ports={"S3_PORT": port},
        stops_last=True,
    )


def rclone(settings: Settings) -> Service:
    """rclone's S3 server over a folder of the installation, in place of MinIO."""
    port = settings.ports["S3_PORT"]
    secret = settings.credentials
    return Service(
        name="s3",
        command=[
            str(PYTHON.parent / "rclone"),
            "serve",
            "s3",
            str(settings.home / "s3"),
            "--addr",
            f"127.0.0.1:{port}",
            "--config",
            os.devnull,
            "--ignore-checksum",  # or each object is hashed twice while it is written, to compare the two sums
        ],
        # not on the command line, where every user of the machine could read it; quoted as one item of a CSV list
        environment={"RCLONE_AUTH_KEY": f'"{secret["s3_access_key"]},{secret["s3_secret_key"]}"'},
        healthy=listens(port),
        ports={"S3_PORT": port},
        stops_last=True,
    )


def dremio(settings: Settings) -> Service:
    """The embedded Dremio (REST and Arrow Flight)."""
    ports = settings.ports
    return Service(
        name="dremio",
        command=[
            str(PYTHON),
            "-m",
            "embedded.dremio",
            "--rest-port",
            str(ports["DREMIO_PORT"]),
            "--flight-port",
            str(ports["DREMIO_FLIGHT_PORT"]),
            "--data-dir",
            str(settings.home / "dremio"),
        ],
        environment=_package_path()
        | {
            "DREMIO_DATABASE_URL": settings.database_url("dremio"),
            "DREMIO_USERNAME": "admin",
            "DREMIO_PASSWORD": settings.credentials["dremio_admin"],
            "MALLOC_ARENA_MAX": "2",  # glibc keeps what a thread frees for that thread: up to twice the memory at 10M
        },
        healthy=responds(settings.url("DREMIO_PORT") + "/apiv2/server_status", contains="OK"),
        ports={name: ports[name] for name in ("DREMIO_PORT", "DREMIO_FLIGHT_PORT")},
    )


def airbyte(settings: Settings) -> Service:
    """The embedded Airbyte (public and configuration API)."""
    ports = settings.ports
    return Service(
        name="airbyte",
        command=[
            str(PYTHON),
            "-m",
            "embedded.airbyte",
            "--port",
            str(ports["AIRBYTE_PORT"]),
            "--config-port",
            str(ports["AIRBYTE_CONFIG_PORT"]),
            "--data-dir",
            str(settings.home / "airbyte"),
        ],
        environment=_package_path()
        | {
            "AIRBYTE_DATABASE_URL": settings.database_url("airbyte"),
            "AIRBYTE_CLIENT_ID": settings.credentials["airbyte_client_id"],
            "AIRBYTE_CLIENT_SECRET": settings.credentials["airbyte_client_secret"],
        },
        healthy=responds(settings.url("AIRBYTE_PORT") + "/api/public/v1/health"),
        ports={name: ports[name] for name in ("AIRBYTE_PORT", "AIRBYTE_CONFIG_PORT")},
    )


def superset(settings: Settings) -> Service:
    """The real Superset under gunicorn; it brings its own database up to date before it serves."""
    return Service(
        name="superset",
        command=[
            str(SUPERSET_BIN / "gunicorn"),
            "-c",
            str(REPOSITORY / "embedded/superset/gunicorn_config.py"),
        ],
        environment=_package_path()
        | {
            "SUPERSET_CONFIG_PATH": str(REPOSITORY / "embedded/superset/superset_config.py"),
            "SUPERSET_DATABASE_URL": settings.database_url("superset", "postgresql+psycopg2"),
            "SUPERSET_SECRET_KEY": settings.credentials["superset_secret"],
            "SUPERSET_CACHE_DIR": str(settings.home / "superset" / "cache"),
            "SUPERSET_PORT": str(settings.ports["SUPERSET_PORT"]),
            "SUPERSET_USERNAME": "admin",
            "SUPERSET_PASSWORD": settings.credentials["superset_admin"],
        },
        healthy=responds(settings.url("SUPERSET_PORT") + "/health", contains="OK"),
        ports={"SUPERSET_PORT": settings.ports["SUPERSET_PORT"]},
        start_seconds=300,  # a first start makes its database
    )


def store_api(settings: Settings) -> Service:
    """The demo company's REST API; it also adds the days that pass to the demo's sources."""
    port = settings.ports["STORE_API_PORT"]
    return Service(
        name="store-api",
        command=[str(PYTHON), "-m", "embedded.demo", "serve", "--port", str(port)],
        environment=demo_environment(settings),
        healthy=responds(settings.url("STORE_API_PORT") + "/health"),
        ports={"STORE_API_PORT": port},
        start_seconds=600,  # after days off it first adds the days that have passed
    )


def demo_environment(settings: Settings) -> dict[str, str]:
    """What `python -m embedded.demo` reads."""
    names = ("SHOP_DB_URL", "STORE_API_KEY", "S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    reach = settings.environment()
    return (
        _package_path()
        | {name: reach[name] for name in names}
        | {
            "DEMO_SEED": str(settings.seed),
            "DEMO_SCALE": settings.scale,
            "DEMO_END_DATE": settings.end_date.isoformat(),
        }
    )


@dataclass(frozen=True)
class Step:
    """One thing to do on the way up. `action` returns what to tell the user, or None for nothing new."""

    name: str
    needs: tuple[str, ...]
    action: Callable[[], str | None]


def steps(settings: Settings) -> list[Step]:
    """The way up, from PostgreSQL to Airflow's scheduler."""
    home = settings.home
    web, *components = airflow.services(settings)

    def started(service: Service) -> Callable[[], str | None]:
        return lambda: "started" if start(home, service) else None

    def database() -> str | None:
        postgres.prepare(settings)
        new = start(home, postgres.service(settings))
        postgres.create_databases(settings)
        return "started" if new else None

    def store() -> str | None:
        if settings.s3_server == "minio" and not MINIO.exists():
            raise StackError("MinIO is not built yet: run bin/minio, which needs Go 1.24 or later and some minutes.")
        (home / "s3").mkdir(parents=True, exist_ok=True)
        return "started" if start(home, object_store(settings)) else None

    return [
        Step("postgres", (), database),
        Step("s3", (), store),
        Step("demo data", ("postgres", "s3"), lambda: _load_demo(settings)),
        Step("dbt manifests", (), lambda: _write_manifests(settings)),
        Step("airflow database", ("postgres",), lambda: "migrated" if airflow.migrate(settings) else None),
        Step("dremio", ("postgres",), started(dremio(settings))),
        Step("airbyte", ("postgres",), started(airbyte(settings))),
        Step("store-api", ("demo data",), started(store_api(settings))),
        Step(web.name, ("airflow database",), started(web)),
        *(Step(each.name, ("airflow database", "dbt manifests"), started(each)) for each in components),
        Step("superset", ("postgres",), started(superset(settings))),
        Step("airflow connections", (web.name,), lambda: _connections(settings)),
    ]


def run_steps(todo: list[Step], tell: Callable[[str, str, float], None]) -> None:
    """Runs the steps, each as soon as those it needs are done; `tell(name, message, seconds)` as each ends.

    Raises:
        StackError: the first failure; steps that were running by then are waited for, others are not begun.
    """
    done: dict[str, threading.Event] = {step.name: threading.Event() for step in todo}
    failed = threading.Event()

    def run(step: Step) -> None:
        for need in step.needs:
            while not done[need].wait(0.1):
                if failed.is_set():
                    return
        if failed.is_set():
            return
        begun = time.monotonic()
        try:
            message = step.action()
        except BaseException:
            failed.set()
            raise
        done[step.name].set()
        tell(step.name, message or "is up", time.monotonic() - begun)

    with concurrent.futures.ThreadPoolExecutor(max_workers=len(todo)) as pool:
        try:
            for future in concurrent.futures.as_completed([pool.submit(run, step) for step in todo]):
                future.result()
        except BaseException:  # also Ctrl-C: nothing more is begun
            failed.set()
            raise


def _package_path() -> dict[str, str]:
    return {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "TZ": "UTC"}


def _load_demo(settings: Settings) -> str | None:
    output = _run(settings, "demo-load", [str(PYTHON), "-m", "embedded.demo", "load"], demo_environment(settings))
    return output.splitlines()[-1] if output else None


def _write_manifests(settings: Settings) -> str | None:
    command = [str(airflow.BIN / "python"), "-m", "lakehouse.dbt.manifest"]
    output = _run(settings, "dbt-manifests", command, airflow.environment(settings))
    return output.splitlines()[-1] if output else None


def _connections(settings: Settings) -> str | None:
    created = airflow.apply_connections(airflow.api(settings), settings)
    return f"created {', '.join(created)}" if created else None


def _run(settings: Settings, name: str, command: list[str], environment: dict[str, str]) -> str:
    """Runs a command to its end; its stdout. Its stderr, and both on failure, are in the log `name`."""
    if not shutil.which(command[0]):
        raise StackError(f"{command[0]} is missing: run `make up`, which installs it.")
    log = log_file(settings.home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment_for(settings.home, environment),
            cwd=REPOSITORY,
            check=False,
        )
    if done.returncode:
        said = done.stdout.strip()
        raise StackError(f"`{' '.join(command)}` failed.\n{said}\n{last_log_lines(settings.home, name)}")
    return done.stdout.strip()
