import time
from datetime import UTC, datetime

import pytest
import yaml
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.dremio.declared.reflections import Reflections
from lakehouse.dremio.exceptions import DremioError, DremioTimeout
from lakehouse.dremio.operators import reflections as module
from lakehouse.dremio.operators.reflections import DremioRefreshReflectionsOperator
from lakehouse.dremio.refresh import age, drift
from lakehouse.dremio.triggers import DremioReflectionsTrigger

DECLARED = """
reflections:
  - name: agg
    dataset: gold.orders
    type: AGGREGATION
    dimensions: [order_date]
    measures: {amount: [SUM, COUNT]}
    checks: ["SELECT order_date, SUM(amount) FROM {dataset} GROUP BY order_date"]
"""
TABLE = "/api/v3/catalog/by-path/datalake/gold/slot_b/orders"
OLD, NEW = "2026-11-23T01:00:00.000Z", "2026-11-23T02:00:00.000Z"


def server_side(refresh="SCHEDULED", fetched=OLD, availability="AVAILABLE", **changes):
    (declared,) = Reflections.model_validate(yaml.safe_load(DECLARED)).reflections
    status = {"config": "OK", "refresh": refresh, "availability": availability, "lastDataFetch": fetched}
    return declared.payload("t") | {"id": "r", "tag": "x", "recordCount": 90, "status": status} | changes


@pytest.fixture
def recorded(monkeypatch):
    facts = []
    monkeypatch.setattr(module, "record", lambda context, kind, payload: facts.append((kind, payload)))
    return facts


@pytest.fixture
def make(hook, dremio, monkeypatch, recorded, tmp_path):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)
    dremio.on("GET", TABLE, {"entityType": "dataset", "type": "PHYSICAL_DATASET", "id": "t"})

    def build(declared=DECLARED, **kwargs):
        (tmp_path / "reflections.yaml").write_text(declared)
        kwargs = {"slot": "b", "timeout": 60} | kwargs
        operator = DremioRefreshReflectionsOperator(
            task_id="refresh", path=str(tmp_path / "reflections.yaml"), **kwargs
        )
        operator.__dict__["hook"] = hook
        return operator

    return build


def planned(hook, declared=DECLARED):
    (one,) = Reflections.model_validate(yaml.safe_load(declared)).reflections
    return drift(hook, one, one.table("b"))


def test_a_plan_of_reflections_names_what_would_be_made_or_corrected(hook, dremio):
    assert planned(hook) is None  # the mart is not built
    table = {"entityType": "dataset", "type": "PHYSICAL_DATASET", "id": "t"}
    dremio.on("GET", TABLE, table)
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": []})
    named = "reflection agg on datalake.gold.slot_b.orders"
    assert planned(hook) == [f"create {named}"]
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": [server_side(enabled=False)]})
    assert planned(hook) == [f"update {named}: its definition differs, or it is disabled"]
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": [server_side()]})
    assert planned(hook) == []
    hourly = DECLARED.replace("checks:", "refresh_every_hours: 1\n    checks:")
    assert planned(hook, hourly) == ["update table datalake.gold.slot_b.orders: refreshed every 1 h"]
    policy = {"activePolicyType": "PERIOD", "refreshPeriodMs": 3_600_000}
    dremio.on("GET", TABLE, table | {"accelerationRefreshPolicy": policy})
    assert planned(hook, hourly) == []
    assert {method for method, path, _ in dremio.requests if "login" not in path} == {"GET"}


def answered_by(*chosen, considered=()):
    relations = [{"reflectionId": one, "relationship": "CHOSEN"} for one in chosen]
    relations += [{"reflectionId": one, "relationship": "CONSIDERED"} for one in considered]
    return lambda sql: {"acceleration": {"reflectionRelationships": relations}}


def test_a_missing_reflection_is_created_waited_for_and_proven(make, dremio, task_context, recorded):
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": []})
    dremio.on("POST", "/api/v3/reflection", server_side())
    dremio.on("GET", "/api/v3/reflection/r", server_side(fetched=NEW))
    dremio.on_sql(answered_by("r"))
    (fact,) = make().execute(task_context)
    (sent,) = dremio.sent("POST", "/api/v3/reflection")
    assert sent["datasetId"] == "t" and sent["enabled"] is True
    assert sent["measureFields"] == [{"name": "amount", "measureTypeList": ["SUM", "COUNT"]}]
    assert (fact["name"], fact["dataset"], fact["rows"]) == ("agg", "datalake.gold.slot_b.orders", 90)
    assert dremio.sent("POST", "/api/v3/catalog/t/refresh") == []  # its first build is under way anyhow
    assert dremio.statements() == [
        'SELECT order_date, SUM(amount) FROM "datalake"."gold"."slot_b"."orders" GROUP BY order_date'
    ]
    assert recorded == [("reflections", [fact])]


def test_an_existing_one_is_refreshed_and_its_older_data_does_not_count(make, dremio, task_context):
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": [server_side()]})
    dremio.on("GET", "/api/v3/reflection/r", server_side())
    dremio.on("POST", "/api/v3/catalog/t/refresh", None)
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(task_context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, DremioReflectionsTrigger)
    assert trigger.before == {"r": [OLD, ""]} and trigger.deadline > time.time()
    assert len(dremio.sent("POST", "/api/v3/catalog/t/refresh")) == 1
    dremio.on("GET", "/api/v3/reflection/r", server_side(fetched=NEW))
    dremio.on_sql(answered_by("r"))
    event = {"reason": "refreshed", "detail": "", "state": trigger.state}
    (fact,) = make().resume_refreshed(task_context, event)
    assert fact["reflection_id"] == "r"
    assert len(dremio.sent("POST", "/api/v3/catalog/t/refresh")) == 1


def test_one_that_is_fresh_enough_is_proven_alone(make, dremio, task_context):
    fetched = datetime.fromtimestamp(time.time() - 600, UTC).isoformat().replace("+00:00", "Z")
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": [server_side(fetched=fetched)]})
    dremio.on("GET", "/api/v3/reflection/r", server_side(fetched=fetched))
    dremio.on("POST", "/api/v3/catalog/t/refresh", None)
    dremio.on_sql(answered_by("r"))
    (fact,) = make(fresh_for=900).execute(task_context)
    assert fact["reflection_id"] == "r"
    assert dremio.sent("POST", "/api/v3/catalog/t/refresh") == []
    with pytest.raises(TaskDeferred):
        make(fresh_for=300).execute(task_context)
    assert len(dremio.sent("POST", "/api/v3/catalog/t/refresh")) == 1


@pytest.mark.parametrize("there", [server_side(availability="EXPIRED"), server_side(fetched="")])
def test_what_answers_nothing_has_no_age(there):
    assert age(there, time.time()) is None


def test_a_refresh_that_began_earlier_is_awaited_before_ours_is_started(make, dremio, task_context):
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": [server_side("RUNNING")]})
    dremio.on("GET", "/api/v3/reflection/r", server_side("RUNNING"))
    dremio.on("POST", "/api/v3/catalog/t/refresh", None)
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(task_context)
    assert deferred.value.trigger.idle is True
    assert dremio.sent("POST", "/api/v3/catalog/t/refresh") == []
    dremio.on("GET", "/api/v3/reflection/r", server_side(fetched=NEW))
    with pytest.raises(TaskDeferred) as again:
        event = {"reason": "refreshed", "detail": "", "state": deferred.value.trigger.state}
        make().resume_idle(task_context, event)
    assert again.value.trigger.before == {"r": [NEW, ""]}
    assert len(dremio.sent("POST", "/api/v3/catalog/t/refresh")) == 1


def test_a_changed_definition_is_corrected(make, dremio, task_context):
    there = server_side(dimensionFields=[{"name": "status"}])
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": [there]})
    dremio.on("PUT", "/api/v3/reflection/r", there)
    dremio.on("GET", "/api/v3/reflection/r", server_side(fetched=NEW))
    dremio.on_sql(answered_by("r"))
    make().execute(task_context)
    (sent,) = dremio.sent("PUT", "/api/v3/reflection/r")
    assert sent["tag"] == "x" and sent["dimensionFields"] == [{"name": "order_date"}]


def test_the_refresh_period_is_kept_on_the_table(make, dremio, task_context):
    dremio.on("PUT", "/api/v3/catalog/t", {})
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": []})
    dremio.on("POST", "/api/v3/reflection", server_side())
    dremio.on("GET", "/api/v3/reflection/r", server_side(fetched=NEW))
    dremio.on_sql(answered_by("r"))
    make(DECLARED + "    refresh_every_hours: 1\n").execute(task_context)
    (sent,) = dremio.sent("PUT", "/api/v3/catalog/t")
    assert sent["accelerationRefreshPolicy"]["refreshPeriodMs"] == 3_600_000


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({"refresh": "GIVEN_UP", "failureCount": 3, "lastFailureMessage": "disk full"}, "3 failures: disk full"),
        ({"config": "INVALID", "lastFailureMessage": "no column amount"}, "no longer fits.*no column amount"),
    ],
)
def test_a_failure_carries_dremios_reason(make, dremio, task_context, status, text):
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": []})
    dremio.on("POST", "/api/v3/reflection", server_side())
    dremio.on("GET", "/api/v3/reflection/r", server_side(status=status))
    with pytest.raises(DremioError, match=f"agg on datalake.gold.slot_b.orders: .*{text}"):
        make().execute(task_context)


def test_queries_that_are_not_accelerated_are_asked_again_later_then_fail(make, dremio, task_context):
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": []})
    dremio.on("POST", "/api/v3/reflection", server_side())
    dremio.on("GET", "/api/v3/reflection/r", server_side(fetched=NEW))
    dremio.on_sql(answered_by("other", considered=["r"]))
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(task_context)
    assert deferred.value.method_name == "resume_proof"
    event = {"reason": "refreshed", "detail": "", "state": deferred.value.trigger.state}
    dremio.on_sql(answered_by("r"))
    (fact,) = make().resume_proof(task_context, event)
    assert fact["reflection_id"] == "r"
    dremio.on_sql(answered_by("other", considered=["r"]))
    with pytest.raises(DremioTimeout, match=r"agg: SELECT .*\(answered by other; considered: agg\)"):
        make(timeout=1).execute(task_context)


def test_at_the_deadline_the_status_is_named(make, dremio, task_context):
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": []})
    dremio.on("POST", "/api/v3/reflection", server_side())
    dremio.on("GET", "/api/v3/reflection/r", server_side("RUNNING", availability="NONE"))
    with pytest.raises(DremioTimeout, match=r"agg on .*refresh RUNNING, availability NONE"):
        make(timeout=0).execute(task_context)


def test_an_earlier_refresh_that_never_ends_is_not_awaited_beyond_the_deadline(make, dremio, task_context):
    dremio.on("GET", "/api/v3/dataset/t/reflection", {"data": [server_side("RUNNING")]})
    dremio.on("GET", "/api/v3/reflection/r", server_side("RUNNING"))
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(task_context)
    state = deferred.value.trigger.state | {"deadline": time.time() - 1}
    with pytest.raises(DremioTimeout, match=r"Earlier refreshes did not end within 60 s: agg"):
        make().resume_idle(task_context, {"reason": "deadline", "detail": "not refreshed: r", "state": state})


def test_a_missing_table_is_named(make, dremio, task_context):
    with pytest.raises(DremioError, match=r"no datalake\.gold\.slot_a\.orders in Dremio"):
        make(slot="a").execute(task_context)


def test_an_unknown_name_lists_the_known_ones(make, task_context):
    with pytest.raises(ValueError, match="declares no nothing; it has agg"):
        make(names=["nothing"]).execute(task_context)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        pytest.param({"type": "RAW"}, "RAW takes `display` alone", id="raw-without-columns"),
        pytest.param({"type": "AGGREGATION"}, "AGGREGATION takes", id="aggregation-without-columns"),
        pytest.param({"type": "RAW", "display": ["a"], "checks": ["SELECT 1"]}, "does not name {dataset}", id="check"),
        pytest.param({"type": "RAW", "display": ["a"], "measures": {"a": ["AVG"]}}, "SUM", id="measure"),
    ],
)
def test_a_wrong_declaration_is_refused(entry, text):
    with pytest.raises(ValueError, match=text):
        Reflections.model_validate({"reflections": [{"name": "x", "dataset": "gold.orders", **entry}]})


def test_only_datasets_of_gold_are_moved_to_a_slot():
    entry = {"name": "x", "dataset": "bronze.customers", "type": "RAW", "display": ["a"]}
    (one,) = Reflections.model_validate({"reflections": [entry]}).reflections
    assert one.table("a") == "bronze.customers"
