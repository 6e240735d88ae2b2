import dataclasses

import httpx
import pytest

from lakehouse.airbyte.client import TRIES
from lakehouse.airbyte.exceptions import (
    AirbyteAuthError,
    AirbyteHttpError,
    AirbyteServerError,
    AirbyteUnreachable,
)
from lakehouse.airbyte.jobs import interval, iso_seconds


def test_the_connection_is_that_of_the_official_provider(settings):
    assert settings.token_url == "http://airbyte.test:8000/api/public/v1/applications/token"
    assert settings.ui_url == "http://airbyte.test:8000"
    assert "hidden-word" not in repr(settings)


@pytest.mark.parametrize("field", ["url", "token_url", "config_url"])
def test_certificates_are_checked_wherever_one_of_the_urls_has_tls(settings, field):
    assert not settings.uses_tls
    assert dataclasses.replace(settings, **{field: "https://airbyte.test"}).uses_tls


def test_one_login_serves_many_calls_and_is_renewed_before_its_end(reach, airbyte, clock):
    with reach() as client:
        client.call("GET", "/jobs/1")
        client.call("GET", "/jobs/1")
        assert airbyte.logins == 1
        clock.seconds += 900 - 59
        client.call("GET", "/jobs/1")
    assert airbyte.logins == 2
    assert airbyte.sent("POST", "/applications/token")[0]["grant_type"] == ["client_credentials"]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(httpx.ConnectError("refused"), id="no connection"),
        pytest.param(httpx.ReadTimeout("slow"), id="no answer"),
        pytest.param(httpx.Response(503), id="503"),
        pytest.param(httpx.Response(429, headers={"Retry-After": "7"}), id="429"),
        pytest.param(httpx.Response(401), id="token dropped by the server"),
    ],
)
def test_what_passes_is_tried_again(reach, airbyte, trouble, clock):
    airbyte.troubles[("GET", "/jobs/1")] = [trouble]
    with reach() as client:
        assert client.call("GET", "/jobs/1")["status"] == "succeeded"
    if isinstance(trouble, httpx.Response) and trouble.status_code == 429:
        assert clock.slept == [7]


def test_it_gives_up_with_url_and_client_id(reach, airbyte):
    airbyte.troubles[("GET", "/jobs/1")] = [httpx.ConnectError("refused")] * TRIES
    with (
        reach() as client,
        pytest.raises(AirbyteUnreachable, match=r"client id cid\) does not answer: refused") as error,
    ):
        client.call("GET", "/jobs/1")
    assert "hidden-word" not in str(error.value)
    assert len(airbyte.sent("GET", "/jobs/1")) == TRIES


def test_wrong_credentials_are_told_without_the_secret(reach, airbyte):
    airbyte.troubles[("POST", "/applications/token")] = [httpx.Response(401, json={"errorId": "e"})] * 9
    with reach() as client, pytest.raises(AirbyteAuthError, match="refused the client id cid with status 401") as error:
        client.call("GET", "/jobs/1")
    assert "hidden-word" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, AirbyteHttpError), (422, AirbyteHttpError), (500, AirbyteServerError)]
)
def test_other_answers_carry_airbytes_words(reach, airbyte, status, kind):
    problem = {"title": "some-title", "detail": "It cannot be.", "data": {"message": "Because of orders."}}
    airbyte.troubles[("GET", "/jobs/1")] = [httpx.Response(status, json=problem)] * TRIES
    with reach() as client, pytest.raises(kind, match=r"It cannot be\. - Because of orders\.") as error:
        client.call("GET", "/jobs/1")
    assert (error.value.status, error.value.title) == (status, "some-title")


def test_listings_are_read_to_their_end(reach, airbyte):
    pages = [httpx.Response(200, json={"data": [{"n": n} for n in range(size)], "next": "x"}) for size in (100, 3)]
    airbyte.troubles[("GET", "/sources")] = pages
    with reach() as client:
        assert len(client.all("/sources")) == 103


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT8S", 8), ("PT1H2M3.5S", 3723.5), ("P1DT1S", 86401), ("PT0S", 0), (None, 0), ("soon", 0)]
)
def test_durations(text, seconds):
    assert iso_seconds(text) == seconds


def test_a_short_sync_is_seen_soon_and_a_long_one_asked_about_seldom():
    def asked(length):
        at = count = 0.0
        while at < length:
            at += interval(at)
            count += 1
        return at - length, count

    late, _ = asked(8)
    assert late < 1
    late, count = asked(7200)
    assert late <= 30 and count < 300
