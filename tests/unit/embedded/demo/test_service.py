"""The REST service: every row once, in pages, in spite of refusals; and what changes when a day is added."""

from __future__ import annotations

import datetime
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from embedded.demo.clock import due_day
from embedded.demo.company import Company
from embedded.demo.feed import Feed, store_tables
from embedded.demo.journal import ShopState
from embedded.demo.limits import Gate
from embedded.demo.service import create_app

END = datetime.date(2026, 3, 31)
SHOP = Company(seed=7, scale=30_000, end_date=END)
KEY = {"X-Api-Key": "secret"}
LOADED = datetime.datetime(2026, 4, 1, 9, 0, tzinfo=datetime.UTC)


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Shop:
    """The journal of a shop, in memory."""

    def __init__(self) -> None:
        self.state: ShopState | None = ShopState(SHOP, END, LOADED)
        self.down = False

    def __call__(self) -> ShopState | None:
        if self.down:
            raise psycopg.OperationalError("connection refused")
        return self.state


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def client(clock: Clock, shop: Shop) -> TestClient:
    return TestClient(create_app(Feed(shop), "secret", Gate(clock)))


def get(client: TestClient, clock: Clock, path: str, **parameters: Any) -> dict[str, Any]:
    """One answer as a patient client gets it: waits when told to, repeats what failed."""
    for _ in range(5):
        response = client.get(path, params=parameters, headers=KEY)
        if response.status_code == 429:
            clock.now += float(response.headers["Retry-After"])
        elif response.status_code != 500:
            return response.json()
    raise AssertionError(f"{path} goes on failing")


def read_all(client: TestClient, clock: Clock, stream: str, **parameters: Any) -> list[dict[str, Any]]:
    rows, page = [], 1
    while True:
        answer = get(client, clock, f"/v1/{stream}", page=page, **parameters)
        assert answer["page"] == page
        rows += answer["data"]
        if not answer["has_more"]:
            return rows
        page += 1


@pytest.mark.parametrize(
    ("stream", "size", "key"),
    [("product-reviews", 10, ("review_id",)), ("exchange-rates", 7, ("date", "currency"))],
)
def test_pages_hold_every_row_once(
    client: TestClient, clock: Clock, stream: str, size: int, key: tuple[str, ...]
) -> None:
    rows = read_all(client, clock, stream, page_size=size)
    keys = [tuple(row[name] for name in key) for row in rows]
    assert len(set(keys)) == len(keys) == store_tables(SHOP, END)[stream].num_rows
    assert read_all(client, clock, stream, page_size=1000) == rows


def test_updated_since_is_inclusive_and_splits_the_rows_in_two(client: TestClient, clock: Clock) -> None:
    rows = read_all(client, clock, "product-reviews", page_size=1000)
    cursor = sorted(row["updated_at"] for row in rows)[len(rows) // 2]
    newer = read_all(client, clock, "product-reviews", page_size=100, updated_since=cursor)
    assert newer == [row for row in rows if row["updated_at"] >= cursor]
    assert any(row["updated_at"] == cursor for row in newer)
    assert read_all(client, clock, "product-reviews", updated_since="2099-01-01") == []


def test_rates_are_of_business_days_in_eight_currencies(client: TestClient, clock: Clock) -> None:
    rows = read_all(client, clock, "exchange-rates")
    days = {row["date"] for row in rows}
    assert len({row["currency"] for row in rows}) == 8 and {row["base_currency"] for row in rows} == {"GBP"}
    assert len(rows) == 8 * len(days)
    assert all(datetime.date.fromisoformat(day).weekday() < 5 for day in days)
    assert all(row["rate"] > 0 and row["updated_at"].endswith("Z") for row in rows)
    corrected = [row for row in rows if not row["updated_at"].startswith(row["date"])]
    assert 0 < len(corrected) < 0.06 * len(rows)


def test_a_new_day_adds_rows_and_edits_old_ones_with_newer_cursors(
    client: TestClient, clock: Clock, shop: Shop
) -> None:
    before = {row["review_id"]: row for row in read_all(client, clock, "product-reviews")}
    shop.state = ShopState(SHOP, END + datetime.timedelta(days=2), LOADED)
    after = {row["review_id"]: row for row in read_all(client, clock, "product-reviews")}
    assert len(after) > len(before)
    edited = [number for number in before if after[number] != before[number]]
    assert edited
    saved = max(row["updated_at"] for row in before.values())
    assert all(after[number]["updated_at"] > saved for number in edited)
    assert all(row["updated_at"] > saved for number, row in after.items() if number not in before)


def test_without_the_key_nothing_is_answered(client: TestClient) -> None:
    assert client.get("/v1/exchange-rates").status_code == 401
    assert client.get("/v1/exchange-rates", headers={"X-Api-Key": "other"}).status_code == 401
    assert client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "parameters",
    [{"page": "0"}, {"page": "x"}, {"page_size": "1001"}, {"page_size": "-1"}, {"updated_since": "yesterday"}],
)
def test_a_parameter_that_cannot_be_used_is_named(client: TestClient, parameters: dict[str, str]) -> None:
    response = client.get("/v1/product-reviews", params=parameters, headers=KEY)
    assert response.status_code == 400
    assert next(iter(parameters)) in response.json()["error"]


def test_an_empty_shop_says_so_and_a_lost_database_does_not_stop_the_service(
    client: TestClient, clock: Clock, shop: Shop
) -> None:
    state, shop.state = shop.state, None
    empty = client.get("/v1/exchange-rates", headers=KEY)
    assert empty.status_code == 503 and "load" in empty.json()["error"]
    shop.state = state
    rows = read_all(client, clock, "exchange-rates")
    shop.down = True
    assert read_all(client, clock, "exchange-rates") == rows


def test_the_fortieth_request_waits_a_second_and_every_seventeenth_fails() -> None:
    clock = Clock()
    gate = Gate(clock)
    answers = [gate.refusal() for _ in range(40)]
    assert [number for number, answer in enumerate(answers, 1) if answer and answer.status == 500] == [17, 34]
    assert answers[-1] is not None and answers[-1].status == 429
    assert answers[-1].headers == {"Retry-After": "1"}
    clock.now += 0.9
    again = gate.refusal()
    assert again is not None and again.status == 429
    clock.now += 0.1
    assert gate.refusal() is None


@pytest.mark.parametrize(
    ("now", "days"),
    [
        ("2026-04-01T09:05", 0),
        ("2026-04-02T00:29", 0),
        ("2026-04-02T00:30", 1),
        ("2026-04-05T12:00", 4),
        ("2026-04-01T00:10", 0),
    ],
)
def test_a_day_becomes_due_half_an_hour_after_it_has_ended(now: str, days: int) -> None:
    moment = datetime.datetime.fromisoformat(now).replace(tzinfo=datetime.UTC)
    assert due_day(ShopState(SHOP, END, LOADED), moment) == END + datetime.timedelta(days=days)
