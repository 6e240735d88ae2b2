"""Reflections: /api/v3/reflection and /api/v3/dataset/{id}/reflection."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from embedded.dremio.protocol.catalog_json import moment
from embedded.dremio.protocol.responses import ApiError, JsonResponse, body_object
from embedded.dremio.reflections.model import RAW, Reflection, from_rest, status
from embedded.dremio.reflections.service import ReflectionService


def _service(request: Request) -> ReflectionService:
    service: ReflectionService = request.app.state.services.reflections
    return service


def reflection_json(service: ReflectionService, reflection: Reflection) -> dict[str, Any]:
    """A reflection as REST shows it; moments that have not been are left out."""
    built = reflection.built
    state = status(reflection, service.policy(reflection).period_ms is not None)
    shown = {k: moment(v) if hasattr(v, "astimezone") else v for k, v in state.items() if v is not None}
    dataset = service.dataset(reflection)
    body: dict[str, Any] = {
        "id": reflection.reflection_id,
        "type": reflection.type,
        "name": reflection.name,
        "tag": reflection.tag,
        "createdAt": moment(reflection.created_at),
        "updatedAt": moment(reflection.updated_at),
        "datasetId": reflection.dataset_id,
        "datasetName": dataset.name,
        "datasetType": "VIRTUAL_DATASET" if dataset.kind.value == "view" else "PHYSICAL_DATASET",
        "currentSizeBytes": built.size_bytes if built else 0,
        "totalSizeBytes": built.size_bytes if built else 0,
        "recordCount": built.records if built else 0,
        "enabled": reflection.enabled,
        "arrowCachingEnabled": reflection.arrow_cache,
        "status": shown,
        "partitionDistributionStrategy": reflection.strategy,
        "reflectionMode": "MANUAL",
        "consideredCount": reflection.considered,
        "matchedCount": reflection.matched,
        "acceleratedCount": reflection.chosen,
        "canView": True,
        "canAlter": True,
        "entityType": "reflection",
    }
    lists = ["displayFields"] if reflection.type == RAW else ["dimensionFields", "measureFields"]
    for key in [*lists, "distributionFields", "partitionFields", "sortFields"]:
        if key in reflection.fields or key in lists:
            body[key] = reflection.fields.get(key, [])
    return body


def list_reflections(request: Request) -> Response:
    """GET /reflection: all of them. The enterprise edition only; the community edition has no such path."""
    if not request.app.state.services.enterprise:
        raise ApiError(404, f"HTTP 404 Not Found: {request.url.path}")
    service = _service(request)
    return JsonResponse({"data": [reflection_json(service, one) for one in service.all()]})


def list_of_dataset(request: Request) -> Response:
    """GET /dataset/{id}/reflection."""
    service, dataset_id = _service(request), request.path_params["dataset_id"]
    request.app.state.services.catalog.get_by_id(dataset_id)
    found = [reflection_json(service, one) for one in service.of_dataset(dataset_id)]
    return JsonResponse({"data": found})


async def create_reflection(request: Request) -> Response:
    """POST /reflection. The dataset's columns are checked; the first build starts at once."""
    service, new = _service(request), from_rest(await body_object(request))
    added = await asyncio.to_thread(service.add, new)
    return JsonResponse(await asyncio.to_thread(reflection_json, service, added))


def get_reflection(request: Request) -> Response:
    """GET /reflection/{id}; 404 when it is not known."""
    service = _service(request)
    return JsonResponse(reflection_json(service, service.get(request.path_params["reflection_id"])))


async def put_reflection(request: Request) -> Response:
    """PUT /reflection/{id} with the current tag."""
    service, body = _service(request), await body_object(request)
    reflection_id = request.path_params["reflection_id"]
    changed = await asyncio.to_thread(service.replace, reflection_id, from_rest(body), body.get("tag"))
    return JsonResponse(await asyncio.to_thread(reflection_json, service, changed))


def delete_reflection(request: Request) -> Response:
    """DELETE /reflection/{id}: 200 with an empty body."""
    _service(request).remove(request.path_params["reflection_id"])
    return Response(status_code=200)
