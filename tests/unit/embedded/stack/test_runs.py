"""Which batch a run is for, and which run `make up` follows."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from embedded.stack import runs

DAY = datetime.date(2026, 5, 1)


@pytest.mark.parametrize(
    ("run", "day"),
    [
        pytest.param(
            {"conf": {}, "logical_date": "2026-05-02T01:00:00Z", "run_after": "2026-05-02T01:00:00Z"}, DAY, id="cron"
        ),
        pytest.param(
            {"conf": {"batch_date": "2026-05-01"}, "logical_date": None, "run_after": "2026-06-01T09:00:00Z"},
            DAY,
            id="named-at-the-trigger",
        ),
        pytest.param({"conf": None, "logical_date": None, "run_after": "2026-05-02T23:59:00Z"}, DAY, id="now"),
        pytest.param(
            {"conf": {}, "logical_date": "2026-05-02T01:30:00+02:00", "run_after": "x"},
            datetime.date(2026, 4, 30),
            id="another-time-zone",
        ),
    ],
)
def test_the_batch_of_a_run(run: dict[str, Any], day: datetime.date) -> None:
    assert runs.batch_date_of(run) == day


class FakeAirflow:
    """The three calls that `adopt_or_trigger` makes, over a list of runs."""

    def __init__(self, *known: tuple[str, str]) -> None:
        self.runs = [
            {"dag_run_id": name, "state": state, "conf": {"batch_date": DAY.isoformat()}, "run_after": "x"}
            for name, state in known
        ]
        self.triggered: list[dict[str, Any]] = []

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        if method == "POST":
            self.triggered.append(arguments["json"])
            return {"dag_run_id": "new"}
        return {"dag_runs": self.runs}


@pytest.fixture(autouse=True)
def no_scheduled_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_scheduler_makes_run_for", lambda day: False)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param([("b", "failed"), ("a", "success")], ("a", True), id="a-green-run-is-not-repeated"),
        pytest.param([("b", "running"), ("a", "failed")], ("b", False), id="one-under-way-is-adopted"),
        pytest.param([("a", "failed")], ("new", False), id="after-a-failed-one-a-new-one-is-triggered"),
        pytest.param([], ("new", False), id="none-yet"),
    ],
)
def test_which_run_is_followed(known: list[tuple[str, str]], expected: tuple[str, bool]) -> None:
    client = FakeAirflow(*known)
    assert runs.adopt_or_trigger(client, "daily_batch", DAY) == expected  # type: ignore[arg-type]
    assert len(client.triggered) == (expected[0] == "new")
