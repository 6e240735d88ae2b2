"""Do the declared dashboards answer from Superset's cache, now? Asks as a browser does and computes nothing anew.

    python -m lakehouse.superset.cached

prints the charts that would have to be computed, and ends with 1 if there are any, with 2 if it could not ask. A chart
that is missing from the cache is computed by being asked for, so a second call finds it there.
"""

import asyncio
import os
import sys
from collections.abc import Sequence

from airflow.sdk.exceptions import AirflowNotFoundException

from lakehouse.ops.declarations import DeclarationError, load
from lakehouse.superset.browser_requests import ChartRequest
from lakehouse.superset.declared import FILE, Dashboards
from lakehouse.superset.exceptions import SupersetError, SupersetHttpError
from lakehouse.superset.hook import SupersetHook
from lakehouse.superset.operators.warm_up import planned
from lakehouse.superset.warming import CONCURRENCY, PATH


async def not_cached(hook: SupersetHook, requests: Sequence[ChartRequest]) -> list[str]:
    """Return `dashboard / chart` of each request that the cache does not answer."""
    limit = asyncio.Semaphore(CONCURRENCY)
    async with hook.async_session() as session:

        async def is_cached(request: ChartRequest) -> bool:
            if request.problem is not None:
                return False
            async with limit:
                try:
                    response = await session.request("POST", PATH, json={**request.body, "force": False})
                except SupersetHttpError:
                    return False
            return all(result.get("is_cached") for result in response.json()["result"])

        answers = await asyncio.gather(*(is_cached(request) for request in requests))
    return [
        f"{request.dashboard} / {request.chart}"
        for request, cached in zip(requests, answers, strict=True)
        if not cached
    ]


def main() -> int:
    """Print what is not cached; 0 if everything is, 1 if something is not, 2 if it cannot be told."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")  # so that the metadata database is asked too
    hook = SupersetHook()
    try:
        requests = planned(hook, load(FILE, Dashboards).dashboards)
        missing = asyncio.run(not_cached(hook, requests))
    except (DeclarationError, SupersetError, AirflowNotFoundException) as error:
        print(error, file=sys.stderr)
        return 2
    for name in missing:
        print(f"not in the cache: {name}")
    print(f"{len(requests) - len(missing)} of {len(requests)} charts answer from the cache")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
