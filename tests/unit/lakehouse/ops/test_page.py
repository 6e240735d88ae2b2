"""Who sees what on the pages about runs; Airflow's auth manager and database are stood in for."""

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.api_fastapi.common.db.common import _get_session
from airflow.api_fastapi.core_api import security
from fastapi.testclient import TestClient

from lakehouse.ops import page, records, runs

AT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
RUN = {
    "dag_id": "daily_batch",
    "run_id": "r1",
    "batch_date": date(2026, 11, 22),
    "state": "failed",
    "started_at": AT,
    "ended_at": AT,
    "summary": {"groups": [{"group": "marts", "state": "failed", "error": "it broke", "remedy": "Mend it."}]},
}


class Readers:
    """An auth manager that lets a user read the runs of the DAGs that it is made with."""

    def __init__(self, *dag_ids):
        self.dag_ids = dag_ids

    def is_authorized_dag(self, *, method, user, access_entity, details):
        assert (method, str(access_entity)) == ("GET", str(page.DagAccessEntity.RUN))
        return details.id in self.dag_ids


@pytest.fixture
def visit(monkeypatch):
    """visit(address, auth_manager, {task: state}) is the text of a page."""

    def go(address, auth_manager, states=()):
        session = SimpleNamespace(execute=lambda _: list(dict(states).items()))
        for module in (page, security):
            monkeypatch.setattr(module, "get_auth_manager", lambda: auth_manager)
            monkeypatch.setattr(module.DagModel, "get_team_name", lambda _: None)
        page.app.dependency_overrides = {security.get_user: lambda: "ana", _get_session: lambda: session}
        answer = TestClient(page.app).get(address)
        return answer.text if answer.status_code == 200 else str(answer.status_code)

    monkeypatch.setattr(runs, "newest_runs", lambda dag_ids: [RUN] if "daily_batch" in dag_ids else [])
    monkeypatch.setattr(runs, "run_of", lambda *_: RUN)
    monkeypatch.setattr(runs, "tasks", lambda *_: [])
    monkeypatch.setattr(runs, "missed_deadlines", lambda *_: [])
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(Path(__file__).resolve().parents[4] / "include"))
    yield go
    page.app.dependency_overrides = {}


def test_the_list_shows_only_runs_of_dags_that_the_user_may_read(visit):
    assert "marts failed: it broke" in visit("/", Readers("daily_batch"))
    shown = visit("/", Readers("another"))
    assert "r1" not in shown and "it broke" not in shown
    assert visit("/dag/daily_batch?run_id=r1", Readers("another")) == "403"


def test_a_run_that_is_under_way_again_is_not_shown_with_its_earlier_failure(visit, monkeypatch):
    monkeypatch.setattr(runs, "newest_runs", lambda dag_ids: [RUN | {"state": "running"}])
    shown = visit("/", Readers("daily_batch"))
    assert "running" in shown and "it broke" not in shown


def test_a_run_is_shown_as_airflow_knows_it_now(visit, monkeypatch):
    """Quality was green in an earlier try and was cleared: neither its state nor its figures are shown as good."""
    states = {"marts.fct_orders": "failed", "quality.dbt_tests": "upstream_failed"}
    given = []
    monkeypatch.setattr(records, "collect", lambda *values: given.append(values[2]) or records.merged([]))
    row = {"task_id": "quality.dbt_tests", "state": "success", "started_at": AT, "ended_at": AT, "error": None}
    monkeypatch.setattr(runs, "tasks", lambda *_: [row])
    shown = visit("/dag/daily_batch?run_id=r1", Readers("daily_batch"), states)
    assert given == [states]
    assert 'class="state success"' not in shown and "not run" in shown


def test_the_rows_of_a_run_say_what_they_count(visit, monkeypatch):
    counts = [{"stage": "source", "dataset": "shop.orders", "rows": 0}, {"stage": "mart", "dataset": "o", "rows": 7}]
    monkeypatch.setattr(records, "collect", lambda *_: records.merged([("rows", counts)]))
    shown = visit("/dag/daily_batch?run_id=r1", Readers("daily_batch"))
    assert "source, read by this run" in shown and "mart, in all" in shown
    assert "No new rows in the sources for this batch." in shown
