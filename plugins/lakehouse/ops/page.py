"""The page about a run: which group failed, why, what to do; then the figures. Plain HTML made on the server.

Shown by Airflow (a tab of the run, and an entry of the navigation), which also guards it: reading the page of a
DAG's runs, or seeing them in the list, takes the right to read that DAG's runs.
"""

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

import psycopg2
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag, requires_authenticated
from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from lakehouse.ops import records, runs
from lakehouse.ops.declarations import DeclarationError, load
from lakehouse.ops.declared import Pipeline
from lakehouse.ops.summary import NOTHING_READ, STAGES, build, counted, groups, headline, nothing_read

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:68rem;padding:0 1rem;color:#1c2430;
 background:#fff} h1{font-size:1.35rem;margin:0 0 .3rem} h2{font-size:1.05rem;margin:1.8rem 0 .4rem}
table{border-collapse:collapse;width:100%} th,td{text-align:left;padding:.3rem .7rem .3rem 0;
 border-bottom:1px solid #e3e6ea;vertical-align:top} th{font-weight:600;color:#59636e;font-size:.85rem}
.n{text-align:right;font-variant-numeric:tabular-nums} .muted{color:#59636e} a{color:#0550ae}
.state{font-weight:600} .success{color:#1a7f37} .failed,.late{color:#b42318} .running,.up_for_retry{color:#9a6700}
.box{border-left:4px solid #b42318;background:#fdf1f0;padding:.7rem 1rem;margin:1rem 0}
.box p{margin:.2rem 0} .ok{border-color:#1a7f37;background:#effaf1}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#e2e6ea} th,td{border-color:#2d343c}
 .box{background:#2a1917} .ok{background:#14251a} th,.muted{color:#9aa4af} a{color:#79b8ff}
 .success{color:#56d364} .failed,.late{color:#ff7b72} .running,.up_for_retry{color:#e3b341}}
"""
_DECLARATIONS = {"daily_batch": "daily_batch.yaml"}

app = FastAPI(dependencies=[Depends(requires_authenticated())], docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/", response_class=HTMLResponse)
def newest(user: GetUserDep) -> HTMLResponse:
    """The newest runs of those reported pipelines whose runs the user may read."""
    try:
        rows = runs.newest_runs([dag_id for dag_id in _DECLARATIONS if _may_read(user, dag_id)])
    except psycopg2.Error as error:
        return _away(error)
    body = [
        (
            f'<a href="dag/{quote(row["dag_id"])}?run_id={quote(row["run_id"])}">{escape(row["run_id"])}</a>',
            escape(str(row["batch_date"] or "")),
            _state(row["state"]),
            _clock(row["started_at"]),
            escape(_first_failure(row["summary"]) if row["state"] == "failed" else ""),  # a rerun has yet to fail
        )
        for row in rows
    ]
    table = _table(("run", "batch", "state", "started (UTC)", "what failed"), body)
    return _page("Daily batch: newest runs", table or "<p>No run yet.</p>")


def _may_read(user: BaseUser, dag_id: str) -> bool:
    """What `requires_access_dag` asks for the page of one run, as a question."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.RUN, details=details, user=user
    )


@app.get(
    "/dag/{dag_id}",
    response_class=HTMLResponse,
    dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))],
)
def run(dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """One run: the failure first, then groups, rows, tests, reflections and charts."""
    if dag_id not in _DECLARATIONS:
        known = ", ".join(_DECLARATIONS)
        return _page(dag_id, f"<p>This DAG has no report; these have one: {escape(known)}.</p>")
    try:
        # Airflow puts the run's id into the address as it is, where a plus sign means a space
        row = runs.run_of(dag_id, run_id) or runs.run_of(dag_id, run_id.replace(" ", "+"))
        if row is None:
            return _page(run_id, "<p>Nothing is recorded about this run.</p>", status=404)
        summary = _summary(dag_id, row, _states(session, dag_id, row["run_id"]))
        return _page(f"{dag_id} · batch {row['batch_date']}", _body(summary, row))
    except psycopg2.Error as error:
        return _away(error)
    except DeclarationError as error:
        return _page(dag_id, _box("The groups of this DAG cannot be read.", str(error)), status=500)


def _states(session: Session, dag_id: str, run_id: str) -> dict[str, str | None] | None:
    """Task id -> Airflow's state, which knows of tasks that were cleared; None for a run that Airflow has deleted."""
    found = session.execute(
        select(TaskInstance.task_id, TaskInstance.state).where(
            TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
        )
    )
    return {task_id: None if state is None else str(state) for task_id, state in found} or None


def _summary(dag_id: str, row: dict[str, Any], states: dict[str, str | None] | None) -> dict[str, Any]:
    """The run as it stands now: also before its report has run, and after tasks were cleared."""
    run_id = row["run_id"]
    pipeline = load(_DECLARATIONS[dag_id], Pipeline)
    state_of_groups = groups(pipeline, runs.tasks(dag_id, run_id), states)
    facts, late = records.collect(dag_id, run_id, states), runs.missed_deadlines(dag_id, run_id)
    return build(pipeline, run_id, row["batch_date"], row["state"], state_of_groups, facts, late)


def _body(summary: dict[str, Any], row: dict[str, Any]) -> str:
    tests, charts = summary["tests"], summary["charts"]
    quarantined = [
        (escape(item["dataset"]), escape(item["reason"]), _number(item["rows"])) for item in summary["quarantined"]
    ]
    reflections = [
        (escape(item["name"]), escape(item["dataset"]), _number(item.get("seconds")), _number(item.get("rows")))
        for item in summary["reflections"]
    ]
    failures = "".join(f"<li>{escape(failure)}</li>" for failure in tests["failures"])
    return "".join(
        [
            f'<p class="muted">run {escape(row["run_id"])} · {_state(row["state"])} · '
            f"{_clock(row['started_at'])} to {_clock(row['ended_at']) or 'now'} UTC</p>",
            _verdict(summary),
            "<h2>Groups</h2>",
            _table(("group", "", "state", "seconds", "limit", ""), [_group(item) for item in summary["groups"]]),
            "<h2>Rows</h2>",
            _rows(summary["rows"]),
            "<h2>Quarantined</h2>",
            _table(("dataset", "reason", "rows"), quarantined) or "<p>None.</p>",
            "<h2>Tests</h2>",
            f"<p>{tests['passed']} passed, {tests['failed']} failed, {tests['warned']} warned</p>",
            f"<ul>{failures}</ul>" if failures else "",
            "<h2>Reflections</h2>",
            _table(("name", "dataset", "seconds", "rows"), reflections) or "<p>None refreshed.</p>",
            "<h2>Charts</h2>",
            f"<p>{charts['warmed']} warmed, {charts['cached']} seen to be cached.</p>",
        ]
    )


def _verdict(summary: dict[str, Any]) -> str:
    late = "".join(f"<p>Deadline missed: not {escape(item)}.</p>" for item in summary["missed_deadlines"])
    what, remedy = headline([item for item in summary["groups"] if item["group"] != "report"])
    if what:
        return _box(what, f"What to do: {remedy}", late)
    if summary["state"] == "failed":
        return _box("The run failed without a failed group.", "What to do: see the task report.", late)
    if summary["state"] == "running":
        return late
    return f'<div class="box ok"><p>Every group succeeded.</p>{late}</div>'


def _box(what: str, remedy: str, more: str = "") -> str:
    return f'<div class="box"><p><b>{escape(what)}.</b></p><p>{escape(remedy)}</p>{more}</div>'


def _group(row: dict[str, Any]) -> tuple[str, ...]:
    limit = row["limit_seconds"]
    over = limit is not None and row["seconds"] > limit
    why = f"{escape(row['error'])}.<br><b>{escape(row['remedy'] or '')}</b>" if row["error"] else ""
    return (
        escape(row["group"]),
        f'<span class="muted">{escape(row["title"])}</span>',
        _state(row["state"]),
        f'<span class="late">{row["seconds"]:,.1f}</span>' if over else f"{row['seconds']:,.1f}",
        _number(limit),
        why,
    )


def _rows(rows: Sequence[dict[str, Any]]) -> str:
    """A small table for each stage that counted rows."""
    out = []
    for stage in STAGES:
        found = sorted((item["dataset"], item["rows"]) for item in rows if item["stage"] == stage)
        if found:
            body = [(escape(dataset), _number(count)) for dataset, count in found]
            out.append(_table((f"{stage}, {counted(stage)}", f"{sum(count for _, count in found):,} rows"), body))
    sentence = f"<p>{NOTHING_READ}</p>" if nothing_read(rows) else ""
    return sentence + ("<br>".join(out) or "<p>None counted yet.</p>")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    top = "".join(f"<th{_side(name)}>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td{_side(name)}>{cell}</td>" for name, cell in zip(head, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _side(name: str) -> str:
    return ' class="n"' if name in ("seconds", "limit") or name.endswith("rows") else ""


def _state(state: str) -> str:
    return f'<span class="state {escape(state.replace(" ", "_"))}">{escape(state.replace("_", " "))}</span>'


def _clock(moment: Any) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,.0f}"


def _first_failure(summary: dict[str, Any] | None) -> str:
    return headline(summary["groups"])[0] if summary else ""


def _away(error: Exception) -> HTMLResponse:
    reason = str(error).strip().splitlines()[0]
    text = _box(
        "The database with the run records does not answer",
        f"{reason}. Check that PostgreSQL runs (`make status`) and LAKEHOUSE_DB_URL of the api-server.",
    )
    return _page("Run report", text, status=503)


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    document = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
    )
    return HTMLResponse(document, status_code=status)
