"""Fills Superset's cache, so that the first person to open a dashboard waits for nothing."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink

from lakehouse.ops.declarations import load
from lakehouse.ops.records import record
from lakehouse.superset.browser_requests import ChartRequest, dashboard_requests
from lakehouse.superset.declared import FILE, Dashboards
from lakehouse.superset.exceptions import SupersetError, WarmUpFailed
from lakehouse.superset.hook import SupersetHook
from lakehouse.superset.links import SupersetDashboardsLink, dashboards_url
from lakehouse.superset.triggers import SupersetWarmUpTrigger
from lakehouse.superset.warming import Outcome, warm

if TYPE_CHECKING:
    from airflow.sdk import Context

WORKER_SECONDS = 5.0  # a handful of dashboards is done within; a longer wait is left to the triggerer


class SupersetWarmUpOperator(BaseOperator):
    """Warm every chart of every declared dashboard, and check that a browser will be answered from the cache.

    Each chart's query is sent as the browser sends it, with the defaults of the dashboard's native filters in
    front of its own, so that both have the same cache key; so are the queries of the filters for their values.
    It is forced, for the data is new, and then repeated: the answer must come from the cache and be the one that
    was just made. After five seconds in the worker the rest is left to the triggerer.

    All charts are tried; those that failed are named with their error and query, and the task fails. Charts
    warmed, charts cached and seconds are recorded for the run's summary. Running it again is harmless.

    :param declaration: YAML file as in `lakehouse.superset.declared.Dashboards`; a relative path is looked for
        in `include/pipelines`. (templated)
    :param superset_conn_id: Airflow connection of type `superset`. (templated)
    :param timeout: seconds after which the task fails while it is deferred.
    :return: `{"warmed": charts asked for, "cached": charts answered from the cache, "seconds": total}`.
    :raises WarmUpFailed: at least one chart is not cached.
    :raises SupersetError: Superset does not answer, refuses the login, or lacks a declared dashboard.

    Example::

        SupersetWarmUpOperator(task_id="warm_up", declaration="dashboards.yaml")
    """

    template_fields: Sequence[str] = ("declaration", "superset_conn_id")
    operator_extra_links: Sequence[BaseOperatorLink] = (SupersetDashboardsLink(),)
    ui_color = "#d6f1f7"

    def __init__(
        self,
        *,
        declaration: str = FILE,
        superset_conn_id: str = SupersetHook.default_conn_name,
        timeout: float = 900,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.declaration = declaration
        self.superset_conn_id = superset_conn_id
        self.timeout = timeout

    def execute(self, context: "Context") -> dict[str, Any]:
        """Warm for a few seconds; defer if charts are left."""
        began = time.time()
        declared = load(self.declaration, Dashboards)
        hook = SupersetHook(self.superset_conn_id)
        url = dashboards_url(hook.settings.url, declared.dashboards)
        context["ti"].xcom_push(key=SupersetDashboardsLink().xcom_key, value=url)
        requests = planned(hook, declared.dashboards)
        outcomes = asyncio.run(self._warm(hook, requests))
        done = {outcome.key for outcome in outcomes}
        left = [asdict(one) for one in requests if one.key not in done]
        if left:
            self.log.info("%s of %s charts are left to the triggerer", len(left), len(requests))
            self.defer(
                trigger=SupersetWarmUpTrigger(self.superset_conn_id, left),
                method_name="execute_complete",
                kwargs={"done": [asdict(outcome) for outcome in outcomes], "began": began},
                timeout=timedelta(seconds=self.timeout),
            )
        return self._finish(context, hook.settings.url, outcomes, began)

    async def _warm(self, hook: SupersetHook, requests: Sequence[ChartRequest]) -> list[Outcome]:
        """Return the outcomes that were known in time."""
        outcomes: list[Outcome] = []
        try:
            async with asyncio.timeout(WORKER_SECONDS), hook.async_session() as session:
                async for outcome in warm(session, requests):
                    self.log.info("%s", outcome)
                    outcomes.append(outcome)
        except TimeoutError:
            pass
        return outcomes

    def execute_complete(
        self, context: "Context", event: dict[str, Any], done: list[dict[str, Any]], began: float
    ) -> dict[str, Any]:
        """Put together what the worker and the triggerer have warmed."""
        if event["error"] is not None:
            raise SupersetError(event["error"])
        outcomes = [Outcome(**one) for one in (*done, *event["outcomes"])]
        return self._finish(context, SupersetHook(self.superset_conn_id).settings.url, outcomes, began)

    def _finish(self, context: "Context", url: str, outcomes: Sequence[Outcome], began: float) -> dict[str, Any]:
        failures = [str(outcome) for outcome in outcomes if outcome.error is not None]
        facts = {
            "warmed": len(outcomes),
            "cached": len(outcomes) - len(failures),
            "seconds": round(time.time() - began, 2),
        }
        record(context, "charts", facts)
        if failures:
            raise WarmUpFailed(url, failures, len(outcomes))
        slowest = max(outcomes, key=lambda outcome: outcome.seconds)
        self.log.info("%s charts warmed and cached; the slowest: %s", len(outcomes), slowest)
        return facts


def planned(hook: SupersetHook, slugs: Sequence[str]) -> list[ChartRequest]:
    """Return what browsers will ask for when these dashboards are opened.

    :raises SupersetNotFound: a dashboard does not exist.
    """
    dashboards = [hook.get_dashboard(slug) for slug in slugs]
    exported = hook.export_dashboards([int(one["id"]) for one in dashboards])
    return [request for one in dashboards for request in dashboard_requests(one, exported)]
