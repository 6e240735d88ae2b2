"""The last task of a pipeline: writes what happened, and fails if anything did."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from lakehouse.ops import records, runs
from lakehouse.ops.batch import batch_date
from lakehouse.ops.declarations import load
from lakehouse.ops.declared import Pipeline
from lakehouse.ops.summary import as_text, build, group_of, groups, headline


class GroupsFailed(AirflowFailException):
    """At least one group of the run did not succeed. No retry: the groups are to be cleared, not the report."""

    def __init__(self, failed: Sequence[str], what: str, remedy: str) -> None:
        self.failed = list(failed)
        self.what = what or f"not run: {', '.join(failed)}"
        self.remedy = remedy or "Clear the first of them with everything after it."
        super().__init__(f"{self.what}. {self.remedy}")


class ReportOperator(BaseOperator):
    """Collects what the tasks of a run recorded, writes it to `pipeline_run.summary`, prints it, and fails if a
    group failed. It runs always, so a run with a failed group is failed even where a later task succeeded.

    Returns the summary (see `lakehouse.ops.summary.build`). If the database of the run records is away, it still
    judges the run by Airflow's own states.

    :param declaration: YAML file with the groups and their limits, relative to include/pipelines (templated).
    :raises GroupsFailed: a group failed; says which, why, and what to do.
    :raises DeclarationError: the file is wrong; names line and key.

    Example::

        [extract, publish] >> ReportOperator(task_id="report")
    """

    template_fields: Sequence[str] = ("declaration",)
    ui_color = "#e8f0e8"

    def __init__(self, *, declaration: str = "daily_batch.yaml", **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "all_done")
        super().__init__(**kwargs)
        self.declaration = declaration

    def execute(self, context: Any) -> dict[str, Any]:
        """Write and print the summary; raise if a group did not succeed."""
        ti = context["ti"]
        pipeline = load(self.declaration, Pipeline)
        own = group_of(ti.task_id)
        pipeline = pipeline.model_copy(update={"groups": [group for group in pipeline.groups if group.name != own]})
        states = _by_task(ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {}))
        tasks, facts, late = self._recorded(ti.dag_id, ti.run_id, states)
        rows = groups(pipeline, tasks, states)
        failed = [row["group"] for row in rows if row["state"] not in ("success", "skipped")]
        batch = batch_date(context)
        state = "failed" if failed else "success"
        summary = build(pipeline, ti.run_id, batch, state, rows, facts, late)
        self._keep(ti.dag_id, ti.run_id, batch, state, summary)
        self.log.info("\n%s", as_text(summary))
        if failed:
            raise GroupsFailed(failed, *headline(rows))
        return summary

    def _recorded(
        self, dag_id: str, run_id: str, states: Mapping[str, str | None]
    ) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
        try:
            return (
                runs.tasks(dag_id, run_id),
                records.collect(dag_id, run_id, states),
                runs.missed_deadlines(dag_id, run_id),
            )
        except psycopg2.Error as error:
            self.log.warning("the run records cannot be read, the report has states alone: %s", error)
            return [], records.merged([]), []

    def _keep(self, dag_id: str, run_id: str, batch: Any, state: str, summary: Mapping[str, Any]) -> None:
        try:
            runs.keep_summary(dag_id, run_id, batch, state, dict(summary))
        except psycopg2.Error as error:
            self.log.warning("the summary was not kept: %s", error)


def _by_task(states: Mapping[str, Any]) -> dict[str, str | None]:
    return {task_id: None if state is None else str(state) for task_id, state in states.items()}
