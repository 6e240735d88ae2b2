import shutil
from pathlib import Path

import pytest

from lakehouse.cli import main
from lakehouse.superset.bundle import read_folder
from lakehouse.superset.exceptions import SupersetConfigError, UnknownDashboard
from lakehouse.superset.export import export
from lakehouse.superset.operators import SupersetApplyOperator, SupersetExportOperator

INCLUDE = Path(__file__).resolve().parents[4] / "include"
SLUGS = ["sales-overview", "customer-analytics", "store-invoices"]


@pytest.fixture
def applied(superset, connections, context):
    """The project's dashboards are in Superset."""
    SupersetApplyOperator(task_id="apply").execute(context)
    return superset


@pytest.fixture
def folder(tmp_path):
    """A copy of the project's bundle."""
    shutil.copytree(INCLUDE / "superset", tmp_path / "superset")
    return tmp_path / "superset"


def content(superset, title):
    return next(
        found
        for _, found in superset.objects.values()
        if title in (found.get("slice_name"), found.get("dashboard_title"), found.get("database_name"))
    )


def state(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_means_the_same_is_left_alone(applied, hook, folder):
    content(applied, "Sales Overview")["certified_by"] = ""
    before = state(folder)
    assert export(hook, SLUGS, folder).written == []
    assert state(folder) == before


def test_an_edit_reaches_its_file_and_no_other_and_survives_the_way_back(applied, hook, folder, context, monkeypatch):
    before = state(folder)
    content(applied, "Daily revenue")["params"]["row_limit"] = 7
    content(applied, "Store Invoices")["certified_by"] = "Ann"
    written = export(hook, SLUGS, folder).written
    assert sorted(written) == ["charts/sales_overview_daily_revenue.yaml", "dashboards/store_invoices.yaml"]
    assert {name for name, text in state(folder).items() if text != before.get(name)} == set(written)
    assert export(hook, SLUGS, folder).written == []
    # applied to a Superset that has nothing, it is the same again
    applied.objects.clear()
    declared = folder.parent / "pipelines" / "dashboards.yaml"
    declared.parent.mkdir()
    shutil.copy(INCLUDE / "pipelines" / "dashboards.yaml", declared)
    SupersetApplyOperator(task_id="apply", declaration=str(declared)).execute(context)
    assert content(applied, "Daily revenue")["params"]["row_limit"] == 7
    assert content(applied, "Store Invoices")["certified_by"] == "Ann"
    assert export(hook, SLUGS, folder).written == []


def test_a_new_folder_gets_names_by_title_and_no_password(applied, hook, tmp_path, capfd):
    content(applied, "Orders")["slice_name"] = "Daily revenue"
    for number, (file, found) in enumerate(list(applied.objects.values())):
        applied.objects[found["uuid"]] = (file.replace(".yaml", f"_{number}.yaml"), found)
    result = export(hook, SLUGS, tmp_path / "new")
    names = set(result.written)
    assert {"dashboards/sales_overview.yaml", "databases/lakehouse.yaml", "charts/daily_revenue.yaml"} <= names
    assert len([name for name in names if name.startswith("charts/daily_revenue_")]) == 1
    assert "dremio-pw" not in str(state(tmp_path / "new")) and (tmp_path / "new" / "metadata.yaml").exists()
    assert len(read_folder(tmp_path / "new").items) == len(applied.objects) == len(names)
    assert export(hook, SLUGS, tmp_path / "new").written == []


def test_a_database_keeps_the_address_of_its_file(applied, hook, folder):
    content(applied, "Lakehouse")["configuration_method"] = "sqlalchemy_form"
    assert export(hook, SLUGS, folder).written == []
    content(applied, "Lakehouse").update(cache_timeout=60, encrypted_extra="{token: hidden-word}")
    result = export(hook, SLUGS, folder)
    assert result.written == ["databases/lakehouse.yaml"] and "has a secure extra" in result.notes[0]
    assert "hidden-word" not in str(state(folder)) + str(result)
    (database,) = read_folder(folder).of("databases")
    assert database.content["sqlalchemy_uri"].startswith("dremio+flight://USER:PASSWORD@HOST")
    assert database.content["cache_timeout"] == 60


def test_what_cannot_be_warmed_and_what_is_in_no_dashboard_is_told(applied, hook, folder):
    chart = content(applied, "Daily revenue")
    chart["query_context"] = None
    orders = content(applied, "Orders")["uuid"]
    layout = content(applied, "Sales Overview")["position"]
    (gone,) = [key for key, node in layout.items() if orders in str(node)]
    del layout[gone]
    notes = export(hook, SLUGS, folder).notes
    assert any(note.startswith("chart 'Daily revenue' has no query context") for note in notes)
    assert "charts/sales_overview_orders.yaml is in no dashboard any more" in notes


def test_what_is_not_there_or_does_not_fit_is_refused(applied, hook, folder, monkeypatch):
    before = state(folder)
    with pytest.raises(UnknownDashboard, match="no dashboard 'nothing'; there are: customer-analytics, sales-ov"):
        export(hook, ["nothing"], folder)
    uuid = content(applied, "Daily revenue")["uuid"]
    file, kept = applied.objects.pop(uuid)
    with pytest.raises(SupersetConfigError, match=f"refers to {uuid}"):
        export(hook, SLUGS, folder)
    assert state(folder) == before
    applied.objects[uuid] = (file, kept)
    kept["params"]["row_limit"] = 7
    monkeypatch.setattr("lakehouse.superset.export.write", lambda path, content: None)
    with pytest.raises(SupersetConfigError, match="do not give back what was exported: chart 'Daily revenue'"):
        export(hook, SLUGS, folder)


def test_the_operator_says_what_it_wrote(applied, context, folder):
    content(applied, "Daily revenue")["params"]["row_limit"] = 7
    operator = SupersetExportOperator(task_id="export", dashboards=["sales-overview"], folder=str(folder))
    assert operator.execute(context) == {"written": ["charts/sales_overview_daily_revenue.yaml"], "notes": []}
    assert operator.execute(context)["written"] == []


def test_the_command_writes_the_declared_bundle(applied, folder, monkeypatch, capsys):
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(folder.parent))
    (folder.parent / "pipelines").mkdir()
    assert main(["export-dashboards"]) == 1
    assert "dashboards.yaml: cannot be read" in capsys.readouterr().err
    declared = folder.parent / "pipelines" / "dashboards.yaml"
    declared.write_text("{bundle: superset, database_connection: dremio_default, dashboards: [sales-overview]}")
    content(applied, "Daily revenue")["params"]["row_limit"] = 7
    assert main(["export-dashboards"]) == 0
    assert "1 files written\n  * charts/sales_overview_daily_revenue.yaml" in capsys.readouterr().out
    assert main(["export-dashboards", "--dashboards", "store-invoices,"]) == 0
    assert "store-invoices is not among the dashboards" in capsys.readouterr().out
    assert main(["export-dashboards", "--dashboards", "none"]) == 1
