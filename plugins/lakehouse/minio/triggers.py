"""The trigger that goes on looking for objects."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from lakehouse.minio.awaited import Awaited, look
from lakehouse.minio.exceptions import StoreUnreachable
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.ops.waiting import NOTHING_SEEN, Sighting

UNREACHABLE_SECONDS = 300.0  # without any answer; then the task takes over and fails or retries


class _KnownConnection(ObjectStoreHook):
    """The hook with a connection that was read before: a thread of the triggerer cannot read one."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection.conn_id)
        self._known = connection

    def get_connection(self, conn_id: str) -> Any:  # type: ignore[override]
        """The connection."""
        return self._known


async def open_store(conn_id: str) -> ObjectStoreHook:
    """The object store of an Airflow connection, read without blocking the event loop."""
    return _KnownConnection(await BaseHook.aget_connection(conn_id))


class ObjectsTrigger(BaseTrigger):
    """Fire when the objects are there, or when `deadline` is past. Listings run in threads: boto3 blocks.

    The event is that of `lakehouse.ops.waiting.Sighting`; `detail` has what was seen last.

    :param aws_conn_id: Airflow connection of type `aws`.
    :param awaited: `lakehouse.minio.awaited.Awaited` as a dict.
    :param deadline: epoch seconds, absolute so that a restarted triggerer does not wait anew.
    :param poke_interval: seconds between two listings.
    :param seen: what the worker saw last.
    """

    def __init__(
        self,
        *,
        aws_conn_id: str,
        awaited: dict[str, Any],
        deadline: float,
        poke_interval: float,
        seen: str = NOTHING_SEEN,
    ) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.awaited = awaited
        self.deadline = deadline
        self.poke_interval = poke_interval
        self.seen = seen

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for the triggerer."""
        return (
            "lakehouse.minio.triggers.ObjectsTrigger",
            {
                "aws_conn_id": self.aws_conn_id,
                "awaited": asdict(Awaited(**self.awaited)),
                "deadline": self.deadline,
                "poke_interval": self.poke_interval,
                "seen": self.seen,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """List until there is something to say."""
        store, awaited = await open_store(self.aws_conn_id), Awaited(**self.awaited)
        yield TriggerEvent(await self._watch(store, awaited))

    async def _watch(self, store: ObjectStoreHook, awaited: Awaited) -> dict[str, Any]:
        seen, last_answer = self.seen, time.monotonic()
        while time.time() < self.deadline:
            try:
                sighting = await asyncio.to_thread(look, store, awaited)
            except StoreUnreachable as error:
                if time.monotonic() - last_answer > UNREACHABLE_SECONDS:
                    return Sighting(False, str(error)).event("unreachable")
                self.log.warning("No listing was possible, trying again: %s", error)
            except (ClientError, BotoCoreError) as error:
                return Sighting(False, f"{awaited.what}: {error}").event("failed")
            else:
                last_answer, seen = time.monotonic(), sighting.detail
                if sighting.done:
                    return sighting.event("done")
            await asyncio.sleep(max(0.0, min(self.poke_interval, self.deadline - time.time())))
        return Sighting(False, seen).event("deadline")
