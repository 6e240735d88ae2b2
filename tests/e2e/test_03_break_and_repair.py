"""A group breaks, the run fails and says why, someone repairs and clears it: same marts as without the break."""

from __future__ import annotations

import pytest

from tests.e2e import airflow_browser
from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import (
    RUN_SECONDS,
    Airflow,
    Dremio,
    Reader,
    kill,
    next_change,
    run_record,
    shop,
    stack,
)

# What each group cannot do without; it is stopped as soon as a task of the group runs.
NEEDED_SERVICE = {
    "extract": "airbyte",
    "publish": "s3",
    "catalog": "dremio",
    "staging": "dremio",
    "intermediate": "dremio",
    "marts": "dremio",
    "quality": "dremio",
    "reflections": "dremio",
    "release": "dremio",
    "dashboards": "superset",
}


def error_of(reach: dict[str, str], run_id: str, group: str) -> dict[str, str]:
    summary = run_record(reach, run_id)
    return next(each for each in summary["groups"] if each["group"] == group)


def test_a_renamed_source_table(reach: dict[str, str], airflow: Airflow, dremio: Dremio, first_run: FirstRun) -> None:
    shop(reach, "ALTER TABLE orders RENAME TO orders_renamed")
    try:
        with Reader(dremio) as reader:
            run_id = airflow.trigger(first_run.day)
            assert airflow.wait(run_id) == "failed"
    finally:
        shop(reach, "ALTER TABLE orders_renamed RENAME TO orders")
    assert airflow.failed(run_id) == ["extract.postgres", "report.report"]
    group = error_of(reach, run_id, "extract")
    assert "orders" in group["error"] and group["remedy"]
    reader.assert_saw_one_release()
    assert dremio.snapshot() == first_run.marts

    shown = airflow_browser.batch_page(reach, run_id)
    assert "Stream orders" in shown and "is not in its source any more" in shown and "Repair what it names" in shown

    airflow_browser.clear_group(reach, run_id, "extract")
    assert airflow.wait(run_id) == "success"
    assert dremio.snapshot() == first_run.marts


def test_a_failing_data_test_keeps_the_last_release(
    reach: dict[str, str], airflow: Airflow, dremio: Dremio, first_run: FirstRun
) -> None:
    """Orders of customers that nobody knows: a test fails, and readers go on seeing the last released batch."""
    before = dremio.snapshot()
    shop(
        reach,
        "CREATE TABLE demo.saved_orders AS "
        "SELECT * FROM orders WHERE customer_id IS NOT NULL ORDER BY order_id DESC LIMIT 40",
        f"UPDATE orders SET customer_id = customer_id + 1000000000, updated_at = {next_change('orders')} "
        "WHERE order_id IN (SELECT order_id FROM demo.saved_orders)",
    )
    try:
        run_id = airflow.trigger(first_run.day)
        assert airflow.wait(run_id) == "failed"
        failures = run_record(reach, run_id)["tests"]["failures"]
        assert any("relationships" in str(each) for each in failures), failures
        assert "success" not in {task["state"] for task in airflow.tasks(run_id, "release").values()}
        assert dremio.snapshot() == before
    finally:
        # The repair is a newer version of each row: what was received is never taken back.
        shop(
            reach,
            f"UPDATE orders SET customer_id = saved.customer_id, updated_at = {next_change('orders')} "
            "FROM demo.saved_orders saved WHERE orders.order_id = saved.order_id",
            "DROP TABLE demo.saved_orders",
        )
    airflow.clear_group(run_id, "extract")
    assert airflow.wait(run_id) == "success"
    after = dremio.snapshot()
    assert {view: rows for view, (rows, _) in after.items()} == {view: rows for view, (rows, _) in before.items()}
    assert after["fct_daily_revenue"] == before["fct_daily_revenue"]


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_each_group_loses_its_service(
    reach: dict[str, str], airflow: Airflow, dremio: Dremio, first_run: FirstRun
) -> None:
    """In one run: the service stops, the run fails and says why, the service is started, the failed is cleared."""
    before = dremio.snapshot()
    with Reader(dremio, may_be_down=True) as reader:
        run_id = airflow.trigger(first_run.day)
        for group, service in NEEDED_SERVICE.items():
            assert airflow.reach_group(run_id, group), f"{group} was done already"
            kill(service)
            # a group before it may be at work too, and has its own tries to use up
            state = airflow.wait(run_id, seconds=3 * RUN_SECONDS)
            stack("up", "--no-run")
            if state == "failed":
                failed = [each for each in run_record(reach, run_id)["groups"] if each["state"] == "failed"]
                assert failed and all(each["error"] and each["remedy"] for each in failed), (group, failed)
                airflow.clear_failed(run_id)
            else:  # it was done with the service already
                run_id = airflow.trigger(first_run.day)
        airflow.finish(run_id)
    assert dremio.snapshot() == before
    reader.assert_saw_one_release()
