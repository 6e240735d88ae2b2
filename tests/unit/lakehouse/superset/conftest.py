"""A Superset of our own behind httpx, as far as the package uses it, and task contexts. No socket is opened."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml

from lakehouse.superset import session
from lakehouse.superset.bundle import Dumper, Loader
from lakehouse.superset.connection import SupersetSettings
from lakehouse.superset.hook import SupersetHook

URL = "http://superset.test:8088"
PASSWORD = "s3cret/word"
KINDS = {"database": "databases", "dataset": "datasets", "chart": "charts", "dashboard": "dashboards"}


class FakeSuperset:
    """Keeps what is imported, exports it, caches chart results; like Superset 6.1 as far as tests need it.

    `requests` keeps (method, path) without logins; `troubles` maps a path to answers or exceptions to give first.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, dict[str, Any]]] = {}  # uuid -> (file, content)
        self.metadata: dict[str, str] = {}  # slug -> json_metadata
        self.passwords = {"dremio": "dremio-pw"}
        self.cache: dict[str, str] = {}
        self.clock = 0
        self.requests: list[tuple[str, str]] = []
        self.logins = 0
        self.valid_tokens: set[str] = set()
        self.imports: list[tuple[str, set[str], str]] = []  # kind, files, their text
        self.troubles: dict[str, list[httpx.Response | Exception]] = {}
        self.chart_error: dict[str, str] = {}  # metric -> error
        self.caching = True
        self.datasets: dict[int, tuple[str, str]] = {}  # id -> schema and table
        self.keys_are_stored = True  # STORE_CACHE_KEYS_IN_METADATA_DB

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if self.troubles.get(path):
            trouble = self.troubles[path].pop(0)
            if isinstance(trouble, Exception):
                raise trouble
            return trouble
        if path == "/api/v1/security/login":
            return self.log_in(json.loads(request.content))
        if request.headers.get("Accept") != "application/json":
            return httpx.Response(500, text="<html>500</html>")
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.valid_tokens:
            return httpx.Response(401, json={"msg": "Token has expired"})
        if path == "/api/v1/security/csrf_token/":
            return httpx.Response(200, json={"result": "csrf"}, headers={"Set-Cookie": "session=abc; Path=/"})
        self.requests.append((request.method, path))
        signed = request.headers.get("X-CSRFToken") == "csrf" and "session=abc" in request.headers.get("Cookie", "")
        if request.method == "POST" and path != "/api/v1/chart/data" and not signed:
            return httpx.Response(400, json={"message": "400 Bad Request: The CSRF session token is missing."})
        return self.answer(request, path)

    def log_in(self, body: dict[str, Any]) -> httpx.Response:
        if body["password"] != PASSWORD:
            return httpx.Response(401, json={"message": "Not authorized"})
        self.logins += 1
        self.valid_tokens = {f"t{self.logins}"}
        return httpx.Response(200, json={"access_token": f"t{self.logins}", "refresh_token": "r"})

    def answer(self, request: httpx.Request, path: str) -> httpx.Response:
        parts = path.strip("/").split("/")[2:]
        if parts == ["me"]:
            return httpx.Response(200, json={"result": {"username": "admin"}})
        if parts == ["chart", "data"]:
            return self.chart_data(json.loads(request.content))
        if parts == ["dataset"]:
            return self.list_datasets(request.url.params["q"])
        if parts == ["cachekey", "invalidate"]:
            return self.invalidate(json.loads(request.content)["datasource_uids"])
        if parts == ["database", "test_connection"]:
            return self.test_connection(json.loads(request.content)["sqlalchemy_uri"])
        if parts == ["dashboard"]:
            slugs = [content.get("slug") for file, content in self.objects.values() if file.startswith("dashboards/")]
            return httpx.Response(200, json={"result": [{"slug": slug} for slug in [*slugs, None]]})
        if parts == ["dashboard", "export"]:
            return httpx.Response(200, content=self.export())
        if parts[-1] == "import":
            return self.import_zip(KINDS[parts[0]], request)
        return self.dashboard(parts[1])

    def dashboard(self, slug: str) -> httpx.Response:
        dashboards = [content for file, content in self.objects.values() if file.startswith("dashboards/")]
        for number, content in enumerate(dashboards, start=1):
            if content["slug"] == slug:
                metadata = self.metadata.get(slug) or json.dumps(content["metadata"])
                found = {
                    "id": number,
                    "uuid": content["uuid"],
                    "dashboard_title": content["dashboard_title"],
                    "json_metadata": metadata,
                }
                return httpx.Response(200, json={"result": found})
        return httpx.Response(404, json={"message": "Not found"})

    def export(self) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for file, content in self.objects.values():
                shown = dict(content)
                if "sqlalchemy_uri" in shown:
                    shown["sqlalchemy_uri"] = self.mask(shown["sqlalchemy_uri"])
                archive.writestr(f"dashboard_export/{file}", yaml.dump(shown, Dumper=Dumper))
        return buffer.getvalue()

    @staticmethod
    def mask(uri: str) -> str:
        head, _, tail = uri.rpartition("@")
        return f"{head.rpartition(':')[0]}:XXXXXXXXXX@{tail}"

    def import_zip(self, kind: str, request: httpx.Request) -> httpx.Response:
        content = request.content
        start, end = content.index(b"PK\x03\x04"), content.rindex(b"PK\x05\x06") + 22
        with zipfile.ZipFile(io.BytesIO(content[start:end])) as archive:
            files = {name.partition("/")[2]: archive.read(name).decode() for name in archive.namelist()}
        self.imports.append((kind, {name for name in files if name.startswith(kind)}, "".join(files.values())))
        for file, text in files.items():
            parsed = yaml.load(text, Loader=Loader)
            if "uuid" in parsed and (file.startswith(kind) or parsed["uuid"] not in self.objects):
                self.objects[parsed["uuid"]] = (file, parsed)
        return httpx.Response(200, json={"message": "OK"})

    def test_connection(self, uri: str) -> httpx.Response:
        stored = [content["sqlalchemy_uri"] for _, content in self.objects.values() if "sqlalchemy_uri" in content]
        tried = next((one for one in stored if self.mask(one) == uri), uri)
        if f":{self.passwords['dremio']}@" in tried:
            return httpx.Response(200, json={"message": "OK"})
        answer = {"errors": [{"message": "(Unauthenticated) wrong password", "extra": {"issue_codes": []}}]}
        return httpx.Response(422, json=answer)

    def list_datasets(self, query: str) -> httpx.Response:
        wanted = dict(re.findall(r"col:(\w+),opr:eq,value:'((?:[^'!]|!.)*)'", query))
        known = ({"id": one, "schema": schema, "table_name": table} for one, (schema, table) in self.datasets.items())
        found = [each for each in known if all(each[key] == value for key, value in wanted.items())]
        return httpx.Response(200, json={"result": [{"id": each["id"]} for each in found]})

    def invalidate(self, uids: list[str]) -> httpx.Response:
        numbers = {int(uid.removesuffix("__table")) for uid in uids}
        if self.keys_are_stored:
            self.cache = {key: made for key, made in self.cache.items() if json.loads(key)[0]["id"] not in numbers}
        return httpx.Response(201, json={})

    def chart_data(self, body: dict[str, Any]) -> httpx.Response:
        query = body["queries"][0]
        for metric in query["metrics"]:
            metric = metric["label"] if isinstance(metric, dict) else metric
            if metric in self.chart_error and body["result_type"] == "full":
                return httpx.Response(400, json={"message": self.chart_error[metric]})
        if body["result_type"] == "query":
            return httpx.Response(200, json={"result": [{"query": f"SELECT {query['metrics']}"}]})
        key = json.dumps([body["datasource"], body["queries"]], sort_keys=True)
        fresh = body.get("force") or key not in self.cache
        if fresh:
            self.clock += 1
            now = f"2026-01-01T00:00:{self.clock:02}"
            if self.caching:
                self.cache[key] = now
        result = {
            "is_cached": None if fresh else True,
            "queried_dttm": now if fresh else self.cache[key],
            "cache_timeout": 60,
            "error": None,
            "rowcount": 3,
        }
        return httpx.Response(200, json={"result": [result]})

    def sent(self, method: str, path: str) -> int:
        return self.requests.count((method, path))


@pytest.fixture
def superset(monkeypatch: pytest.MonkeyPatch) -> FakeSuperset:
    fake = FakeSuperset()
    arguments = session._client_arguments
    monkeypatch.setattr(
        session,
        "_client_arguments",
        lambda settings: {**arguments(settings), "transport": httpx.MockTransport(fake)},
    )
    monkeypatch.setattr(session, "FIRST_DELAY", 0)
    return fake


@pytest.fixture
def settings() -> SupersetSettings:
    return SupersetSettings(URL, "admin", PASSWORD)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Airflow connections of Superset and Dremio."""
    superset_connection = {"conn_type": "superset", "host": URL, "login": "admin", "password": PASSWORD}
    dremio = {
        "conn_type": "dremio",
        "host": "dremio.test",
        "port": 9047,
        "login": "ana",
        "password": "dremio-pw",
        "extra": {"flight_port": 32010},
    }
    monkeypatch.setenv("AIRFLOW_CONN_SUPERSET_DEFAULT", json.dumps(superset_connection))
    monkeypatch.setenv("AIRFLOW_CONN_DREMIO_DEFAULT", json.dumps(dremio))


@pytest.fixture
def hook(superset: FakeSuperset, connections: None) -> Iterator[SupersetHook]:
    made = SupersetHook()
    with made.session:
        yield made


@pytest.fixture
def context() -> dict[str, Any]:
    """A task's context that keeps XComs in `context["xcoms"]`."""
    xcoms: dict[str, Any] = {}
    ti = SimpleNamespace(
        dag_id="d",
        run_id="r",
        task_id="t",
        map_index=-1,
        xcom_push=lambda key, value: xcoms.__setitem__(key, value),
    )
    return {"ti": ti, "xcoms": xcoms}


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    """See `about` in the file."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("recorded_dashboard.json").read_text())
    return loaded
