"""What one demo company is, and how much happens there on a day."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import lru_cache

from embedded.demo.draws import day_generator

HISTORY_DAYS = 90
# Share of all customers that were there before the first day of the history; the rest sign up day by day.
FOUNDING_SHARE = 0.7
# Monday..Sunday; the mean is 1, so that 90 days hold about `scale` orders.
WEEKDAY_WEIGHT = (1.02, 0.95, 0.96, 1.0, 1.12, 1.06, 0.89)

ONE_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Company:
    """The three numbers that all data is made from.

    Attributes:
        seed: any non-negative integer.
        scale: orders in the history, about.
        end_date: last day of the history, fixed at installation; days added later do not change it.
    """

    seed: int
    scale: int
    end_date: datetime.date

    @property
    def first_day(self) -> datetime.date:
        """First day of the history."""
        return self.end_date - datetime.timedelta(days=HISTORY_DAYS - 1)

    @property
    def founding_customers(self) -> int:
        """Customers that existed before the first day: ids 1..n."""
        return max(1, round(self.scale / 5 * FOUNDING_SHARE))

    @property
    def products(self) -> int:
        """Products on sale: ids 1..n. All exist from the first day; their prices change."""
        return min(20_000, max(50, self.scale // 100))

    def days(self, through: datetime.date) -> list[datetime.date]:
        """All days from the first to `through`, both included."""
        return [self.first_day + ONE_DAY * n for n in range((through - self.first_day).days + 1)]

    def orders_before(self, day: datetime.date) -> int:
        """Orders placed before `day`: the orders of `day` have the ids after this number."""
        return _totals_before(self, day)[0]

    def customers_before(self, day: datetime.date) -> int:
        """Customers that exist when `day` begins: ids 1..n."""
        return _totals_before(self, day)[1]


def parse_scale(text: str) -> int:
    """Reads `250000`, `100k` or `1M` as a number of orders.

    Raises:
        ValueError: the text is none of these, or outside 100..100M.
    """
    match = re.fullmatch(r"(\d+)([kKmM]?)", text.strip())
    number = int(match[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[match[2].lower()] if match else 0
    if not 100 <= number <= 100_000_000:
        raise ValueError(f"{text!r} is no scale: write a number of orders such as 5000, 100k or 1M (100 to 100M)")
    return number


@lru_cache(maxsize=4096)
def happenings(company: Company, day: datetime.date) -> tuple[int, int]:
    """How many orders are placed and how many customers sign up on `day`."""
    generator = day_generator(company.seed, "traffic", day)
    weight = WEEKDAY_WEIGHT[day.weekday()] * generator.uniform(0.93, 1.07)
    orders = max(1, round(company.scale / HISTORY_DAYS * weight))
    signups = round(company.scale / 5 * (1 - FOUNDING_SHARE) / HISTORY_DAYS * weight)
    return orders, signups


@lru_cache(maxsize=4096)
def _totals_before(company: Company, day: datetime.date) -> tuple[int, int]:
    happened = [happenings(company, earlier) for earlier in company.days(day - ONE_DAY)]
    orders = sum(orders for orders, _ in happened)
    return orders, company.founding_customers + sum(signups for _, signups in happened)
