"""Jobs and streams over an engine that the test controls: order of states, back pressure, cancellation, errors."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from embedded.dremio.engine import Result, Session, Statement, StatementKind
from embedded.dremio.errors import Canceled, ValidationError
from embedded.dremio.jobs.model import JobState
from embedded.dremio.jobs.results import ResultStore
from embedded.dremio.jobs.runner import JobRunner

SCHEMA = pa.schema([("n", pa.int64())])
SESSION = Session(user="someone")


class Store:
    """The jobs in memory alone."""

    def __init__(self):
        self.jobs = []

    def add(self, job):
        self.jobs.append(job)

    def changed(self, job):
        pass

    def unfinished(self):
        return [job for job in self.jobs if not job.done]


class Engine:
    """Gives `batches` batches of one row; fails or waits where a test wants it."""

    def __init__(self, batches=1, fails_at=None):
        self.pool = ThreadPoolExecutor(1)
        self.batches, self.fails_at = batches, fails_at
        self.given = 0

    def prepare(self, sql, session):
        if sql == "wrong":
            raise ValidationError("Column 'x' not found in any table", sql=sql, line=1, column=8)
        return Statement(sql, StatementKind.QUERY, SCHEMA, dataset_paths=(("lake", "t"),))

    def again_if_files_are_gone(self, attempt):
        return attempt(False)

    def execute(self, statement, session, handle):
        return Result(SCHEMA, self._batches(handle))

    def _batches(self, handle):
        for number in range(self.batches):
            if handle.cancelled:
                raise Canceled(handle.reason)
            if number == self.fails_at:
                raise ValidationError("it broke")
            self.given += 1
            yield pa.record_batch([pa.array([number])], SCHEMA)


@pytest.fixture
def make(tmp_path):
    runners = []

    def runner(**options):
        made = JobRunner(Engine(**options), Store(), ResultStore(tmp_path))
        runners.append(made)
        return made

    yield runner
    for one in runners:
        one.close()


def prepared(runner, sql="SELECT"):
    return runner.engine.prepare(sql, SESSION)


def test_a_job_passes_dremios_states(make):
    runner = make(batches=3)
    job = runner.submit("SELECT", SESSION, "REST")
    job.future.result(5)
    assert [state for state, _ in job.history] == [
        JobState.PENDING,
        JobState.METADATA_RETRIEVAL,
        JobState.PLANNING,
        JobState.QUEUED,
        JobState.STARTING,
        JobState.RUNNING,
        JobState.COMPLETED,
    ]
    assert (job.row_count, job.datasets) == (3, ["lake.t"])
    assert runner.results.find(job.job_id).page(1, 5).column("n").to_pylist() == [1, 2]


def test_an_error_is_the_jobs_message_with_its_place(make):
    job = make().submit("wrong", SESSION, "REST")
    job.future.result(5)
    assert job.state is JobState.FAILED
    assert job.error_message.splitlines() == [
        "Column 'x' not found in any table",
        "SQL Query wrong",
        "startLine 1",
        "startColumn 8",
    ]


def test_a_stream_gives_all_batches_in_order(make):
    runner = make(batches=50)
    stream = runner.stream(prepared(runner), SESSION)
    rows = [batch.column(0)[0].as_py() for batch in stream.batches()]
    assert rows == list(range(50))
    assert (stream.job.state, stream.job.row_count) == (JobState.COMPLETED, 50)


def test_a_slow_client_holds_the_query_back(make):
    runner = make(batches=10_000)
    stream = runner.stream(prepared(runner), SESSION)
    batches = stream.batches()
    next(batches)
    time.sleep(0.3)
    assert runner.engine.given < 20
    batches.close()


def test_closing_a_stream_early_cancels_its_job(make):
    runner = make(batches=10_000)
    stream = runner.stream(prepared(runner), SESSION)
    batches = stream.batches()
    next(batches)
    batches.close()
    stream.job.future.result(5)
    assert stream.job.state is JobState.CANCELED
    assert "went away" in stream.job.cancellation_reason


def test_an_error_before_the_first_batch_is_raised_at_once(make):
    runner = make(batches=5, fails_at=0)
    with pytest.raises(ValidationError, match="it broke"):
        runner.stream(prepared(runner), SESSION)


def test_an_error_later_ends_the_stream(make):
    runner = make(batches=50, fails_at=30)
    stream = runner.stream(prepared(runner), SESSION)
    rows = []
    with pytest.raises(ValidationError, match="it broke"):
        rows.extend(stream.batches())
    assert len(rows) == 30
    assert stream.job.state is JobState.FAILED


def test_cancelling_a_running_stream_reaches_its_client(make):
    runner = make(batches=10_000)
    stream = runner.stream(prepared(runner), SESSION)
    batches = stream.batches()
    next(batches)
    runner.cancel(stream.job, "Query cancelled by user 'x'")
    with pytest.raises(Canceled, match="cancelled by user 'x'"):
        for _ in batches:
            pass


def test_the_end_of_the_server_ends_every_job(make):
    runner = make(batches=10_000)
    stream = runner.stream(prepared(runner), SESSION)
    threading.Timer(0.1, runner.close).start()
    with pytest.raises(Canceled, match="stopping"):
        for _ in stream.batches():
            time.sleep(0.001)
    assert stream.job.state is JobState.CANCELED
