import time

import httpx
import pytest

from lakehouse.dremio import rest, triggers
from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.triggers import DremioJobTrigger, DremioReflectionsTrigger, poll_delay


@pytest.fixture(autouse=True)
def session(dremio, connection, monkeypatch):
    async def open_session(conn_id):
        settings = DremioSettings.from_connection(connection)
        return rest.AsyncRestSession(settings, transport=httpx.MockTransport(dremio))

    monkeypatch.setattr(triggers, "open_session", open_session)
    monkeypatch.setattr(triggers, "POLL_SECONDS", 0.0)


async def first_event(trigger):
    return await anext(aiter(trigger.run()))


def test_both_are_serialized_whole():
    job = DremioJobTrigger(dremio_conn_id="c", job_id="9", deadline=5.0, state={"index": 1})
    assert job.serialize() == (
        "lakehouse.dremio.triggers.DremioJobTrigger",
        {"dremio_conn_id": "c", "job_id": "9", "deadline": 5.0, "state": {"index": 1}},
    )
    refresh = DremioReflectionsTrigger(dremio_conn_id="c", before={"r": ["x", ""]}, deadline=5.0)
    assert refresh.serialize() == (
        "lakehouse.dremio.triggers.DremioReflectionsTrigger",
        {
            "dremio_conn_id": "c",
            "before": {"r": ["x", ""]},
            "deadline": 5.0,
            "idle": False,
            "delay": 0.0,
            "state": {},
        },
    )


async def test_fires_when_the_job_ends(dremio):
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"}, {"jobState": "COMPLETED"})
    event = await first_event(DremioJobTrigger(dremio_conn_id="c", job_id="9", state={"index": 1}))
    assert event.payload == {
        "job_id": "9",
        "reason": "ended",
        "detail": "COMPLETED",
        "state": {"index": 1},
    }


async def test_survives_a_server_that_restarts(dremio, monkeypatch):
    monkeypatch.setattr(rest, "MAX_ATTEMPTS", 1)
    done = {"jobState": "COMPLETED"}
    dremio.on("GET", "/api/v3/job/9", httpx.Response(503), httpx.ConnectError("refused"), done)
    event = await first_event(DremioJobTrigger(dremio_conn_id="c", job_id="9"))
    assert event.payload["reason"] == "ended"


async def test_gives_up_on_a_server_that_stays_away(dremio, monkeypatch):
    monkeypatch.setattr(rest, "MAX_ATTEMPTS", 1)
    monkeypatch.setattr(triggers, "UNREACHABLE_SECONDS", -1.0)
    dremio.on("GET", "/api/v3/job/9", httpx.ConnectError("refused"))
    event = await first_event(DremioJobTrigger(dremio_conn_id="c", job_id="9"))
    assert event.payload["reason"] == "unreachable" and "refused" in event.payload["detail"]


async def test_says_when_the_job_is_unknown(dremio):
    event = await first_event(DremioJobTrigger(dremio_conn_id="c", job_id="9"))
    assert event.payload["reason"] == "lost"


async def test_the_deadline_is_absolute(dremio):
    dremio.on("GET", "/api/v3/job/9", {"jobState": "RUNNING"})
    event = await first_event(DremioJobTrigger(dremio_conn_id="c", job_id="9", deadline=time.time() - 1))
    assert event.payload["reason"] == "deadline"
    assert dremio.sent("GET", "/api/v3/job/9") == []


async def test_a_kill_of_the_deferred_task_cancels_the_job(dremio):
    dremio.on("POST", "/api/v3/job/9/cancel", None)
    await DremioJobTrigger(dremio_conn_id="c", job_id="9").on_kill()
    assert dremio.sent("POST", "/api/v3/job/9/cancel") == [None]


def reflection(refresh="SCHEDULED", fetched="2026-11-23T01:00:00Z", **status):
    status = {"refresh": refresh, "availability": "AVAILABLE", "lastDataFetch": fetched} | status
    return {"id": "r", "name": "agg", "status": status}


BEFORE = {"r": ["2026-11-23T01:00:00Z", ""]}


async def test_an_older_refresh_does_not_count(dremio):
    dremio.on(
        "GET",
        "/api/v3/reflection/r",
        reflection(),
        reflection("RUNNING"),
        reflection(fetched="2026-11-23T02:00:00Z"),
    )
    trigger = DremioReflectionsTrigger(dremio_conn_id="c", before=BEFORE, deadline=time.time() + 5)
    event = await first_event(trigger)
    assert event.payload["reason"] == "refreshed"
    assert len(dremio.sent("GET", "/api/v3/reflection/r")) == 3


async def test_a_reflection_that_was_given_up_ends_the_wait(dremio):
    given_up = reflection("GIVEN_UP", failureCount=3, lastFailureMessage="disk full")
    dremio.on("GET", "/api/v3/reflection/r", given_up)
    trigger = DremioReflectionsTrigger(dremio_conn_id="c", before=BEFORE, deadline=time.time() + 5)
    event = await first_event(trigger)
    assert event.payload["reason"] == "failed"
    assert event.payload["detail"] == "agg: given up after 3 failures: disk full"


async def test_idle_means_that_nothing_is_under_way(dremio):
    dremio.on("GET", "/api/v3/reflection/r", reflection("RUNNING"), reflection())
    trigger = DremioReflectionsTrigger(dremio_conn_id="c", before={"r": []}, deadline=time.time() + 5, idle=True)
    assert (await first_event(trigger)).payload["reason"] == "refreshed"


def test_polls_grow_slowly(monkeypatch):
    monkeypatch.undo()
    assert [poll_delay(seconds) for seconds in (0, 720, 1440, 7200)] == [1.0, 1.0, 2.0, 5.0]
