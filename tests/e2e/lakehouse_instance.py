"""The running stack as its users have it: Airflow's API, the make targets' command line, and readers of `gold`."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pyarrow as pa
from pyarrow import flight

REPOSITORY = Path(__file__).resolve().parents[2]
DAG = "daily_batch"
GROUPS = [
    "extract",
    "publish",
    "catalog",
    "staging",
    "intermediate",
    "marts",
    "quality",
    "reflections",
    "release",
    "dashboards",
    "report",
]
WAITS = "extract.wait_for_turn"
FINISHED = {"success", "failed"}
AT_WORK = {"running", "deferred"}
RUN_SECONDS = 420
BACKFILL_SECONDS = 120
# a figure beside the row count by which a reader would notice that something unreleased is shown
FIGURES = {
    "fct_daily_revenue": "SUM(amount)",
    "fct_customer_lifetime_value": "SUM(lifetime_value)",
    "fct_daily_invoices": "SUM(daily_revenue)",
    "fct_orders": "SUM(amount)",
}
# what gRPC says when the server's process is gone; anything that a server answers is another text
NO_SERVER = ("failed to connect", "could not finish writing", "socket closed", "connection re", "stream removed")


def stack(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`python -m embedded.stack …` for the instance of this test run."""
    python = REPOSITORY / ".venv-embedded" / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "embedded.stack", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    told = done.stdout[-6000:] + done.stderr
    assert not check or done.returncode == 0, f"stack {arguments} ended with {done.returncode}:\n{told}"
    return done


class Airflow:
    """Airflow's REST API, and what a person does with it and one DAG."""

    def __init__(self, reach: dict[str, str], dag: str = DAG) -> None:
        self.dag = dag
        self.url = reach["AIRFLOW_URL"]
        self._login = {"username": reach["AIRFLOW_USERNAME"], "password": reach["AIRFLOW_PASSWORD"]}
        self._client = httpx.Client(base_url=self.url, timeout=60)
        self._token()

    def _token(self) -> None:
        token = self._client.post("/auth/token", json=self._login).raise_for_status().json()["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._client.request(method, f"/api/v2{path}", **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def trigger(self, day: str | None = None) -> str:
        """Starts a run for the batch `day` (empty: the newest complete day)."""
        conf = {"batch_date": day} if day else {}
        return self.call("POST", f"/dags/{self.dag}/dagRuns", json={"logical_date": None, "conf": conf})["dag_run_id"]

    def backfill(self, first: str, last: str, **options: Any) -> None:
        """Starts a backfill; before that waits for the last one, whose end the scheduler notes some time after it."""
        deadline = time.monotonic() + BACKFILL_SECONDS
        while any(not one["completed_at"] for one in self.call("GET", f"/backfills?dag_id={self.dag}")["backfills"]):
            assert time.monotonic() < deadline, f"a backfill is still not over after {BACKFILL_SECONDS} s"
            time.sleep(1)
        self.call("POST", "/backfills", json={"dag_id": self.dag, "from_date": first, "to_date": last, **options})

    def run(self, run_id: str) -> dict[str, Any]:
        return self.call("GET", f"/dags/{self.dag}/dagRuns/{run_id}")

    def runs(self) -> list[dict[str, Any]]:
        return self.call("GET", f"/dags/{self.dag}/dagRuns?limit=100&order_by=-run_after")["dag_runs"]

    def tasks(self, run_id: str, group: str | None = None) -> dict[str, dict[str, Any]]:
        """The run's task instances by task id, of one group if named."""
        found = self.call("GET", f"/dags/{self.dag}/dagRuns/{run_id}/taskInstances?limit=1000")["task_instances"]
        return {task["task_id"]: task for task in found if group is None or task["task_id"].split(".")[0] == group}

    def failed(self, run_id: str) -> list[str]:
        return sorted(name for name, task in self.tasks(run_id).items() if task["state"] == "failed")

    def wait(self, run_id: str, seconds: float = RUN_SECONDS) -> str:
        """Waits for the run's end; its state."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = self.run(run_id)["state"]
            if state in FINISHED:
                return state
            time.sleep(0.5)
        states = {name: task["state"] for name, task in self.tasks(run_id).items() if task["state"] != "success"}
        raise AssertionError(f"run {run_id} did not end within {seconds} s; not green: {states}")

    def reach_group(self, run_id: str, group: str, seconds: float = RUN_SECONDS) -> bool:
        """Waits until the group is at work; what fails on the way there is cleared, as a person would.

        False if the group's work was done before it was looked at.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = {task["state"] for name, task in self.tasks(run_id, group).items() if name != WAITS}
            if states & AT_WORK:
                return True
            if states == {"success"}:
                return False
            if self.run(run_id)["state"] == "failed":
                self.clear_failed(run_id)
            time.sleep(0.05)
        raise AssertionError(f"{group} was not at work within {seconds} s")

    def finish(self, run_id: str) -> None:
        """Waits for the run's success; if it failed it is cleared, once."""
        if self.wait(run_id) == "failed":
            self.clear_failed(run_id)
            assert self.wait(run_id) == "success"

    def clear_failed(self, run_id: str) -> None:
        """What a person does after a repair: the failed tasks and those that waited for them, once more."""
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": True, "task_ids": None}
        self.call("POST", f"/dags/{self.dag}/clearTaskInstances", json=body)

    def clear_group(self, run_id: str, group: str) -> None:
        """A whole group, green or not, with everything after it, as the UI's clear dialog does."""
        members = list(self.tasks(run_id, group))
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "only_failed": False,
            "include_downstream": True,
            "task_ids": members,
        }
        self.call("POST", f"/dags/{self.dag}/clearTaskInstances", json=body)

    def log(self, run_id: str, task_id: str, try_number: int) -> str:
        path = f"/dags/{self.dag}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        return str(self.call("GET", path, headers={"Accept": "application/json"}))


class Dremio:
    """A reader with a Flight client, as the source document's example has it."""

    def __init__(self, reach: dict[str, str]) -> None:
        self._url = reach["DREMIO_FLIGHT_URL"].replace("grpc://", "grpc+tcp://")
        self._login = (reach["DREMIO_USERNAME"], reach["DREMIO_PASSWORD"])

    def query(self, sql: str) -> pa.Table:
        client = flight.FlightClient(self._url)
        try:
            token = client.authenticate_basic_token(*self._login)
            options = flight.FlightCallOptions(headers=[token])
            info = client.get_flight_info(flight.FlightDescriptor.for_command(sql.encode()), options)
            return client.do_get(info.endpoints[0].ticket, options).read_all()
        finally:
            client.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        table = self.query(sql)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if table.num_columns else []

    def figures(self, view: str) -> tuple[Any, ...]:
        """Rows of a view of `gold`, and the sum by which it is known."""
        return self.rows(f'SELECT COUNT(*), {FIGURES.get(view, "0")} FROM gold."{view}"')[0]

    def views(self, space: str = "gold") -> list[str]:
        sql = f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{space}'"
        return sorted(name for (name,) in self.rows(sql))

    def snapshot(self) -> dict[str, tuple[int, str]]:
        """For every view of `gold`: how many rows, and a digest of all of them, whatever their order."""
        return {view: self.digest(f'gold."{view}"') for view in self.views()}

    def digest(self, dataset: str) -> tuple[int, str]:
        """How many rows a table or view has, and a digest of all of them, whatever their order."""
        rows = sorted(repr(row) for row in self.rows(f"SELECT * FROM {dataset}"))
        return len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()


@dataclass
class Reader:
    """Polls every view of `gold` while something else happens.

    It must never meet an error, an empty view, or figures that were not released: `problems` says what it met,
    `seen` which figures each view had (see `Dremio.figures`).
    """

    dremio: Dremio
    may_be_down: bool = False
    problems: list[str] = field(default_factory=list)
    seen: dict[str, set[tuple[Any, ...]]] = field(default_factory=dict)
    polls: int = 0

    def __enter__(self) -> Reader:
        self._views = self.dremio.views()
        self.seen = {view: {self.dremio.figures(view)} for view in self._views}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def assert_saw_one_release(self) -> None:
        """For a time in which the released figures did not change: polled often, no problem, nothing else seen."""
        assert self.problems == []
        assert {view: figures for view, figures in self.seen.items() if len(figures) > 1} == {}
        assert self.polls > len(self._views)

    def _poll(self) -> None:
        while not self._stop.is_set():
            for view in self._views:
                try:
                    figures = self.dremio.figures(view)
                except Exception as error:
                    if self.may_be_down and any(text in str(error).lower() for text in NO_SERVER):
                        continue
                    self.problems.append(f"{view}: {type(error).__name__}: {error}")
                    continue
                self.polls += 1
                self.seen.setdefault(view, set()).add(figures)
                if figures[0] == 0:
                    self.problems.append(f"{view}: empty")
            self._stop.wait(0.2)


def run_record(reach: dict[str, str], run_id: str) -> dict[str, Any]:
    """The run's summary, as its report wrote it."""
    with psycopg2.connect(reach["LAKEHOUSE_DB_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT summary FROM pipeline_run WHERE dag_id = %s AND run_id = %s", (DAG, run_id))
        row = cursor.fetchone()
    assert row, f"no run record of {run_id}"
    return row[0]


def shop(reach: dict[str, str], *statements: str) -> None:
    """Changes the demo's source database."""
    with psycopg2.connect(reach["SHOP_DB_URL"]) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def next_change(table: str) -> str:
    """SQL for the `updated_at` of a change to the demo's source: after every other, and before the next day's rows.

    The demo stamps a day's rows within that day, so now() may be ahead of them: an incremental sync that has read
    such a change never reads what is stamped before it.
    """
    return f"(SELECT max(updated_at) + interval '1 millisecond' FROM {table})"


def pid_of(service: str) -> int:
    """The main process of a service of this instance."""
    import json

    return json.loads((Path(os.environ["LAKEHOUSE_HOME"]) / "run" / f"{service}.json").read_text())["pid"]


def kill(service: str) -> None:
    """kill -9 of a service's main process, its children left as they are."""
    os.kill(pid_of(service), signal.SIGKILL)
