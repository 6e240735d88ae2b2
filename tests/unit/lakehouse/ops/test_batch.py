from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from lakehouse.ops.batch import BatchDateError, batch_date, macros

AT_ONE = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        pytest.param({"logical_date": AT_ONE}, date(2026, 11, 22), id="scheduled: the day before"),
        pytest.param(
            {"params": {"batch_date": "2026-11-14"}, "logical_date": AT_ONE},
            date(2026, 11, 14),
            id="the form's date wins",
        ),
        pytest.param({"params": {"batch_date": None}, "logical_date": AT_ONE}, date(2026, 11, 22), id="an empty form"),
        pytest.param(
            {"partition_key": "2026-11-20", "dag_run": SimpleNamespace(run_after=AT_ONE)},
            date(2026, 11, 20),
            id="partition key",
        ),
        pytest.param(
            {"dag_run": SimpleNamespace(logical_date=None, run_after=AT_ONE)},
            date(2026, 11, 22),
            id="no logical date: the day before run_after",
        ),
        pytest.param(
            {"logical_date": datetime(2026, 11, 23, 1, 0, tzinfo=timezone(timedelta(hours=5)))},
            date(2026, 11, 21),
            id="another zone: 20:00 UTC the day before",
        ),
    ],
)
def test_batch_date(context, expected):
    assert batch_date(context) == expected


def test_a_date_that_is_none_is_refused_by_name():
    with pytest.raises(BatchDateError, match="the parameter batch_date is 'yesterday'"):
        batch_date({"params": {"batch_date": "yesterday"}})


def test_a_context_without_any_date_is_refused():
    with pytest.raises(BatchDateError, match="neither batch_date"):
        batch_date({})


def test_the_macro_says_what_the_tasks_use():
    run = SimpleNamespace(logical_date=AT_ONE, run_after=AT_ONE)
    assert macros()["batch_date"](run) == date(2026, 11, 22)
    assert macros()["batch_date"](run, {"batch_date": "2026-01-02"}) == date(2026, 1, 2)
