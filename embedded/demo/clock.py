"""Time at the demo company: when a real day is over, the shop gets one more day."""

from __future__ import annotations

import asyncio
import datetime
import logging

import psycopg

from embedded.demo import journal, steps
from embedded.demo.company import ONE_DAY
from embedded.demo.inbox import Inbox

log = logging.getLogger(__name__)

# The day that has ended is added half an hour after midnight, half an hour before the daily batch reads it.
ADDED_AT = datetime.timedelta(minutes=30)
CHECK_SECONDS = 60


def due_day(state: journal.ShopState, now: datetime.datetime) -> datetime.date:
    """The day up to which the shop should be filled at `now` (in UTC): one day more for each day since the
    load.

    Counted from the load and not from the end date, so that an installation with an end date in the past
    keeps it.
    """
    passed = (now - ADDED_AT).date() - state.loaded_at.astimezone(datetime.UTC).date()
    return state.company.end_date + max(passed, datetime.timedelta(0))


async def keep_time(database_url: str, inbox: Inbox, up_to_date: asyncio.Event) -> None:
    """Adds days as they become due, until cancelled; sets `up_to_date` once none was missing. A failure is logged
    and tried again a minute later.
    """
    while True:
        try:
            await asyncio.to_thread(catch_up, database_url, inbox, datetime.datetime.now(datetime.UTC))
            up_to_date.set()
        except Exception:
            log.exception("The shop could not be brought up to date; next try in %s s.", CHECK_SECONDS)
        await asyncio.sleep(CHECK_SECONDS)


def catch_up(database_url: str, inbox: Inbox, now: datetime.datetime) -> int:
    """Adds the days that are due at `now`; returns how many. An empty shop is left alone."""
    with psycopg.connect(database_url) as connection:
        state = journal.read(connection)
    if state is None or due_day(state, now) < state.through + ONE_DAY:
        return 0
    return steps.advance(database_url, inbox, due_day(state, now), log.info)
