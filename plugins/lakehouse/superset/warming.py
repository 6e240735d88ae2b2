"""Refreshes cached chart results and proves that they are there. One code path for worker and triggerer."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lakehouse.superset.browser_requests import ChartRequest
from lakehouse.superset.exceptions import SupersetHttpError
from lakehouse.superset.session import AsyncSupersetSession

CONCURRENCY = 4  # requests under way at once; a dashboard's viewer causes as many
PATH = "/api/v1/chart/data"


@dataclass(frozen=True)
class Outcome:
    """What came of one request.

    :ivar seconds: of the query that filled the cache.
    :ivar rows: of its result.
    :ivar error: None if the result can be read from the cache.
    :ivar query: the SQL, where there is an error and Superset tells.
    :ivar key: of its ChartRequest.
    """

    dashboard: str
    chart: str
    seconds: float = 0.0
    rows: int = 0
    error: str | None = None
    query: str | None = None
    key: str = ""

    def __str__(self) -> str:
        if self.error is None:
            return f"{self.dashboard} / {self.chart}: {self.rows} rows in {self.seconds:.2f} s, cached"
        query = " ".join((self.query or "").split())
        return f"{self.dashboard} / {self.chart}: {self.error}{f' Query: {query}' if query else ''}"


class NotCached(Exception):
    """The result is not in the cache, or not the one that was just made."""

    remedy = "Open that chart in Superset and see its query and the cache settings, then clear the group."


async def warm(session: AsyncSupersetSession, requests: Sequence[ChartRequest]) -> AsyncIterator[Outcome]:
    """Warm all requests, a few at a time, and yield each outcome as it is known.

    :raises SupersetError: Superset does not answer or refuses the login; a chart's own error is an outcome.
    """
    limit = asyncio.Semaphore(CONCURRENCY)

    async def one(request: ChartRequest) -> Outcome:
        async with limit:
            return await warm_one(session, request)

    tasks = [asyncio.create_task(one(request)) for request in requests]
    try:
        for finished in asyncio.as_completed(tasks):
            yield await finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def warm_one(session: AsyncSupersetSession, request: ChartRequest) -> Outcome:
    """Run a request's queries anew, then ask again as a browser does and see that the answer is cached."""
    outcome = partial(Outcome, request.dashboard, request.chart, key=request.key)
    if request.problem is not None:
        return outcome(error=f"{request.problem}.")
    began = time.monotonic()
    try:
        fresh = await _ask(session, request.body, force=True)
        seconds = time.monotonic() - began
        _prove(fresh, await _ask(session, request.body, force=False))
    except (SupersetHttpError, NotCached) as error:
        text = error.answer if isinstance(error, SupersetHttpError) else str(error)
        query = await _sql(session, request.body)
        return outcome(seconds=time.monotonic() - began, error=text, query=query)
    rows = sum(result.get("rowcount") or 0 for result in fresh)
    return outcome(seconds=seconds, rows=rows)


async def _ask(session: AsyncSupersetSession, body: dict[str, Any], *, force: bool) -> list[dict[str, Any]]:
    response = await session.request("POST", PATH, json={**body, "force": force})
    if response.status_code == 202:
        raise NotCached("Superset runs chart queries asynchronously, which this warm-up cannot follow.")
    results: list[dict[str, Any]] = response.json()["result"]
    for result in results:
        if result.get("error"):
            raise NotCached(str(result["error"]))
    return results


def _prove(fresh: Sequence[dict[str, Any]], again: Sequence[dict[str, Any]]) -> None:
    """Compare the forced answer with the repeated one; times are Superset's own, so clocks do not matter."""
    for forced, repeated in zip(fresh, again, strict=True):
        if not repeated.get("is_cached"):
            raise NotCached(
                "the repeated request was not answered from the cache. Check DATA_CACHE_CONFIG and the cache "
                f"timeout (now {repeated.get('cache_timeout')} s) in Superset."
            )
        # A cached answer says when its query ran (a refresh that failed leaves the old entry).
        made, kept = str(forced.get("queried_dttm")), str(repeated.get("queried_dttm"))
        if kept < made:
            raise NotCached(f"the cache still holds the result of {kept}, older than the one of {made}.")


async def _sql(session: AsyncSupersetSession, body: dict[str, Any]) -> str | None:
    """Return the SQL of a request that failed, if Superset can still tell."""
    try:
        response = await session.request("POST", PATH, json={**body, "result_type": "query"})
        return "; ".join(str(result.get("query")) for result in response.json()["result"])
    except (SupersetHttpError, KeyError, ValueError):
        return None
