from datetime import timedelta

import httpx
import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from lakehouse.airbyte.exceptions import AirbyteError, NothingRead, SyncFailed, SyncTimeout, UnknownName
from lakehouse.airbyte.operators import AirbyteSyncOperator
from lakehouse.airbyte.trigger import AirbyteJobTrigger

from .conftest import POSTGRES

pytestmark = pytest.mark.usefixtures("reach")


def sync(**options):
    return AirbyteSyncOperator(task_id="postgres", **({"connection": "postgres"} | options))


def test_a_short_sync_ends_in_the_worker(airbyte, context):
    airbyte.states = ["queued", "running", "incomplete", "running", "succeeded"]
    stats = {"recordsCommitted": 4}
    attempt = {"attempt": {"streamStats": [{"streamName": "orders", "stats": stats}]}}
    airbyte.details = {"attempts": [attempt, attempt]}
    airbyte.catalog = {
        "streams": [
            {"stream": {"name": "orders", "jsonSchema": {"properties": {"id": {"type": ["null", "integer"]}}}}},
            {
                "stream": {
                    "name": "empty",
                    "jsonSchema": {
                        "properties": {
                            "at": {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
                            "day": {"type": ["string", "null"], "format": "date"},
                            "big": {"type": "number", "airbyte_type": "integer"},
                            "mixed": {"type": ["string", "integer"]},
                        }
                    },
                }
            },
        ]
    }
    assert sync().execute(context) == {
        "job_id": 1,
        "connection_id": POSTGRES,
        "rows": 7,
        "bytes": 70,
        "seconds": 62,
        "streams": {"orders": 8, "empty": 0},
        "columns": {
            "orders": {"id": "integer"},
            "empty": {"at": "timestamp", "day": "date", "big": "integer", "mixed": "string"},
        },
    }
    ((kind, rows),) = context["ti"].facts
    assert kind == "rows" and {"stage": "source", "dataset": "postgres.orders", "rows": 8} in rows
    assert context["ti"].xcoms["airbyte_connection_page"].endswith(f"/workspaces/w1/connections/{POSTGRES}/timeline")
    assert not context["task_state_store"]  # cleared, the task starts anew


def test_a_longer_one_is_waited_for_in_the_triggerer(airbyte, context, clock):
    airbyte.states = ["running"]
    begun = clock.seconds
    with pytest.raises(TaskDeferred) as deferred:
        sync(timeout=timedelta(minutes=10)).execute(context)
    assert 5 <= clock.seconds - begun < 6
    assert deferred.value.method_name == "execute_complete"
    assert deferred.value.trigger.serialize() == (
        "lakehouse.airbyte.trigger.AirbyteJobTrigger",
        {
            "airbyte_conn_id": "airbyte_default",
            "job_id": 1,
            "started_at": begun,
            "end_at": begun + 600,
            "owned": True,
            "patience": 300.0,
        },
    )


def test_without_deferring_it_waits_in_the_worker(airbyte, context, clock):
    airbyte.states = ["running"] * 20 + ["succeeded"]
    assert sync(deferrable=False).execute(context)["rows"] == 7


def test_a_sync_that_runs_already_is_taken_over(airbyte, context):
    airbyte.busy = 42
    assert sync().execute(context)["job_id"] == 42


def test_a_retried_task_finds_the_job_of_the_try_that_died(airbyte, context):
    airbyte.states = ["running"]
    with pytest.raises(TaskDeferred):
        sync().execute(context)
    airbyte.states = ["running", "succeeded"]
    assert sync().execute(context)["job_id"] == 1
    assert len(airbyte.sent("POST", "/jobs")) == 1


def test_a_retried_task_does_not_take_up_a_job_that_failed(airbyte, context):
    context["task_state_store"].set("airbyte_job", {"job_id": 9, "owned": True, "started_at": 0})
    airbyte.states = ["failed", "succeeded"]
    assert sync().execute(context)["job_id"] == 1


def test_a_job_that_airbyte_has_forgotten_is_started_anew(airbyte, context):
    context["task_state_store"].set("airbyte_job", {"job_id": 9, "owned": True, "started_at": 0})
    airbyte.troubles[("GET", "/jobs/9")] = [httpx.Response(404)]
    assert sync().execute(context)["job_id"] == 1


def test_an_answer_that_was_lost_does_not_start_a_second_sync(airbyte, context):
    def lost(request):
        airbyte.busy = 5  # it did start

    class Lost(httpx.ReadTimeout):
        def __init__(self):
            super().__init__("no answer")
            lost(None)

    airbyte.troubles[("POST", "/jobs")] = [Lost()]
    assert sync().execute(context)["job_id"] == 5


def test_a_failure_tells_airbytes_reason(airbyte, context):
    airbyte.states = ["failed"]
    failure = {
        "failureOrigin": "source",
        "externalMessage": 'relation "orders"\ndoes not exist',
        "internalMessage": "x",
    }
    airbyte.details = {"attempts": [{"attempt": {"failureSummary": {"failures": [failure]}}}]}
    with pytest.raises(
        SyncFailed, match=r'postgres \(job 1\) failed: relation "orders" does not exist \(from the source\)'
    ):
        sync().execute(context)
    assert not context["task_state_store"]  # the retry starts a new job


def test_a_failure_that_only_a_repair_helps_is_not_retried(airbyte, context):
    airbyte.states = ["failed"]
    failure = {"failureType": "config_error", "failureOrigin": "source", "externalMessage": "table orders is gone"}
    airbyte.details = {"attempts": [{"attempt": {"failureSummary": {"failures": [failure]}}}]}
    with pytest.raises(AirflowFailException, match="table orders is gone"):
        sync().execute(context)


def test_a_sync_that_takes_too_long_is_cancelled(airbyte, context):
    airbyte.states = ["running"]
    with pytest.raises(SyncTimeout, match="did not end within 3 s"):
        sync(timeout=timedelta(seconds=3)).execute(context)
    assert airbyte.sent("DELETE", "/jobs/1") == [None]


def test_a_timeout_is_not_retried(airbyte, context):
    airbyte.states = ["running"]
    with pytest.raises(AirflowFailException, match="was cancelled"):
        sync(timeout=timedelta(seconds=3)).execute(context)


def test_a_job_that_somebody_else_started_goes_on_after_the_timeout(airbyte, context):
    airbyte.busy, airbyte.states = 42, ["running"]
    with pytest.raises(SyncTimeout, match="goes on, for it was not started by this task"):
        sync(timeout=timedelta(seconds=3)).execute(context)
    with pytest.raises(TaskDeferred):
        sync(timeout=timedelta(minutes=10)).execute(context)
    with pytest.raises(SyncTimeout, match="goes on"):  # after the deferral, in another process
        sync().execute_complete(context, {"outcome": "timeout", "job_id": 42, "status": "running"})
    assert airbyte.sent("DELETE", "/jobs/42") == []


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_running_sync_that_began_too_early_is_waited_for_and_followed_by_another(airbyte, context, end):
    airbyte.busy, airbyte.states = 42, ["running"]  # since 01:00
    task = sync(fresh_since="2026-11-24")
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    assert not deferred.value.trigger.owned
    airbyte.busy, airbyte.states = None, [end, "succeeded"]
    done = sync(fresh_since="2026-11-24").execute_complete(context, {"outcome": "ended", "job_id": 42, "status": end})
    assert (done["job_id"], done["rows"]) == (1, 7)
    assert airbyte.sent("DELETE", "/jobs/42") == []


def test_a_running_sync_that_began_late_enough_is_taken_over(airbyte, context):
    airbyte.busy, airbyte.states = 42, ["running", "succeeded"]
    assert sync(fresh_since="2026-11-23").execute(context)["job_id"] == 42


def test_on_request_the_connection_is_cleared_before_and_once(airbyte, context):
    airbyte.states = ["running", "succeeded", "failed"]
    with pytest.raises(SyncFailed):
        sync(clear_first="True").execute(context)
    airbyte.states = ["succeeded"]
    sync(clear_first=True).execute(context)
    assert [body["jobType"] for body in airbyte.sent("POST", "/jobs")] == ["clear", "sync", "sync"]
    assert not context["task_state_store"]
    sync(clear_first="false").execute(context)
    assert airbyte.sent("POST", "/jobs")[-1]["jobType"] == "sync"


def test_what_runs_is_waited_for_before_the_connection_is_cleared(airbyte, context):
    airbyte.busy, airbyte.states = 42, ["running"]
    with pytest.raises(TaskDeferred) as deferred:
        sync(clear_first=True).execute(context)
    assert not deferred.value.trigger.owned
    airbyte.busy, airbyte.states = None, ["succeeded"]
    sync(clear_first=True).execute_complete(context, {"outcome": "ended", "job_id": 42, "status": "succeeded"})
    assert [body["jobType"] for body in airbyte.sent("POST", "/jobs")][-2:] == ["clear", "sync"]


def test_a_clear_that_fails_fails_the_task_and_is_tried_again(airbyte, context):
    airbyte.states = ["failed"]
    for _ in range(2):
        with pytest.raises(SyncFailed):
            sync(clear_first=True).execute(context)
    assert [body["jobType"] for body in airbyte.sent("POST", "/jobs")] == ["clear", "clear"]


@pytest.mark.parametrize("rendered", ["", "yes", "None"])
def test_what_is_no_bool_does_not_clear(airbyte, context, rendered):
    with pytest.raises(ValueError, match="clear_first"):
        sync(clear_first=rendered).execute(context)
    assert airbyte.sent("POST", "/jobs") == []


def test_no_rows_are_fine_unless_some_were_required(airbyte, context):
    airbyte.rows = 0
    assert sync().execute(context)["rows"] == 0
    with pytest.raises(NothingRead):
        sync(require_rows=True).execute(context)


@pytest.mark.parametrize(("name", "found"), [("mysql", "no connections named 'mysql'"), ("double", "2 connections")])
def test_a_name_that_is_not_there_or_twice_is_refused(context, name, found):
    with pytest.raises(UnknownName, match=found):
        sync(connection=name).execute(context)


def test_killed_it_cancels_the_job_that_it_started(airbyte, context):
    airbyte.states = ["running"]
    task = sync()
    with pytest.raises(TaskDeferred):
        task.execute(context)
    task.on_kill()
    assert airbyte.sent("DELETE", "/jobs/1") == [None]


def test_killed_it_leaves_a_job_that_it_found_running(airbyte, context):
    airbyte.busy, airbyte.states = 42, ["running"]
    task = sync()
    with pytest.raises(TaskDeferred):
        task.execute(context)
    task.on_kill()
    assert airbyte.sent("DELETE", "/jobs/42") == []


def test_killed_before_the_job_is_known_it_is_looked_for(airbyte):
    task = sync()
    task._starting, airbyte.busy, airbyte.states = POSTGRES, 8, ["running"]
    task.on_kill()
    assert airbyte.sent("DELETE", "/jobs/8") == [None]


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        ({"outcome": "error", "job_id": 1, "error": "gone"}, AirbyteError, "gone"),
        (None, AirbyteError, "expected an outcome"),
        ({"outcome": "perhaps"}, AirbyteError, "expected an outcome"),
    ],
)
def test_the_triggers_event_is_looked_at(context, event, kind, text):
    with pytest.raises(kind, match=text):
        sync().execute_complete(context, event)


def test_the_task_goes_on_after_the_trigger(airbyte, context):
    assert sync().execute_complete(context, {"outcome": "ended", "job_id": 3, "status": "succeeded"})["rows"] == 7


def test_a_timeout_in_the_triggerer_cancels_too(airbyte, context):
    airbyte.states = ["running"]
    with pytest.raises(SyncTimeout):
        sync().execute_complete(context, {"outcome": "timeout", "job_id": 3, "status": "running"})
    assert airbyte.sent("DELETE", "/jobs/3") == [None]


def waiting(clock, **options):
    known = {
        "airbyte_conn_id": "c",
        "job_id": 1,
        "started_at": clock.seconds,
        "end_at": clock.seconds + 900,
        "owned": True,
    }
    return AirbyteJobTrigger(**(known | options))


async def event_of(trigger):
    async for event in trigger.run():
        return event.payload


async def test_the_trigger_fires_when_the_job_ends(airbyte, clock):
    airbyte.states = ["pending", "queued", "running", "incomplete", "succeeded"]
    assert await event_of(waiting(clock)) == {"outcome": "ended", "job_id": 1, "status": "succeeded"}


@pytest.mark.parametrize(
    "trouble", [httpx.ConnectError("refused"), httpx.Response(500), httpx.Response(429), httpx.Response(401)], ids=str
)
async def test_the_trigger_waits_out_what_passes(airbyte, clock, trouble):
    airbyte.troubles[("GET", "/jobs/1")] = [trouble, httpx.ReadTimeout("slow")]
    assert (await event_of(waiting(clock)))["status"] == "succeeded"


async def test_the_trigger_gives_up_when_airbyte_stays_away(airbyte, clock):
    airbyte.troubles[("GET", "/jobs/1")] = [httpx.ConnectError("refused")] * 1000
    event = await event_of(waiting(clock, patience=60))
    assert event["outcome"] == "error" and "does not answer" in event["error"]


async def test_the_trigger_gives_up_at_once_where_waiting_does_not_help(airbyte, clock):
    airbyte.troubles[("GET", "/jobs/1")] = [httpx.Response(404, json={"detail": "no such job"})]
    assert "no such job" in (await event_of(waiting(clock)))["error"]
    assert clock.slept == []


async def test_the_trigger_says_when_time_is_over(airbyte, clock):
    airbyte.states = ["running"]
    assert await event_of(waiting(clock, end_at=clock.seconds + 5)) == {
        "outcome": "timeout",
        "job_id": 1,
        "status": "running",
    }


@pytest.mark.parametrize(("owned", "cancelled"), [(True, [None]), (False, [])])
async def test_killed_while_it_waits_only_an_own_job_is_cancelled(airbyte, clock, owned, cancelled):
    airbyte.states = ["running"]
    await waiting(clock, owned=owned).on_kill()
    assert airbyte.sent("DELETE", "/jobs/1") == cancelled


def test_a_state_that_is_not_known_is_told(airbyte, context):
    airbyte.states = ["paused"]
    with pytest.raises(AirbyteError, match="state 'paused'"):
        sync().execute(context)
