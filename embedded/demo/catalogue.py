"""Products. Each day some change their price; a price holds for the orders of the following days."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa

from embedded.demo import words
from embedded.demo.columns import decimal_column, timestamp_column
from embedded.demo.company import ONE_DAY, Company
from embedded.demo.draws import HOUR_US, IntArray, choose, midnight_us, uniform
from embedded.demo.versions import Versions, changes

PRICE_CHANGE_SHARE = 0.003  # of all products, each day


def price_changes(company: Company, day: datetime.date) -> tuple[IntArray, IntArray]:
    """Products whose price changes on `day`, and when."""
    return changes(company.seed, "price", day, company.products, PRICE_CHANGE_SHARE)


def price_versions(company: Company, day: datetime.date) -> Versions:
    """The price versions that hold when `day` begins."""
    versions = Versions.none_yet(company.products)
    for earlier in company.days(day - ONE_DAY):
        versions.apply(*price_changes(company, earlier))
    return versions


def prices(company: Company, versions: Versions) -> IntArray:
    """Price of every product in cents, at position product_id - 1; from 0.50 to about 400.00."""
    ids = np.arange(1, company.products + 1)
    base = 50 + 40_000 * uniform(company.seed, "price", ids) ** 4
    factor = 0.85 + 0.3 * uniform(company.seed, "price change", ids, versions.number)
    return np.maximum(50, base * np.where(versions.number > 0, factor, 1.0)).astype(np.int64)


def product_rows(company: Company, versions: Versions, ids: IntArray) -> pa.Table:
    """Rows of `products` for the given ids, as they stand with these price versions.

    All products came into the shop on the first day, in its first six hours; a price change moves
    `updated_at`.
    """
    seed = company.seed
    category = choose(seed, "category", ids, len(words.CATEGORIES))
    name = words.join(
        words.pick(words.ADJECTIVES, choose(seed, "adjective", ids, len(words.ADJECTIVES))),
        words.pick(words.THINGS, choose(seed, "thing", ids, len(words.THINGS))),
        between=" ",
    )
    founded = midnight_us(company.first_day) + choose(seed, "product entered", ids, 6 * HOUR_US)
    changed = versions.changed_us[ids - 1]
    return pa.table(
        {
            "product_id": ids,
            "sku": words.join("SKU-", words.number(ids, 6)),
            "name": name,
            "category": words.pick(words.CATEGORIES, category),
            "unit_price": decimal_column(prices(company, versions)[ids - 1]),
            "updated_at": timestamp_column(np.where(changed > 0, changed, founded)),
        }
    )
