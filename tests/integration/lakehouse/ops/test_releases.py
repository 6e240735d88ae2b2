import threading
from datetime import date

import pytest

from lakehouse.ops import database, releases
from lakehouse.ops.lease import Lease, LeaseLost
from lakehouse.ops.releases import ReleaseRefused

DB = "lakehouse_db"
DAY = date(2026, 11, 22)


@pytest.fixture(autouse=True)
def empty_journal(own_database):
    database.run(own_database, "SELECT 1")
    releases.journal(DB)  # makes the table
    database.run(own_database, "TRUNCATE release")


def live_slot():
    """What readers see, by the journal."""
    return next((one.slot for one in releases.journal(DB) if one.state == "released"), None)


def release(run_id):
    slot = releases.claim_slot(DB, run_id, DAY)
    for state in ("built", "switching", "released"):
        releases.mark(DB, run_id, state)
    return slot


def test_slots_take_turns():
    assert live_slot() is None
    assert [release(run) for run in ("r1", "r2", "r3")] == ["a", "b", "a"]
    assert live_slot() == "a"


def test_all_tasks_of_a_run_get_one_slot_and_one_release():
    release("r1")
    slots: list[str] = []
    threads = [threading.Thread(target=lambda: slots.append(releases.claim_slot(DB, "r2", DAY))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slots == ["b"] * 6
    assert [item.run_id for item in releases.journal(DB)] == ["r2", "r1"]


def test_the_live_slot_is_never_given_out():
    assert release("r1") == "a"
    assert releases.claim_slot(DB, "r1", DAY) == "b"  # the whole run again
    assert live_slot() == "a"


def test_a_failed_build_is_taken_up_by_its_run_in_the_same_slot():
    release("r1")
    releases.claim_slot(DB, "r2", DAY)
    releases.mark(DB, "r2", "failed", reason="a test failed")
    assert releases.claim_slot(DB, "r2", DAY) == "b"
    found = releases.current(DB, "r2")
    assert found is not None and (found.state, found.reason) == ("building", None)


def test_a_superseded_run_can_release_nothing():
    assert releases.claim_slot(DB, "r1", DAY) == "a"
    assert releases.claim_slot(DB, "r2", DAY) == "a"
    assert not releases.may_build(DB, "r1", "a") and releases.may_build(DB, "r2", "a")
    with pytest.raises(ReleaseRefused, match=r"is failed \(superseded by run r2\)"):
        releases.mark(DB, "r1", "built")


def test_a_run_that_comes_back_after_others_have_released_begins_a_new_release():
    releases.claim_slot(DB, "old", DAY)
    assert [release("r1"), release("r2")] == ["a", "b"]
    assert releases.claim_slot(DB, "old", DAY) == "a"
    for state in ("built", "switching", "released"):
        releases.mark(DB, "old", state)
    assert live_slot() == "a"


def test_an_interrupted_switch_keeps_everybody_from_building():
    release("r1")
    releases.claim_slot(DB, "r2", DAY)
    releases.mark(DB, "r2", "built")
    releases.mark(DB, "r2", "switching", views={"gold.orders": "b"})
    unfinished = releases.unfinished_switch(DB)
    assert unfinished is not None and (unfinished.run_id, unfinished.views) == ("r2", {"gold.orders": "b"})
    for run in ("r2", "r3"):
        with pytest.raises(ReleaseRefused, match="was interrupted while it switched"):
            releases.claim_slot(DB, run, DAY)
    releases.mark(DB, "r2", "switching")  # the release group is cleared: again
    releases.mark(DB, "r2", "released")
    assert releases.unfinished_switch(DB) is None and releases.claim_slot(DB, "r3", DAY) == "a"


def test_a_run_whose_failed_build_has_since_been_released_by_another_gets_the_other_slot():
    assert release("r0") == "a"
    for run in ("day-a", "day-b"):  # each fails a data test
        assert releases.claim_slot(DB, run, DAY) == "b"
    assert release("day-a") == "b"
    assert releases.claim_slot(DB, "day-b", DAY) == "a"
    assert live_slot() == "b"


def test_what_readers_see_may_not_be_built_whatever_the_journal_says(own_database):
    release("r1")
    database.run(
        own_database, "INSERT INTO release (slot, run_id, batch_date, state) VALUES ('a', 'r2', %s, 'building')", (DAY,)
    )
    assert not releases.may_build(DB, "r2", "a")
    assert releases.claim_slot(DB, "r2", DAY) == "b"
    assert releases.may_build(DB, "r2", "b") and not releases.may_build(DB, "r1", "a")


@pytest.mark.parametrize("state", ["switching", "released"])
def test_no_step_is_left_out(state):
    releases.claim_slot(DB, "r1", DAY)
    with pytest.raises(ReleaseRefused, match=f"is building and cannot become {state}"):
        releases.mark(DB, "r1", state)


def test_a_run_without_a_slot_is_told_to_build_first():
    with pytest.raises(ReleaseRefused, match="has claimed no slot"):
        releases.mark(DB, "r9", "built")
    assert releases.current(DB, "r9") is None


def test_an_orphan_cannot_move_the_journal():
    releases.claim_slot(DB, "r1", DAY)
    with Lease(DB, "release", holder="task") as orphan, Lease(DB, "release", holder="task") as retry:
        with pytest.raises(LeaseLost):
            releases.mark(DB, "r1", "built", lease=orphan)
        assert releases.mark(DB, "r1", "built", lease=retry).state == "built"
