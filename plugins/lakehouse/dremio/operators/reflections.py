"""Refresh reflections, wait for exactly that refresh, and prove that queries are accelerated by it."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from lakehouse.dremio.exceptions import DremioError, DremioTimeout
from lakehouse.dremio.jobs import task_tags, with_comment
from lakehouse.dremio.operators.sql import WAIT_IN_WORKER
from lakehouse.ops.records import record

if TYPE_CHECKING:
    from airflow.sdk import Context

    from lakehouse.dremio.declared.reflections import Reflection
    from lakehouse.dremio.hook import DremioHook
    from lakehouse.dremio.refresh import Awaited

PROOF_RETRY = 10.0  # seconds; Dremio's planner learns of a new materialization some seconds late


class DremioRefreshReflectionsOperator(BaseOperator):
    """Bring declared reflections up to date and prove that they accelerate.

    Reflections that are missing or differ from the file are created or corrected; the others are refreshed.
    The task waits for the refresh that it started (by last data fetch: an older refresh does not count),
    deferred when it takes longer than a few seconds, then runs the declared check queries and fails unless
    each was answered by its reflection. Safe to repeat: it refreshes once more.

    Datasets `gold.<mart>` are taken in a slot: the one that this run builds, unless `slot` names another.

    Example::

        DremioRefreshReflectionsOperator(
            task_id="refresh_reflections", path="reflections.yaml", timeout=1200, retries=2
        )

    Returns (XCom) a list of `{"name", "dataset", "reflection_id", "seconds", "rows"}`; it is the run record
    `reflections` too.

    :param path: YAML file; a relative one is looked for in include/pipelines (templated).
    :param slot: `a` or `b` (templated); default: the slot that the run has claimed in the release journal.
    :param names: only these reflections; default all of the file.
    :param fresh_for: seconds; a reflection whose data was read so recently is not refreshed, only proven. Default:
        each is refreshed. By the worker's clock, so leave it some minutes.
    :param timeout: seconds for all of it, proof included.
    :param lakehouse_conn_id: Airflow connection of the run records' database, for the journal.
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    """

    template_fields: Sequence[str] = ("path", "slot", "dremio_conn_id")
    ui_color = "#d8f3f0"

    def __init__(
        self,
        *,
        path: str = "reflections.yaml",
        slot: str | None = None,
        names: Sequence[str] | None = None,
        fresh_for: float = 0.0,
        timeout: float = 1200.0,
        lakehouse_conn_id: str = "lakehouse_db",
        dremio_conn_id: str = "dremio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.slot = slot
        self.names = names
        self.fresh_for = fresh_for
        self.timeout = timeout
        self.lakehouse_conn_id = lakehouse_conn_id
        self.dremio_conn_id = dremio_conn_id

    @cached_property
    def hook(self) -> "DremioHook":
        """Hook of this task."""
        from lakehouse.dremio.hook import DremioHook

        return DremioHook(self.dremio_conn_id)

    def execute(self, context: "Context") -> list[dict[str, Any]]:
        """Create, correct and refresh, then wait.

        :raises DremioError: a table is missing, or a reflection was given up; has Dremio's reason.
        :raises DremioTimeout: not refreshed, or not used by its check queries, within `timeout`.
        """
        from lakehouse.dremio.refresh import age, ensure, ensure_policy

        slot = self.slot or self._claimed_slot(context)
        awaited: list[Awaited] = []
        settled: set[str] = set()  # no refresh is to be asked for
        for declared in self._declared():
            one, starts_now = ensure(self.hook, declared, declared.table(slot))
            for table in ensure_policy(self.hook, declared, one.table):
                self.log.info("%s: refreshed every %s h from now on", table, declared.refresh_every_hours)
            seconds = None
            if self.fresh_for and not starts_now:
                seconds = age(self.hook.get_reflection(one.reflection_id), time.time())
            fresh = seconds is not None and seconds < self.fresh_for
            awaited.append(replace(one, before=()) if fresh else one)
            if starts_now or fresh:
                settled.add(one.reflection_id)
            how = f"its data is {seconds:.0f} s old, fresh enough" if fresh else "builds" if starts_now else "exists"
            self.log.info("%s on %s: %s", one.name, one.table, how)
        state = {
            "slot": slot,
            "started": time.time(),
            "deadline": time.time() + self.timeout,
            "awaited": [asdict(one) | {"before": list(one.before)} for one in awaited],
        }
        stale = [one for one in awaited if one.reflection_id not in settled]
        return self._start(context, state, [one.reflection_id for one in stale])

    def resume_idle(self, context: "Context", event: dict[str, Any]) -> list[dict[str, Any]]:
        """Earlier refreshes have ended: start ours."""
        state = self._state_of(event)
        return self._start(context, state, state.pop("stale"))

    def resume_refreshed(self, context: "Context", event: dict[str, Any]) -> list[dict[str, Any]]:
        """Our refreshes have ended, well or not."""
        return self._wait(context, self._state_of(event))

    def resume_proof(self, context: "Context", event: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask once more whether the queries are accelerated."""
        return self._prove(context, self._state_of(event))

    # --- steps -----------------------------------------------------------------------------------

    def _start(self, context: "Context", state: dict[str, Any], stale: list[str]) -> list[dict[str, Any]]:
        """Start the refresh of reflections that exist already; waits first for one that is under way."""
        from lakehouse.dremio.refresh import is_busy, marks

        found = {reflection_id: self.hook.get_reflection(reflection_id) for reflection_id in stale}
        busy = [reflection_id for reflection_id, there in found.items() if is_busy(there)]
        if busy:
            if time.time() >= state["deadline"]:  # the trigger would say so at once, and so on for ever
                names = [one["name"] for one in state["awaited"] if one["reflection_id"] in busy]
                raise DremioTimeout(f"Earlier refreshes did not end within {self.timeout:g} s: {', '.join(names)}")
            self.log.info("Waiting for refreshes that began earlier: %s", ", ".join(busy))
            self._defer("resume_idle", state | {"stale": stale}, {key: [] for key in busy}, idle=True)
        for one in state["awaited"]:
            if one["reflection_id"] in found:
                one["before"] = list(marks(found[one["reflection_id"]]))
        for dataset_id in sorted({o["dataset_id"] for o in state["awaited"] if o["reflection_id"] in found}):
            self.hook.refresh_reflections(dataset_id)
        return self._wait(context, state)

    def _wait(self, context: "Context", state: dict[str, Any]) -> list[dict[str, Any]]:
        patience = time.monotonic() + WAIT_IN_WORKER
        while unfinished := self._unfinished(state):
            if time.time() >= state["deadline"]:
                raise DremioTimeout(f"Not refreshed within {self.timeout:g} s: {'; '.join(unfinished.values())}")
            if time.monotonic() >= patience:
                before = {
                    one["reflection_id"]: list(one["before"])
                    for one in state["awaited"]
                    if one["reflection_id"] in unfinished
                }
                self._defer("resume_refreshed", state, before)
            time.sleep(0.5)
        return self._prove(context, state)

    def _prove(self, context: "Context", state: dict[str, Any]) -> list[dict[str, Any]]:
        """Run the check queries; record and return the facts when all are accelerated."""
        unused = self._unused(context, state)
        if not unused:
            return self._report(context, state)
        if time.time() + PROOF_RETRY < state["deadline"]:
            self.log.info("Not accelerated yet, asked again in %s s: %s", PROOF_RETRY, "; ".join(unused))
            self._defer("resume_proof", state, {}, delay=PROOF_RETRY)
        names = ", ".join(sorted({text.partition(":")[0] for text in unused}))
        raise DremioTimeout(f"Refreshed, yet not used for their check queries: {names}", "; ".join(unused))

    def _unfinished(self, state: dict[str, Any]) -> dict[str, str]:
        """Reflections not refreshed yet, each with its status in words; keeps the facts of the others."""
        from lakehouse.dremio.refresh import describe, failure, is_refreshed

        unfinished = {}
        for one in state["awaited"]:
            if "seconds" in one:
                continue
            there = self.hook.get_reflection(one["reflection_id"])
            if why := failure(there):
                raise DremioError(f"reflection {one['name']} on {one['table']}: {why}")
            if not is_refreshed(there, tuple(one["before"])):
                unfinished[one["reflection_id"]] = f"{one['name']} on {one['table']} ({describe(there)})"
                continue
            millis = (there.get("status") or {}).get("lastRefreshDurationMillis")
            one["seconds"] = round(millis / 1000 if millis else time.time() - state["started"], 3)
            one["rows"] = there.get("recordCount")
        return unfinished

    def _unused(self, context: "Context", state: dict[str, Any]) -> list[str]:
        """Check queries that were not answered by their reflection, each with what Dremio considered."""
        from lakehouse.dremio.hook import quoted

        declared = {(entry.name, entry.table(state["slot"])): entry for entry in self._declared()}
        names = {one["reflection_id"]: one["name"] for one in state["awaited"]}
        unused = []
        for one in state["awaited"]:
            for check in declared[one["name"], one["table"]].checks:
                sql = check.replace("{dataset}", quoted(one["table"].split(".")))
                job = self.hook.run_job(with_comment(sql, task_tags(context)), idempotent=True)
                if one["reflection_id"] in job.chosen:
                    self.log.info("%s answers: %s", one["name"], sql)
                    continue
                chosen = ", ".join(names.get(chosen, chosen) for chosen in job.chosen) or "none"
                looked = ", ".join(names.get(found, found) for found in job.considered) or "none"
                unused.append(f"{one['name']}: {sql} (answered by {chosen}; considered: {looked})")
        return unused

    def _report(self, context: "Context", state: dict[str, Any]) -> list[dict[str, Any]]:
        facts = [
            {
                "name": one["name"],
                "dataset": one["table"],
                "reflection_id": one["reflection_id"],
                "seconds": one["seconds"],
                "rows": one["rows"],
            }
            for one in state["awaited"]
        ]
        record(context, "reflections", facts)
        return facts

    def _declared(self) -> "list[Reflection]":
        from lakehouse.dremio.declared.reflections import Reflections
        from lakehouse.ops.declarations import load

        entries = load(self.path, Reflections).reflections
        if self.names is None:
            return entries
        unknown = set(self.names) - {entry.name for entry in entries}
        if unknown:
            known = ", ".join(entry.name for entry in entries)
            raise ValueError(f"{self.path} declares no {', '.join(sorted(unknown))}; it has {known}")
        return [entry for entry in entries if entry.name in self.names]

    def _claimed_slot(self, context: "Context") -> str:
        from lakehouse.ops import releases

        release = releases.current(self.lakehouse_conn_id, context["ti"].run_id)
        if release is None:
            raise DremioError(f"run {context['ti'].run_id} has claimed no slot: run its marts group first")
        return release.slot

    def _state_of(self, event: Any) -> dict[str, Any]:
        if not isinstance(event, dict) or not event.get("state"):
            raise DremioError(f"Task {self.task_id} was woken by an unknown event: {event!r}")
        self.log.info("Woken: %s (%s)", event["reason"], event["detail"])
        if event["reason"] == "failed":
            raise DremioError(str(event["detail"]))
        return dict(event["state"])

    def _defer(
        self,
        method_name: str,
        state: dict[str, Any],
        before: dict[str, list[str]],
        *,
        idle: bool = False,
        delay: float = 0.0,
    ) -> NoReturn:
        from lakehouse.dremio.triggers import DremioReflectionsTrigger

        self.defer(
            trigger=DremioReflectionsTrigger(
                dremio_conn_id=self.dremio_conn_id,
                before=before,
                deadline=state["deadline"],
                idle=idle,
                delay=delay,
                state=state,
            ),
            method_name=method_name,
        )
