"""What the containers' Airflow and Dremio are prepared with."""

from __future__ import annotations

import importlib.util
import json
import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

INIT = Path(__file__).parents[3] / "docker" / "init.py"


@pytest.fixture
def init() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docker_init", INIT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Dremio:
    """Answers login and creation with the given statuses, and keeps what was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, logins: list[int], creation: int = 200) -> None:
        self.logins = logins
        self.creation = creation
        self.created: list[dict[str, Any]] = []
        monkeypatch.setattr(httpx, "post", self.post)
        monkeypatch.setattr(httpx, "put", self.put)

    def post(self, url: str, **arguments: Any) -> httpx.Response:
        assert url == "http://dremio:9047/apiv2/login"
        return httpx.Response(self.logins.pop(0))

    def put(self, url: str, **arguments: Any) -> httpx.Response:
        assert url == "http://dremio:9047/apiv2/bootstrap/firstuser"
        self.created.append(arguments["json"])
        return httpx.Response(self.creation, text="First user can only be created once")


def test_first_user_is_made_where_nobody_can_log_in(init: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    dremio = Dremio(monkeypatch, logins=[503, 401])
    waits: list[float] = []
    init.create_first_user("http://dremio:9047", "pass word 1", waits.append)
    assert len(waits) == 1
    assert dremio.created[0]["userName"] == "admin" and dremio.created[0]["password"] == "pass word 1"


def test_a_user_who_can_log_in_is_left_alone(init: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    dremio = Dremio(monkeypatch, logins=[200])
    init.create_first_user("http://dremio:9047", "secret-1")
    assert dremio.created == []


def test_another_password_is_an_error_that_says_what_to_do(init: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    Dremio(monkeypatch, logins=[401], creation=409)
    with pytest.raises(SystemExit, match="docker/secrets/dremio_password") as error:
        init.create_first_user("http://dremio:9047", "hidden-word-1")
    assert "hidden-word-1" not in str(error.value)


def test_password_file_can_be_read_by_airflow_alone(init: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    environment = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file)}
    for _ in range(2):
        init.write_password(environment, lambda name: f"<{name}>")
    assert json.loads(file.read_text()) == {"admin": "<airflow_password>"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
