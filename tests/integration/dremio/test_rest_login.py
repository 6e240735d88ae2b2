"""Login, tokens, and what a call without a valid token gets."""

import httpx
import pytest


def test_the_server_says_that_it_is_up(reach):
    answer = httpx.get(f"{reach['DREMIO_URL']}/apiv2/server_status")
    assert (answer.status_code, answer.text) == (200, '"OK"')


def test_login_answers_what_clients_read(rest, reach):
    assert rest.login["userName"] == reach["DREMIO_USERNAME"]
    assert {"token", "expires", "userId", "admin", "version", "permissions"} <= rest.login.keys()


def test_a_wrong_password_has_an_error_body(reach):
    body = {"userName": reach["DREMIO_USERNAME"], "password": "not it"}
    answer = httpx.post(f"{reach['DREMIO_URL']}/apiv2/login", json=body)
    assert answer.status_code == 401
    assert "Login failed" in answer.json()["errorMessage"]


@pytest.mark.parametrize("header", [{}, {"Authorization": "_dremionothing"}, {"Authorization": "Bearer x"}])
def test_without_a_token_the_body_is_empty(reach, header):
    answer = httpx.get(f"{reach['DREMIO_URL']}/api/v3/catalog", headers=header)
    assert (answer.status_code, answer.content) == (401, b"")


def test_a_login_token_works_in_both_forms_until_logout(reach):
    body = {"userName": reach["DREMIO_USERNAME"], "password": reach["DREMIO_PASSWORD"]}
    token = httpx.post(f"{reach['DREMIO_URL']}/apiv2/login", json=body).json()["token"]
    url = f"{reach['DREMIO_URL']}/apiv2/login"
    for form in (f"_dremio{token}", f"Bearer {token}"):
        assert httpx.get(url, headers={"Authorization": form}).text == "true"
    httpx.delete(url, headers={"Authorization": f"_dremio{token}"}).raise_for_status()
    assert httpx.get(url, headers={"Authorization": f"_dremio{token}"}).status_code == 401


def test_a_personal_token_works_until_it_is_dropped(rest, reach):
    path = f"/user/{rest.login['userId']}/token"
    made = rest.http.post(path, json={"label": "of a test", "millisecondsToExpire": 60_000})
    assert made.status_code == 200
    listed = [one for one in rest.http.get(path).json()["data"] if one["label"] == "of a test"]
    assert listed
    header = {"Authorization": f"Bearer {made.text}"}
    assert httpx.get(f"{reach['DREMIO_URL']}/api/v3/catalog", headers=header).status_code == 200
    for one in listed:
        rest.http.delete(f"{path}/{one['tid']}").raise_for_status()
    assert httpx.get(f"{reach['DREMIO_URL']}/api/v3/catalog", headers=header).status_code == 401
