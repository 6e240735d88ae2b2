"""A mistake under include/pipelines is an import error of the DAGs that read the file: with file, line and key."""

import importlib.util
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk import get_parsing_context
from airflow.sdk.definitions.context import AirflowParsingContext

from lakehouse.ops import check
from tests.unit.dags.conftest import REPOSITORY, Parsed

BOTH = {"daily_batch", "platform_setup"}


@pytest.fixture
def errors(bag: Parsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], dict[str, str]]:
    """Writes a declaration anew and returns the import errors, by DAG file; the rest is as in the repository."""
    from airflow.dag_processing.dagbag import DagBag

    shutil.copytree(REPOSITORY / "include", tmp_path / "include", ignore=shutil.ignore_patterns("target"))
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(tmp_path / "include"))

    def with_(name: str, text: str | None) -> dict[str, str]:
        path = tmp_path / "include" / "pipelines" / name
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        found = DagBag(dag_folder=str(REPOSITORY / "dags")).import_errors
        return {Path(file).stem: error for file, error in found.items()}

    return with_


@pytest.mark.parametrize(
    ("name", "text", "problem", "dags"),
    [
        pytest.param("reflections.yaml", "reflections: [\n", r"reflections.yaml:2: not valid YAML", BOTH, id="no-yaml"),
        pytest.param(
            "reflections.yaml", "reflections: []\nx: 1\n", r"reflections.yaml:2: x: unknown key", BOTH, id="key"
        ),
        pytest.param(
            "reflections.yaml", None, r"reflections.yaml: cannot be read: No such file", {"daily_batch"}, id="gone"
        ),
        pytest.param(
            "dashboards.yaml",
            "bundle: x\n",
            r"dashboards.yaml:1: dashboards: missing",
            BOTH | {"roll_back"},
            id="dashboards",
        ),
        pytest.param(
            "dremio.yaml", "views:\n  - path: a.b\n", r"dremio.yaml:2: views.0.sql: missing", BOTH, id="dremio"
        ),
        pytest.param("daily_batch.yaml", "dag_id: 1\n", r"daily_batch.yaml:1: groups: missing", BOTH, id="groups"),
        pytest.param(
            "connections/postgres.yaml",
            "name: [\n",
            r"postgres.yaml:2: not valid YAML",
            BOTH | {"ingest", "cdc_streaming"},
            id="connection",
        ),
        pytest.param("airbyte.yaml", "workspace: x\n", r"destinations: missing", {"platform_setup"}, id="airbyte"),
        pytest.param(
            "storage.yaml", "bucket: []\n", r"storage.yaml:1: bucket: unknown key", {"platform_setup"}, id="store"
        ),
        pytest.param("dremoi.yaml", "a: 1\n", r"no service reads this file", {"platform_setup"}, id="nobodys"),
    ],
)
def test_a_mistake_is_an_import_error(
    errors: Callable[[str, str | None], dict[str, str]], name: str, text: str | None, problem: str, dags: set[str]
) -> None:
    found = errors(name, text)
    assert set(found) == dags
    for error in found.values():
        assert re.search(problem, error), error


def test_a_tasks_process_does_not_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_parsing_context().task_id is None
    monkeypatch.setattr("airflow.sdk.get_parsing_context", lambda: AirflowParsingContext("daily_batch", "views"))
    monkeypatch.setattr(check, "readers", lambda: pytest.fail("a task pays for its DAG file each time"))
    check.refuse_mistakes("dremio.yaml")


def test_the_makefile_runs_modules_that_exist() -> None:
    modules = re.findall(r"python -m (lakehouse[\w.]*)", (REPOSITORY / "Makefile").read_text())
    assert "lakehouse.ops.check" in modules
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
