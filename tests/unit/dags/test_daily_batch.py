"""The daily batch's promises that show in its graph."""

import itertools
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.serialization.serialized_objects import DagSerialization

from lakehouse.ops import turn
from tests.unit.dags.conftest import REPOSITORY, Parsed

PIPELINES = REPOSITORY / "include" / "pipelines"
DBT = REPOSITORY / "include" / "dbt"


def groups_of(dag: Any) -> list[str]:
    return [task.task_id.split(".")[0] for task in dag.tasks]


def members(dag: Any, group: str) -> set[str]:
    return {task.task_id.removeprefix(f"{group}.") for task in dag.tasks if task.task_id.startswith(f"{group}.")}


def test_groups_are_those_of_the_declaration_in_order(bag: Parsed) -> None:
    declared = [group["name"] for group in yaml.safe_load((PIPELINES / "daily_batch.yaml").read_text())["groups"]]
    dag = bag.dags["daily_batch"]
    assert set(groups_of(dag)) == set(declared)
    for earlier, later in itertools.pairwise(declared):
        reached = {
            task_id.split(".")[0]
            for task in dag.tasks
            if task.task_id.startswith(f"{earlier}.")
            for task_id in task.downstream_task_ids
        }
        assert later in reached, f"nothing leads from {earlier} to {later}"


def test_every_connection_is_synced_published_and_promoted(bag: Parsed) -> None:
    dag = bag.dags["daily_batch"]
    files = sorted(PIPELINES.glob("connections/*.yaml"))
    names = {path.stem for path in files}
    assert members(dag, "extract") == names | {"wait_for_turn"}
    assert members(dag, "publish") == names
    assert members(dag, "catalog") == names | {"views"}
    for path in files:
        declared = yaml.safe_load(path.read_text())
        streams = declared["streams"] + declared.get("lakehouse", {}).get("rejected_streams", [])
        tables = {f"datalake.bronze.{path.stem}.{stream['name']}" for stream in streams}
        assert set(dag.get_task(f"catalog.{path.stem}").tables) == tables


def test_every_model_is_a_task_of_its_layer(bag: Parsed) -> None:
    dag = bag.dags["daily_batch"]
    for layer in ("staging", "intermediate"):
        assert members(dag, layer) == {path.stem for path in DBT.glob(f"models/{layer}/**/*.sql")}
    marts = {path.stem for path in DBT.glob("models/marts/**/*.sql")}
    assert members(dag, "marts") == marts | {"claim_slot"}
    assert set(dag.get_task("release.switch").marts) == marts


def test_no_mart_is_built_before_its_slot_is_claimed(bag: Parsed) -> None:
    dag = bag.dags["daily_batch"]
    before = dag.get_task("marts.claim_slot").get_flat_relative_ids(upstream=False)
    for name in members(dag, "marts") - {"claim_slot"}:
        task = dag.get_task(f"marts.{name}")
        assert task.task_id in before
        assert task.builds_slot
        assert "claim_slot" in task.slot


def test_readers_see_nothing_before_the_tests_have_passed(bag: Parsed) -> None:
    upstream = bag.dags["daily_batch"].get_task("release.switch").get_flat_relative_ids(upstream=True)
    assert {"quality.dbt_tests", "reflections.refresh"} <= upstream


def test_the_report_waits_for_every_group_and_runs_always(bag: Parsed) -> None:
    dag = bag.dags["daily_batch"]
    report = dag.get_task("report.report")
    assert report.trigger_rule == "all_done"
    assert not report.downstream_task_ids
    assert {task_id.split(".")[0] for task_id in report.upstream_task_ids} == set(groups_of(dag)) - {"report"}


def test_schedule_and_form(bag: Parsed) -> None:
    dag = bag.dags["daily_batch"]
    assert dag.schedule == "0 1 * * *"
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    field = dag.params.get_param("batch_date")
    assert field.schema["format"] == "date" and field.value is None
    assert dag.deadline[0].interval.total_seconds() == (3 * 60 + 45) * 60


def test_every_task_but_the_report_waits_for_its_runs_turn(bag: Parsed) -> None:
    """Any group of an old run may be cleared while a new run is under way."""
    dag = bag.dags["daily_batch"]
    waits = {task.task_id for task in dag.tasks if task._pre_execute_hook is turn.take}
    assert waits == set(dag.task_ids) - {"report.report"}
    assert {task.task_id for task in dag.roots} == {"extract.wait_for_turn"}, "a waiting run is one waiting task"


def test_its_stored_form_is_the_same_each_time(bag: Parsed) -> None:
    """Airflow keeps a new version of a DAG whose stored form differs."""
    first, second = (DagSerialization.to_dict(bag.dags["daily_batch"]) for _ in range(2))
    assert first == second
    assert " at 0x" not in str(first)


def test_what_was_quarantined_is_counted_over_rest(bag: Parsed, monkeypatch: pytest.MonkeyPatch) -> None:
    task = bag.dags["daily_batch"].get_task("quality.count_quarantined")
    names = task.python_callable.__globals__
    facts: list[Any] = []
    rows = [{"dataset_name": "store_files.invoices", "reason": "does not parse", "row_count": "3"}]
    monkeypatch.setitem(names, "DremioHook", lambda conn_id: SimpleNamespace(query=lambda sql: rows))
    monkeypatch.setitem(names, "records", SimpleNamespace(record=lambda context, kind, payload: facts.append(payload)))
    expected = [{"dataset": "store_files.invoices", "reason": "does not parse", "rows": 3}]
    assert task.python_callable() == expected  # Flight waits where the task's time limit does not reach
    assert facts == [expected]


def test_a_sync_that_takes_too_long_leaves_time_before_the_deadline(bag: Parsed) -> None:
    dag = bag.dags["daily_batch"]
    for name in members(dag, "extract") - {"wait_for_turn"}:
        task = dag.get_task(f"extract.{name}")
        assert task.timeout == timedelta(minutes=90)
        assert task.execution_timeout > task.timeout  # else it would keep the sync's own limit from cancelling the job
