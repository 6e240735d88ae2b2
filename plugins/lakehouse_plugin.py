"""The one module that Airflow's plugin manager loads: the run records' listener and the page about a run."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from lakehouse.ops import listener


class _Page:
    """The page's application, imported with its first request: every component loads this module, only the
    api-server ever serves it.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from lakehouse.ops.page import app

        await app(scope, receive, send)


class LakehousePlugin(AirflowPlugin):
    """Run records and their page, in the navigation and as a tab of each run."""

    name = "lakehouse"
    listeners = [listener]  # noqa: RUF012
    fastapi_apps = [{"app": _Page(), "url_prefix": "/lakehouse", "name": "Lakehouse"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Batches",
            "href": "/lakehouse/",
            "destination": "nav",
            "url_route": "lakehouse",
            "nav_top_level": True,
        },
        {
            "name": "Report",
            "href": "/lakehouse/dag/{DAG_ID}?run_id={RUN_ID}",
            "destination": "dag_run",
            "url_route": "lakehouse-report",
        },
    ]
