"""Waiting for remote jobs: our operators beside the official Airbyte provider's, on the same servers.

    .venv/bin/python benchmarks/operators.py [--repeat 5] [--waits 200]

An instance of its own is made. Four tables:

1. From the remote end to the end of the wait: seconds between the moment when the server says that a job is over, seen
   by a thread that asks every 20 ms, and the operator's result. The jobs take 8 to 14 s.
2. The seconds of a worker that such a wait takes, from execute() to the deferral and in the resumption.
3. Many deferred waits in one event loop, as in a triggerer: how late the loop is for a timer of 50 ms, over 10 s.
4. What importing an operator costs above Airflow's own `airflow.sdk` and BaseOperator.

Tasks run in this process, with the operators' own execute(), trigger and resumption; what Airflow's scheduler adds to a
deferral, about a second, is the same for all and not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg2
from _instance import EMBEDDED, REPOSITORY, instance

sys.path.insert(0, str(REPOSITORY / "plugins"))
CONNECTION = "postgres"  # of include/pipelines/connections
ASKED_EVERY = 0.02
IMPORTS = {
    "lakehouse.dremio.operators.sql": "airflow.providers.common.sql.operators.sql",
    "lakehouse.airbyte.operators": "airflow.providers.airbyte.operators.airbyte",
    "lakehouse.minio.operators": "airflow.providers.amazon.aws.operators.s3",
    "lakehouse.dremio.sensors": "airflow.providers.common.sql.sensors.sql",
}
IMPORT = """
import sys, time, airflow.sdk
from airflow.sdk import BaseOperator
begun = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - begun)
"""


@dataclass
class Waits:
    """What one operator's waits took, in seconds."""

    late: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="jobs waited for by each operator (default 5)")
    parser.add_argument("--waits", type=int, default=200, help="deferred waits in one event loop (default 200)")
    arguments = parser.parse_args()
    silence()
    with instance("20k", "--no-run"):
        connect_airflow()
        apply_connections()
        waits = measure_waits(arguments.repeat)
        print_waits(waits)
        print_loop(arguments.waits)
    print_imports()
    return 0


def silence() -> None:
    """The operators' logs would stand between the tables."""
    logging.disable(logging.WARNING)
    import airflow.sdk  # noqa: F401 - configures structlog
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), cache_logger_on_first_use=False
    )


def connect_airflow() -> None:
    """The instance's services as Airflow's connections, as the stack itself makes them."""
    code = (
        "import json; from embedded.settings import load; from embedded.stack.airflow import connections; "
        "print(json.dumps(connections(load(create=False))))"
    )
    made = subprocess.run([EMBEDDED, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for fields in json.loads(made.stdout):
        name = fields.pop("connection_id").upper()
        os.environ[f"AIRFLOW_CONN_{name}"] = json.dumps(fields)
    os.environ["LAKEHOUSE_INCLUDE"] = str(REPOSITORY / "include")


def apply_connections() -> None:
    """Bucket and Airbyte connections as the pipeline declares them."""
    from lakehouse.airbyte.operators import AirbyteApplyOperator
    from lakehouse.minio.operators import BucketApplyOperator

    BucketApplyOperator(task_id="buckets").execute({})
    AirbyteApplyOperator(task_id="airbyte").execute({})


def context() -> dict[str, Any]:
    """As much of a task's context as the operators read."""

    class Store(dict[str, Any]):
        def set(self, key: str, value: Any) -> None:
            self[key] = value

        def delete(self, key: str) -> None:
            self.pop(key, None)

    ti = SimpleNamespace(
        dag_id="bench",
        task_id="wait",
        run_id=uuid.uuid4().hex,
        try_number=1,
        map_index=-1,
        xcom_push=lambda key, value: None,
    )
    return {"ti": ti, "task_state_store": Store(), "params": {}}


# --- waits -------------------------------------------------------------------------------------------


def run_task(operator: Any, ended: Callable[[], float]) -> tuple[float, float]:
    """Run a task as Airflow does, through its deferrals; seconds after the remote end, and seconds of a worker."""
    from airflow.sdk.exceptions import TaskDeferred

    held, resume, arguments = 0.0, operator.execute, {}
    while True:
        begun = time.monotonic()
        try:
            resume(context(), **arguments)
        except TaskDeferred as deferred:
            held += time.monotonic() - begun
            event = asyncio.run(first_event(deferred.trigger))
            resume, arguments = getattr(operator, deferred.method_name), {"event": event.payload}
            continue
        now = time.monotonic()
        return now - ended(), held + now - begun


async def first_event(trigger: Any) -> Any:
    async for event in trigger.run():
        return event
    raise RuntimeError(f"{trigger} ended without an event")


class RemoteEnd(threading.Thread):
    """Asks a server until `over()` is true, and keeps the moment."""

    def __init__(self, over: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._over = over
        self.at = 0.0
        self.start()

    def run(self) -> None:
        while not self._over():
            time.sleep(ASKED_EVERY)
        self.at = time.monotonic()

    def moment(self) -> float:
        """The moment, by the monotonic clock."""
        self.join(timeout=60)
        return self.at


def measure_waits(repeat: int) -> dict[str, Waits]:
    """Each operator in turn, so that all have the same machine."""
    from airflow.providers.airbyte.operators.airbyte import AirbyteTriggerSyncOperator

    from lakehouse.airbyte.operators import AirbyteSyncOperator
    from lakehouse.dremio.operators.sql import DremioSqlOperator

    found: dict[str, Waits] = {}

    def keep(name: str, late: float, held: float) -> None:
        waits = found.setdefault(name, Waits())
        waits.late.append(late)
        waits.held.append(held)

    with httpx.Client(timeout=30) as airbyte:
        login = {"client_id": os.environ["AIRBYTE_CLIENT_ID"], "client_secret": os.environ["AIRBYTE_CLIENT_SECRET"]}
        answer = airbyte.post(f"{os.environ['AIRBYTE_URL']}/applications/token", json=login)
        airbyte.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        known = airbyte.get(f"{os.environ['AIRBYTE_URL']}/connections").raise_for_status().json()["data"]
        (connection_id,) = [each["connectionId"] for each in known if each["name"] == CONNECTION]

        def over() -> bool:
            jobs = airbyte.get(f"{os.environ['AIRBYTE_URL']}/jobs", params={"connectionId": connection_id}).json()
            return all(job["status"] in ("succeeded", "failed", "cancelled") for job in jobs["data"])

        def sync(operator: Any, seconds: float) -> tuple[float, float]:
            with HeldUp(seconds):
                end: list[RemoteEnd] = []
                # the job is there a moment after execute() began
                threading.Timer(3, lambda: end.append(RemoteEnd(over))).start()
                return run_task(operator, lambda: end[0].moment())

        for turn in range(repeat):
            seconds = 8 + 1.5 * (turn % 5)
            ours = AirbyteSyncOperator(task_id="wait", connection=CONNECTION)
            official = AirbyteTriggerSyncOperator(task_id="wait", connection_id=connection_id)
            deferred = AirbyteTriggerSyncOperator(task_id="wait", connection_id=connection_id, deferrable=True)
            for name, made in (
                ("Airbyte sync: AirbyteSyncOperator", ours),
                ("  official, as it comes", official),
                ("  official, deferrable=True", deferred),
            ):
                if made is deferred and turn > 1:  # it looks once a minute: two are enough to see it
                    continue
                keep(name, *sync(made, seconds))
            dremio = DremioSqlOperator(task_id="wait", sql=slow_query(turn))
            keep("Dremio job: DremioSqlOperator", *run_dremio(dremio))
    return found


def run_dremio(operator: Any) -> tuple[float, float]:
    """The job's end is what `GET /job/{id}` first says of it."""
    jobs: list[str] = []
    submit = operator.hook.submit_sql

    def submitted(*arguments: Any, **options: Any) -> str:
        jobs.append(submit(*arguments, **options))
        watcher.append(RemoteEnd(lambda: watching.get_job(jobs[0]).state.is_terminal))
        return jobs[0]

    from lakehouse.dremio.hook import DremioHook

    watching, watcher = DremioHook(), []  # a session of its own
    operator.hook.submit_sql = submitted
    return run_task(operator, lambda: watcher[0].moment())


def slow_query(turn: int) -> str:
    """Some ten seconds of work: a cross join of 3 * 10**8 rows, of another text each time."""
    digits = "(VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9))"
    tables = ", ".join(f"{digits} AS t{n}(x)" for n in range(8))
    total = " + ".join(f"t{n}.x * {n + 1}" for n in range(8))
    return f"SELECT SUM(SQRT({total} + y)) AS total, {turn} AS turn FROM {tables}, (VALUES (1), (2), (3)) AS u(y)"


class HeldUp:
    """A lock on a table of the source: the sync that has begun goes on after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._connection = psycopg2.connect(os.environ["SHOP_DB_URL"])
        self._timer = threading.Timer(seconds, self._connection.rollback)

    def __enter__(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.join()
        self._connection.close()


def print_waits(waits: dict[str, Waits]) -> None:
    print("\nWaits of 8 to 14 s: seconds from the remote end to the task's end, and seconds of a worker")
    print(f"  {'':<38}{'median':>8}{'max':>8}{'worker':>9}{'ratio of medians':>19}")
    official = statistics.median(waits["  official, as it comes"].late)
    for name, each in waits.items():
        median = statistics.median(each.late)
        ratio = f"{median / official:19.2f}" if "irbyte" in name or "official" in name else f"{'no peer':>19}"
        print(f"  {name:<38}{median:8.2f}{max(each.late):8.2f}{statistics.median(each.held):9.2f}{ratio}")


# --- many waits in one loop --------------------------------------------------------------------------


def print_loop(count: int) -> None:
    """How late a timer of the loop is while `count` triggers wait for jobs that run."""
    from airflow.providers.airbyte.triggers.airbyte import AirbyteSyncTrigger

    from lakehouse.airbyte.hook import AirbyteHook
    from lakehouse.airbyte.trigger import AirbyteJobTrigger
    from lakehouse.dremio.hook import DremioHook
    from lakehouse.dremio.triggers import DremioJobTrigger

    hook = DremioHook()
    dremio_job = hook.submit_sql(slow_query(99).replace("(1), (2), (3)", ", ".join(f"({n})" for n in range(40))))
    with HeldUp(60), AirbyteHook() as airbyte:
        job, _ = airbyte.start_sync(airbyte.connection_id(CONNECTION))
        until = time.time() + 600
        kinds: dict[str, Callable[[], Any]] = {
            "DremioJobTrigger": lambda: DremioJobTrigger(dremio_conn_id="dremio_default", job_id=dremio_job),
            "AirbyteJobTrigger": lambda: AirbyteJobTrigger(
                airbyte_conn_id="airbyte_default", job_id=job.job_id, started_at=time.time(), end_at=until, owned=False
            ),
            "official AirbyteSyncTrigger, 3 s": lambda: AirbyteSyncTrigger(
                conn_id="airbyte_default", job_id=job.job_id, end_time=until, poll_interval=3
            ),
        }
        print(f"\n{count} deferred waits in one event loop: how late it is, in seconds")
        print(f"  {'':<38}{'median':>8}{'max':>8}")
        for name, make in kinds.items():
            late = asyncio.run(lateness([make() for _ in range(count)], 10.0))
            print(f"  {name:<38}{statistics.median(late):8.3f}{max(late):8.3f}")
        hook.cancel_job(dremio_job)


async def lateness(triggers: list[Any], seconds: float) -> list[float]:
    """Seconds by which a timer of 50 ms was late, each time."""
    tasks = [asyncio.create_task(first_event(trigger)) for trigger in triggers]
    late, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        due = time.monotonic() + 0.05
        await asyncio.sleep(0.05)
        late.append(time.monotonic() - due)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return late


# --- imports -----------------------------------------------------------------------------------------


def print_imports() -> None:
    print("\nImport above airflow.sdk: milliseconds, median of 5")
    print(f"  {'':<38}{'ours':>8}{'official':>10}{'ratio':>8}")
    for ours, official in IMPORTS.items():
        mine, theirs = import_seconds(ours), import_seconds(official)
        print(f"  {ours:<38}{mine * 1000:8.0f}{theirs * 1000:10.0f}{mine / theirs:8.2f}   {official}")


def import_seconds(module: str) -> float:
    def once() -> float:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "plugins")}
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, module], env=environment, capture_output=True, text=True, check=True
        )
        return float(done.stdout.split()[-1])

    return statistics.median(once() for _ in range(5))


if __name__ == "__main__":
    sys.exit(main())
