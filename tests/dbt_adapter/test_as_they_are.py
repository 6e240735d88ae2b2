"""The suites that need nothing but the conftest's adaptation, and the proof that none has been forgotten."""

from __future__ import annotations

from tests.dbt_adapter import suites, test_adapted

ALL = suites.all_suites()
ADAPTED = {
    base for one in vars(test_adapted).values() if isinstance(one, type) for base in one.__bases__ if base in ALL
}
AS_THEY_ARE = [one for one in ALL if one not in ADAPTED and not suites.left_out(one)]

for one in AS_THEY_ARE:
    globals()[f"Test{one.__name__.removeprefix('Base')}"] = type(f"Test{one.__name__}", (one,), {})
del one


def test_what_is_left_out_exists_and_is_not_run() -> None:
    names = {one.__name__ for one in ALL} | {f"{one.__module__.split('.')[3]}." for one in ALL}
    assert set(suites.LEFT_OUT) <= names
    assert not [one.__name__ for one in ADAPTED if suites.left_out(one)]
    run, left = len(AS_THEY_ARE) + len(ADAPTED), len([one for one in ALL if suites.left_out(one)])
    assert run + left == len(ALL)
    print(f"{run} suites run, {left} left out")
