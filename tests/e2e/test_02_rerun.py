"""Running things again gives the same marts, row for row, and readers never notice."""

from __future__ import annotations

import datetime

import pytest

from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import Airflow, Dremio, Reader


@pytest.mark.parametrize("group", ["marts"])
def test_clearing_a_green_group_gives_the_same(
    airflow: Airflow, dremio: Dremio, first_run: FirstRun, group: str
) -> None:
    with Reader(dremio) as reader:
        airflow.clear_group(first_run.run_id, group)
        assert airflow.wait(first_run.run_id) == "success"
    assert dremio.snapshot() == first_run.marts
    assert reader.problems == [] and reader.polls > 10


def test_the_whole_day_again_gives_the_same(airflow: Airflow, dremio: Dremio, first_run: FirstRun) -> None:
    with Reader(dremio) as reader:
        assert airflow.wait(airflow.trigger(first_run.day)) == "success"
    assert dremio.snapshot() == first_run.marts
    assert reader.problems == []


@pytest.mark.chaos
def test_days_out_of_order_give_the_same(airflow: Airflow, dremio: Dremio, first_run: FirstRun) -> None:
    newest = datetime.date.fromisoformat(first_run.day)
    for back in (1, 3, 2):
        day = newest - datetime.timedelta(days=back)
        assert airflow.wait(airflow.trigger(day.isoformat())) == "success"
    assert dremio.snapshot() == first_run.marts


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
    assert reader.problems == []
