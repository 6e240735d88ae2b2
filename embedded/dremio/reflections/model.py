"""What a reflection is: its definition as REST and SQL state it, its materialization, its state."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field
from typing import Any

from embedded.dremio.engine import ReflectionDefinition
from embedded.dremio.errors import InvalidRequest

NEVER = dt.datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=dt.UTC)
GIVEN_UP_AFTER = 3
RAW, AGGREGATION = "RAW", "AGGREGATION"
MEASURE_TYPES = ("SUM", "COUNT", "MIN", "MAX", "APPROX_COUNT_DISTINCT")

_LISTS = (
    "displayFields",
    "dimensionFields",
    "measureFields",
    "distributionFields",
    "partitionFields",
    "sortFields",
)


def now() -> dt.datetime:
    """The present time in UTC."""
    return dt.datetime.now(dt.UTC)


@dataclass
class Built:
    """A finished materialization: a native table of the engine, read in place of the dataset.

    `dependencies` are the datasets that it was computed from, by catalog id: a view with the tag that it had
    (another tag means another query), a table with None (its data may change; that is what the policy is for).
    `fields` are the columns that it was made from with their types' names.
    """

    materialization_id: str
    table: str
    job_id: str
    records: int
    size_bytes: int
    started_at: dt.datetime
    finished_at: dt.datetime
    expires_at: dt.datetime | None
    dependencies: dict[str, str | None]
    fields: dict[str, str]

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now()


@dataclass
class Reflection:
    """One reflection with all that is known of it. Changed only under the service's lock."""

    dataset_id: str
    name: str
    type: str
    fields: dict[str, list[dict[str, Any]]]
    strategy: str = "CONSOLIDATED"
    arrow_cache: bool = False
    enabled: bool = True
    reflection_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    tag: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: dt.datetime = field(default_factory=now)
    updated_at: dt.datetime = field(default_factory=now)
    built: Built | None = None
    running: bool = False
    requested: bool = True
    failures: int = 0
    last_failure: str = ""
    last_failure_at: dt.datetime | None = None
    considered: int = 0
    matched: int = 0
    chosen: int = 0

    def column_names(self, key: str) -> list[str]:
        """The names in one of the field lists."""
        return [item["name"] for item in self.fields.get(key, [])]

    @property
    def gave_up(self) -> bool:
        return self.failures >= GIVEN_UP_AFTER

    @property
    def available(self) -> bool:
        """A materialization is there and has not expired."""
        return self.built is not None and not self.built.expired

    def same_definition(self, other: Reflection) -> bool:
        """True when a materialization of one serves the other."""
        return self.type == other.type and self.fields == other.fields


def from_rest(body: dict[str, Any]) -> Reflection:
    """A reflection from the body of POST or PUT /reflection. Raises InvalidRequest (400).

    dbt-dremio sends measure types with blanks around them and a list ``dateFields``, which Dremio ignores.
    """
    if not isinstance(body.get("enabled"), bool):
        raise InvalidRequest("Reflections must have the enabled field set")
    kind = str(body.get("type") or "").upper()
    if kind not in (RAW, AGGREGATION):
        raise InvalidRequest(f"Reflection type [{body.get('type')}] is none of {RAW}, {AGGREGATION}.")
    if not body.get("name") or not body.get("datasetId"):
        raise InvalidRequest("Reflections must have a name and a datasetId.")
    fields = {key: [_field(key, item) for item in body.get(key) or []] for key in _LISTS}
    return Reflection(
        dataset_id=str(body["datasetId"]),
        name=str(body["name"]),
        type=kind,
        fields={key: items for key, items in fields.items() if items},
        strategy=str(body.get("partitionDistributionStrategy") or "CONSOLIDATED").upper(),
        arrow_cache=bool(body.get("arrowCachingEnabled")),
        enabled=body["enabled"],
    )


def _field(key: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise InvalidRequest(f"Every element of {key} must have a name.")
    clean = dict(item)
    if key == "dimensionFields":
        clean["granularity"] = str(item.get("granularity") or "NORMAL").upper()
    if key == "measureFields":
        types = [str(one).strip().upper() for one in item.get("measureTypeList") or []]
        unknown = [one for one in types if one not in MEASURE_TYPES]
        if unknown:
            raise InvalidRequest(f"Measure type [{unknown[0]}] is none of {', '.join(MEASURE_TYPES)}.")
        clean["measureTypeList"] = types
    return clean


def from_definition(dataset_id: str, definition: ReflectionDefinition) -> Reflection:
    """A reflection from ALTER DATASET ... CREATE ... REFLECTION."""
    fields: dict[str, list[dict[str, Any]]] = {
        "displayFields": [{"name": name} for name in definition.display],
        "dimensionFields": [{"name": n, "granularity": g} for n, g in definition.dimensions],
        "measureFields": [{"name": n, "measureTypeList": list(kinds)} for n, kinds in definition.measures],
        "distributionFields": [{"name": name} for name in definition.distribution],
        "partitionFields": [{"name": n, "transform": {"type": t}} for n, t in definition.partitions],
        "sortFields": [{"name": name} for name in definition.sort],
    }
    return Reflection(
        dataset_id=dataset_id,
        name=definition.name,
        type=definition.type,
        fields={key: items for key, items in fields.items() if items},
        strategy=definition.partition_strategy,
        arrow_cache=definition.arrow_cache,
    )


def status(reflection: Reflection, policy_refreshes: bool) -> dict[str, Any]:
    """The ``status`` object (OSS ReflectionStatus)."""
    built = reflection.built
    return {
        "config": "OK",
        "refresh": refresh_status(reflection, policy_refreshes),
        "availability": "AVAILABLE" if reflection.available else "NONE",
        "combinedStatus": combined_status(reflection, policy_refreshes),
        "failureCount": reflection.failures,
        "lastFailureMessage": reflection.last_failure,
        "lastDataFetch": built.started_at if built else None,
        "expiresAt": built.expires_at if built and built.expires_at else NEVER,
        "refreshMethod": "FULL" if built else "NONE",
        "lastRefreshDurationMillis": _duration_ms(built),
        "lastRefreshFinished": built.finished_at if built else None,
    }


def _duration_ms(built: Built | None) -> int:
    return int((built.finished_at - built.started_at).total_seconds() * 1000) if built else -1


def refresh_status(reflection: Reflection, policy_refreshes: bool) -> str:
    """MANUAL, SCHEDULED, RUNNING, PENDING or GIVEN_UP."""
    if reflection.gave_up:
        return "GIVEN_UP"
    if reflection.running:
        return "RUNNING"
    if reflection.requested and reflection.built is not None:
        return "PENDING"
    return "SCHEDULED" if policy_refreshes or reflection.requested else "MANUAL"


def combined_status(reflection: Reflection, policy_refreshes: bool) -> str:
    """Dremio's one-word summary, by the algorithm of ReflectionStatus."""
    refresh = refresh_status(reflection, policy_refreshes)
    if not reflection.enabled:
        return "DISABLED"
    if refresh == "GIVEN_UP":
        return "FAILED"
    if refresh in ("PENDING", "RUNNING"):
        return "CAN_ACCELERATE" if reflection.available else "REFRESHING"
    if reflection.available:
        return "CAN_ACCELERATE_WITH_FAILURES" if reflection.failures else "CAN_ACCELERATE"
    return f"CANNOT_ACCELERATE_{refresh}"
