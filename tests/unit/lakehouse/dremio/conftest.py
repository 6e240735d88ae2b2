"""A scripted Dremio behind httpx, and hooks and task contexts that use it. No socket is opened."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.sdk import Connection

from lakehouse.dremio import rest
from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.hook import DremioHook

Answer = httpx.Response | BaseException | dict[str, Any] | list[Any] | None


class ScriptedDremio:
    """Answers requests from a script; the last answer of a route is repeated.

    A route without a script is a 404, as for an unknown entity. `requests` keeps (method, path, body).
    """

    def __init__(self) -> None:
        self.script: dict[tuple[str, str], list[Answer | Callable[[httpx.Request], Answer]]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.tokens: list[str | None] = []
        self.on("POST", "/apiv2/login", {"token": "t1"})

    def on(self, method: str, path: str, *answers: Any) -> None:
        self.script[(method, path)] = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().split("?")[0]
        body = json.loads(request.content) if request.content else None
        self.requests.append((request.method, path, body))
        self.tokens.append(request.headers.get("Authorization"))
        answers = self.script.get((request.method, path))
        if answers is None:
            return httpx.Response(404, json={"errorMessage": f"no {path}", "moreInfo": ""})
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer = answer(request) if callable(answer) and not isinstance(answer, httpx.Response) else answer
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(204) if answer is None else httpx.Response(200, json=answer)

    def sent(self, method: str, path: str) -> list[Any]:
        """Bodies of the requests to a route, in order."""
        return [body for m, p, body in self.requests if (m, p) == (method, path)]

    def statements(self) -> list[str]:
        """SQL submitted, without the task's comment."""
        return [body["sql"].split("*/\n")[-1] for body in self.sent("POST", "/api/v3/sql")]

    def on_sql(self, outcomes: Callable[[str], dict[str, Any]]) -> None:
        """Run statements: `outcomes(sql)` gives the job's body, with `rows` for its results."""

        def submit(request: httpx.Request) -> dict[str, Any]:
            sql = json.loads(request.content)["sql"].split("*/\n")[-1]
            job_id = f"job-{len(self.sent('POST', '/api/v3/sql'))}"
            body = {"jobState": "COMPLETED", "rowCount": 1} | outcomes(sql)
            rows = body.pop("rows", [])
            self.on("GET", f"/api/v3/job/{job_id}", body)
            schema = [{"name": name, "type": {"name": "VARCHAR"}} for name in (rows[0] if rows else {})]
            schema = body.pop("schema", schema)
            page = {"rowCount": len(rows), "schema": schema, "rows": rows}
            self.on("GET", f"/api/v3/job/{job_id}/results", page)
            return {"id": job_id}

        self.on("POST", "/api/v3/sql", submit)


class FakeStore(dict[str, Any]):
    """Airflow's task state store, for one task instance."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


@pytest.fixture
def dremio(monkeypatch: pytest.MonkeyPatch) -> ScriptedDremio:
    monkeypatch.setattr(rest, "FIRST_DELAY", 0.0)
    monkeypatch.setattr(rest, "_tokens", {})
    return ScriptedDremio()


@pytest.fixture
def connection() -> Connection:
    return Connection(
        conn_id="dremio_default",
        conn_type="dremio",
        host="dremio.test",
        port=9047,
        login="ana",
        password="s3cret-word",
        extra="{}",
    )


@pytest.fixture
def hook(dremio: ScriptedDremio, connection: Connection) -> Iterator[DremioHook]:
    made = DremioHook("dremio_default", connection=connection)
    with rest.RestSession(DremioSettings.from_connection(connection), transport=httpx.MockTransport(dremio)) as session:
        made.__dict__["rest"] = session
        yield made


@pytest.fixture
def task_context() -> dict[str, Any]:
    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        dag_id="daily_batch",
        task_id="run_sql",
        run_id="manual__1",
        try_number=1,
        map_index=-1,
        pushed=pushed,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    return {"ti": ti, "task_state_store": FakeStore()}
