"""One instance and one first run for all end-to-end tests; they run in the order of their files."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.e2e.lakehouse_instance import Airflow, Dremio, stack


@dataclass(frozen=True)
class FirstRun:
    """What `make up` did in a new installation."""

    run_id: str
    day: str
    output: str
    marts: dict[str, tuple[int, str]]


@pytest.fixture(scope="session")
def airflow(reach: dict[str, str]) -> Airflow:
    return Airflow(reach)


@pytest.fixture(scope="session")
def dremio(reach: dict[str, str]) -> Dremio:
    return Dremio(reach)


@pytest.fixture(scope="session")
def first_run(airflow: Airflow, dremio: Dremio) -> FirstRun:
    """`make up` up to the green summary, and the marts that it released. Without it there is nothing to test."""
    done = stack("up", check=False)
    output = done.stdout
    if done.returncode:
        told = output[-3000:] + done.stderr
        pytest.exit(f"the first run is not green, so the end-to-end tests are not run:\n{told}", returncode=1)
    made = re.search(r"Running daily_batch for (\S+) \(run (.+)\)", output)
    assert made, output
    day, run_id = made.groups()
    # before 01:00 UTC the scheduler still makes the run of the day before, beside the one for the newest whole day
    for run in airflow.runs():
        airflow.wait(run["dag_run_id"])
    return FirstRun(run_id, day, output, dremio.snapshot())
