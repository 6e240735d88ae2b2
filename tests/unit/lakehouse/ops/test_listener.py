import logging
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import psycopg2
import pytest

from lakehouse.minio.exceptions import StoreUnreachable
from lakehouse.ops import deadlines, listener, records, runs

AT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


def task_instance(**more):
    known = {
        "dag_id": "daily_batch",
        "run_id": "r",
        "task_id": "publish.postgres",
        "map_index": -1,
        "try_number": 2,
        "state": "failed",
        "start_date": AT,
        "end_date": None,
        "hostname": "h",
        "log_url": "http://log",
    }
    return SimpleNamespace(**(known | more))


@pytest.fixture
def kept(monkeypatch):
    rows = []
    monkeypatch.setattr(runs, "keep_task", lambda key, state, values: rows.append((key, state, values)))
    monkeypatch.setattr(runs, "keep_run", lambda *values: rows.append(values))
    return rows


def test_a_failure_is_kept_with_what_to_do_and_said_in_the_log(kept, caplog):
    error = StoreUnreachable("minio_default", "http://s3", "key", "refused")
    with caplog.at_level(logging.ERROR):
        listener.on_task_instance_failed(None, task_instance(), error)
    ((key, state, values),) = kept
    assert (key, state) == (("daily_batch", "r", "publish.postgres", -1, 2), "failed")
    assert values["error"] == "object store at http://s3 (access key key): refused"
    assert values["remedy"].startswith("Check that it runs")
    assert values["ended_at"] is not None
    assert "What to do: Check that it runs" in caplog.text


def test_a_failure_that_is_retried_is_no_failure_yet(kept):
    listener.on_task_instance_failed(None, task_instance(state="up_for_retry"), ValueError("x"))
    assert kept[0][1] == "up_for_retry"


def test_a_run_is_kept_with_its_batch(kept):
    run = SimpleNamespace(
        dag_id="daily_batch", run_id="r", conf={"batch_date": "2026-11-01"}, start_date=AT, end_date=AT, run_after=AT
    )
    listener.on_dag_run_success(run, "")
    assert kept == [("daily_batch", "r", datetime(2026, 11, 1).date(), "success", AT, AT)]


def test_nothing_is_raised_when_the_database_is_away(monkeypatch, caplog):
    monkeypatch.setenv("LAKEHOUSE_DB_URL", "postgresql://nobody:hidden-word@/none?host=/no/such/socket")
    listener.on_task_instance_running(None, task_instance())
    listener.on_task_instance_failed(None, task_instance(), None)
    listener.on_dag_run_failed(
        SimpleNamespace(dag_id="d", run_id="r", conf=None, start_date=AT, end_date=AT, run_after=AT), ""
    )
    records.record({"ti": task_instance()}, "rows", [])
    deadlines.missed("done in time", {"dag_run": {"dag_id": "d", "dag_run_id": "r"}})
    assert caplog.text.count("no record of") == 3
    assert "was not kept" in caplog.text
    assert "hidden-word" not in caplog.text


def test_an_event_is_not_held_up_for_longer_than_3_s(monkeypatch, caplog):
    """The scheduler's loop waits for it: connection, statements and a machine that is gone, each has that limit."""
    seen = []

    def connect(url, **options):
        seen.append(options)
        raise psycopg2.OperationalError("away")

    monkeypatch.setattr(psycopg2, "connect", connect)
    monkeypatch.setenv("LAKEHOUSE_DB_URL", "postgresql://u@db.test/lake")
    listener.on_task_instance_running(None, task_instance())
    listener.on_dag_run_success(
        SimpleNamespace(dag_id="d", run_id="r", conf=None, start_date=AT, end_date=AT, run_after=AT), ""
    )
    records.record({"ti": task_instance()}, "rows", [])
    assert ["statement_timeout=3000 " in options["options"] for options in seen] == [True, True, False]
    assert [(options["connect_timeout"], options["tcp_user_timeout"]) for options in seen[:2]] == [(3, 3000)] * 2


@pytest.mark.timeout(60)
def test_a_database_that_takes_connections_and_never_answers(silent_server, monkeypatch, caplog):
    monkeypatch.setenv("LAKEHOUSE_DB_URL", "postgresql://u@{}:{}/lake".format(*silent_server))
    started = time.monotonic()
    listener.on_task_instance_running(None, task_instance())
    assert time.monotonic() - started < 8
    assert "no record of running" in caplog.text
