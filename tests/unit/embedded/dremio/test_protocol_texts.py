"""Small readers of the protocols: filters of the job list, paths in headers, credentials."""

import base64
import dataclasses
import datetime as dt

import pytest

from embedded.dremio.jobs.model import Job, JobState
from embedded.dremio.protocol import flight_session
from embedded.dremio.protocol.auth import AuthenticationError, User, basic_credentials, token_of_header
from embedded.dremio.protocol.flight_session import Sessions, split_path
from embedded.dremio.protocol.jobs_listing_api import read_filter
from embedded.dremio.protocol.responses import ApiError


def job(state=JobState.RUNNING, user="ada", query_type="REST", sql="/* node: a.b */ SELECT 1"):
    made = Job(sql=sql, user=user, query_type=query_type)
    made.state = state
    return made


@pytest.fixture
def user():
    return User("ada", "1", is_admin=False, created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('jst=="RUNNING"', True),
        ('jst=="COMPLETED"', False),
        ('jst!="COMPLETED";jst!="FAILED"', True),
        ('(jst=="COMPLETED",jst=="RUNNING");usr=="ada"', True),
        ('jst=="COMPLETED",usr=="ada"', True),
        ('usr=="bob"', False),
        ('qt=="EXTERNAL"', True),
        ('qt=="UI"', False),
        ('*=contains="node: a.b"', True),
        ('*=contains="NODE: A"', True),
        ('*=contains="other"', False),
        ("st=gt=0;st=lt=99999999999999", True),
    ],
)
def test_the_filter_of_the_job_list(text, wanted):
    assert read_filter(text)(job()) is wanted


@pytest.mark.parametrize("text", ["", "jst", 'jst=="RUNNING', '(jst=="RUNNING"', 'size=="1"', 'jst=="A"x', "st=gt=a"])
def test_a_filter_that_cannot_be_read_is_refused(text):
    with pytest.raises(ApiError) as refused:
        read_filter(text)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("text", "path"),
    [("a", ("a",)), ("a.b.c", ("a", "b", "c")), ('"a.b".c', ("a.b", "c")), ('@ada."x y"', ("@ada", "x y")), ("", ())],
)
def test_a_path_in_a_header(text, path):
    assert split_path(text) == path


@pytest.mark.parametrize("padding", [True, False])
def test_basic_credentials_with_and_without_padding(padding):
    encoded = base64.b64encode(b"ada:pass:word").decode()
    header = "Basic " + (encoded if padding else encoded.rstrip("="))
    assert basic_credentials(header) == ("ada", "pass:word")


def test_credentials_that_cannot_be_decoded_are_refused():
    with pytest.raises(AuthenticationError):
        basic_credentials("Basic \u00e9")


@pytest.mark.parametrize(("header", "token"), [("_dremioabc", "abc"), ("Bearer abc", "abc"), ("bearer abc", "abc")])
def test_tokens_in_both_forms(header, token):
    assert token_of_header(header) == token


@pytest.mark.parametrize("header", ["", "abc", "Basic abc"])
def test_no_token(header):
    with pytest.raises(AuthenticationError):
        token_of_header(header)


def test_of_too_many_sessions_the_longest_unused_end(user, monkeypatch):
    monkeypatch.setattr(flight_session, "MOST_SESSIONS", 3)
    sessions = Sessions()
    ids = [sessions.open(user)[0] for _ in range(3)]
    sessions.find(ids[0], user)
    opened, session = sessions.open(user)
    assert [sessions.find(each, user) is not None for each in [*ids, opened]] == [True, False, True, True]
    sessions.close(session)
    assert sessions.find(opened, user) is None


def test_a_session_is_found_by_its_user_and_not_for_ever(user, monkeypatch):
    sessions = Sessions()
    session_id, session = sessions.open(user)
    assert sessions.find(session_id, user) is session
    assert sessions.find(session_id, dataclasses.replace(user, name="other")) is None
    monkeypatch.setattr(flight_session, "SESSION_SECONDS", -1)
    assert sessions.find(session_id, user) is None
