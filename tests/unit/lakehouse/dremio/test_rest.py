import httpx
import pytest

from lakehouse.dremio import calls, rest
from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.exceptions import (
    DremioAuthError,
    DremioConflict,
    DremioHttpError,
    DremioNotFound,
    DremioOutcomeUnknown,
    DremioServerBusy,
    DremioUnreachable,
)

JOB = "/api/v3/job/1"
DONE = {"jobState": "COMPLETED"}


def test_logs_in_once_and_sends_the_token(hook, dremio):
    dremio.on("GET", JOB, DONE)
    hook.get_job("1")
    hook.get_job("1")
    assert dremio.sent("POST", "/apiv2/login") == [{"userName": "ana", "password": "s3cret-word"}]
    assert dremio.tokens[1:] == ["_dremiot1", "_dremiot1"]


def test_a_new_hook_of_the_same_process_reuses_the_token(hook, dremio, connection):
    dremio.on("GET", JOB, DONE)
    hook.get_job("1")
    settings = DremioSettings.from_connection(connection)
    with rest.RestSession(settings, transport=httpx.MockTransport(dremio)) as other:
        other.send(calls.get_job("1"))
    assert len(dremio.sent("POST", "/apiv2/login")) == 1


def test_renews_an_expired_token(hook, dremio):
    dremio.on("POST", "/apiv2/login", {"token": "t1"}, {"token": "t2"})
    dremio.on("GET", JOB, DONE, httpx.Response(401), DONE)
    hook.get_job("1")
    hook.get_job("1")
    assert dremio.tokens[-1] == "_dremiot2"


def test_a_token_refused_twice_is_an_error_that_names_user_and_server(hook, dremio):
    dremio.on("GET", JOB, httpx.Response(401))
    with pytest.raises(DremioAuthError, match=r"http://dremio.test:9047 refused user ana") as caught:
        hook.get_job("1")
    assert "s3cret-word" not in str(caught.value)


def test_a_wrong_password_is_not_tried_again(hook, dremio):
    dremio.on("POST", "/apiv2/login", httpx.Response(401, json={"errorMessage": "Login failed"}))
    with pytest.raises(DremioAuthError, match="Login failed"):
        hook.get_job("1")
    assert len(dremio.requests) == 1


@pytest.mark.parametrize("trouble", [httpx.Response(503), httpx.Response(500), httpx.ReadTimeout("slow")])
def test_a_read_is_repeated(hook, dremio, trouble):
    dremio.on("GET", JOB, trouble, DONE)
    assert hook.get_job("1").state == "COMPLETED"


def test_a_read_is_not_repeated_for_ever(hook, dremio):
    dremio.on("GET", JOB, httpx.Response(503, text="starting"))
    with pytest.raises(DremioServerBusy, match="503: starting"):
        hook.get_job("1")
    assert len(dremio.sent("GET", JOB)) == rest.MAX_ATTEMPTS


def test_an_unreachable_server_is_named(hook, dremio):
    dremio.on("POST", "/apiv2/login", httpx.ConnectError("refused"))
    with pytest.raises(DremioUnreachable, match=r"http://dremio.test:9047 \(user ana\).*refused"):
        hook.get_job("1")


@pytest.mark.parametrize("trouble", [httpx.ReadTimeout("slow"), httpx.Response(504), httpx.Response(502)])
def test_a_submission_without_an_answer_is_never_repeated(hook, dremio, trouble):
    dremio.on("POST", "/api/v3/sql", trouble, {"id": "2"})
    with pytest.raises(DremioOutcomeUnknown, match="INSERT INTO t"):
        hook.submit_sql("INSERT INTO t VALUES (1)")
    assert len(dremio.sent("POST", "/api/v3/sql")) == 1


def test_an_idempotent_submission_is_repeated(hook, dremio):
    dremio.on("POST", "/api/v3/sql", httpx.ReadTimeout("slow"), {"id": "2"})
    assert hook.submit_sql("SELECT 1", idempotent=True) == "2"


@pytest.mark.parametrize("trouble", [httpx.ConnectError("refused"), httpx.Response(429), httpx.Response(503)])
def test_a_submission_that_the_server_never_took_in_is_repeated(hook, dremio, trouble):
    dremio.on("POST", "/api/v3/sql", trouble, {"id": "2"})
    assert hook.submit_sql("INSERT INTO t VALUES (1)") == "2"


def test_a_retry_after_header_is_obeyed(hook, dremio, monkeypatch):
    waits = []
    monkeypatch.setattr(rest.time, "sleep", waits.append)
    dremio.on("GET", JOB, httpx.Response(429, headers={"Retry-After": "7"}), DONE)
    hook.get_job("1")
    assert waits == [7.0]


@pytest.mark.parametrize(("status", "kind"), [(404, DremioNotFound), (409, DremioConflict), (400, DremioHttpError)])
def test_an_error_carries_the_servers_words(hook, dremio, status, kind):
    body = {"errorMessage": "Source is gone", "moreInfo": "ask Bo", "context": ["startLine 1"]}
    dremio.on("POST", "/api/v3/catalog", httpx.Response(status, json=body))
    with pytest.raises(kind, match="Source is gone; ask Bo; startLine 1") as caught:
        hook.create_entity({"entityType": "space", "name": "x"})
    assert caught.value.status == status


def test_path_segments_are_encoded(hook, dremio):
    dremio.on("GET", "/api/v3/catalog/dremio%3A%2Flake%2Fa%20b", {"id": "x"})
    assert hook.get_entity("dremio:/lake/a b") == {"id": "x"}


async def test_the_async_session_logs_in_renews_and_repeats(dremio, connection):
    dremio.on("POST", "/apiv2/login", {"token": "t1"}, {"token": "t2"})
    dremio.on("GET", JOB, httpx.Response(401), httpx.Response(503), httpx.ReadError("reset"), DONE)
    settings = DremioSettings.from_connection(connection)
    async with rest.AsyncRestSession(settings, transport=httpx.MockTransport(dremio)) as session:
        assert await session.send(calls.get_job("1")) == DONE
    assert dremio.tokens[-1] == "_dremiot2"
