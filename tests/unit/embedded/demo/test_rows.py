"""Orders, customers and products: what is right in them, and what is wrong on purpose."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from embedded.demo import catalogue, people
from embedded.demo.company import Company
from embedded.demo.draws import DAY_US, midnight_us
from embedded.demo.orders import (
    CANCELLED,
    COMPLETED,
    LIFE_DAYS,
    NEVER,
    PENDING,
    RETURNED,
    SHIPPED,
    STATUSES,
    Items,
    Orders,
    amounts,
    item_rows,
    order_rows,
    pick_items,
    place_orders,
)
from embedded.demo.shop import end_of
from embedded.demo.versions import Versions

END = datetime.date(2026, 3, 31)
SHOP = Company(seed=7, scale=900_000, end_date=END)


@pytest.fixture(scope="module")
def orders() -> Orders:
    return place_orders(SHOP, END)


@pytest.fixture(scope="module")
def items(orders: Orders) -> Items:
    return pick_items(SHOP, orders, catalogue.prices(SHOP, Versions.none_yet(SHOP.products)))


def test_amount_is_the_sum_of_the_items_except_where_it_is_recorded_as_zero(orders: Orders, items: Items) -> None:
    everything = np.ones(len(orders.order_id), bool)
    head = order_rows(orders, amounts(orders, items), end_of(END), everything)
    lines = item_rows(orders, items, everything)
    total: dict[int, Decimal] = {}
    for line in lines.to_pylist():
        total[line["order_id"]] = total.get(line["order_id"], Decimal(0)) + line["quantity"] * line["unit_price"]
    wrong = [row for row in head.to_pylist() if row["amount"] != total[row["order_id"]]]
    assert wrong and all(row["amount"] == 0 for row in wrong)
    assert len(wrong) == (orders.zero_amount & ~orders.lost).sum()
    assert min(total.values()) > 0


def test_items_of_lost_orders_are_orphans(orders: Orders, items: Items) -> None:
    everything = np.ones(len(orders.order_id), bool)
    head = order_rows(orders, amounts(orders, items), end_of(END), everything)
    lines = item_rows(orders, items, everything)
    orphans = set(lines["order_id"].to_pylist()) - set(head["order_id"].to_pylist())
    assert orphans == set(orders.order_id[orders.lost].tolist())
    assert orphans
    assert len(set(lines["order_item_id"].to_pylist())) == lines.num_rows


def test_rates_of_dirt_are_as_documented(orders: Orders) -> None:
    days = [place_orders(SHOP, day) for day in SHOP.days(END)[-10:]]
    share = {
        name: np.concatenate([getattr(day, name) for day in days]).astype(bool).mean()
        for name in ("no_customer", "zero_amount", "lost", "spelling")
    }
    assert share["no_customer"] == pytest.approx(0.001, rel=0.3)
    assert share["zero_amount"] == pytest.approx(0.0005, rel=0.4)
    assert share["lost"] == pytest.approx(0.001, rel=0.3)
    assert share["spelling"] == pytest.approx(0.02, rel=0.1)


def test_a_life_goes_forward_and_ends_within_its_days(orders: Orders) -> None:
    shipped, completed, returned = (orders.reached[status] for status in (SHIPPED, COMPLETED, RETURNED))
    was_shipped = shipped != NEVER
    assert (shipped[was_shipped] > orders.arrived[was_shipped]).all()
    assert (completed[was_shipped] > shipped[was_shipped]).all()
    assert (returned[returned != NEVER] > completed[returned != NEVER]).all()
    assert (orders.reached[CANCELLED][was_shipped] == NEVER).all()
    ends = np.where(orders.reached == NEVER, 0, orders.reached).max(axis=0)
    assert ends.max() < midnight_us(END) + (LIFE_DAYS + 1) * DAY_US


def test_state_at_a_moment_is_the_last_status_reached(orders: Orders) -> None:
    status, updated = orders.status_at(end_of(END))
    position = int(np.flatnonzero(orders.reached[COMPLETED] != NEVER)[0])
    for reached in (PENDING, SHIPPED, COMPLETED):
        moment = int(orders.reached[reached, position])
        assert orders.status_at(moment + 1)[0][position] == reached
        assert orders.status_at(moment + 1)[1][position] == moment
    here = orders.arrived < end_of(END)
    assert (updated[here] < end_of(END)).all() and (updated[here] >= midnight_us(END)).all()
    assert set(status[here]) <= {PENDING, SHIPPED, CANCELLED}


def test_late_orders_arrive_up_to_three_days_later_with_the_moment_of_arrival_as_cursor(orders: Orders) -> None:
    late = orders.arrived >= end_of(END)
    assert late.mean() == pytest.approx(0.01, rel=0.3)
    assert orders.arrived[late].max() < end_of(END) + 3 * DAY_US
    cents = np.ones(len(late), np.int64)
    rows = order_rows(orders, cents, int(orders.arrived[late].max()) + 1, late)
    assert set(rows["order_date"].to_pylist()) == {END}
    assert min(rows["updated_at"].to_pylist()).date() > END


def test_statuses_differ_from_the_clean_form_in_case_and_blanks_only(orders: Orders) -> None:
    rows = order_rows(orders, np.ones(len(orders.order_id), np.int64), end_of(END), orders.arrived < end_of(END))
    written = set(rows["status"].to_pylist())
    assert {text.strip().lower() for text in written} <= set(STATUSES)
    assert any(text != text.strip() for text in written) and any(text != text.lower() for text in written)


def test_customers_are_dirty_as_documented() -> None:
    ids = np.arange(1, 50_001)
    rows = people.customer_rows(SHOP, ids, ids, ids, Versions.none_yet(len(ids)))
    emails, names, phones = rows["email"], rows["name"], rows["phone"]
    assert emails.null_count / len(ids) == pytest.approx(0.03, rel=0.15)
    assert phones.null_count / len(ids) == pytest.approx(0.02, rel=0.2)
    padded = pc.sum(pc.not_equal(names, pc.utf8_trim_whitespace(names))).as_py()
    assert padded / len(ids) == pytest.approx(0.02, rel=0.2)
    seen = pc.value_counts(pc.utf8_lower(emails.drop_null()))
    shared = sum(1 for entry in seen.to_pylist() if entry["counts"] > 1)
    assert shared / len(ids) == pytest.approx(0.005, rel=0.25)
    assert names.null_count == 0 and pc.min(pc.utf8_length(rows["zip_code"])).as_py() == 5


def test_a_move_changes_the_address_alone_and_a_way_back_gives_the_same_row() -> None:
    ids = np.arange(1, 4)
    before = people.customer_rows(SHOP, ids, ids, ids, Versions.none_yet(3))
    moved = Versions.none_yet(3)
    moved.apply(np.array([2]), np.array([5_000_000]))
    after = people.customer_rows(SHOP, ids, ids, ids, moved)
    assert after.slice(0, 1) == before.slice(0, 1) and after.slice(2) == before.slice(2)
    old, new = before.to_pylist()[1], after.to_pylist()[1]
    changed = {name for name in old if old[name] != new[name]}
    assert "address" in changed and "updated_at" in changed
    assert changed <= {"address", "city", "state", "zip_code", "updated_at"}
    assert new["updated_at"] == datetime.datetime(1970, 1, 1, 0, 0, 5, tzinfo=datetime.UTC)


def test_rows_of_a_day_have_their_cursor_within_that_day() -> None:
    for moments in (people.moves(SHOP, END)[1], people.signup_moments(SHOP, END)[1]):
        assert len(moments) and moments.min() >= midnight_us(END) and moments.max() < end_of(END)


def test_price_changes_move_price_and_cursor() -> None:
    ids = np.arange(1, SHOP.products + 1)
    before = catalogue.product_rows(SHOP, catalogue.price_versions(SHOP, END), ids)
    changed, _ = catalogue.price_changes(SHOP, END)
    versions = catalogue.price_versions(SHOP, END)
    versions.apply(*catalogue.price_changes(SHOP, END))
    after = catalogue.product_rows(SHOP, versions, ids)
    differs = pc.not_equal(before["updated_at"], after["updated_at"])
    assert after.filter(differs)["product_id"].to_pylist() == changed.tolist() != []
    assert pc.min(after["unit_price"]).as_py() >= Decimal("0.50")
    assert after.schema.field("unit_price").type == pa.decimal128(12, 2)
