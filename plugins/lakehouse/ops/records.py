"""Facts about a run, one JSON value per task and kind, collected into the run's summary by the report.

Records inform people; they are never worth a failed task. A database that does not answer costs 3 s and a
warning. (Leases and the release journal, which writes depend on, are in `lease` and `releases` and do fail.)
"""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from lakehouse.ops import database
from lakehouse.ops.schema import ensure_schema

log = logging.getLogger(__name__)

LIST_KINDS = frozenset({"rows", "quarantined", "reflections"})
KINDS = LIST_KINDS | {"tests", "charts"}

# An orphan that ends after its retry does not put its own facts in the place of the retry's.
_UPSERT = """
INSERT INTO task_fact AS f (dag_id, run_id, task_id, map_index, kind, try_number, payload)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (dag_id, run_id, task_id, map_index, kind)
DO UPDATE SET payload = excluded.payload, try_number = excluded.try_number, recorded_at = now()
WHERE f.try_number <= excluded.try_number
"""
# A try that has begun makes what earlier tries left void, also if it ends without facts of its own.
_FACTS = """
SELECT task_id, kind, payload FROM task_fact f
WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND NOT EXISTS (
    SELECT FROM task_run t
    WHERE (t.dag_id, t.run_id, t.task_id, t.map_index) = (f.dag_id, f.run_id, f.task_id, f.map_index)
    AND t.try_number > f.try_number
)
ORDER BY recorded_at, task_id, map_index
"""
_ENDED = ("success", "failed")  # states in which a task's facts are about the run as it stands


def record(context: Mapping[str, Any], kind: str, payload: Any) -> None:
    """Keep one fact of the running task, in place of the one of the same kind that an earlier try left.

    Kinds and payloads: `rows` [{stage, dataset, rows}], `quarantined` [{dataset, reason, rows}],
    `tests` {passed, failed, warned, failures: [text]}, `reflections` [{name, dataset, seconds, rows}],
    `charts` {warmed, cached, seconds}. A task that has several facts of a kind passes them in one call.

    Never raises because of the database; does because of an unknown kind.

    :param context: Airflow's task context (`ti` is read).
    :raises ValueError: `kind` is none of the above, or its payload has the wrong shape.
    """
    _check(kind, payload)
    ti = context["ti"]
    key = (ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index, kind, ti.try_number)
    try:
        _write(key, payload)
    except Exception as error:  # the Airflow connection may be missing too: a record is never worth a failure
        log.warning("run record of kind %r was not kept: %s", kind, str(error).strip())


def _check(kind: str, payload: Any) -> None:
    if kind not in KINDS:
        raise ValueError(f"unknown kind of record {kind!r}; known: {', '.join(sorted(KINDS))}")
    wanted = list if kind in LIST_KINDS else dict
    if not isinstance(payload, wanted):
        raise ValueError(f"a record of kind {kind!r} is a {wanted.__name__}, got {type(payload).__name__}")


def _write(key: tuple[Any, ...], payload: Any) -> None:
    url = database.dsn()
    ensure_schema(url)
    database.run(url, _UPSERT, (*key, json.dumps(payload, default=str)))


def collect(dag_id: str, run_id: str, states: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """Return the facts of a run merged by kind: lists joined, test counts and chart counts added up.

    Every kind is present, with zeros or an empty list where no task recorded one. Of two tasks that counted the
    rows of one dataset at one stage, the later counts. Of a task only what its latest try recorded counts.

    :param states: task id -> Airflow's own state, where it is known: what was recorded by a task that neither
        succeeded nor failed (it was cleared, and then waited in vain for another) is left out.
    :raises psycopg2.Error: the database does not answer.
    """
    facts = _facts(dag_id, run_id)
    return merged((kind, payload) for task_id, kind, payload in facts if _counts(task_id, states))


def _counts(task_id: str, states: Mapping[str, str | None] | None) -> bool:
    return states is None or states.get(task_id) in _ENDED


def merged(recorded: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Merge pairs of kind and payload, oldest first, as `collect` returns them."""
    facts: dict[str, Any] = {
        "rows": [],
        "quarantined": [],
        "tests": {"passed": 0, "failed": 0, "warned": 0, "failures": []},
        "reflections": [],
        "charts": {"warmed": 0, "cached": 0, "seconds": 0.0},
    }
    for kind, payload in recorded:
        if kind in LIST_KINDS:
            facts[kind].extend(payload)
        else:
            for name, value in facts[kind].items():
                facts[kind][name] = value + payload.get(name, type(value)())
    facts["rows"] = list({(item["stage"], item["dataset"]): item for item in facts["rows"]}.values())
    return facts


def _facts(dag_id: str, run_id: str) -> list[tuple[str, str, Any]]:
    url = database.dsn()
    ensure_schema(url)
    rows = database.run(url, _FACTS, {"dag_id": dag_id, "run_id": run_id})
    return [(task_id, kind, payload) for task_id, kind, payload in rows]


def summary(dag_id: str, run_id: str) -> dict[str, Any] | None:
    """Return what the report wrote about a run (`pipeline_run.summary`), or None while there is none.

    :raises psycopg2.Error: the database does not answer.
    """
    url = database.dsn()
    ensure_schema(url)
    found = database.run(url, "SELECT summary FROM pipeline_run WHERE dag_id = %s AND run_id = %s", (dag_id, run_id))
    return found[0][0] if found else None
