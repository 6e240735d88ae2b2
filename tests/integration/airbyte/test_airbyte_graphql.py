"""A low-code manifest against a GraphQL server: cursor pagination and incremental reading in the request's body."""

from __future__ import annotations

import base64
import datetime
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphql import build_schema, graphql_sync

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import Airbyte

MANIFEST = yaml.safe_load(Path(__file__).with_name("graphql_api.yaml").read_text())
TOKEN = "a-very-secret-token"
SCHEMA = build_schema(
    """
    type Query { orders(first: Int!, after: String, updatedSince: String!): OrderConnection! }
    type OrderConnection { nodes: [Order!]! pageInfo: PageInfo! }
    type PageInfo { hasNextPage: Boolean! endCursor: String }
    type Order { id: Int! total: Float updatedAt: String! customer: Customer }
    type Customer { name: String }
    """
)


class GraphQL(ThreadingHTTPServer):
    """Orders behind Query.orders, in the order of their change; its cursors are opaque."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.order_rows: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def orders(self, info: Any, first: int, updatedSince: str, after: str | None = None) -> dict[str, Any]:
        found = sorted((row for row in self.order_rows if row["updatedAt"] >= updatedSince), key=_place)
        rest = [row for row in found if after is None or _place(row) > tuple(json.loads(base64.b64decode(after)))]
        shown = rest[:first]
        end = base64.b64encode(json.dumps(_place(shown[-1])).encode()).decode() if shown else None
        return {"nodes": shown, "pageInfo": {"hasNextPage": len(rest) > first, "endCursor": end}}


class _Handler(BaseHTTPRequestHandler):
    server: GraphQL

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"message": "who are you?"})
        self.server.asked.append(body["variables"])
        result = graphql_sync(SCHEMA, body["query"], self.server, variable_values=body["variables"])
        return self._answer(200, result.formatted)

    def _answer(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the tests' output."""


def _place(row: dict[str, Any]) -> tuple[str, int]:
    return row["updatedAt"], row["id"]


def order(number: int, **changes: Any) -> dict[str, Any]:
    at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
    return {"id": number, "total": number / 4, "updatedAt": at, "customer": {"name": f"é {number}"}} | changes


@pytest.fixture
def service() -> Iterator[GraphQL]:
    server = GraphQL()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def connect(airbyte: Airbyte, destination: str, service: GraphQL) -> tuple[str, str]:
    workspace = airbyte.workspace()
    definitions = f"/workspaces/{workspace}/definitions/declarative_sources"
    definition = airbyte.call("POST", definitions, json={"name": "orders", "manifest": MANIFEST})["id"]
    configuration = {"url": f"http://127.0.0.1:{service.server_address[1]}/graphql", "api_token": TOKEN}
    body = {"name": "o", "workspaceId": workspace, "definitionId": definition, "configuration": configuration}
    source = airbyte.call("POST", "/sources", json=body)["sourceId"]
    stream = {"name": "orders", "syncMode": "incremental_deduped_history"}
    return airbyte.connect(
        source, destination, [stream | {"cursorField": ["updatedAt"], "primaryKey": [["id"]]}], lakehouse={}
    )


def test_all_pages_come_and_then_only_what_changed(
    airbyte: Airbyte, lake: Lake, destination: str, service: GraphQL
) -> None:
    service.order_rows = [order(number) for number in range(50)]
    connection, namespace = connect(airbyte, destination, service)
    assert airbyte.sync(connection) == 50
    rows = lake.rows(namespace, "orders")
    assert [row["id"] for row in rows] == list(range(50))
    at = datetime.datetime(2026, 1, 1, 0, 0, 49, tzinfo=datetime.UTC)
    assert rows[-1] == {"id": 49, "total": 12.25, "updatedAt": at, "customer": '{"name":"é 49"}'}
    pages = [base64.b64decode(asked.get("after") or "").decode() for asked in service.asked[-3:]]
    assert pages == ["", '["2026-01-01T00:00:19Z", 19]', '["2026-01-01T00:00:39Z", 39]']
    assert {asked["first"] for asked in service.asked} == {20}
    assert airbyte.sync(connection) == 0
    assert service.asked[-1]["since"] == "2026-01-01T00:00:49Z"
    service.order_rows += [order(49, id=77), order(3, updatedAt="2026-01-02T00:00:00Z", total=None)]
    assert airbyte.sync(connection) == 2
    assert [(row["id"], row["total"]) for row in lake.rows(namespace, "orders")[50:]] == [(77, 12.25), (3, None)]


def test_an_error_of_graphql_fails_the_sync_with_its_message(
    airbyte: Airbyte, destination: str, service: GraphQL
) -> None:
    service.order_rows = [order(1, customer={"name": "Customer of the first"}), order(2, total="much")]
    connection, _ = connect(airbyte, destination, service)
    airbyte.call("PUT", f"/connections/{connection}/lakehouse", json={"max_retries": 0})
    job = airbyte.wait(airbyte.start_sync(connection))
    assert job["status"] == "failed"
    reason = airbyte.reason(job["jobId"])
    assert "orders: Float cannot represent non numeric value: 'much'" in reason
    assert "Customer of the first" not in reason
    assert TOKEN not in str(airbyte.config("/jobs/get", id=job["jobId"]))
