"""What happens when a run misses a deadline: it is kept, and shown by the report and the page."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.ops import runs

log = logging.getLogger(__name__)


def missed(promise: str, minutes: float | None = None, context: Mapping[str, Any] | None = None) -> None:
    """Keep that a run did not keep `promise`. The callback of a DeadlineAlert; never raises.

    Only runs that the schedule made have promised anything: Airflow finds every backfill of an earlier day late at
    once, and it is not kept. Of a scheduled run that was created after its deadline (the DAG was paused, or Airflow
    down) it is kept that it came late.

    Example::

        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
            interval=timedelta(hours=3, minutes=45),
            callback=SyncCallback(deadlines.missed, kwargs={"promise": "released by 04:45 UTC", "minutes": 225}),
        )

    :param promise: what was promised, in words.
    :param minutes: the deadline's interval from when the run was due; None: a late run is not told from a slow one.
    :param context: Airflow's; its `dag_run` (a dictionary) names the run.
    """
    run = (context or {}).get("dag_run") or {}
    dag_id, run_id = str(run.get("dag_id")), str(run.get("dag_run_id") or run.get("run_id"))
    if run.get("run_type", "scheduled") != "scheduled":
        log.info("%s %s is a %s run, which has no deadline", dag_id, run_id, run["run_type"])
        return
    promise += _late_start(run, minutes)
    log.error("%s %s was not %s", dag_id, run_id, promise)
    try:
        runs.keep_missed_deadline(dag_id, run_id, promise)
    except Exception as error:
        log.warning("the missed deadline of %s was not kept: %s", run_id, error)


def _late_start(run: Mapping[str, Any], minutes: float | None) -> str:
    """Words for a run that was created when its deadline was over, none for another."""
    if minutes is None or not run.get("queued_at") or not run.get("run_after"):
        return ""
    created, due = (datetime.fromisoformat(run[name]).astimezone(UTC) for name in ("queued_at", "run_after"))
    if created <= due + timedelta(minutes=minutes):
        return ""
    return f": it started late, the run was created at {created:%Y-%m-%d %H:%M} UTC"
