"""The DAGs in the package's README can be copied: each is one, and every operator is in one of them."""

import re
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests import listed

PACKAGE = Path(__file__).parents[3] / "plugins"
README = (PACKAGE / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.search(r'DAG\(\s*"(\w+)"', block)[1])
def test_a_block_is_read_as_a_dag_with_tasks(block: str, tmp_path: Path) -> None:
    (tmp_path / "copied.py").write_text(block)
    bag = DagBag(dag_folder=str(tmp_path / "copied.py"))
    assert bag.import_errors == {}
    assert set(bag.dags) == set(re.findall(r'DAG\(\s*"(\w+)"', block))
    assert all(dag.tasks for dag in bag.dags.values())


def test_every_operator_is_in_a_block() -> None:
    assert {
        name for name in listed.operators() if not any(re.search(rf"\b{name}\(", block) for block in BLOCKS)
    } == set()
