"""The real invoice files (or generated ones in their place), dropped into the inbox: every line is accounted for, and
the figures agree with DuckDB's.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest

from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import Airflow, Dremio, stack

REAL_LINES = 77_628


@dataclass(frozen=True)
class Invoices:
    """A folder of invoice files, the days that they span, and how many lines they have."""

    folder: Path
    first_day: str
    last_day: str
    lines: int

    @property
    def days(self) -> str:
        return f"DATE '{self.first_day}' AND DATE '{self.last_day}'"


@pytest.fixture(scope="module")
def invoices(real_invoices: Path | None, reach: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Invoices:
    """The real files; where they are absent, the generated ones as if they were of ten years before."""
    folder = real_invoices
    if folder is None:
        folder = tmp_path_factory.mktemp("invoices")
        inbox = boto3.client("s3", endpoint_url=reach["S3_ENDPOINT_URL"], region_name="us-east-1")
        for item in inbox.list_objects_v2(Bucket="inbox", Prefix="invoices/")["Contents"]:
            content = inbox.get_object(Bucket="inbox", Key=item["Key"])["Body"].read()
            name = Path(item["Key"]).name.replace("202", "201", 1)
            (folder / name).write_bytes(content.replace(b",202", b",201"))
    names = sorted(path.stem for path in folder.glob("*.csv"))
    lines = sum(max(0, len(path.read_bytes().splitlines()) - 1) for path in folder.glob("*.csv"))
    assert real_invoices is None or lines == REAL_LINES
    return Invoices(folder, names[0], names[-1], lines)


@pytest.fixture(scope="module")
def loaded(airflow: Airflow, first_run: FirstRun, invoices: Invoices) -> str:
    """The run that took all files at once."""
    stack("load-files", str(invoices.folder))
    run_id = airflow.trigger(first_run.day)
    assert airflow.wait(run_id) == "success"
    return run_id


@pytest.fixture(scope="module")
def independent(invoices: Invoices, tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """The files as DuckDB reads them, broken lines and the second of two identical lines of a file left out."""
    whole = tmp_path_factory.mktemp("whole")
    for path in invoices.folder.glob("*.csv"):
        (whole / path.name).write_bytes(b"\n".join(line for line in path.read_bytes().splitlines() if parses(line)))
    connection = duckdb.connect()
    connection.execute(
        f"""
        CREATE TABLE every_line AS
        SELECT * FROM read_csv('{whole}/*.csv', header = true, all_varchar = true, filename = true);
        CREATE TABLE invoice_lines AS
        SELECT DISTINCT
            InvoiceNo AS invoice_no, StockCode AS stock_code, Description AS description,
            Quantity::INT AS quantity, InvoiceDate::TIMESTAMP AS invoiced_at, UnitPrice::DECIMAL(18, 4) AS unit_price,
            CustomerID AS customer_id, Country AS country, filename
        FROM every_line
        """
    )
    return connection


def parses(line: bytes) -> bool:
    try:
        return len(next(csv.reader([line.decode()]))) == 8
    except UnicodeDecodeError:
        return False


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    assert row
    return row[0]


def test_every_line_is_accounted_for(
    loaded: str, dremio: Dremio, invoices: Invoices, independent: duckdb.DuckDBPyConnection
) -> None:
    first, last = f"invoices/{invoices.first_day}", f"invoices/{invoices.last_day}.csv"
    accepted = dremio.rows(f"SELECT COUNT(*) FROM gold.fct_invoice_lines WHERE invoice_date BETWEEN {invoices.days}")
    quarantined = dict(
        dremio.rows(
            "SELECT reason, COUNT(*) FROM intermediate.int_quarantined_rows "
            f"WHERE file_name BETWEEN '{first}' AND '{last}' GROUP BY reason"
        )
    )
    assert accepted == [(one(independent, "SELECT count(*) FROM invoice_lines"),)]
    assert accepted[0][0] + sum(quarantined.values()) == invoices.lines
    allowed = ("identical", "fields instead of", "not utf8")
    assert all(any(text in reason for text in allowed) for reason in quarantined), quarantined


def test_daily_figures_agree(
    loaded: str, dremio: Dremio, invoices: Invoices, independent: duckdb.DuckDBPyConnection
) -> None:
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
        f"WHERE invoice_date BETWEEN {invoices.days} ORDER BY invoice_date"
    )
    assert len(expected) == len(list(invoices.folder.glob("*.csv")))
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
    loaded: str,
    dremio: Dremio,
    invoices: Invoices,
    independent: duckdb.DuckDBPyConnection,
    flag: str,
    condition: str,
) -> None:
    expected = one(independent, f"SELECT count(*) FROM invoice_lines WHERE {condition}")
    ((found,),) = dremio.rows(
        f"SELECT COUNT(*) FROM gold.fct_invoice_lines WHERE {flag} AND invoice_date BETWEEN {invoices.days}"
    )
    assert found == expected > 0


def test_codes_that_are_no_product_are_flagged(
    loaded: str, dremio: Dremio, invoices: Invoices, real_invoices: Path | None
) -> None:
    found = {
        code
        for (code,) in dremio.rows(
            "SELECT DISTINCT stock_code FROM gold.fct_invoice_lines "
            f"WHERE is_non_product AND invoice_date BETWEEN {invoices.days}"
        )
    }
    expected = {"POST", "D", "M", "BANK CHARGES", "AMAZONFEE", "DOT"}
    assert found >= expected if real_invoices else found & expected
