"""The catalog endpoints under /api/v3/catalog.

Ids may hold encoded slashes (``dremio%3A%2Fsource%2Ffolder``), so the path is parted before it is decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from embedded.dremio.catalog import Catalog, Entity, Kind
from embedded.dremio.engine import Session
from embedded.dremio.errors import ConcurrentModification, InvalidRequest, NotFound
from embedded.dremio.protocol.catalog_json import child_json, entity_json
from embedded.dremio.protocol.responses import ApiError, JsonResponse, body_object, no_content
from embedded.dremio.reflections.policy import read_policy
from embedded.dremio.types import columns_of

MAX_BATCH = 50
_TABLE_KEYS = ("format", "accelerationRefreshPolicy")
_FUNCTION_KEYS = ("returnType", "functionBody", "functionArgList", "isScalar")


def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.services.catalog
    return catalog


def _segments(request: Request) -> list[str]:
    path = request.scope["raw_path"].decode("latin-1").partition("?")[0]
    return [unquote(part) for part in path.partition("/catalog/")[2].split("/") if part]


async def catalog_root(request: Request) -> Response:
    """GET /catalog: homes, spaces and sources. POST /catalog: a new entity."""
    if request.method == "POST":
        return await _create(request)
    roots = await asyncio.to_thread(_catalog(request).roots)
    return JsonResponse({"data": [child_json(root) for root in roots]})


async def catalog_entity(request: Request) -> Response:
    """Everything below /catalog/."""
    segments = _segments(request)
    route = (request.method, *segments[1:]) if segments else (request.method, "?")
    if segments[:1] == ["by-path"] and request.method == "GET":
        return await _show(request, lambda catalog: catalog.get_by_path(segments[1:]))
    if route == ("POST",) and segments[0] in ("by-ids", "by-paths"):
        return await _show_many(request, by_path=segments[0] == "by-paths")
    if route == ("GET",) and segments[0] == "search":
        return await asyncio.to_thread(_search, request)
    handler = _ENTITY_ROUTES.get(route)
    if handler is None:
        raise ApiError(404, f"HTTP 404 Not Found: {request.url.path}")
    return await handler(request, segments[0])


# --- reading --------------------------------------------------------------------------------------------------


async def _show(request: Request, find: Callable[[Catalog], Entity]) -> Response:
    catalog = _catalog(request)
    with_children = request.query_params.get("exclude") != "children"

    def show() -> dict[str, Any]:
        return entity_json(catalog, find(catalog), with_children)

    return JsonResponse(await asyncio.to_thread(show))


async def _get(request: Request, entity_id: str) -> Response:
    return await _show(request, lambda catalog: catalog.get_by_id(entity_id))


async def _show_many(request: Request, by_path: bool) -> Response:
    catalog, wanted = _catalog(request), orjson.loads(await request.body())
    if not isinstance(wanted, list) or len(wanted) > MAX_BATCH:
        raise ApiError(400, f"A list of at most {MAX_BATCH} is expected.")

    def show() -> list[dict[str, Any]]:
        found = []
        for one in wanted:
            try:
                entity = catalog.get_by_path(one) if by_path else catalog.get_by_id(one)
            except NotFound:
                continue
            found.append(entity_json(catalog, entity, with_children=False))
        return found

    return JsonResponse({"data": await asyncio.to_thread(show)})


def _search(request: Request) -> Response:
    words = request.query_params.get("query", "").lower().split()
    found = [e for e in _catalog(request).entities() if all(word in e.dotted.lower() for word in words)]
    return JsonResponse({"data": [child_json(entity) for entity in found[:100]]})


# --- changing -------------------------------------------------------------------------------------------------


async def _create(request: Request) -> Response:
    body = await body_object(request)
    catalog, kind = _catalog(request), body.get("entityType")
    if kind == "space":
        entity = await asyncio.to_thread(catalog.create_space, str(body.get("name") or ""))
    elif kind == "folder":
        entity = await asyncio.to_thread(catalog.create_folder, _path(body))
    elif kind == "source":
        entity = await asyncio.to_thread(catalog.create_source, body)
    elif kind == "dataset":
        entity = await _write_view(request, body, replace=False)
    elif kind == "function":
        entity = await asyncio.to_thread(
            lambda: catalog.create_function(_path(body), _only(body, _FUNCTION_KEYS), replace_existing=False)
        )
    else:
        raise InvalidRequest(f"entityType [{kind}] is none of space, folder, source, dataset, function.")
    return JsonResponse(await asyncio.to_thread(entity_json, catalog, entity, False))


def _path(body: dict[str, Any]) -> list[str]:
    path = body.get("path")
    if not isinstance(path, list) or not path or not all(isinstance(part, str) and part for part in path):
        raise InvalidRequest("The field path must be a list of names.")
    return path


def _only(body: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: body[key] for key in keys if key in body}


async def _write_view(request: Request, body: dict[str, Any], replace: bool) -> Entity:
    if body.get("type") != "VIRTUAL_DATASET":
        raise InvalidRequest("Physical Datasets can only be created by promoting other entities.")
    sql, context = body.get("sql"), body.get("sqlContext") or []
    if not isinstance(sql, str) or not sql.strip():
        raise InvalidRequest("Virtual dataset must have sql defined.")
    services = request.app.state.services
    session = Session(user=request.state.user.name, context=tuple(context))

    def write() -> Entity:
        columns = columns_of(services.runner.engine.prepare(sql, session).schema)
        view: Entity = services.catalog.create_view(_path(body), sql, context, columns, replace_existing=replace)
        return view

    return await asyncio.wrap_future(services.runner.engine.pool.submit(write))


async def _promote(request: Request, entity_id: str) -> Response:
    body, catalog = await body_object(request), _catalog(request)
    if not body.get("format"):
        raise InvalidRequest("Promoted dataset needs to have a format set.")
    policy = body.get("accelerationRefreshPolicy")
    if policy:
        read_policy(policy)

    def promote() -> dict[str, Any]:
        entity = catalog.get_by_id(entity_id)
        if entity.kind not in (Kind.FOLDER, Kind.FILE, Kind.TABLE):
            raise InvalidRequest(f"Can only promote a folder or a file but found [{entity.kind.value}]")
        return entity_json(catalog, catalog.promote(entity.path, body["format"], policy))

    return JsonResponse(await asyncio.wrap_future(_on_engine(request, promote)))


def _on_engine(request: Request, work: Callable[[], Any]) -> Any:
    """Work that reads files with DuckDB belongs on the engine's pool."""
    return request.app.state.services.runner.engine.pool.submit(work)


async def _put(request: Request, entity_id: str) -> Response:
    body, catalog = await body_object(request), _catalog(request)
    entity = await asyncio.to_thread(catalog.get_by_id, entity_id)
    tag = body.get("tag")
    if tag != entity.tag:
        raise ConcurrentModification(
            f"The tag [{tag}] is not the current one of [{entity.dotted}]: get the entity again and repeat."
        )
    if body.get("path") and [part.lower() for part in body["path"]] != list(entity.key):
        raise InvalidRequest(f"[{entity.dotted}] cannot be moved or renamed.")
    if entity.kind is Kind.VIEW:
        entity = await _write_view(request, {"path": list(entity.path), **body}, replace=True)
    else:
        entity = await asyncio.wrap_future(_on_engine(request, lambda: _update(catalog, entity, body, tag)))
    return JsonResponse(await asyncio.to_thread(entity_json, catalog, entity, False))


def _update(catalog: Catalog, entity: Entity, body: dict[str, Any], tag: str) -> Entity:
    if entity.kind is Kind.SOURCE:
        return catalog.update(entity.id, body, tag)
    if entity.kind is Kind.FUNCTION:
        return catalog.update(entity.id, _only(body, _FUNCTION_KEYS), tag)
    if entity.kind is not Kind.TABLE:
        return entity
    changes = _only(body, _TABLE_KEYS)
    if changes.get("accelerationRefreshPolicy"):
        read_policy(changes["accelerationRefreshPolicy"])
    # what GET adds to the format is not part of it
    if changes.get("format"):
        changes["format"] = {k: v for k, v in changes["format"].items() if k not in ("name", "fullPath")}
    return catalog.update(entity.id, changes, tag)


async def _delete(request: Request, entity_id: str) -> Response:
    await asyncio.to_thread(_catalog(request).delete, entity_id, request.query_params.get("tag"))
    return no_content()


async def _refresh(request: Request, entity_id: str) -> Response:
    services = request.app.state.services

    def refresh() -> None:
        try:
            entity = services.catalog.get_by_id(entity_id)
        except NotFound as error:
            raise NotFound(f"Could not find dataset with id [{entity_id}]") from error
        if not entity.is_dataset:
            raise NotFound(f"Could not find dataset with id [{entity_id}]")
        services.runner.engine.reflections.refresh(entity_id)

    await asyncio.to_thread(refresh)
    return no_content()


# --- wiki and tags --------------------------------------------------------------------------------------------


async def _get_wiki(request: Request, entity_id: str) -> Response:
    text, version = await asyncio.to_thread(_catalog(request).wiki, entity_id)
    return JsonResponse({"text": text, "version": version})


async def _post_wiki(request: Request, entity_id: str) -> Response:
    body, catalog = await body_object(request), _catalog(request)
    text = str(body.get("text") or "")
    version = await asyncio.to_thread(catalog.set_wiki, entity_id, text, body.get("version"))
    return JsonResponse({"text": text, "version": version})


async def _get_tags(request: Request, entity_id: str) -> Response:
    tags, version = await asyncio.to_thread(_catalog(request).tags, entity_id)
    return JsonResponse({"tags": tags, "version": version})


async def _post_tags(request: Request, entity_id: str) -> Response:
    body, catalog = await body_object(request), _catalog(request)
    tags = [str(tag) for tag in body.get("tags") or []]
    version = await asyncio.to_thread(catalog.set_tags, entity_id, tags, body.get("version"))
    return JsonResponse({"tags": tags, "version": version})


_ENTITY_ROUTES: dict[tuple[str, ...], Callable[[Request, str], Any]] = {
    ("GET",): _get,
    ("POST",): _promote,
    ("PUT",): _put,
    ("DELETE",): _delete,
    ("POST", "refresh"): _refresh,
    ("GET", "collaboration", "wiki"): _get_wiki,
    ("POST", "collaboration", "wiki"): _post_wiki,
    ("GET", "collaboration", "tag"): _get_tags,
    ("POST", "collaboration", "tag"): _post_tags,
}
