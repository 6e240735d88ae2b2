"""Product reviews: about one for 33 orders; 3 % are edited by their author one to five days later."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embedded.demo import words
from embedded.demo.columns import timestamp_column
from embedded.demo.company import Company, happenings
from embedded.demo.draws import DAY_US, IntArray, day_generator, midnight_us

REVIEWS_AN_ORDER = 0.03
EDITED_SHARE = 0.03
RATING_CHANCE = (0.06, 0.07, 0.14, 0.30, 0.43)  # 1..5 stars


def reviews_count(company: Company, day: datetime.date) -> int:
    """Number of reviews written on `day`."""
    return max(1, round(happenings(company, day)[0] * REVIEWS_AN_ORDER))


@dataclass
class _Draft:
    opening: IntArray
    body: IntArray
    rating: IntArray


def reviews_of(company: Company, day: datetime.date, first_id: int, moment: int) -> pa.Table:
    """The reviews written on `day`, as they stand just before `moment` (microseconds from 1970).

    Columns: review_id, product_id, customer_id (int64), rating (1 to 5), body (text, may be empty),
    created_at, updated_at (timestamps in UTC). Ids run from `first_id` in order of time.
    """
    count = reviews_count(company, day)
    generator = day_generator(company.seed, "reviews", day)
    created = midnight_us(day) + np.sort(generator.integers(0, DAY_US, count))
    edited_at = created + generator.integers(DAY_US, 5 * DAY_US, count)
    edited = (generator.random(count) < EDITED_SHARE) & (edited_at < moment)
    product = 1 + (company.products * generator.random(count) ** 1.7).astype(np.int64)
    customer = 1 + (company.customers_before(day) * generator.random(count) ** 1.5).astype(np.int64)
    first, second = _draft(generator, count), _draft(generator, count)
    opening = np.where(edited, second.opening, first.opening)
    body = np.where(edited, second.body, first.body)
    text = words.join(words.pick(words.REVIEW_OPENINGS, opening), words.pick(words.REVIEW_BODIES, body), between=" ")
    return pa.table(
        {
            "review_id": np.arange(first_id, first_id + count),
            "product_id": product,
            "customer_id": customer,
            "rating": np.where(edited, second.rating, first.rating),
            "body": text,
            "created_at": timestamp_column(created),
            "updated_at": timestamp_column(np.where(edited, edited_at, created)),
        }
    )


def _draft(generator: np.random.Generator, count: int) -> _Draft:
    return _Draft(
        opening=generator.integers(0, len(words.REVIEW_OPENINGS), count),
        body=generator.integers(0, len(words.REVIEW_BODIES), count),
        rating=generator.choice(np.arange(1, 6), count, p=RATING_CHANCE),
    )
