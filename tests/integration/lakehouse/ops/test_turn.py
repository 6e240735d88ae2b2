"""Which run is under way: the line is in PostgreSQL, the states of runs are Airflow's (here a dictionary)."""

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException

from lakehouse.ops import database, listener, runs, turn
from lakehouse.ops.schema import ensure_schema


@pytest.fixture(autouse=True)
def empty_line(own_database):
    ensure_schema(own_database)
    database.run(own_database, "TRUNCATE turn")


class Airflow:
    """States of DAG runs, and what a task of a run gets when it asks for its turn."""

    def __init__(self):
        self.states = {}
        self.after_answer = lambda: None

    def get_dr_count(self, dag_id, run_ids, states):
        answer = sum(self.states.get(run_id) in states for run_id in run_ids)
        self.after_answer()
        return answer

    def task(self, run_id, task_id="extract.wait_for_turn"):
        return SimpleNamespace(
            dag_id="daily_batch", run_id=run_id, task_id=task_id, map_index=-1, try_number=1,
            get_dr_count=self.get_dr_count,
        )  # fmt: skip

    def may_begin(self, run_id):
        """Whether a task of the run, which therefore is running, may begin."""
        self.states[run_id] = "running"
        try:
            turn.take({"ti": self.task(run_id)})
        except AirflowRescheduleException as waiting:
            assert datetime.now(UTC) < waiting.reschedule_date < datetime.now(UTC) + timedelta(minutes=5)
            return False
        return True


@pytest.fixture
def airflow():
    return Airflow()


def test_runs_take_turns_in_the_order_in_which_they_asked(airflow):
    assert [airflow.may_begin(run) for run in ("one", "two", "three")] == [True, False, False]
    assert airflow.may_begin("one")  # each of its tasks
    airflow.states["one"] = "failed"
    assert not airflow.may_begin("three")
    assert airflow.may_begin("two")
    airflow.states["two"] = "success"
    assert airflow.may_begin("three")


def test_a_cleared_run_waits_for_the_one_that_came_after_it(airflow):
    airflow.may_begin("old")
    airflow.states["old"] = "failed"
    assert airflow.may_begin("new")
    assert not airflow.may_begin("old")
    airflow.states["new"] = "success"
    assert airflow.may_begin("old") and not airflow.may_begin("new")


def test_a_run_that_was_cleared_before_anybody_came_keeps_its_place(airflow):
    airflow.may_begin("old")
    airflow.states["old"] = "failed"
    assert airflow.may_begin("old")
    assert not airflow.may_begin("new")


def test_two_runs_never_wait_for_each_other(airflow):
    """The cleared one is queued: max_active_runs keeps it from starting before the other has ended."""
    airflow.may_begin("old")
    airflow.states["old"] = "queued"
    assert airflow.may_begin("new")
    assert not airflow.may_begin("old")


def test_a_run_that_airflow_has_deleted_stands_in_nobodys_way(airflow):
    airflow.may_begin("gone")
    del airflow.states["gone"]
    assert airflow.may_begin("new")


def test_a_run_that_comes_back_in_the_moment_of_the_question_is_not_passed(airflow):
    airflow.may_begin("old")
    airflow.states["old"] = "failed"

    def back():
        airflow.after_answer = lambda: None
        began.append(airflow.may_begin("old"))

    began = []
    airflow.after_answer = back
    assert not airflow.may_begin("new")
    assert began == [True]


def test_many_at_once_are_one(airflow):
    began = []
    runs_at_once = [threading.Thread(target=lambda n=n: began.append(airflow.may_begin(f"r{n}"))) for n in range(8)]
    airflow.states = {f"r{n}": "running" for n in range(8)}
    for thread in runs_at_once:
        thread.start()
    for thread in runs_at_once:
        thread.join()
    assert sorted(began) == [False] * 7 + [True]


def test_dags_do_not_wait_for_each_other(airflow, own_database):
    airflow.may_begin("one")
    other = airflow.task("two")
    other.dag_id = "another"
    turn.take({"ti": other})


def test_waiting_is_not_counted_as_time_of_the_task(airflow):
    """Airflow tells that a task runs before it asks for its turn, and again when it is let in."""
    began = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
    task = airflow.task("second")
    for moment, ahead in ((began, "running"), (began + timedelta(hours=1), "success")):
        airflow.may_begin("first")
        airflow.states["first"] = ahead
        task.start_date = moment
        listener.on_task_instance_running(None, task)
        if ahead == "running":
            assert not airflow.may_begin("second")
            assert [(row["state"], row["started_at"]) for row in runs.tasks("daily_batch", "second")] == [
                ("up_for_reschedule", None)
            ]
    assert airflow.may_begin("second")
    assert runs.tasks("daily_batch", "second")[0]["started_at"] == began + timedelta(hours=1)
