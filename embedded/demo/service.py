"""The demo company's REST service: exchange rates and product reviews.

    GET /v1/exchange-rates     date, base_currency, currency, rate, updated_at       key: date, currency
    GET /v1/product-reviews    review_id, product_id, customer_id, rating, body, created_at, updated_at

Header `X-Api-Key` is required (401 without). Parameters: `page` from 1, `page_size` 1 to 1000 (default 500),
`updated_since` an ISO 8601 instant, inclusive (UTC where it names no zone). The answer is `{"data": [...],
"page": 1, "has_more": true}`; errors are `{"error": "..."}` with 400, 401, 429 (with `Retry-After`), 500 or
503 (nothing loaded yet). `GET /health` needs no key; it answers 503 until the shop has the days that have passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import uvicorn
from psycopg_pool import ConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from embedded.demo import journal
from embedded.demo.clock import keep_time
from embedded.demo.feed import STREAMS, Feed
from embedded.demo.inbox import Inbox
from embedded.demo.limits import Gate

DEFAULT_PAGE_SIZE = 500
LARGEST_PAGE = 1000
JOURNAL_SECONDS = 3  # how long a request waits for the database


def run(host: str, port: int, database_url: str, inbox: Inbox, api_key: str) -> None:
    """Serves until SIGTERM, and adds a day to the shop each day."""
    with ConnectionPool(database_url, min_size=1, max_size=2, timeout=JOURNAL_SECONDS, open=False) as pool:

        def read_state() -> journal.ShopState | None:
            with pool.connection() as connection:
                return journal.read(connection)

        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            clock = asyncio.create_task(keep_time(database_url, inbox, up_to_date))
            yield
            clock.cancel()

        up_to_date = asyncio.Event()
        app = create_app(Feed(read_state), api_key, Gate(), lifespan, up_to_date)
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)


def create_app(
    feed: Feed,
    api_key: str,
    gate: Gate,
    lifespan: Callable[[Starlette], Any] | None = None,
    up_to_date: asyncio.Event | None = None,
) -> Starlette:
    """The service over `feed`, for clients that know `api_key`; healthy once `up_to_date` is set, if one is given."""

    def answer(request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get("X-Api-Key", "").encode(), api_key.encode()):
            return _error(401, "The header X-Api-Key is missing or wrong.")
        refusal = gate.refusal()
        if refusal is not None:
            return _error(refusal.status, refusal.message, refusal.headers)
        try:
            page, size, since = _parameters(request)
        except ValueError as error:
            return _error(400, str(error))
        table = feed.table(request.path_params["stream"])
        if table is None:
            return _error(503, "The shop is empty: run `python -m embedded.demo load` first.")
        return JSONResponse(page_of(table, page, size, since))

    def health(request: Request) -> Response:
        if up_to_date is not None and not up_to_date.is_set():
            return _error(503, "The shop is being given the days that have passed.")
        return JSONResponse({"status": "ok"})

    routes = [Route("/health", health)]
    routes += [Route(f"/v1/{name}", _bound(answer, name)) for name in STREAMS]
    return Starlette(routes=routes, lifespan=lifespan)


def page_of(table: pa.Table, page: int, size: int, since: datetime.datetime | None) -> dict[str, Any]:
    """One page of the rows that changed at or after `since`, in the order of the table."""
    if since is not None:
        table = table.filter(pc.greater_equal(table["updated_at"], pa.scalar(since, pa.timestamp("us", "UTC"))))
    rows = table.slice((page - 1) * size, size)
    for number, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            rows = rows.set_column(number, field.name, pc.strftime(rows[field.name], "%Y-%m-%dT%H:%M:%SZ"))
    return {"data": rows.to_pylist(), "page": page, "has_more": page * size < table.num_rows}


def _bound(answer: Callable[[Request], Response], stream: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        request.path_params["stream"] = stream
        return answer(request)

    return endpoint


def _parameters(request: Request) -> tuple[int, int, datetime.datetime | None]:
    page = _integer(request, "page", 1, 1, 1_000_000_000)
    size = _integer(request, "page_size", DEFAULT_PAGE_SIZE, 1, LARGEST_PAGE)
    text = request.query_params.get("updated_since")
    if not text:
        return page, size, None
    try:
        since = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"updated_since={text!r} is no ISO 8601 instant such as 2026-01-31T00:00:00Z.") from error
    return page, size, since if since.tzinfo else since.replace(tzinfo=datetime.UTC)


def _integer(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"{name}={text!r} is not a number from {low} to {high}.")
    return int(text)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)
