import pytest

from lakehouse.ops import deadlines, runs

PROMISE = "released by 04:45 UTC"


@pytest.fixture
def kept(monkeypatch):
    promises = []
    monkeypatch.setattr(runs, "keep_missed_deadline", lambda dag_id, run_id, promise: promises.append(promise))
    return promises


def run(**more):
    """A run for 11-22 as Airflow gives it to a callback."""
    due = "2026-11-23T01:00:00Z"
    return {"dag_id": "d", "dag_run_id": "r", "run_type": "scheduled", "run_after": due, "queued_at": due} | more


def test_a_scheduled_run_that_was_slow_has_missed_its_deadline(kept):
    deadlines.missed(PROMISE, 225, {"dag_run": run(queued_at="2026-11-23T04:44:00Z")})
    assert kept == [PROMISE]


@pytest.mark.parametrize("kind", ["backfill", "manual", "asset_triggered"])
def test_a_run_that_the_schedule_did_not_make_has_none(kept, kind):
    deadlines.missed(PROMISE, 225, {"dag_run": run(run_type=kind, queued_at="2026-11-25T12:00:00Z")})
    assert kept == []


def test_a_scheduled_run_that_was_created_too_late_says_so(kept):
    deadlines.missed(PROMISE, 225, {"dag_run": run(queued_at="2026-11-23T14:02:09.5Z")})
    assert kept == [f"{PROMISE}: it started late, the run was created at 2026-11-23 14:02 UTC"]
