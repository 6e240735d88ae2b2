"""`make up` in a new clone: source to warm dashboard, with the right figures."""

from __future__ import annotations

import datetime
import ipaddress
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import DAG, GROUPS, Airflow, Dremio, run_record, stack

# every name that the source document's queries, models and tests use
DOCUMENT_NAMES = {
    "bronze": {"raw_customers", "raw_orders", "customers", "orders"},
    "gold": {
        "customers",
        "orders",
        "fct_orders",
        "fct_daily_revenue",
        "fct_customer_lifetime_value",
        "daily_revenue",
        "customer_metrics",
    },
}


def shop_rows(reach: dict[str, str], sql: str) -> list[tuple[Any, ...]]:
    with psycopg2.connect(reach["SHOP_DB_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_the_scheduler_itself_fired_the_first_run(airflow: Airflow, first_run: FirstRun) -> None:
    assert [run["state"] for run in airflow.runs() if run["run_type"] == "scheduled"] == ["success"]


def test_every_group_ran_and_is_green(airflow: Airflow, first_run: FirstRun) -> None:
    tasks = airflow.tasks(first_run.run_id)
    assert {name.split(".")[0] for name in tasks} == set(GROUPS)
    assert {task["state"] for task in tasks.values()} <= {"success", "skipped"}


def test_the_summary_tells_the_whole_way(reach: dict[str, str], first_run: FirstRun) -> None:
    summary = run_record(reach, first_run.run_id)
    assert summary["batch_date"] == first_run.day
    assert {row["stage"] for row in summary["rows"]} >= {"source", "landing", "bronze", "staging", "mart"}
    assert summary["tests"]["passed"] > 50 and summary["tests"]["failed"] == 0
    assert summary["tests"]["warned"] == 0, "a source that is not fresh"
    assert {each["name"] for each in summary["reflections"]} == {
        "raw_customers",
        "agg_daily_revenue",
        "agg_orders",
        "common_metrics",
    }
    assert summary["charts"]["warmed"] == summary["charts"]["cached"] >= 8
    assert [group["group"] for group in summary["groups"] if group["state"] != "success"] == []
    for shown in (reach["AIRFLOW_URL"], reach["SUPERSET_URL"], "Quarantined", "fct_orders"):
        assert shown in first_run.output


def test_rows_are_accounted_for_from_source_to_mart(reach: dict[str, str], dremio: Dremio, first_run: FirstRun) -> None:
    ((at_source,),) = shop_rows(reach, "SELECT count(*) FROM orders")
    ((in_mart,),) = dremio.rows("SELECT COUNT(*) FROM gold.fct_orders")
    summary = run_record(reach, first_run.run_id)
    quarantined = sum(
        row["rows"] for row in summary["quarantined"] if "order" in row["dataset"] and "item" not in row["dataset"]
    )
    assert in_mart > 0 and at_source == in_mart + quarantined


def test_daily_revenue_is_what_the_source_says(reach: dict[str, str], dremio: Dremio, first_run: FirstRun) -> None:
    """Orders a day that were neither cancelled nor returned, from the shop's own tables by its own database."""
    expected = shop_rows(
        reach,
        """
        SELECT order_date, sum(amount) FROM orders
        WHERE lower(trim(status)) NOT IN ('cancelled', 'returned') AND amount > 0 AND customer_id IS NOT NULL
        GROUP BY order_date ORDER BY order_date
        """,
    )
    found = dremio.rows(
        "SELECT order_date, SUM(amount) FROM gold.fct_daily_revenue "
        "GROUP BY order_date HAVING SUM(amount) > 0 ORDER BY order_date"
    )
    assert len(expected) > 60
    assert [(_day(day), Decimal(amount)) for day, amount in found] == [(_day(day), amount) for day, amount in expected]


def _day(value: datetime.date | datetime.datetime) -> datetime.date:
    return value.date() if isinstance(value, datetime.datetime) else value


@pytest.mark.parametrize("space", sorted(DOCUMENT_NAMES))
def test_the_documents_names_answer(dremio: Dremio, first_run: FirstRun, space: str) -> None:
    for name in sorted(DOCUMENT_NAMES[space]):
        assert dremio.query(f"SELECT * FROM {space}.{name} LIMIT 1").num_rows == 1


def test_a_second_up_changes_nothing(airflow: Airflow, first_run: FirstRun) -> None:
    before = [run["dag_run_id"] for run in airflow.runs()]
    begun = time.monotonic()
    output = stack("up").stdout
    assert "is green already" in output
    assert [run["dag_run_id"] for run in airflow.runs()] == before
    assert time.monotonic() - begun < 100


def test_nothing_listens_beyond_this_machine(first_run: FirstRun) -> None:
    home = os.environ["LAKEHOUSE_HOME"]
    ours = {process.pid for process in psutil.process_iter() if _environment(process).get("LAKEHOUSE_INSTANCE") == home}
    open_to_others = [
        connection
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours and not _is_loopback(connection.laddr.ip)
    ]
    assert ours and open_to_others == []


def _is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def test_no_log_holds_a_secret(reach: dict[str, str], first_run: FirstRun) -> None:
    secrets = {
        name: reach[name]
        for name in reach
        if name.endswith(("_PASSWORD", "_SECRET", "_SECRET_ACCESS_KEY", "_API_KEY")) and len(reach[name]) > 12
    }
    assert len(secrets) >= 6
    found = [
        (str(file), name)
        for file in Path(os.environ["LAKEHOUSE_HOME"], "logs").rglob("*.log")
        for name, value in secrets.items()
        if value in file.read_text(errors="replace")
    ]
    assert found == []


def test_the_dag_is_documented_in_the_ui(airflow: Airflow, first_run: FirstRun) -> None:
    details = airflow.call("GET", f"/dags/{DAG}/details")
    assert details["doc_md"] and details["owners"] and details["tags"]
