"""Builds the requests that a browser sends when a person opens a dashboard, byte for byte where it matters.

Superset keys a cached result by the dataset, the columns, metrics and row limit, and the filters in their order.
The frontend of 6.1 sends, for each chart, the query context that was saved with it, the defaults of the native
filters in whose scope it is put before the chart's own filters, and a default time range beside them; then, for
each select filter, a query for the values to choose from. (Observed by recording a browser's requests;
PUT /chart/warm_up_cache knows legacy filters only, and appends: other keys.)
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakehouse.superset.bundle import Bundle

FILTER_ROW_LIMIT = 1000  # Superset's NATIVE_FILTER_DEFAULT_ROW_LIMIT
# Parts of a filter's default that are reproduced here.
KNOWN_DEFAULTS = frozenset({"filters", "time_range"})


class NotReproducible(Exception):
    """What a browser sends for this chart cannot be told from what is saved; the message says why."""

    remedy = "Change the chart or filter in Superset as the message says, save it, then clear the group."


@dataclass(frozen=True)
class ChartRequest:
    """One request to POST /api/v1/chart/data.

    :ivar dashboard: title of the dashboard.
    :ivar chart: name of the chart, or of the filter whose values it fetches.
    :ivar body: the request without `force`; empty where `problem` says why there is none.
    :ivar key: tells it from the others: titles and names may be given twice.
    """

    dashboard: str
    chart: str
    body: dict[str, Any]
    problem: str | None = None
    key: str = ""


def dashboard_requests(dashboard: Mapping[str, Any], exported: Bundle) -> Iterator[ChartRequest]:
    """Yield what a browser asks for when it opens a dashboard: its charts, then its filters' values.

    :param dashboard: as GET /api/v1/dashboard/{id} gives it (`uuid`, `dashboard_title`, `json_metadata`).
    :param exported: the export of the dashboard, which alone has the charts' query contexts.
    """
    title, uuid = str(dashboard["dashboard_title"]), str(dashboard["uuid"])
    filters = json.loads(dashboard.get("json_metadata") or "{}").get("native_filter_configuration") or []
    for place, node in exported.items[uuid].content["position"].items():
        if not isinstance(node, dict) or node.get("type") != "CHART" or "uuid" not in node["meta"]:
            continue
        chart = exported.items[node["meta"]["uuid"]].content
        # The layout's ids are of this installation, as are those in the filters' scopes.
        number, parents = node["meta"]["chartId"], node.get("parents", [])
        in_scope = [one for one in filters if _in_scope(one, number, parents)]
        key = f"{uuid}/{place}"  # its place, for a chart may stand twice in one layout, in reach of other filters
        yield _request(title, str(chart["slice_name"]), key, chart_body, chart.get("query_context"), in_scope)
    for one in filters:
        if one.get("type") == "NATIVE_FILTER" and one.get("filterType") != "filter_time":
            yield _request(title, f"filter {one['name']!r}", f"{uuid}/{one.get('id')}", filter_body, one)


def _request(dashboard: str, name: str, key: str, build: Any, *arguments: Any) -> ChartRequest:
    try:
        return ChartRequest(dashboard, name, build(*arguments), key=key)
    except NotReproducible as error:
        return ChartRequest(dashboard, name, {}, str(error), key)


def _in_scope(native_filter: Mapping[str, Any], chart: int, parents: Sequence[str]) -> bool:
    scope = native_filter.get("scope") or {}
    roots = scope.get("rootPath") or []
    reached = not {*roots}.isdisjoint({*parents, "ROOT_ID"})
    return reached and chart not in (scope.get("excluded") or [])


def chart_body(query_context: str | None, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a chart's request with the defaults of these native filters.

    :raises NotReproducible: nothing saved, or a default that is more than filters and a time range.
    """
    if not query_context:
        raise NotReproducible(
            "it has no query context saved, so what a browser asks is not known; open it in Superset and save it"
        )
    body: dict[str, Any] = copy.deepcopy(json.loads(query_context))
    for query in body["queries"]:
        in_front: list[dict[str, Any]] = []
        for one in filters:
            default = _default(one)
            in_front += default.get("filters") or []
            if default.get("time_range"):
                query["time_range"] = default["time_range"]
        query["filters"] = [*in_front, *(query.get("filters") or [])]
    body.pop("force", None)
    return body


def _default(native_filter: Mapping[str, Any]) -> dict[str, Any]:
    if (native_filter.get("controlValues") or {}).get("defaultToFirstItem"):
        raise NotReproducible(f"filter {native_filter['name']!r} begins with the first value that it finds")
    default = (native_filter.get("defaultDataMask") or {}).get("extraFormData") or {}
    if unknown := sorted(key for key, value in default.items() if value and key not in KNOWN_DEFAULTS):
        raise NotReproducible(f"filter {native_filter['name']!r} has a default for {', '.join(unknown)}")
    return dict(default)


def filter_body(native_filter: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request by which a select filter fetches the values to choose from.

    :raises NotReproducible: another type of filter, or one whose values are limited or sorted specially.
    """
    controls = native_filter.get("controlValues") or {}
    if native_filter.get("filterType") != "filter_select":
        raise NotReproducible(f"filters of type {native_filter.get('filterType')!r} are not known here")
    special = [key for key in ("adhoc_filters", "time_range", "cascadeParentIds") if native_filter.get(key)]
    special += [key for key in ("sortMetric",) if native_filter.get(key) or controls.get(key)]
    if special:
        raise NotReproducible(f"its values depend on {', '.join(special)}")
    target = native_filter["targets"][0]
    column, ascending = target["column"]["name"], controls.get("sortAscending", True)
    query = {
        "filters": [],
        "extras": {"having": "", "where": ""},
        "applied_time_extras": {},
        "columns": [column],
        "metrics": [],
        "orderby": [[column, ascending]],
        "annotation_layers": [],
        "row_limit": FILTER_ROW_LIMIT,
        "series_limit": 0,
        "group_others_when_limit_reached": False,
        "order_desc": True,
        "url_params": {},
        "custom_params": {},
        "custom_form_data": {},
    }
    return {
        "datasource": {"id": target["datasetId"], "type": "table"},
        "queries": [query],
        "result_format": "json",
        "result_type": "full",
    }
