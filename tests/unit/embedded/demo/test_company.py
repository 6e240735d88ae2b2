"""Seed, scale and end date alone decide what happens, and a day never depends on which days were made before."""

from __future__ import annotations

import datetime
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from embedded.demo import catalogue, company, people
from embedded.demo.company import Company, parse_scale
from embedded.demo.draws import choose, uniform
from embedded.demo.feed import store_tables
from embedded.demo.invoices import invoice_file
from embedded.demo.orders import amounts, item_rows, order_rows, pick_items, place_orders
from embedded.demo.shop import end_of

END = datetime.date(2026, 3, 31)
SHOP = Company(seed=7, scale=9_000, end_date=END)
ONE_DAY = datetime.timedelta(days=1)


def digest_of_day(day: datetime.date) -> str:
    """One number for everything that the company makes on `day`."""
    orders = place_orders(SHOP, day)
    items = pick_items(SHOP, orders, catalogue.prices(SHOP, catalogue.price_versions(SHOP, day)))
    everything = np.ones(len(orders.order_id), bool)
    ids, moments = people.signup_moments(SHOP, day)
    tables = [
        order_rows(orders, amounts(orders, items), end_of(END), everything),
        item_rows(orders, items, everything),
        people.customer_rows(SHOP, ids, moments, moments, people.address_versions(SHOP, END)),
        *store_tables(SHOP, day).values(),
    ]
    found = hashlib.sha256(invoice_file(SHOP, day))
    for table in tables:
        text = io.BytesIO()
        pa.csv.write_csv(table.combine_chunks(), text)
        found.update(text.getvalue())
    return found.hexdigest()


def test_another_process_makes_the_same_bytes() -> None:
    program = (
        "import datetime; from tests.unit.embedded.demo.test_company import *; print(digest_of_day(END - 3 * ONE_DAY))"
    )
    root = Path(__file__).parents[4]
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONHASHSEED": "99"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == digest_of_day(END - 3 * ONE_DAY)


def test_a_day_does_not_depend_on_the_days_made_before() -> None:
    forwards = {day: digest_of_day(day) for day in SHOP.days(END)[-4:]}
    company.happenings.cache_clear()
    company._totals_before.cache_clear()
    backwards = {day: digest_of_day(day) for day in reversed(SHOP.days(END)[-4:])}
    assert backwards == forwards


def test_another_seed_makes_another_company() -> None:
    other = Company(seed=8, scale=SHOP.scale, end_date=END)
    assert invoice_file(other, END) != invoice_file(SHOP, END)
    assert place_orders(other, END).reached.tolist() != place_orders(SHOP, END).reached.tolist()


def test_hashed_draws_do_not_depend_on_the_other_ids() -> None:
    ids = np.arange(1, 1001)
    together = uniform(7, "name", ids)
    assert together[[4, 99]].tolist() == uniform(7, "name", np.array([5, 100])).tolist()
    assert abs(together.mean() - 0.5) < 0.03
    assert uniform(7, "name", ids, 1).tolist() != together.tolist()
    assert set(choose(7, "city", ids, 5)) == set(range(5))


def test_history_holds_about_as_many_orders_as_the_scale_says() -> None:
    placed = sum(company.happenings(SHOP, day)[0] for day in SHOP.days(END))
    assert abs(placed - SHOP.scale) < 0.03 * SHOP.scale
    assert len(SHOP.days(END)) == 90


def test_ids_run_without_gap_from_day_to_day() -> None:
    ids = np.concatenate([place_orders(SHOP, day).order_id for day in SHOP.days(END)])
    assert ids.tolist() == list(range(1, len(ids) + 1))
    signups = np.concatenate([people.signup_moments(SHOP, day)[0] for day in SHOP.days(END)])
    assert signups.tolist() == list(range(SHOP.founding_customers + 1, SHOP.founding_customers + len(signups) + 1))


@pytest.mark.parametrize(
    ("text", "orders"), [("5000", 5_000), ("100k", 100_000), ("1M", 1_000_000), (" 10m ", 10_000_000)]
)
def test_scales(text: str, orders: int) -> None:
    assert parse_scale(text) == orders


@pytest.mark.parametrize("text", ["", "k", "1.5M", "-5", "10", "1G", "999M"])
def test_a_scale_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="100k or 1M"):
        parse_scale(text)
