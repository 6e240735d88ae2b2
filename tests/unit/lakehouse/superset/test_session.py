import asyncio
import json

import httpx
import pytest

from lakehouse.superset.exceptions import (
    SupersetAuthError,
    SupersetHttpError,
    SupersetNotFound,
    SupersetServerBusy,
    SupersetUnreachable,
)
from lakehouse.superset.session import AsyncSupersetSession, SupersetSession, answer_of

ME = "/api/v1/me/"


def test_logs_in_once_for_all_requests(superset, settings):
    with SupersetSession(settings) as session:
        session.request("GET", ME)
        session.request("GET", ME)
    assert (superset.logins, superset.sent("GET", ME)) == (1, 2)


def test_renews_an_expired_token(superset, settings):
    with SupersetSession(settings) as session:
        session.request("GET", ME)
        superset.valid_tokens = set()
        session.request("GET", ME)
    assert superset.logins == 2


def test_the_async_session_logs_in_and_renews_too(superset, settings):
    async def use():
        async with AsyncSupersetSession(settings) as session:
            await session.request("GET", ME)
            superset.valid_tokens = set()
            superset.troubles[ME] = [httpx.Response(503), httpx.ReadTimeout("slow")]
            return await session.request("GET", ME)

    assert asyncio.run(use()).status_code == 200
    assert superset.logins == 2


def test_a_wrong_password_is_one_attempt_and_an_error_without_it(superset):
    from lakehouse.superset.connection import SupersetSettings

    wrong = SupersetSettings("http://superset.test:8088", "admin", "wr0ng-word")
    with SupersetSession(wrong) as session, pytest.raises(SupersetAuthError) as caught:
        session.request("GET", ME)
    assert "http://superset.test:8088 refused user admin: Not authorized" in str(caught.value)
    assert "wr0ng-word" not in str(caught.value)


def test_a_write_carries_the_csrf_token_and_the_cookie_it_belongs_to(superset, settings):
    body = {"database_name": "x", "sqlalchemy_uri": "a://b:dremio-pw@c"}
    with SupersetSession(settings) as session:
        assert session.request("POST", "/api/v1/database/test_connection/", json=body).status_code == 200


@pytest.mark.parametrize(
    "trouble", [httpx.Response(503), httpx.Response(429), httpx.Response(504), httpx.ConnectError("refused")]
)
def test_a_request_that_was_not_served_is_repeated(superset, settings, trouble):
    superset.troubles[ME] = [trouble, trouble]
    with SupersetSession(settings) as session:
        assert session.request("GET", ME).status_code == 200


def test_a_login_that_was_not_served_is_repeated(superset, settings):
    superset.troubles["/api/v1/security/login"] = [httpx.Response(429), httpx.ConnectTimeout("slow")]
    with SupersetSession(settings) as session:
        assert session.request("GET", ME).status_code == 200


def test_it_stops_at_last_and_names_server_user_and_reason(superset, settings):
    superset.troubles[ME] = [httpx.ConnectError("Connection refused")] * 9
    with SupersetSession(settings) as session, pytest.raises(SupersetUnreachable) as caught:
        session.request("GET", ME)
    assert "http://superset.test:8088 (user admin) does not answer: Connection refused" in str(caught.value)
    assert len(superset.troubles[ME]) == 5


def test_a_login_that_stays_busy_is_a_transient_error(superset, settings):
    superset.troubles["/api/v1/security/login"] = [httpx.Response(429)] * 9
    with SupersetSession(settings) as session, pytest.raises(SupersetServerBusy) as caught:
        session.request("GET", ME)
    assert caught.value.transient


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, SupersetNotFound), (422, SupersetHttpError), (500, SupersetHttpError), (503, SupersetServerBusy)],
)
def test_an_error_answer_becomes_a_typed_error_with_the_servers_words(superset, settings, status, error):
    superset.troubles[ME] = [httpx.Response(status, json={"message": "no such thing"})] * 4
    with SupersetSession(settings) as session, pytest.raises(error, match=f"answered {status}: no such thing"):
        session.request("GET", ME)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"message": "Not found"}, "Not found"),
        ({"msg": "Bad token"}, "Bad token"),
        ({"errors": [{"message": "m", "extra": {"charts/x.yaml": ["y"], "issue_codes": []}}]}, "charts/x.yaml"),
        (["odd"], "odd"),
    ],
)
def test_the_servers_words_are_found_in_each_shape_of_its_errors(body, text):
    assert text in answer_of(httpx.Response(400, content=json.dumps(body)))


def test_an_html_error_is_shortened():
    assert answer_of(httpx.Response(500, text="<h1>\n  Internal   error</h1>" + "x" * 999)).startswith(
        "<h1> Internal error</h1>xxx"
    )
