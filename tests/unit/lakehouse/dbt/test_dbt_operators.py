"""What a dbt task refuses, records and says."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from dbt.artifacts.resources.types import NodeType, TimePeriod
from dbt.artifacts.resources.v1.components import FreshnessThreshold, Time
from dbt.artifacts.schemas.freshness import SourceFreshnessResult
from dbt.artifacts.schemas.results import FreshnessStatus

from lakehouse.dbt import operators, runner
from lakehouse.dbt.operators import (
    DbtFailed,
    DbtModelOperator,
    DbtSourceFreshnessOperator,
    DbtTestFailed,
    DbtTestOperator,
    describe,
    explain,
)
from lakehouse.ops.lease import LeaseLost


def node(**changes: Any) -> runner.NodeResult:
    fields: dict[str, Any] = {
        "name": "fct_orders",
        "node_id": "model.lakehouse.fct_orders",
        "kind": "model",
        "status": "success",
        "message": "OK",
        "seconds": 0.5,
        "relation": '"datalake"."gold"."slot_a"."fct_orders"',
        "path": "models/marts/fct_orders.sql",
    }
    return runner.NodeResult(**(fields | changes))


FAILED_TEST = node(
    name="assert_positive_amounts",
    kind="test",
    status="fail",
    failures=12,
    path="tests/quality/assert_positive_amounts.sql",
    compiled='select *\nfrom "datalake"."gold"."slot_a"."fct_orders"\nwhere amount <= 0',
    samples=({"order_id": 7, "amount": 0},),
)


HELD: list[str] = []  # what happened to the task's lease


class Recorder:
    """Stands for dbt and for the run records; keeps what it was asked."""

    def __init__(self, *nodes: runner.NodeResult, error: str | None = None) -> None:
        self.result = runner.DbtResult(nodes, error)
        self.commands: list[runner.DbtCommand] = []
        self.facts: dict[str, Any] = {}

    def run(self, command: runner.DbtCommand, *more: Any) -> runner.DbtResult:
        self.commands.append(command)
        self.during(more[1])
        return self.result

    def during(self, statements: Any) -> None:
        """What happens while dbt runs."""

    def record(self, context: Mapping[str, Any], kind: str, payload: Any) -> None:
        self.facts[kind] = payload


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a Recorder in the place of dbt and of the run records; the slot is the run's to build."""

    @contextmanager
    def lease(*_: Any, **__: Any) -> Iterator[Any]:
        HELD.append("taken")
        yield SimpleNamespace(check=lambda: HELD.append("checked"))

    def put(recorder: Recorder, may_build: bool = True) -> Recorder:
        monkeypatch.setattr(operators.runner, "run", recorder.run)
        monkeypatch.setattr(operators.records, "record", recorder.record)
        HELD.clear()
        monkeypatch.setattr(operators.releases, "may_build", lambda *_: may_build if HELD else True)
        monkeypatch.setattr(operators, "Lease", lease)
        monkeypatch.setattr(operators._DbtOperator, "_keep_history", lambda *_: None)
        return recorder

    return put


def context() -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="daily_batch", run_id="r1", task_id="marts.fct_orders", map_index=-1, try_number=1)
    return {"ti": ti}


def test_a_model_returns_and_records_its_rows_and_tests(install: Any) -> None:
    passed = node(name="unique_fct_orders_order_id", kind="test", status="pass", failures=0)
    recorder = install(Recorder(node(rows=42), passed))
    task = DbtModelOperator(task_id="fct_orders", select="fct_orders", slot="b", builds_slot=True, exclude=["tag:x"])
    assert task.execute(context()) == {"fct_orders": 42}
    assert (recorder.commands[0].verb, recorder.commands[0].slot) == ("build", "b")
    assert recorder.facts["rows"] == [{"stage": "mart", "dataset": "fct_orders", "rows": 42}]
    assert recorder.facts["tests"] == {"passed": 1, "failed": 0, "warned": 0, "failures": []}


def test_a_slot_that_readers_see_is_refused_before_dbt_starts(install: Any) -> None:
    recorder = install(Recorder(node()), may_build=False)
    task = DbtModelOperator(task_id="fct_orders", select="fct_orders", slot="a", builds_slot=True)
    with pytest.raises(DbtFailed, match=r"slot a is not this run's to build.*Clear the whole group marts"):
        task.execute(context())
    assert recorder.commands == []


def test_the_slot_is_asked_for_inside_the_lease_and_before_each_statement(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two statements a newer run claims the slot: the next one is not sent."""
    recorder = install(Recorder(node(rows=1)))

    def lose_the_slot(statements: Any) -> None:
        statements.check()
        monkeypatch.setattr(operators.releases, "may_build", lambda *_: False)
        with pytest.raises(DbtFailed, match="slot b is not this run's to build"):
            statements.check()

    recorder.during = lose_the_slot
    DbtModelOperator(task_id="m", select="fct_orders", slot="b", builds_slot=True).execute(context())
    assert HELD[:3] == ["taken", "checked", "checked"]


def test_what_an_orphan_found_is_not_recorded(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt turns a refused statement into a failed model: the lease tells that it was refused."""
    recorder = install(Recorder(node(status="error", message="lease lost"), FAILED_TEST))

    @contextmanager
    def lost(*_: Any, **__: Any) -> Iterator[Any]:
        answers = iter([None])
        yield SimpleNamespace(check=lambda: next(answers, LeaseLost) and _raise(LeaseLost("dbt/fct_orders", 1)))

    def _raise(error: Exception) -> None:
        raise error

    monkeypatch.setattr(operators, "Lease", lost)
    with pytest.raises(LeaseLost, match="another try of this task"):
        DbtModelOperator(task_id="m", select="fct_orders").execute(context())
    assert recorder.facts == {}


def test_a_failing_test_is_recorded_and_not_retried(install: Any) -> None:
    recorder = install(Recorder(FAILED_TEST))
    with pytest.raises(DbtTestFailed, match="assert_positive_amounts"):
        DbtTestOperator(task_id="dbt_tests", select="tag:quality").execute(context())
    assert recorder.facts["tests"]["failed"] == 1


def freshness(status: FreshnessStatus, newest: datetime) -> runner.NodeResult:
    """As dbt itself says it, of a source that may be 8 days old."""
    now = datetime(2026, 7, 10, tzinfo=UTC)
    source = SimpleNamespace(
        name="orders",
        source_name="shop",
        unique_id="source.lakehouse.shop.orders",
        resource_type=NodeType.Source,
        original_file_path="models/staging/_sources.yml",
        freshness=FreshnessThreshold(Time(36, TimePeriod.hour), Time(8, TimePeriod.day)),
    )
    about = {"timing": [], "thread_id": "1", "execution_time": 0.1, "adapter_response": {}, "message": None}
    result = SourceFreshnessResult(
        node=source,  # type: ignore[arg-type]
        status=status,
        failures=None,
        max_loaded_at=newest,
        snapshotted_at=now,
        age=(now - newest).total_seconds(),
        **about,  # type: ignore[arg-type]
    )
    return runner._node_result(result)


def test_a_stale_source_fails_with_its_age_and_limit_and_is_not_retried(install: Any) -> None:
    fresh = freshness(FreshnessStatus.Pass, datetime(2026, 7, 9, 22, tzinfo=UTC))
    recorder = install(Recorder(freshness(FreshnessStatus.Error, datetime(2026, 7, 1, tzinfo=UTC)), fresh))
    said = r"Source shop.orders is stale: its newest rows came at 2026-07-01 00:00 UTC, 216 hours ago \(limit: 8 days\)"
    with pytest.raises(DbtTestFailed, match=said) as caught:
        DbtSourceFreshnessOperator(task_id="f").execute(context())
    assert caught.value.what.startswith("source shop.orders is stale: its newest rows came at 2026-07-01")
    assert "clear the group extract" in caught.value.remedy
    assert (recorder.facts["tests"]["passed"], recorder.facts["tests"]["failed"]) == (1, 1)
    assert recorder.commands[0].verb == "source freshness"


def test_a_source_that_has_never_had_a_row_is_warned_of(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = install(Recorder(freshness(FreshnessStatus.Error, datetime(1, 1, 1, tzinfo=UTC))))
    DbtSourceFreshnessOperator(task_id="f").execute(context())
    assert recorder.facts["tests"]["warned"] == 1
    assert "Source shop.orders may be stale: it has no rows at all" in capsys.readouterr().out


def test_an_error_of_dremio_is_retried(install: Any) -> None:
    install(Recorder(node(status="error", message="Dremio job 1 FAILED: out of memory")))
    with pytest.raises(DbtFailed, match="out of memory") as caught:
        DbtModelOperator(task_id="m", select="fct_orders").execute(context())
    assert not isinstance(caught.value, DbtTestFailed)


def test_selecting_nothing_is_an_error(install: Any) -> None:
    install(Recorder())
    with pytest.raises(DbtFailed, match="selects nothing"):
        DbtModelOperator(task_id="m", select="no_such_model").execute(context())


def test_a_failing_test_names_its_rows_and_where_to_look() -> None:
    text = describe(FAILED_TEST)
    assert text.splitlines() == [
        "Test assert_positive_amounts failed: 12 row(s) should not be there.",
        '  {"order_id": 7, "amount": 0}',
        "  ... and 11 more",
        "Look at include/dbt/tests/quality/assert_positive_amounts.sql. All rows: "
        'select * from "datalake"."gold"."slot_a"."fct_orders" where amount <= 0',
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(
            "Dremio job 5 FAILED: Object 'x' not found\n  SQL Query /* {} */ select 1",
            "Dremio job 5 FAILED: Object 'x' not found",
            id="the-statement-is-left-out",
        ),
        pytest.param("[Errno 111] Connection refused", "is it running", id="no-server"),
        pytest.param("Unauthorized:401 Client Error", "check user and password", id="wrong-password"),
    ],
)
def test_what_is_added_to_an_error(message: str, expected: str) -> None:
    assert expected in explain(message)
    assert "SQL Query" not in explain(message)
