import time

import pytest
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.dremio.exceptions import DremioError, DremioJobFailed, DremioTimeout
from lakehouse.dremio.operators import catalog as module
from lakehouse.dremio.operators.catalog import DremioApplyOperator, DremioPromoteOperator

ORDERS = "datalake.bronze.postgres.orders"
CUSTOMERS = "datalake.bronze.postgres.customers"


def by_path(table):
    return "/api/v3/catalog/by-path/" + table.replace(".", "/")


@pytest.fixture
def recorded(monkeypatch):
    facts = []
    monkeypatch.setattr(module, "record", lambda context, kind, payload: facts.append((kind, payload)))
    return facts


@pytest.fixture
def make(hook, monkeypatch, recorded):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)

    def build(*tables, **kwargs):
        operator = DremioPromoteOperator(task_id="refresh", tables=list(tables), **kwargs)
        operator.__dict__["hook"] = hook
        return operator

    return build


def test_a_folder_is_promoted_a_table_refreshed_and_an_absent_one_left_out(make, dremio, task_context, recorded):
    folder = {"entityType": "folder", "id": "dremio:/datalake/bronze/postgres/orders"}
    dremio.on("GET", by_path(ORDERS), folder)
    dremio.on("POST", "/api/v3/catalog/dremio%3A%2Fdatalake%2Fbronze%2Fpostgres%2Forders", {"id": "new"})
    dremio.on("GET", by_path(CUSTOMERS), {"entityType": "dataset", "type": "PHYSICAL_DATASET", "id": "c"})
    counts = [{"place": 0, "found": 10}, {"place": 1, "found": 3}]
    dremio.on_sql(lambda sql: {"rows": counts} if "COUNT" in sql else {})
    result = make(ORDERS, CUSTOMERS, "datalake.bronze.store_files.invoices_rejected").execute(task_context)
    assert result == {
        "promoted": [ORDERS],
        "refreshed": [CUSTOMERS],
        "absent": ["datalake.bronze.store_files.invoices_rejected"],
        "rows": {ORDERS: 10, CUSTOMERS: 3},
    }
    (promotion,) = dremio.sent("POST", "/api/v3/catalog/dremio%3A%2Fdatalake%2Fbronze%2Fpostgres%2Forders")
    assert promotion["format"] == {"type": "Parquet"} and promotion["path"] == ORDERS.split(".")
    assert dremio.statements()[0] == ('ALTER TABLE "datalake"."bronze"."postgres"."customers" REFRESH METADATA')
    assert recorded == [
        (
            "rows",
            [
                {"stage": "bronze", "dataset": ORDERS, "rows": 10},
                {"stage": "bronze", "dataset": CUSTOMERS, "rows": 3},
            ],
        )
    ]


def test_a_long_refresh_is_deferred_and_resumed(make, dremio, task_context):
    dremio.on("GET", by_path(ORDERS), {"entityType": "dataset", "type": "PHYSICAL_DATASET", "id": "o"})
    dremio.on("POST", "/api/v3/sql", {"id": "1"})
    dremio.on("GET", "/api/v3/job/1", {"jobState": "RUNNING"})
    with pytest.raises(TaskDeferred) as deferred:
        make(ORDERS).execute(task_context)
    assert deferred.value.trigger.job_id == "1"
    dremio.on("GET", "/api/v3/job/1", {"jobState": "COMPLETED"})
    dremio.on_sql(lambda sql: {"rows": [{"place": 0, "found": 5}]})
    event = {"job_id": "1", "reason": "ended", "detail": "", "state": deferred.value.trigger.state}
    result = make().resume(task_context, event)
    assert result["rows"] == {ORDERS: 5}


def test_a_refresh_that_never_ends_is_cancelled_at_the_deadline(make, dremio, task_context):
    dremio.on("GET", by_path(ORDERS), {"entityType": "dataset", "type": "PHYSICAL_DATASET", "id": "o"})
    dremio.on("POST", "/api/v3/sql", {"id": "1"})
    dremio.on("GET", "/api/v3/job/1", {"jobState": "RUNNING"})
    dremio.on("POST", "/api/v3/job/1/cancel", None)
    with pytest.raises(TaskDeferred) as deferred:
        make(ORDERS, timeout=60).execute(task_context)
    trigger = deferred.value.trigger
    assert 50 < trigger.deadline - time.time() <= 60
    state = trigger.state | {"deadline": time.time() - 1}  # absolute: a deferral does not begin it anew
    with pytest.raises(DremioTimeout, match=rf"{ORDERS} was not refreshed within 60 s \(job 1 is RUNNING\)"):
        make(timeout=60).resume(task_context, {"job_id": "1", "reason": "deadline", "detail": "", "state": state})
    assert dremio.sent("POST", "/api/v3/job/1/cancel") == [None]


def test_a_failed_refresh_fails_the_task_and_names_the_table(make, dremio, task_context):
    dremio.on("GET", by_path(ORDERS), {"entityType": "dataset", "type": "PHYSICAL_DATASET", "id": "o"})
    dremio.on_sql(lambda sql: {"jobState": "FAILED", "errorMessage": "schemas differ"})
    with pytest.raises(DremioJobFailed, match=r"schemas differ\nStatement: ALTER TABLE " + ORDERS):
        make(ORDERS).execute(task_context)


def test_a_view_in_the_place_of_a_table_is_an_error(make, dremio, task_context):
    dremio.on("GET", by_path(ORDERS), {"entityType": "dataset", "type": "VIRTUAL_DATASET", "id": "o"})
    with pytest.raises(DremioError, match=f"{ORDERS} is a VIRTUAL_DATASET"):
        make(ORDERS).execute(task_context)


def test_a_kill_cancels_all_refreshes(make, dremio, task_context):
    for table in (ORDERS, CUSTOMERS):
        dremio.on("GET", by_path(table), {"entityType": "dataset", "type": "PHYSICAL_DATASET", "id": "o"})
    dremio.on("POST", "/api/v3/sql", {"id": "1"}, {"id": "2"})
    for job in "12":
        dremio.on("GET", f"/api/v3/job/{job}", {"jobState": "RUNNING"})
        dremio.on("POST", f"/api/v3/job/{job}/cancel", None)
    operator = make(ORDERS, CUSTOMERS)
    with pytest.raises(TaskDeferred):
        operator.execute(task_context)
    operator.on_kill()
    assert dremio.sent("POST", "/api/v3/job/1/cancel") and dremio.sent("POST", "/api/v3/job/2/cancel")


def test_apply_says_that_nothing_changed(hook, dremio, task_context, tmp_path, monkeypatch):
    path = tmp_path / "dremio.yaml"
    path.write_text("spaces:\n  - name: gold\n")
    monkeypatch.setattr("lakehouse.dremio.hook.DremioHook", lambda conn_id: hook)
    dremio.on("POST", "/api/v3/catalog", {})
    operator = DremioApplyOperator(task_id="apply", path=str(path), parts=["spaces"])
    assert operator.execute(task_context) == {"changed": ["create space gold"], "declared": 1}
    dremio.on("GET", "/api/v3/catalog/by-path/gold", {"entityType": "space", "id": "g"})
    assert operator.execute(task_context) == {"changed": [], "declared": 1}


def test_apply_names_the_line_of_a_wrong_declaration(task_context, tmp_path):
    path = tmp_path / "dremio.yaml"
    path.write_text("spaces:\n  - name: gold\n    colour: red\n")
    with pytest.raises(ValueError, match=r"dremio.yaml:3: spaces.0.colour: unknown key"):
        DremioApplyOperator(task_id="apply", path=str(path)).execute(task_context)
