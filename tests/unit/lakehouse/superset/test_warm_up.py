import asyncio
import copy
from dataclasses import replace

import pytest
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.superset.exceptions import SupersetError, SupersetNotFound, WarmUpFailed
from lakehouse.superset.operators import SupersetApplyOperator, SupersetWarmUpOperator, warm_up
from lakehouse.superset.triggers import SupersetWarmUpTrigger
from lakehouse.superset.warming import Outcome

pytestmark = pytest.mark.usefixtures("connections")
CHARTS = 26  # of the project's dashboards, with the values of their select filters


@pytest.fixture
def facts(monkeypatch):
    kept = []
    monkeypatch.setattr(warm_up, "record", lambda context, kind, payload: kept.append((kind, payload)))
    return kept


@pytest.fixture
def applied(superset, context):
    """A Superset that has the project's dashboards, with ids in place of uuids as a real one shows them."""
    SupersetApplyOperator(task_id="apply").execute(context)
    import json

    for _, content in superset.objects.values():
        if "dashboard_title" in content:
            metadata = copy.deepcopy(content["metadata"])
            for one in metadata["native_filter_configuration"]:
                for target in one["targets"]:
                    if target.pop("datasetUuid", None):
                        target["datasetId"] = 9
            superset.metadata[content["slug"]] = json.dumps(metadata)
    superset.requests.clear()
    return superset


def operator(**arguments):
    return SupersetWarmUpOperator(task_id="warm_up", **arguments)


def test_every_chart_of_every_dashboard_is_warmed_and_recorded(applied, context, facts):
    result = operator().execute(context)
    assert (result["warmed"], result["cached"]) == (CHARTS, CHARTS)
    assert facts == [("charts", result)]
    assert applied.sent("POST", "/api/v1/chart/data") == 2 * CHARTS


def test_charts_that_fail_are_named_after_all_were_tried(applied, context, facts):
    applied.chart_error["revenue"] = "Object 'fct_daily_revenue' not found"
    with pytest.raises(WarmUpFailed) as caught:
        operator().execute(context)
    failed = caught.value.failures
    assert f"{len(failed)} of {CHARTS} charts could not be warmed" in str(caught.value)
    assert "Sales Overview / Revenue: Object 'fct_daily_revenue' not found" in str(caught.value)
    assert facts[0][1]["cached"] == CHARTS - len(failed)


def test_a_dashboard_that_does_not_exist_fails(superset, context, facts):
    with pytest.raises(SupersetNotFound, match="dashboard/sales-overview"):
        operator().execute(context)


def test_what_takes_longer_is_left_to_the_triggerer(applied, context, facts, monkeypatch):
    monkeypatch.setattr(warm_up, "WORKER_SECONDS", 0.0)
    with pytest.raises(TaskDeferred) as deferred:
        operator(timeout=60).execute(context)
    trigger = deferred.value.trigger
    assert deferred.value.timeout.total_seconds() == 60
    assert len(trigger.requests) + len(deferred.value.kwargs["done"]) == CHARTS
    assert facts == []


def test_of_two_charts_of_one_name_the_second_is_warmed_too(applied, context, facts, monkeypatch):
    hook = warm_up.SupersetHook("superset_default")
    first, second = warm_up.planned(hook, ["sales-overview"])[:2]
    twins = [first, replace(second, chart=first.chart)]
    assert len({one.key for one in twins}) == 2
    monkeypatch.setattr(warm_up, "planned", lambda hook, slugs: twins)

    async def only_the_first(self, hook, requests):
        return [Outcome(first.dashboard, first.chart, key=first.key)]

    monkeypatch.setattr(SupersetWarmUpOperator, "_warm", only_the_first)
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context)
    assert [one["key"] for one in deferred.value.trigger.requests] == [second.key]


def test_worker_and_triggerer_together_warm_everything(applied, context, facts, monkeypatch):
    monkeypatch.setattr(warm_up, "WORKER_SECONDS", 0.0)
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context)
    path, arguments = deferred.value.trigger.serialize()
    assert path == "lakehouse.superset.triggers.SupersetWarmUpTrigger"
    event = the_event_of(SupersetWarmUpTrigger(**arguments))
    result = operator().execute_complete(context, event, **deferred.value.kwargs)
    assert result["cached"] == CHARTS
    assert facts == [("charts", result)]


def test_the_trigger_reports_a_superset_that_does_not_answer(superset, context, monkeypatch):
    import httpx

    superset.troubles["/api/v1/security/login"] = [httpx.ConnectError("Connection refused")] * 50
    request = {"dashboard": "d", "chart": "c", "body": {"queries": []}}
    event = the_event_of(SupersetWarmUpTrigger("superset_default", [request]))
    assert event["outcomes"] == []
    with pytest.raises(SupersetError, match="does not answer: Connection refused"):
        operator().execute_complete(context, event, done=[], began=0.0)


def test_declaration_and_connection_are_templated():
    assert set(operator().template_fields) == {"declaration", "superset_conn_id"}


def the_event_of(trigger):
    async def run():
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(run())
    return event.payload
