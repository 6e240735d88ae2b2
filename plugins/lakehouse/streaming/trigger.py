"""Goes round and round with a continuous sync, in the triggerer, so that no worker is held.

It does more than poll, because a round would otherwise cost the start of a task, seconds of a whole core each time.
No data pass through it: it asks Airbyte to sync, the object store to copy inside itself, Dremio to look again.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from lakehouse.streaming.continuous import ContinuousSync

PAUSE = 5.0  # seconds between two rounds while rows come
LONGEST_PAUSE = 20.0  # while none come: what is then committed first is still there within half a minute
PATIENCE = 60.0  # seconds without a round that succeeded; then the task shows it, and tries again
SHORTEST = 60.0  # seconds that a sync is waited for, also where the run's time is over


class ContinuousSyncTrigger(BaseTrigger):
    """Sync, deliver, pause, until `end_at`.

    The event is `{"outcome": "ended" | "error", "rounds": int, "rows": int, "longest": seconds of the longest round,
    "error": str}`. Killing the deferred task ends the rounds; a sync under way goes on to its end.

    :param settings: arguments of `lakehouse.streaming.continuous.ContinuousSync`.
    :param end_at: epoch seconds, absolute so that a restarted triggerer does not prolong it. One round is made anyway;
        a sync that takes longer, as a first one may, is left to the next run, which finds it running.
    """

    def __init__(self, *, settings: dict[str, Any], end_at: float) -> None:
        super().__init__()
        self.settings = settings
        self.end_at = end_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for the triggerer."""
        return (
            "lakehouse.streaming.trigger.ContinuousSyncTrigger",
            {"settings": self.settings, "end_at": self.end_at},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Go round until the time is over, or no round succeeds any more."""
        with await asyncio.to_thread(self._open) as sync:
            yield TriggerEvent(await self._rounds(sync))

    def _open(self) -> "ContinuousSync":
        from lakehouse.streaming.continuous import ContinuousSync  # takes a second, which would hold up other triggers

        return ContinuousSync(**self.settings)

    async def _rounds(self, sync: "ContinuousSync") -> dict[str, Any]:
        done: dict[str, Any] = {"outcome": "ended", "rounds": 0, "rows": 0, "longest": 0.0, "error": ""}
        wait_until = max(self.end_at, time.time() + SHORTEST)
        pause, succeeded = PAUSE, time.monotonic()
        while True:
            begun = time.monotonic()
            try:
                rows = await self._round(sync, wait_until)
            except Exception as error:
                if time.monotonic() - succeeded > PATIENCE:
                    return done | {"outcome": "error", "error": str(error) or type(error).__name__}
                self.log.warning("Round %d failed, trying again: %s", done["rounds"] + 1, error)
                rows = 0
            else:
                if rows is None:
                    return done
                succeeded = time.monotonic()
                done["rounds"] += 1
                done["rows"] += rows
                done["longest"] = max(done["longest"], round(succeeded - begun, 1))
                if rows:
                    self.log.info("%d rows delivered in %.1f s", rows, succeeded - begun)
            pause = PAUSE if rows else min(LONGEST_PAUSE, pause * 1.5)
            if time.time() + pause >= self.end_at and done["rounds"]:
                return done
            await asyncio.sleep(pause)

    async def _round(self, sync: "ContinuousSync", wait_until: float) -> int | None:
        """Return the rows that came; None if the sync is not over in time."""
        begun = time.monotonic()
        job = await asyncio.to_thread(sync.start)
        while not job.status.is_terminal:
            if time.time() >= wait_until:
                return None
            await asyncio.sleep(min(5.0, max(0.2, (time.monotonic() - begun) / 10)))
            job = await asyncio.to_thread(sync.look, job)
        return await asyncio.to_thread(sync.deliver, job)
