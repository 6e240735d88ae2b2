"""The hook and operators against the running Superset, which queries the running Dremio."""

import asyncio
import json
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.ops import records
from lakehouse.superset.bundle import read_folder
from lakehouse.superset.cached import not_cached
from lakehouse.superset.exceptions import WarmUpFailed
from lakehouse.superset.hook import SupersetHook
from lakehouse.superset.operators import (
    SupersetApplyOperator,
    SupersetInvalidateOperator,
    SupersetWarmUpOperator,
    warm_up,
)
from lakehouse.superset.triggers import SupersetWarmUpTrigger
from tests.integration.lakehouse.superset.conftest import Corner, Dremio, make_view

REQUESTS = 9  # eight charts and the values of one filter


def apply(context: dict[str, Any]) -> list[str]:
    return SupersetApplyOperator(task_id="apply").execute(context)


@pytest.fixture
def applied(context: dict[str, Any]) -> None:
    apply(context)


def changed_on(hook: SupersetHook, slug: str) -> dict[str, str]:
    datasets = hook.session.request("GET", f"/api/v1/dashboard/{slug}/datasets").json()["result"]
    details = (hook.session.request("GET", f"/api/v1/dataset/{one['id']}").json() for one in datasets)
    return {one["result"]["table_name"]: one["result"]["changed_on"] for one in details}


def test_the_connection_is_tested_by_logging_in(hook: SupersetHook, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hook.test_connection() == (True, f"Logged in to {hook.settings.url} as {hook.settings.user}.")
    wrong = {"conn_type": "superset", "host": hook.settings.url, "login": "admin", "password": "wr0ng-word"}
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(wrong))
    good, text = SupersetHook("wrong").test_connection()
    assert not good and "refused user admin: Not authorized" in text and "wr0ng-word" not in text


def test_what_is_declared_is_made_and_then_left_alone(
    hook: SupersetHook, corner: Corner, context: dict[str, Any], reach: dict[str, str], capfd: Any
) -> None:
    made = apply(context)
    assert not made or any("does not exist" in line for line in made)
    before = changed_on(hook, corner.slug)
    assert len(before) == 3
    assert apply(context) == []
    assert changed_on(hook, corner.slug) == before
    printed = "".join(capfd.readouterr()) + str(made)
    assert reach["DREMIO_PASSWORD"] not in printed and reach["SUPERSET_PASSWORD"] not in printed


@pytest.mark.usefixtures("applied")
def test_an_edit_is_told_and_put_right_without_touching_the_datasets(
    hook: SupersetHook, corner: Corner, context: dict[str, Any]
) -> None:
    before = changed_on(hook, corner.slug)
    charts = hook.session.request("GET", f"/api/v1/dashboard/{corner.slug}/charts").json()["result"]
    chart = next(one for one in charts if one["slice_name"] == "Daily revenue")
    params = {**chart["form_data"], "row_limit": 7}
    hook.session.request("PUT", f"/api/v1/chart/{chart['id']}", json={"params": json.dumps(params)})
    dashboard = hook.get_dashboard(corner.slug)
    title = {"dashboard_title": "Mine"}
    hook.session.request("PUT", f"/api/v1/dashboard/{dashboard['id']}", json=title)

    lines = apply(context)

    assert sorted(line.split(":")[0] for line in lines) == ["chart 'Daily revenue'", "dashboard 'Sales Overview'"]
    assert any("params.row_limit: 7 instead of 10000" in line for line in lines)
    assert apply(context) == []
    assert changed_on(hook, corner.slug) == before


@pytest.mark.usefixtures("applied")
def test_an_edited_metric_is_put_right(hook: SupersetHook, corner: Corner, context: dict[str, Any]) -> None:
    datasets = hook.session.request("GET", f"/api/v1/dashboard/{corner.slug}/datasets").json()["result"]
    number = next(one["id"] for one in datasets if one["table_name"] == "orders")
    metrics = hook.session.request("GET", f"/api/v1/dataset/{number}").json()["result"]["metrics"]
    kept = ("id", "metric_name", "expression")
    edited = [{key: one[key] for key in kept} for one in metrics]
    edited[0]["expression"] = "COUNT(DISTINCT order_id)"
    hook.session.request("PUT", f"/api/v1/dataset/{number}", json={"metrics": edited})
    (line,) = apply(context)
    assert line.startswith("dataset 'orders': metrics.")
    assert apply(context) == []


def warmed(context: dict[str, Any]) -> dict[str, Any]:
    """The result of a warm-up; on a busy machine its task defers."""
    operator = SupersetWarmUpOperator(task_id="warm")
    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        return finished(operator, context, deferred)


def finished(operator: SupersetWarmUpOperator, context: dict[str, Any], deferred: TaskDeferred) -> dict[str, Any]:
    """What the task returns once its trigger has fired."""
    trigger = deferred.trigger
    assert isinstance(trigger, SupersetWarmUpTrigger)

    async def run() -> list[Any]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(run())
    return operator.execute_complete(context, event.payload, **(deferred.kwargs or {}))


@pytest.mark.usefixtures("applied")
def test_all_charts_are_warmed_and_recorded(context: dict[str, Any]) -> None:
    result = warmed(context)
    assert (result["warmed"], result["cached"]) == (REQUESTS, REQUESTS)
    assert records.collect(context["ti"].dag_id, "r")["charts"] == result


@pytest.mark.usefixtures("applied")
def test_a_new_release_reaches_the_cache(
    hook: SupersetHook, corner: Corner, dremio: Dremio, context: dict[str, Any]
) -> None:
    warmed(context)
    requests = {one.chart: one.body for one in warm_up.planned(hook, [corner.slug])}

    def revenue() -> Any:
        body = {**requests["Revenue"], "force": False}
        (result,) = hook.session.request("POST", "/api/v1/chart/data", json=body).json()["result"]
        assert result["is_cached"] is True
        return result["data"][0]["revenue"]

    assert float(revenue()) == 12.5
    view = f'{corner.space}."fct_daily_revenue"'
    dremio.run(
        f"CREATE OR REPLACE VIEW {view} AS SELECT DATE '2026-01-05' AS order_date, "
        "CAST(99 AS DECIMAL(18,2)) AS amount, CAST(2 AS BIGINT) AS orders, CAST(1 AS DECIMAL(18,2)) AS lost_amount"
    )
    assert float(revenue()) == 12.5
    warmed(context)
    assert float(revenue()) == 99


@pytest.mark.usefixtures("applied")
def test_exactly_the_charts_of_a_dataset_that_changed_are_forgotten(
    hook: SupersetHook, corner: Corner, context: dict[str, Any]
) -> None:
    warmed(context)
    requests = warm_up.planned(hook, [corner.slug])
    (changed,) = hook.find_datasets("orders", corner.space)
    of_changed = {f"{one.dashboard} / {one.chart}" for one in requests if one.body["datasource"]["id"] == changed}
    assert 0 < len(of_changed) < REQUESTS
    operator = SupersetInvalidateOperator(task_id="invalidate", datasets=["orders", "nobody's"], schema=corner.space)
    assert operator.execute(context) == {"invalidated": ["orders"], "unknown": ["nobody's"]}
    assert set(asyncio.run(not_cached(hook, requests))) == of_changed


@pytest.mark.usefixtures("applied")
def test_a_view_that_is_gone_fails_its_charts_by_name_with_the_query(
    corner: Corner, dremio: Dremio, context: dict[str, Any]
) -> None:
    dataset = next(
        item.content
        for item in read_folder(corner.include / "superset").of("datasets")
        if item.content["table_name"] == "daily_revenue"
    )
    dremio.run(f'DROP VIEW {corner.space}."daily_revenue"')
    try:
        with pytest.raises(WarmUpFailed) as caught:
            warmed(context)
    finally:
        make_view(dremio, corner.space, dataset)
    (failure,) = caught.value.failures
    assert failure.startswith("Sales Overview / Daily revenue: ")
    assert "daily_revenue" in failure and "Query: SELECT" in failure
    assert records.collect(context["ti"].dag_id, "r")["charts"]["cached"] == REQUESTS - 1


@pytest.mark.usefixtures("applied")
def test_the_triggerer_finishes_what_the_worker_began(context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_up, "WORKER_SECONDS", 0.0)
    operator = SupersetWarmUpOperator(task_id="warm")
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    assert finished(operator, context, deferred.value)["cached"] == REQUESTS
