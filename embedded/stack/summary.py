"""What `make up` and `make run` print at their end: the run record, as the run's report task wrote it."""

from __future__ import annotations

from typing import Any

import psycopg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embedded.settings import Settings

STAGES = ("source", "landing", "bronze", "staging", "intermediate", "mart")


def read_summary(settings: Settings, dag_id: str, run_id: str) -> dict[str, Any] | None:
    """The run's record from the database of run records, or None if its report has not been written."""
    query = "SELECT summary FROM pipeline_run WHERE dag_id = %s AND run_id = %s"
    try:
        with psycopg.connect(settings.database_url("lakehouse"), connect_timeout=5) as connection:
            row = connection.execute(query, (dag_id, run_id)).fetchone()
    except psycopg.Error:
        return None
    return row[0] if row else None


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """Rows by stage, quarantined rows, tests, reflections, charts, and the time of each group against its limit."""
    console.print()
    console.print(
        f"[bold]Batch {summary['batch_date']}[/]  run {summary['run_id']}: {summary['state']}",
        highlight=False,
    )
    _print_rows(console, summary.get("rows", []))
    _print_quarantined(console, summary.get("quarantined", []))
    _print_checks(console, summary)
    _print_groups(console, summary.get("groups", []))


def all_charts_cached(summary: dict[str, Any]) -> bool:
    """Whether every declared chart was found in Superset's cache after the warm-up."""
    charts = summary.get("charts") or {}
    return bool(charts.get("warmed")) and charts.get("warmed") == charts.get("cached")


def print_logins(console: Console, settings: Settings) -> None:
    """Where to look at it."""
    reach = settings.environment()
    console.print()
    for title, name in (("Airflow", "AIRFLOW"), ("Superset", "SUPERSET"), ("Dremio API", "DREMIO")):
        console.print(
            f"{title:<12}{reach[name + '_URL']:<28}{reach[name + '_USERNAME']} / {reach[name + '_PASSWORD']}",
            highlight=False,
            markup=False,
        )
    console.print("All others: make -s env", highlight=False)


def _print_rows(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("stage", "dataset", title="Rows, from source to mart", title_justify="left")
    table.add_column("rows", justify="right")
    table.add_column("counted")
    known = {stage: place for place, stage in enumerate(STAGES)}
    previous = None
    for row in sorted(rows, key=lambda each: (known.get(each["stage"], len(known)), each["dataset"])):
        first = row["stage"] != previous
        counted = "read by this run" if row["stage"] == "source" else "in all"
        table.add_row(row["stage"] if first else "", row["dataset"], f"{row['rows']:,}", counted if first else "")
        previous = row["stage"]
    console.print(table)
    read = [row["rows"] for row in rows if row["stage"] == "source"]
    if read and not any(read):
        console.print("No new rows in the sources for this batch.")


def _print_quarantined(console: Console, rows: list[dict[str, Any]]) -> None:
    if not any(row["rows"] for row in rows):
        console.print("Quarantined: no rows")
        return
    table = Table("dataset", "reason", title="Quarantined", title_justify="left")
    table.add_column("rows", justify="right")
    for row in sorted(rows, key=lambda each: (each["dataset"], each["reason"])):
        table.add_row(row["dataset"], escape(row["reason"]), f"{row['rows']:,}")
    console.print(table)


def _print_checks(console: Console, summary: dict[str, Any]) -> None:
    tests = summary.get("tests") or {}
    passed, failed, warned = (tests.get(key, 0) for key in ("passed", "failed", "warned"))
    console.print(f"Tests: {passed} passed, {failed} failed, {warned} warned")
    reflections = summary.get("reflections") or []
    names = ", ".join(sorted({each["name"] for each in reflections})) or "none"
    console.print(f"Reflections refreshed: {len(reflections)} ({names})", highlight=False)
    charts = summary.get("charts") or {}
    console.print(
        f"Charts: {charts.get('warmed', 0)} warmed, {charts.get('cached', 0)} answer from cache "
        f"({charts.get('seconds', 0) or 0:.1f} s)"
    )


def _print_groups(console: Console, groups: list[dict[str, Any]]) -> None:
    table = Table("group", "state", title="Time by stage", title_justify="left")
    table.add_column("seconds", justify="right")
    table.add_column("limit", justify="right")
    for group in groups:
        limit = group.get("limit_seconds")
        seconds = group.get("seconds")
        table.add_row(
            group["group"],
            f"[{'green' if group['state'] == 'success' else 'red'}]{group['state']}[/]",
            f"{seconds:.1f}" if seconds is not None else "",
            f"{limit / 60:.0f} min" if limit else "",
        )
    console.print(table)
    for group in groups:
        if group.get("error"):
            console.print(f"[red]{group['group']}[/]: {escape(group['error'])}", highlight=False)
            remedy = group.get("remedy") or "see the task log in Airflow"
            console.print(f"    what to do: {escape(remedy)}", highlight=False)
