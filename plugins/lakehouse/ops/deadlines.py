"""What happens when a run misses a deadline: it is kept, and shown by the report and the page."""

import logging
from collections.abc import Mapping
from typing import Any

from lakehouse.ops import runs

log = logging.getLogger(__name__)


def missed(promise: str, context: Mapping[str, Any] | None = None) -> None:
    """Keep that a run did not keep `promise`. The callback of a DeadlineAlert; never raises.

    Example::

        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
            interval=timedelta(hours=3, minutes=45),
            callback=SyncCallback(deadlines.missed, kwargs={"promise": "released by 04:45 UTC"}),
        )

    :param promise: what was promised, in words.
    :param context: Airflow's; its `dag_run` (a dictionary) names the run.
    """
    run = (context or {}).get("dag_run") or {}
    dag_id, run_id = str(run.get("dag_id")), str(run.get("dag_run_id") or run.get("run_id"))
    log.error("%s %s was not %s", dag_id, run_id, promise)
    try:
        runs.keep_missed_deadline(dag_id, run_id, promise)
    except Exception as error:
        log.warning("the missed deadline of %s was not kept: %s", run_id, error)
