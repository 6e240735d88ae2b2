import asyncio

import httpx
import pytest

from lakehouse.superset.browser_requests import ChartRequest
from lakehouse.superset.exceptions import SupersetAuthError
from lakehouse.superset.session import AsyncSupersetSession
from lakehouse.superset.warming import warm

DATA = "/api/v1/chart/data"


def request(metric="revenue"):
    body = {
        "datasource": {"id": 1, "type": "table"},
        "queries": [{"metrics": [metric], "filters": []}],
        "result_format": "json",
        "result_type": "full",
    }
    return ChartRequest("Sales", f"chart of {metric}", body)


def outcomes_of(settings, *requests):
    async def run():
        async with AsyncSupersetSession(settings) as session:
            return [outcome async for outcome in warm(session, requests)]

    return {outcome.chart: outcome for outcome in asyncio.run(run())}


def test_a_chart_is_queried_anew_and_then_read_from_the_cache(superset, settings):
    made = outcomes_of(settings, request())
    again = outcomes_of(settings, request())
    assert made["chart of revenue"].error is None is again["chart of revenue"].error
    assert made["chart of revenue"].rows == 3
    assert superset.clock == 2  # once for each warm-up: the second was forced too
    assert superset.sent("POST", DATA) == 4


def test_a_chart_that_fails_is_told_with_error_and_query_and_the_others_go_on(superset, settings):
    superset.chart_error["lost"] = "Column 'lost' not found"
    made = outcomes_of(settings, request("lost"), request("revenue"))
    assert str(made["chart of lost"]) == ("Sales / chart of lost: Column 'lost' not found Query: SELECT ['lost']")
    assert made["chart of revenue"].error is None


def test_a_cache_that_keeps_nothing_is_noticed(superset, settings):
    superset.caching = False
    made = outcomes_of(settings, request())
    assert "not answered from the cache. Check DATA_CACHE_CONFIG" in made["chart of revenue"].error


def test_a_cache_that_keeps_the_old_result_is_noticed(superset, settings):
    outcomes_of(settings, request())
    superset.caching = False
    made = outcomes_of(settings, request())
    assert made["chart of revenue"].error == (
        "the cache still holds the result of 2026-01-01T00:00:01, older than the one of 2026-01-01T00:00:02."
    )


def test_an_error_inside_of_a_good_answer_is_an_error(superset, settings):
    superset.troubles[DATA] = [httpx.Response(200, json={"result": [{"error": "Timed out"}]})]
    assert outcomes_of(settings, request())["chart of revenue"].error == "Timed out"


def test_asynchronous_queries_are_not_taken_for_success(superset, settings):
    superset.troubles[DATA] = [httpx.Response(202, json={"job_id": "j"})]
    assert "asynchronously" in outcomes_of(settings, request())["chart of revenue"].error


def test_a_request_that_could_not_be_built_is_an_outcome(superset, settings):
    made = outcomes_of(settings, ChartRequest("Sales", "Odd", {}, "it has no query context saved"))
    assert str(made["Odd"]) == "Sales / Odd: it has no query context saved."
    assert superset.sent("POST", DATA) == 0


def test_a_refused_login_ends_it(superset):
    from lakehouse.superset.connection import SupersetSettings

    with pytest.raises(SupersetAuthError):
        outcomes_of(SupersetSettings("http://superset.test:8088", "admin", "wrong"), request(), request("b"))
