import shutil
from pathlib import Path

import pytest

from lakehouse.ops.declarations import DeclarationError
from lakehouse.superset.declared import FILES, check

INCLUDE = Path(__file__).resolve().parents[4] / "include"


@pytest.fixture
def include(tmp_path, monkeypatch):
    """A copy of the project's declaration and bundle, to be spoilt."""
    (tmp_path / "pipelines").mkdir()
    shutil.copy(INCLUDE / "pipelines" / "dashboards.yaml", tmp_path / "pipelines")
    shutil.copytree(INCLUDE / "superset", tmp_path / "superset")
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(tmp_path))
    return tmp_path


def spoil(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_projects_declaration_is_in_order():
    assert {"dashboards.yaml": check} == FILES
    check(INCLUDE / "pipelines" / "dashboards.yaml")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("pipelines/dashboards.yaml", "- sales-overview", "- sales", r"\.yaml:\d+: dashboards: .* slug 'sales'"),
        ("pipelines/dashboards.yaml", "bundle: ", "bundel: ", r"dashboards.yaml:\d+: bundel: unknown key"),
        ("pipelines/dashboards.yaml", "bundle: superset", "bundle: absent", r"\.yaml:\d+: bundle: .*no such folder"),
        ("superset/charts/sales_overview_orders.yaml", "uuid: ", "uid: ", "charts/sales_overview_orders.yaml"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(include, file, old, new, message):
    spoil(include / file, old, new)
    with pytest.raises(DeclarationError, match=message):
        check(include / "pipelines" / "dashboards.yaml")


def test_a_chart_that_could_not_be_warmed_is_refused(include):
    chart = include / "superset" / "charts" / "sales_overview_orders.yaml"
    lines = chart.read_text().split("query_context:")[0] + "query_context: null\n"
    rest = [line for line in chart.read_text().splitlines() if line.startswith(("uuid", "dataset_uuid", "version"))]
    chart.write_text(lines + "\n".join(rest))
    with pytest.raises(DeclarationError, match=r"sales_overview_orders\.yaml: query_context: empty"):
        check(include / "pipelines" / "dashboards.yaml")
