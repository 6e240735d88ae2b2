"""Promises of the dbt project that can be read from its parsed form: documented, keyed, contracted, Dremio's SQL."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse.dbt import manifest
from lakehouse.superset.bundle import read_folder
from lakehouse.superset.documented import sync

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The project's nodes as dbt parses them, for slot b."""
    before = {name: os.environ.get(name) for name in ("LAKEHOUSE_DBT_TARGET", "LAKEHOUSE_INCLUDE")}
    os.environ["LAKEHOUSE_DBT_TARGET"] = str(tmp_path_factory.mktemp("dbt"))
    os.environ["LAKEHOUSE_INCLUDE"] = str(REPOSITORY / "include")
    manifest.build()
    yield dict(manifest.load("b").nodes)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def models(nodes: dict[str, Any], folder: str = "") -> list[Any]:
    return [node for node in nodes.values() if node.resource_type == "model" and node.path.startswith(folder)]


def test_every_model_and_column_is_documented(nodes: dict[str, Any]) -> None:
    bare = [node.name for node in models(nodes) if not node.description or not node.columns]
    assert bare == []
    columns = [
        f"{node.name}.{name}" for node in models(nodes) for name, it in node.columns.items() if not it.description
    ]
    assert columns == []


def test_a_description_says_what_one_row_is(nodes: dict[str, Any]) -> None:
    assert [node.name for node in models(nodes) if "One row per" not in node.description] == []


def test_marts_have_a_contract_a_key_and_a_slot(nodes: dict[str, Any]) -> None:
    unique = {node.attached_node for node in nodes.values() if node.resource_type == "test" and "unique" in node.name}
    for node in models(nodes, "marts/"):
        assert node.config.contract.enforced, node.name
        assert node.unique_id in unique, f"{node.name}: no test of its key"
        assert (node.database, node.schema) == ("datalake", "gold.slot_b"), node.name


def test_incremental_models_follow_their_sources(nodes: dict[str, Any]) -> None:
    incremental = [node for node in models(nodes) if node.config.materialized == "incremental"]
    assert {node.name for node in incremental} == {"int_orders_enriched", "fct_orders"}
    for node in incremental:
        followed = "append_new_columns" if node.config.contract.enforced else "sync_all_columns"
        assert node.config.on_schema_change == followed, node.name
        assert node.config.incremental_strategy == "merge" and node.config.unique_key, node.name


def test_views_are_in_the_space_of_their_layer(nodes: dict[str, Any]) -> None:
    for node in models(nodes):
        if node.config.materialized == "view":
            assert (node.database, node.schema) == (node.path.split("/")[0], "no_schema"), node.name


def test_only_staging_and_the_history_read_sources(nodes: dict[str, Any]) -> None:
    readers = {node.name for node in models(nodes) if any(name.startswith("source.") for name in node.depends_on.nodes)}
    others = {name for name in readers if not name.startswith(("stg_", "base_"))}
    assert others == {"customer_address_history", "int_orders_live_status"}


def test_every_name_of_the_document_is_a_mart(nodes: dict[str, Any]) -> None:
    asked_for = {"customers", "orders", "fct_orders", "fct_daily_revenue", "fct_customer_lifetime_value"}
    asked_for |= {"daily_revenue", "customer_metrics", "dim_customers"}
    assert asked_for <= {node.name for node in models(nodes, "marts/")}


def test_the_dashboards_datasets_are_as_dbt_documents_them(nodes: dict[str, Any], tmp_path: Path) -> None:
    """If not: `make sync-datasets`."""
    bundle = shutil.copytree(REPOSITORY / "include/superset", tmp_path / "superset")
    assert sync(bundle, json.loads(manifest.manifest_path("a").read_text())) == []
    assert all(item.content["extra"]["certification"] for item in read_folder(bundle).of("datasets"))


def test_dashboards_of_the_exposures_are_the_declared_ones() -> None:
    declared = yaml.safe_load((REPOSITORY / "include/pipelines/dashboards.yaml").read_text())["dashboards"]
    exposures = yaml.safe_load((REPOSITORY / "include/dbt/models/marts/_exposures.yml").read_text())["exposures"]
    assert {each["name"] for each in exposures} == {name.replace("-", "_") for name in declared}


@pytest.mark.parametrize("function", ["DATEDIFF('day'", "INTERVAL '30 days'", "::", "try_cast", "strptime", "epoch("])
def test_no_dialect_but_dremios(function: str) -> None:
    files = [*(REPOSITORY / "include/dbt/models").rglob("*.sql"), *(REPOSITORY / "include/dbt/tests").rglob("*.sql")]
    assert [file.name for file in files if function.lower() in file.read_text().lower()] == []
