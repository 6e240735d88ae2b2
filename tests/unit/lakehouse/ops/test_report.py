from datetime import UTC, datetime
from types import SimpleNamespace

import psycopg2
import pytest

from lakehouse.ops import records, runs
from lakehouse.ops.report import GroupsFailed, ReportOperator

GROUPS = (
    "extract",
    "publish",
    "catalog",
    "staging",
    "intermediate",
    "marts",
    "quality",
    "reflections",
    "release",
    "dashboards",
)
AT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


def context(**states):
    """The context of a report task whose run has one task per group."""
    known = {f"{group}.task": states.get(group, "success") for group in GROUPS} | {"report.report": "running"}
    ti = SimpleNamespace(
        dag_id="daily_batch",
        run_id="r",
        task_id="report.report",
        map_index=-1,
        get_task_states=lambda dag_id, run_ids: {"r": known},
    )
    return {"ti": ti, "logical_date": AT, "params": {}}


@pytest.fixture
def kept(monkeypatch):
    summaries = []
    monkeypatch.setattr(runs, "tasks", lambda dag_id, run_id: [])
    monkeypatch.setattr(runs, "missed_deadlines", lambda dag_id, run_id: [])
    monkeypatch.setattr(records, "collect", lambda dag_id, run_id, states: records.merged([]))
    monkeypatch.setattr(runs, "keep_summary", lambda *values: summaries.append(values))
    return summaries


def test_all_groups_good(kept):
    summary = ReportOperator(task_id="report").execute(context())
    assert summary["state"] == "success"
    assert [row["group"] for row in summary["groups"]] == list(GROUPS)
    assert kept == [("daily_batch", "r", datetime(2026, 11, 22).date(), "success", summary)]


@pytest.mark.parametrize("state", ["failed", "upstream_failed"])
def test_a_group_that_is_not_good_fails_the_run_and_is_kept(kept, state):
    with pytest.raises(GroupsFailed) as error:
        ReportOperator(task_id="report").execute(context(dashboards=state))
    assert error.value.failed == ["dashboards"]
    assert kept[0][3] == "failed"


def test_the_exception_says_what_failed_and_what_to_do(kept, monkeypatch):
    row = {
        "task_id": "publish.task",
        "state": "failed",
        "started_at": AT,
        "ended_at": AT,
        "error": "the bucket is gone",
        "remedy": "Make it again.",
    }
    monkeypatch.setattr(runs, "tasks", lambda dag_id, run_id: [row])
    with pytest.raises(GroupsFailed, match=r"publish failed: publish\.task: the bucket is gone\. Make it again\."):
        ReportOperator(task_id="report").execute(context(publish="failed", catalog="upstream_failed"))


def test_the_run_is_judged_although_the_database_is_away(kept, monkeypatch):
    def away(*_):
        raise psycopg2.OperationalError("no server")

    monkeypatch.setattr(runs, "tasks", away)
    monkeypatch.setattr(runs, "keep_summary", away)
    assert ReportOperator(task_id="report").execute(context())["state"] == "success"
    with pytest.raises(GroupsFailed):
        ReportOperator(task_id="report").execute(context(marts="failed"))


def test_facts_are_taken_in_the_light_of_the_present_states(kept, monkeypatch):
    seen = {}
    monkeypatch.setattr(records, "collect", lambda dag_id, run_id, states: seen.update(states) or records.merged([]))
    with pytest.raises(GroupsFailed):
        ReportOperator(task_id="report").execute(context(marts="failed", quality="upstream_failed"))
    assert (seen["marts.task"], seen["quality.task"]) == ("failed", "upstream_failed")


def test_it_runs_whatever_happened_before():
    assert ReportOperator(task_id="report").trigger_rule == "all_done"
