"""Waiting for Dremio's jobs, on dbt-dremio's real cursor with a server made of a script."""

import threading
import time
from typing import Any

import pytest
import requests
from dbt.adapters.dremio.api.authentication import DremioAuthentication
from dbt.adapters.dremio.api.cursor import DremioCursor
from dbt.adapters.dremio.api.parameters import SoftwareParameters
from dbt.adapters.dremio.api.rest import utils
from dbt.adapters.dremio.api.rest.client import DremioRestClient

from lakehouse.dbt import statements as module
from lakehouse.dbt.statements import Statements, watched


class ScriptedClient:
    """Stands for dbt-dremio's REST client: each job goes through `states`, the last of which stays."""

    def __init__(self, *states: str, error: str = "") -> None:
        self.states = list(states)
        self.error = error
        self.sent: list[str] = []
        self.cancelled: list[str] = []

    def sql_endpoint(self, sql: str, context: Any = None) -> dict[str, str]:
        self.sent.append(sql)
        return {"id": f"job-{len(self.sent)}"}

    def job_status(self, job_id: str) -> dict[str, Any]:
        if job_id in self.cancelled:
            return {"jobState": "CANCELED", "errorMessage": "", "cancellationReason": "Query cancelled by user 'etl'"}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"jobState": state, "errorMessage": self.error, "rowCount": 7}

    def job_cancel_api(self, job_id: str) -> None:
        self.cancelled.append(job_id)


def execute(client: ScriptedClient, statements: Statements, sql: str = "select 1") -> DremioCursor:
    cursor = DremioCursor(client)  # type: ignore[arg-type]
    with watched(statements):
        cursor.execute(sql)
    return cursor


def test_a_quick_job_is_not_waited_for_longer_than_it_takes() -> None:
    started = time.monotonic()
    cursor = execute(ScriptedClient("RUNNING", "COMPLETED"), Statements())
    assert cursor.rowcount == 7
    assert time.monotonic() - started < 0.15  # the adapter's own loop sleeps 0.2 s at the least


def test_a_failed_job_raises_with_its_id_and_text() -> None:
    with pytest.raises(RuntimeError, match="job-1 FAILED: Column 'x' not found"):
        execute(ScriptedClient("FAILED", error="Column 'x' not found"), Statements())


def test_a_cancelled_job_ends_the_wait() -> None:
    client = ScriptedClient("RUNNING")
    client.cancelled.append("job-1")
    with pytest.raises(RuntimeError, match="CANCELED: Query cancelled by user"):
        execute(client, Statements())


def test_cancel_reaches_the_jobs_that_run_and_refuses_the_next() -> None:
    client, statements = ScriptedClient("RUNNING"), Statements()
    errors: list[str] = []

    def run() -> None:
        try:
            execute(client, statements)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not statements._running:
        time.sleep(0.001)
    assert statements.cancel("the task was killed") == ["job-1"]
    thread.join(timeout=5)
    assert errors and "CANCELED" in errors[0]
    with pytest.raises(RuntimeError, match="the task was killed"):
        execute(client, statements, "drop table x")
    assert client.sent == ["select 1"]


def test_a_statement_is_not_sent_once_the_lease_is_lost() -> None:
    def lost() -> None:
        raise RuntimeError("lease lost")

    client = ScriptedClient("COMPLETED")
    with pytest.raises(RuntimeError, match="lease lost"):
        execute(client, Statements(before_each=lost))
    assert client.sent == []


def test_the_adapter_is_as_it_was_afterwards() -> None:
    before = DremioCursor.execute, DremioCursor._populate_rowcount
    with pytest.raises(RuntimeError):
        execute(ScriptedClient("FAILED"), Statements())
    assert (DremioCursor.execute, DremioCursor._populate_rowcount) == before


def hung_client(server: tuple[str, int]) -> DremioRestClient:
    """dbt-dremio's own client, logged in at a server that has stopped answering."""
    login = DremioAuthentication.build(username=None, password=None, pat="token", verify_ssl=False)
    return DremioRestClient(SoftwareParameters(base_url="http://{}:{}".format(*server), authentication=login))


@pytest.mark.timeout(30)
def test_a_server_that_never_answers_fails_the_statement(
    silent_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.2)
    before = utils.session.request
    with pytest.raises(requests.Timeout):
        execute(hung_client(silent_server), Statements())  # type: ignore[arg-type]
    assert utils.session.request == before


@pytest.mark.timeout(30)
def test_cancelling_at_a_server_that_never_answers_ends(
    silent_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CANCEL_PATIENCE", 0.3)
    statements = Statements()
    client = hung_client(silent_server)
    statements._running = {f"job-{number}": client for number in range(3)}
    started = time.monotonic()
    assert statements.cancel("the task's time is over") == []
    assert time.monotonic() - started < 2  # of all three together


def test_a_job_that_could_not_be_asked_for_is_cancelled_at_the_end() -> None:
    class Gone(ScriptedClient):
        def job_status(self, job_id: str) -> dict[str, Any]:
            raise requests.ReadTimeout("no answer")

    client, statements = Gone("RUNNING"), Statements()
    with pytest.raises(requests.ReadTimeout):
        execute(client, statements)
    assert statements.cancel("this dbt task has ended") == ["job-1"]
