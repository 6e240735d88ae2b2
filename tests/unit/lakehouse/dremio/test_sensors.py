import asyncio
import time
from datetime import UTC, date, datetime, timedelta, timezone

import httpx
import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from lakehouse.dremio import looks, rest, triggers
from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.exceptions import (
    DremioError,
    DremioJobCanceled,
    DremioJobFailed,
    DremioJobLost,
    DremioUnreachable,
)
from lakehouse.dremio.looks import JobDone, ReflectionsAvailable, TableFresh, dump, parse
from lakehouse.dremio.quoting import literal
from lakehouse.dremio.sensors import DremioJobSensor, DremioReflectionSensor, DremioTableSensor
from lakehouse.dremio.triggers import DremioWatchTrigger
from lakehouse.ops import waiting as module

TABLE = "/api/v3/catalog/by-path/lake/orders"
DATASET = {"id": "d1", "entityType": "dataset", "type": "PHYSICAL_DATASET"}
FETCHED = "2026-11-24T02:00:00.000Z"


@pytest.fixture
def make(hook, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)
    monkeypatch.setattr(looks, "FIRST_PAUSE", 0.0)

    def build(kind, **kwargs):
        operator = kind(task_id="wait", **kwargs)
        operator.__dict__["hook"] = hook
        return operator

    return build


@pytest.fixture
def trigger_session(dremio, connection, monkeypatch):
    async def open_session(conn_id):
        settings = DremioSettings.from_connection(connection)
        return rest.AsyncRestSession(settings, transport=httpx.MockTransport(dremio))

    monkeypatch.setattr(triggers, "open_session", open_session)
    monkeypatch.setattr(triggers, "POLL_SECONDS", 0.0)


def rows(newest=None, found=None):
    row = {key: value for key, value in (("newest", newest), ("found", found)) if value is not None}
    return lambda sql: {"rows": [row]}


def reflection(name="agg", *, enabled=True, **status):
    status = {"refresh": "SCHEDULED", "availability": "AVAILABLE", "lastDataFetch": FETCHED} | status
    return {"id": f"r-{name}", "name": name, "enabled": enabled, "status": status}


# --- a job ---------------------------------------------------------------------------------------


def test_a_job_that_has_completed_is_seen_at_once(make, dremio, task_context):
    dremio.on("GET", "/api/v3/job/9", {"jobState": "COMPLETED", "rowCount": 4})
    found = make(DremioJobSensor, job_id="9").execute(task_context)
    assert found == {"job_id": "9", "state": "COMPLETED", "row_count": 4}


def test_a_running_job_is_waited_for_in_the_triggerer(make, dremio, task_context):
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"})
    with pytest.raises(TaskDeferred) as deferred:
        make(DremioJobSensor, job_id="9", timeout=60).execute(task_context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, DremioWatchTrigger) and deferred.value.method_name == "resume"
    assert 50 < trigger.deadline - time.time() <= 60
    path, arguments = trigger.serialize()
    assert path == "lakehouse.dremio.triggers.DremioWatchTrigger"
    assert arguments == {
        "dremio_conn_id": "dremio_default",
        "watch": {"kind": "job", "job_id": "9"},
        "deadline": trigger.deadline,
        "poke_interval": 1.0,
        "seen": "job 9 is RUNNING",
    }


def test_the_worker_looks_for_some_seconds_before_it_defers(make, dremio, task_context, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 5.0)
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"}, {"jobState": "COMPLETED"})
    assert make(DremioJobSensor, job_id="9", poke_interval=0.01).execute(task_context)["state"] == "COMPLETED"


@pytest.mark.parametrize(
    ("state", "error"),
    [pytest.param("FAILED", DremioJobFailed, id="failed"), pytest.param("CANCELED", DremioJobCanceled, id="cancelled")],
)
def test_a_job_that_went_wrong_fails_the_task_with_dremios_text(make, dremio, task_context, state, error):
    dremio.on("GET", "/api/v3/job/9", {"jobState": state, "errorMessage": "no such column"})
    with pytest.raises(error, match="no such column"):
        make(DremioJobSensor, job_id="9").execute(task_context)


def test_an_unknown_job_fails_the_task(make, task_context):
    with pytest.raises(DremioJobLost, match="Dremio job 9 is not known to the server"):
        make(DremioJobSensor, job_id="9").execute(task_context)


def test_an_empty_job_id_is_refused(make, task_context):
    with pytest.raises(ValueError, match="wait: `job_id` is empty"):
        make(DremioJobSensor, job_id="").execute(task_context)


def test_it_works_in_the_worker_alone_and_by_rescheduling(make, dremio, task_context):
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"}, {"jobState": "COMPLETED", "rowCount": 1})
    sensor = make(DremioJobSensor, job_id="9", deferrable=False, poke_interval=0.01)
    assert sensor.execute(task_context)["row_count"] == 1


# --- a table or a partition ----------------------------------------------------------------------


def test_a_table_with_rows_is_fresh(make, dremio, task_context):
    dremio.on("GET", TABLE, DATASET)
    dremio.on_sql(rows(found=3))
    assert make(DremioTableSensor, table="lake.orders").execute(task_context) == {"table": "lake.orders", "rows": 3}
    assert dremio.statements() == ['SELECT COUNT(*) AS found FROM "lake"."orders"']
    assert '"task_id": "run_sql"' in dremio.sent("POST", "/api/v3/sql")[0]["sql"]


def test_one_partition_is_looked_at(make, dremio, task_context):
    dremio.on("GET", TABLE, DATASET)
    dremio.on_sql(rows(found=0))
    sensor = make(DremioTableSensor, table="lake.orders", partition={"date": date(2026, 11, 24), "n": 2, "x": "a'b"})
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(task_context)
    where = """WHERE "date" = '2026-11-24' AND "n" = 2 AND "x" = 'a''b'"""
    assert dremio.statements() == [f'SELECT COUNT(*) AS found FROM "lake"."orders" {where}']
    assert parse(deferred.value.trigger.watch).sql() == dremio.statements()[0]


@pytest.mark.parametrize("there", [None, {"id": "f", "entityType": "folder"}], ids=["absent", "folder"])
def test_what_is_no_table_yet_is_waited_for(make, dremio, task_context, there):
    if there:
        dremio.on("GET", TABLE, there)
    with pytest.raises(TaskDeferred):
        make(DremioTableSensor, table="lake.orders").execute(task_context)
    assert dremio.statements() == []


@pytest.mark.parametrize(
    ("newest", "fresh"),
    [
        pytest.param("2026-11-24 02:00:00.000", True, id="reached"),
        pytest.param("2026-11-24 01:59:59.999", False, id="not-yet"),
        pytest.param("2026-11-25", True, id="a-date"),
        pytest.param(None, False, id="no-value"),
    ],
)
def test_the_newest_value_must_reach_the_time(make, dremio, task_context, newest, fresh):
    dremio.on("GET", TABLE, DATASET)
    dremio.on_sql(rows(newest, 5))
    sensor = make(DremioTableSensor, table="lake.orders", column="at", newer_than="2026-11-24T04:00:00+02:00")
    if fresh:
        assert sensor.execute(task_context)["rows"] == 5
    else:
        with pytest.raises(TaskDeferred):
            sensor.execute(task_context)
    assert dremio.statements() == ['SELECT MAX("at") AS newest, COUNT(*) AS found FROM "lake"."orders"']


def test_without_a_column_the_newest_snapshot_counts(make, dremio, task_context):
    dremio.on("GET", TABLE, DATASET)
    dremio.on_sql(rows("2026-11-24 02:00:00.000"))
    sensor = make(DremioTableSensor, table="lake.orders", newer_than="2026-11-24")
    assert sensor.execute(task_context) == {
        "table": "lake.orders",
        "rows": None,
        "newest": "2026-11-24T02:00:00+00:00",
    }
    (sql,) = dremio.statements()
    assert sql == """SELECT MAX(committed_at) AS newest FROM TABLE(table_snapshot('"lake"."orders"'))"""


@pytest.mark.parametrize(("age", "fresh"), [(30, True), (300, False)])
def test_the_age_is_of_the_moment_of_the_look(make, dremio, task_context, age, fresh):
    dremio.on("GET", TABLE, DATASET)
    newest = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%d %H:%M:%S.000")
    dremio.on_sql(rows(newest, 1))
    sensor = make(DremioTableSensor, table="lake.orders", column="at", max_age=60)
    if fresh:
        assert sensor.execute(task_context)["rows"] == 1
    else:
        with pytest.raises(TaskDeferred):
            sensor.execute(task_context)


def test_metadata_is_refreshed_before_the_look_when_asked_to(make, dremio, task_context):
    dremio.on("GET", TABLE, DATASET)
    dremio.on_sql(rows(found=1))
    make(DremioTableSensor, table="lake.orders", refresh_metadata=True).execute(task_context)
    assert dremio.statements()[0] == 'ALTER TABLE "lake"."orders" REFRESH METADATA'


def test_a_column_that_is_no_time_is_named(make, dremio, task_context):
    dremio.on("GET", TABLE, DATASET)
    dremio.on_sql(rows("abc", 1))
    with pytest.raises(DremioError, match=r"the newest at of lake\.orders is 'abc', which is no time"):
        make(DremioTableSensor, table="lake.orders", column="at", max_age=60).execute(task_context)


def test_a_query_that_fails_fails_the_task(make, dremio, task_context):
    dremio.on("GET", TABLE, DATASET)
    dremio.on_sql(lambda sql: {"jobState": "FAILED", "errorMessage": "column [at] not found"})
    with pytest.raises(DremioJobFailed, match=r"column \[at\] not found"):
        make(DremioTableSensor, table="lake.orders", column="at", max_age=60).execute(task_context)


def test_a_look_that_takes_too_long_is_cancelled_and_left_to_the_trigger(make, dremio, task_context):
    dremio.on("GET", TABLE, DATASET)
    dremio.on("POST", "/api/v3/sql", {"id": "7"})
    dremio.on("GET", "/api/v3/job/7", {"jobState": "RUNNING"})
    dremio.on("POST", "/api/v3/job/7/cancel", None)
    with pytest.raises(TaskDeferred):
        make(DremioTableSensor, table="lake.orders").execute(task_context)
    assert dremio.sent("POST", "/api/v3/job/7/cancel") == [None]


def test_a_kill_cancels_the_looks_query_and_nothing_else(make, dremio, task_context, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 5.0)
    dremio.on("GET", TABLE, DATASET)
    dremio.on("POST", "/api/v3/sql", {"id": "7"})
    dremio.on("POST", "/api/v3/job/7/cancel", None)
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"})
    sensor = make(DremioTableSensor, table="lake.orders")

    def killed(request):
        sensor.on_kill()
        return {"jobState": "CANCELED"}

    dremio.on("GET", "/api/v3/job/7", killed)
    with pytest.raises(DremioJobCanceled):
        sensor.execute(task_context)
    assert dremio.sent("POST", "/api/v3/job/7/cancel") == [None]
    sensor.on_kill()
    make(DremioJobSensor, job_id="9").on_kill()
    assert len(dremio.sent("POST", "/api/v3/job/7/cancel")) == 1 and not dremio.sent("POST", "/api/v3/job/9/cancel")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"newer_than": "2026-11-24", "max_age": 5}, "give `newer_than` or `max_age`, not both"),
        ({"column": "at"}, "`column` needs `newer_than` or `max_age`"),
        ({"partition": {"a": 1}, "max_age": 5}, "name a `column` for a partition"),
        ({"newer_than": "yesterday"}, "Invalid isoformat string: 'yesterday'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_any_request(make, dremio, task_context, arguments, text):
    with pytest.raises(ValueError, match=text):
        make(DremioTableSensor, table="lake.orders", **arguments).execute(task_context)
    assert dremio.requests == []


# --- reflections ---------------------------------------------------------------------------------


def on_reflections(dremio, *found):
    dremio.on("GET", TABLE, DATASET)
    dremio.on("GET", "/api/v3/dataset/d1/reflection", {"data": list(found)})


def test_a_reflection_that_can_be_used_is_seen(make, dremio, task_context):
    on_reflections(dremio, reflection(), reflection("raw", availability="NONE"))
    found = make(DremioReflectionSensor, dataset="lake.orders", name="agg").execute(task_context)
    assert found == {"dataset": "lake.orders", "reflections": {"agg": "r-agg"}}


@pytest.mark.parametrize(
    ("found", "name"),
    [
        pytest.param([], None, id="none"),
        pytest.param([reflection("other")], "agg", id="another-name"),
        pytest.param([reflection(availability="NONE")], "agg", id="not-built"),
        pytest.param([reflection(), reflection("raw", availability="EXPIRED")], None, id="one-of-all"),
        pytest.param([reflection(lastDataFetch="2026-11-24T00:59:59Z")], "agg", id="older-data"),
        pytest.param([reflection(lastDataFetch=None)], "agg", id="no-data"),
    ],
)
def test_reflections_that_are_not_there_yet_are_waited_for(make, dremio, task_context, found, name):
    on_reflections(dremio, *found)
    with pytest.raises(TaskDeferred):
        make(DremioReflectionSensor, dataset="lake.orders", name=name, newer_than="2026-11-24T01:00Z").execute(
            task_context
        )


def test_reflections_of_a_dataset_that_is_absent_are_waited_for(make, task_context):
    with pytest.raises(TaskDeferred):
        make(DremioReflectionSensor, dataset="lake.orders").execute(task_context)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (reflection(enabled=False), "reflection agg on lake.orders is disabled. Set it to enabled"),
        (reflection(refresh="GIVEN_UP", failureCount=3, lastFailureMessage="disk full"), "given up after 3 failures"),
        (reflection(config="INVALID"), "its definition no longer fits the dataset"),
    ],
)
def test_a_reflection_that_will_never_come_fails_the_task(make, dremio, task_context, found, text):
    on_reflections(dremio, found)
    with pytest.raises(DremioError, match=text):
        make(DremioReflectionSensor, dataset="lake.orders").execute(task_context)


# --- the end of a wait ---------------------------------------------------------------------------


def test_the_event_ends_the_wait(make, task_context):
    event = {"reason": "done", "detail": "job 9 is COMPLETED", "value": {"job_id": "9"}}
    assert make(DremioJobSensor, job_id="9").resume(task_context, event) == {"job_id": "9"}


@pytest.mark.parametrize("soft", [False, True])
def test_time_over_is_a_sensors_timeout_and_a_skip_with_soft_fail(make, task_context, soft):
    event = {"reason": "deadline", "detail": "job 9 is RUNNING", "value": {}}
    sensor = make(DremioJobSensor, job_id="9", timeout=60, soft_fail=soft)
    with pytest.raises(AirflowSkipException if soft else AirflowSensorTimeout) as raised:
        sensor.resume_execution("resume", {"event": event}, task_context)
    assert "last seen: job 9 is RUNNING" in str(raised.value.__cause__ if soft else raised.value)


@pytest.mark.parametrize("soft", [False, True])
def test_time_may_be_over_before_anything_is_deferred(make, dremio, task_context, soft):
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"})
    sensor = make(DremioJobSensor, job_id="9", timeout=0, soft_fail=soft)
    with pytest.raises(AirflowSkipException if soft else AirflowSensorTimeout, match="last seen: job 9 is RUNNING"):
        sensor.execute(task_context)


def test_a_failure_is_not_softened_but_never_fail_skips(make, task_context):
    event = {"reason": "failed", "detail": "given up", "value": {}}
    with pytest.raises(DremioError, match="given up"):
        make(DremioJobSensor, job_id="9", soft_fail=True).resume_execution("resume", {"event": event}, task_context)
    with pytest.raises(AirflowSkipException, match="given up"):
        make(DremioJobSensor, job_id="9", never_fail=True).resume(task_context, event)


def test_silent_fail_goes_on_waiting(make, dremio, task_context):
    with pytest.raises(TaskDeferred):
        make(DremioJobSensor, job_id="9", silent_fail=True).execute(task_context)


def test_a_server_that_stayed_away_is_named(make, task_context):
    event = {"reason": "unreachable", "detail": "refused", "value": {}}
    with pytest.raises(DremioUnreachable, match=r"dremio\.test:9047.*refused"):
        make(DremioJobSensor, job_id="9").resume(task_context, event)


@pytest.mark.parametrize("event", [None, "done", {"reason": "weird"}])
def test_an_unknown_event_is_refused(make, task_context, event):
    with pytest.raises(RuntimeError, match="wait was woken by an unknown event"):
        make(DremioJobSensor, job_id="9").resume(task_context, event)


# --- the trigger ---------------------------------------------------------------------------------


async def event_of(watch, *, seconds=5.0, poke_interval=0.0):
    trigger = DremioWatchTrigger(
        dremio_conn_id="c", watch=dump(watch), deadline=time.time() + seconds, poke_interval=poke_interval
    )
    return (await anext(aiter(trigger.run()))).payload


async def test_the_trigger_fires_when_it_has_come_true(dremio, trigger_session):
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"}, {"jobState": "COMPLETED"})
    event = await event_of(JobDone("9"))
    assert (event["reason"], event["value"]["state"]) == ("done", "COMPLETED")


async def test_the_trigger_runs_the_tables_query(dremio, trigger_session, monkeypatch):
    monkeypatch.setattr(looks, "FIRST_PAUSE", 0.0)
    dremio.on("GET", TABLE, httpx.Response(404, json={"errorMessage": "no"}), DATASET)
    dremio.on_sql(rows(found=2))
    assert (await event_of(TableFresh("lake.orders")))["value"] == {"table": "lake.orders", "rows": 2}


async def test_the_trigger_says_what_will_never_come(dremio, trigger_session):
    on_reflections(dremio, reflection(enabled=False))
    event = await event_of(ReflectionsAvailable("lake.orders"))
    assert event["reason"] == "failed" and "is disabled" in event["detail"]


async def test_the_trigger_survives_a_server_that_restarts(dremio, trigger_session, monkeypatch):
    monkeypatch.setattr(rest, "MAX_ATTEMPTS", 1)
    dremio.on("GET", "/api/v3/job/9", httpx.ConnectError("refused"), {"jobState": "COMPLETED"})
    assert (await event_of(JobDone("9")))["reason"] == "done"
    monkeypatch.setattr(triggers, "UNREACHABLE_SECONDS", -1.0)
    dremio.on("GET", "/api/v3/job/9", httpx.ConnectError("refused"))
    assert (await event_of(JobDone("9")))["reason"] == "unreachable"


async def test_the_triggers_deadline_says_what_was_seen_last(dremio, trigger_session):
    dremio.on("GET", "/api/v3/job/9", {"jobState": "QUEUED"})
    event = await event_of(JobDone("9"), seconds=0.2, poke_interval=0.05)
    assert event == {"reason": "deadline", "detail": "job 9 is QUEUED", "value": {}}


@pytest.mark.parametrize("killed", [False, True], ids=["deadline", "killed"])
async def test_a_look_cut_short_leaves_no_query_behind(dremio, trigger_session, killed):
    dremio.on("GET", TABLE, DATASET)
    dremio.on("POST", "/api/v3/sql", {"id": "7"})
    dremio.on("GET", "/api/v3/job/7", {"jobState": "RUNNING"})
    dremio.on("POST", "/api/v3/job/7/cancel", None)
    if killed:
        task = asyncio.create_task(event_of(TableFresh("lake.orders"), seconds=60))
        while not dremio.sent("GET", "/api/v3/job/7"):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        assert (await event_of(TableFresh("lake.orders"), seconds=0.3))["reason"] == "deadline"
    assert dremio.sent("POST", "/api/v3/job/7/cancel") == [None]


# --- what they share -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        ("it's", "'it''s'"),
        (True, "TRUE"),
        (False, "FALSE"),
        (7, "7"),
        (1.5, "1.5"),
        (date(2026, 11, 24), "DATE '2026-11-24'"),
        (datetime(2026, 11, 24, 3, 4, 5, 6000), "TIMESTAMP '2026-11-24 03:04:05.006'"),
        (datetime(2026, 11, 24, 3, tzinfo=timezone(timedelta(hours=2))), "TIMESTAMP '2026-11-24 01:00:00.000'"),
    ],
)
def test_values_become_literals(value, sql):
    assert literal(value) == sql


def test_a_value_without_a_literal_is_refused():
    with pytest.raises(TypeError, match="has no SQL literal"):
        literal(["a"])
