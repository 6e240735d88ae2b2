"""combinedStatus by the table of OSS ReflectionStatus."""

import datetime as dt

import pytest

from embedded.dremio.errors import InvalidRequest
from embedded.dremio.reflections.model import Built, Reflection, combined_status, from_rest, now
from embedded.dremio.reflections.policy import read_policy


def reflection(**changes):
    return Reflection("dataset", "r", "RAW", {"displayFields": [{"name": "a"}]}, **changes)


def built(expires_in_hours=3.0):
    at = now()
    return Built("m", "t", "j", 1, 1, at, at, at + dt.timedelta(hours=expires_in_hours), {}, {})


@pytest.mark.parametrize(
    ("changes", "by_policy", "expected"),
    [
        ({}, True, "CANNOT_ACCELERATE_SCHEDULED"),
        ({"requested": False}, False, "CANNOT_ACCELERATE_MANUAL"),
        ({"running": True}, True, "REFRESHING"),
        ({"built": built(), "requested": False}, True, "CAN_ACCELERATE"),
        ({"built": built(), "running": True}, True, "CAN_ACCELERATE"),
        ({"built": built(), "requested": True}, True, "CAN_ACCELERATE"),
        ({"built": built(), "requested": False, "failures": 1}, True, "CAN_ACCELERATE_WITH_FAILURES"),
        ({"built": built(-1), "requested": False}, True, "CANNOT_ACCELERATE_SCHEDULED"),
        ({"failures": 3}, True, "FAILED"),
        ({"enabled": False, "built": built()}, True, "DISABLED"),
    ],
)
def test_combined_status(changes, by_policy, expected):
    assert combined_status(reflection(**changes), by_policy) == expected


def test_measure_types_are_trimmed_as_dbt_sends_them():
    body = {
        "type": "AGGREGATION",
        "name": "r",
        "datasetId": "d",
        "enabled": True,
        "measureFields": [{"name": "amount", "measureTypeList": ["SUM", " COUNT"]}],
        "dateFields": [{"name": "order_date", "granularity": "DATE"}],
    }
    assert from_rest(body).fields == {"measureFields": [{"name": "amount", "measureTypeList": ["SUM", "COUNT"]}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enabled": None}, "Reflections must have the enabled field set"),
        ({"type": "EXTERNAL"}, "is none of RAW, AGGREGATION"),
        ({"name": ""}, "must have a name"),
        ({"measureFields": [{"name": "a", "measureTypeList": ["MEDIAN"]}]}, "MEDIAN"),
    ],
)
def test_a_body_that_is_wrong_is_refused(change, message):
    body = {"type": "RAW", "name": "r", "datasetId": "d", "enabled": True, **change}
    with pytest.raises(InvalidRequest, match=message):
        from_rest(body)


@pytest.mark.parametrize(
    "policy",
    [
        {"activePolicyType": "PERIOD", "refreshPeriodMs": 1000},
        {"activePolicyType": "SCHEDULE"},
        {"method": "INCREMENTAL"},
        {"activePolicyType": "HOURLY"},
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(policy):
    with pytest.raises(InvalidRequest):
        read_policy(policy)


def test_a_policy_is_read_and_shown():
    shown = read_policy({"activePolicyType": "PERIOD", "refreshPeriodMs": 7_200_000}).rest()
    assert (shown["activePolicyType"], shown["refreshPeriodMs"]) == ("PERIOD", 7_200_000)
