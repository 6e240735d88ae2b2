"""The DAGs, parsed once, with a dbt project parsed into a folder of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


class Parsed(NamedTuple):
    """What the DAG processor made of dags/, and the seconds of CPU it took once everything was imported."""

    dags: dict[str, Any]
    import_errors: dict[str, str]
    seconds: float


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsed]:
    """All of dags/ as Airflow's DAG processor reads it."""
    home = tmp_path_factory.mktemp("airflow")
    names = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "LAKEHOUSE_DBT_TARGET": str(tmp_path_factory.mktemp("dbt")),
        "LAKEHOUSE_INCLUDE": str(REPOSITORY / "include"),
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    from airflow.dag_processing.dagbag import DagBag

    from lakehouse.dbt import manifest

    manifest.build()
    DagBag(dag_folder=str(REPOSITORY / "dags"))
    started = time.process_time()
    bag = DagBag(dag_folder=str(REPOSITORY / "dags"))
    yield Parsed(bag.dags, bag.import_errors, time.process_time() - started)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
