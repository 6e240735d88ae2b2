"""Waits for a job of Airbyte without holding a worker."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from lakehouse.airbyte.client import AirbyteSettings, AsyncAirbyteClient
from lakehouse.airbyte.exceptions import AirbyteAuthError, AirbyteError
from lakehouse.airbyte.jobs import Job, interval


class AirbyteJobTrigger(BaseTrigger):
    """Fires when a job has ended, when its time is over, or when Airbyte stays away too long.

    Errors that may pass (no connection, 429, 5xx, a token refused) are waited out for `patience` seconds. Every
    event has `job_id` and `outcome`: `ended` with `status`, `timeout` with the last `status`, `error` with `error`.

    :param started_at: epoch seconds at which the job was started: the interval between two questions grows with
        the job's age.
    :param end_at: epoch seconds at which waiting ends. Absolute, so that a restart of the triggerer does not
        prolong it.
    :param owned: whether the task started the job itself; only then is it cancelled when the task is killed.
    :param patience: seconds without a useful answer after which waiting ends with an error.
    """

    def __init__(
        self,
        *,
        airbyte_conn_id: str,
        job_id: int,
        started_at: float,
        end_at: float,
        owned: bool,
        patience: float = 300.0,
    ) -> None:
        super().__init__()
        self.airbyte_conn_id = airbyte_conn_id
        self.job_id = job_id
        self.started_at = started_at
        self.end_at = end_at
        self.owned = owned
        self.patience = patience

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return (
            "lakehouse.airbyte.trigger.AirbyteJobTrigger",
            {
                "airbyte_conn_id": self.airbyte_conn_id,
                "job_id": self.job_id,
                "started_at": self.started_at,
                "end_at": self.end_at,
                "owned": self.owned,
                "patience": self.patience,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask for the job until it has ended."""
        async with await self._client() as airbyte:
            yield TriggerEvent(await self._wait(airbyte))

    async def _client(self) -> AsyncAirbyteClient:
        connection = await BaseHook.aget_connection(self.airbyte_conn_id)
        return AsyncAirbyteClient(AirbyteSettings.from_connection(connection))

    async def _wait(self, airbyte: AsyncAirbyteClient) -> dict[str, Any]:
        status, answered = "unknown", time.monotonic()
        while True:
            try:
                job = Job.of(await airbyte.call("GET", f"/jobs/{self.job_id}"))
                status, answered = job.status.value, time.monotonic()
                if job.status.is_terminal:
                    return {"outcome": "ended", "job_id": self.job_id, "status": status}
            except AirbyteError as error:
                passing = error.transient or isinstance(error, AirbyteAuthError)
                if not passing or time.monotonic() - answered > self.patience:
                    return {"outcome": "error", "job_id": self.job_id, "error": str(error)}
                self.log.warning("job %s could not be asked for, trying on: %s", self.job_id, error)
            left = self.end_at - time.time()
            if left <= 0:
                return {"outcome": "timeout", "job_id": self.job_id, "status": status}
            await asyncio.sleep(min(interval(time.time() - self.started_at), left))

    async def on_kill(self) -> None:
        """Cancel the job of a task that was killed while it waited, if the task had started it."""
        if not self.owned:
            return
        try:
            async with await self._client() as airbyte:
                job = Job.of(await airbyte.call("GET", f"/jobs/{self.job_id}"))
                if not job.status.is_terminal:
                    await airbyte.call("DELETE", f"/jobs/{self.job_id}")
        except AirbyteError as error:
            self.log.warning("job %s may still be running, it could not be cancelled: %s", self.job_id, error)
