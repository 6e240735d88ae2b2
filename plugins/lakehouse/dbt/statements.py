"""The statements that dbt runs on Dremio in this process: waited for, checked, cancelled.

dbt-dremio 1.11's cursor (`dbt.adapters.dremio.api.cursor`) waits 0.2 s before its first look at a job, goes on
waiting for ever for one that was cancelled (it looks for CANCELLED, Dremio says CANCELED), and gives nobody the id
of the job it waits for. `watched()` puts this module's waiting in its place while dbt runs in this process.
Its HTTP session waits for ever for a server that takes a request and never answers: `watched()` gives it limits.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lakehouse.dremio.jobs import with_comment

FIRST_LOOK = 0.01  # seconds; doubles up to LONGEST_PAUSE
LONGEST_PAUSE = 0.5
CONNECT_TIMEOUT = 10.0  # seconds
ANSWER_TIMEOUT = 60.0  # seconds without a byte of an answer; Dremio gives a job's id at once, results in pages
CANCEL_PATIENCE = 10.0  # seconds for all cancellations together
ENDED_STATES = ("COMPLETED", "FAILED", "CANCELED", "CANCELLED", "INVALID_STATE")


class Statements:
    """The jobs of one dbt invocation.

    :param before_each: called before a statement is sent; what it raises keeps the statement from being sent.
    :param tags: name the task, for a comment in front of each statement.
    """

    def __init__(
        self, before_each: Callable[[], None] | None = None, tags: Mapping[str, str | int] | None = None
    ) -> None:
        self._before_each = before_each
        self.tags = dict(tags or {})
        self._lock = threading.Lock()
        self._running: dict[str, Any] = {}  # job id -> dbt-dremio's REST client, logged in
        self._stopped = ""

    def cancel(self, reason: str) -> list[str]:
        """Cancel what is running and refuse what would come after it.

        :param reason: becomes dbt's error for what is refused.
        :returns: ids of the jobs that were cancelled; best effort, a server that does not answer is passed over.
        """
        with self._lock:
            self._stopped = reason
            running = dict(self._running)
        cancelled: list[str] = []
        threads = [
            threading.Thread(target=_cancel, args=(client, job_id, cancelled), daemon=True)
            for job_id, client in running.items()
        ]
        for thread in threads:
            thread.start()
        until = time.monotonic() + CANCEL_PATIENCE
        for thread in threads:  # the adapter's request has no limit of its own, and a hung server answers never
            thread.join(max(0.0, until - time.monotonic()))
        return list(cancelled)

    def check(self) -> None:
        """Raise if nothing may be sent any more."""
        if self._stopped:
            raise RuntimeError(self._stopped)
        if self._before_each is not None:
            self._before_each()

    def wait(self, client: Any, job_id: str) -> int:
        """Wait for a job to end. One that could not be asked for may still run: `cancel` cancels it too.

        :returns: its row count, -1 where Dremio gives none.
        :raises RuntimeError: it failed or was cancelled; the text is Dremio's and names the job.
        """
        with self._lock:
            self._running[job_id] = client
        job = self._poll(client, job_id)
        with self._lock:
            self._running.pop(job_id, None)
        if job["jobState"] != "COMPLETED":
            text = job.get("errorMessage") or job.get("cancellationReason") or "no reason was given"
            raise RuntimeError(f"Dremio job {job_id} {job['jobState']}: {text}")
        return int(job.get("rowCount", -1))

    def _poll(self, client: Any, job_id: str) -> dict[str, Any]:
        """The job as it ended."""
        pause = FIRST_LOOK
        cancelled = False
        while True:
            job: dict[str, Any] = client.job_status(job_id)
            if job["jobState"] in ENDED_STATES:
                return job
            if self._stopped and not cancelled:  # it was sent while the others were being cancelled
                client.job_cancel_api(job_id)
                cancelled = True
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _cancel(client: Any, job_id: str, cancelled: list[str]) -> None:
    """Cancel one job, best effort; add it to `cancelled` once the server has answered."""
    try:
        client.job_cancel_api(job_id)
    except Exception:  # the adapter raises a class of its own per HTTP status, and requests' own
        return
    cancelled.append(job_id)


@contextmanager
def watched(statements: Statements) -> Iterator[None]:
    """Let every statement that dbt runs in this process, in any thread, go through `statements`."""
    from dbt.adapters.dremio.api import cursor as adapter
    from dbt.adapters.dremio.api.rest import utils

    cursor_class: Any = adapter.DremioCursor  # Any: its methods are replaced

    waits, sends = cursor_class._populate_rowcount, cursor_class.execute

    def populate_rowcount(cursor: Any) -> None:
        cursor._rowcount = statements.wait(cursor._rest_client, cursor._job_id)

    def execute(cursor: Any, sql: str, bindings: Any = None, fetch: bool = False) -> None:
        statements.check()
        sends(cursor, with_comment(sql, statements.tags), bindings, fetch)

    cursor_class._populate_rowcount, cursor_class.execute = populate_rowcount, execute
    try:
        with _limited(utils.session):
            yield
    finally:
        cursor_class._populate_rowcount, cursor_class.execute = waits, sends


@contextmanager
def _limited(session: Any) -> Iterator[None]:
    """Let no request of a `requests.Session` wait for ever; one that brings a limit of its own keeps it."""
    sends = session.request

    def request(*arguments: Any, timeout: Any = None, **options: Any) -> Any:
        return sends(*arguments, timeout=timeout or (CONNECT_TIMEOUT, ANSWER_TIMEOUT), **options)

    session.request = request
    try:
        yield
    finally:
        session.request = sends
