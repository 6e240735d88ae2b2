"""kill -9 in the middle of a run, then everything started again: the run finishes with the same marts."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import GROUPS, Airflow, Dremio, Reader, kill, pid_of, stack

AIRFLOW = ["airflow-scheduler", "airflow-triggerer", "airflow-api-server", "airflow-dag-processor"]


def kill_airflow() -> None:
    """All of Airflow at once, with every worker and task."""
    for service in AIRFLOW:
        main = psutil.Process(pid_of(service))
        for process in [main, *main.children(recursive=True)]:
            process.kill()


def kill_worker() -> None:
    """The executor's workers alone: a task that runs becomes an orphan beside its retry."""
    scheduler = psutil.Process(pid_of("airflow-scheduler"))
    workers = [child for child in scheduler.children() if child.children()]
    for worker in workers or scheduler.children():
        os.kill(worker.pid, signal.SIGKILL)


KINDS = {"airflow": kill_airflow, "worker": kill_worker, "dremio": lambda: kill("dremio")}


def kill_in_groups(airflow: Airflow, dremio: Dremio, first_run: FirstRun, kind: str, groups: list[str]) -> None:
    before = dremio.snapshot()
    with Reader(dremio, may_be_down=kind == "dremio") as reader:
        run_id = airflow.trigger(first_run.day)
        for group in groups:
            airflow.reach_group(run_id, group)
            KINDS[kind]()
            stack("up", "--no-run")
        airflow.finish(run_id)
    assert dremio.snapshot() == before
    reader.assert_saw_one_release()


@pytest.mark.parametrize(("kind", "group"), [("dremio", "marts"), ("airflow", "intermediate"), ("worker", "publish")])
def test_one_kill_of_each_kind(airflow: Airflow, dremio: Dremio, first_run: FirstRun, kind: str, group: str) -> None:
    kill_in_groups(airflow, dremio, first_run, kind, [group])


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_run_killed_in_every_group(airflow: Airflow, dremio: Dremio, first_run: FirstRun, kind: str) -> None:
    """Ten kills in one run, one in each group as it comes to work."""
    kill_in_groups(airflow, dremio, first_run, kind, GROUPS[:-1])
