import copy
import json

import pytest

from lakehouse.superset.browser_requests import (
    NotReproducible,
    chart_body,
    dashboard_requests,
    filter_body,
)
from lakehouse.superset.bundle import Bundle, Item


@pytest.fixture
def exported(recorded):
    items = [Item(file.split("/")[0], file, content) for file, content in recorded["export"].items()]
    return Bundle({item.uuid: item for item in items})


def by_column(request):
    return f"filter on {request.body['queries'][0]['columns'][0]}"


def test_the_requests_are_those_that_a_browser_sent(recorded, exported):
    made = {
        (by_column(one) if one.chart.startswith("filter") else one.chart): one.body
        for one in dashboard_requests(recorded["dashboard"], exported)
    }
    sent = {one["chart"]: one["body"] for one in recorded["requests"]}
    for body in (*made.values(), *sent.values()):
        body.pop("form_data", None)
        for query in body["queries"]:
            query.pop("url_params")  # the visit's own key; no part of the cache key
    assert made == sent
    filtered = sent["Amount by category"]["queries"][0]
    assert [one["col"] for one in filtered["filters"]] == [
        "customer_state",
        "status",
        "product_category",
        "order_date",
    ]
    assert filtered["time_range"] == "Last quarter"


def test_a_chart_out_of_scope_keeps_its_own_filters(recorded, exported):
    dashboard = copy.deepcopy(recorded["dashboard"])
    metadata = json.loads(dashboard["json_metadata"])
    for one in metadata["native_filter_configuration"]:
        one["scope"] = {"rootPath": ["TAB-other"], "excluded": []}
    dashboard["json_metadata"] = json.dumps(metadata)
    for one in dashboard_requests(dashboard, exported):
        if not one.chart.startswith("filter"):
            assert {each["op"] for each in one.body["queries"][0]["filters"]} == {"TEMPORAL_RANGE"}
            assert "time_range" not in one.body["queries"][0]


def test_a_chart_without_saved_query_is_a_problem_of_its_own(recorded, exported):
    chart = next(item for item in exported.of("charts") if item.content["slice_name"] == "Orders")
    broken = exported.replaced(Item("charts", chart.file, {**chart.content, "query_context": None}))
    problems = {one.chart: one.problem for one in dashboard_requests(recorded["dashboard"], broken) if one.problem}
    assert list(problems) == ["Orders"]
    assert "open it in Superset and save it" in problems["Orders"]


CONTEXT = json.dumps({"datasource": {"id": 1, "type": "table"}, "queries": [{"filters": []}], "force": True})


@pytest.mark.parametrize(
    ("native_filter", "reason"),
    [
        ({"controlValues": {"defaultToFirstItem": True}}, "begins with the first value"),
        ({"defaultDataMask": {"extraFormData": {"granularity_sqla": "x"}}}, "default for granularity_sqla"),
    ],
)
def test_a_default_that_cannot_be_told_is_refused(native_filter, reason):
    with pytest.raises(NotReproducible, match=reason):
        chart_body(CONTEXT, [{"name": "f", **native_filter}])


def test_an_empty_default_changes_nothing():
    body = chart_body(CONTEXT, [{"name": "f", "defaultDataMask": {"extraFormData": {}}}, {"name": "g"}])
    assert body == {"datasource": {"id": 1, "type": "table"}, "queries": [{"filters": []}]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"filterType": "filter_range"}, "type 'filter_range'"),
        ({"adhoc_filters": [{"col": "x"}]}, "depend on adhoc_filters"),
        ({"cascadeParentIds": ["NATIVE_FILTER-x"]}, "depend on cascadeParentIds"),
        ({"controlValues": {"sortMetric": "m"}}, "depend on sortMetric"),
    ],
)
def test_a_filter_whose_values_cannot_be_told_is_refused(changes, reason):
    plain = {"filterType": "filter_select", "targets": [{"datasetId": 1, "column": {"name": "c"}}]}
    assert filter_body(plain)["queries"][0]["orderby"] == [["c", True]]
    with pytest.raises(NotReproducible, match=reason):
        filter_body({**plain, **changes})


def test_a_filter_may_sort_its_values_downwards():
    native_filter = {
        "filterType": "filter_select",
        "targets": [{"datasetId": 1, "column": {"name": "c"}}],
        "controlValues": {"sortAscending": False},
    }
    assert filter_body(native_filter)["queries"][0]["orderby"] == [["c", False]]
