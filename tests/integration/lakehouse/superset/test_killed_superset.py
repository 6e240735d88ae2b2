"""Superset's operators, killed after their writes and run again: the end is that of an unbroken run."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakehouse.superset.bundle import canonical
from lakehouse.superset.cached import not_cached
from lakehouse.superset.hook import SupersetHook
from lakehouse.superset.operators import (
    SupersetApplyOperator,
    SupersetExportOperator,
    SupersetInvalidateOperator,
    SupersetWarmUpOperator,
)
from lakehouse.superset.operators.warm_up import planned
from tests.integration.lakehouse.killing import Tries, killed_after_its_writes
from tests.integration.lakehouse.superset.conftest import Corner, Dremio, _remove, made_of

EXAMPLES = Path(__file__).resolve().parents[4] / "docs" / "examples" / "include"
pytestmark = pytest.mark.usefixtures("own_database")


@pytest.fixture(scope="module")
def corner(dremio: Dremio, hook: SupersetHook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corner]:
    """The dashboard of the examples, which has one chart: each kill costs a whole run."""
    with made_of(EXAMPLES, "lakehouse-example", dremio, hook, tmp_path_factory.mktemp("include")) as made:
        yield made


def apply(corner: Corner, tmp_path: Path) -> Tries:
    return Tries(lambda: SupersetApplyOperator(task_id="apply"), tmp_path / "apply.json")


def test_apply(hook: SupersetHook, corner: Corner, tmp_path: Path) -> None:
    task = apply(corner, tmp_path)

    def seen() -> Any:
        found = {kind: [canonical(item) for item in hook.export_existing([corner.slug]).of(kind)] for kind in KINDS}
        query = json.dumps({"filters": [{"col": "database_name", "opr": "eq", "value": corner.space}]})
        return found, hook.session.request("GET", "/api/v1/database/", params={"q": query}).json()["count"]

    assert killed_after_its_writes(task, lambda: _remove(hook, corner.slug), seen) >= 4
    found, databases = seen()
    assert [len(found[kind]) for kind in KINDS] == [1, 1, 1, 1] and databases == 1
    assert task.run() == []


def test_export(hook: SupersetHook, corner: Corner, tmp_path: Path) -> None:
    """A file is the old one or the new one at any instant, and nothing lies beside them in the end."""
    apply(corner, tmp_path).run()
    folder = tmp_path / "bundle"

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(corner.include / "superset", folder)
        for file in ("charts", "dashboards"):
            (path,) = (folder / file).glob("*.yaml")
            path.write_text(
                path.read_text().replace("Revenue of", "Turnover of").replace("published: true", "published: false")
            )

    def seen() -> dict[str, str]:
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    fresh()
    before = seen()

    def readers() -> None:
        assert all(seen()[name] in (before[name], after[name]) for name in before)

    task = Tries(
        lambda: SupersetExportOperator(task_id="export", dashboards=[corner.slug], folder=str(folder)),
        tmp_path / "export.json",
    )
    task.run()
    after = seen()
    assert after != before
    assert killed_after_its_writes(task, fresh, seen, readers) >= 5


def test_warm_up_and_invalidate(hook: SupersetHook, corner: Corner, tmp_path: Path) -> None:
    apply(corner, tmp_path).run()
    requests = planned(hook, [corner.slug])
    warm_up = Tries(lambda: SupersetWarmUpOperator(task_id="warm"), tmp_path / "warm.json")
    forget = Tries(
        lambda: SupersetInvalidateOperator(task_id="forget", datasets=["daily_revenue"], schema=corner.space),
        tmp_path / "forget.json",
    )

    def missing() -> list[str]:
        return asyncio.run(not_cached(hook, requests))

    assert killed_after_its_writes(warm_up, forget.run, missing) >= 2
    assert missing() == []
    assert killed_after_its_writes(forget, warm_up.run, missing) >= 2
    assert warm_up.result["cached"] == warm_up.result["warmed"] == len(requests)


KINDS = ("databases", "datasets", "charts", "dashboards")
