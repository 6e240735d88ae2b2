"""The daily batch, warm, beside the bare work that it does: the same syncs and one `dbt build` of the same project.

    .venv/bin/python benchmarks/pipeline.py [--scale 100k] [--scale 1M] [--repeat 3]

For each scale an instance of its own is made (folder, ports), `make up` run once, and then for each repetition a day is
added to the demo's sources and the daily batch run for it; after that a further day is added and the bare work done:
the connections' syncs side by side through Airbyte's API, and `dbt build`, tests included, into the idle slot. One
repetition before the counted ones fills both slots, so that every counted build merges. A counted batch also publishes
the day that the bare work before it has only synced: the comparison leans against the batch.
Prints the seconds of each group (median) and the ratio of the whole run, from its start in Airflow to its end, to the
bare work.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg2
from _instance import EMBEDDED, REPOSITORY, instance, stack

DAG = "daily_batch"
FINISHED = {"succeeded", "failed", "cancelled"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", action="append", help="orders in the demo shop (default: 100k and 1M)")
    parser.add_argument("--repeat", type=int, default=3, help="counted runs of each (default 3)")
    arguments = parser.parse_args()
    for scale in arguments.scale or ["100k", "1M"]:
        measure(scale, arguments.repeat)
    return 0


def measure(scale: str, repeat: int) -> None:
    """Makes an instance of `scale` orders, measures, prints the table, deletes the instance."""
    begun = time.monotonic()
    with instance(scale):
        first = time.monotonic() - begun
        batches, bare = [], []
        for _ in range(1 + repeat):
            batches.append(one_batch(advance()))
            advance()
            bare.append(bare_work())
        print_table(scale, first, batches[1:], bare[1:])


def one_batch(day: str) -> dict[str, float]:
    """Seconds of each group and of the whole run."""
    stack("run", DAG, day)
    login = {"username": os.environ["AIRFLOW_USERNAME"], "password": os.environ["AIRFLOW_PASSWORD"]}
    with httpx.Client(base_url=os.environ["AIRFLOW_URL"], timeout=30) as airflow:
        token = airflow.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        airflow.headers["Authorization"] = f"Bearer {token}"
        newest = f"/api/v2/dags/{DAG}/dagRuns?limit=1&order_by=-run_after"
        (run,) = airflow.get(newest).raise_for_status().json()["dag_runs"]
    with psycopg2.connect(os.environ["LAKEHOUSE_DB_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT summary FROM pipeline_run WHERE run_id = %s", (run["dag_run_id"],))
        (summary,) = cursor.fetchone() or ({},)
    began, ended = (datetime.datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    seconds = {group["group"]: group["seconds"] or 0.0 for group in summary["groups"]}
    return seconds | {"whole run": (ended - began).total_seconds()}


def bare_work() -> dict[str, float]:
    """Seconds of the syncs alone and of one dbt build."""
    begun = time.monotonic()
    sync_all()
    synced = time.monotonic()
    with tempfile.TemporaryDirectory() as target:
        command = [str(REPOSITORY / ".venv/bin/dbt"), "build", "--project-dir", "include/dbt", "--profiles-dir"]
        command += [
            "include/dbt",
            "--target-path",
            target,
            "--log-path",
            target,
            "--vars",
            json.dumps({"slot": idle_slot()}),
        ]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the bare dbt build failed:\n{done.stdout[-3000:]}")
    return {"syncs": synced - begun, "dbt build": time.monotonic() - synced}


def sync_all() -> None:
    """Every connection of Airbyte at once, through its public API."""
    base = os.environ["AIRBYTE_URL"]
    login = {"client_id": os.environ["AIRBYTE_CLIENT_ID"], "client_secret": os.environ["AIRBYTE_CLIENT_SECRET"]}
    with httpx.Client(timeout=30) as client:
        answer = client.post(f"{base}/applications/token", json=login | {"grant_type": "client_credentials"})
        client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        connections = client.get(f"{base}/connections").raise_for_status().json()["data"]
        jobs = [
            client.post(f"{base}/jobs", json={"connectionId": each["connectionId"], "jobType": "sync"})
            .raise_for_status()
            .json()["jobId"]
            for each in connections
        ]
        while jobs:
            states = {job: client.get(f"{base}/jobs/{job}").json()["status"] for job in jobs}
            if "failed" in states.values():
                sys.exit(f"a sync failed: {states}")
            jobs = [job for job, state in states.items() if state not in FINISHED]
            time.sleep(0.1)


def idle_slot() -> str:
    with psycopg2.connect(os.environ["LAKEHOUSE_DB_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT slot FROM release WHERE state = 'released' ORDER BY updated_at DESC LIMIT 1")
        (live,) = cursor.fetchone() or ("a",)
    return "b" if live == "a" else "a"


def advance() -> str:
    """Adds a day to the demo's sources; that day."""
    names = {"DEMO_SEED": "seed", "DEMO_SCALE": "scale", "DEMO_END_DATE": "end_date"}
    stored = json.loads((Path(os.environ["LAKEHOUSE_HOME"]) / "settings.json").read_text())
    extra = {name: str(stored[key]) for name, key in names.items()}
    command = [str(EMBEDDED), "-m", "embedded.demo", "advance", "--days", "1"]
    subprocess.run(command, cwd=REPOSITORY, env=os.environ | extra, check=True, capture_output=True)
    with psycopg2.connect(os.environ["SHOP_DB_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT max(day) FROM demo.journal WHERE action IN ('load', 'advance')")
        (day,) = cursor.fetchone() or (datetime.date.today(),)
    return day.isoformat()


def print_table(scale: str, first: float, batches: list[dict[str, float]], bare: list[dict[str, float]]) -> None:
    def median(rows: list[dict[str, float]], key: str) -> float:
        return statistics.median(row[key] for row in rows)

    def line(name: str, value: Any) -> None:
        print(f"  {name:<28}{value}")

    print(f"\nSCALE={scale}: `make up` with a first run {first:.0f} s; {len(batches)} warm runs, medians in seconds")
    for group in batches[0]:
        line(group, f"{median(batches, group):8.1f}")
    work = median(bare, "syncs") + median(bare, "dbt build")
    line("bare: syncs", f"{median(bare, 'syncs'):8.1f}")
    line("bare: dbt build", f"{median(bare, 'dbt build'):8.1f}")
    line("whole run / bare work", f"{median(batches, 'whole run') / work:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
