"""kill -9 in the middle of a run, then everything started again: the run finishes with the same marts."""

from __future__ import annotations

import time

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
    """The executor's workers that run a task, alone: the task becomes an orphan beside its retry.

    Not the idle ones: these wait for work holding the queue's lock, and LocalExecutor never gets it back from the dead.
    """
    scheduler = psutil.Process(pid_of("airflow-scheduler"))
    until = time.monotonic() + 5  # a task that is deferred has none
    killed = 0
    while not killed and time.monotonic() < until:
        for worker in scheduler.children():
            worker.suspend()  # or it might be done with its task in between
            if worker.children():
                worker.kill()
                killed += 1
            else:
                worker.resume()
        time.sleep(0.05)


KINDS = {"airflow": kill_airflow, "worker": kill_worker, "dremio": lambda: kill("dremio")}


def kill_in_groups(airflow: Airflow, dremio: Dremio, first_run: FirstRun, kinds: dict[str, str]) -> None:
    """One kill in each group, of the kind that is said, in as few runs as it takes.

    Another run if it takes one: while things are started again a short group may pass.
    """
    before, left = dremio.snapshot(), dict(kinds)
    with Reader(dremio) as reader:
        for _ in range(4):
            run_id = airflow.trigger(first_run.day)
            for group, kind in kinds.items():
                if group in left and airflow.reach_group(run_id, group):
                    reader.may_be_down |= kind == "dremio"
                    KINDS[kind]()
                    stack("up", "--no-run")
                    del left[group]
            airflow.finish(run_id)
            if not left:
                break
    assert left == {}
    assert dremio.snapshot() == before
    reader.assert_saw_one_release()


def test_one_kill_of_each_kind_in_one_run(airflow: Airflow, dremio: Dremio, first_run: FirstRun) -> None:
    kill_in_groups(airflow, dremio, first_run, {"publish": "worker", "intermediate": "airflow", "marts": "dremio"})


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_run_killed_in_every_group(airflow: Airflow, dremio: Dremio, first_run: FirstRun, kind: str) -> None:
    """Ten kills, one in each group as it comes to work, in one run as far as may be."""
    kill_in_groups(airflow, dremio, first_run, dict.fromkeys(GROUPS[:-1], kind))
