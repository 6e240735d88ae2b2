"""Claim, release and rollback on the real journal, killed after their writes and run again.

Each view shows one slot, whole, at any instant; the end is that of an unbroken run.
"""

import re
from datetime import UTC, datetime

import pytest

from lakehouse.dremio import release
from lakehouse.dremio.operators.release import DremioClaimSlotOperator, DremioReleaseOperator, DremioRollbackOperator
from lakehouse.ops import database, releases
from tests.integration.lakehouse.killing import Tries, killed_after_its_writes

MARTS = ["orders", "customers"]
DB = "lakehouse_db"
NIGHT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


@pytest.fixture
def tries(tmp_path):
    def make(operator, **context):
        return Tries(operator, tmp_path / "store.json", **context)

    return make


@pytest.fixture(autouse=True)
def _corner(own_records, own_gold):
    """A journal and a space of the test's own."""


@pytest.fixture
def released(hook, own_gold, context_of):
    """Makes so many releases; returns what brings journal and views back to them."""

    def journal(statements):
        with database.connect(database.dsn(DB)) as connection, connection.cursor() as cursor:
            cursor.execute(statements)

    def made(count, then=lambda: None):
        for number in range(count):
            releases.claim_slot(DB, f"r{number}", NIGHT.date())
            DremioReleaseOperator(task_id="release", marts=MARTS).execute(context_of(f"r{number}", "release"))
        then()
        views = release.current_definitions(hook, MARTS)
        journal("CREATE TABLE kept AS SELECT * FROM release")

        def back():
            journal("DELETE FROM release; INSERT INTO release SELECT * FROM kept")
            for mart, sql in release.pending(release.current_definitions(hook, MARTS), views).items():
                release.switch(hook, mart, sql)

        return back

    return made


@pytest.fixture
def shown(hook, own_gold):
    """The slot that each view shows; a view shows one of the two, whole."""

    def shown():
        views = release.current_definitions(hook, MARTS)
        slots = [re.findall("slot_([ab])", views[mart]) if mart in views else [] for mart in MARTS]
        assert all(len(found) < 2 for found in slots), views
        return "".join(found[0] if found else "-" for found in slots)

    return shown


@pytest.fixture
def seen(shown):
    return lambda: (shown(), [(one.run_id, one.slot, one.state) for one in releases.journal(DB)])


def test_claim_that_takes_an_interrupted_switch_back(hook, own_gold, tries, released, seen, shown):
    def interrupt():
        releases.claim_slot(DB, "killed", NIGHT.date())
        views = {mart: f'SELECT "id", "amount" FROM "{own_gold[:-6]}"."gold"."slot_b"."{mart}"' for mart in MARTS}
        releases.mark(DB, "killed", "built")
        releases.mark(DB, "killed", "switching", views=views)
        hook.run_job(f'CREATE OR REPLACE VIEW "{own_gold}"."customers" AS {views["customers"]}')

    task = tries(lambda: DremioClaimSlotOperator(task_id="claim"), logical_date=NIGHT)
    assert killed_after_its_writes(task, released(1, interrupt), seen, shown) >= 3
    assert seen() == ("aa", [("killed", "b", "building"), ("killed", "b", "failed"), ("r0", "a", "released")])


def test_release(tries, released, seen, shown):
    claimed = released(1, lambda: releases.claim_slot(DB, "killed", NIGHT.date()))
    task = tries(lambda: DremioReleaseOperator(task_id="release", marts=MARTS))
    assert killed_after_its_writes(task, claimed, seen, shown) >= 5
    assert seen() == ("bb", [("killed", "b", "released"), ("r0", "a", "released")])


def test_roll_back(tries, released, seen, shown):
    task = tries(lambda: DremioRollbackOperator(task_id="back"))
    assert killed_after_its_writes(task, released(2), seen, shown) >= 6
    assert seen()[0] == "aa" and seen()[1][0] == ("killed", "a", "released")
