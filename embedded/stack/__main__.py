"""The command line behind the make targets: `python -m embedded.stack --help`."""

from __future__ import annotations

import argparse
import datetime
import fcntl
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embedded.settings import REPOSITORY, Settings, SettingsError, home_folder, load
from embedded.stack import airflow, runs, services, summary
from embedded.stack.processes import (
    StackError,
    last_log_lines,
    log_file,
    refuse_taken_ports,
    running,
    stop_all,
)

console = Console(highlight=False)
errors = Console(highlight=False, stderr=True)  # eval "$(make -s env)" would run what it finds on stdout
DAILY = "daily_batch"
SETUP = "platform_setup"
CHANGES_SHOWN = 4  # of each service's; the run's logs in Airflow have all of them


def main() -> int:
    """Runs one command; the exit status."""
    arguments = _parser().parse_args()
    try:
        return arguments.command(arguments) or 0
    except (StackError, SettingsError) as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\ninterrupted; what was started goes on running (`make status`, `make down`)")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="embedded.stack", description="The embedded lakehouse on this machine.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, function: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        return command

    command = add("up", up, "start everything, apply the declared state, run the newest daily batch")
    command.add_argument("--no-run", action="store_true", help="start everything, run nothing")
    add("down", down, "stop everything; the data stays")
    add("status", status, "what runs, where, with how much memory")
    command = add("logs", logs, "the last lines of the logs")
    command.add_argument("service", nargs="?", help="one service (default: each of them)")
    command.add_argument("--follow", "-f", action="store_true", help="go on showing new lines of the service")
    add("env", print_environment, 'export lines for a shell: eval "$(make -s env)"')
    command = add("run", run, "run a DAG and follow it")
    command.add_argument("dag", help="the DAG's id, for example daily_batch")
    command.add_argument("date", nargs="?", type=_day, help="the batch, YYYY-MM-DD")
    command = add("load-files", load_files, "put a folder of invoice CSVs into the inbox, in place of what is there")
    command.add_argument("folder", type=Path)
    command = add("new-connection", new_connection, "ask for a source, discover its streams, declare the connection")
    command.add_argument("options", nargs="*", help="after --: those of `lakehouse new-connection`")
    command = add("export-dashboards", export_dashboards, "write what was edited in Superset to the dashboards' bundle")
    command.add_argument("options", nargs="*", help="after --: those of `lakehouse export-dashboards`")
    add("clean", clean, "stop everything and delete the installation's data")
    return parser


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day: write it as YYYY-MM-DD, e.g. 2026-01-31") from error


def up(arguments: argparse.Namespace) -> int:
    """Start, apply, run, report. 0 only if the batch is green and its dashboards answer from cache."""
    begun = time.monotonic()
    settings = _settings(create=True)
    with _only_one(settings):
        console.print(f"Starting the lakehouse in {settings.home} (SCALE={settings.scale})", markup=False)
        for service in services.all_services(settings):
            if running(settings.home, service.name) is None:
                refuse_taken_ports(service)
        services.run_steps(services.steps(settings), _tell)
        client = airflow.api(settings)
        for dag_id in (SETUP, DAILY):
            runs.wait_for_dag(client, dag_id)
        if arguments.no_run:
            return 0
        _apply_declared_state(client, settings)
        day = newest_complete_day(settings)
        run_id, green = runs.adopt_or_trigger(client, DAILY, day)
        if green:
            console.print(f"The batch of {day} is green already (run {run_id}); its summary:")
            status = _finish(settings, DAILY, run_id, "success") or _check_dashboards(settings)
        else:
            console.print(f"Running {DAILY} for {day} (run {run_id})")
            state = runs.follow(client, DAILY, run_id, console, lambda: _watch(settings))
            status = _finish(settings, DAILY, run_id, state.state)
        summary.print_logins(console, settings)
        console.print(f"{'Done' if status == 0 else 'Not done'} in {time.monotonic() - begun:.0f} s.")
        return status


def down(arguments: argparse.Namespace) -> int:
    """Stop every service, then whatever of this installation is left. Needs no readable settings."""
    home = home_folder()
    if not (home / "settings.json").exists():
        console.print(f"Nothing to stop: there is no installation in {home}.", markup=False)
        return 0
    stopped, left = stop_all(home)
    console.print(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")
    if left:
        console.print(f"{left} processes that killed services had left behind were ended too.")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """A table of the services. 0 if all of them run and answer."""
    settings = _existing()
    table = Table("service", "state", "pid", "port")
    table.add_column("memory", justify="right")
    total, well = 0, True
    for service in services.all_services(settings):
        process = running(settings.home, service.name)
        healthy = process is not None and service.healthy()
        well = well and healthy
        memory = _memory(process) if process else 0
        total += memory
        state = "[green]healthy[/]" if healthy else "[yellow]not answering[/]" if process else "[red]stopped[/]"
        ports = ", ".join(str(port) for port in service.ports.values())
        table.add_row(service.name, state, str(process.pid) if process else "", ports, f"{memory / 2**20:,.0f} MiB")
    console.print(table)
    console.print(f"All together {total / 2**20:,.0f} MiB (proportional set size). Data: {settings.home}")
    return 0 if well else 1


def logs(arguments: argparse.Namespace) -> int:
    """The end of one log or of each."""
    settings = _existing()
    folder = settings.home / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if arguments.service and arguments.service not in known:
        raise StackError(f"there is no log of {arguments.service!r}. There are: {', '.join(known)}.")
    if arguments.follow and not arguments.service:
        raise StackError(f"--follow shows one log as it grows: name it. There are: {', '.join(known)}.")
    for name in [arguments.service] if arguments.service else known:
        console.rule(str(log_file(settings.home, name)), align="left")
        console.print(last_log_lines(settings.home, name, 200 if arguments.service else 10), markup=False)
    if arguments.follow:
        _follow_log(log_file(settings.home, arguments.service))
    return 0


def print_environment(arguments: argparse.Namespace) -> int:
    """`export NAME='value'` lines."""
    for name, value in _existing().environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Trigger a DAG, follow it, print its summary if it is the daily batch."""
    settings = _existing()
    client = airflow.api(settings)
    known = [dag["dag_id"] for dag in client.call("GET", "/dags?limit=1000")["dags"]]
    if known and arguments.dag not in known:
        raise StackError(f"there is no DAG {arguments.dag!r}. There are: {', '.join(sorted(known))}.")
    runs.wait_for_dag(client, arguments.dag)
    if client.call("GET", f"/dags/{arguments.dag}")["is_paused"]:
        runs.unpause(client, arguments.dag)
        console.print(f"{arguments.dag} was paused; from now on it also runs by its schedule, if it has one")
    conf = {"batch_date": arguments.date.isoformat()} if arguments.date else {}
    run_id = runs.trigger(client, arguments.dag, conf)
    console.print(f"Running {arguments.dag} (run {run_id})")
    state = runs.follow(client, arguments.dag, run_id, console, lambda: _watch(settings))
    return _finish(settings, arguments.dag, run_id, state.state)


def load_files(arguments: argparse.Namespace) -> int:
    """Hand the folder to the demo, whose inbox it is."""
    settings = _existing()
    import os
    import subprocess

    command = [str(services.PYTHON), "-m", "embedded.demo", "load-files", str(arguments.folder.resolve())]
    environment = os.environ | services.demo_environment(settings)
    return subprocess.run(command, env=environment, cwd=REPOSITORY, check=False).returncode


def new_connection(arguments: argparse.Namespace) -> int:
    """Hand over to the package's own command, in the environment of this installation's Airflow."""
    settings = _existing()
    if running(settings.home, "airbyte") is None:
        raise StackError("Airbyte is not running, and is asked for the streams: start it by `make up`.")
    return _lakehouse(settings, "new-connection", *arguments.options)


def export_dashboards(arguments: argparse.Namespace) -> int:
    """Hand over to the package's own command, in the environment of this installation's Airflow."""
    settings = _existing()
    if running(settings.home, "superset") is None:
        raise StackError("Superset is not running, and is asked for the dashboards: start it by `make up`.")
    return _lakehouse(settings, "export-dashboards", *arguments.options)


def _lakehouse(settings: Settings, *words: str) -> int:
    import os
    import subprocess

    command = [str(airflow.BIN / "python"), "-m", "lakehouse.cli", *words]
    return subprocess.run(command, env=os.environ | airflow.environment(settings), check=False).returncode


def clean(arguments: argparse.Namespace) -> int:
    """`down`, and the folder with all data deleted."""
    down(arguments)
    home = home_folder()
    if (home / "settings.json").exists():
        shutil.rmtree(home)
        console.print(f"Deleted {home}.", markup=False)
    return 0


def newest_complete_day(settings: Settings) -> datetime.date:
    """The last day that the demo sources hold whole: the end date, or a later one that the demo has added since."""
    with psycopg.connect(settings.database_url("shop"), connect_timeout=5) as connection:
        row = connection.execute("SELECT max(day) FROM demo.journal WHERE action IN ('load', 'advance')").fetchone()
    return max(settings.end_date, row[0]) if row and row[0] else settings.end_date


def _apply_declared_state(client: airflow.AirflowApi, settings: Settings) -> None:
    console.print(f"Applying what include/pipelines/ declares ({SETUP})")
    runs.unpause(client, SETUP)
    run_id = runs.trigger(client, SETUP, {})
    state = runs.follow(client, SETUP, run_id, console, lambda: _watch(settings))
    if state.state != "success":
        failed = [name for name, task in state.tasks.items() if task["state"] == "failed"]
        url = f"{settings.url('AIRFLOW_PORT')}/dags/{SETUP}/runs/{run_id}"
        raise StackError(f"{SETUP} failed at {', '.join(failed)}: see {url}")
    entry = f"/dags/{SETUP}/dagRuns/{run_id}/taskInstances/summary/xcomEntries/return_value?deserialize=true"
    changes = client.call("GET", entry)["value"]
    if not any(changes.values()):
        console.print("Nothing changed.")
    for part, names in changes.items():
        if names:
            more = f"; and {len(names) - CHANGES_SHOWN} more" if len(names) > CHANGES_SHOWN else ""
            console.print(f"  {part}, {len(names)} changes: {'; '.join(names[:CHANGES_SHOWN])}{more}", markup=False)


def _finish(settings: Settings, dag_id: str, run_id: str, state: str) -> int:
    found = summary.read_summary(settings, dag_id, run_id)
    if found:
        summary.print_summary(console, found)
    url = f"{settings.url('AIRFLOW_PORT')}/dags/{dag_id}/runs/{run_id}"
    if state != "success":
        console.print(f"[red]The run failed.[/] Look at {url}, repair what it names, clear the failed group.")
        return 1
    if dag_id == DAILY and not (found and summary.all_charts_cached(found)):
        console.print("[red]The run is green, but not every chart answers from Superset's cache.[/]")
        return 1
    return 0


def _check_dashboards(settings: Settings) -> int:
    """Whether the dashboards still answer from cache; what has gone from it is computed by being asked for."""
    output, missing = airflow.check_dashboards(settings)
    if missing:
        console.print(f"{output}\nThey have been computed anew; asking once more.")
        output, missing = airflow.check_dashboards(settings)
    console.print(output)
    return int(missing)


def _watch(settings: Settings) -> None:
    """Raises if a service died."""
    for service in services.all_services(settings):
        if running(settings.home, service.name) is None:
            raise StackError(
                f"{service.name} died. The last lines of {log_file(settings.home, service.name)}:\n"
                f"{last_log_lines(settings.home, service.name)}\nRun `make up` to start it again: the run goes on."
            )


def _tell(name: str, message: str, seconds: float) -> None:
    took = f"{seconds:.1f} s" if seconds >= 0.95 else ""
    console.print(f"  [green]✓[/] {name:<22} {escape(message)}  [dim]{took}[/]")


def _memory(process: psutil.Process) -> int:
    """Proportional set size of the process and its children, in bytes."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _follow_log(file: Path) -> None:
    with file.open(errors="replace") as handle:
        handle.seek(0, 2)
        while True:
            line = handle.readline()
            if line:
                console.print(line.rstrip(), markup=False)
            else:
                time.sleep(0.3)


def _settings(create: bool) -> Settings:
    settings = load(create=create)
    assert settings is not None  # load(create=True) always makes one
    return settings


def _existing() -> Settings:
    settings = load(create=False)
    if settings is None:
        raise StackError(f"there is no installation in {home_folder()}: run `make up` first.")
    return settings


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Two `make up` at once would both start what the other is starting."""
    with (settings.home / "up.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("another `make up` is under way in this installation.") from error
        yield


if __name__ == "__main__":
    sys.exit(main())
