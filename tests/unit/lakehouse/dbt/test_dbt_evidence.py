"""Rows that a failing test found are shown where they can be had, and never in the place of its failure."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from dbt.adapters import factory

from lakehouse.dbt.operators import describe
from lakehouse.dbt.runner import DbtCommand, NodeResult, _with_evidence

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
