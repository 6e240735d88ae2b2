import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import psycopg2
import pytest

from lakehouse.ops import database, listener, records, runs, schema
from lakehouse.ops.explain import KILLED
from lakehouse.ops.lease import Lease, LeaseLost, holder_of

pytestmark = pytest.mark.usefixtures("own_database")
AT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


def context(task_id="publish.shop", run_id="r", try_number=1):
    ti = SimpleNamespace(dag_id="daily_batch", run_id=run_id, task_id=task_id, map_index=-1, try_number=try_number)
    return {"ti": ti}


def task_instance(task_id, *, try_number=1, run_id="r", start=AT, end=None, state="running"):
    return SimpleNamespace(
        dag_id="daily_batch",
        run_id=run_id,
        task_id=task_id,
        map_index=-1,
        try_number=try_number,
        state=state,
        start_date=start,
        end_date=end,
        hostname="h",
        log_url="u",
    )


def test_many_processes_may_make_the_tables_at_once(own_database):
    code = "import sys; from lakehouse.ops.schema import ensure_schema; ensure_schema(sys.argv[1])"
    makers = [subprocess.Popen([sys.executable, "-c", code, own_database]) for _ in range(4)]
    assert [maker.wait(60) for maker in makers] == [0, 0, 0, 0]
    columns = database.run(
        own_database,
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_name = 'dbt_run_history' AND table_schema = current_schema() ORDER BY ordinal_position",
    )
    assert columns == [
        ("run_id", "uuid"),
        ("project_name", "character varying"),
        ("started_at", "timestamp without time zone"),
        ("completed_at", "timestamp without time zone"),
        ("status", "character varying"),
        ("models_run", "integer"),
        ("tests_run", "integer"),
        ("metadata", "jsonb"),
    ]


def test_a_later_fact_of_a_task_takes_the_place_of_the_earlier():
    for count in (1, 2):
        records.record(context(), "rows", [{"stage": "bronze", "dataset": "x", "rows": count}])
    records.record(context("other"), "rows", [{"stage": "bronze", "dataset": "y", "rows": 5}])
    records.record(context(run_id="another"), "rows", [{"stage": "bronze", "dataset": "x", "rows": 9}])
    rows = records.collect("daily_batch", "r")["rows"]
    assert sorted((row["dataset"], row["rows"]) for row in rows) == [("x", 2), ("y", 5)]


def test_an_orphan_does_not_overwrite_what_its_retry_recorded():
    for try_number, count in ((2, 20), (1, 10)):
        rows = [{"stage": "bronze", "dataset": "x", "rows": count}]
        records.record(context(run_id="orphan", try_number=try_number), "rows", rows)
    assert [row["rows"] for row in records.collect("daily_batch", "orphan")["rows"]] == [20]


def test_after_a_rerun_that_failed_earlier_figures_of_the_run_are_gone():
    """A green run; marts are cleared with what comes after them, and fail without having counted anything."""
    run, mart, checks, charts = "rerun", "marts.fct_orders", "quality.dbt_tests", "dashboards.warm_up"
    records.record(context(mart, run), "rows", [{"stage": "mart", "dataset": "fct_orders", "rows": 5}])
    records.record(context(checks, run), "tests", {"passed": 9, "failed": 0, "warned": 0, "failures": []})
    records.record(context(charts, run), "charts", {"warmed": 3, "cached": 3, "seconds": 1.0})
    states = {mart: "success", checks: "success", charts: "success"}
    green = records.collect("daily_batch", run, states)
    assert (green["tests"]["passed"], green["charts"]["cached"], len(green["rows"])) == (9, 3, 1)
    assert records.collect("daily_batch", run) == green

    listener.on_task_instance_running(None, task_instance(mart, run_id=run, try_number=2))
    states = {mart: "failed", checks: "upstream_failed", charts: "upstream_failed"}
    assert records.collect("daily_batch", run, states) == records.merged([])
    assert records.collect("daily_batch", run)["rows"] == []


def test_tries_are_kept_apart_and_the_latest_counts():
    listener.on_task_instance_running(None, task_instance("a.one"))
    listener.on_task_instance_failed(None, task_instance("a.one", state="failed"), ValueError("first"))
    listener.on_task_instance_running(None, task_instance("a.one", try_number=2))
    listener.on_task_instance_success(None, task_instance("a.one", try_number=2, end=AT + timedelta(seconds=9)))
    (row,) = [row for row in runs.tasks("daily_batch", "r") if row["task_id"] == "a.one"]
    assert (row["try_number"], row["state"], row["error"]) == (2, "success", None)
    assert (row["ended_at"] - row["started_at"]).total_seconds() == 9


def test_a_deferred_task_began_when_it_began_first():
    listener.on_task_instance_running(None, task_instance("b.one"))
    listener.on_task_instance_running(None, task_instance("b.one", start=AT + timedelta(seconds=60)))
    (row,) = [row for row in runs.tasks("daily_batch", "r") if row["task_id"] == "b.one"]
    assert row["started_at"] == AT


def test_a_run_that_ended_leaves_no_task_open():
    listener.on_task_instance_running(None, task_instance("c.one", run_id="killed"))
    run = SimpleNamespace(
        dag_id="daily_batch", run_id="killed", conf=None, start_date=AT, end_date=AT, logical_date=AT, run_after=AT
    )
    listener.on_dag_run_failed(run, "")
    (row,) = runs.tasks("daily_batch", "killed")
    assert (row["state"], row["error"], row["remedy"]) == ("killed", *KILLED)
    kept = runs.run_of("daily_batch", "killed")
    assert kept is not None and (kept["state"], kept["batch_date"]) == ("failed", date(2026, 11, 22))


def test_a_run_that_was_deleted_and_made_again_begins_anew():
    """It has the name and not the tries of the other; a run that is cleared goes on counting."""
    run = SimpleNamespace(
        dag_id="daily_batch", run_id="anew", conf=None, start_date=AT, end_date=None, logical_date=AT, run_after=AT,
        clear_number=0,
    )  # fmt: skip
    first, third = (context("a.one", "anew", try_number=number) for number in (1, 3))
    listener.on_task_instance_running(None, task_instance("a.one", try_number=3, run_id="anew"))
    records.record(third, "rows", [{"stage": "bronze", "dataset": "x", "rows": 3}])
    with Lease("lakehouse_db", "anew", holder=holder_of(third)):
        pass
    run.clear_number = 1
    listener.on_dag_run_running(run, "")
    assert records.collect("daily_batch", "anew")["rows"] and runs.tasks("daily_batch", "anew")
    with pytest.raises(LeaseLost), Lease("lakehouse_db", "anew", holder=holder_of(first)):
        pass

    run.clear_number = 0
    listener.on_dag_run_running(run, "")
    assert records.collect("daily_batch", "anew")["rows"] == [] and runs.tasks("daily_batch", "anew") == []
    records.record(first, "rows", [{"stage": "bronze", "dataset": "x", "rows": 1}])
    assert [row["rows"] for row in records.collect("daily_batch", "anew")["rows"]] == [1]
    with Lease("lakehouse_db", "anew", holder=holder_of(first)) as lease:
        lease.check()


def test_a_summary_is_kept_beside_what_the_scheduler_tells():
    runs.keep_summary("daily_batch", "s", date(2026, 11, 22), "success", {"rows": []})
    runs.keep_run("daily_batch", "s", None, "success", AT, AT)
    assert records.summary("daily_batch", "s") == {"rows": []}
    kept = runs.run_of("daily_batch", "s")
    assert kept is not None and (kept["batch_date"], kept["started_at"]) == (date(2026, 11, 22), AT)
    assert runs.newest_runs(["daily_batch"])[0]["dag_id"] == "daily_batch"


def test_a_deadline_is_missed_once():
    for _ in range(2):
        runs.keep_missed_deadline("daily_batch", "s", "done by 04:45 UTC")
    assert runs.missed_deadlines("daily_batch", "s") == ["done by 04:45 UTC"]


def test_statements_end_by_themselves(own_database):
    connection = database.connect(own_database)
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("30s",)
    connection.close()


def test_a_database_that_is_away_is_told(monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_DB_URL", "postgresql://x:hidden-word@127.0.0.1:1/none")
    with pytest.raises(psycopg2.OperationalError) as error:
        records.collect("d", "r")
    assert "hidden-word" not in str(error.value)
    assert schema.VERSION > 0
