"""Airflow in the embedded stack: its settings, its metadata database, and the connections that a user may change."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

import httpx

from embedded.settings import REPOSITORY, Settings
from embedded.stack.processes import Service, StackError, environment_for, last_log_lines, log_file, responds

BIN = REPOSITORY / ".venv" / "bin"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables of every Airflow process. Nothing here says where Dremio, S3 and so on are:
    that is in Airflow's connections.
    """
    home = settings.home / "airflow"
    port = settings.ports["AIRFLOW_PORT"]
    secret = settings.credentials
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": settings.url("AIRFLOW_PORT"),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secret["airflow_secret"],
        "AIRFLOW__API_AUTH__JWT_SECRET": secret["airflow_jwt"],
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # Below 8 a slot that is freed late stalls the next task; the load is limited by pools instead.
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__FERNET_KEY": secret["airflow_fernet"],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": settings.url("AIRFLOW_PORT") + "/execution/",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings.database_url("airflow", "postgresql+psycopg2"),
        # A task whose worker died is retried after this many seconds without a heartbeat (default 300).
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
        # ... but only by the scheduler that queued it: after a killed scheduler its successor looks for them (300).
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.home / "logs" / "airflow"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
            settings.home / "logs" / "airflow" / "dag_processor"
        ),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
        "AIRFLOW__COSMOS__CACHE_DIR": str(home / "cosmos"),
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "DO_NOT_TRACK": "1",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "LAKEHOUSE_INCLUDE": str(REPOSITORY / "include"),
        "LAKEHOUSE_DBT_TARGET": str(settings.home / "dbt"),
        "LAKEHOUSE_DB_URL": settings.database_url("lakehouse"),
        # airflow_local_settings, which Airflow imports from here
        "PYTHONPATH": str(REPOSITORY / "config"),
        "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        "TZ": "UTC",
    }


def migrate(settings: Settings) -> bool:
    """Brings Airflow's metadata database up to date, once per Airflow version. Returns whether it ran.

    Raises:
        StackError: `airflow db migrate` failed; with its last lines.
    """
    home = settings.home / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({"admin": settings.credentials["airflow_admin"]}))
    passwords.chmod(0o600)
    stamp = home / "migrated"
    lock = (REPOSITORY / "locks" / "airflow.txt").read_text()
    version = next(line.split()[0] for line in lock.splitlines() if line.startswith("apache-airflow-core=="))
    if stamp.exists() and stamp.read_text() == version:
        return False
    run(settings, "airflow-migrate", [str(BIN / "airflow"), "db", "migrate"])
    stamp.write_text(version)
    return True


def run(settings: Settings, name: str, command: list[str]) -> None:
    """Runs one command in Airflow's environment, its output in the log `name`.

    Raises:
        StackError: it ended with another status than 0; with the log's last lines.
    """
    log = log_file(settings.home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            command,
            stdout=output,
            stderr=output,
            env=environment_for(settings.home, environment(settings)),
            cwd=REPOSITORY,
            check=False,
        )
    if done.returncode:
        raise StackError(
            f"`{' '.join(command)}` failed. The last lines of {log}:\n{last_log_lines(settings.home, name)}"
        )


def services(settings: Settings) -> list[Service]:
    """Airflow's processes. The log servers are switched off: the log files are on this machine, and those servers
    would listen on every address.
    """
    base = settings.url("AIRFLOW_PORT")
    port = settings.ports["AIRFLOW_PORT"]
    health = f"{base}/api/v2/monitor/health"
    variables = environment(settings)

    def component(name: str, *arguments: str, key: str, **more: Any) -> Service:
        return Service(
            name=f"airflow-{name}",
            command=[str(BIN / "airflow"), name, *arguments],
            environment=variables,
            healthy=lambda: _component_healthy(health, key),
            start_seconds=120,
            **more,
        )

    api = Service(
        name="airflow-api-server",
        command=[str(BIN / "airflow"), "api-server", "--host", "127.0.0.1", "--port", str(port)],
        environment=variables,
        healthy=responds(health),
        ports={"AIRFLOW_PORT": port},
        start_seconds=120,
    )
    return [
        api,
        component("scheduler", "--skip-serve-logs", key="scheduler"),
        component("dag-processor", key="dag_processor"),
        component("triggerer", "--skip-serve-logs", key="triggerer"),
    ]


def _component_healthy(health_url: str, key: str) -> bool:
    try:
        return httpx.get(health_url, timeout=5, trust_env=False).json()[key]["status"] == "healthy"
    except (httpx.HTTPError, KeyError, ValueError):
        return False


@dataclass
class AirflowApi:
    """Airflow's public REST API (`/api/v2`) as the admin of this installation."""

    base_url: str
    username: str
    password: str

    def __post_init__(self) -> None:
        self._client = httpx.Client(base_url=self.base_url, timeout=60, trust_env=False)
        self._login()

    def _login(self) -> None:
        answer = self._request("POST", "/auth/token", json={"username": self.username, "password": self.password})
        if answer.status_code != 201:
            raise StackError(f"Airflow at {self.base_url} refuses user {self.username}: {answer.text[:300]}")
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, accept: tuple[int, ...] = (), **arguments: Any) -> Any:
        """One call below /api/v2; the decoded body, or None for a status in `accept` that is an error.

        Raises:
            StackError: any other error status, with Airflow's own words.
        """
        answer = self._request(method, f"/api/v2{path}", **arguments)
        if answer.status_code == 401:  # the token lives for a day
            self._login()
            answer = self._request(method, f"/api/v2{path}", **arguments)
        if answer.status_code in accept:
            return None
        if answer.is_error:
            raise StackError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise StackError(
                f"Airflow at {self.base_url} does not answer ({type(error).__name__}: {error}). `make status` says "
                "what runs, `make up` starts what is missing."
            ) from error


def api(settings: Settings) -> AirflowApi:
    """A client logged in as this installation's admin."""
    return AirflowApi(settings.url("AIRFLOW_PORT"), "admin", settings.credentials["airflow_admin"])


def connections(settings: Settings) -> list[dict[str, Any]]:
    """The Airflow connections that point at this installation's own services."""
    secret = settings.credentials
    ports = settings.ports
    local = {"host": "127.0.0.1"}
    s3 = {
        "endpoint_url": settings.url("S3_PORT"),
        "region_name": "us-east-1",
        "config_kwargs": {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "path"},
        },
    }

    def postgres(name: str, database: str) -> dict[str, Any]:
        return {
            "connection_id": name,
            "conn_type": "postgres",
            **local,
            "port": ports["POSTGRES_PORT"],
            "login": database,
            "password": secret[f"postgres_{database}"],
            "schema": database,
        }

    return [
        {
            "connection_id": "dremio_default",
            "conn_type": "dremio",
            **local,
            "port": ports["DREMIO_PORT"],
            "login": "admin",
            "password": secret["dremio_admin"],
            "extra": json.dumps(
                {"flight_port": ports["DREMIO_FLIGHT_PORT"], "use_ssl": False, "flight_use_ssl": False}
            ),
        },
        {
            "connection_id": "airbyte_default",
            "conn_type": "airbyte",
            "host": settings.url("AIRBYTE_PORT") + "/api/public/v1",
            "login": secret["airbyte_client_id"],
            "password": secret["airbyte_client_secret"],
            "extra": json.dumps({"config_api_url": settings.url("AIRBYTE_CONFIG_PORT") + "/api/v1"}),
        },
        {
            "connection_id": "minio_default",
            "conn_type": "aws",
            "login": secret["s3_access_key"],
            "password": secret["s3_secret_key"],
            "extra": json.dumps(s3),
        },
        {
            "connection_id": "superset_default",
            "conn_type": "superset",
            "host": settings.url("SUPERSET_PORT"),
            "login": "admin",
            "password": secret["superset_admin"],
        },
        postgres("lakehouse_db", "lakehouse"),
        postgres("shop_db", "shop"),
        {
            "connection_id": "store_api",
            "conn_type": "http",
            "host": settings.url("STORE_API_PORT"),
            "password": secret["store_api_key"],
        },
    ]


def apply_connections(client: AirflowApi, settings: Settings) -> list[str]:
    """Creates the connections that are absent and moves those of ours whose port moved; one that a user has
    changed is left as it is. Returns the ids that were created or moved.

    What was written last is kept in the installation's folder: a connection that still reads so is ours.
    """
    present = {row["connection_id"]: row for row in client.call("GET", "/connections?limit=1000")["connections"]}
    file = settings.home / "airflow" / "connections.json"
    written = json.loads(file.read_text()) if file.exists() else {}
    changed = []
    for wanted in connections(settings):
        name = wanted["connection_id"]
        if name not in present:
            client.call("POST", "/connections", json=wanted)
        elif _visible(wanted) != written.get(name) and _visible(present[name]) == written.get(name):
            client.call("PATCH", f"/connections/{name}", json=wanted)
        else:
            continue
        written[name] = _visible(wanted)
        changed.append(name)
    file.write_text(json.dumps(written, indent=2))
    return changed


def check_dashboards(settings: Settings) -> tuple[str, bool]:
    """Asks for every chart as a browser does: what is said about them, and whether one had to be computed."""
    done = subprocess.run(
        [str(BIN / "python"), "-m", "lakehouse.superset.cached"],
        capture_output=True,
        text=True,
        env=environment_for(settings.home, environment(settings)),
        cwd=REPOSITORY,
        check=False,
    )
    if done.returncode not in (0, 1) or "charts answer from the cache" not in done.stdout:
        raise StackError(f"the dashboards could not be checked: {done.stderr[-2000:]}")
    return done.stdout.strip(), done.returncode == 1


def _visible(connection: dict[str, Any]) -> dict[str, Any]:
    """The parts of a connection that Airflow's API shows unmasked and that tell whether it was changed."""
    return {key: connection.get(key) for key in ("conn_type", "host", "port", "login", "schema")}
