"""What came of a dbt command: the rows that a failing test found, and what ended dbt from outside."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout
from dbt.adapters import factory
from dbt.cli import main

from lakehouse.dbt import operators
from lakehouse.dbt.operators import DbtTestOperator, describe
from lakehouse.dbt.runner import DbtCommand, DbtResult, NodeResult, _invoke, _with_evidence

TEST = NodeResult(
    "no_gaps", "test.no_gaps", "test", "fail", "", 0.1, failures=2, path="tests/x.sql", compiled="select 1"
)
COMMAND = DbtCommand(verb="test", slot="a", select="tag:quality")


def adapter(monkeypatch: pytest.MonkeyPatch, execute: Any) -> None:
    stand_in = SimpleNamespace(connection_named=lambda name: nullcontext(), execute=execute)
    monkeypatch.setattr(factory.FACTORY, "lookup_adapter", lambda name: stand_in)


def test_the_first_rows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    table = SimpleNamespace(column_names=("id",), rows=[(7,)])
    adapter(monkeypatch, lambda sql, fetch: (None, table))
    (node,) = _with_evidence([TEST], COMMAND)
    assert node.samples == ({"id": 7},)


def test_rows_that_cannot_be_fetched_leave_the_tests_own_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(sql: str, fetch: bool) -> Any:
        raise RuntimeError("Connection refused")

    adapter(monkeypatch, away)
    (node,) = _with_evidence([TEST], COMMAND)
    assert node.is_bad and node.samples == ()
    assert describe(node).startswith("Test no_gaps failed: 2 row(s) should not be there.")
    assert "could not be fetched: Connection refused" in caplog.text


def test_the_end_of_the_tasks_time_is_not_taken_for_an_error_of_dbt(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = SimpleNamespace(result=None, exception=AirflowTaskTimeout("Timeout, PID: 1"))
    monkeypatch.setattr(main, "dbtRunner", lambda **_: SimpleNamespace(invoke=lambda arguments: ended))
    with pytest.raises(AirflowTaskTimeout):
        _invoke(COMMAND, None, [], [])  # type: ignore[arg-type]


def test_a_history_that_cannot_be_kept_does_not_hide_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(conn_id: str) -> str:
        raise LookupError("no such connection")

    monkeypatch.setattr(operators.database, "dsn", missing)
    monkeypatch.setattr(operators.records, "record", lambda *_: None)
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)
    task = DbtTestOperator(task_id="t", select="tag:quality")
    task._record({"ti": ti}, DbtResult((TEST,)), operators.datetime.now(operators.UTC))  # and raises nothing
