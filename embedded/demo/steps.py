"""The four things that can be done to the demo company; each is safe to kill and to run again."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import psycopg

from embedded.demo import invoices, journal, shop
from embedded.demo.company import ONE_DAY, Company
from embedded.demo.inbox import PREFIX, Inbox, doubts, own_files

Report = Callable[[str], None]


class DemoError(Exception):
    """A step cannot be done; the message says why and what to do."""


def load(database_url: str, inbox: Inbox, company: Company, report: Report) -> bool:
    """Fills the shop database and the inbox with the history of `company`; False if that was done before.

    Raises:
        DemoError: the shop already holds another company's data.
    """
    with psycopg.connect(database_url) as connection:
        journal.lock_for_writing(connection)
        state = journal.read(connection)
        if state is not None:
            if state.company != company:
                raise DemoError(
                    f"The shop holds {_named(state.company)}, and was asked to hold {_named(company)}. Scale, seed "
                    "and end date are fixed when an installation is made: `make clean` begins a new one."
                )
            report(f"The shop holds its history up to {state.through} already: nothing to do.")
            return False
        report(f"Filling the shop with {_named(company)}.")
        counts = shop.fill(connection, company, company.end_date, report)
        inbox.make()
        if not journal.inbox_is_own(connection):
            days = invoices.file_days(company)
            for day in days:
                inbox.put(invoices.file_name(day), invoices.invoice_file(company, day))
            counts["files"] = len(days)
            report(f"{len(days)} invoice files in the inbox")
        # The files go first: a kill before the commit leaves files that the next load finds to be the same.
        journal.record(
            connection,
            "load",
            company.end_date,
            {"seed": company.seed, "scale": company.scale, "rows": counts},
        )
    return True


def advance(database_url: str, inbox: Inbox, through: datetime.date, report: Report) -> int:
    """Adds the days after the shop's last day up to `through`, each in a transaction; returns how many.

    Raises:
        DemoError: the shop was never loaded.
    """
    added = 0
    with psycopg.connect(database_url) as connection:
        while True:
            with connection.transaction():
                journal.lock_for_writing(connection)
                day = _loaded(connection).through + ONE_DAY
                if day > through:
                    return added
                counts = _add_day(connection, inbox, day)
            added += 1
            report(f"{day}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


def last_day(database_url: str) -> datetime.date:
    """The last complete day of the shop.

    Raises:
        DemoError: the shop was never loaded.
    """
    with psycopg.connect(database_url) as connection:
        return _loaded(connection).through


def load_files(database_url: str, inbox: Inbox, folder: Path, report: Report) -> tuple[int, int, int]:
    """Puts the CSV files of `folder` into the inbox in place of the generated ones.

    From then on the demo company adds no invoice files of its own. Files of an earlier `load_files` stay. A file that
    the reader of the inbox will set aside is put there all the same: it then is in the run's report, with its reason.

    Returns:
        Files put, files that were there with the same content, generated files removed.
    """
    files = own_files(folder)
    for path in files:
        reason = doubts(path)
        if reason:
            report(
                f"warning: {path.name}: {reason}. The next run sets the file aside with its reason and takes the rest."
            )
    inbox.make()
    put = 0
    with psycopg.connect(database_url) as connection:
        journal.lock_for_writing(connection)
        for number, path in enumerate(files, start=1):
            put += inbox.put(PREFIX + path.name, path.read_bytes())
            if number % 10 == 0:
                report(f"{number} of {len(files)} files")
        removed = 0
        state = journal.read(connection)
        if state is not None and not journal.inbox_is_own(connection):
            generated = {invoices.file_name(day) for day in state.company.days(state.through)}
            removed = inbox.remove(generated - {PREFIX + path.name for path in files})
        today = datetime.datetime.now(datetime.UTC).date()
        journal.record(connection, "load-files", today, {"files": len(files), "generated files removed": removed})
    return put, len(files) - put, removed


def _add_day(connection: psycopg.Connection, inbox: Inbox, day: datetime.date) -> dict[str, int]:
    company = _loaded(connection).company
    counts = shop.add_day(connection, company, day)
    if invoices.is_trading_day(day) and not journal.inbox_is_own(connection):
        inbox.make()
        inbox.put(invoices.file_name(day), invoices.invoice_file(company, day))
        counts["files"] = 1
    journal.record(connection, "advance", day, {"rows": counts})
    return counts


def _loaded(connection: psycopg.Connection) -> journal.ShopState:
    state = journal.read(connection)
    if state is None:
        raise DemoError("The shop is empty: run `python -m embedded.demo load` first.")
    return state


def _named(company: Company) -> str:
    return f"{company.scale:,} orders up to {company.end_date} (seed {company.seed})"
