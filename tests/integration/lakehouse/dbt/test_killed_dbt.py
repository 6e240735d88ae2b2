"""dbt tasks that are killed: their jobs on Dremio end with them, and the next try builds the model."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from lakehouse.dbt import manifest
from lakehouse.dbt.operators import DbtModelOperator
from lakehouse.dremio import calls
from lakehouse.dremio.jobs import JobState
from tests.integration.lakehouse.dremio.conftest import corner, hook, lake  # noqa: F401
from tests.integration.lakehouse.dremio.test_sql_operator import slow_sql
from tests.integration.lakehouse.killing import FORK, Tries

INCLUDE = Path(__file__).resolve().parents[4] / "include"
pytestmark = pytest.mark.usefixtures("own_database")


@pytest.fixture(scope="module")
def model(lake, tmp_path_factory):  # noqa: F811
    """A project with one model, which takes some minutes while the view `gate` has a row."""
    include = tmp_path_factory.mktemp("include")
    shutil.copytree(INCLUDE / "dbt" / "macros", include / "dbt" / "macros")
    shutil.copy(INCLUDE / "dbt" / "dbt_project.yml", include / "dbt")
    slow = f"{slow_sql(10)}, {lake}_space.gate AS gate"
    config = f"config(materialized='table', datalake='{lake}', root_path='dbt')"
    (include / "dbt" / "models" / "intermediate").mkdir(parents=True)
    (include / "dbt" / "models" / "intermediate" / "slow.sql").write_text(f"{{{{ {config} }}}}\n{slow}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKEHOUSE_INCLUDE", str(include))
        patch.setenv("LAKEHOUSE_DBT_TARGET", str(include / "target"))
        manifest.build()
        yield f"{lake}.dbt.slow"


@pytest.mark.parametrize("killed", [signal.SIGTERM, signal.SIGKILL], ids=["by a person", "by the kernel"])
def test_its_job_ends_and_the_next_try_builds_the_model(hook, lake, model, tmp_path, killed):  # noqa: F811
    hook.run_job(f"CREATE OR REPLACE VIEW {lake}_space.gate AS SELECT 1 AS a")
    task = Tries(lambda: DbtModelOperator(task_id=f"{lake}_{killed.name}", select="slow"), tmp_path / "store.json")
    process = FORK.Process(target=in_a_worker, args=(task,))
    process.start()
    task.made += 1
    try:
        job_id = running(hook, f"{lake}_{killed.name}", process)
    finally:
        os.kill(process.pid, killed)
        process.join(60)
    hook.run_job(f"CREATE OR REPLACE VIEW {lake}_space.gate AS SELECT a FROM (VALUES (1)) AS t(a) WHERE a = 0")
    if killed == signal.SIGTERM:
        assert hook.poll_job(job_id, 30).state is JobState.CANCELED
    assert task.run() == {"slow": 1}
    assert hook.get_job(job_id).state is JobState.CANCELED
    assert hook.query(f"SELECT total FROM {model}") == [{"total": None}]


def in_a_worker(task):
    """A try as Airflow runs it: whoever kills the task in the UI has its process call on_kill, and go on."""
    signal.signal(signal.SIGTERM, lambda *_: task.operator.on_kill())
    task.run()


def running(hook, name, process):  # noqa: F811
    """The job of the model, once it runs: dbt's other statements are over in no time."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.is_alive():
        listed = hook.rest.send(calls.find_jobs(name))["jobs"]
        for job in listed:
            if "create table" in job["queryText"] and job["state"] == "RUNNING":
                return job["id"]
        time.sleep(0.2)
    raise AssertionError("dbt did not come to build the model")
