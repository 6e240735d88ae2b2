"""Users as declared: made, and given the password that their Airflow connection has now."""

import json
from types import SimpleNamespace

import httpx
import pytest
from pydantic import ValidationError

from lakehouse.dremio.declared.catalog import Catalog
from lakehouse.dremio.declared.plan import apply, plan
from lakehouse.dremio.exceptions import DremioConfigError, DremioError, DremioHttpError

ANN = {"name": "ann", "connection": "dremio_ann"}
BY_NAME, USERS, LOGIN = "/api/v3/user/by-name/ann", "/api/v3/user", "/apiv2/login"
THERE = {"@type": "EnterpriseUser", "id": "7", "name": "ann", "tag": "v1"}


def connections(conn_id, password="annes-word-1"):
    return SimpleNamespace(password=password)


def changes(hook, get=connections):
    return plan(hook, Catalog(users=[ANN]), get, ["users"])


@pytest.fixture
def logins(dremio):
    """Passwords by user; the administrator's is right."""
    right = {"ana": "s3cret-word"}

    def log_in(request):
        body = json.loads(request.content)
        if right.get(body["userName"]) == body["password"]:
            return {"token": "t"}
        return httpx.Response(401, json={"errorMessage": "Login failed: Invalid username or password"})

    dremio.on("POST", LOGIN, log_in)
    return right


def test_a_user_that_is_missing_is_made(hook, dremio, logins):
    (change,) = changes(hook)
    assert str(change) == "create user ann"
    dremio.on("POST", USERS, THERE)
    apply(hook, change, connections)
    assert dremio.sent("POST", USERS) == [{"name": "ann", "password": "annes-word-1"}]
    assert dremio.statements() == []  # which Dremio would keep in its history


def test_a_user_whose_password_is_right_is_left_alone(hook, dremio, logins):
    dremio.on("GET", BY_NAME, THERE)
    logins["ann"] = "annes-word-1"
    assert changes(hook) == []


def test_another_password_is_sent_with_what_the_user_has(hook, dremio, logins):
    dremio.on("GET", BY_NAME, THERE)
    logins["ann"] = "an-older-1"
    (change,) = changes(hook)
    assert str(change) == "update user ann: password"
    assert "annes-word-1" not in repr(change)
    dremio.on("PUT", f"{USERS}/7", THERE)
    apply(hook, change, connections)
    assert dremio.sent("PUT", f"{USERS}/7") == [THERE | {"password": "annes-word-1"}]


@pytest.mark.parametrize("made_meanwhile", [True, False])
def test_a_user_that_was_made_since_is_fine_if_its_password_is(hook, dremio, logins, made_meanwhile):
    (change,) = changes(hook)
    dremio.on("POST", USERS, httpx.Response(400, json={"errorMessage": "User 'ann' already exists."}))
    if made_meanwhile:
        logins["ann"] = "annes-word-1"
        apply(hook, change, connections)
        return
    with pytest.raises(DremioHttpError, match="POST user: Dremio answered 400: User 'ann' already") as caught:
        apply(hook, change, connections)
    assert "annes-word-1" not in str(caught.value)


def test_a_connection_without_a_password_is_named(hook, dremio, logins):
    with pytest.raises(DremioConfigError, match="user ann: the Airflow connection dremio_ann has no password"):
        changes(hook, lambda conn_id: connections(conn_id, ""))


def test_dremio_cloud_invites_its_users(hook, dremio, logins):
    (change,) = changes(hook)
    hook.__dict__["settings"] = SimpleNamespace(project_id="p1")
    with pytest.raises(DremioError, match="user ann: Dremio Cloud invites"):
        apply(hook, change, connections)


def test_what_is_wrong_in_the_file_is_said():
    with pytest.raises(ValidationError, match="user ann"):
        Catalog(users=[ANN, ANN | {"name": "Ann"}])
    with pytest.raises(ValidationError, match="password"):
        Catalog(users=[ANN | {"password": "x"}])  # never in YAML
