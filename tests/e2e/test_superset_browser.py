"""A person opens the dashboards: the figures are the released ones, and every chart is answered from the cache."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

from tests.e2e.conftest import FirstRun
from tests.e2e.lakehouse_instance import Dremio

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE_MS = 60_000
# slug -> requests that its charts and select filters send
DASHBOARDS = {"sales-overview": 9, "customer-analytics": 9, "store-invoices": 8}
# how many colours a canvas shows on more than a few pixels
COLOURS = """canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = {};
  for (let i = 0; i < data.length; i += 4) {
    const colour = [data[i], data[i + 1], data[i + 2]];
    if (data[i + 3]) seen[colour] = 1 + (seen[colour] || 0);
  }
  return Object.values(seen).filter(count => count > 50).length;
}"""


@dataclass
class Opened:
    """A dashboard as it stands in the browser, and what the browser asked for meanwhile."""

    page: Page
    at: datetime.datetime
    answers: list[dict[str, Any]] = field(default_factory=list)

    def results(self) -> list[dict[str, Any]]:
        return [result for answer in self.answers for result in answer["result"]]

    def card(self, title: str) -> Any:
        """The chart with this title."""
        has_title = self.page.locator("[data-test='editable-title'], .header-title", has_text=title)
        return self.page.locator(".dashboard-component-chart-holder", has=has_title).filter(has_text=title).first

    def figure(self, title: str) -> str:
        """The text of a big number."""
        return str(self.card(title).locator(".header-line").inner_text()).strip()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser here ({', '.join(CHROMIUM)}): the dashboards are not looked at")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def visitor(browser: Browser, reach: dict[str, str], first_run: FirstRun) -> Iterator[BrowserContext]:
    """Somebody who has just logged in."""
    context = browser.new_context(viewport={"width": 1500, "height": 1500})
    page = context.new_page()
    page.goto(f"{reach['SUPERSET_URL']}/login/")
    page.fill("#username", reach["SUPERSET_USERNAME"])
    page.fill("#password", reach["SUPERSET_PASSWORD"])
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url, timeout=PAGE_MS)
    yield context
    context.close()


@pytest.fixture(scope="module")
def dashboards(visitor: BrowserContext, reach: dict[str, str]) -> dict[str, Opened]:
    """Every dashboard, each opened once."""
    return {slug: open_dashboard(visitor, reach, slug, count) for slug, count in DASHBOARDS.items()}


def open_dashboard(visitor: BrowserContext, reach: dict[str, str], slug: str, requests: int) -> Opened:
    page = visitor.new_page()
    opened = Opened(page, datetime.datetime.now(datetime.UTC))

    def keep(response: Response) -> None:
        if "/api/v1/chart/data" in response.url:
            assert response.ok, f"{slug}: {response.status} {response.text()[:500]}"
            opened.answers.append(response.json())

    page.on("response", keep)
    page.goto(f"{reach['SUPERSET_URL']}/superset/dashboard/{slug}/", timeout=PAGE_MS)
    page.wait_for_selector(".dashboard-component-chart-holder", timeout=PAGE_MS)
    for _ in range(PAGE_MS // 250):
        if len(opened.answers) >= requests and page.locator("[data-test='loading-indicator']").count() == 0:
            break
        page.wait_for_timeout(250)
    page.wait_for_timeout(2000)  # charts draw themselves in; and nothing may be asked for late
    return opened


def money(value: Any) -> str:
    return f"£ {Decimal(value).quantize(Decimal(1), ROUND_HALF_UP):,}"


@pytest.mark.parametrize("slug", DASHBOARDS)
def test_the_first_opening_is_answered_from_the_cache_alone(dashboards: dict[str, Opened], slug: str) -> None:
    opened = dashboards[slug]
    assert len(opened.answers) == DASHBOARDS[slug]
    assert [result["is_cached"] for result in opened.results()] == [True] * len(opened.results())
    for result in opened.results():
        queried = datetime.datetime.fromisoformat(result["queried_dttm"])
        assert queried < opened.at, f"queried while the page was open: {result['query']}"
        assert result["rowcount"] > 0, f"an empty chart: {result['query']}"


def test_sales_shows_the_released_revenue(dashboards: dict[str, Opened], dremio: Dremio) -> None:
    ((revenue, orders, lost),) = dremio.rows(
        "SELECT SUM(amount), SUM(orders), SUM(lost_amount) FROM gold.fct_daily_revenue"
    )
    sales = dashboards["sales-overview"]
    assert sales.figure("Revenue") == money(revenue)
    assert sales.figure("Orders") == f"{orders:,}"
    assert sales.figure("Cancelled or returned") == money(lost)


def test_customers_shows_the_released_values_of_the_chosen_segments(
    dashboards: dict[str, Opened], dremio: Dremio
) -> None:
    ((customers, value),) = dremio.rows(
        "SELECT COUNT(*), SUM(lifetime_value) FROM gold.customer_metrics"
        " WHERE value_segment IN ('high', 'medium', 'low')"
    )
    page = dashboards["customer-analytics"]
    assert page.figure("Customers") == f"{customers:,}"
    assert page.figure("Lifetime value") == money(value)
    ((number, name, best),) = dremio.rows(
        "SELECT customer_id, customer_name, lifetime_value FROM gold.fct_customer_lifetime_value"
        " ORDER BY lifetime_value DESC LIMIT 1"
    )
    first_row = page.card("Top customers").locator("tbody tr").first.inner_text()
    assert first_row.split("\t")[:3] == [str(number), name, f"£ {Decimal(best):,.2f}"]


def test_invoices_show_the_released_figures(dashboards: dict[str, Opened], dremio: Dremio) -> None:
    ((revenue, invoices, cancelled),) = dremio.rows(
        "SELECT SUM(daily_revenue), SUM(invoices), SUM(cancelled_amount) FROM gold.fct_daily_invoices"
    )
    page = dashboards["store-invoices"]
    assert page.figure("Net revenue of the stores") == money(revenue)
    assert page.figure("Invoices") == f"{invoices:,}"
    assert page.figure("Cancelled amount") == money(cancelled)


@pytest.mark.parametrize(
    ("slug", "title"),
    [
        ("sales-overview", "Daily revenue"),
        ("sales-overview", "Orders per week by status"),
        ("sales-overview", "Amount by category"),
        ("sales-overview", "Amount by state"),
        ("customer-analytics", "New customers per week"),
        ("customer-analytics", "Customers by segment"),
        ("store-invoices", "Store revenue per day"),
        ("store-invoices", "Revenue by country"),
    ],
)
def test_the_charts_are_drawn(dashboards: dict[str, Opened], slug: str, title: str) -> None:
    canvas = dashboards[slug].card(title).locator("canvas").first
    # text and axes are two shades; a series makes it more
    assert canvas.evaluate(COLOURS) >= 3, f"{title} shows nothing but its frame"
