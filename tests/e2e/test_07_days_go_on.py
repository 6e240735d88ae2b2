"""Time goes on at the source: what is merged day by day equals what is built from nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import REPOSITORY, Airflow, Dremio, Reader, next_change, run_record, shop

Marts = dict[str, tuple[int, str]]  # what Dremio.snapshot gives
PROJECT = REPOSITORY / "include" / "dbt"


def add_a_day(reach: dict[str, str]) -> str:
    """The shop's next day: new orders, changed statuses and addresses, late rows, one more file; its date."""
    settings = json.loads((Path(os.environ["LAKEHOUSE_HOME"]) / "settings.json").read_text())
    demo = {"DEMO_SEED": settings["seed"], "DEMO_SCALE": settings["scale"], "DEMO_END_DATE": settings["end_date"]}
    done = subprocess.run(
        [REPOSITORY / ".venv-embedded/bin/python", "-m", "embedded.demo", "advance", "--days", "1"],
        cwd=REPOSITORY,
        env=reach | {name: str(value) for name, value in demo.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with psycopg2.connect(reach["SHOP_DB_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT max(day) FROM demo.journal WHERE action IN ('load', 'advance')")
        (day,) = cursor.fetchone() or (None,)
    return day.isoformat()


def live_slot(reach: dict[str, str]) -> str:
    with psycopg2.connect(reach["LAKEHOUSE_DB_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT slot FROM release WHERE state = 'released' ORDER BY updated_at DESC LIMIT 1")
        (slot,) = cursor.fetchone() or ("a",)
    return str(slot)


def dbt(reach: dict[str, str], folder: Path, *arguments: str) -> None:
    command = [Path(sys.executable).with_name("dbt"), *arguments, "--no-use-colors"]
    folders = ["--project-dir", PROJECT, "--profiles-dir", PROJECT, "--target-path", folder, "--log-path", folder]
    done = subprocess.run([*command, *folders], env=reach, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture(scope="module")
def further_day(reach: dict[str, str], airflow: Airflow, dremio: Dremio, first_run: FirstRun) -> tuple[Marts, Marts]:
    """The marts before the day's batch and after it.

    The slot that the day goes to has missed what the run before took; an item is moved between orders.
    """
    before = dremio.snapshot()
    day = add_a_day(reach)
    shop(
        reach,
        "UPDATE order_items SET order_id = (SELECT min(order_id) FROM orders), "
        f"updated_at = {next_change('order_items')} "
        "WHERE order_item_id = (SELECT max(order_item_id) FROM order_items WHERE order_id IN "
        "(SELECT order_id FROM order_items GROUP BY order_id HAVING count(*) > 1))",
    )
    with Reader(dremio) as reader:
        run_id = airflow.trigger(day)
        assert airflow.wait(run_id) == "success", run_record(reach, run_id)["groups"]
    assert reader.problems == []
    merged = dremio.snapshot()
    assert merged["fct_orders"][0] > before["fct_orders"][0]
    return before, merged


def test_a_release_is_taken_back_and_shown_again(
    reach: dict[str, str],
    dremio: Dremio,
    further_day: tuple[Marts, Marts],
) -> None:
    before, merged = further_day
    roll_back = Airflow(reach, "roll_back")
    roll_back.call("PATCH", "/dags/roll_back?update_mask=is_paused", json={"is_paused": False})
    for shown in (before, merged):
        with Reader(dremio) as reader:
            assert roll_back.wait(roll_back.trigger()) == "success"
        assert reader.problems == []
        assert dremio.snapshot() == shown


def test_merged_day_by_day_equals_built_from_nothing(
    reach: dict[str, str],
    dremio: Dremio,
    further_day: tuple[Marts, Marts],
    tmp_path: Path,
) -> None:
    """The views of `gold` leave a slot's technical columns out, so the columns are those of the views."""
    _, merged = further_day
    idle = "b" if live_slot(reach) == "a" else "a"
    dbt(reach, tmp_path, "run", "--full-refresh", "--vars", json.dumps({"slot": idle}))
    for view in merged:
        columns = ", ".join(f'"{name}"' for name in dremio.query(f'SELECT * FROM gold."{view}" LIMIT 0').column_names)
        shown = sorted(map(repr, dremio.rows(f'SELECT {columns} FROM gold."{view}"')))
        built = sorted(map(repr, dremio.rows(f'SELECT {columns} FROM datalake.gold.slot_{idle}."{view}"')))
        assert [pair for pair in zip(shown, built, strict=True) if pair[0] != pair[1]][:3] == [], view


@pytest.mark.chaos
def test_a_column_that_comes_and_goes_at_the_source(
    reach: dict[str, str], airflow: Airflow, dremio: Dremio, first_run: FirstRun
) -> None:
    """A new column is followed into bronze; one that is gone fails the stream by name, and never becomes nulls."""
    shop(
        reach,
        "ALTER TABLE orders ADD COLUMN coupon text",
        f"UPDATE orders SET coupon = 'SUMMER', updated_at = {next_change('orders')} "
        "WHERE order_id IN (SELECT order_id FROM orders ORDER BY order_id DESC LIMIT 5)",
    )
    run_id = airflow.trigger()
    assert airflow.wait(run_id) == "success"
    assert dremio.rows("SELECT COUNT(*) FROM datalake.bronze.postgres.orders WHERE coupon = 'SUMMER'") == [(5,)]

    before = dremio.snapshot()
    shop(
        reach,
        "ALTER TABLE orders DROP COLUMN coupon",
        f"UPDATE orders SET updated_at = {next_change('orders')} WHERE order_id = (SELECT max(order_id) FROM orders)",
    )
    try:
        run_id = airflow.trigger()
        assert airflow.wait(run_id) == "failed"
        group = next(each for each in run_record(reach, run_id)["groups"] if each["state"] == "failed")
        assert "coupon" in group["error"] and "orders" in group["error"]
        assert "clear the group extract" in group["remedy"]
        assert dremio.snapshot() == before
    finally:
        shop(
            reach,
            "ALTER TABLE orders ADD COLUMN IF NOT EXISTS coupon text",
            f"UPDATE orders SET updated_at = {next_change('orders')} "
            "WHERE order_id = (SELECT max(order_id) FROM orders)",
        )
    airflow.clear_group(run_id, "extract")  # as the remedy says: only a sync brings the column back
    state = airflow.wait(run_id)
    assert state == "success", run_record(reach, run_id)["groups"]
