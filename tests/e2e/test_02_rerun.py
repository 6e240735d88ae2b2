"""Running things again gives the same marts, row for row, and readers never notice."""

from __future__ import annotations

import datetime
import itertools

import pytest

from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import RUN_SECONDS, WAITS, Airflow, Dremio, Reader


@pytest.mark.parametrize("group", ["marts"])
def test_clearing_a_green_group_gives_the_same(
    airflow: Airflow, dremio: Dremio, first_run: FirstRun, group: str
) -> None:
    with Reader(dremio) as reader:
        airflow.clear_group(first_run.run_id, group)
        assert airflow.wait(first_run.run_id) == "success"
    assert dremio.snapshot() == first_run.marts
    reader.assert_saw_one_release()


def test_the_whole_day_again_gives_the_same(airflow: Airflow, dremio: Dremio, first_run: FirstRun) -> None:
    with Reader(dremio) as reader:
        assert airflow.wait(airflow.trigger(first_run.day)) == "success"
    assert dremio.snapshot() == first_run.marts
    reader.assert_saw_one_release()


@pytest.mark.chaos
def test_days_out_of_order_give_the_same(airflow: Airflow, dremio: Dremio, first_run: FirstRun) -> None:
    newest = datetime.date.fromisoformat(first_run.day)
    for back in (1, 3, 2):
        day = newest - datetime.timedelta(days=back)
        assert airflow.wait(airflow.trigger(day.isoformat())) == "success"
    assert dremio.snapshot() == first_run.marts


@pytest.mark.chaos
def test_a_backfill_of_three_days_gives_the_same(airflow: Airflow, dremio: Dremio, first_run: FirstRun) -> None:
    """Airflow's own backfill, newest day first; a run at 01:00 is for the day before."""
    newest = datetime.date.fromisoformat(first_run.day)
    due = [f"{newest - datetime.timedelta(days=back)}T01:00:00Z" for back in (2, 0)]
    airflow.backfill(due[0], due[1], run_backwards=True, max_active_runs=1, reprocess_behavior="completed")
    made = [run["dag_run_id"] for run in airflow.runs() if run["run_type"] == "backfill"]
    assert len(made) == 3
    for run_id in made:
        assert airflow.wait(run_id, seconds=3 * RUN_SECONDS) == "success"
    assert dremio.snapshot() == first_run.marts


@pytest.mark.chaos
def test_a_backfill_as_it_comes_beside_a_manual_run_gives_the_same(
    airflow: Airflow, dremio: Dremio, first_run: FirstRun
) -> None:
    """Airflow starts all of them at once (10 at a time, and the manual run); they take turns."""
    newest = datetime.date.fromisoformat(first_run.day)
    due = [f"{newest - datetime.timedelta(days=back)}T01:00:00Z" for back in (6, 4)]
    before = {run["dag_run_id"] for run in airflow.runs()}
    with Reader(dremio) as reader:
        airflow.backfill(due[0], due[1])
        airflow.trigger(first_run.day)
        made = [run["dag_run_id"] for run in airflow.runs() if run["dag_run_id"] not in before]
        assert len(made) == 4
        assert [airflow.wait(run_id, seconds=4 * RUN_SECONDS) for run_id in made] == ["success"] * 4
    assert dremio.snapshot() == first_run.marts
    reader.assert_saw_one_release()
    worked = sorted(_worked(airflow, run_id) for run_id in made)
    assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(worked)), worked


def _worked(airflow: Airflow, run_id: str) -> tuple[str, str]:
    """When the run's first task that does something began, and its last ended."""
    tasks = [task for name, task in airflow.tasks(run_id).items() if name != WAITS]
    return min(task["start_date"] for task in tasks), max(task["end_date"] for task in tasks)


@pytest.mark.chaos
@pytest.mark.parametrize(
    "group",
    ["extract", "publish", "catalog", "staging", "intermediate", "quality", "reflections", "release", "dashboards"],
)
def test_clearing_any_green_group_gives_the_same(
    airflow: Airflow, dremio: Dremio, first_run: FirstRun, group: str
) -> None:
    run_id = airflow.runs()[0]["dag_run_id"]
    with Reader(dremio) as reader:
        airflow.clear_group(run_id, group)
        assert airflow.wait(run_id) == "success"
    assert dremio.snapshot() == first_run.marts
    reader.assert_saw_one_release()
