"""Which calendar day (UTC) a run is for."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

ONE_DAY = timedelta(days=1)


class BatchDateError(ValueError):
    """The run names a batch date that is not a date; the message says where and what is expected."""

    remedy = "Start a new run with a day as YYYY-MM-DD: the date of this one cannot be changed."


def batch_date(context: Mapping[str, Any]) -> date:
    """Return the batch of the run that `context` belongs to: one answer for every task and try of a run.

    In this order: `params["batch_date"]` (the date picker of the trigger form), the run's partition key,
    the day before `logical_date` (scheduled and backfill runs), the day before `run_after` (always there).
    The run that cron starts on the 23rd is for the 22nd. Airflow's `ds` is not used: it is absent from runs
    without a logical date, and means the 22nd or the 23rd depending on the timetable.

    :param context: Airflow's task context, or any mapping with some of the names above and `dag_run`.
    :raises BatchDateError: a parameter or key is there, but is not YYYY-MM-DD.
    """
    dag_run = context.get("dag_run")
    named = (context.get("params") or {}).get("batch_date")
    if named:
        return _parse(named, "the parameter batch_date")
    key = context.get("partition_key") or getattr(dag_run, "partition_key", None)
    if key:
        return _parse(key, "the partition key")
    moment = context.get("logical_date") or getattr(dag_run, "logical_date", None)
    if moment is None:
        moment = getattr(dag_run, "run_after", None)
    if moment is None:
        raise BatchDateError("the context has neither batch_date, partition_key, logical_date nor dag_run.run_after")
    return (moment.astimezone(UTC) - ONE_DAY).date()


def _parse(value: Any, where: str) -> date:
    if isinstance(value, datetime):
        return value.astimezone(UTC).date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError as error:
        raise BatchDateError(f"{where} is {value!r}, expected a day as YYYY-MM-DD") from error


def macros() -> dict[str, Any]:
    """Return what a DAG passes as `user_defined_macros`, so that templates can use `batch_date`.

    Example::

        with DAG("daily_batch", user_defined_macros=batch.macros()):
            BashOperator(task_id="show", bash_command="echo {{ batch_date(dag_run, params) }}")
    """

    def of_run(dag_run: Any, params: Mapping[str, Any] | None = None) -> date:
        return batch_date({"dag_run": dag_run, "params": params or {}})

    return {"batch_date": of_run}
