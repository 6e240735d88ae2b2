"""The project is parsed once per content, and a stale one is never used."""

import shutil
from pathlib import Path

import pytest

from lakehouse.dbt import manifest

PROJECT = Path(__file__).resolve().parents[4] / "include" / "dbt"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dbt project, and a target folder of its own."""
    shutil.copytree(PROJECT, tmp_path / "include" / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(tmp_path / "include"))
    monkeypatch.setenv("LAKEHOUSE_DBT_TARGET", str(tmp_path / "target"))
    return tmp_path / "include" / "dbt"


def test_parsed_once_per_content_and_found_in_both_slots(project: Path) -> None:
    with pytest.raises(manifest.ManifestMissing, match=r"Run `make up`, or `python -m lakehouse\.dbt\.manifest`"):
        manifest.manifest_path("a")
    assert len(manifest.build()) == 2
    assert manifest.build() == []
    for slot in manifest.SLOTS:
        parsed = manifest.load(slot)
        orders = parsed.nodes["model.lakehouse.fct_orders"]
        assert (orders.database, orders.schema) == ("datalake", f"gold.slot_{slot}")
        staged = parsed.nodes["model.lakehouse.stg_orders"]
        assert (staged.database, staged.schema) == ("staging", "no_schema")
        silver = parsed.nodes["model.lakehouse.int_orders_enriched"]
        assert (silver.database, silver.schema) == ("datalake", "silver")
    with (project / "models" / "marts" / "orders.sql").open("a") as model:
        model.write("\n-- changed\n")
    with pytest.raises(manifest.ManifestMissing):
        manifest.load("a")


def test_a_project_that_does_not_parse_leaves_nothing_and_says_why(project: Path) -> None:
    (project / "models" / "marts" / "orders.sql").write_text("select * from {{ ref('nowhere') }}")
    with pytest.raises(RuntimeError, match="depends on a node named 'nowhere' which was not found"):
        manifest.build()
    with pytest.raises(manifest.ManifestMissing):
        manifest.manifest_path("a")


def test_a_slot_is_a_or_b() -> None:
    with pytest.raises(ValueError, match="slot is 'c', expected one of a, b"):
        manifest.manifest_path("c")
