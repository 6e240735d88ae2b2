"""A run in figures: its groups against their limits, and what its tasks recorded."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from lakehouse.ops.declared import Pipeline
from lakehouse.ops.explain import KILLED

STAGES = ("source", "landing", "bronze", "staging", "intermediate", "mart")
READ = "source"  # the one stage whose rows are those of this run alone; the others hold all that ever came
NOTHING_READ = "No new rows in the sources for this batch."
_DONE = {"success", "skipped", "removed"}
_BROKEN = {"failed", "killed"}
_UNDER_WAY = {"running", "queued", "scheduled", "deferred", "up_for_retry", "up_for_reschedule", "restarting"}


def group_of(task_id: str) -> str:
    """Return the group of a task: the part of its id before the first dot."""
    return task_id.split(".", 1)[0]


def groups(
    pipeline: Pipeline,
    tasks: Sequence[Mapping[str, Any]],
    states: Mapping[str, str | None] | None = None,
    now: datetime | None = None,
) -> list[dict[str, Any]]:
    """Return one row per declared group: group, title, state, seconds, limit_seconds, error, remedy.

    `seconds` is the time in which at least one task of the group ran, so that a group that was cleared a day
    later does not seem to have taken a day.

    :param tasks: latest tries (`runs.tasks`).
    :param states: task id -> Airflow's own state where it is known; it counts more than what was recorded, and
        knows of tasks that never began.
    """
    now = now or datetime.now(UTC)
    return [
        _group(
            group.name,
            group.title,
            group.limit_minutes,
            [task for task in tasks if group_of(task["task_id"]) == group.name],
            {name: state for name, state in (states or {}).items() if group_of(name) == group.name},
            now,
        )
        for group in pipeline.groups
    ]


def _group(
    name: str,
    title: str,
    limit_minutes: float | None,
    tasks: Sequence[Mapping[str, Any]],
    states: Mapping[str, str | None],
    now: datetime,
) -> dict[str, Any]:
    known = {task["task_id"]: task["state"] for task in tasks} | dict(states)
    state = _state(set(known.values()))
    row: dict[str, Any] = {
        "group": name,
        "title": title,
        "state": state,
        "seconds": round(_seconds(tasks, now), 1),
        "limit_seconds": None if limit_minutes is None else limit_minutes * 60,
        "error": None,
        "remedy": None,
    }
    if state in ("failed", "up_for_retry"):
        row |= _why(tasks, [task for task, value in known.items() if value in _BROKEN])
    return row


def _state(states: set[str | None]) -> str:
    """The state of a group: the worst of its tasks."""
    if states & _BROKEN:
        return "failed"
    if "upstream_failed" in states:
        return "not run"
    if "up_for_retry" in states:
        return "up_for_retry"
    if states & _UNDER_WAY or (states & _DONE and None in states):
        return "running"
    if not states - {None}:
        return "not run"
    return "skipped" if states <= {"skipped", "removed", None} else "success"


def _seconds(tasks: Iterable[Mapping[str, Any]], now: datetime) -> float:
    """Length of the union of the times in which the tasks ran."""
    spans = sorted((task["started_at"], task["ended_at"] or now) for task in tasks if task["started_at"] is not None)
    total, until = 0.0, None
    for start, end in spans:
        begin = start if until is None or start > until else until
        if end > begin:
            total += (end - begin).total_seconds()
            until = end
    return total


def _why(tasks: Sequence[Mapping[str, Any]], broken: Sequence[str]) -> dict[str, str]:
    told = [task for task in tasks if task["error"]]
    if not told:
        return {"error": f"{', '.join(sorted(broken)[:3])}: {KILLED[0]}", "remedy": KILLED[1]}
    first = min(told, key=lambda task: task["ended_at"] or datetime.max.replace(tzinfo=UTC))
    more = len(broken) - 1
    others = f" (and {more} more task{'s' if more > 1 else ''})" if more > 0 else ""
    return {"error": f"{first['task_id']}{others}: {first['error']}", "remedy": first["remedy"]}


def build(
    pipeline: Pipeline,
    run_id: str,
    batch: date | None,
    state: str,
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    late: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the summary of a run as it is kept in `pipeline_run.summary`.

    Keys: batch_date, run_id, state, rows, quarantined, tests, reflections, charts (see `records.record`),
    groups (see `groups`), missed_deadlines.
    """
    return {
        "dag_id": pipeline.dag_id,
        "run_id": run_id,
        "batch_date": None if batch is None else batch.isoformat(),
        "state": state,
        **facts,
        "groups": list(rows),
        "missed_deadlines": list(late),
    }


def headline(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return in two sentences what failed first and what to do; two empty texts if nothing failed."""
    failed = [row for row in rows if row["state"] == "failed"]
    if not failed:
        return "", ""
    first = failed[0]
    return f"{first['group']} failed: {first['error']}", first["remedy"] or ""


def counted(stage: str) -> str:
    """Say what the number of rows of a stage counts."""
    return "read by this run" if stage == READ else "in all"


def nothing_read(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the sources were read and had no row that was new."""
    read = [row["rows"] for row in rows if row["stage"] == READ]
    return bool(read) and not any(read)


def as_text(summary: Mapping[str, Any]) -> str:
    """Return the summary as a table for a log."""
    lines = [f"batch {summary['batch_date']}, run {summary['run_id']}: {summary['state']}", ""]
    lines += _table(
        ("group", "state", "seconds", "limit"),
        [
            (row["group"], row["state"], _number(row["seconds"]), _number(row["limit_seconds"]))
            for row in summary["groups"]
        ],
    )
    lines += ["", *_table(("stage", "dataset", "rows", "counted"), _row_counts(summary["rows"]))]
    lines += [NOTHING_READ] if nothing_read(summary["rows"]) else []
    refused = [(item["dataset"], item["reason"], _number(item["rows"])) for item in summary["quarantined"]]
    lines += ["", *_table(("quarantined in", "reason", "rows"), refused)]
    tests, charts = summary["tests"], summary["charts"]
    lines += [
        "",
        f"tests: {tests['passed']} passed, {tests['failed']} failed, {tests['warned']} warned",
        *(f"  {failure}" for failure in tests["failures"]),
        f"reflections refreshed: {len(summary['reflections'])}",
        f"charts: {charts['warmed']} warmed, {charts['cached']} seen to be cached",
        *(f"deadline missed: not {promise}" for promise in summary["missed_deadlines"]),
    ]
    what, remedy = headline(summary["groups"])
    if what:
        lines += ["", f"What failed: {what}.", f"What to do: {remedy}"]
    return "\n".join(lines)


def _row_counts(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    order = {stage: index for index, stage in enumerate(STAGES)}
    in_order = sorted(rows, key=lambda row: (order.get(row["stage"], len(order)), row["dataset"]))
    return [(row["stage"], row["dataset"], _number(row["rows"]), counted(row["stage"])) for row in in_order]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns padded to their widest cell, numbers aligned to the right; one line for no rows."""
    if not rows:
        return [f"{head[0]}: none"]
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in (head, *rows)
    ]
