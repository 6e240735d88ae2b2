"""The real invoice files, dropped into the inbox: every line is accounted for, and the figures agree with DuckDB's."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import Airflow, Dremio, stack

FIRST_DAY, LAST_DAY = "2010-12-01", "2011-01-31"
LINES = f"DATE '{FIRST_DAY}' AND DATE '{LAST_DAY}'"


@pytest.fixture(scope="module")
def loaded(airflow: Airflow, first_run: FirstRun, real_invoices: Path) -> str:
    """The run that took all 44 files at once."""
    stack("load-files", str(real_invoices))
    run_id = airflow.trigger(first_run.day)
    assert airflow.wait(run_id) == "success"
    return run_id


@pytest.fixture(scope="module")
def independent(real_invoices: Path) -> duckdb.DuckDBPyConnection:
    """The files as DuckDB reads them, the second of two identical lines of a file left out."""
    connection = duckdb.connect()
    connection.execute(
        f"""
        CREATE TABLE every_line AS
        SELECT * FROM read_csv('{real_invoices}/*.csv', header = true, all_varchar = true, filename = true);
        CREATE TABLE invoice_lines AS
        SELECT DISTINCT
            InvoiceNo AS invoice_no, StockCode AS stock_code, Description AS description,
            Quantity::INT AS quantity, InvoiceDate::TIMESTAMP AS invoiced_at, UnitPrice::DECIMAL(18, 4) AS unit_price,
            CustomerID AS customer_id, Country AS country, filename
        FROM every_line
        """
    )
    return connection


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    assert row
    return row[0]


def test_every_line_is_accounted_for(loaded: str, dremio: Dremio, independent: duckdb.DuckDBPyConnection) -> None:
    lines = one(independent, "SELECT count(*) FROM every_line")
    accepted = dremio.rows(f"SELECT COUNT(*) FROM gold.fct_invoice_lines WHERE invoice_date BETWEEN {LINES}")[0][0]
    quarantined = dict(
        dremio.rows(
            "SELECT reason, COUNT(*) FROM intermediate.int_quarantined_rows "
            "WHERE file_name LIKE 'invoices/2010-12-%' OR file_name LIKE 'invoices/2011-01-%' GROUP BY reason"
        )
    )
    assert lines == 77_628
    assert accepted == one(independent, "SELECT count(*) FROM invoice_lines")
    assert accepted + sum(quarantined.values()) == lines
    assert all("identical" in reason or "duplicate" in reason for reason in quarantined), quarantined


def test_daily_figures_agree(loaded: str, dremio: Dremio, independent: duckdb.DuckDBPyConnection) -> None:
    expected = independent.execute(
        """
        SELECT
            invoiced_at::DATE,
            sum(quantity * unit_price),
            count(DISTINCT CASE WHEN invoice_no LIKE 'C%' THEN invoice_no END),
            count(DISTINCT nullif(customer_id, ''))
        FROM invoice_lines GROUP BY 1 ORDER BY 1
        """
    ).fetchall()
    found = dremio.rows(
        "SELECT invoice_date, daily_revenue, cancellations, customers FROM gold.fct_daily_invoices "
        f"WHERE invoice_date BETWEEN {LINES} ORDER BY invoice_date"
    )
    assert len(expected) == 44
    assert [
        (str(day)[:10], Decimal(revenue), cancelled, customers) for day, revenue, cancelled, customers in found
    ] == [(str(day)[:10], revenue, cancelled, customers) for day, revenue, cancelled, customers in expected]


@pytest.mark.parametrize(
    ("flag", "condition"),
    [
        ("is_cancellation", "invoice_no LIKE 'C%'"),
        ("is_missing_customer", "customer_id IS NULL OR customer_id = ''"),
        ("is_zero_price", "unit_price = 0"),
    ],
)
def test_odd_lines_reach_the_mart_flagged(
    loaded: str, dremio: Dremio, independent: duckdb.DuckDBPyConnection, flag: str, condition: str
) -> None:
    expected = one(independent, f"SELECT count(*) FROM invoice_lines WHERE {condition}")
    found = dremio.rows(f"SELECT COUNT(*) FROM gold.fct_invoice_lines WHERE {flag} AND invoice_date BETWEEN {LINES}")[
        0
    ][0]
    assert found == expected > 0


def test_codes_that_are_no_product_are_flagged(loaded: str, dremio: Dremio) -> None:
    found = {
        code
        for (code,) in dremio.rows(
            "SELECT DISTINCT stock_code FROM gold.fct_invoice_lines "
            f"WHERE is_non_product AND invoice_date BETWEEN {LINES}"
        )
    }
    assert found >= {"POST", "D", "M", "BANK CHARGES", "AMAZONFEE", "DOT"}
