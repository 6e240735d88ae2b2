"""Bring declared reflections to life: create or correct them, start their refresh, tell how it goes.

Facts (Dremio's reflection API): `availability` stays AVAILABLE while a reflection is refreshed again, so a
finished refresh shows only in `lastDataFetch` / `lastRefreshFinished` moving on. These are compared with what
they were before the refresh was started, never with the worker's clock.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lakehouse.dremio.declared.reflections import HOUR_MS, Reflection
from lakehouse.dremio.exceptions import DremioError

if TYPE_CHECKING:
    from lakehouse.dremio.hook import DremioHook

BUSY = frozenset({"RUNNING", "PENDING"})
_MARKS = ("lastDataFetch", "lastRefreshFinished")


@dataclass(frozen=True)
class Awaited:
    """A reflection whose refresh is waited for; a plain dict survives deferral.

    :param before: `lastDataFetch` and `lastRefreshFinished` when the refresh was started; empty: first build.
    """

    reflection_id: str
    name: str
    table: str
    dataset_id: str
    before: tuple[str, ...] = ()


def marks(reflection: Mapping[str, Any]) -> tuple[str, ...]:
    """What moves on when a refresh ends."""
    status = reflection.get("status") or {}
    return tuple(str(status.get(key) or reflection.get(key) or "") for key in _MARKS)


def is_busy(reflection: Mapping[str, Any]) -> bool:
    """Whether a refresh is under way or queued."""
    return (reflection.get("status") or {}).get("refresh") in BUSY


def is_refreshed(reflection: Mapping[str, Any], before: tuple[str, ...]) -> bool:
    """Whether a refresh ended since `before` and its data can be used."""
    status = reflection.get("status") or {}
    if status.get("availability") != "AVAILABLE" or is_busy(reflection):
        return False
    return not before or marks(reflection) > before


def age(reflection: Mapping[str, Any], now: float) -> float | None:
    """Seconds since the data was read that a reflection answers with; None while it answers with none.

    :param now: epoch seconds.
    """
    status = reflection.get("status") or {}
    fetched = status.get("lastDataFetch") or reflection.get("lastDataFetch")
    if status.get("availability") != "AVAILABLE" or not fetched:
        return None
    return now - datetime.fromisoformat(str(fetched)).timestamp()


def failure(reflection: Mapping[str, Any]) -> str | None:
    """Why Dremio gave a reflection up; None while it has not."""
    status = reflection.get("status") or {}
    message = status.get("lastFailureMessage") or status.get("lastFailureStack") or "no reason given"
    if isinstance(message, Mapping):
        message = message.get("message") or "no reason given"
    if status.get("config") == "INVALID":
        return f"its definition no longer fits the dataset: {message}"
    if status.get("refresh") == "GIVEN_UP":
        return f"given up after {status.get('failureCount', '?')} failures: {message}"
    return None


def describe(reflection: Mapping[str, Any]) -> str:
    """One line about a reflection's status, for messages."""
    status = reflection.get("status") or {}
    parts = [f"{key} {status[key]}" for key in ("config", "refresh", "availability") if status.get(key)]
    if status.get("failureCount"):
        parts.append(f"{status['failureCount']} failures, the last: {status.get('lastFailureMessage')}")
    return ", ".join(parts) or "no status yet"


def ensure(hook: "DremioHook", declared: Reflection, table: str) -> tuple[Awaited, bool]:
    """Create the reflection on `table`, or correct it. The flag tells whether it starts its first build now.

    :raises DremioError: no such table; names it.
    """
    entity = hook.find_entity(table.split("."))
    if entity is None:
        raise DremioError(
            f"reflection {declared.name}: there is no {table} in Dremio. Was the mart built in this slot?"
        )
    dataset_id = str(entity["id"])
    wanted = declared.payload(dataset_id)
    there = next((r for r in hook.list_reflections(dataset_id) if r.get("name") == declared.name), None)
    if there is None:
        made = hook.create_reflection(wanted)
        return Awaited(str(made["id"]), declared.name, table, dataset_id), True
    reflection_id = str(there["id"])
    if not declared.matches(there):
        hook.update_reflection(reflection_id, wanted | {"id": reflection_id, "tag": there.get("tag")})
        return Awaited(reflection_id, declared.name, table, dataset_id, marks(there)), True
    return Awaited(reflection_id, declared.name, table, dataset_id, marks(there)), False


def ensure_policy(hook: "DremioHook", declared: Reflection, table: str) -> list[str]:
    """Set the declared refresh period on the tables below; returns those that were changed.

    :raises DremioError: one of them is no table (Dremio keeps the policy on tables alone).
    """
    changed = []
    for path, entity, policy in _other_policies(hook, declared, table):
        hook.update_entity(str(entity["id"]), entity | {"accelerationRefreshPolicy": policy})
        changed.append(path)
    return changed


def drift(hook: "DremioHook", declared: Reflection, table: str) -> list[str] | None:
    """What `ensure` and `ensure_policy` would change, one line each; None while there is no such table. Only looks.

    :raises DremioError: a table of `policy_on` is no table.
    """
    entity = hook.find_entity(table.split("."))
    if entity is None:
        return None
    there = next((r for r in hook.list_reflections(str(entity["id"])) if r.get("name") == declared.name), None)
    lines = []
    if there is None:
        lines.append(f"create reflection {declared.name} on {table}")
    elif not declared.matches(there):
        lines.append(f"update reflection {declared.name} on {table}: its definition differs, or it is disabled")
    return lines + [
        f"update table {path}: refreshed every {declared.refresh_every_hours} h"
        for path, _, _ in _other_policies(hook, declared, table)
    ]


def _other_policies(
    hook: "DremioHook", declared: Reflection, table: str
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Tables whose refresh policy is not as declared: path, entity, and the policy that it is to have."""
    if declared.refresh_every_hours is None:
        return
    period = declared.refresh_every_hours * HOUR_MS
    for path in declared.policy_on or [table]:
        entity = hook.find_entity(path.split("."))
        if entity is None or entity.get("type") != "PHYSICAL_DATASET":
            raise DremioError(f"reflection {declared.name}: {path} is no table; name tables in `policy_on`")
        there = entity.get("accelerationRefreshPolicy") or {}
        if there.get("activePolicyType") == "PERIOD" and there.get("refreshPeriodMs") == period:
            continue
        policy = {"activePolicyType": "PERIOD", "refreshPeriodMs": period, "gracePeriodMs": 3 * period}
        yield path, entity, there | policy | {"method": there.get("method") or "FULL"}
