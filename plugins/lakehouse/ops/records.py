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

_UPSERT = """
INSERT INTO task_fact (dag_id, run_id, task_id, map_index, kind, payload) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (dag_id, run_id, task_id, map_index, kind)
DO UPDATE SET payload = excluded.payload, recorded_at = now()
"""


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
    key = (ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index, kind)
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


def collect(dag_id: str, run_id: str) -> dict[str, Any]:
    """Return the facts of a run merged by kind: lists joined, test counts and chart counts added up.

    Every kind is present, with zeros or an empty list where no task recorded one. Of two tasks that counted the
    rows of one dataset at one stage, the later counts.

    :raises psycopg2.Error: the database does not answer.
    """
    return merged(_facts(dag_id, run_id))


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


def _facts(dag_id: str, run_id: str) -> list[tuple[str, Any]]:
    url = database.dsn()
    ensure_schema(url)
    rows = database.run(
        url,
        "SELECT kind, payload FROM task_fact WHERE dag_id = %s AND run_id = %s"
        " ORDER BY recorded_at, task_id, map_index",
        (dag_id, run_id),
    )
    return [(kind, payload) for kind, payload in rows]


def summary(dag_id: str, run_id: str) -> dict[str, Any] | None:
    """Return what the report wrote about a run (`pipeline_run.summary`), or None while there is none.

    :raises psycopg2.Error: the database does not answer.
    """
    url = database.dsn()
    ensure_schema(url)
    found = database.run(url, "SELECT summary FROM pipeline_run WHERE dag_id = %s AND run_id = %s", (dag_id, run_id))
    return found[0][0] if found else None
