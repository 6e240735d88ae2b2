import json
from types import SimpleNamespace

import pytest

from lakehouse.dremio.exceptions import DremioError, DremioJobCanceled, DremioJobFailed
from lakehouse.dremio.jobs import Job, JobState, task_tags, with_comment


def test_reads_reflections_of_a_completed_job():
    relations = [
        {"datasetId": "d", "reflectionId": "r1", "relationship": "CHOSEN"},
        {"datasetId": "d", "reflectionId": "r2", "relationship": "CONSIDERED"},
    ]
    body = {
        "jobState": "COMPLETED",
        "rowCount": 3,
        "acceleration": {"reflectionRelationships": relations},
    }
    job = Job.parse("1", body)
    assert (job.row_count, job.chosen, job.considered) == (3, ("r1",), ("r2",))


def test_an_unknown_state_is_refused():
    with pytest.raises(DremioError, match="'CANCELLED', which is none of the known states"):
        Job.parse("1", {"jobState": "CANCELLED"})


def test_terminal_states():
    ended = {state for state in JobState if state.is_terminal}
    assert ended == {"COMPLETED", "CANCELED", "FAILED", "INVALID_STATE"}


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        ({"jobState": "FAILED", "errorMessage": "Column x not found"}, DremioJobFailed, "Column x not found"),
        ({"jobState": "CANCELED", "cancellationReason": "by ana"}, DremioJobCanceled, "cancelled: by ana"),
    ],
)
def test_a_bad_end_raises_with_the_servers_words_and_the_statement(body, error, text):
    with pytest.raises(error, match=text) as caught:
        Job.parse("1", body).raise_for_state("SELECT x")
    assert "SELECT x" in str(caught.value) and caught.value.job_id == "1"


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETED"])
def test_a_good_or_open_state_does_not_raise(state):
    Job.parse("1", {"jobState": state}).raise_for_state()


def test_the_comment_names_the_task():
    ti = SimpleNamespace(dag_id="d", task_id="g.t", run_id="manual__2026-11-23", try_number=2, map_index=3)
    sql = with_comment("SELECT 1", task_tags({"ti": ti}))
    comment, statement = sql.split("\n")
    assert statement == "SELECT 1"
    assert json.loads(comment.removeprefix("/* ").removesuffix(" */")) == {
        "dag_id": "d",
        "task_id": "g.t",
        "run_id": "manual__2026-11-23",
        "try_number": 2,
        "map_index": 3,
    }


def test_no_value_can_end_the_comment():
    sql = with_comment("SELECT 1", {"run_id": "x */ DROP TABLE t; /* // y"})
    comment = sql.removesuffix("\nSELECT 1")
    assert comment.count("*/") == 1 and comment.endswith("*/") and "//" not in comment


def test_without_a_task_the_statement_is_unchanged():
    assert with_comment("SELECT 1", task_tags({})) == "SELECT 1"
