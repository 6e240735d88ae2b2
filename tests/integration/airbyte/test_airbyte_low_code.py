"""The store's low-code manifest against a service that pages, limits, fails and changes: the CDK does the reading."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import REPOSITORY, Airbyte

MANIFEST = yaml.safe_load((REPOSITORY / "include" / "pipelines" / "connectors" / "store_api.yaml").read_text())
KEY = "a-very-secret-key"
STREAMS = [
    {
        "name": name,
        "syncMode": "incremental_deduped_history",
        "cursorField": ["updated_at"],
        "primaryKey": [[key] for key in keys],
    }
    for name, keys in (("exchange_rates", ["rate_date", "currency"]), ("product_reviews", ["review_id"]))
]


class Service(ThreadingHTTPServer):
    """A small REST service with the answers of the store's."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rates: list[dict[str, Any]] = []
        self.reviews: list[dict[str, Any]] = []
        self.trouble: list[tuple[int, dict[str, str]]] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.headers.get("X-Api-Key") != KEY:
            return self._answer(401, {"error": f"wrong key {self.headers.get('X-Api-Key')}"})
        if self.server.trouble:
            status, headers = self.server.trouble.pop()
            return self._answer(status, {"error": "busy"}, headers)
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        rows = self.server.rates if parts.path.endswith("exchange-rates") else self.server.reviews
        rows = sorted((row for row in rows if row["updated_at"] >= query["updated_since"]), key=_changed)
        page, size = int(query["page"]), int(query["page_size"])
        shown = rows[(page - 1) * size : page * size]
        return self._answer(200, {"data": shown, "page": page, "has_more": page * size < len(rows)})

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the tests' output."""


def _changed(row: dict[str, Any]) -> str:
    return str(row["updated_at"])


def rate(day: int, currency: str, value: float = 1.25) -> dict[str, Any]:
    return {
        "date": f"2026-01-{day:02}",
        "base_currency": "GBP",
        "currency": currency,
        "rate": value,
        "updated_at": f"2026-01-{day:02}T06:00:00Z",
    }


def review(number: int) -> dict[str, Any]:
    at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
    return {
        "review_id": number,
        "product_id": 1,
        "customer_id": 2,
        "rating": 5,
        "body": "Très bon",
        "created_at": at,
        "updated_at": at,
    }


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    server.rates = [rate(1, "EUR"), rate(1, "USD"), rate(2, "EUR")]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def connect(airbyte: Airbyte, destination: str, service: Service, **lakehouse: Any) -> tuple[str, str]:
    workspace = airbyte.workspace()
    definition = airbyte.call(
        "POST",
        f"/workspaces/{workspace}/definitions/declarative_sources",
        json={"name": "store_api", "manifest": MANIFEST},
    )
    configuration = {"base_url": service.url, "api_key": KEY, "start_date": "2000-01-01T00:00:00Z", "page_size": 20}
    source = airbyte.call(
        "POST",
        "/sources",
        json={
            "name": "store_api",
            "workspaceId": workspace,
            "definitionId": definition["id"],
            "configuration": configuration,
        },
    )
    assert source["configuration"]["api_key"] == "**********"
    return airbyte.connect(source["sourceId"], destination, STREAMS, lakehouse=lakehouse)


def test_all_pages_come_with_their_types_and_responses_are_kept(
    airbyte: Airbyte, lake: Lake, destination: str, service: Service
) -> None:
    service.reviews = [review(number) for number in range(50)]
    connection, namespace = connect(airbyte, destination, service, raw_path="bronze/api_test")
    assert airbyte.sync(connection) == 53
    rates = {(row["rate_date"].day, row["currency"]): row for row in lake.rows(namespace, "exchange_rates")}
    assert rates[2, "EUR"] == {
        "rate_date": datetime.date(2026, 1, 2),
        "base_currency": "GBP",
        "currency": "EUR",
        "rate": 1.25,
        "updated_at": datetime.datetime(2026, 1, 2, 6, tzinfo=datetime.UTC),
    }
    reviews = lake.rows(namespace, "product_reviews")
    assert sorted(row["review_id"] for row in reviews) == list(range(50))
    kept = lake.keys("bronze/api_test/product_reviews/timestamp=")
    assert [key.split("/")[-1] for key in kept] == ["response.json", "response_1.json", "response_2.json"]
    assert json.loads(lake.get(kept[0]))["data"] == service.reviews[:20]


def test_only_what_changed_is_delivered_and_equal_instants_are_not_lost(
    airbyte: Airbyte, lake: Lake, destination: str, service: Service
) -> None:
    connection, namespace = connect(airbyte, destination, service)
    assert (airbyte.sync(connection), airbyte.sync(connection)) == (3, 0)
    assert "updated_since=2026-01-02T06%3A00%3A00Z" in service.asked[-1] + service.asked[-2]
    service.rates.append(rate(2, "JPY"))
    assert airbyte.sync(connection) == 1
    service.rates[2] = rate(2, "EUR", 1.5)  # corrected within the same instant
    assert airbyte.sync(connection) == 1
    service.rates.append(rate(3, "EUR"))
    assert (airbyte.sync(connection), airbyte.sync(connection)) == (1, 0)
    values = [(row["rate_date"].day, row["currency"], row["rate"]) for row in lake.rows(namespace, "exchange_rates")]
    assert values[-3:] == [(2, "JPY", 1.25), (2, "EUR", 1.5), (3, "EUR", 1.25)]


def test_limits_and_errors_of_the_service_are_waited_for(airbyte: Airbyte, destination: str, service: Service) -> None:
    connection, _ = connect(airbyte, destination, service)
    service.trouble = [(429, {"Retry-After": "1"}), (500, {}), (503, {})]
    job = airbyte.wait(airbyte.start_sync(connection))
    assert (job["status"], job["rowsSynced"]) == ("succeeded", 3)
    assert len(airbyte.config("/jobs/get", id=job["jobId"])["attempts"]) == 1


def test_a_wrong_key_fails_at_once_and_is_not_shown(airbyte: Airbyte, destination: str, service: Service) -> None:
    connection, _ = connect(airbyte, destination, service)
    source = airbyte.call("GET", f"/connections/{connection}")["sourceId"]
    airbyte.call("PATCH", f"/sources/{source}", json={"configuration": {"api_key": "not-the-right-one"}})
    job = airbyte.wait(airbyte.start_sync(connection))
    details = airbyte.config("/jobs/get", id=job["jobId"])
    assert job["status"] == "failed"
    assert len(details["attempts"]) == 1
    assert service.url in airbyte.reason(job["jobId"])
    assert "credentials" in airbyte.reason(job["jobId"])
    assert "not-the-right-one" not in str(details)


def test_an_unknown_property_is_told_and_a_wrong_value_is_marked(
    airbyte: Airbyte, lake: Lake, destination: str, service: Service
) -> None:
    service.rates = [rate(1, "EUR") | {"source": "bank", "rate": "much"}]
    connection, namespace = connect(airbyte, destination, service)
    job = airbyte.wait(airbyte.start_sync(connection))["jobId"]
    (table,) = lake.tables(namespace, "exchange_rates")
    (row,) = table.to_pylist()
    assert row["rate"] is None
    assert row["_airbyte_meta"]["changes"] == [
        {"field": "rate", "change": "NULLED", "reason": "DESTINATION_SERIALIZATION_ERROR"}
    ]
    log = airbyte.log(job)
    assert "the service sends source, which the manifest's schema does not list" in log
    assert "values of rate do not fit" in log


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def test_a_new_field_of_the_service_is_followed_and_stays_a_column(
    airbyte: Airbyte, lake: Lake, destination: str, service: Service
) -> None:
    connection, namespace = connect(airbyte, destination, service)
    airbyte.sync(connection)
    service.rates = [rate(3, "EUR"), rate(3, "USD") | {"source": "bank"}, rate(3, "JPY") | {"tags": ["a", 1]}]
    job = airbyte.wait(airbyte.start_sync(connection))["jobId"]
    service.rates = [rate(4, "EUR")]
    airbyte.sync(connection)
    before, mixed, after = lake.tables(namespace, "exchange_rates")
    assert "source" not in before.column_names
    assert (mixed["source"].to_pylist(), mixed["tags"].to_pylist()) == ([None, "bank", None], [None, None, '["a",1]'])
    assert (after["source"].to_pylist(), after.schema) == ([None], mixed.schema)
    log = airbyte.log(job)
    assert "the service sends source, which the manifest's schema does not list; followed as text" in log
    assert "Stream exchange_rates: new column source (string), null in older files." in log


def test_a_new_field_is_left_to_the_raw_responses_where_the_connection_ignores_changes(
    airbyte: Airbyte, lake: Lake, destination: str, service: Service
) -> None:
    service.rates = [rate(1, "EUR") | {"source": "bank"}]
    connection, namespace = connect(airbyte, destination, service)
    airbyte.call("PATCH", f"/connections/{connection}", json={"nonBreakingSchemaUpdatesBehavior": "ignore"})
    job = airbyte.wait(airbyte.start_sync(connection))["jobId"]
    assert "source" not in lake.tables(namespace, "exchange_rates")[0].column_names
    assert "does not list; not delivered" in airbyte.log(job)


def test_a_column_that_no_record_has_any_more_is_left_out_also_after_a_clear(
    airbyte: Airbyte, lake: Lake, destination: str, service: Service
) -> None:
    """As a dropped column of a table would be, so that publishing meets it in the same way."""
    service.rates = []
    service.reviews = [without(review(number), "rating") for number in range(3)]
    connection, namespace = connect(airbyte, destination, service, batch_size=1)
    airbyte.sync(connection)
    (first,) = lake.tables(namespace, "product_reviews")
    assert first["rating"].to_pylist() == [None] * 3  # it never had a value: nothing is lost
    service.reviews = [without(review(4), "body", "rating"), without(review(5), "rating")]
    airbyte.sync(connection)
    some = lake.tables(namespace, "product_reviews")[1]
    assert some["body"].to_pylist() == [None, "Très bon"]
    service.reviews = [without(review(number), "body", "rating") for number in (6, 7)]
    job = airbyte.wait(airbyte.start_sync(connection))["jobId"]
    gone = lake.tables(namespace, "product_reviews")[2]
    assert "body" not in gone.column_names and "rating" in gone.column_names
    assert "no record of this sync has body, which earlier syncs delivered" in airbyte.log(job)
    airbyte.wait(airbyte.start_sync(connection, "clear"))
    airbyte.sync(connection)
    (again,) = lake.tables(namespace, "product_reviews")
    assert "body" not in again.column_names
    service.reviews = [review(8) | {"body": None, "rating": None}]  # a null that the service sends is one
    airbyte.sync(connection)
    assert lake.tables(namespace, "product_reviews")[1]["body"].to_pylist() == [None]
