"""The way up: each step after those it needs, the first failure reported, later steps not begun."""

from __future__ import annotations

import pytest

from embedded.stack.processes import StackError
from embedded.stack.services import Step, run_steps


def test_a_step_waits_for_what_it_needs() -> None:
    order: list[str] = []

    def note(name: str) -> str | None:
        order.append(name)
        return None

    todo = [
        Step("c", ("a", "b"), lambda: note("c")),
        Step("b", ("a",), lambda: note("b")),
        Step("a", (), lambda: note("a")),
    ]
    told: list[str] = []
    run_steps(todo, lambda name, message, seconds: told.append(name))
    assert order == told == ["a", "b", "c"]


def test_a_failure_is_raised_and_nothing_after_it_begins() -> None:
    begun: list[str] = []

    def fail() -> str | None:
        raise StackError("the disk is full")

    todo = [Step("first", (), fail), Step("second", ("first",), lambda: begun.append("second"))]
    with pytest.raises(StackError, match="the disk is full"):
        run_steps(todo, lambda name, message, seconds: None)
    assert begun == []
