import json

import httpx
import pytest

from lakehouse.superset.exceptions import NotInvalidated
from lakehouse.superset.operators import SupersetInvalidateOperator

pytestmark = pytest.mark.usefixtures("connections")


@pytest.fixture
def filled(superset):
    """A Superset that has a chart of each dataset in its cache."""
    superset.datasets = {1: ("gold", "orders"), 2: ("gold", "customers"), 3: ("other", "orders")}
    for number in superset.datasets:
        body = {"datasource": {"id": number, "type": "table"}, "queries": [{"metrics": ["n"]}], "result_type": "full"}
        superset.chart_data(body)
    return superset


def charts_left(superset):
    return {json.loads(key)[0]["id"] for key in superset.cache if '"metrics": ["n"]' in key}


def invalidate(**arguments):
    return SupersetInvalidateOperator(task_id="invalidate", **arguments).execute({})


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        pytest.param({"datasets": ["gold.orders"]}, {2, 3}, id="a name with its schema"),
        pytest.param({"datasets": ["orders"], "schema": "gold"}, {2, 3}, id="the schema said once"),
        pytest.param({"datasets": ["other.orders", "customers"], "schema": "gold"}, {1}, id="a name's own schema wins"),
        pytest.param({"datasets": ["orders"]}, {2}, id="every schema that has the table"),
    ],
)
def test_exactly_what_is_named_is_forgotten(filled, arguments, left):
    assert invalidate(**arguments) == {"invalidated": arguments["datasets"], "unknown": []}
    assert charts_left(filled) == left


def test_what_is_no_dataset_is_named_and_nothing_is_sent_for_it(filled):
    assert invalidate(datasets=["gold.it's"]) == {"invalidated": [], "unknown": ["gold.it's"]}
    assert charts_left(filled) == {1, 2, 3}
    assert filled.sent("POST", "/api/v1/cachekey/invalidate") == 0


def test_a_superset_that_only_says_so_is_found_out(filled):
    filled.keys_are_stored = False
    with pytest.raises(NotInvalidated, match=r"still answers from its cache for dataset 1 .* STORE_CACHE_KEYS_IN_META"):
        invalidate(datasets=["gold.orders"])


def test_a_pipeline_may_go_on_without_it(filled, capsys):
    filled.keys_are_stored = False
    assert invalidate(datasets=["gold.orders"], required=False)["invalidated"] == ["gold.orders"]
    assert "STORE_CACHE_KEYS_IN_METADATA_DB" in capsys.readouterr().out


def test_a_table_that_is_gone_is_forgotten_too(filled):
    filled.chart_error["rows_now"] = "Object 'gold.orders' not found"
    invalidate(datasets=["gold.orders"])
    assert charts_left(filled) == {2, 3}


@pytest.mark.parametrize("answers", [[], [httpx.Response(202, json={})] * 2], ids=["no cache", "Celery computes"])
def test_where_nothing_is_cached_nothing_has_to_be_proven(filled, answers):
    filled.caching = False
    filled.troubles["/api/v1/chart/data"] = list(answers)
    assert invalidate(datasets=["gold.orders"])["invalidated"] == ["gold.orders"]


def test_one_text_is_no_list_of_names():
    with pytest.raises(ValueError, match="expected a list"):
        invalidate(datasets="gold.orders")
