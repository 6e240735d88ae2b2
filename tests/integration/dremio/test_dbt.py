"""dbt-dremio against the server: seed, view, table, incremental merge, snapshot, tests, docs, reflection."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

PROJECT = Path(__file__).parent / "dbt_project"
DBT = Path(__file__).resolve().parents[3] / ".venv" / "bin" / "dbt"  # dbt lives with Airflow


@pytest.fixture
def dbt(reach, source, space, tmp_path):
    """Runs a dbt command in a copy of the project; gives the results by node name."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    url = urlsplit(reach["DREMIO_URL"])
    environment = os.environ | {
        "IT_DREMIO_HOST": str(url.hostname),
        "IT_DREMIO_PORT": str(url.port),
        "IT_SOURCE": source,
        "IT_SPACE": space,
        "DBT_PROFILES_DIR": str(project),
        "DBT_PROJECT_DIR": str(project),
    }

    def run(*command: str) -> dict[str, str]:
        done = subprocess.run(
            [DBT, "--no-use-colors", *command],
            env=environment,
            cwd=project,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        results = json.loads((project / "target" / "run_results.json").read_text())["results"]
        return {one["unique_id"].split(".")[2]: one["status"] for one in results}

    return run


def test_a_project_is_built_again_and_again(dbt, rest, source, space):
    first = dbt("build")
    assert set(first.values()) <= {"success", "pass"}
    assert {"products", "stg_products", "product_prices", "product_events", "product_history"} <= first.keys()
    prices = f"{source}.dbt.product_prices"
    assert rest.rows(f"SELECT name, price FROM {prices} ORDER BY name") == [
        {"name": "apple", "price": 1.5},
        {"name": "pear", "price": 2.25},
        {"name": "plum", "price": 0},
    ]
    assert rest.entity(space, "models", "stg_products")["type"] == "VIRTUAL_DATASET"

    table = rest.entity(source, "dbt", "product_prices")
    wiki = rest.http.get(f"/catalog/{table['id']}/collaboration/wiki").json()
    assert "Every product with a price." in wiki["text"]
    assert rest.http.get(f"/catalog/{table['id']}/collaboration/tag").json()["tags"] == ["checked"]
    reflections = rest.http.get(f"/dataset/{table['id']}/reflection").json()["data"]
    assert [one["name"] for one in reflections] == ["prices_by_name"]
    assert reflections[0]["measureFields"] == [{"name": "price", "measureTypeList": ["SUM", "COUNT"]}]

    again = dbt("build", "--vars", "wide: true")
    assert set(again.values()) <= {"success", "pass"}
    events = rest.rows(f"SELECT product_id, origin FROM {source}.dbt.product_events ORDER BY product_id")
    assert events == [
        {"product_id": 1, "origin": None},
        {"product_id": 2, "origin": "new"},
        {"product_id": 3, "origin": "new"},
    ]
    assert rest.rows(f"SELECT COUNT(*) AS n FROM {source}.dbt.product_history") == [{"n": 3}]
    dbt("docs", "generate")
    dbt("build", "--full-refresh")
