"""The data behind the REST service: rates and reviews up to the shop's last complete day, as Arrow tables."""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Callable

import psycopg
import pyarrow as pa

from embedded.demo.company import Company
from embedded.demo.journal import ShopState
from embedded.demo.rates import rates_of
from embedded.demo.reviews import reviews_count, reviews_of
from embedded.demo.shop import end_of

log = logging.getLogger(__name__)

STREAMS = ("exchange-rates", "product-reviews")


def store_tables(company: Company, through: datetime.date) -> dict[str, pa.Table]:
    """All rates and reviews as they stand at the end of `through`, each stream in the order of its key.

    Order of key, not of change: an edit must not move rows from one page to another while somebody pages
    through.
    """
    moment = end_of(through)
    rates, reviews, next_id = [], [], 1
    for day in company.days(through):
        rates.append(rates_of(company, day, moment))
        reviews.append(reviews_of(company, day, next_id, moment))
        next_id += reviews_count(company, day)
    tables = (pa.concat_tables(rates), pa.concat_tables(reviews))
    return {name: table.combine_chunks() for name, table in zip(STREAMS, tables, strict=True)}


class Feed:
    """The tables for the shop's current day, made anew when the journal says that a day has been added."""

    def __init__(self, read_state: Callable[[], ShopState | None]) -> None:
        self._read_state = read_state
        self._lock = threading.Lock()
        self._made_for: tuple[Company, datetime.date] | None = None
        self._tables: dict[str, pa.Table] | None = None

    def table(self, stream: str) -> pa.Table | None:
        """One stream as it stands now; None if the shop was never loaded.

        While the database does not answer, what was last known is served.
        """
        with self._lock:
            try:
                state = self._read_state()
            except psycopg.Error as error:
                log.warning("The shop's journal cannot be read, serving what was last known: %s", error)
                return self._tables and self._tables[stream]
            if state is not None and self._made_for != (state.company, state.through):
                self._tables = store_tables(state.company, state.through)
                self._made_for = (state.company, state.through)
            return self._tables and self._tables[stream]
