"""Every exception class of the package, found and not listed: the report page has to say what to do about each."""

import importlib
import inspect
import pkgutil
from datetime import timedelta

import pytest

import lakehouse
from lakehouse.ops import explain as module
from lakehouse.ops.explain import explain

# What a service or a row may say: words that a table of remedies looks for, SQL, and an order that is not ours.
FOREIGN = "Connection refused, Timeout and MemoryError. Check nothing. SIGTERM"
SQL = "SELECT\n  hidden_column FROM secret_table"
SAMPLES = {
    "status": 500,
    "job_id": 7,
    "token": 3,
    "seconds": 90.0,
    "waited": 35.0,
    "total": 26,
    "found": 0,
    "retry_after": None,
    "timeout": timedelta(minutes=1),
    "known": ["a", "b"],
    "columns": ["amount", "status"],
    "altered": {"amount": "null in the place of a number"},
    "failures": [f"Sales / Revenue: it broke. Query: {SQL}"],
    "differences": ["chart Revenue: query_context"],
    "problems": ["include/pipelines/x.yaml:3: streams.0.name: missing", "include/pipelines/x.yaml:4: a: unknown key"],
    "failed": ["publish", "catalog"],
    "answer": FOREIGN,
    "reason": FOREIGN,
    "message": f"failed: {FOREIGN}",
    "sql": SQL,
    "detail": SQL,
    "remedy": "Do this.",
    "exceptions": [ValueError("one"), ValueError("two")],
    "excs": [ValueError("one"), ValueError("two")],
}


def classes():
    """All exception classes that are defined in the package."""
    found = set()
    for info in pkgutil.walk_packages(lakehouse.__path__, "lakehouse."):
        names = vars(importlib.import_module(info.name)).values()
        found |= {
            one
            for one in names
            if inspect.isclass(one) and issubclass(one, BaseException) and one.__module__.startswith("lakehouse.")
        }
    return sorted(found, key=lambda one: (one.__module__, one.__name__))


def sample(kind):
    """An instance whose arguments hold what others said."""
    if issubclass(kind, BaseExceptionGroup):
        return kind("two streams", [sample(one) for one in classes() if one.__name__.startswith("Column")])
    if "__init__" not in {
        name for base in kind.__mro__ if base.__module__.startswith("lakehouse") for name in vars(base)
    }:
        return kind("something is not as it should be, Connection refused")
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return kind(*(SAMPLES.get(one.name, one.name) for one in parameters))


def test_they_are_found():
    names = {one.__name__ for one in classes()}
    assert {"DremioJobFailed", "SyncTimeout", "WarmUpFailed", "ColumnDropped", "DbtTestFailed", "LeaseLost"} <= names
    assert len(names) > 40


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__qualname__)
def test_it_says_in_one_sentence_what_failed_and_what_to_do(kind):
    error = sample(kind)
    told = explain(error)
    assert told.what and "\n" not in told.what
    assert told.remedy and told.remedy != module._OTHERWISE
    assert told.remedy.rstrip().endswith(".") and told.remedy[0].isupper()
    assert told.remedy not in told.what
    # neither was taken from what somebody else had said
    assert "Check nothing" not in told.remedy
    assert "service runs" not in told.remedy and "stopped from outside" not in told.remedy
    # SQL is detail: it stays in the message
    assert "hidden_column" not in told.what + told.remedy
