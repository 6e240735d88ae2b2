"""A corner of the running stack for these tests alone: a Dremio space, a bundle and a database in Superset.

The bundle is the project's own with other uuids, slugs and names, over views of one row in the corner's space; so
the tests need no pipeline run. Everything made here is removed again.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from lakehouse.ops import database
from lakehouse.ops.schema import ensure_schema
from lakehouse.superset.bundle import Bundle, read_folder
from lakehouse.superset.hook import SupersetHook

INCLUDE = Path(__file__).resolve().parents[4] / "include"
SLUG = "sales-overview"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
VALUES = {
    "BIGINT": "CAST(3 AS BIGINT)",
    "INTEGER": "3",
    "DECIMAL": "CAST(12.50 AS DECIMAL(18,2))",
    "DATE": "DATE '2026-01-05'",
    "TIMESTAMP": "TIMESTAMP '2026-01-05 10:00:00'",
    "VARCHAR": "'completed'",
    "BOOLEAN": "TRUE",
}


@dataclass
class Dremio:
    """Statements over REST, as the administrator."""

    client: httpx.Client

    def run(self, sql: str) -> None:
        job = self.client.post("/api/v3/sql", json={"sql": sql}).raise_for_status().json()["id"]
        while True:
            state = self.client.get(f"/api/v3/job/{job}").raise_for_status().json()
            if state["jobState"] in {"COMPLETED", "FAILED", "CANCELED"}:
                assert state["jobState"] == "COMPLETED", f"{sql}: {state.get('errorMessage')}"
                return
            time.sleep(0.05)


@dataclass(frozen=True)
class Corner:
    """The corner's names."""

    slug: str
    space: str
    include: Path


@pytest.fixture(scope="session")
def dremio(reach: dict[str, str]) -> Iterator[Dremio]:
    with httpx.Client(base_url=reach["DREMIO_URL"], timeout=30) as client:
        login = {"userName": reach["DREMIO_USERNAME"], "password": reach["DREMIO_PASSWORD"]}
        token = client.post("/apiv2/login", json=login).raise_for_status().json()["token"]
        client.headers["Authorization"] = f"_dremio{token}"
        yield Dremio(client)


@pytest.fixture(scope="session")
def hook(stack_connections: None) -> Iterator[SupersetHook]:
    made = SupersetHook()
    with made.session:
        yield made


@pytest.fixture(scope="session")
def corner(dremio: Dremio, hook: SupersetHook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corner]:
    """The corner's bundle and its views; nothing is in Superset yet."""
    with made_of(INCLUDE, SLUG, dremio, hook, tmp_path_factory.mktemp("include")) as made:
        yield made


@contextmanager
def made_of(include: Path, slug: str, dremio: Dremio, hook: SupersetHook, folder: Path) -> Iterator[Corner]:
    """A corner with the bundle of one dashboard, and its declaration, in `folder`."""
    name = f"superset_test_{uuid.uuid4().hex[:8]}"
    made = Corner(slug=f"sales-{name[-8:]}", space=name, include=folder)
    bundle = read_folder(include / "superset").needed_by([slug])
    _write(made, bundle, include)
    dremio.client.post("/api/v3/catalog", json={"entityType": "space", "name": name}).raise_for_status()
    try:
        for item in bundle.of("datasets"):
            make_view(dremio, name, item.content)
        yield made
    finally:
        _remove(hook, made.slug)
        space = dremio.client.get(f"/api/v3/catalog/by-path/{name}").raise_for_status().json()
        dremio.client.delete(f"/api/v3/catalog/{space['id']}").raise_for_status()


def make_view(dremio: Dremio, space: str, dataset: dict[str, Any]) -> None:
    """A view of one row with the dataset's columns."""
    columns = ", ".join(f'{VALUES[each["type"]]} AS "{each["column_name"]}"' for each in dataset["columns"])
    dremio.run(f'CREATE OR REPLACE VIEW {space}."{dataset["table_name"]}" AS SELECT {columns}')


def _write(corner: Corner, bundle: Bundle, include: Path) -> None:
    """The bundle under other names, and its declaration."""
    others: dict[str, str] = {}
    for item in bundle.items.values():
        text = (include / "superset" / item.file).read_text()
        text = UUID.sub(lambda found: others.setdefault(found.group(), str(uuid.uuid4())), text)
        text = re.sub("(?m)^schema: .*", f"schema: {corner.space}", text)
        text = re.sub("(?m)^slug: .*", f"slug: {corner.slug}", text)
        text = re.sub("(?m)^database_name: .*", f"database_name: {corner.space}", text)
        path = corner.include / "superset" / item.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (corner.include / "pipelines").mkdir()
    declaration = {
        "bundle": "superset",
        "database_connection": "dremio_default",
        "dashboards": [corner.slug],
    }
    (corner.include / "pipelines" / "dashboards.yaml").write_text(json.dumps(declaration))


def _remove(hook: SupersetHook, slug: str) -> None:
    """Delete the dashboard, and what only it used."""
    if not hook.export_existing([slug]).items:
        return
    request = hook.session.request
    charts = request("GET", f"/api/v1/dashboard/{slug}/charts").json()["result"]
    datasets = request("GET", f"/api/v1/dashboard/{slug}/datasets").json()["result"]
    request("DELETE", f"/api/v1/dashboard/{hook.get_dashboard(slug)['id']}")
    for chart in charts:
        request("DELETE", f"/api/v1/chart/{chart['id']}")
    for dataset in datasets:
        request("DELETE", f"/api/v1/dataset/{dataset['id']}")
    for number in {dataset["database"]["id"] for dataset in datasets}:
        request("DELETE", f"/api/v1/database/{number}")


@pytest.fixture(autouse=True)
def declared(corner: Corner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators find the corner's declaration and bundle."""
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(corner.include))


@pytest.fixture
def context() -> Iterator[dict[str, Any]]:
    """A task's context; what the task records is removed afterwards."""
    dag = f"superset_test_{uuid.uuid4().hex[:8]}"
    ensure_schema(database.dsn())
    yield {
        "ti": SimpleNamespace(
            dag_id=dag, run_id="r", task_id="t", map_index=-1, try_number=1, xcom_push=lambda key, value: None
        )
    }
    connection = database.connect(database.dsn())
    try:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM task_fact WHERE dag_id = %s", (dag,))
    finally:
        connection.close()
