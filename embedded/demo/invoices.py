"""The inbox: one CSV of store invoices a trading day, in the format of the UCI "Online Retail" data set.

The format is that of the real files, trait for trait: `CustomerID` written as a float (`17850.0`) and empty
on about a third of the lines, cancellations (`InvoiceNo` beginning with `C`, negative quantities), damages
(negative quantity, price 0, a note as description), codes that are no product (`POST`, `D`, `M`, `DOT`, `BANK
CHARGES`), prices of 0, empty descriptions, several descriptions for one code, exact duplicate lines (1 %), no
trading on Saturdays.

Beyond the real files, so that every kind of bad line is there: up to two lines a file have too few or too
many fields, and about every fifth file has a line that is not UTF-8.
"""

from __future__ import annotations

import csv
import datetime
import io

import numpy as np

from embedded.demo import words
from embedded.demo.company import Company
from embedded.demo.draws import choose, day_generator, uniform

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
FILE_DAYS = 23  # days before the end that have files: 20 trading days or 19, without Saturdays
SATURDAY = 5
FIRST_INVOICE = 536_365
LINES_AN_INVOICE = 12
STOCK_CODES = 1_500
COUNTRIES = ("United Kingdom", "Germany", "France", "EIRE", "Spain", "Netherlands", "Portugal", "Switzerland")
COUNTRY_CHANCE = (0.91, 0.025, 0.02, 0.015, 0.01, 0.01, 0.005, 0.005)
# code, description, smallest and largest price, how often per line
NO_PRODUCTS = (
    ("POST", "POSTAGE", 15, 40, 0.006),
    ("DOT", "DOTCOM POSTAGE", 100, 600, 0.003),
    ("M", "Manual", 1, 300, 0.003),
    ("D", "Discount", 5, 60, 0.001),
    ("BANK CHARGES", "Bank Charges", 15, 50, 0.001),
)
DAMAGES = ("damaged", "lost", "wet boxes", "?", "thrown away", "check", "")

Line = list[str]


def is_trading_day(day: datetime.date) -> bool:
    """The store is closed on Saturdays."""
    return day.weekday() != SATURDAY


def file_days(company: Company) -> list[datetime.date]:
    """The days up to the end date that have a file when the company is loaded."""
    return [day for day in company.days(company.end_date)[-FILE_DAYS:] if is_trading_day(day)]


def file_name(day: datetime.date) -> str:
    """Object key of the file of `day` in the inbox."""
    return f"invoices/{day.isoformat()}.csv"


def invoice_file(company: Company, day: datetime.date) -> bytes:
    """The file of `day` as it lies in the inbox; about 300 lines at a scale of 100k orders."""
    generator = day_generator(company.seed, "invoices", day)
    count = max(2, round(min(30_000, max(40, company.scale * 0.003)) / LINES_AN_INVOICE))
    first_number = FIRST_INVOICE + (day - company.first_day).days * count
    minutes = np.sort(generator.integers(7 * 60, 19 * 60, count))
    lines: list[Line] = []
    for number, minute in enumerate(minutes, start=first_number):
        when = datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(minutes=int(minute))
        lines += _invoice(company, generator, number, when.isoformat(" "))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER.split(","))
    writer.writerows(lines)
    return _spoil(generator, text.getvalue().encode().splitlines(keepends=True))


def _invoice(company: Company, generator: np.random.Generator, number: int, when: str) -> list[Line]:
    """The lines of one invoice; rarely a cancellation or a note about damaged goods."""
    country = str(generator.choice(COUNTRIES, p=COUNTRY_CHANCE))
    customer = "" if generator.random() < 0.37 else f"{generator.integers(12_346, 18_288)}.0"
    kind = generator.random()
    if kind < 0.06:
        code, _, price = _goods(company, generator)
        note = DAMAGES[generator.integers(len(DAMAGES))]
        return [[str(number), code, note, str(-generator.integers(1, 200)), when, "0.0", "", "United Kingdom"]]
    cancelled = kind < 0.18
    size = generator.integers(1, 4) if cancelled else 1 + generator.poisson(LINES_AN_INVOICE * 1.2)
    lines: list[Line] = []
    for _ in range(size):
        code, description, price = _goods(company, generator)
        quantity = int(generator.choice([1, 2, 3, 4, 6, 8, 10, 12, 24, 48]))
        if cancelled or code == "D":
            quantity = -quantity
        name = f"C{number}" if cancelled else str(number)
        lines.append([name, code, description, str(quantity), when, price, customer, country])
        if generator.random() < 0.01:
            lines.append(lines[-1])
    return lines


def _goods(company: Company, generator: np.random.Generator) -> tuple[str, str, str]:
    """Stock code, description and price of one line."""
    draw = generator.random()
    for code, description, low, high, chance in NO_PRODUCTS:
        if draw < chance:
            return code, description, _price(generator.uniform(low, high))
        draw -= chance
    ids = np.asarray([int(STOCK_CODES * generator.random() ** 1.6)])
    suffix = "" if uniform(company.seed, "stock suffix", ids)[0] < 0.85 else "ABCGL"[ids[0] % 5]
    adjective = words.ADJECTIVES[choose(company.seed, "stock adjective", ids, len(words.ADJECTIVES))[0]]
    thing = words.THINGS[choose(company.seed, "stock thing", ids, len(words.THINGS))[0]]
    description = f"{adjective} {thing}".upper()
    variant = generator.random()
    if variant < 0.03:  # the catalogue was retyped now and then
        description = f"{description}, BOXED" if variant < 0.01 else f"{description} "
    price = 0.4 + 12 * uniform(company.seed, "stock price", ids)[0] ** 2
    free = generator.random() < 0.004
    return f"{20_000 + ids[0] * 43}{suffix}", "" if free else description, "0.0" if free else _price(price)


def _price(value: float) -> str:
    """As Python writes a float, which is how the real files have it: `2.5`, `18.0`."""
    return str(round(float(value), 2))


def _spoil(generator: np.random.Generator, lines: list[bytes]) -> bytes:
    """Damages a few lines after the header in ways in which real files are damaged."""
    positions = generator.choice(np.arange(1, len(lines)), 3, replace=False)
    if generator.random() < 0.6:
        lines[positions[0]] = lines[positions[0]].rsplit(b",", 2)[0] + b"\n"
    if generator.random() < 0.4:
        lines[positions[1]] = lines[positions[1]].rstrip(b"\n") + b",checked\n"
    if generator.random() < 0.2:
        lines[positions[2]] = lines[positions[2]].rstrip(b"\n") + " Åland\n".encode("latin-1")
    return b"".join(lines)
