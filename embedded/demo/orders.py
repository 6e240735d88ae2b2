"""Orders and their items: what is ordered on a day, and the life of each order afterwards.

The whole life of an order is drawn on the day it is placed, so its state at any later moment is known without
replaying what came between.

    pending -> shipped -> completed (83 %)          pending -> cancelled (8 %)
    pending -> shipped -> completed -> returned (6 %)          stays pending (3 %)

Late rows: 1 % of the orders reach the database one to three days after `order_date` (a till that was
offline). Their `updated_at` is the moment they arrive, because a reader that goes by `updated_at` would never
see a row that comes in below its saved cursor. All rows that a day brings have `updated_at` within that day,
so a day that is read after it is complete is read whole.

Dirty on purpose, per order: status with another case or blanks around it (` Completed`, `SHIPPED`, ...) 2 %,
`customer_id` null 0.1 %, `amount` 0 although its items are not free 0.05 %, order missing while its items are
there (orphans) 0.1 %. Every other order's `amount` is the sum of quantity times unit price of its items.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embedded.demo import words
from embedded.demo.columns import decimal_column, nullable, timestamp_column
from embedded.demo.company import Company, happenings
from embedded.demo.draws import DAY_US, HOUR_US, BoolArray, FloatArray, IntArray, day_generator, midnight_us

NEVER = np.iinfo(np.int64).max
LATE_SHARE = 0.01
LONGEST_DELAY_DAYS = 3
# Arrival up to 3 days late, shipping 2, delivery 4, return 10: an order of day D never changes after D + 20.
LIFE_DAYS = 20

STATUSES = ("pending", "shipped", "completed", "returned", "cancelled")
PENDING, SHIPPED, COMPLETED, RETURNED, CANCELLED = range(5)
# How a status may be written; position 0 is the clean form.
SPELLINGS = (str, str.upper, str.title, " {}".format, "{} ".format, lambda status: " " + status.title())
WRITTEN_STATUSES = [spelling(status) for spelling in SPELLINGS for status in STATUSES]
ITEM_STRIDE = 10  # order_item_id = order_id * 10 + line; an order has at most 5 lines
LINES_CHANCE = (0.25, 0.30, 0.22, 0.13, 0.10)  # 1..5 lines, 2.53 on average
QUANTITY_CHANCE = (0.62, 0.2, 0.1, 0.05, 0.03)  # 1..5 pieces


@dataclass
class Orders:
    """The orders placed on one day; arrays run along the orders. Moments are microseconds from 1970.

    `reached[status]` is the moment at which the order gets that status, NEVER if it does not.
    `lost` marks orders whose row never reaches the database though their items do.
    """

    day: datetime.date
    order_id: IntArray
    customer_id: IntArray
    no_customer: BoolArray
    zero_amount: BoolArray
    lost: BoolArray
    spelling: IntArray
    lines: IntArray
    reached: IntArray

    @property
    def arrived(self) -> IntArray:
        """When the row first reaches the database."""
        return self.reached[PENDING]

    def status_at(self, moment: int) -> tuple[IntArray, IntArray]:
        """Status number and `updated_at` of each order just before `moment`; valid where it has arrived."""
        times = np.where(self.reached < moment, self.reached, -1)
        status = times.argmax(axis=0)
        return status, times[status, np.arange(len(status))]


def place_orders(company: Company, day: datetime.date) -> Orders:
    """The orders placed on `day` with their whole lives."""
    count = happenings(company, day)[0]
    generator = day_generator(company.seed, "orders", day)
    placed = np.sort((generator.beta(3, 2, count) * DAY_US).astype(np.int64))
    late_days = generator.integers(1, LONGEST_DELAY_DAYS + 1, count)
    is_late = generator.random(count) < LATE_SHARE
    late_arrival = late_days * DAY_US + generator.integers(0, DAY_US, count)
    arrived = midnight_us(day) + np.where(is_late, late_arrival, placed)
    # Long-standing customers (low ids) buy more often.
    customer = 1 + (company.customers_before(day) * generator.random(count) ** 1.5).astype(np.int64)
    return Orders(
        day=day,
        order_id=company.orders_before(day) + np.arange(1, count + 1),
        customer_id=customer,
        no_customer=generator.random(count) < 0.001,
        zero_amount=generator.random(count) < 0.0005,
        lost=generator.random(count) < 0.001,
        spelling=np.where(generator.random(count) < 0.02, generator.integers(1, len(SPELLINGS), count), 0),
        lines=generator.choice(np.arange(1, 6), count, p=LINES_CHANCE),
        reached=_lives(generator, arrived),
    )


def _lives(generator: np.random.Generator, arrived: IntArray) -> IntArray:
    count = len(arrived)
    fate: FloatArray = generator.random(count)
    cancelled, returned, stuck = fate < 0.08, (fate >= 0.08) & (fate < 0.14), (fate >= 0.14) & (fate < 0.17)
    shipped_at = arrived + generator.integers(4 * HOUR_US, 48 * HOUR_US, count)
    completed_at = shipped_at + generator.integers(12 * HOUR_US, 96 * HOUR_US, count)
    reached = np.full((len(STATUSES), count), NEVER, np.int64)
    reached[PENDING] = arrived
    reached[SHIPPED] = np.where(cancelled | stuck, NEVER, shipped_at)
    reached[COMPLETED] = np.where(cancelled | stuck, NEVER, completed_at)
    back = completed_at + generator.integers(24 * HOUR_US, 240 * HOUR_US, count)
    reached[RETURNED] = np.where(returned, back, NEVER)
    reached[CANCELLED] = np.where(cancelled, arrived + generator.integers(HOUR_US // 2, 30 * HOUR_US, count), NEVER)
    return reached


@dataclass
class Items:
    """The items of the orders of one day; arrays run along the items, `order` is the position in `Orders`."""

    order: IntArray
    line: IntArray
    product_id: IntArray
    quantity: IntArray
    price_cents: IntArray


def pick_items(company: Company, orders: Orders, prices: IntArray) -> Items:
    """The items of `orders` at `prices` (cents, by product_id - 1), those that hold when the day begins."""
    order = np.repeat(np.arange(len(orders.lines)), orders.lines)
    generator = day_generator(company.seed, "items", orders.day)
    product = (company.products * generator.random(len(order)) ** 1.7).astype(np.int64)
    first_line = np.cumsum(orders.lines) - orders.lines
    return Items(
        order=order,
        line=np.arange(len(order)) - first_line[order] + 1,
        product_id=product + 1,
        quantity=generator.choice(np.arange(1, 6), len(order), p=QUANTITY_CHANCE),
        price_cents=prices[product],
    )


def amounts(orders: Orders, items: Items) -> IntArray:
    """Amount of each order in cents: the sum of its items, or 0 where it is recorded wrongly."""
    total = np.zeros(len(orders.order_id), np.int64)
    np.add.at(total, items.order, items.quantity * items.price_cents)
    return np.where(orders.zero_amount, 0, total)


def order_rows(orders: Orders, cents: IntArray, moment: int, chosen: BoolArray) -> pa.Table:
    """Rows of `orders` as they stand just before `moment`, for the `chosen` orders that are not lost."""
    status, updated = orders.status_at(moment)
    kept = chosen & ~orders.lost
    written = (orders.spelling * len(STATUSES) + status)[kept]
    return pa.table(
        {
            "order_id": orders.order_id[kept],
            "customer_id": nullable(orders.customer_id[kept], orders.no_customer[kept]),
            "order_date": pa.array(np.full(kept.sum(), orders.day, "datetime64[D]")),
            "amount": decimal_column(cents[kept]),
            "status": words.pick(WRITTEN_STATUSES, written),
            "updated_at": timestamp_column(updated[kept]),
        }
    )


def item_rows(orders: Orders, items: Items, chosen: BoolArray) -> pa.Table:
    """Rows of `order_items` for the `chosen` orders; they arrive with their order and do not change."""
    kept = chosen[items.order]
    order = items.order[kept]
    return pa.table(
        {
            "order_item_id": orders.order_id[order] * ITEM_STRIDE + items.line[kept],
            "order_id": orders.order_id[order],
            "product_id": items.product_id[kept],
            "quantity": items.quantity[kept].astype(np.int32),
            "unit_price": decimal_column(items.price_cents[kept]),
            "updated_at": timestamp_column(orders.arrived[order]),
        }
    )
