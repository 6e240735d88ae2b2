"""JSON bodies and errors of the REST API, in Dremio's forms."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response


class ApiError(Exception):
    """An answer with an error body: ``{"errorMessage", "moreInfo"}`` and, for SQL errors, ``context``."""

    def __init__(self, status: int, message: str, more_info: str = "", context: list[str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.more_info = more_info
        self.context = context or []

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"errorMessage": self.message, "moreInfo": self.more_info}
        if self.context:
            body["context"] = self.context
        return body


class JsonResponse(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def no_content() -> Response:
    """204, what Dremio answers to a cancel, a delete and a refresh."""
    return Response(status_code=204)


async def body_object(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises ApiError 400 when it is none."""
    text = await request.body()
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"Unable to process JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiError(400, "Unable to process JSON: an object is expected")
    return value


def number_parameter(request: Request, name: str, default: int) -> int:
    """A whole number of the query string. Raises ApiError 400 when it is none or negative."""
    text = request.query_params.get(name, str(default))
    if not text.isdigit():
        raise ApiError(400, f"The query parameter {name} must be a number that is not negative, got [{text}]")
    return int(text)
