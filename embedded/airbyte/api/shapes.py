"""Stored rows in the forms of the two APIs."""

from datetime import UTC, datetime
from typing import Any

from embedded.airbyte.actors import masked, secret_names
from embedded.airbyte.catalog import SYNC_MODES, ConfiguredStream, DiscoveredStream, available_modes
from embedded.airbyte.connections import streams_of
from embedded.airbyte.database import Row
from embedded.airbyte.jobs import CONFIG_TYPES, TERMINAL, totals

JOB_TYPES = {config_type: job_type for job_type, config_type in CONFIG_TYPES.items()}
TOTALS = ("recordsEmitted", "bytesEmitted", "stateMessagesEmitted", "recordsCommitted")


def epoch(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())


def java_time(at: datetime) -> str:
    """A time as Java's OffsetDateTime shows it: whole seconds, and those left out when they are zero."""
    at = at.astimezone(UTC).replace(microsecond=0)
    return f"{at:%Y-%m-%dT%H:%MZ}" if at.second == 0 else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def java_duration(seconds: int) -> str:
    """A length of time as Java's Duration shows it (ISO 8601, hours as the largest unit)."""
    hours, minutes, rest = seconds // 3600, seconds % 3600 // 60, seconds % 60
    text = "".join(f"{value}{unit}" for value, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if value)
    return f"PT{text or '0S'}"


def workspace(row: Row) -> dict[str, Any]:
    return {
        "workspaceId": str(row["workspace_id"]),
        "name": row["name"],
        "dataResidency": "auto",
        "notifications": {},
    }


def definition(row: Row) -> dict[str, Any]:
    return {
        "id": str(row["definition_id"]),
        "name": row["name"],
        "manifest": row["manifest"],
        "version": row["version"],
    }


def actor(row: Row, manifest: dict[str, Any] | None) -> dict[str, Any]:
    """A source or destination; `manifest` is that of a low-code source."""
    kind = row["kind"]
    configuration = masked(row["configuration"], secret_names(row["type"], manifest))
    return {
        f"{kind}Id": str(row["actor_id"]),
        "name": row["name"],
        f"{kind}Type": row["type"],
        "definitionId": str(row["definition_id"]),
        "workspaceId": str(row["workspace_id"]),
        "configuration": {**configuration, f"{kind}Type": row["type"]},
        "createdAt": epoch(row["created_at"]),
    }


def connection(row: Row) -> dict[str, Any]:
    return {
        "connectionId": str(row["connection_id"]),
        "workspaceId": str(row["workspace_id"]),
        "name": row["name"],
        "sourceId": str(row["source_id"]),
        "destinationId": str(row["destination_id"]),
        "status": row["status"],
        "schedule": row["schedule"],
        "dataResidency": "auto",
        "configurations": {"streams": [_stream_configuration(stream) for stream in streams_of(row)]},
        "namespaceDefinition": row["namespace_definition"],
        "namespaceFormat": row["namespace_format"],
        "nonBreakingSchemaUpdatesBehavior": row["schema_changes"],
        "prefix": row["prefix"],
        "tags": row["tags"],
        "createdAt": epoch(row["created_at"]),
    }


def _stream_configuration(stream: ConfiguredStream) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "name": stream.name,
        "syncMode": stream.sync_mode,
        "cursorField": [stream.cursor] if stream.cursor else [],
        "primaryKey": [[key] for key in stream.primary_key],
        "mappers": [],
    }
    if stream.namespace:
        shape["namespace"] = stream.namespace
    if stream.selected is not None:
        shape["selectedFields"] = [{"fieldPath": [name]} for name in stream.selected]
    return shape


def stream_properties(stream: DiscoveredStream) -> dict[str, Any]:
    return {
        "streamName": stream.name,
        "streamnamespace": stream.namespace,
        "syncModes": available_modes(stream),
        "defaultCursorField": [stream.default_cursor] if stream.default_cursor else [],
        "sourceDefinedCursorField": stream.cursor_is_fixed,
        "sourceDefinedPrimaryKey": [[key] for key in stream.primary_key],
        "propertyFields": [[name] for name in stream.columns],
    }


def job(row: Row, attempts: list[Row] | None) -> dict[str, Any]:
    """A job of the public API; with its attempts it has counts too (POST and DELETE answer without)."""
    shape: dict[str, Any] = {
        "jobId": row["job_id"],
        "status": row["status"],
        "jobType": JOB_TYPES[row["config_type"]],
        "startTime": java_time(row["created_at"]),
        "connectionId": str(row["connection_id"]),
    }
    ended = row["status"] in TERMINAL
    if ended:
        shape["lastUpdatedAt"] = java_time(row["updated_at"])
    if row["started_at"] is not None:
        until = row["updated_at"] if ended else datetime.now(UTC)
        shape["duration"] = java_duration(max(0, int((until - row["started_at"]).total_seconds())))
    if attempts is not None:
        counters = totals(attempts)
        shape["bytesSynced"] = counters.get("bytesCommitted", 0)
        shape["rowsSynced"] = counters.get("recordsCommitted", 0)
    return shape


def job_read(row: Row, attempts: list[Row] | None) -> dict[str, Any]:
    """A job of the config API; with its attempts it has `aggregatedStats`."""
    shape: dict[str, Any] = {
        "id": row["job_id"],
        "configType": row["config_type"],
        "configId": str(row["connection_id"]),
        "createdAt": epoch(row["created_at"]),
        "updatedAt": epoch(row["updated_at"]),
        "startedAt": epoch(row["started_at"]),
        "status": row["status"],
    }
    if attempts is not None:
        counters = totals(attempts)
        names = ("recordsEmitted", "bytesEmitted", "recordsCommitted", "bytesCommitted")
        shape["aggregatedStats"] = {name: counters.get(name, 0) for name in names} | {"recordsRejected": 0}
    return shape


def attempt(row: Row) -> dict[str, Any]:
    """An attempt of the config API, with the counters of each stream."""
    counters = totals([row])
    failures = row["failures"]
    return {
        "id": row["number"],
        "status": row["status"],
        "createdAt": epoch(row["created_at"]),
        "updatedAt": epoch(row["updated_at"]),
        "endedAt": epoch(row["ended_at"]),
        "bytesSynced": counters.get("bytesCommitted", 0),
        "recordsSynced": counters.get("recordsCommitted", 0),
        "totalStats": {name: counters.get(name, 0) for name in TOTALS} if row["stream_stats"] else None,
        "streamStats": [
            {"streamName": name, "streamNamespace": None, "stats": {key: stats.get(key, 0) for key in TOTALS}}
            for name, stats in sorted(row["stream_stats"].items())
        ],
        "failureSummary": (
            {"failures": failures, "partialSuccess": counters.get("recordsCommitted", 0) > 0} if failures else None
        ),
    }


def sync_catalog(row: Row) -> dict[str, Any]:
    """A connection's streams in the form of the config API."""
    return {"streams": [_catalog_entry(stream) for stream in streams_of(row)]}


def _catalog_entry(stream: ConfiguredStream) -> dict[str, Any]:
    read, write = SYNC_MODES[stream.sync_mode]
    return {
        "stream": {
            "name": stream.name,
            "namespace": stream.namespace,
            "jsonSchema": {"type": "object", "properties": stream.columns},
            "supportedSyncModes": ["full_refresh", "incremental"],
        },
        "config": {
            "syncMode": read,
            "destinationSyncMode": write,
            "cursorField": [stream.cursor] if stream.cursor else [],
            "primaryKey": [[key] for key in stream.primary_key],
            "selected": True,
            "fieldSelectionEnabled": stream.selected is not None,
        },
    }
