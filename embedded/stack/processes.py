"""A service as a process of this machine: started in a session of its own, found again later, stopped whole.

State is in `<home>/run/<name>.json` (pid and start time, so that a reused pid is never mistaken for ours); output
is appended to `<home>/logs/<name>.log`. Every process carries `LAKEHOUSE_INSTANCE=<home>` in its environment, by
which `kill_leftovers` finds what a killed parent left behind.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

LOG_LINES_IN_ERRORS = 15
HEALTH_INTERVAL = 0.15  # seconds between two health checks while starting


class StackError(Exception):
    """Something keeps the stack from running; the message says what, on which service, and what to do."""


@dataclass(frozen=True)
class Service:
    """How to run one service.

    `healthy` answers whether it serves requests; `ports` maps the setting's name to the port that it listens on;
    `start_seconds` bounds the wait for health; `stop_signal` asks it to end cleanly within `stop_seconds`.
    """

    name: str
    command: Sequence[str]
    healthy: Callable[[], bool]
    ports: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    start_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15


def responds(url: str, contains: str | None = None) -> Callable[[], bool]:
    """A health check: GET `url` answers 200 (and the body has `contains`)."""

    def check() -> bool:
        try:
            answer = httpx.get(url, timeout=5)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and (contains is None or contains in answer.text)

    return check


def listens(port: int) -> Callable[[], bool]:
    """A health check: something accepts TCP connections on 127.0.0.1:`port`."""

    def check() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2):
                return True
        except OSError:
            return False

    return check


def running(home: Path, name: str) -> psutil.Process | None:
    """The service's main process if it is alive, else None."""
    try:
        stored = json.loads(_pid_file(home, name).read_text())
        process = psutil.Process(stored["pid"])
        same = abs(process.create_time() - stored["create_time"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, psutil.Error):
        return None


def start(home: Path, service: Service) -> bool:
    """Starts the service unless it runs already, and waits until it is healthy. Returns whether it was started.

    Raises:
        StackError: a port is taken, the process died, or it was not healthy within `start_seconds`.
    """
    process = running(home, service.name)
    started = process is None
    if process is None:
        for setting, port in service.ports.items():
            _refuse_taken_port(service.name, setting, port)
        process = launch(home, service)
    _wait_until_healthy(home, service, process)
    return started


def launch(home: Path, service: Service) -> psutil.Process:
    """Starts the process in a session of its own and records it, without waiting for health."""
    log = log_file(home, service.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | service.environment | {"LAKEHOUSE_INSTANCE": str(home)}
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(service.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    process = psutil.Process(child.pid)
    record(home, service.name, process)
    return process


def record(home: Path, name: str, process: psutil.Process) -> None:
    """Remembers `process` as the service's main process."""
    file = _pid_file(home, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"pid": process.pid, "create_time": process.create_time()}))


def stop(home: Path, service: Service) -> bool:
    """Ends the service and every process of its session. Returns whether it was running."""
    process = running(home, service.name)
    if process is None:
        _pid_file(home, service.name).unlink(missing_ok=True)
        return False
    family = session_of(process)
    process.send_signal(service.stop_signal)
    psutil.wait_procs([process], timeout=service.stop_seconds)
    end(family)
    _pid_file(home, service.name).unlink(missing_ok=True)
    return True


def session_of(process: psutil.Process) -> list[psutil.Process]:
    """The process and all others of its session (children that were re-parented included)."""
    members = []
    for candidate in psutil.process_iter():
        try:
            if os.getsid(candidate.pid) == process.pid:
                members.append(candidate)
        except (OSError, psutil.Error):
            continue
    return members


def end(processes: list[psutil.Process], seconds: float = 5) -> None:
    """Asks the processes to end, and kills those that have not after `seconds`."""
    alive = [process for process in processes if process.is_running()]
    for kind in (signal.SIGTERM, signal.SIGKILL):
        for process in alive:
            try:
                process.send_signal(kind)
            except psutil.Error:
                continue
        _, alive = psutil.wait_procs(alive, timeout=seconds)


def kill_leftovers(home: Path) -> int:
    """Ends every process that carries this installation's mark (but not the caller). Returns how many there were."""
    leftovers = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LAKEHOUSE_INSTANCE") == str(home) and process.pid != os.getpid():
                leftovers.append(process)
        except (OSError, psutil.Error):
            continue
    end(leftovers)
    return len(leftovers)


def log_file(home: Path, name: str) -> Path:
    """Where the service's output goes."""
    return home / "logs" / f"{name}.log"


def last_log_lines(home: Path, name: str, lines: int = LOG_LINES_IN_ERRORS) -> str:
    """The end of the service's log, indented for an error message."""
    try:
        with log_file(home, name).open("rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - 20_000))
            text = handle.read().decode(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join("    " + line for line in text.splitlines()[-lines:]) or "    (the log is empty)"


def _wait_until_healthy(home: Path, service: Service, process: psutil.Process) -> None:
    deadline = time.monotonic() + service.start_seconds
    while not service.healthy():
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise StackError(
                f"{service.name} ended while it was starting. The last lines of {log_file(home, service.name)}:\n"
                f"{last_log_lines(home, service.name)}"
            )
        if time.monotonic() > deadline:
            raise StackError(
                f"{service.name} runs (pid {process.pid}) but did not answer within {service.start_seconds:.0f} s. "
                f"The last lines of {log_file(home, service.name)}:\n{last_log_lines(home, service.name)}\n"
                "Run `make down` and `make up` once more; if it stays so, the log says why."
            )
        time.sleep(HEALTH_INTERVAL)


def _refuse_taken_port(name: str, setting: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            owner = _listener(port)
            raise StackError(
                f"{name} cannot start: port {port} is in use{owner}. Stop that program, or put "
                f"{setting}=<a free port> into .env and run `make up` again."
            ) from error


def _listener(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""


def _pid_file(home: Path, name: str) -> Path:
    return home / "run" / f"{name}.json"
