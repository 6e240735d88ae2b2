"""Goes on with a warm-up outside of the worker."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from lakehouse.superset.browser_requests import ChartRequest
from lakehouse.superset.connection import SupersetSettings
from lakehouse.superset.exceptions import SupersetError
from lakehouse.superset.session import AsyncSupersetSession
from lakehouse.superset.warming import warm


class SupersetWarmUpTrigger(BaseTrigger):
    """Warm charts and report what came of each.

    Its one event holds `outcomes`, a list of `Outcome` as dicts, and `error`, the reason why Superset could not
    be asked at all, or None. Restarted after a triggerer died it warms all of its charts again.

    :param superset_conn_id: Airflow connection of type `superset`.
    :param requests: `ChartRequest` as dicts.
    """

    def __init__(self, superset_conn_id: str, requests: list[dict[str, Any]]) -> None:
        super().__init__()
        self.superset_conn_id = superset_conn_id
        self.requests = requests

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, as Airflow keeps triggers."""
        arguments = {"superset_conn_id": self.superset_conn_id, "requests": self.requests}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Warm, then fire the one event."""
        outcomes: list[dict[str, Any]] = []
        requests = [ChartRequest(**request) for request in self.requests]
        try:
            connection = await BaseHook.aget_connection(self.superset_conn_id)
            async with AsyncSupersetSession(SupersetSettings.from_connection(connection)) as session:
                async for outcome in warm(session, requests):
                    self.log.info("%s", outcome)
                    outcomes.append(asdict(outcome))
        except SupersetError as error:
            yield TriggerEvent({"outcomes": outcomes, "error": str(error)})
        else:
            yield TriggerEvent({"outcomes": outcomes, "error": None})
