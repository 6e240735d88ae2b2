"""Exchange rates of the pound on business days, set at 16:00 UTC; 2 % are corrected the next day at 07:15."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa

from embedded.demo import words
from embedded.demo.columns import timestamp_column
from embedded.demo.company import Company
from embedded.demo.draws import DAY_US, HOUR_US, day_generator, midnight_us

BASE_CURRENCY = "GBP"
# Level around which each rate moves.
CURRENCIES = {
    "AUD": 2.01,
    "CAD": 1.83,
    "CHF": 1.08,
    "EUR": 1.15,
    "JPY": 200.5,
    "NOK": 13.4,
    "SEK": 12.7,
    "USD": 1.33,
}
FIXING_US = 16 * HOUR_US
CORRECTION_US = DAY_US + 7 * HOUR_US + HOUR_US // 4
CORRECTED_SHARE = 0.02


def rates_of(company: Company, day: datetime.date, moment: int) -> pa.Table:
    """The rates of `day` as they stand just before `moment` (microseconds from 1970); no row at weekends.

    Columns: date (text, YYYY-MM-DD), base_currency, currency, rate (float64), updated_at (timestamp in UTC).
    """
    generator = day_generator(company.seed, "rates", day)
    count = len(CURRENCIES) if day.weekday() < 5 else 0
    number = np.arange(count)
    noise = generator.normal(0, 0.003, count)
    mistake = generator.random(count) < CORRECTED_SHARE
    swing = 0.02 * np.sin(day.toordinal() / 23 + number) + 0.008 * np.sin(day.toordinal() / 7 + 2 * number)
    right = np.array(list(CURRENCIES.values()))[:count] * (1 + swing + noise)
    set_at = midnight_us(day) + FIXING_US + number * 1_000_000
    corrected_at = midnight_us(day) + CORRECTION_US
    corrected = mistake & (corrected_at < moment)
    return pa.table(
        {
            "date": pa.array([day.isoformat()] * count, pa.string()),
            "base_currency": pa.array([BASE_CURRENCY] * count, pa.string()),
            "currency": words.pick(list(CURRENCIES), number),
            "rate": np.round(np.where(mistake & ~corrected, right * 1.05, right), 6),
            "updated_at": timestamp_column(np.where(corrected, corrected_at, set_at)),
        }
    )
