import copy
import json
from pathlib import Path

import pytest

from lakehouse.superset.bundle import (
    KINDS,
    Bundle,
    Item,
    chart_ids,
    differences,
    read_folder,
    read_zip,
    write_zip,
)
from lakehouse.superset.exceptions import SupersetConfigError

FOLDER = Path(__file__).resolve().parents[4] / "include" / "superset"


@pytest.fixture
def bundle():
    return read_folder(FOLDER)


def one(bundle, kind, title):
    return next(item for item in bundle.of(kind) if title in item.title)


def changed(bundle, item, change):
    content = copy.deepcopy(item.content)
    change(content)
    return bundle.replaced(Item(item.kind, item.file, content))


def test_the_projects_bundle_survives_a_zip(bundle):
    assert {len(bundle.of(kind)) > 0 for kind in KINDS} == {True}
    assert differences(bundle, read_zip(write_zip(bundle, "dashboards"))) == []


def test_every_chart_of_the_project_can_be_warmed_and_lies_on_a_dashboard(bundle):
    placed = {uuid for item in bundle.of("dashboards") for uuid in chart_ids(item.content)}
    assert {item.uuid for item in bundle.of("charts")} == placed
    for item in bundle.of("charts"):
        assert json.loads(item.content["query_context"])["queries"], item.file


def test_no_file_of_the_project_holds_a_password(bundle):
    for item in bundle.of("databases"):
        assert "USER:PASSWORD@HOST" in item.content["sqlalchemy_uri"]


def test_a_part_holds_what_its_dashboard_needs_and_no_more(bundle):
    part = bundle.needed_by(["customer-analytics"])
    assert [item.content["slug"] for item in part.of("dashboards")] == ["customer-analytics"]
    assert {item.content["table_name"] for item in part.of("datasets")} == {
        "customer_metrics",
        "dim_customers",
        "fct_customer_lifetime_value",
    }
    assert len(part.of("databases")) == 1


def test_an_unknown_dashboard_is_named_with_those_that_exist(bundle):
    with pytest.raises(SupersetConfigError, match=r"no dashboard with slug 'sales'; .* sales-overview"):
        bundle.needed_by(["sales"])


def test_a_missing_chart_is_an_error_because_superset_would_drop_the_rest(bundle):
    gone = one(bundle, "charts", "Daily revenue").uuid
    rest = Bundle({uuid: item for uuid, item in bundle.items.items() if uuid != gone})
    with pytest.raises(SupersetConfigError, match=rf"dashboards/sales_overview.yaml: refers to {gone}"):
        rest.needed_by(["sales-overview"])


def test_what_differs_between_installations_is_no_difference(bundle):
    chart = one(bundle, "charts", "Daily revenue")

    def renumber(content):
        context = json.loads(content["query_context"])
        context["datasource"]["id"] = 71
        context["form_data"] |= {"datasource": "71__table", "slice_id": 5}
        content["query_context"] = json.dumps(context)
        content["params"] |= {"datasource": "71__table", "annotation_layers": []}
        content["version"] = "1.1.0"

    def renumber_charts(content):
        numbers = {}
        for node in content["position"].values():
            if isinstance(node, dict) and node["type"] == "CHART":
                numbers[node["meta"]["chartId"]] = node["meta"]["chartId"] = node["meta"]["chartId"] + 40
        for number, native_filter in enumerate(content["metadata"]["native_filter_configuration"]):
            excluded = native_filter["scope"]["excluded"]
            native_filter["scope"]["excluded"] = [old + 40 for old in excluded]
            native_filter["chartsInScope"] = [number]
        content["metadata"]["map_label_colors"] = {"x": "#fff"}

    existing = changed(bundle, chart, renumber)
    existing = changed(existing, one(bundle, "dashboards", "Sales"), renumber_charts)
    existing = changed(existing, one(bundle, "datasets", "'orders'"), lambda c: c["columns"].reverse())
    assert differences(bundle, existing) == []


def test_what_was_edited_is_told_by_object_key_and_values(bundle):
    chart = one(bundle, "charts", "Daily revenue")
    dashboard = one(bundle, "dashboards", "Sales")
    dataset = one(bundle, "datasets", "'orders'")

    def exclude_nothing(content):
        content["metadata"]["native_filter_configuration"][1]["scope"]["excluded"] = []

    existing = changed(bundle, chart, lambda c: c["params"].update(row_limit=5, added=1))
    existing = changed(existing, dashboard, exclude_nothing)
    existing = changed(existing, dataset, lambda c: c["metrics"][0].update(expression="SUM(1)"))
    assert [str(found) for found in differences(bundle, existing)] == [
        "chart 'Daily revenue': params.added: 1 instead of None; params.row_limit: 5 instead of 10000",
        str(differences(bundle, existing)[1]),
        "dataset 'orders': metrics.order_count.expression: 'SUM(1)' instead of 'COUNT(order_id)'",
    ]
    assert "native_filter_configuration" in str(differences(bundle, existing)[1])


def test_an_absent_object_differs_and_a_foreign_one_does_not(bundle):
    assert "chart 'Orders': does not exist" in map(str, differences(bundle, Bundle()))
    assert differences(Bundle(), bundle) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"charts/a.yaml": "slice_name: a"}, "charts/a.yaml: lacks uuid"),
        ({"charts/a.yaml": "a: [1"}, "charts/a.yaml: not valid YAML"),
        ({"charts/a.yaml": "[]"}, "lacks uuid and slice_name"),
        (
            {"charts/a.yaml": "{uuid: u, slice_name: a}", "charts/b.yaml": "{uuid: u, slice_name: b}"},
            "charts/b.yaml: has the uuid of charts/a.yaml",
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path, files, message):
    (tmp_path / "charts").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SupersetConfigError, match=message):
        read_folder(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SupersetConfigError, match="absent: no such folder"):
        read_folder(tmp_path / "absent")
