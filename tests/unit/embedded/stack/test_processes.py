"""A service as a process: started once, refused on a taken port, named with its log when it dies, stopped whole."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from embedded.stack.processes import (
    Service,
    StackError,
    environment_for,
    kill_leftovers,
    listens,
    running,
    start,
    stop_all,
)

SERVER = "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen(); time.sleep(60)"
PARENT = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); " + SERVER
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server(program: str = SERVER, port: int | None = None) -> Service:
    port = port or free_port()
    return Service(
        name="sample",
        command=[sys.executable, "-c", program.format(port=port)],
        healthy=listens(port),
        ports={"SAMPLE_PORT": port},
        start_seconds=10,
    )


def test_it_is_started_once_and_found_again(tmp_path: Path) -> None:
    service = server()
    assert start(tmp_path, service) is True
    pid = running(tmp_path, "sample")
    assert start(tmp_path, service) is False
    assert running(tmp_path, "sample") == pid
    assert stop_all(tmp_path) == (["sample"], 0)
    assert running(tmp_path, "sample") is None and stop_all(tmp_path) == ([], 0)


def test_a_taken_port_names_the_setting(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} is in use .*SAMPLE_PORT="):
            start(tmp_path, server(port=port))


def test_one_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    service = server("raise SystemExit('no configuration found')")
    with pytest.raises(StackError, match=r"sample ended while it was starting(.|\n)*no configuration found"):
        start(tmp_path, service)


def test_one_that_never_answers_is_given_up(tmp_path: Path) -> None:
    service = Service("sample", [sys.executable, "-c", "import time; time.sleep(60)"], lambda: False, start_seconds=0.5)
    with pytest.raises(StackError, match="did not answer"):
        start(tmp_path, service)
    stop_all(tmp_path)


def test_stop_ends_the_children_too(tmp_path: Path) -> None:
    service = server(PARENT)
    start(tmp_path, service)
    process = running(tmp_path, "sample")
    assert process
    children = process.children()
    assert children
    stop_all(tmp_path)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_left_overs_of_a_killed_parent_are_ended(tmp_path: Path) -> None:
    service = server(PARENT)
    start(tmp_path, service)
    process = running(tmp_path, "sample")
    assert process
    (orphan,) = process.children()
    process.kill()
    time.sleep(0.2)
    assert orphan.is_running()
    assert kill_leftovers(tmp_path) >= 1
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_an_unmarked_orphan_of_a_killed_service_is_ended(tmp_path: Path) -> None:
    """As a worker that has overwritten its environment with a process title: known by its session alone."""
    spawn = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], env={{}})"
    service = server(f"import subprocess, sys; {spawn}; " + SERVER)
    start(tmp_path, service)
    process = running(tmp_path, "sample")
    assert process
    (orphan,) = process.children()
    process.kill()
    process.wait(timeout=10)
    assert kill_leftovers(tmp_path) == 0 and orphan.is_running()
    assert stop_all(tmp_path) == ([], 1)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_the_users_shell_leads_no_service_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_PROFILE": "work", "PGHOST": "db", "HOME": "/home/ann", "NO_PROXY": "corp"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    seen = environment_for(tmp_path, {"AWS_REGION": "of the service"})
    assert "AWS_PROFILE" not in seen and "PGHOST" not in seen and seen["AWS_REGION"] == "of the service"
    assert seen["HOME"].startswith(str(tmp_path)) and seen["NO_PROXY"] == "corp,127.0.0.1,localhost"


def test_a_reused_pid_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sample.json").write_text('{"pid": 1, "create_time": 1.0}')
    assert running(tmp_path, "sample") is None
