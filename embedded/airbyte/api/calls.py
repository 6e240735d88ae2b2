"""How a request becomes a call of a plain function, and its result or error an HTTP answer."""

import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

log = logging.getLogger("embedded.airbyte.api")

REFERENCE = "https://reference.airbyte.com/reference/errors#"


class Problem(Exception):
    """An error answer of the public API (`{status, type, title, detail, data}`)."""

    def __init__(self, status: int, title: str, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.title = title
        self.message = message
        self.data = data or {"message": message}

    def answer(self) -> JSONResponse:
        body = {
            "status": self.status,
            "type": REFERENCE + self.title,
            "title": self.title,
            "detail": self.message,
            "data": self.data,
        }
        return JSONResponse(body, self.status)


def bad_request(message: str) -> Problem:
    return Problem(400, "bad-request", message)


def unprocessable(message: str) -> Problem:
    return Problem(422, "unprocessable-entity", message)


def not_found(kind: str, resource_id: Any) -> Problem:
    return Problem(
        404,
        "resource-not-found",
        f"Could not find a resource for: {kind} {resource_id}",
        {"resourceType": kind, "resourceId": str(resource_id)},
    )


@dataclass
class Call:
    """A request, read and parsed: all that an endpoint needs to know of it."""

    url: str
    path: dict[str, Any]
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)

    def path_id(self, name: str) -> UUID:
        return as_uuid(self.path[name], name)

    def required(self, name: str) -> Any:
        if self.body.get(name) in (None, ""):
            raise bad_request(f"The request lacks {name}.")
        return self.body[name]

    def required_id(self, name: str) -> UUID:
        return as_uuid(self.required(name), name)

    def first(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[0] if values else None

    def ids(self, name: str) -> list[UUID] | None:
        """UUIDs given as a repeated parameter or separated by commas."""
        values = [part for value in self.query.get(name, []) for part in value.split(",") if part]
        return [as_uuid(value, name) for value in values] or None

    def number(self, name: str, default: int, low: int, high: int) -> int:
        text = self.first(name)
        if text is None:
            return default
        if not text.isdigit() or not low <= int(text) <= high:
            raise bad_request(f"{name} is {text!r}: expected a number from {low} to {high}.")
        return int(text)


def as_uuid(value: Any, name: str) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise bad_request(f"{name} is {value!r}: expected a UUID.") from None


Endpoint = Callable[[Call], Any]
OnError = Callable[[Exception], Response]


def handler(endpoint: Endpoint, on_error: OnError, before: Endpoint | None = None) -> Any:
    """A Starlette endpoint that runs a plain function in a thread.

    The function gives a dict or list (answered as JSON with 200), None (204), or a Response of its own.

    :param before: called first, to let the call pass or raise (authentication).
    """

    async def handle(request: Request) -> Response:
        try:
            call = await _read(request)
            if before is not None:
                before(call)
            result = await run_in_threadpool(endpoint, call)
        except Exception as error:
            return on_error(error)
        if isinstance(result, Response):
            return result
        return Response(status_code=204) if result is None else JSONResponse(result)

    return handle


async def _read(request: Request) -> Call:
    raw = await request.body()
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    body: Any = {}
    if kind == "application/x-www-form-urlencoded":
        body = dict(parse_qsl(raw.decode(), keep_blank_values=True))
    elif raw:
        try:
            body = json.loads(raw)
        except ValueError as error:
            raise bad_request(f"The request's body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise bad_request("The request's body is not a JSON object.")
    return Call(
        url=str(request.url.replace(query="")),
        path=dict(request.path_params),
        query={name: request.query_params.getlist(name) for name in request.query_params},
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
    )


def database_is_away(error: Exception) -> bool:
    return isinstance(error, (psycopg.OperationalError, PoolTimeout))


def error_id(error: Exception) -> str:
    """A name under which an unforeseen error is found in this server's log."""
    name = str(uuid.uuid4())
    log.error("Error %s", name, exc_info=error)
    return name


def page(call: Call, data: list[dict[str, Any]], limit: int, offset: int) -> dict[str, Any]:
    """A list answer: `next` is empty only for an empty page, as in Airbyte (the last full page still has one)."""
    following = f"{call.url}?limit={limit}&offset={offset + limit}" if data else ""
    before = f"{call.url}?limit={limit}&offset={max(0, offset - limit)}" if offset > 0 else ""
    return {"data": data, "next": following, "previous": before}
