import json

import pytest

from lakehouse.ops.declarations import load
from lakehouse.superset.apply import plan
from lakehouse.superset.declared import Dashboards, with_database
from lakehouse.superset.exceptions import DashboardsNotApplied, SupersetDatabaseError, SupersetHttpError
from lakehouse.superset.operators import SupersetApplyOperator

pytestmark = pytest.mark.usefixtures("connections")


@pytest.fixture
def apply(superset, context):
    operator = SupersetApplyOperator(task_id="apply")
    return lambda: operator.execute(context)


def stored(superset, title):
    return next(
        content
        for _, content in superset.objects.values()
        if title in (content.get("slice_name"), content.get("dashboard_title"), content.get("table_name"))
    )


def test_everything_is_created_and_a_second_time_nothing_changes(superset, apply):
    lines = apply()
    assert [kind for kind, _, _ in superset.imports] == ["databases", "datasets", "charts", "dashboards"]
    assert "dashboard 'Sales Overview': does not exist" in lines
    superset.imports.clear()
    assert apply() == []
    assert superset.imports == []


def test_the_link_leads_to_the_dashboards(apply, context):
    apply()
    assert context["xcoms"] == {"_link_SupersetDashboardsLink": "http://superset.test:8088/dashboard/list/"}


def test_the_password_is_in_the_databases_import_and_nowhere_else(superset, apply, capfd):
    lines = apply()
    assert [kind for kind, _, text in superset.imports if "dremio-pw" in text] == ["databases"]
    assert "dremio-pw" not in str(lines) + "".join(capfd.readouterr())


def test_an_edited_chart_is_put_right_and_its_dataset_is_not_touched(superset, apply):
    apply()
    superset.imports.clear()
    stored(superset, "Daily revenue")["params"]["row_limit"] = 7
    assert apply() == ["chart 'Daily revenue': params.row_limit: 7 instead of 10000"]
    assert [(kind, files) for kind, files, _ in superset.imports] == [
        ("charts", {"charts/sales_overview_daily_revenue.yaml"})
    ]
    assert stored(superset, "Daily revenue")["params"]["row_limit"] == 10000


def test_an_edited_dataset_alone_is_put_right(superset, apply):
    apply()
    superset.imports.clear()
    stored(superset, "orders")["metrics"][0]["expression"] = "COUNT(1)"
    assert len(apply()) == 1
    assert [kind for kind, _, _ in superset.imports] == ["datasets"]


def test_another_server_in_airflows_connection_is_followed(superset, apply, monkeypatch):
    apply()
    moved = {"conn_type": "dremio", "host": "other.test", "login": "ana", "password": "dremio-pw"}
    monkeypatch.setenv("AIRFLOW_CONN_DREMIO_DEFAULT", json.dumps(moved))
    (line,) = apply()
    assert line.startswith("database 'Lakehouse': sqlalchemy_uri: ") and "dremio-pw" not in line


def test_a_password_that_was_changed_is_passed_on(superset, apply, monkeypatch):
    apply()
    superset.imports.clear()
    superset.passwords["dremio"] = "new-pw"
    renewed = {"conn_type": "dremio", "host": "dremio.test", "login": "ana", "password": "new-pw"}
    monkeypatch.setenv("AIRFLOW_CONN_DREMIO_DEFAULT", json.dumps(renewed))
    assert apply() == ["database 'Lakehouse': password"]
    assert [kind for kind, _, _ in superset.imports] == ["databases"]


@pytest.fixture
def planned(hook):
    def plan_():
        declared = load("dashboards.yaml", Dashboards)
        bundle = with_database(declared.read_bundle(), hook.get_connection(declared.database_connection))
        return plan(hook, bundle, declared.dashboards)

    return plan_


def test_a_plan_says_what_apply_then_says_and_imports_nothing(superset, apply, planned):
    found = planned()
    assert superset.imports == [] and found == apply()
    assert planned() == []
    stored(superset, "Daily revenue")["params"]["row_limit"] = 7
    assert planned() == ["chart 'Daily revenue': params.row_limit: 7 instead of 10000"]


def test_a_plan_sees_a_password_that_was_changed(superset, apply, planned, monkeypatch):
    apply()
    superset.imports.clear()
    superset.passwords["dremio"] = "new-pw"
    renewed = {"conn_type": "dremio", "host": "dremio.test", "login": "ana", "password": "new-pw"}
    monkeypatch.setenv("AIRFLOW_CONN_DREMIO_DEFAULT", json.dumps(renewed))
    assert planned() == ["database 'Lakehouse': password"] and superset.imports == []


def test_a_database_that_refuses_superset_is_an_error_in_its_own_words(superset, apply):
    superset.passwords["dremio"] = "another"
    with pytest.raises(SupersetDatabaseError, match="wrong password") as caught:
        apply()
    assert "dremio+flight://ana:XXXXXXXXXX@dremio.test:32010" in str(caught.value)
    assert "dremio-pw" not in str(caught.value)


def test_a_refused_import_is_an_error_that_names_the_file(superset, apply):
    import httpx

    refusal = {"errors": [{"message": "Error importing chart", "extra": {"charts/x.yaml": {"viz_type": "?"}}}]}
    superset.troubles["/api/v1/chart/import/"] = [httpx.Response(422, json=refusal)]
    with pytest.raises(SupersetHttpError, match=r"charts/x\.yaml"):
        apply()
    assert apply() != []  # a rerun finishes it
    assert apply() == []


def test_an_import_that_changed_nothing_is_noticed(superset, apply):
    import httpx

    apply()
    stored(superset, "Daily revenue")["params"]["row_limit"] = 7
    superset.troubles["/api/v1/chart/import/"] = [httpx.Response(200, json={"message": "OK"})]
    with pytest.raises(DashboardsNotApplied, match="row_limit"):
        apply()
