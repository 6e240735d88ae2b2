"""The DAGs of the tiers: each connection in the one that its `schedule` names."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException

from tests.unit.dags.conftest import REPOSITORY, Parsed

CONNECTIONS = {path.stem: path for path in REPOSITORY.glob("include/pipelines/connections/*.yaml")}
CRONS = {"15m": "*/15 * * * *", "6h": "0 */6 * * *", "daily": "0 0 * * *"}


@pytest.fixture
def parsed(bag: Parsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Parses ingest.py with other schedules of the connections; returns the DagBag."""
    from airflow.dag_processing.dagbag import DagBag

    shutil.copytree(REPOSITORY / "include" / "pipelines", tmp_path / "pipelines")
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(tmp_path))

    def with_(**schedules: str) -> Any:
        for name, schedule in schedules.items():
            path = tmp_path / "pipelines" / "connections" / f"{name}.yaml"
            path.write_text(re.sub(r"(?m)^schedule: .*$", f"schedule: {schedule}", path.read_text()))
        return DagBag(dag_folder=str(REPOSITORY / "dags" / "ingest.py"))

    return with_


@pytest.mark.parametrize("name", sorted(CONNECTIONS))
def test_a_connection_is_synced_published_and_promoted_by_its_tier_alone(bag: Parsed, name: str) -> None:
    declared = yaml.safe_load(CONNECTIONS[name].read_text())
    dags = [dag for dag in bag.dags.values() if dag.dag_id.startswith("ingest_") and f"extract.{name}" in dag.task_ids]
    (dag,) = dags
    assert (dag.dag_id, dag.schedule) == (f"ingest_{declared['schedule']}", CRONS[declared["schedule"]])
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    sync, publish, promote = (dag.get_task(f"{group}.{name}") for group in ("extract", "publish", "catalog"))
    assert sync.deferrable and sync.execution_timeout > sync.timeout
    assert (sync.downstream_task_ids, publish.downstream_task_ids) == ({publish.task_id}, {promote.task_id})
    streams = declared["streams"] + declared["lakehouse"].get("rejected_streams", [])
    assert {stream["name"] for stream in publish.streams} == {stream["name"] for stream in streams}
    assert set(promote.tables) == {f"datalake.bronze.{name}.{stream['name']}" for stream in streams}


def test_manual_is_in_no_tier_and_other_crons_have_dags_of_their_own(parsed: Callable[..., Any]) -> None:
    bag = parsed(postgres='" 5,35  8-18/2 * * MON-FRI "', store_api="manual", store_files='"*/15 * * * *"')
    assert not bag.import_errors
    assert {dag.dag_id: (dag.schedule, dag.dag_display_name) for dag in bag.dags.values()} == {
        "ingest_5.35_8-18--2_x_x_mon-fri": ("5,35 8-18/2 * * mon-fri", "ingest 5,35 8-18/2 * * mon-fri"),
        "ingest_15m": ("*/15 * * * *", "ingest 15m"),
    }


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        pytest.param("hourly", "not five fields", id="word"),
        pytest.param('"61 * * * *"', "not acceptable", id="minute-61"),
        pytest.param('"0 0 12 * * ?"', "not five fields", id="quartz"),
    ],
)
def test_a_wrong_schedule_is_an_import_error_with_line_and_remedy(
    parsed: Callable[..., Any], schedule: str, problem: str
) -> None:
    (error,) = parsed(store_api=schedule).import_errors.values()
    assert re.search(
        r"connections/store_api.yaml:\d+: schedule: write one of manual, 15m, 6h, daily, continuous, or a cron", error
    )
    assert re.search(problem, error), error


def test_publishing_is_left_to_a_daily_batch_that_is_under_way(bag: Parsed) -> None:
    asked: list[Any] = []

    def ti(count: int) -> Any:
        return SimpleNamespace(get_dr_count=lambda **question: asked.append(question) or count)

    before = bag.dags["ingest_15m"].get_task("publish.postgres")._pre_execute_hook
    before({"ti": ti(0)})
    with pytest.raises(AirflowSkipException, match="daily_batch is under way"):
        before({"ti": ti(1)})
    assert asked == [{"dag_id": "daily_batch", "states": ["running", "queued"]}] * 2


def test_the_batch_wants_what_came_until_its_day_had_ended(bag: Parsed) -> None:
    dag = bag.dags["daily_batch"]
    for name in CONNECTIONS:
        task = dag.get_task(f"extract.{name}")
        rendered = dag.get_template_env().from_string(task.fresh_since)
        macros = __import__("airflow.sdk.execution_time.macros", fromlist=["x"])
        day = rendered.render(dag_run=None, params={"batch_date": "2026-11-22"}, macros=macros)
        assert day == "2026-11-23"
