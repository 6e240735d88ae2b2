"""What holds for every DAG: it can be read, says what it does, whose it is, and how long it may take."""

import pytest
import yaml

from tests.unit.dags.conftest import REPOSITORY, Parsed

FILES = {path.stem for path in (REPOSITORY / "dags").glob("*.py")}
SCHEDULES = [
    yaml.safe_load(file.read_text())["schedule"] for file in REPOSITORY.glob("include/pipelines/connections/*.yaml")
]
TIERS = {f"ingest_{schedule}" for schedule in SCHEDULES if schedule not in ("manual", "continuous")}
STREAMING = {"cdc_streaming"} if "continuous" in SCHEDULES else set()
DAGS = sorted(FILES - {"ingest", "cdc_streaming"} | TIERS | STREAMING)
PARSE_SECONDS = 2.0  # of all files, once what they import is imported


def test_every_file_is_one_dag_of_its_name_and_what_syncs_one_for_each_tier(bag: Parsed) -> None:
    assert bag.import_errors == {}
    assert sorted(bag.dags) == DAGS


def test_parsing_is_quick(bag: Parsed) -> None:
    assert bag.seconds < PARSE_SECONDS


@pytest.mark.parametrize("name", DAGS)
def test_it_says_what_it_does_and_whose_it_is(bag: Parsed, name: str) -> None:
    dag = bag.dags[name]
    assert len(dag.doc_md or "") > 200, "a DAG's docstring is what a person sees first in the UI"
    assert "lakehouse" in dag.tags
    assert any(tag.startswith("tier-") for tag in dag.tags), "alerts are routed by tier"
    assert {task.owner for task in dag.tasks} == {"data-platform"}
    undocumented = [
        group.group_id for group in dag.task_group.get_task_group_dict().values() if group.group_id and not group.doc_md
    ]
    assert undocumented == []


@pytest.mark.parametrize("name", DAGS)
def test_every_task_is_retried_later_each_time_and_ends(bag: Parsed, name: str) -> None:
    for task in bag.dags[name].tasks:
        assert task.retries >= 1, f"{task.task_id}: a task killed before its trigger is stored needs a second try"
        assert task.retry_exponential_backoff, task.task_id
        assert task.execution_timeout is not None, f"{task.task_id}: nothing may run for ever"


@pytest.mark.parametrize("name", DAGS)
def test_no_task_renders_a_secret(bag: Parsed, name: str) -> None:
    for task in bag.dags[name].tasks:
        assert not [field for field in task.template_fields if "password" in field or "secret" in field], task.task_id
