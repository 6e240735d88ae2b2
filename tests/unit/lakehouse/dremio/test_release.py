"""Release and rollback against a journal in memory; tests/integration runs them on the real one."""

from datetime import UTC, date, datetime

import httpx
import pytest

from lakehouse.dremio import release as module_release
from lakehouse.dremio.exceptions import DremioError
from lakehouse.dremio.operators import release as module
from lakehouse.dremio.operators.release import DremioClaimSlotOperator, DremioReleaseOperator, DremioRollbackOperator
from lakehouse.ops.releases import Release, ReleaseRefused

DAY = date(2026, 11, 22)


class Journal:
    """The part of lakehouse.ops.releases that the operators use, over a list (newest last)."""

    def __init__(self):
        self.rows = []

    def add(self, slot, run_id, state, views=None):
        self.rows.append(Release(len(self.rows) + 1, slot, run_id, DAY, state, views))

    def current(self, conn_id, run_id):
        return next((row for row in reversed(self.rows) if row.run_id == run_id), None)

    def journal(self, conn_id, limit):
        return list(reversed(self.rows))

    def claim_slot(self, conn_id, run_id, batch_date):
        live = next((row for row in reversed(self.rows) if row.state == "released"), None)
        slot = "b" if live and live.slot == "a" else "a"
        self.add(slot, run_id, "building")
        return slot

    def unfinished_switch(self, conn_id):
        return next((row for row in reversed(self.rows) if row.state == "switching"), None)

    def mark(self, conn_id, run_id, state, *, views=None, reason=None, lease=None):
        row = self.current(conn_id, run_id)
        views = row.views if views is None else dict(views)
        changed = Release(row.release_id, row.slot, run_id, row.batch_date, state, views)
        self.rows[self.rows.index(row)] = changed
        return changed


class HeldLease:
    checks = 0

    def __init__(self, conn_id, name, holder):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def check(self):
        HeldLease.checks += 1


@pytest.fixture
def journal(monkeypatch):
    made = Journal()
    for name in ("current", "journal", "claim_slot", "mark", "unfinished_switch"):
        monkeypatch.setattr(module.releases, name, getattr(made, name))
    monkeypatch.setattr(module, "Lease", HeldLease)
    HeldLease.checks = 0
    return made


@pytest.fixture
def gold(dremio):
    """Views of gold as the server keeps them, and the tables of both slots."""
    views = {}

    dremio.on("GET", "/api/v3/catalog/by-path/gold", {"entityType": "space", "children": []})

    def run(sql):
        if sql.startswith("DROP VIEW IF EXISTS gold."):
            views.pop(sql.split('"')[1], None)
            return {}
        if sql.startswith("CREATE OR REPLACE VIEW"):
            head, body = sql.split(" AS ", 1)
            name = head.split('"')[1]
            views[name] = body
            entity = {"type": "VIRTUAL_DATASET", "sql": body, "id": name}
            dremio.on("GET", f"/api/v3/catalog/by-path/gold/{name}", entity)
            return {}
        columns = [("orders", "order_id"), ("orders", "_extracted_at"), ("customers", "customer_id")]
        return {"rows": [{"TABLE_NAME": table, "COLUMN_NAME": column} for table, column in columns]}

    dremio.on_sql(run)
    return views


def make(kind, hook, **kwargs):
    operator = kind(task_id="release", **kwargs)
    operator.__dict__["hook"] = hook
    return operator


def select(slot, mart, column):
    return f'SELECT "{column}" FROM "datalake"."gold"."slot_{slot}"."{mart}"'


def test_switches_every_view_to_public_columns_of_the_slot(hook, gold, journal, task_context):
    journal.add("a", "manual__1", "building")
    result = make(DremioReleaseOperator, hook, marts=["orders", "customers"]).execute(task_context)
    assert gold == {
        "orders": select("a", "orders", "order_id"),
        "customers": select("a", "customers", "customer_id"),
    }
    assert result["switched"] == ["customers", "orders"]
    assert journal.rows[-1].state == "released" and journal.rows[-1].views == gold
    assert HeldLease.checks == 2


def test_a_view_of_a_mart_that_is_gone_is_named(hook, gold, journal, task_context, dremio):
    journal.add("a", "manual__1", "building")
    hook.run_job(f'CREATE OR REPLACE VIEW gold."old" AS {select("b", "old", "x")}')
    hook.run_job('CREATE OR REPLACE VIEW gold."by_hand" AS SELECT 1 AS x')
    children = [{"path": ["gold", name]} for name in ("old", "by_hand", "orders")]
    dremio.on("GET", "/api/v3/catalog/by-path/gold", {"entityType": "space", "children": children})
    make(DremioReleaseOperator, hook, marts=["orders"]).execute(task_context)
    assert module_release.left_behind(hook, ["orders"]) == ["old"]


def test_again_finds_nothing_to_do(hook, gold, journal, task_context):
    journal.add("a", "manual__1", "building")
    operator = make(DremioReleaseOperator, hook, marts=["orders"])
    operator.execute(task_context)
    assert operator.execute(task_context)["switched"] == []


def test_a_view_that_drifted_is_mended(hook, gold, journal, task_context, dremio):
    journal.add("a", "manual__1", "building")
    operator = make(DremioReleaseOperator, hook, marts=["orders"])
    operator.execute(task_context)
    hook.run_job('CREATE OR REPLACE VIEW gold."orders" AS SELECT 1')
    assert operator.execute(task_context)["switched"] == ["orders"]
    assert gold["orders"] == select("a", "orders", "order_id")


def test_an_interrupted_switch_is_completed(hook, gold, journal, task_context):
    journal.add("b", "manual__1", "switching", {})
    hook.run_job(f'CREATE OR REPLACE VIEW gold."orders" AS {select("b", "orders", "order_id")}')
    result = make(DremioReleaseOperator, hook, marts=["orders", "customers"]).execute(task_context)
    assert result["switched"] == ["customers"]
    assert journal.rows[-1].state == "released"


def test_a_missing_mart_stops_it_before_any_view_changes(hook, gold, journal, task_context):
    journal.add("a", "manual__1", "building")
    with pytest.raises(DremioError, match="slot_a lacks fct_orders, users: nothing was switched"):
        make(DremioReleaseOperator, hook, marts=["users", "orders", "fct_orders"]).execute(task_context)
    assert gold == {} and journal.rows[-1].state == "built"


@pytest.mark.parametrize(
    ("path", "entity", "expected"),
    [
        pytest.param(
            "gold/customers", {"type": "PHYSICAL_DATASET", "id": "x"}, "gold.customers is a PHYSICAL", id="kind"
        ),
        pytest.param("gold", httpx.Response(404, json={}), "the space gold does not exist", id="space"),
    ],
)
def test_what_cannot_be_switched_is_found_before_the_switch_begins(
    hook, gold, journal, task_context, dremio, path, entity, expected
):
    journal.add("a", "manual__1", "building")
    dremio.on("GET", f"/api/v3/catalog/by-path/{path}", entity)
    with pytest.raises(DremioError, match=f"{expected}.*nothing was switched"):
        make(DremioReleaseOperator, hook, marts=["orders", "customers"]).execute(task_context)
    assert gold == {} and journal.rows[-1].state == "built"


def test_a_switch_that_cannot_be_completed_is_taken_back_by_its_run(hook, gold, journal, task_context):
    old, new = ({"orders": select(slot, "orders", "order_id")} for slot in "ab")
    journal.add("a", "run_1", "released", old)
    journal.add("b", "manual__1", "switching", new | {"customers": select("b", "customers", "customer_id")})
    for name, sql in (journal.rows[-1].views | {"by_hand": "SELECT 1 AS x"}).items():
        hook.run_job(f'CREATE OR REPLACE VIEW gold."{name}" AS {sql}')
    task_context["logical_date"] = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
    assert make(DremioClaimSlotOperator, hook).execute(task_context) == "b"
    assert gold == old | {"by_hand": "SELECT 1 AS x"}
    assert [row.state for row in journal.rows] == ["released", "failed", "building"]
    assert HeldLease.checks == 2


def test_another_runs_open_switch_is_left_to_that_run(hook, gold, journal, task_context):
    journal.add("a", "run_1", "released", {"orders": select("a", "orders", "order_id")})
    journal.add("b", "run_2", "switching", {"orders": select("b", "orders", "order_id")})
    task_context["logical_date"] = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
    make(DremioClaimSlotOperator, hook).execute(task_context)
    assert journal.rows[1].state == "switching" and gold == {}


def test_a_run_without_a_slot_is_refused(hook, journal, task_context):
    with pytest.raises(ReleaseRefused, match="manual__1 has claimed no slot"):
        make(DremioReleaseOperator, hook, marts=["orders"]).execute(task_context)


def test_an_older_run_does_not_take_the_views_back(hook, gold, journal, task_context):
    journal.add("a", "manual__1", "released", {"orders": select("a", "orders", "order_id")})
    journal.add("b", "manual__2", "released", {"orders": select("b", "orders", "order_id")})
    assert make(DremioReleaseOperator, hook, marts=["orders"]).execute(task_context)["switched"] == []
    assert gold == {}


def test_rollback_shows_the_release_before(hook, gold, journal, task_context):
    before, now = ({"orders": select(slot, "orders", "order_id")} for slot in "ab")
    journal.add("a", "run_1", "released", before)
    journal.add("b", "run_2", "released", now)
    hook.run_job(f'CREATE OR REPLACE VIEW gold."orders" AS {now["orders"]}')
    result = make(DremioRollbackOperator, hook).execute(task_context)
    assert gold == before
    assert result == {"slot": "a", "views": ["orders"], "switched": ["orders"], "batch_date": "2026-11-22"}
    assert (journal.rows[-1].slot, journal.rows[-1].state) == ("a", "released")


def test_rollback_killed_after_its_claim_goes_on(hook, gold, journal, task_context):
    journal.add("a", "run_1", "released", {"orders": select("a", "orders", "order_id")})
    journal.add("b", "run_2", "released", {"orders": select("b", "orders", "order_id")})
    journal.add("a", "manual__1", "building")
    assert make(DremioRollbackOperator, hook).execute(task_context)["slot"] == "a"
    assert "slot_a" in gold["orders"]


@pytest.mark.parametrize("state", ["building", "failed"])
def test_rollback_refuses_a_slot_that_was_built_over(hook, gold, journal, task_context, state):
    journal.add("a", "run_1", "released", {})
    journal.add("b", "run_2", "released", {})
    journal.add("a", "run_3", state)
    with pytest.raises(ReleaseRefused, match="slot a no longer holds the earlier release: run run_3"):
        make(DremioRollbackOperator, hook).execute(task_context)
    assert gold == {}


def test_rollback_needs_an_earlier_release(hook, journal, task_context):
    journal.add("a", "run_1", "released", {})
    with pytest.raises(ReleaseRefused, match="no earlier release"):
        make(DremioRollbackOperator, hook).execute(task_context)
