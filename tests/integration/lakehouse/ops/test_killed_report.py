"""The report, killed after its writes and run again: the summary is that of an unbroken run."""

from datetime import UTC, datetime

import pytest

from lakehouse.ops import database, records
from lakehouse.ops.report import ReportOperator
from tests.integration.lakehouse.killing import Tries, killed_after_its_writes

pytestmark = pytest.mark.usefixtures("own_database")


def test_report(tmp_path):
    declared = tmp_path / "pipeline.yaml"
    declared.write_text("dag_id: it\ngroups: [{name: extract, title: Syncs}]\n")
    task = Tries(
        lambda: ReportOperator(task_id="report", declaration=str(declared)),
        tmp_path / "store.json",
        logical_date=datetime(2026, 11, 23, 1, 0, tzinfo=UTC),
        params={},
    )
    records.summary("it", "killed")  # makes the schema

    def fresh():
        database.run(database.dsn(), "DELETE FROM pipeline_run WHERE dag_id = 'it'")

    assert killed_after_its_writes(task, fresh, lambda: records.summary("it", "killed")) >= 1
    assert records.summary("it", "killed")["state"] == "success"
