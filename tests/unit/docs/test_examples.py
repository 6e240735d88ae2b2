"""The example DAGs can be read, each tells one story, and every operator of the package is in one of them."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import BaseOperator

import lakehouse

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
# They work on an installation's one dbt project and its release journal, which an example would disturb: their example
# is dags/daily_batch.py, and the tests in e2e/ run it.
PIPELINE_ONLY = {
    "DbtModelOperator",
    "DbtSourceFreshnessOperator",
    "DbtTestOperator",
    "DremioClaimSlotOperator",
    "DremioReleaseOperator",
    "DremioRollbackOperator",
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_one_short_dag_with_a_story(file: Path) -> None:
    bag = DagBag(dag_folder=str(file))
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    assert dag.dag_id == file.stem
    text = file.read_text()
    assert dag.doc_md == ast.get_docstring(ast.parse(text), clean=False)
    assert len(text.splitlines()) < 100
    assert all(task.retries >= 1 for task in dag.tasks), "a deferred task needs a second try"


def operators() -> set[str]:
    """Names of the package's operators and sensors."""
    known = set()
    for module in pkgutil.walk_packages(lakehouse.__path__, "lakehouse."):
        room = module.name.split(".")
        if "transfers" in room or "operators" in room or room[-1].endswith(("operators", "sensors")):
            for name, found in vars(importlib.import_module(module.name)).items():
                if isinstance(found, type) and issubclass(found, BaseOperator) and found.__module__ == module.name:
                    known.add(name)
    return {name for name in known if not name.startswith("_")}


def test_every_operator_is_in_an_example() -> None:
    used = {name for name in operators() for file in FILES if f"{name}(" in file.read_text()}
    assert operators() - used == PIPELINE_ONLY
