"""Airflow's web UI as the on-call person uses it, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.lakehouse_instance import DAG

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


@contextmanager
def logged_in(reach: dict[str, str]) -> Iterator[Page]:
    """A page of Airflow's UI after the login."""
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser here ({', '.join(CHROMIUM)}): the UI is not driven")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(reach["AIRFLOW_URL"])
        page.fill("input[name=username]", reach["AIRFLOW_USERNAME"])
        page.fill("input[name=password]", reach["AIRFLOW_PASSWORD"])
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Dags").first.wait_for()
        yield page
        browser.close()


def clear_group(reach: dict[str, str], run_id: str, group: str) -> None:
    """The clicks of the runbook: the group's page in the run, the clear dialog with Downstream on, Confirm."""
    with logged_in(reach) as page:
        page.goto(f"{reach['AIRFLOW_URL']}/dags/{DAG}/runs/{quote(run_id)}/tasks/group/{group}")
        page.get_by_text(f"{group}", exact=False).first.wait_for()
        page.wait_for_load_state("networkidle")
        page.keyboard.press("Shift+C")
        page.get_by_text(f"Clear Task Instances: {group}").wait_for()
        page.get_by_text("Affected Tasks:").wait_for()
        page.get_by_role("button", name="Confirm").click()
        page.get_by_text(f"Clear Task Instances: {group}").wait_for(state="hidden")


def batch_page(reach: dict[str, str], run_id: str) -> str:
    """What the run's tab of this project shows: which group failed, why, what to do."""
    with logged_in(reach) as page:
        page.goto(f"{reach['AIRFLOW_URL']}/dags/{DAG}/runs/{quote(run_id)}/plugin/lakehouse-report")
        frame = page.frame_locator("iframe").first
        frame.locator("body").wait_for()
        frame.locator("table").first.wait_for()
        return str(frame.locator("body").inner_text())
