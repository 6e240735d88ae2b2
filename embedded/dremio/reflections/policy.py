"""Refresh policies: they belong to a table, else to its source, and rule all reflections that read the table."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from embedded.dremio.catalog import Catalog, Entity
from embedded.dremio.errors import InvalidRequest

HOUR_MS = 3_600_000
POLICY_TYPES = ("NEVER", "PERIOD", "SCHEDULE", "REFRESH_ON_DATA_CHANGES")


@dataclass(frozen=True)
class RefreshPolicy:
    """When reflections on a table are rebuilt and when they expire; times in milliseconds."""

    active: str = "PERIOD"
    refresh_period_ms: int = HOUR_MS
    grace_period_ms: int = 3 * HOUR_MS
    schedule: str = "0 0 8 * * *"
    method: str = "FULL"
    refresh_field: str | None = None
    never_expire: bool = False
    never_refresh: bool = False

    @property
    def period_ms(self) -> int | None:
        """The time between two refreshes, or None when only a request refreshes."""
        return self.refresh_period_ms if self.active == "PERIOD" and not self.never_refresh else None

    @property
    def expires_ms(self) -> int | None:
        """How long after its last refresh a materialization may be used, or None: for ever."""
        return None if self.never_expire else self.grace_period_ms

    def next_refresh(self, refreshed_at: dt.datetime) -> dt.datetime | None:
        """When a materialization whose data were fetched then is due again, None: only by request."""
        period = self.period_ms
        return None if period is None else refreshed_at + dt.timedelta(milliseconds=period)

    def expiry(self, refreshed_at: dt.datetime) -> dt.datetime | None:
        """When a materialization whose data were fetched then may no longer be used, None: never."""
        expires = self.expires_ms
        return None if expires is None else refreshed_at + dt.timedelta(milliseconds=expires)

    def rest(self) -> dict[str, Any]:
        """``accelerationRefreshPolicy`` of a dataset."""
        body: dict[str, Any] = {
            "activePolicyType": self.active,
            "refreshPeriodMs": self.refresh_period_ms,
            "refreshSchedule": self.schedule,
            "gracePeriodMs": self.grace_period_ms,
            "method": self.method,
            "neverExpire": self.never_expire,
            "neverRefresh": self.never_refresh,
        }
        return body if self.refresh_field is None else {**body, "refreshField": self.refresh_field}


def read_policy(body: dict[str, Any]) -> RefreshPolicy:
    """A policy from REST's ``accelerationRefreshPolicy``. Raises InvalidRequest (HTTP 400)."""
    policy = RefreshPolicy(
        active=str(body.get("activePolicyType") or "PERIOD"),
        refresh_period_ms=int(body.get("refreshPeriodMs") or HOUR_MS),
        grace_period_ms=int(body.get("gracePeriodMs") or 3 * HOUR_MS),
        schedule=str(body.get("refreshSchedule") or "0 0 8 * * *"),
        method=str(body.get("method") or "FULL"),
        refresh_field=body.get("refreshField"),
        never_expire=bool(body.get("neverExpire")),
        never_refresh=bool(body.get("neverRefresh")),
    )
    if policy.active not in POLICY_TYPES:
        raise InvalidRequest(f"activePolicyType [{policy.active}] is none of {', '.join(POLICY_TYPES)}.")
    if policy.active in ("SCHEDULE", "REFRESH_ON_DATA_CHANGES"):
        raise InvalidRequest(
            f"activePolicyType [{policy.active}] is not supported by this server; use PERIOD or NEVER."
        )
    if policy.method == "INCREMENTAL":
        raise InvalidRequest("Incremental refresh is not supported by this server; use the method FULL or AUTO.")
    if policy.refresh_period_ms < HOUR_MS:
        raise InvalidRequest("refreshPeriodMs must be at least 3600000 (one hour).")
    return policy


def policy_of(catalog: Catalog, table: Entity) -> RefreshPolicy:
    """The policy that rules a table's reflections: its own, else that of its source, else Dremio's default."""
    own = table.body.get("accelerationRefreshPolicy")
    if own:
        return read_policy(own)
    source = catalog.source_of(table.path)
    settings = source.body if source is not None else {}
    return RefreshPolicy(
        active=settings.get("accelerationActivePolicyType") or "PERIOD",
        refresh_period_ms=settings.get("accelerationRefreshPeriodMs") or HOUR_MS,
        grace_period_ms=settings.get("accelerationGracePeriodMs") or 3 * HOUR_MS,
        schedule=settings.get("accelerationRefreshSchedule") or "0 0 8 * * *",
        never_expire=bool(settings.get("accelerationNeverExpire")),
        never_refresh=bool(settings.get("accelerationNeverRefresh")),
    )
