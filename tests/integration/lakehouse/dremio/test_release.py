"""Release and rollback on the real journal, lease and Dremio, in a corner of their own."""

from datetime import UTC, date, datetime

import pytest

from lakehouse.dremio import release
from lakehouse.dremio.exceptions import DremioError
from lakehouse.dremio.operators.release import DremioClaimSlotOperator, DremioReleaseOperator, DremioRollbackOperator
from lakehouse.ops import releases
from tests.integration.lakehouse.ops.test_releases import live_slot

MARTS = ["orders", "customers"]
DB = "lakehouse_db"


@pytest.fixture(autouse=True)
def _corner(own_records, own_gold):
    """All tests here work in their own journal and their own gold."""


def claim(run_id, day=22):
    return releases.claim_slot(DB, run_id, date(2026, 11, day))


def switch(context_of, run_id, marts=MARTS):
    return DremioReleaseOperator(task_id="release", marts=marts).execute(context_of(run_id, "release"))


def shown(hook, space):
    """What a reader sees: amount per mart; the technical column must not be there."""
    (row,) = hook.query(f"SELECT o.amount AS o, c.amount AS c FROM {space}.orders o, {space}.customers c")
    assert [f["name"] for f in hook.find_entity([space, "orders"])["fields"]] == ["id", "amount"]
    return row["o"], row["c"]


def test_two_batches_and_back(hook, own_gold, context_of):
    assert claim("r1") == "a"
    assert switch(context_of, "r1")["switched"] == ["customers", "orders"]
    assert shown(hook, own_gold) == (1, 1)
    assert switch(context_of, "r1")["switched"] == []

    assert claim("r2") == "b"
    assert shown(hook, own_gold) == (1, 1)
    assert switch(context_of, "r2")["slot"] == "b"
    assert shown(hook, own_gold) == (2, 2)

    back = DremioRollbackOperator(task_id="back").execute(context_of("r3", "back"))
    assert back["slot"] == "a" and back["batch_date"] == "2026-11-22"
    assert shown(hook, own_gold) == (1, 1)
    assert live_slot() == "a"
    assert claim("r4") == "b"


def test_killed_between_two_views_and_run_again(hook, own_gold, context_of, monkeypatch):
    claim("r1")
    real, done = release.switch, []

    def die_after_one(hook, name, sql):
        if done:
            raise KeyboardInterrupt  # as a kill: nothing is tidied up
        real(hook, name, sql)
        done.append(name)

    monkeypatch.setattr(release, "switch", die_after_one)
    with pytest.raises(KeyboardInterrupt):
        switch(context_of, "r1")
    assert releases.unfinished_switch(DB).run_id == "r1"
    with pytest.raises(releases.ReleaseRefused, match="clear the group release"):
        claim("r2")
    monkeypatch.setattr(release, "switch", real)
    assert switch(context_of, "r1")["switched"] == ["orders"]
    assert shown(hook, own_gold) == (1, 1) and live_slot() == "a"


def test_a_switch_that_dremio_refuses_is_taken_back_by_its_run(hook, own_gold, context_of, monkeypatch):
    claim("r1")
    switch(context_of, "r1")
    claim("r2")
    real = release.switch

    def refuse_orders(hook, name, sql):
        if name == "orders":
            raise DremioError("no privilege on orders")
        real(hook, name, sql)

    monkeypatch.setattr(release, "switch", refuse_orders)
    for _ in range(2):
        with pytest.raises(DremioError, match="no privilege"):
            switch(context_of, "r2")
    assert shown(hook, own_gold) == (1, 2)  # orders, customers: half way

    again = context_of("r2", "claim_slot") | {"logical_date": datetime(2026, 11, 23, 1, 0, tzinfo=UTC)}
    assert DremioClaimSlotOperator(task_id="claim_slot").execute(again) == "b"
    assert shown(hook, own_gold) == (1, 1) and releases.unfinished_switch(DB) is None
    monkeypatch.setattr(release, "switch", real)
    assert switch(context_of, "r2")["slot"] == "b"
    assert shown(hook, own_gold) == (2, 2)


def test_a_first_switch_that_is_taken_back_leaves_no_view(hook, own_gold, context_of, monkeypatch):
    claim("r1")
    real = release.switch
    monkeypatch.setattr(release, "switch", lambda hook, name, sql: real(hook, name, sql) if name < "o" else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        switch(context_of, "r1")
    again = context_of("r1", "claim_slot") | {"logical_date": datetime(2026, 11, 23, 1, 0, tzinfo=UTC)}
    assert DremioClaimSlotOperator(task_id="claim_slot").execute(again) == "a"
    assert hook.find_entity([own_gold, "customers"]) is None


def test_a_run_that_lost_its_slot_is_refused(hook, own_gold, context_of):
    claim("r1")
    claim("r2")
    with pytest.raises(releases.ReleaseRefused, match="superseded by run r2"):
        switch(context_of, "r1")
    assert hook.find_entity([own_gold, "orders"]) is None


def test_a_missing_mart_leaves_the_views_as_they_are(hook, own_gold, context_of):
    claim("r1")
    switch(context_of, "r1")
    claim("r2")
    with pytest.raises(DremioError, match="slot_b lacks fct_orders"):
        switch(context_of, "r2", [*MARTS, "fct_orders"])
    assert shown(hook, own_gold) == (1, 1)


def test_rollback_refuses_a_slot_that_was_claimed_since(hook, own_gold, context_of):
    for run_id in ("r1", "r2"):
        claim(run_id)
        switch(context_of, run_id)
    claim("r3")
    with pytest.raises(releases.ReleaseRefused, match="slot a no longer holds the earlier release"):
        DremioRollbackOperator(task_id="back").execute(context_of("r4", "back"))
    assert shown(hook, own_gold) == (2, 2)
