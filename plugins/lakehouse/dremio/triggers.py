"""Triggers that watch Dremio from the triggerer. They poll and nothing else; the operator interprets."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from lakehouse.dremio import calls, refresh
from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.exceptions import DremioError, DremioNotFound
from lakehouse.dremio.jobs import Job
from lakehouse.dremio.looks import look_async, parse
from lakehouse.dremio.rest import AsyncRestSession
from lakehouse.ops.waiting import NOTHING_SEEN, LookGivenUp, Sighting

POLL_SECONDS = 1.0  # between two looks while a wait is young
SLOWEST_POLL_SECONDS = 5.0  # after an hour of waiting
UNREACHABLE_SECONDS = 300.0  # without any answer; then the task takes over and fails or retries


async def open_session(conn_id: str) -> AsyncRestSession:
    """REST session for an Airflow connection, read without blocking the event loop.

    :raises DremioConfigError: naming the field of the connection to change.
    """
    return AsyncRestSession(DremioSettings.from_connection(await BaseHook.aget_connection(conn_id)))


def poll_delay(waited: float) -> float:
    """Seconds until the next look after `waited` seconds: 1 s at first, slowly up to 5 s."""
    return min(SLOWEST_POLL_SECONDS, max(POLL_SECONDS, waited / 720))


class DremioJobTrigger(BaseTrigger):
    """Fire when a Dremio job has ended, when `deadline` is past, or when the job cannot be watched any more.

    The event is `{"job_id": str, "reason": "ended" | "deadline" | "lost" | "unreachable", "detail": str,
    "state": dict}`.
    Killing the deferred task (mark failed, clear) cancels the job.

    :param dremio_conn_id: Airflow connection of type `dremio`.
    :param job_id: the job.
    :param deadline: epoch seconds, absolute so that a restarted triggerer does not wait anew; None: no limit.
    :param state: what the operator wants to get back in the event (plain JSON). It travels here and not in the
        deferral's kwargs, because `airflow dags test` drops those.
    """

    def __init__(
        self,
        *,
        dremio_conn_id: str,
        job_id: str,
        deadline: float | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.dremio_conn_id = dremio_conn_id
        self.job_id = job_id
        self.deadline = deadline
        self.state = state or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for the triggerer."""
        return (
            "lakehouse.dremio.triggers.DremioJobTrigger",
            {
                "dremio_conn_id": self.dremio_conn_id,
                "job_id": self.job_id,
                "deadline": self.deadline,
                "state": self.state,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the job until there is something to say."""
        try:
            async with await open_session(self.dremio_conn_id) as rest:
                reason, detail = await self._watch(rest)
        except DremioError as error:
            reason, detail = "lost", str(error)
        yield TriggerEvent({"job_id": self.job_id, "reason": reason, "detail": detail, "state": self.state})

    async def _watch(self, rest: AsyncRestSession) -> tuple[str, str]:
        started = last_answer = time.monotonic()
        while self.deadline is None or time.time() < self.deadline:
            try:
                job = Job.parse(self.job_id, await rest.send(calls.get_job(self.job_id)))
            except DremioNotFound as error:
                return "lost", str(error)
            except DremioError as error:
                if not error.transient:
                    raise
                if time.monotonic() - last_answer > UNREACHABLE_SECONDS:
                    return "unreachable", str(error)
                self.log.warning("Job %s could not be looked at, trying again: %s", self.job_id, error)
            else:
                last_answer = time.monotonic()
                if job.state.is_terminal:
                    return "ended", str(job.state)
            left = self.deadline - time.time() if self.deadline else SLOWEST_POLL_SECONDS
            await asyncio.sleep(max(0.0, min(poll_delay(time.monotonic() - started), left)))
        return "deadline", f"still running at the deadline, {time.monotonic() - started:.0f} s into the wait"

    async def on_kill(self) -> None:
        """Cancel the job because somebody stopped the deferred task; best effort."""
        try:
            async with await open_session(self.dremio_conn_id) as rest:
                await rest.send(calls.cancel_job(self.job_id))
        except DremioError as error:
            self.log.warning("Job %s may still run; its cancellation failed: %s", self.job_id, error)


class DremioReflectionsTrigger(BaseTrigger):
    """Fire when every reflection has been refreshed since it was asked to, or one was given up.

    The event is `{"reason": "refreshed" | "failed" | "deadline" | "unreachable", "detail": str, "state": dict}`.

    :param dremio_conn_id: Airflow connection of type `dremio`.
    :param before: reflection id -> marks of the refresh before (see `lakehouse.dremio.refresh.marks`).
    :param deadline: epoch seconds, absolute so that a restarted triggerer does not wait anew.
    :param idle: wait only until no refresh is under way, whatever its outcome.
    :param delay: seconds before the first look.
    :param state: what the operator wants to get back in the event; see DremioJobTrigger.
    """

    def __init__(
        self,
        *,
        dremio_conn_id: str,
        before: dict[str, list[str]],
        deadline: float,
        idle: bool = False,
        delay: float = 0.0,
        state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.dremio_conn_id = dremio_conn_id
        self.before = before
        self.deadline = deadline
        self.idle = idle
        self.delay = delay
        self.state = state or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for the triggerer."""
        return (
            "lakehouse.dremio.triggers.DremioReflectionsTrigger",
            {
                "dremio_conn_id": self.dremio_conn_id,
                "before": self.before,
                "deadline": self.deadline,
                "idle": self.idle,
                "delay": self.delay,
                "state": self.state,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the reflections until there is something to say."""
        await asyncio.sleep(self.delay)
        try:
            async with await open_session(self.dremio_conn_id) as rest:
                reason, detail = await self._watch(rest)
        except DremioError as error:
            reason, detail = "failed", str(error)
        yield TriggerEvent({"reason": reason, "detail": detail, "state": self.state})

    async def _watch(self, rest: AsyncRestSession) -> tuple[str, str]:
        started = last_answer = time.monotonic()
        open_ids = set(self.before)
        while time.time() < self.deadline:
            try:
                for reflection_id in sorted(open_ids):
                    found = await rest.send(calls.get_reflection(reflection_id))
                    if not self.idle and (why := refresh.failure(found)):
                        return "failed", f"{found.get('name')}: {why}"
                    if self._is_done(found, reflection_id):
                        open_ids.discard(reflection_id)
            except DremioError as error:
                if not error.transient:
                    raise
                if time.monotonic() - last_answer > UNREACHABLE_SECONDS:
                    return "unreachable", str(error)
                self.log.warning("Reflections could not be looked at, trying again: %s", error)
            else:
                last_answer = time.monotonic()
            if not open_ids:
                return "refreshed", f"{len(self.before)} reflections"
            waited = time.monotonic() - started
            await asyncio.sleep(max(0.0, min(poll_delay(waited), self.deadline - time.time())))
        return "deadline", f"not refreshed: {', '.join(sorted(open_ids))}"

    def _is_done(self, found: dict[str, Any], reflection_id: str) -> bool:
        if self.idle:
            return not refresh.is_busy(found)
        return refresh.is_refreshed(found, tuple(self.before[reflection_id]))


class DremioWatchTrigger(BaseTrigger):
    """Fire when what a sensor watches has come true, when it never will, or when `deadline` is past.

    The event is that of `lakehouse.ops.waiting.Sighting`; `detail` has what was seen last. Nothing is cancelled but
    a look's own query: a sensor does not own what it waits for.

    :param dremio_conn_id: Airflow connection of type `dremio`.
    :param watch: what `lakehouse.dremio.looks.dump` wrote.
    :param deadline: epoch seconds, absolute so that a restarted triggerer does not wait anew.
    :param poke_interval: seconds between two looks; never below `poll_delay`.
    :param seen: what the worker saw last.
    """

    def __init__(
        self,
        *,
        dremio_conn_id: str,
        watch: dict[str, Any],
        deadline: float,
        poke_interval: float,
        seen: str = NOTHING_SEEN,
    ) -> None:
        super().__init__()
        self.seen = seen
        self.dremio_conn_id = dremio_conn_id
        self.watch = watch
        self.deadline = deadline
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for the triggerer."""
        return (
            "lakehouse.dremio.triggers.DremioWatchTrigger",
            {
                "dremio_conn_id": self.dremio_conn_id,
                "watch": self.watch,
                "deadline": self.deadline,
                "poke_interval": self.poke_interval,
                "seen": self.seen,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to say."""
        try:
            async with await open_session(self.dremio_conn_id) as rest:
                event = await self._watch(rest)
        except DremioError as error:
            event = Sighting(False, str(error)).event("failed")
        yield TriggerEvent(event)

    async def _watch(self, rest: AsyncRestSession) -> dict[str, Any]:
        watch, seen = parse(self.watch), self.seen
        started = last_answer = time.monotonic()
        while time.time() < self.deadline:
            try:
                sighting = await look_async(watch, rest, self.deadline)
            except LookGivenUp:
                break
            except DremioError as error:
                if not error.transient:
                    raise
                if time.monotonic() - last_answer > UNREACHABLE_SECONDS:
                    return Sighting(False, str(error)).event("unreachable")
                self.log.warning("No look was possible, trying again: %s", error)
            else:
                last_answer, seen = time.monotonic(), sighting.detail
                if sighting.done:
                    return sighting.event("done")
            pause = max(self.poke_interval, poll_delay(time.monotonic() - started))
            await asyncio.sleep(max(0.0, min(pause, self.deadline - time.time())))
        return Sighting(False, seen).event("deadline")
