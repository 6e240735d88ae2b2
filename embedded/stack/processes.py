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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

LOG_LINES_IN_ERRORS = 15
STOP_SECONDS = 15  # how long a service may take to end cleanly
# Settings of the user's shell that would lead a service of ours to another server, another account or another home.
FOREIGN = ("AWS_", "AIRFLOW_", "DBT_", "SUPERSET_", "PG")
HEALTH_INTERVAL = 0.15  # seconds between two health checks while starting


class StackError(Exception):
    """Something keeps the stack from running; the message says what, on which service, and what to do."""


@dataclass(frozen=True)
class Service:
    """How to run one service.

    `healthy` answers whether it serves requests; `ports` maps the setting's name to the port that it listens on;
    `start_seconds` bounds the wait for health; `stop_signal` asks it to end cleanly. What others write to on their way
    down `stops_last`.
    """

    name: str
    command: Sequence[str]
    healthy: Callable[[], bool]
    ports: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    start_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stops_last: bool = False


def responds(url: str, contains: str | None = None) -> Callable[[], bool]:
    """A health check: GET `url` answers 200 (and the body has `contains`)."""

    def check() -> bool:
        try:
            answer = httpx.get(url, timeout=5, trust_env=False)  # no proxy between this machine and itself
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


def environment_for(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """What a process of this installation sees: the user's environment without what is `FOREIGN`, a home of its own
    (DuckDB and Superset write there), no proxy for this machine, and `variables`.
    """
    user = home / "user"
    user.mkdir(parents=True, exist_ok=True)
    mine = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    direct = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
    own = {"HOME": str(user), "no_proxy": direct, "NO_PROXY": direct, "LAKEHOUSE_INSTANCE": str(home)}
    return mine | own | dict(variables)


def running(home: Path, name: str) -> psutil.Process | None:
    """The service's main process if it is alive, else None."""
    try:
        stored = _stored(home, name)
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
        end(_orphans(home, service.name))
        refuse_taken_ports(service)
        process = launch(home, service)
    _wait_until_healthy(home, service, process)
    return started


def launch(home: Path, service: Service) -> psutil.Process:
    """Starts the process in a session of its own and records it, without waiting for health."""
    log = log_file(home, service.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(service.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment_for(home, service.environment),
            start_new_session=True,
        )
    process = psutil.Process(child.pid)
    record(home, service, process)
    return process


def record(home: Path, service: Service, process: psutil.Process) -> None:
    """Remembers `process` as the service's main process, and how it is stopped."""
    file = _pid_file(home, service.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {"pid": process.pid, "create_time": process.create_time()}
    file.write_text(json.dumps(known | {"stop_signal": service.stop_signal, "stops_last": service.stops_last}))


def stop_all(home: Path) -> tuple[list[str], int]:
    """Ends every service that was started from this folder, with every process of its session, all at once but for
    those that stop last; then what else carries this installation's mark.

    Needs nothing but the folder, so that it works also where settings cannot be read any more.

    Returns:
        The names of the services that ran, and how many other processes were found and ended.
    """
    names = sorted(file.stem for file in (home / "run").glob("*.json"))
    stopped: list[str] = []
    leftovers: list[psutil.Process] = []
    for last in (False, True):
        mains, families = [], []
        for name in names:
            stored = _stored(home, name)
            if bool(stored.get("stops_last")) is not last:
                continue
            if process := running(home, name):
                families += session_of(process.pid)
                process.send_signal(stored.get("stop_signal", signal.SIGTERM))
                mains.append(process)
                stopped.append(name)
            else:
                leftovers += _orphans(home, name)
        psutil.wait_procs(mains, timeout=STOP_SECONDS)
        end(families)
    for name in names:
        _pid_file(home, name).unlink(missing_ok=True)
    alive = [process for process in leftovers if process.is_running()]
    end(alive)
    return stopped, len(alive) + kill_leftovers(home)


def session_of(leader: int) -> list[psutil.Process]:
    """All processes of the session that the process `leader` began (children that were re-parented included)."""
    members = []
    for candidate in psutil.process_iter():
        try:
            if os.getsid(candidate.pid) == leader:
                members.append(candidate)
        except (OSError, psutil.Error):
            continue
    return members


def _orphans(home: Path, name: str) -> list[psutil.Process]:
    """What a service whose main process was killed has left running. (The kernel gives a pid to nobody while there
    is a session of that number; a live process of that number is a stranger's.)
    """
    leader = _stored(home, name).get("pid")
    return [] if leader is None or psutil.pid_exists(leader) else session_of(leader)


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


def refuse_taken_ports(service: Service) -> None:
    """Raises StackError if somebody else listens on a port of the service, or it may not be listened on."""
    for setting, port in service.ports.items():
        _refuse_taken_port(service.name, setting, port)


def _refuse_taken_port(name: str, setting: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise StackError(
                f"{name} cannot start: this user may not listen on port {port}. Put {setting}=<a port above 1023> "
                "into .env and run `make up` again."
            ) from error
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


def _stored(home: Path, name: str) -> dict[str, Any]:
    """What `record` wrote; empty where there is nothing, or half of it."""
    try:
        found = json.loads(_pid_file(home, name).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _pid_file(home: Path, name: str) -> Path:
    return home / "run" / f"{name}.json"
