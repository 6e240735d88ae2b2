"""The shop's tables in PostgreSQL: made and filled in one transaction, then moved on day by day.

A load or a day either is there whole or not at all; the journal is written in the same transaction.
Rows are made and copied day by day, so memory does not grow with the number of orders.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from embedded.demo import catalogue, people
from embedded.demo.company import ONE_DAY, Company
from embedded.demo.draws import DAY_US, IntArray, midnight_us
from embedded.demo.orders import LIFE_DAYS, amounts, item_rows, order_rows, pick_items, place_orders
from embedded.demo.versions import Versions

Report = Callable[[str], None]

TABLES = ("customers", "products", "orders", "order_items")
KEYS = {
    "customers": "customer_id",
    "products": "product_id",
    "orders": "order_id",
    "order_items": "order_item_id",
}
CUSTOMERS_A_CHUNK = 100_000

# No foreign keys and a nullable orders.customer_id: the rows are dirty on purpose.
CREATE_TABLES = """
DROP TABLE IF EXISTS customers, products, orders, order_items CASCADE;
CREATE TABLE customers (
    customer_id bigint NOT NULL, name text, email text, phone text, address text, city text, state text,
    zip_code text, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE products (
    product_id bigint NOT NULL, sku text NOT NULL, name text, category text,
    unit_price numeric(12, 2) NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE orders (
    order_id bigint NOT NULL, customer_id bigint, order_date date NOT NULL, amount numeric(12, 2) NOT NULL,
    status text NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE order_items (
    order_item_id bigint NOT NULL, order_id bigint NOT NULL, product_id bigint NOT NULL, quantity integer NOT
    NULL, unit_price numeric(12, 2) NOT NULL, updated_at timestamptz NOT NULL);
"""


def end_of(day: datetime.date) -> int:
    """The first microsecond after `day`."""
    return midnight_us(day) + DAY_US


def fill(connection: psycopg.Connection, company: Company, through: datetime.date, report: Report) -> dict[str, int]:
    """Makes the tables anew with the history of `company`, as it stands at the end of `through`.

    Runs in the caller's transaction. Returns the number of rows per table.
    """
    connection.execute(CREATE_TABLES)
    counts = dict.fromkeys(TABLES, 0)

    def copy(table: str, rows: pa.Table) -> None:
        _copy(connection, table, rows, frozen=True)
        counts[table] += rows.num_rows

    moved = people.address_versions(company, through)
    for ids, created, entered in _all_customers(company, through):
        copy("customers", people.customer_rows(company, ids, created, entered, moved))
    report(f"{counts['customers']:,} customers")
    last_prices = catalogue.price_versions(company, through + ONE_DAY)
    copy("products", catalogue.product_rows(company, last_prices, np.arange(1, company.products + 1)))
    report(f"{counts['products']:,} products")

    price_versions = Versions.none_yet(company.products)
    for number, day in enumerate(company.days(through), start=1):
        orders = place_orders(company, day)
        items = pick_items(company, orders, catalogue.prices(company, price_versions))
        arrived = orders.arrived < end_of(through)
        copy("orders", order_rows(orders, amounts(orders, items), end_of(through), arrived))
        copy("order_items", item_rows(orders, items, arrived))
        price_versions.apply(*catalogue.price_changes(company, day))
        if number % 15 == 0:
            report(f"{counts['orders']:,} orders with {counts['order_items']:,} items, up to {day}")
    for table, key in KEYS.items():
        name, column = sql.Identifier(table), sql.Identifier(key)
        connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(name, column))
        connection.execute(sql.SQL("CREATE INDEX ON {} (updated_at)").format(name))
        connection.execute(sql.SQL("ANALYZE {}").format(name))
    return counts


def add_day(connection: psycopg.Connection, company: Company, day: datetime.date) -> dict[str, int]:
    """Brings the tables from the end of the day before to the end of `day`, in the caller's transaction.

    Returns the number of new rows per table, and of changed rows as `<table> changed`.
    """
    counts = {"customers": _add_signups(connection, company, day)}
    counts["customers changed"] = _move_customers(connection, company, day)
    counts |= _add_orders(connection, company, day)
    counts["orders changed"] = _change_orders(connection, company, day)
    changed, _ = catalogue.price_changes(company, day)
    rows = catalogue.product_rows(company, catalogue.price_versions(company, day + ONE_DAY), changed)
    counts["products changed"] = _update(connection, "products", rows, ("unit_price", "updated_at"))
    return counts


def _all_customers(company: Company, through: datetime.date) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Ids, registration and entry moments of all customers at the end of `through`, in chunks."""
    for start in range(1, company.founding_customers + 1, CUSTOMERS_A_CHUNK):
        ids = np.arange(start, min(start + CUSTOMERS_A_CHUNK, company.founding_customers + 1))
        yield ids, *people.founders(company, ids)
    for day in company.days(through):
        ids, moments = people.signup_moments(company, day)
        yield ids, moments, moments


def _add_signups(connection: psycopg.Connection, company: Company, day: datetime.date) -> int:
    ids, moments = people.signup_moments(company, day)
    rows = people.customer_rows(company, ids, moments, moments, people.address_versions(company, day))
    _copy(connection, "customers", rows)
    return rows.num_rows


def _move_customers(connection: psycopg.Connection, company: Company, day: datetime.date) -> int:
    ids, moments = people.moves(company, day)
    rows = people.customer_rows(company, ids, moments, moments, people.address_versions(company, day))
    return _update(connection, "customers", rows, ("address", "city", "state", "zip_code", "updated_at"))


def _add_orders(connection: psycopg.Connection, company: Company, day: datetime.date) -> dict[str, int]:
    """The orders that arrive on `day`: its own, and late ones of the days before."""
    counts = {"orders": 0, "order_items": 0}
    for placed_on in _recent_days(company, day):
        orders = place_orders(company, placed_on)
        arriving = (orders.arrived >= midnight_us(day)) & (orders.arrived < end_of(day))
        if not arriving.any():
            continue
        prices = catalogue.prices(company, catalogue.price_versions(company, placed_on))
        items = pick_items(company, orders, prices)
        new_orders = order_rows(orders, amounts(orders, items), end_of(day), arriving)
        new_items = item_rows(orders, items, arriving)
        _copy(connection, "orders", new_orders)
        _copy(connection, "order_items", new_items)
        counts["orders"] += new_orders.num_rows
        counts["order_items"] += new_items.num_rows
    return counts


def _change_orders(connection: psycopg.Connection, company: Company, day: datetime.date) -> int:
    """Status changes on `day` of orders that had arrived before it."""
    tables = []
    for placed_on in _recent_days(company, day):
        orders = place_orders(company, placed_on)
        _, updated = orders.status_at(end_of(day))
        changed = (orders.arrived < midnight_us(day)) & (updated >= midnight_us(day))
        tables.append(order_rows(orders, np.zeros(len(changed), np.int64), end_of(day), changed))
    return _update(connection, "orders", pa.concat_tables(tables), ("status", "updated_at"))


def _recent_days(company: Company, day: datetime.date) -> list[datetime.date]:
    """The days up to `day` whose orders can still arrive or change on `day`."""
    return company.days(day)[-LIFE_DAYS - 1 :]


def _copy(connection: psycopg.Connection, table: str, rows: pa.Table, frozen: bool = False) -> None:
    # FREEZE writes rows as visible to all at once; PostgreSQL allows it for a table of this transaction.
    options = "FORMAT csv, FREEZE" if frozen else "FORMAT csv"
    columns = sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(sql.Identifier(table), columns, sql.SQL(options))
    text = pa.BufferOutputStream()
    # In one chunk, because write_csv (pyarrow 26) writes garbage for a table whose first chunk has no rows.
    pa.csv.write_csv(rows.combine_chunks(), text, pa.csv.WriteOptions(include_header=False))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(memoryview(text.getvalue()))


def _update(connection: psycopg.Connection, table: str, rows: pa.Table, columns: tuple[str, ...]) -> int:
    """Sets `columns` of the rows with the same key; returns how many there were."""
    key = KEYS[table]
    changes = sql.Identifier(f"changed_{table}")
    names = sql.SQL(", ").join(map(sql.Identifier, (key, *columns)))
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            changes, names, sql.Identifier(table)
        )
    )
    _copy(connection, f"changed_{table}", rows.select([key, *columns]))
    assignments = sql.SQL(", ").join(sql.SQL("{0} = changed.{0}").format(sql.Identifier(column)) for column in columns)
    updated = connection.execute(
        sql.SQL("UPDATE {0} SET {1} FROM {2} AS changed WHERE {0}.{3} = changed.{3}").format(
            sql.Identifier(table), assignments, changes, sql.Identifier(key)
        )
    )
    return updated.rowcount
