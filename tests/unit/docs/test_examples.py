"""The example DAGs can be read, each tells one story, and every operator of the package is in one of them."""

import ast
import re
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests import listed

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
# They work on an installation's one dbt project, its release journal and its runs, which an example would disturb:
# their example is dags/daily_batch.py, and the tests in e2e/ run it; of the continuous ones, dags/cdc_streaming.py.
PIPELINE_ONLY = {
    "CompactLandingOperator",
    "ContinuousSyncOperator",
    "DbtModelOperator",
    "DbtSourceFreshnessOperator",
    "DbtTestOperator",
    "DremioClaimSlotOperator",
    "DremioReleaseOperator",
    "DremioRollbackOperator",
    "ReportOperator",
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


def test_every_operator_is_in_an_example() -> None:
    known = set(listed.operators())
    used = {name for name in known for file in FILES if re.search(rf"\b{name}\(", file.read_text())}
    assert known - used == PIPELINE_ONLY
