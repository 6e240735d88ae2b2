"""Mails the data of charts, for those who want it in their inbox."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier

from lakehouse.ops.scratch import scratch
from lakehouse.superset.exceptions import SupersetConfigError

if TYPE_CHECKING:
    from airflow.sdk import Context


class SupersetChartNotifier(SmtpNotifier):
    """Mail charts of a dashboard as CSV files, with the dashboard's own default filters.

    Airflow calls a notifier when a task or a run has ended, here after the warm-up; the data then comes from the cache.
    Airflow logs what goes wrong in a notifier, and the task stays as it is. Pictures are not sent: Superset makes them
    only with Celery and a browser beside it, and its own *Alerts & Reports* send them where these are.

    :param dashboard: slug. (templated)
    :param charts: names of its charts. (templated)
    :param to: and all other arguments: as of Airflow's `SmtpNotifier`.
    :param superset_conn_id: Airflow connection of type `superset`. (templated)

    Example::

        SupersetWarmUpOperator(
            task_id="warm_up",
            on_success_callback=SupersetChartNotifier(
                dashboard="sales-overview", charts=["Revenue"], to="sales@example.com", from_email="lake@example.com",
                subject="Revenue of {{ ds }}", html_content="As a file.",
            ),
        )
    """

    template_fields = (  # type: ignore[assignment]  # the base names a tuple of its own length
        *SmtpNotifier.template_fields,
        "dashboard",
        "charts",
        "superset_conn_id",
    )

    def __init__(
        self,
        *,
        dashboard: str,
        charts: Sequence[str],
        to: str | Sequence[str],
        superset_conn_id: str = "superset_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(to=to, **kwargs)
        self.dashboard = dashboard
        self.charts = charts
        self.superset_conn_id = superset_conn_id

    def notify(self, context: "Context") -> None:
        """Fetch the charts and send the mail.

        :raises SupersetConfigError: the dashboard has no such chart, or what a browser asks for it is not known.
        :raises SupersetError: Superset does not answer, refuses the login, or the query.
        """
        with scratch("charts") as folder:
            self.files = self._fetch(folder)
            super().notify(context)

    async def async_notify(self, context: "Context") -> None:
        """The same for callbacks that run in the triggerer."""
        await asyncio.to_thread(self.notify, context)

    def _fetch(self, folder: Path) -> list[str]:
        from lakehouse.superset.hook import SupersetHook
        from lakehouse.superset.operators.warm_up import planned

        hook = SupersetHook(self.superset_conn_id)
        with hook.session as session:
            requests = {one.chart: one for one in planned(hook, [self.dashboard])}
            if unknown := [name for name in self.charts if name not in requests]:
                known = ", ".join(sorted(requests))
                raise SupersetConfigError(
                    f"dashboard {self.dashboard} has no chart {', '.join(unknown)}; it has {known}"
                )
            files = []
            for number, name in enumerate(self.charts, 1):
                if problem := requests[name].problem:
                    raise SupersetConfigError(f"chart {name} of dashboard {self.dashboard}: {problem}")
                body = {**requests[name].body, "result_format": "csv"}
                answer = session.request("POST", "/api/v1/chart/data", json=body)
                # a chart of several queries comes as a ZIP of as many files
                kind = "zip" if "zip" in answer.headers["Content-Type"] else "csv"
                path = folder / f"{number}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}.{kind}"
                path.write_bytes(answer.content)
                files.append(str(path))
        return files
