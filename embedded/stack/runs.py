"""Runs a DAG through Airflow's API, as a person would in its web UI, and shows each task as it goes."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from embedded.stack.airflow import AirflowApi
from embedded.stack.processes import StackError

POLL_SECONDS = 0.7
DAG_PARSE_SECONDS = 90  # how long a new installation may take until Airflow knows its DAGs
SCHEDULER_SECONDS = 20  # how long the scheduler may take to create the run of an unpaused DAG
SILENCE_SECONDS = 60  # how long Airflow may not answer while a run is followed
FINISHED = {"success", "failed"}
ENDED = {"success", "failed", "upstream_failed", "skipped", "up_for_retry"}
TASK_STYLES = {
    "success": "green",
    "failed": "red",
    "upstream_failed": "red",
    "up_for_retry": "yellow",
    "up_for_reschedule": "yellow",
    "running": "cyan",
    "deferred": "cyan",
    "skipped": "dim",
}


@dataclass
class RunState:
    """A DAG run and the tasks it has had so far."""

    dag_id: str
    run_id: str
    state: str = "queued"
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)


def wait_for_dag(client: AirflowApi, dag_id: str) -> None:
    """Waits until Airflow has parsed the DAG.

    Raises:
        StackError: it has an import error (shown), or does not appear within `DAG_PARSE_SECONDS`.
    """
    deadline = time.monotonic() + DAG_PARSE_SECONDS
    while client.call("GET", f"/dags/{dag_id}", accept=(404,)) is None:
        errors = client.call("GET", "/importErrors")["import_errors"]
        if errors:
            texts = "\n".join(f"{each['filename']}:\n{each['stack_trace']}" for each in errors)
            raise StackError(f"Airflow cannot import a DAG:\n{texts}")
        if time.monotonic() > deadline:
            raise StackError(
                f"Airflow does not know the DAG {dag_id} after {DAG_PARSE_SECONDS} s: "
                "see `make logs SERVICE=airflow-dag-processor`."
            )
        time.sleep(POLL_SECONDS)


def unpause(client: AirflowApi, dag_id: str) -> None:
    """Lets the scheduler run the DAG."""
    client.call("PATCH", f"/dags/{dag_id}?update_mask=is_paused", json={"is_paused": False})


def trigger(client: AirflowApi, dag_id: str, conf: dict[str, Any]) -> str:
    """Starts a run now; its run id."""
    return client.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})["dag_run_id"]


def batch_date_of(run: dict[str, Any]) -> datetime.date:
    """The day that a run is for: the one named at its trigger, else the day before it was due."""
    named = (run.get("conf") or {}).get("batch_date")
    if named:
        return datetime.date.fromisoformat(named)
    due = datetime.datetime.fromisoformat(run.get("logical_date") or run["run_after"])
    return due.astimezone(datetime.UTC).date() - datetime.timedelta(days=1)


def runs_of(client: AirflowApi, dag_id: str, day: datetime.date) -> list[dict[str, Any]]:
    """The DAG's runs for the batch `day`, newest first."""
    found = client.call("GET", f"/dags/{dag_id}/dagRuns?limit=100&order_by=-run_after")["dag_runs"]
    return [run for run in found if batch_date_of(run) == day]


def adopt_or_trigger(client: AirflowApi, dag_id: str, day: datetime.date) -> tuple[str, bool]:
    """The run of `dag_id` for `day`, and whether it is green already.

    A green run is not repeated. One that is under way is adopted, so is the one that the scheduler makes by itself
    when a DAG with a cron schedule is unpaused for the first time; otherwise a run is triggered.
    """
    unpause(client, dag_id)
    if _scheduler_makes_run_for(day) and not runs_of(client, dag_id, day):
        deadline = time.monotonic() + SCHEDULER_SECONDS
        while not runs_of(client, dag_id, day) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    known = runs_of(client, dag_id, day)
    for wanted in (lambda state: state == "success", lambda state: state not in FINISHED):
        for run in known:
            if wanted(run["state"]):
                return run["dag_run_id"], run["state"] == "success"
    return trigger(client, dag_id, {"batch_date": day.isoformat()}), False


def _scheduler_makes_run_for(day: datetime.date) -> bool:
    """Whether the newest firing of `0 1 * * *` UTC is the one for `day`."""
    now = datetime.datetime.now(datetime.UTC)
    fired = now.date() if now.hour >= 1 else now.date() - datetime.timedelta(days=1)
    return fired - datetime.timedelta(days=1) == day


def follow(client: AirflowApi, dag_id: str, run_id: str, console: Console, watch: Callable[[], None]) -> RunState:
    """Shows the run until it ends: in a terminal a line for each task that ended above a live table of the groups,
    elsewhere a line for each change.

    `watch` is called at each poll and may raise, to say that a service died. An Airflow that is silent for a while
    is waited for.

    Raises:
        StackError: a service died, or Airflow did not answer for `SILENCE_SECONDS`.
    """
    run = RunState(dag_id, run_id)
    begun = answered = time.monotonic()
    live = Live(console=console, refresh_per_second=4) if console.is_terminal and not console.is_dumb_terminal else None
    if live:
        live.start()
    try:
        while True:
            try:
                changes = _read(client, run)
                answered = time.monotonic()
            except StackError:
                watch()  # says which service died, if one did
                if time.monotonic() - answered > SILENCE_SECONDS:
                    raise
                changes = []
            for task in changes:
                if live is None or task["state"] in ENDED:
                    console.print(_line(task), highlight=False, soft_wrap=True)
            if live:
                live.update(_table(run, time.monotonic() - begun))
            if run.state in FINISHED:
                return run
            watch()
            time.sleep(POLL_SECONDS)
    finally:
        if live:
            live.stop()


def _read(client: AirflowApi, run: RunState) -> list[dict[str, Any]]:
    """Takes in what Airflow says of the run; the tasks whose state changed."""
    path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}"
    run.state = client.call("GET", path)["state"]
    return _update(run, client.call("GET", f"{path}/taskInstances?limit=1000")["task_instances"])


def _update(run: RunState, instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Takes in the new states; the tasks whose state changed to one worth telling."""
    changed = []
    for task in instances:
        key = f"{task['task_id']}[{task['map_index']}]" if task["map_index"] >= 0 else task["task_id"]
        before = run.tasks.get(key, {})
        seen = (before.get("state"), before.get("try_number"))
        run.tasks[key] = task
        if (task["state"], task["try_number"]) != seen and task["state"] in TASK_STYLES:
            changed.append(task)
    return changed


def _line(task: dict[str, Any]) -> str:
    moment = datetime.datetime.now(datetime.UTC).strftime("%H:%M:%S")
    took = f" {task['duration']:.1f} s" if task.get("duration") and task["state"] in ("success", "failed") else ""
    style = TASK_STYLES[task["state"]]
    again = f" (try {task['try_number']})" if (task["try_number"] or 0) > 1 else ""
    return f"{moment}  {escape(task['task_id']):<48} [{style}]{task['state']}[/]{took}{again}"


def _table(run: RunState, seconds: float) -> Table:
    """One line for each task group, in the order in which they began."""
    table = Table(title=f"{run.dag_id}  {run.run_id}  {run.state}  {seconds:.0f} s", title_justify="left")
    for column in ("group", "done", "now", "seconds"):
        table.add_column(column, justify="right" if column in ("done", "seconds") else "left")
    groups: dict[str, list[dict[str, Any]]] = {}
    for task in sorted(run.tasks.values(), key=lambda each: each["start_date"] or "9"):
        groups.setdefault(task["task_id"].split(".")[0], []).append(task)
    for group, tasks in groups.items():
        done = sum(task["state"] in ("success", "skipped") for task in tasks)
        now = [
            f"[{TASK_STYLES[task['state']]}]{task['task_id'].partition('.')[2] or group} {task['state']}[/]"
            for task in tasks
            if task["state"] in TASK_STYLES and task["state"] not in ("success", "skipped", "upstream_failed")
        ]
        spent = sum(task["duration"] or 0 for task in tasks)
        table.add_row(group, f"{done}/{len(tasks)}", "  ".join(now), f"{spent:.0f}" if spent else "")
    return table
