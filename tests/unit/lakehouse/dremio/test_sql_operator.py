import time
from datetime import timedelta

import httpx
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from lakehouse.dremio import rest
from lakehouse.dremio.exceptions import (
    DremioError,
    DremioJobFailed,
    DremioJobLost,
    DremioTimeout,
    DremioTooManyRows,
    DremioUnreachable,
)
from lakehouse.dremio.operators import sql as module
from lakehouse.dremio.operators.sql import STATE_KEY, DremioSqlOperator, split_statements
from lakehouse.dremio.triggers import DremioJobTrigger


@pytest.fixture
def make(hook, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)

    def build(sql="SELECT 1", **kwargs):
        operator = DremioSqlOperator(task_id="run_sql", sql=sql, **kwargs)
        operator.__dict__["hook"] = hook
        return operator

    return build


def test_runs_statements_in_order_and_returns_the_last_row_count(make, dremio, task_context):
    dremio.on_sql(lambda sql: {"rowCount": 7 if "INSERT" in sql else 1})
    result = make("CREATE TABLE t AS SELECT 1; INSERT INTO t SELECT 2;").execute(task_context)
    assert dremio.statements() == ["CREATE TABLE t AS SELECT 1", "INSERT INTO t SELECT 2"]
    assert result["row_count"] == 7
    assert [done["job_id"] for done in result["statements"]] == ["job-1", "job-2"]


def test_reports_the_reflection_that_answered(make, dremio, task_context):
    relations = [{"datasetId": "d", "reflectionId": "r1", "relationship": "CHOSEN"}]
    dremio.on_sql(lambda sql: {"acceleration": {"reflectionRelationships": relations}})
    assert make().execute(task_context)["statements"][0]["accelerated_by"] == ["r1"]


def test_the_comment_and_the_link_are_there_before_the_job_ends(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "9"})
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"})
    with pytest.raises(TaskDeferred):
        make().execute(task_context)
    assert '"task_id": "run_sql"' in dremio.sent("POST", "/api/v3/sql")[0]["sql"]
    assert task_context["ti"].pushed == {"_link_DremioJobLink": "http://dremio.test:9047/job/9"}


def test_few_rows_are_returned_and_none_by_default(make, dremio, task_context):
    dremio.on_sql(lambda sql: {"rowCount": 2, "rows": [{"id": 1}, {"id": 2}]})
    assert make(return_rows=2).execute(task_context)["rows"] == [{"id": 1}, {"id": 2}]
    assert "rows" not in make().execute(task_context)


def test_more_rows_than_fit_an_xcom_fail_and_point_to_the_transfer(make, dremio, task_context):
    dremio.on_sql(lambda sql: {"rowCount": 2, "rows": [{"id": 1}, {"id": 2}]})
    with pytest.raises(DremioTooManyRows, match=r"more than return_rows=1 rows.*DremioToMinioOperator"):
        make(return_rows=1).execute(task_context)


def test_a_long_job_is_deferred_and_picked_up(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "9"})
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"}, {"jobState": "COMPLETED", "rowCount": 4})
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(task_context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, DremioJobTrigger) and trigger.job_id == "9"
    event = {"job_id": "9", "reason": "ended", "detail": "COMPLETED", "state": trigger.state}
    result = make().resume(task_context, event)
    assert result["row_count"] == 4
    assert len(dremio.sent("POST", "/api/v3/sql")) == 1


@pytest.mark.parametrize("event", [None, "done", {"job_id": "8", "reason": "ended"}])
def test_an_unknown_event_is_refused(make, task_context, event):
    with pytest.raises(DremioError, match="run_sql was woken by an unknown event"):
        make().resume(task_context, event)


def test_a_retry_adopts_the_job_of_a_dead_worker(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "9"})
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"}, {"jobState": "COMPLETED"})
    with pytest.raises(TaskDeferred):  # the first try leaves its mark in the store, then its worker dies
        make().execute(task_context)
    assert make().execute(task_context)["statements"][0]["job_id"] == "9"
    assert len(dremio.sent("POST", "/api/v3/sql")) == 1


def test_a_retry_goes_on_after_the_statements_that_completed(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "1"}, {"id": "2"})
    dremio.on("GET", "/api/v3/job/1", {"jobState": "COMPLETED"})
    dremio.on("GET", "/api/v3/job/2", {"jobState": "RUNNING"}, {"jobState": "COMPLETED"})
    with pytest.raises(TaskDeferred):
        make(["INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)"]).execute(task_context)
    make(["INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)"]).execute(task_context)
    assert dremio.statements() == ["INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)"]


def test_a_changed_statement_is_not_mistaken_for_the_stored_one(make, dremio, task_context):
    task_context["task_state_store"].set(STATE_KEY, {"fingerprint": "of something else", "job_id": "9"})
    dremio.on_sql(lambda sql: {})
    make().execute(task_context)
    assert dremio.statements() == ["SELECT 1"]


def test_a_retry_after_a_failed_job_starts_again(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "9"}, {"id": "10"})
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"}, {"jobState": "FAILED"})
    dremio.on("GET", "/api/v3/job/10", {"jobState": "COMPLETED"})
    with pytest.raises(TaskDeferred):
        make().execute(task_context)
    assert make().execute(task_context)["statements"][0]["job_id"] == "10"


def test_success_and_failure_leave_nothing_in_the_store(make, dremio, task_context):
    dremio.on_sql(lambda sql: {})
    make().execute(task_context)
    assert task_context["task_state_store"] == {}
    dremio.on_sql(lambda sql: {"jobState": "FAILED", "errorMessage": "no such table"})
    with pytest.raises(DremioJobFailed, match="no such table"):
        make().execute(task_context)
    assert task_context["task_state_store"] == {}


def test_a_failed_statement_stops_the_rest(make, dremio, task_context):
    dremio.on_sql(lambda sql: {"jobState": "FAILED"} if "bad" in sql else {})
    with pytest.raises(DremioJobFailed):
        make(["SELECT bad", "SELECT good"]).execute(task_context)
    assert dremio.statements() == ["SELECT bad"]


def test_a_lost_job_is_sent_again_only_when_declared_idempotent(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "9"}, {"id": "10"})
    dremio.on("GET", "/api/v3/job/10", {"jobState": "COMPLETED"})
    with pytest.raises(DremioJobLost):
        make().execute(task_context)
    dremio.on("POST", "/api/v3/sql", {"id": "9"}, {"id": "10"})
    assert make(idempotent=True).execute(task_context)["statements"][0]["job_id"] == "10"


def test_a_submission_without_an_answer_fails_without_a_retry(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", httpx.ReadTimeout("slow"))
    with pytest.raises(AirflowFailException, match="Outcome unknown"):
        make().execute(task_context)
    assert len(dremio.sent("POST", "/api/v3/sql")) == 1


LISTING = "/apiv2/jobs-listing/v1.0"


def test_a_submission_without_an_answer_is_found_by_its_comment(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", httpx.ReadTimeout("slow"))
    dremio.on(
        "GET", LISTING, {"jobs": []}, {"jobs": [{"id": "9", "state": "RUNNING"}]}
    )  # it comes into the list a moment later
    dremio.on("GET", "/api/v3/job/9", {"jobState": "COMPLETED"})
    assert make().execute(task_context)["statements"][0]["job_id"] == "9"
    assert len(dremio.sent("POST", "/api/v3/sql")) == 1


def test_one_that_is_not_in_the_list_fails_as_unknown(make, dremio, task_context, monkeypatch):
    monkeypatch.setattr(module, "LOOKED_UP", 0.0)
    dremio.on("POST", "/api/v3/sql", httpx.ReadTimeout("slow"))
    dremio.on("GET", LISTING, {"jobs": []})
    with pytest.raises(AirflowFailException, match="Outcome unknown"):
        make().execute(task_context)


@pytest.mark.parametrize(
    ("listed", "idempotent", "sent"),
    [([{"id": "9", "state": "RUNNING"}], False, 1), ([], False, 2), (None, True, 2)],
    ids=["it had arrived", "it had not", "there is no list, and it may be repeated"],
)
def test_a_try_that_died_before_the_answer_is_looked_up(make, dremio, task_context, listed, idempotent, sent):
    dremio.on("POST", "/api/v3/sql", KeyboardInterrupt(), {"id": "10"})
    with pytest.raises(KeyboardInterrupt):
        make(idempotent=idempotent).execute(task_context)
    if listed is not None:
        dremio.on("GET", LISTING, {"jobs": listed})
    for job_id in ("9", "10"):
        dremio.on("GET", f"/api/v3/job/{job_id}", {"jobState": "COMPLETED"})
    result = make(idempotent=idempotent).execute(task_context)
    assert result["statements"][0]["job_id"] == ("9" if listed else "10")
    assert len(dremio.sent("POST", "/api/v3/sql")) == sent and task_context["task_state_store"] == {}


def test_without_a_list_a_try_that_died_before_the_answer_is_unknown(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        make().execute(task_context)
    with pytest.raises(AirflowFailException, match="an earlier try ended before it came"):
        make().execute(task_context)
    assert len(dremio.sent("POST", "/api/v3/sql")) == 1


def test_a_server_that_goes_away_leaves_the_job_to_the_retry(make, dremio, task_context, monkeypatch):
    monkeypatch.setattr(rest, "MAX_ATTEMPTS", 1)
    dremio.on("POST", "/api/v3/sql", {"id": "9"})
    dremio.on("GET", "/api/v3/job/9", httpx.ConnectError("refused"), {"jobState": "COMPLETED"})
    with pytest.raises(DremioUnreachable):
        make().execute(task_context)
    assert make().execute(task_context)["statements"][0]["job_id"] == "9"
    assert len(dremio.sent("POST", "/api/v3/sql")) == 1


def test_the_timeout_cancels_the_job(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "9"})
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"})
    dremio.on("POST", "/api/v3/job/9/cancel", None)
    with pytest.raises(DremioTimeout, match=r"still RUNNING after 0\.05 s"):
        make(timeout=0.05, deferrable=False).execute(task_context)
    assert dremio.sent("POST", "/api/v3/job/9/cancel") == [None]


def test_the_tasks_own_limit_holds_while_it_is_deferred(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "9"})
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"})
    with pytest.raises(TaskDeferred) as deferred:
        make(execution_timeout=timedelta(minutes=10)).execute(task_context)
    assert 590 < deferred.value.trigger.deadline - time.time() <= 600


def test_a_kill_cancels_the_running_job(make, dremio, task_context):
    dremio.on("POST", "/api/v3/sql", {"id": "9"})
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"})
    dremio.on("POST", "/api/v3/job/9/cancel", None)
    operator = make()
    with pytest.raises(TaskDeferred):
        operator.execute(task_context)
    operator.on_kill()
    assert dremio.sent("POST", "/api/v3/job/9/cancel") == [None]


def test_an_empty_text_is_refused(make, task_context):
    with pytest.raises(ValueError, match="run_sql: `sql` holds no statement"):
        make("-- nothing here\n;").execute(task_context)


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        pytest.param("SELECT 1;\nSELECT ';'", ["SELECT 1", "SELECT ';'"], id="semicolon-in-a-literal"),
        pytest.param("/* why */ SELECT 1;", ["/* why */ SELECT 1"], id="comment-kept"),
        pytest.param(["SELECT 1", "SELECT 2; SELECT 3"], ["SELECT 1", "SELECT 2", "SELECT 3"], id="list"),
    ],
)
def test_statements_are_split(text, statements):
    assert split_statements(text) == statements


def test_files_are_templates_too(tmp_path):
    (tmp_path / "build.sql").write_text("SELECT {{ params.day }}")
    with DAG("d", schedule=None, template_searchpath=str(tmp_path)):
        operator = DremioSqlOperator(task_id="x", sql=["build.sql", "SELECT '{{ params.day }}'"])
    operator.resolve_template_files()
    operator.render_template_fields({"params": {"day": 7}})
    assert operator.sql == ["SELECT 7", "SELECT '7'"]
