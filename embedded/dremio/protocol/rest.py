"""The REST application on port 9047: routes, authentication of every call, errors in Dremio's bodies.

Software's paths are under ``/api/v3``; Cloud's under ``/v0/projects/{project}`` answer the same.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from embedded.dremio.catalog import Catalog
from embedded.dremio.errors import ConcurrentModification, DremioError, NotFound, PermissionDenied
from embedded.dremio.jobs.results import ResultStore
from embedded.dremio.jobs.runner import UNEXPECTED, JobRunner
from embedded.dremio.jobs.store import JobStore
from embedded.dremio.protocol import catalog_api, jobs_listing_api, reflection_api, session_api, sql_api
from embedded.dremio.protocol.auth import Accounts, AuthenticationError, token_of_header
from embedded.dremio.protocol.responses import ApiError, JsonResponse
from embedded.dremio.reflections.service import ReflectionService

log = logging.getLogger(__name__)

_OPEN = {("GET", "/apiv2/server_status"), ("POST", "/apiv2/login")}


@dataclass(frozen=True)
class Services:
    """What the handlers work with, as ``request.app.state.services``."""

    accounts: Accounts
    catalog: Catalog
    runner: JobRunner
    jobs: JobStore
    results: ResultStore
    reflections: ReflectionService
    enterprise: bool


class Authentication:
    """Puts the caller into ``request.state``; without a valid token the answer is 401 with an empty body."""

    def __init__(self, app: ASGIApp, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) in _OPEN:
            await self._app(scope, receive, send)
            return
        header = next((value for key, value in scope["headers"] if key == b"authorization"), b"").decode("latin-1")
        try:
            token = token_of_header(header)
            if self._accounts.knows(token):
                user = self._accounts.user_of_token(token)
            else:
                user = await asyncio.to_thread(self._accounts.user_of_token, token)
        except AuthenticationError:
            await Response(status_code=401)(scope, receive, send)
            return
        scope.setdefault("state", {}).update(user=user, token=token)
        await self._app(scope, receive, send)


class Administration:
    """Keeps users who are no administrators from the catalog's and the reflections' paths.

    In the enterprise edition they work with SQL, where every statement is checked.
    """

    _CLOSED = ("catalog", "reflection", "dataset")

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        access = self._services.runner.engine.access
        user = scope.get("state", {}).get("user")
        if (
            access is not None
            and user is not None
            and self._is_closed(scope["path"])
            and not access.is_admin(user.name)
        ):
            message = "This path is for administrators; other users work with SQL."
            await JsonResponse(ApiError(403, message).body(), 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_closed(self, path: str) -> bool:
        parts = path.strip("/").split("/")
        below = parts[2:] if parts[:2] == ["api", "v3"] else parts[3:] if parts[:2] == ["v0", "projects"] else []
        return bool(below) and below[0] in self._CLOSED


class UnexpectedErrors:
    """Answers 500 with Dremio's body for an error that no handler knows, and logs it.

    Starlette's own handler raises on after answering, upon which uvicorn drops the client's connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            log.exception("%s %s failed unexpectedly", scope.get("method"), scope.get("path"))
            body = {"errorMessage": UNEXPECTED, "moreInfo": type(error).__name__}
            await JsonResponse(body, 500)(scope, receive, send)


def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JsonResponse(error.body(), error.status)


def _dremio_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DremioError)
    status = 400
    if isinstance(error, NotFound):
        status = 404
    elif isinstance(error, ConcurrentModification):
        status = 409
    elif isinstance(error, PermissionDenied):
        status = 403
    return _api_error(request, ApiError(status, error.message, context=error.context))


def _not_found(request: Request, error: Exception) -> Response:
    return JsonResponse({"errorMessage": f"HTTP 404 Not Found: {request.url.path}", "moreInfo": ""}, 404)


def _api_routes() -> list[Route]:
    return [
        Route("/sql", sql_api.post_sql, methods=["POST"]),
        Route("/job/{job_id}", sql_api.get_job),
        Route("/job/{job_id}/results", sql_api.get_results),
        Route("/job/{job_id}/cancel", sql_api.cancel_job, methods=["POST"]),
        Route("/catalog", catalog_api.catalog_root, methods=["GET", "POST"]),
        Route("/catalog/{rest:path}", catalog_api.catalog_entity, methods=["GET", "POST", "PUT", "DELETE"]),
        Route("/reflection", reflection_api.list_reflections),
        Route("/reflection", reflection_api.create_reflection, methods=["POST"]),
        Route("/reflection/{reflection_id}", reflection_api.get_reflection),
        Route("/reflection/{reflection_id}", reflection_api.put_reflection, methods=["PUT"]),
        Route("/reflection/{reflection_id}", reflection_api.delete_reflection, methods=["DELETE"]),
        Route("/dataset/{dataset_id}/reflection", reflection_api.list_of_dataset),
        Route("/user/by-name/{user}", session_api.user_by_name),
        Route("/user", session_api.create_user, methods=["POST"]),
        Route("/user/{user}", session_api.user_by_name),
        Route("/user/{user}", session_api.update_user, methods=["PUT"]),
        Route("/user/{user}/token", session_api.list_tokens),
        Route("/user/{user}/token", session_api.create_token, methods=["POST"]),
        Route("/user/{user}/token", session_api.delete_token, methods=["DELETE"]),
        Route("/user/{user}/token/{token}", session_api.delete_token, methods=["DELETE"]),
    ]


def build_app(services: Services) -> Starlette:
    """The ASGI application over these services."""
    routes = [
        Route("/apiv2/server_status", session_api.server_status),
        Route("/apiv2/login", session_api.login, methods=["POST"]),
        Route("/apiv2/login", session_api.check_login),
        Route("/apiv2/login", session_api.logout, methods=["DELETE"]),
        Route("/apiv2/jobs-listing/v1.0", jobs_listing_api.list_jobs),
        Route("/apiv2/jobs-listing/v1.0/", jobs_listing_api.list_jobs),
        Mount("/api/v3", routes=_api_routes()),
        Mount("/v0/projects/{project}", routes=_api_routes()),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            ApiError: _api_error,
            DremioError: _dremio_error,
            404: _not_found,
        },
    )
    app.state.services = services
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(Administration, services=services)
    app.add_middleware(Authentication, accounts=services.accounts)
    return app
