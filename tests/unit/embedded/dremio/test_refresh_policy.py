"""When a policy refreshes and when it lets expire."""

import datetime as dt

import pytest

from embedded.dremio.catalog import Entity, Kind
from embedded.dremio.reflections.policy import RefreshPolicy, policy_of

NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("policy", "next_hour", "expiry_hour"),
    [
        (RefreshPolicy(), 13, 15),
        (RefreshPolicy(refresh_period_ms=2 * HOUR, grace_period_ms=5 * HOUR), 14, 17),
        (RefreshPolicy(active="NEVER"), None, 15),
        (RefreshPolicy(never_refresh=True, never_expire=True), None, None),
    ],
)
def test_times(policy, next_hour, expiry_hour):
    def hour(moment):
        return None if moment is None else moment.hour

    assert hour(policy.next_refresh(NOON)) == next_hour
    assert hour(policy.expiry(NOON)) == expiry_hour


class OneSource:
    def __init__(self, body):
        self.source = Entity(Kind.SOURCE, ("lake",), body)

    def source_of(self, path):
        return self.source


def test_a_table_has_its_own_policy_else_its_sources_else_the_default():
    table = Entity(Kind.TABLE, ("lake", "t"))
    assert policy_of(OneSource({}), table).refresh_period_ms == HOUR
    of_source = OneSource({"accelerationRefreshPeriodMs": 4 * HOUR, "accelerationActivePolicyType": "NEVER"})
    assert policy_of(of_source, table).refresh_period_ms == 4 * HOUR
    assert policy_of(of_source, table).period_ms is None
    table.body["accelerationRefreshPolicy"] = {"activePolicyType": "PERIOD", "refreshPeriodMs": 2 * HOUR}
    assert policy_of(of_source, table).period_ms == 2 * HOUR
