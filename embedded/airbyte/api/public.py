"""The public API, /api/public/v1: what Airflow's provider and the `airbyte-api` client use."""

from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from embedded.airbyte.api.auth import Auth
from embedded.airbyte.api.calls import Endpoint, Problem, database_is_away, error_id, handler
from embedded.airbyte.api.public_actors import PublicActors
from embedded.airbyte.api.public_connections import PublicConnections
from embedded.airbyte.api.public_jobs import PublicJobs
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.service import Service


def public_app(service: Service, auth: Auth) -> Starlette:
    """The ASGI application of the public API."""
    actors, connections, jobs = PublicActors(service), PublicConnections(service), PublicJobs(service)
    routes: list[Any] = [
        _route("GET", "/health", lambda call: _health(service)),
        _route("POST", "/applications/token", auth.token),
    ]
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/workspaces", actors.list_workspaces),
        ("POST", "/workspaces", actors.create_workspace),
        ("GET", "/workspaces/{workspaceId}", actors.get_workspace),
        ("PATCH", "/workspaces/{workspaceId}", actors.rename_workspace),
        ("GET", "/workspaces/{workspaceId}/definitions/declarative_sources", actors.list_definitions),
        ("POST", "/workspaces/{workspaceId}/definitions/declarative_sources", actors.create_definition),
        ("GET", "/workspaces/{workspaceId}/definitions/declarative_sources/{definitionId}", actors.get_definition),
        ("PUT", "/workspaces/{workspaceId}/definitions/declarative_sources/{definitionId}", actors.put_definition),
        ("DELETE", "/workspaces/{workspaceId}/definitions/declarative_sources/{definitionId}",
         actors.delete_definition),
        ("GET", "/streams", connections.list_streams),
        ("GET", "/connections", connections.list),
        ("POST", "/connections", connections.create),
        ("GET", "/connections/{connectionId}", connections.get),
        ("PATCH", "/connections/{connectionId}", connections.patch),
        ("DELETE", "/connections/{connectionId}", connections.delete),
        ("GET", "/connections/{connectionId}/lakehouse", connections.get_lakehouse),
        ("PUT", "/connections/{connectionId}/lakehouse", connections.put_lakehouse),
        ("GET", "/jobs", jobs.list),
        ("POST", "/jobs", jobs.create),
        ("GET", "/jobs/{jobId}", jobs.get),
        ("DELETE", "/jobs/{jobId}", jobs.cancel),
    ]  # fmt: skip
    for kind in ("source", "destination"):
        path = f"/{kind}s/{{{kind}Id}}"
        table += [
            ("GET", f"/{kind}s", actors.of_kind(kind, actors.list)),
            ("POST", f"/{kind}s", actors.of_kind(kind, actors.create)),
            ("GET", path, actors.of_kind(kind, actors.get)),
            ("PATCH", path, actors.of_kind(kind, actors.patch)),
            ("PUT", path, actors.of_kind(kind, actors.put)),
            ("DELETE", path, actors.of_kind(kind, actors.delete)),
        ]
    routes += [_route(method, path, endpoint, auth.check) for method, path, endpoint in table]
    return Starlette(routes=[Mount("/api/public/v1", routes=routes)])


def _route(method: str, path: str, endpoint: Endpoint, before: Endpoint | None = None) -> Route:
    return Route(path, handler(endpoint, _answer_error, before), methods=[method])


def _health(service: Service) -> Response:
    if service.database_answers():
        return PlainTextResponse("Successful operation")
    return PlainTextResponse("The database does not answer", 503)


def _answer_error(error: Exception) -> Response:
    if isinstance(error, Problem):
        return error.answer()
    if isinstance(error, SyncFailure):
        # a source that could not be asked for its streams
        status, title = (400, "bad-request") if error.kind == "config_error" else (503, "service-unavailable")
        return Problem(status, title, error.message).answer()
    if database_is_away(error):
        error_id(error)
        return Problem(503, "service-unavailable", "Airbyte's own database does not answer; try again.").answer()
    return Problem(
        500, "unexpected-problem", f"An unexpected problem occurred; see {error_id(error)} in the log."
    ).answer()
