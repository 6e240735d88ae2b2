"""``sys.reflections``, ``sys.reflection_dependencies`` and ``sys.materializations`` with Dremio's columns."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa

from embedded.dremio.engine import Engine
from embedded.dremio.reflections.model import NEVER, Reflection, refresh_status, status
from embedded.dremio.reflections.service import ReflectionService

_TIME = pa.timestamp("ms")

REFLECTIONS = pa.schema(
    [
        ("reflection_id", pa.utf8()),
        ("reflection_name", pa.utf8()),
        ("type", pa.utf8()),
        ("created_at", _TIME),
        ("updated_at", _TIME),
        ("status", pa.utf8()),
        ("dataset_id", pa.utf8()),
        ("dataset_name", pa.utf8()),
        ("dataset_type", pa.utf8()),
        ("sort_columns", pa.utf8()),
        ("partition_columns", pa.utf8()),
        ("distribution_columns", pa.utf8()),
        ("dimensions", pa.utf8()),
        ("measures", pa.utf8()),
        ("display_columns", pa.utf8()),
        ("external_reflection", pa.utf8()),
        ("arrow_cache", pa.bool_()),
        ("num_failures", pa.int32()),
        ("last_failure_message", pa.utf8()),
        ("last_failure_stack", pa.utf8()),
        ("current_footprint_bytes", pa.int64()),
        ("total_footprint_bytes", pa.int64()),
        ("record_count", pa.int64()),
        ("refresh_status", pa.utf8()),
        ("acceleration_status", pa.utf8()),
        ("available_until", _TIME),
        ("last_refresh_from_table", _TIME),
        ("last_refresh_duration_millis", pa.int64()),
        ("refresh_method", pa.utf8()),
        ("considered_count", pa.int32()),
        ("matched_count", pa.int32()),
        ("accelerated_count", pa.int32()),
        ("reflection_mode", pa.utf8()),
        ("last_refresh_decision", pa.utf8()),
        ("last_refresh_finished", _TIME),
    ]
)

DEPENDENCIES = pa.schema(
    [
        ("reflection_id", pa.utf8()),
        ("dependency_id", pa.utf8()),
        ("dependency_type", pa.utf8()),
        ("dependency_path", pa.utf8()),
    ]
)

MATERIALIZATIONS = pa.schema(
    [
        ("reflection_id", pa.utf8()),
        ("materialization_id", pa.utf8()),
        ("created", _TIME),
        ("expires", _TIME),
        ("size_bytes", pa.int64()),
        ("series_id", pa.int64()),
        ("init_refresh_job_id", pa.utf8()),
        ("series_ordinal", pa.int32()),
        ("join_analysis", pa.utf8()),
        ("state", pa.utf8()),
        ("failure_msg", pa.utf8()),
        ("data_partitions", pa.utf8()),
        ("last_refresh_from_pds", _TIME),
        ("last_refresh_finished", _TIME),
        ("last_refresh_duration_millis", pa.int64()),
        ("last_refresh_details", pa.utf8()),
        ("is_stale", pa.bool_()),
    ]
)


def register(engine: Engine, service: ReflectionService) -> None:
    """Make the three tables known to the engine; their rows are those of the moment of the query."""
    engine.register_system_table(
        "reflections", REFLECTIONS, lambda: [_reflection(service, one) for one in service.all()]
    )
    engine.register_system_table("reflection_dependencies", DEPENDENCIES, lambda: _dependencies(service))
    engine.register_system_table(
        "materializations", MATERIALIZATIONS, lambda: [row for one in service.all() for row in _built(one)]
    )


def _plain(moment: dt.datetime | None) -> dt.datetime | None:
    return None if moment is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def _joined(names: list[str]) -> str:
    return ", ".join(names)


def _reflection(service: ReflectionService, one: Reflection) -> dict[str, Any]:
    by_policy = service.policy(one).period_ms is not None
    state, built, dataset = status(one, by_policy), one.built, service.dataset(one)
    return {
        "reflection_id": one.reflection_id,
        "reflection_name": one.name,
        "type": one.type,
        "created_at": _plain(one.created_at),
        "updated_at": _plain(one.updated_at),
        "status": state["combinedStatus"],
        "dataset_id": one.dataset_id,
        "dataset_name": dataset.dotted,
        "dataset_type": "VIRTUAL_DATASET" if dataset.kind.value == "view" else "PHYSICAL_DATASET",
        "sort_columns": _joined(one.column_names("sortFields")),
        "partition_columns": _joined(one.column_names("partitionFields")),
        "distribution_columns": _joined(one.column_names("distributionFields")),
        "dimensions": _joined(one.column_names("dimensionFields")),
        "measures": _joined(one.column_names("measureFields")),
        "display_columns": _joined(one.column_names("displayFields")),
        "external_reflection": None,
        "arrow_cache": one.arrow_cache,
        "num_failures": one.failures,
        "last_failure_message": one.last_failure,
        "last_failure_stack": "",
        "current_footprint_bytes": built.size_bytes if built else 0,
        "total_footprint_bytes": built.size_bytes if built else 0,
        "record_count": built.records if built else 0,
        "refresh_status": refresh_status(one, by_policy),
        "acceleration_status": state["availability"],
        "available_until": _plain(built.expires_at or NEVER) if built else None,
        "last_refresh_from_table": _plain(built.started_at) if built else None,
        "last_refresh_duration_millis": state["lastRefreshDurationMillis"],
        "refresh_method": state["refreshMethod"],
        "considered_count": one.considered,
        "matched_count": one.matched,
        "accelerated_count": one.chosen,
        "reflection_mode": "MANUAL",
        "last_refresh_decision": "FULL" if built else None,
        "last_refresh_finished": _plain(built.finished_at) if built else None,
    }


def _dependencies(service: ReflectionService) -> list[dict[str, Any]]:
    return [
        {
            "reflection_id": one.reflection_id,
            "dependency_id": table.id,
            "dependency_type": "DATASET",
            "dependency_path": table.dotted,
        }
        for one in service.all()
        for table in service.tables(one)
    ]


def _built(one: Reflection) -> list[dict[str, Any]]:
    built = one.built
    if built is None:
        return []
    return [
        {
            "reflection_id": one.reflection_id,
            "materialization_id": built.materialization_id,
            "created": _plain(built.started_at),
            "expires": _plain(built.expires_at or NEVER),
            "size_bytes": built.size_bytes,
            "series_id": int(built.started_at.timestamp() * 1000),
            "init_refresh_job_id": built.job_id,
            "series_ordinal": 0,
            "join_analysis": None,
            "state": "DONE",
            "failure_msg": "",
            "data_partitions": "",
            "last_refresh_from_pds": _plain(built.started_at),
            "last_refresh_finished": _plain(built.finished_at),
            "last_refresh_duration_millis": int((built.finished_at - built.started_at).total_seconds() * 1000),
            "last_refresh_details": "FULL",
            "is_stale": False,
        }
    ]
