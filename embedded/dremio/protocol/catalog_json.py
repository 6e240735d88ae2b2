"""Catalog entities as the REST API shows them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from embedded.dremio.catalog import Catalog, Entity, Kind
from embedded.dremio.catalog.entities import SECRET_KEYS
from embedded.dremio.reflections.policy import policy_of

DEFAULT_METADATA_POLICY = {
    "authTTLMs": 86_400_000,
    "namesRefreshMs": 3_600_000,
    "datasetRefreshAfterMs": 3_600_000,
    "datasetExpireAfterMs": 10_800_000,
    "datasetUpdateMode": "PREFETCH_QUERIED",
    "deleteUnavailableDatasets": True,
    "autoPromoteDatasets": False,
}

_SOURCE_DEFAULTS = {
    "accelerationGracePeriodMs": 10_800_000,
    "accelerationRefreshPeriodMs": 3_600_000,
    "accelerationActivePolicyType": "PERIOD",
    "accelerationRefreshSchedule": "0 0 8 * * *",
    "accelerationNeverExpire": False,
    "accelerationNeverRefresh": False,
    "accelerationRefreshOnDataChanges": False,
    "allowCrossSourceSelection": False,
    "disableMetadataValidityCheck": False,
}


def moment(at: dt.datetime) -> str:
    """A time in UTC as REST writes it, to the millisecond."""
    return f"{at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def child_json(entity: Entity) -> dict[str, Any]:
    """An entity inside a list: of the roots, of a container's children."""
    body: dict[str, Any] = {"id": entity.id, "path": list(entity.path)}
    if entity.is_promoted:
        body |= {"tag": entity.tag, "createdAt": moment(entity.created_at)}
    if entity.kind is Kind.FILE:
        return body | {"type": "FILE"}
    if entity.is_dataset:
        return body | {"type": "DATASET", "datasetType": _dataset_type(entity)}
    return body | {"type": "CONTAINER", "containerType": entity.kind.name}


def _dataset_type(entity: Entity) -> str:
    if entity.kind is Kind.VIEW:
        return "VIRTUAL"
    return "DIRECT" if "remote" in entity.internals else "PROMOTED"


def entity_json(catalog: Catalog, entity: Entity, with_children: bool = True) -> dict[str, Any]:
    """An entity whole, as GET /catalog/{id} answers it; containers with their children unless left out."""
    body = _body(catalog, entity)
    if entity.is_container and with_children:
        body["children"] = [child_json(child) for child in catalog.children(entity)]
    return body


def _body(catalog: Catalog, entity: Entity) -> dict[str, Any]:
    common: dict[str, Any] = {"id": entity.id}
    if entity.is_promoted:
        common |= {"tag": entity.tag, "createdAt": moment(entity.created_at)}
    if entity.kind in (Kind.SPACE, Kind.HOME):
        return {"entityType": entity.kind.value, **common, "name": entity.name}
    if entity.kind in (Kind.FOLDER, Kind.FILE):
        return {"entityType": entity.kind.value, **common, "path": list(entity.path)}
    if entity.kind is Kind.SOURCE:
        return _source_json(entity, common)
    if entity.kind is Kind.FUNCTION:
        last = {"lastModified": moment(entity.modified_at)}
        return {"entityType": "function", **common, **last, "path": list(entity.path), **entity.body}
    return _dataset_json(catalog, entity, common)


def _source_json(entity: Entity, common: dict[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in entity.body.items() if key not in ("config", "metadataPolicy")}
    return {
        "entityType": "source",
        **common,
        "name": entity.name,
        **_SOURCE_DEFAULTS,
        **settings,
        "config": _masked(entity.public_config()),
        "metadataPolicy": {**DEFAULT_METADATA_POLICY, **(entity.body.get("metadataPolicy") or {})},
        "state": {"status": "good", "suggestedUserAction": "", "messages": []},
        "sourceChangeState": "SOURCE_CHANGE_STATE_NONE",
    }


def _masked(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without a property list's secrets (``fs.s3a.secret.key`` and the like)."""
    properties = config.get("propertyList")
    if not properties:
        return config
    shown = []
    for item in properties:
        name = str(item.get("name", "")).lower()
        secret = any(word in name for word in ("secret", "password", "token")) or name in SECRET_KEYS
        shown.append({**item, "value": "$DREMIO_EXISTING_VALUE$"} if secret else item)
    return {**config, "propertyList": shown}


def _dataset_json(catalog: Catalog, entity: Entity, common: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "entityType": "dataset",
        **common,
        "type": "VIRTUAL_DATASET" if entity.kind is Kind.VIEW else "PHYSICAL_DATASET",
        "path": list(entity.path),
    }
    if entity.kind is Kind.VIEW:
        body |= {"sql": entity.body.get("sql"), "sqlContext": entity.body.get("sqlContext") or []}
        body["isMetadataExpired"] = False
    else:
        if entity.body.get("format"):
            body["format"] = {"name": entity.name, "fullPath": list(entity.path), **entity.body["format"]}
        body["accelerationRefreshPolicy"] = policy_of(catalog, entity).rest()
        body["approximateStatisticsAllowed"] = False
        body["isMetadataExpired"] = False
        body["lastMetadataRefreshAt"] = entity.internals.get("refreshed_at") or moment(entity.modified_at)
    body["fields"] = [column.rest for column in entity.columns]
    return body
