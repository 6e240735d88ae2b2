"""One installation's settings: made once, overridden by .env and the environment, refused when unusable."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from embedded import settings
from embedded.settings import SettingsError, load


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a repository (for .env) of the test's own."""
    for name in (*settings.DEFAULT_PORTS, "LAKEHOUSE_PORTS", "SCALE", "SEED", "DEMO_END_DATE", "S3_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(settings, "REPOSITORY", tmp_path)
    return tmp_path


def test_there_is_none_before_it_is_made() -> None:
    assert load(create=False) is None


def test_credentials_and_end_date_are_made_once() -> None:
    first, second = load(), load()
    assert first and second
    assert first.credentials == second.credentials
    assert (first.end_date, first.seed, first.scale) == (second.end_date, second.seed, second.scale)


def test_two_installations_share_no_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load()
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "other"))
    second = load()
    assert first and second
    assert not set(first.credentials.values()) & set(second.credentials.values())


def test_only_the_owner_can_read_the_credentials(installation: Path) -> None:
    load()
    assert stat.S_IMODE((installation / "home" / "settings.json").stat().st_mode) == 0o600


def test_dotenv_moves_a_port_and_the_environment_wins(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (installation / ".env").write_text("# mine\nAIRFLOW_PORT=18080\nDREMIO_PORT='19047'\n")
    monkeypatch.setenv("DREMIO_PORT", "29047")
    found = load()
    assert found and (found.ports["AIRFLOW_PORT"], found.ports["DREMIO_PORT"]) == (18080, 29047)
    assert found.environment()["DREMIO_URL"] == "http://127.0.0.1:29047"


def test_free_ports_are_chosen_once_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_PORTS", "free")
    first, second = load(), load()
    assert first and second and first.ports == second.ports
    assert len(set(first.ports.values())) == len(first.ports)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("AIRFLOW_PORT=eighty", "AIRFLOW_PORT='eighty' is no port", id="no-number"),
        pytest.param("AIRFLOW_PORT=70000", "is no port", id="out-of-range"),
        pytest.param("AIRFLOW_PORT=8088", "AIRFLOW_PORT and SUPERSET_PORT are both 8088", id="shared"),
        pytest.param("AIRFLOW_PROT=1", "line 1: cannot use", id="unknown-name"),
        pytest.param("AIRFLOW_PORT", "line 1: cannot use", id="no-value"),
    ],
)
def test_a_wrong_dotenv_is_named(installation: Path, line: str, message: str) -> None:
    (installation / ".env").write_text(line + "\n")
    with pytest.raises(SettingsError, match=message):
        load()


@pytest.mark.parametrize(("name", "value"), [("SCALE", "huge"), ("SEED", "abc"), ("DEMO_END_DATE", "yesterday")])
def test_what_cannot_be_used_is_refused_before_it_is_kept(
    installation: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}='{value}' cannot be used"):
        load()
    assert not (installation / "home").exists()


def test_a_folder_of_something_else_is_not_taken(installation: Path) -> None:
    (installation / "home").mkdir()
    (installation / "home" / "letter.txt").write_text("dear")
    with pytest.raises(SettingsError, match="is not empty and is no installation"):
        load()


def test_free_ports_are_not_those_of_the_dotenv(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (installation / ".env").write_text("AIRFLOW_PORT=18080\n")
    monkeypatch.setenv("LAKEHOUSE_PORTS", "free")
    found = load()
    assert found and found.ports["AIRFLOW_PORT"] != 18080


def test_the_object_store_is_chosen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SERVER", "minio")
    first = load()
    monkeypatch.delenv("S3_SERVER")
    again = load()
    assert first and again and first.s3_server == again.s3_server == "minio"
    monkeypatch.setenv("S3_SERVER", "rclone")
    with pytest.raises(SettingsError, match="in the form of minio"):
        load()
    monkeypatch.setenv("S3_SERVER", "ceph")
    with pytest.raises(SettingsError, match="write rclone or minio"):
        load()


def test_a_broken_settings_file_says_what_to_do(installation: Path) -> None:
    load()
    (installation / "home" / "settings.json").write_text("{")
    with pytest.raises(SettingsError, match="make clean"):
        load()


def test_the_file_holds_what_was_fixed_at_installation(installation: Path) -> None:
    found = load()
    stored = json.loads((installation / "home" / "settings.json").read_text())
    assert found and stored["end_date"] == found.end_date.isoformat()
