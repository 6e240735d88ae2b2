"""A small Airbyte behind httpx, and task contexts that use it. No socket is opened."""

import json
from types import SimpleNamespace
from urllib.parse import parse_qs

import httpx
import pytest

from lakehouse.airbyte import client, hook, operators, trigger
from lakehouse.airbyte.client import AirbyteClient, AirbyteSettings, AsyncAirbyteClient

BASE = "http://airbyte.test:8000/api/public/v1"
CONFIG = "http://airbyte.test:8001/api/v1"
POSTGRES = "6f6f0000-0000-4000-8000-000000000001"


class SmallAirbyte:
    """Answers like Airbyte's public and config API, as far as this package uses them.

    `states` is what the job says of itself, one state per question, the last one repeated. `troubles` maps
    (method, path) to answers or exceptions that come first. `requests` keeps (method, path, body).
    """

    def __init__(self):
        self.states = ["succeeded"]
        self.rows = 7
        self.jobs = {}
        self.busy = None
        self.troubles = {}
        self.requests = []
        self.logins = 0
        self.details = {"attempts": []}
        self.catalog = {"streams": []}

    def __call__(self, request):
        path = request.url.path.removeprefix("/api/public/v1").removeprefix("/api/v1")
        form = request.headers.get("content-type", "").startswith("application/x-www-form")
        body = None
        if request.content:
            body = parse_qs(request.content.decode()) if form else json.loads(request.content)
        self.requests.append((request.method, path, body))
        trouble = self.troubles.get((request.method, path))
        if trouble:
            answer = trouble.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if path == "/applications/token":
            self.logins += 1
            return httpx.Response(
                200, json={"access_token": f"t{self.logins}", "token_type": "Bearer", "expires_in": 900}
            )
        if request.url.port == 8001:
            return httpx.Response(200, json=self.details if path.startswith("/jobs") else {"syncCatalog": self.catalog})
        return self._public(request, path)

    def _public(self, request, path):
        if path == "/connections":
            entries = [{"name": "postgres", "connectionId": POSTGRES}, {"name": "double", "connectionId": "x"}]
            return httpx.Response(200, json={"data": [*entries, entries[1]]})
        if path.startswith("/connections/"):
            return httpx.Response(200, json={"workspaceId": "w1"})
        if (request.method, path) == ("POST", "/jobs"):
            if self.busy is not None:
                problem = {"status": 409, "title": "try-again-later", "data": {"message": "A sync is already running"}}
                return httpx.Response(409, json=problem)
            number = len(self.jobs) + 1
            self.jobs[number] = None
            return httpx.Response(200, json=self._job(number, "pending"))
        if path == "/jobs":
            data = [] if self.busy is None else [self._job(self.busy, "running")]
            return httpx.Response(200, json={"data": data})
        number = int(path.rsplit("/", 1)[1])
        if request.method == "DELETE":
            self.states = ["cancelled"]
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return httpx.Response(200, json=self._job(number, state))

    def _job(self, number, state):
        job = {"jobId": number, "status": state, "jobType": "sync", "connectionId": POSTGRES}
        job |= {"startTime": "2026-11-23T01:00Z"}
        if state == "succeeded":
            job |= {"rowsSynced": self.rows, "bytesSynced": 70, "duration": "PT1M2S"}
        return job

    def sent(self, method, path):
        return [body for m, p, body in self.requests if (m, p) == (method, path)]


@pytest.fixture
def airbyte():
    return SmallAirbyte()


@pytest.fixture
def settings():
    conn = SimpleNamespace(
        conn_id="airbyte_default",
        host=BASE,
        login="cid",
        password="hidden-word",
        schema=None,
        extra_dejson={"config_api_url": CONFIG},
    )
    return AirbyteSettings.from_connection(conn)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only by sleeping."""
    now = SimpleNamespace(seconds=1_800_000_000.0, slept=[])

    def sleep(seconds):
        now.slept.append(seconds)
        now.seconds += seconds

    async def sleep_async(seconds):
        sleep(seconds)

    fake = SimpleNamespace(time=lambda: now.seconds, monotonic=lambda: now.seconds, sleep=sleep)
    for module in (client, hook, operators, trigger):
        monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(trigger, "asyncio", SimpleNamespace(sleep=sleep_async))
    return now


@pytest.fixture
def reach(monkeypatch, airbyte, settings, clock):
    """Hooks and triggers get clients of the small Airbyte. Returns a maker of blocking clients."""

    def make():
        return AirbyteClient(settings, transport=httpx.MockTransport(airbyte))

    def connect(self):
        if self._client is None:
            self._client = make()
        return self._client

    async def connect_async(self):
        return AsyncAirbyteClient(settings, transport=httpx.MockTransport(airbyte))

    monkeypatch.setattr(hook.AirbyteHook, "get_conn", connect)
    monkeypatch.setattr(trigger.AirbyteJobTrigger, "_client", connect_async)
    return make


class Store(dict):
    """task_state_store in memory."""

    def set(self, key, value, **_):
        self[key] = value

    def delete(self, key):
        self.pop(key, None)


@pytest.fixture
def context(monkeypatch):
    """A task's context; `facts` of its ti keeps what was recorded, `xcoms` what was pushed."""
    facts, xcoms = [], {}
    monkeypatch.setattr(operators, "record", lambda context, kind, payload: facts.append((kind, payload)))
    ti = SimpleNamespace(
        dag_id="d",
        run_id="r",
        task_id="extract.postgres",
        map_index=-1,
        facts=facts,
        xcoms=xcoms,
        xcom_push=lambda key, value: xcoms.__setitem__(key, value),
    )
    return {"ti": ti, "task_state_store": Store()}
