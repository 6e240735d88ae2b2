"""Customers, as a shop that never cleaned its data would hold them.

Dirty on purpose, per customer (rates are chances, independent of each other):

| what | rate |
|---|---|
| name in upper case / in lower case / with blanks around it | 2 % / 2 % / 2 % |
| no e-mail / e-mail in upper case / another customer's e-mail | 3 % / 2 % / 0.5 % |
| no phone / `n/a` / with an extension / bare digits / dots or brackets | 2 % / 0.5 % / 3 % / 25 % / 40 % |

Each day 0.2 % of the customers move house: a new address, city, state and ZIP code, and a new `updated_at`.
"""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedded.demo import words
from embedded.demo.columns import timestamp_column
from embedded.demo.company import ONE_DAY, Company, happenings
from embedded.demo.draws import DAY_US, HOUR_US, IntArray, choose, day_generator, midnight_us, uniform
from embedded.demo.versions import Versions, changes

MOVE_SHARE = 0.002
FOUNDING_YEARS_DAYS = 730  # founding customers registered in the two years before the first day


def moves(company: Company, day: datetime.date) -> tuple[IntArray, IntArray]:
    """Customers who change their address on `day`, and when. Only those who existed when the day began."""
    return changes(company.seed, "address", day, company.customers_before(day), MOVE_SHARE)


def address_versions(company: Company, through: datetime.date) -> Versions:
    """The address versions at the end of `through`, for all customers of that moment."""
    versions = Versions.none_yet(company.customers_before(through + ONE_DAY))
    for day in company.days(through):
        versions.apply(*moves(company, day))
    return versions


def signup_moments(company: Company, day: datetime.date) -> tuple[IntArray, IntArray]:
    """Ids of the customers who sign up on `day`, and when."""
    count = happenings(company, day)[1]
    first = company.customers_before(day) + 1
    moments = np.sort(day_generator(company.seed, "signup", day).integers(0, DAY_US, size=count))
    return np.arange(first, first + count), midnight_us(day) + moments


def founders(company: Company, ids: IntArray) -> tuple[IntArray, IntArray]:
    """When the founding customers `ids` registered, and when they were imported into this database.

    The import ran in the first six hours of the first day, so their `updated_at` lies inside the history.
    """
    start = midnight_us(company.first_day)
    registered = start - 1 - choose(company.seed, "registered", ids, FOUNDING_YEARS_DAYS * DAY_US)
    return registered, start + choose(company.seed, "imported", ids, 6 * HOUR_US)


def customer_rows(company: Company, ids: IntArray, created: IntArray, entered: IntArray, moved: Versions) -> pa.Table:
    """Rows of `customers` for the given ids.

    Args:
        company: whose customers.
        ids: customer ids.
        created: when each registered (microseconds from 1970).
        entered: when each row entered the database: `updated_at` of those who never moved.
        moved: address versions at the moment for which the rows are made.
    """
    seed = company.seed
    version = moved.number[ids - 1]
    changed = moved.changed_us[ids - 1]
    place = choose(seed, "city", ids, len(words.CITIES), version)
    zip_code = np.array([int(city[2]) for city in words.CITIES])[place] * 100 + choose(seed, "zip", ids, 100, version)
    street = words.join(
        words.number(1 + choose(seed, "house", ids, 9_900, version)),
        words.pick(words.STREETS, choose(seed, "street", ids, len(words.STREETS), version)),
        words.pick(words.STREET_KINDS, choose(seed, "street kind", ids, len(words.STREET_KINDS), version)),
        between=" ",
    )
    return pa.table(
        {
            "customer_id": ids,
            "name": _names(seed, ids),
            "email": _emails(seed, ids),
            "phone": _phones(seed, ids),
            "address": street,
            "city": words.pick([city[0] for city in words.CITIES], place),
            "state": words.pick([city[1] for city in words.CITIES], place),
            "zip_code": words.number(zip_code, 5),
            "created_at": timestamp_column(created),
            "updated_at": timestamp_column(np.where(changed > 0, changed, entered)),
        }
    )


def _name_parts(seed: int, ids: IntArray) -> tuple[pa.StringArray, pa.StringArray]:
    first = words.pick(words.FIRST_NAMES, choose(seed, "first name", ids, len(words.FIRST_NAMES)))
    last = words.pick(words.LAST_NAMES, choose(seed, "last name", ids, len(words.LAST_NAMES)))
    return first, last


def _names(seed: int, ids: IntArray) -> pa.StringArray:
    name = words.join(*_name_parts(seed, ids), between=" ")
    dirt = uniform(seed, "name dirt", ids)
    return pc.case_when(
        pc.make_struct(dirt < 0.02, dirt < 0.04, dirt < 0.06),
        pc.utf8_upper(name),
        pc.utf8_lower(name),
        words.join("  ", name, " "),
        name,
    )


def _emails(seed: int, ids: IntArray) -> pa.StringArray:
    """first.last<id>@domain in plain letters; a shared one is that of the customer with half the id."""
    shared = uniform(seed, "email shared", ids) < 0.005
    owner = np.where(shared, np.maximum(1, ids // 2), ids)
    first, last = _name_parts(seed, owner)
    local = words.join(first, ".", last, words.number(owner))
    local = pc.replace_substring_regex(pc.utf8_normalize(pc.utf8_lower(local), "NFKD"), "[^a-z0-9.]", "")
    domain = words.pick(words.MAIL_DOMAINS, choose(seed, "domain", owner, len(words.MAIL_DOMAINS)))
    email = words.join(local, "@", domain)
    dirt = uniform(seed, "email dirt", ids)
    return pc.case_when(
        pc.make_struct(dirt < 0.03, dirt < 0.05), pa.nulls(len(ids), pa.string()), pc.utf8_upper(email), email
    )


def _phones(seed: int, ids: IntArray) -> pa.StringArray:
    area = words.pick([city[3] for city in words.CITIES], choose(seed, "city", ids, len(words.CITIES)))
    line = words.number(choose(seed, "line", ids, 10_000), 4)
    style = uniform(seed, "phone style", ids)
    return pc.case_when(
        pc.make_struct(style < 0.02, style < 0.025, style < 0.055, style < 0.305, style < 0.505, style < 0.705),
        pa.nulls(len(ids), pa.string()),
        pa.array(["n/a"] * len(ids), pa.string()),
        words.join("+1-", area, "-555-", line, " ext 12"),
        words.join(area, "555", line),
        words.join("(", area, ") 555-", line),
        words.join(area, ".555.", line),
        words.join("+1-", area, "-555-", line),
    )
