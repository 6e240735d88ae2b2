import re
from datetime import UTC, date, datetime, timedelta

import pytest

from lakehouse.ops import records
from lakehouse.ops.declared import Group, Pipeline
from lakehouse.ops.summary import as_text, build, groups, headline

START = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
PIPELINE = Pipeline(
    dag_id="daily_batch",
    groups=[
        Group(name="extract", title="Syncs", limit_minutes=1),
        Group(name="publish", title="Bronze"),
        Group(name="catalog", title="Dremio"),
    ],
)


def task(task_id, state="success", begin=0, end=10, error=None, remedy=None):
    return {
        "task_id": task_id,
        "map_index": -1,
        "try_number": 1,
        "state": state,
        "started_at": START + timedelta(seconds=begin),
        "ended_at": None if end is None else START + timedelta(seconds=end),
        "log_url": None,
        "error": error,
        "remedy": remedy,
    }


def by_name(rows):
    return {row["group"]: row for row in rows}


def test_tasks_side_by_side_are_counted_once_and_pauses_not_at_all():
    tasks = [
        task("extract.a", begin=0, end=10),
        task("extract.b", begin=5, end=20),
        task("extract.c", begin=86400, end=86405),
    ]
    assert by_name(groups(PIPELINE, tasks))["extract"]["seconds"] == 25


def test_a_task_that_runs_counts_until_now():
    rows = groups(PIPELINE, [task("extract.a", "running", end=None)], now=START + timedelta(seconds=7))
    assert by_name(rows)["extract"] | {"title": ""} == {
        "group": "extract",
        "title": "",
        "state": "running",
        "seconds": 7,
        "limit_seconds": 60,
        "error": None,
        "remedy": None,
    }


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"a": "success", "b": "failed"}, "failed"),
        ({"a": "failed", "b": "upstream_failed"}, "failed"),
        ({"a": "success", "b": "upstream_failed"}, "not run"),
        ({"a": "upstream_failed"}, "not run"),
        ({"a": "success", "b": "skipped"}, "success"),
        ({"a": "skipped"}, "skipped"),
        ({"a": "success", "b": None}, "running"),
        ({"a": "up_for_retry", "b": "success"}, "up_for_retry"),
        ({"a": "deferred"}, "running"),
        ({"a": None}, "not run"),
        ({}, "not run"),
    ],
)
def test_a_group_is_as_good_as_its_worst_task(states, expected):
    rows = groups(PIPELINE, [], {f"extract.{name}": state for name, state in states.items()})
    assert by_name(rows)["extract"]["state"] == expected


def test_airflows_state_counts_more_than_what_was_recorded():
    rows = groups(PIPELINE, [task("extract.a", "running", end=None)], {"extract.a": "failed"})
    row = by_name(rows)["extract"]
    assert row["state"] == "failed"
    assert "killed" in row["error"] and row["remedy"]


def test_the_first_failure_of_the_first_group_makes_the_headline():
    tasks = [
        task("publish.b", "failed", end=30, error="second", remedy="Do this."),
        task("publish.a", "failed", end=20, error="first", remedy="Do that."),
        task("catalog.x", "failed", end=5, error="other", remedy="Do other."),
    ]
    rows = groups(PIPELINE, tasks)
    assert headline(rows) == ("publish failed: publish.a (and 1 more task): first", "Do that.")


def test_no_failure_no_headline():
    assert headline(groups(PIPELINE, [task("extract.a")])) == ("", "")


def test_facts_of_one_kind_are_joined_and_the_later_count_of_a_dataset_wins():
    facts = records.merged(
        [
            ("rows", [{"stage": "bronze", "dataset": "x", "rows": 1}, {"stage": "landing", "dataset": "x", "rows": 1}]),
            ("rows", [{"stage": "bronze", "dataset": "x", "rows": 2}]),
            ("tests", {"passed": 3, "failed": 1, "warned": 0, "failures": ["not_null"]}),
            ("tests", {"passed": 2, "failed": 0, "warned": 1, "failures": []}),
            ("charts", {"warmed": 4, "cached": 4, "seconds": 1.5}),
        ]
    )
    assert facts["rows"] == [
        {"stage": "bronze", "dataset": "x", "rows": 2},
        {"stage": "landing", "dataset": "x", "rows": 1},
    ]
    assert facts["tests"] == {"passed": 5, "failed": 1, "warned": 1, "failures": ["not_null"]}
    assert facts["charts"] == {"warmed": 4, "cached": 4, "seconds": 1.5}
    assert facts["quarantined"] == [] and facts["reflections"] == []


def test_the_text_shows_groups_rows_and_the_failure():
    facts = records.merged([("rows", [{"stage": "source", "dataset": "postgres.orders", "rows": 100000}])])
    rows = groups(PIPELINE, [task("publish.a", "failed", error="it broke", remedy="Mend it.")])
    text = as_text(build(PIPELINE, "run1", date(2026, 11, 22), "failed", rows, facts, ["done by 04:45 UTC"]))
    assert "batch 2026-11-22, run run1: failed" in text
    assert "source  postgres.orders  100,000" in text
    assert "What failed: publish failed: publish.a: it broke." in text
    assert "What to do: Mend it." in text
    assert "deadline missed: not done by 04:45 UTC" in text


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        pytest.param("row", [], id="unknown kind"),
        pytest.param("rows", {}, id="not a list"),
        pytest.param("tests", [], id="not a mapping"),
    ],
)
def test_a_record_of_the_wrong_shape_is_refused(kind, payload):
    with pytest.raises(ValueError, match=kind):
        records.record({}, kind, payload)


@pytest.mark.parametrize(("read", "said"), [((0, 0), True), ((0, 3), False), ((), False)])
def test_it_is_said_what_is_counted_and_that_nothing_was_read(read, said):
    counts = [{"stage": "source", "dataset": f"shop.{n}", "rows": rows} for n, rows in enumerate(read)]
    counts.append({"stage": "mart", "dataset": "orders", "rows": 100000})
    facts = records.merged([("rows", counts)])
    text = as_text(build(PIPELINE, "run1", date(2026, 11, 22), "success", [], facts))
    assert ("No new rows in the sources for this batch." in text) is said
    assert text.count("read by this run") == len(read)
    assert re.search(r"mart +orders +100,000  in all\n", text)
