"""Dashboards exported from the running Superset, and applied to it again."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakehouse.superset.hook import SupersetHook
from lakehouse.superset.operators import SupersetApplyOperator, SupersetExportOperator
from tests.integration.lakehouse.superset.conftest import Corner, _remove


@pytest.fixture
def copied(hook: SupersetHook, corner: Corner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the corner's bundle and declaration, which the operators then find; yields the bundle's folder.

    What was made of it is removed, for the other tests make the corner's own.
    """
    include = tmp_path / "include"
    shutil.copytree(corner.include, include)
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(include))
    yield include / "superset"
    _remove(hook, corner.slug)


def test_what_was_edited_survives_a_round_trip(
    hook: SupersetHook, corner: Corner, copied: Path, context: dict[str, Any], reach: dict[str, str]
) -> None:
    def apply() -> list[str]:
        return SupersetApplyOperator(task_id="apply").execute(context)

    def export() -> list[str]:
        operator = SupersetExportOperator(task_id="export", dashboards=[corner.slug], folder=str(copied))
        return sorted(operator.execute(context)["written"])

    apply()
    assert export() == []  # what was applied comes back as it is
    charts = hook.session.request("GET", f"/api/v1/dashboard/{corner.slug}/charts").json()["result"]
    chart = next(one for one in charts if one["slice_name"] == "Daily revenue")
    params = {**chart["form_data"], "row_limit": 7}
    hook.session.request("PUT", f"/api/v1/chart/{chart['id']}", json={"params": json.dumps(params)})
    title = {"dashboard_title": "Edited", "certified_by": "Ann"}
    hook.session.request("PUT", f"/api/v1/dashboard/{hook.get_dashboard(corner.slug)['id']}", json=title)
    assert export() == ["charts/sales_overview_daily_revenue.yaml", "dashboards/sales_overview.yaml"]
    assert apply() == []
    _remove(hook, corner.slug)
    assert any("does not exist" in line for line in apply())
    assert hook.get_dashboard(corner.slug)["dashboard_title"] == "Edited"
    assert export() == []
    texts = "".join(path.read_text() for path in copied.rglob("*.yaml"))
    assert reach["DREMIO_PASSWORD"] not in texts and reach["SUPERSET_PASSWORD"] not in texts
