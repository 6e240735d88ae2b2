"""One instance and one first run for all end-to-end tests; they run in the order of their files."""

from __future__ import annotations

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
    """`make up` up to the green summary, and the marts that it released."""
    output = stack("up").stdout
    run = airflow.runs()[-1]
    assert run["state"] == "success", output[-4000:]
    day = run["conf"].get("batch_date") or _day_before(run["run_after"])
    return FirstRun(run["dag_run_id"], day, output, dremio.snapshot())


def _day_before(moment: str) -> str:
    import datetime

    due = datetime.datetime.fromisoformat(moment)
    return (due.date() - datetime.timedelta(days=1)).isoformat()
