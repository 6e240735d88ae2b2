"""The files under include/pipelines hold what this server accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from embedded.airbyte.catalog import SCHEMA_CHANGES, SYNC_MODES
from embedded.airbyte.connections import checked_lakehouse
from embedded.airbyte.destinations import validate
from embedded.airbyte.sources import SOURCE_TYPES, s3
from embedded.airbyte.sources.declarative import DeclarativeSource
from embedded.airbyte.sources.postgres import PostgresSource

PIPELINES = Path(__file__).parents[4] / "include" / "pipelines"
FILES = sorted((PIPELINES / "connections").glob("*.yaml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_connection_is_acceptable(path: Path) -> None:
    declared = load(path)
    streams = [stream["name"] for stream in declared["streams"]]
    assert declared["name"] == path.stem
    assert declared["source"]["type"] in SOURCE_TYPES
    assert declared["schema_changes"] in SCHEMA_CHANGES
    assert {stream["sync_mode"] for stream in declared["streams"]} <= set(SYNC_MODES)
    assert checked_lakehouse(declared["lakehouse"], streams) == declared["lakehouse"]


def test_the_destination_is_acceptable() -> None:
    for destination in load(PIPELINES / "airbyte.yaml")["destinations"]:
        validate(destination["type"], destination["configuration"])


def test_every_source_can_be_made_and_offers_its_streams() -> None:
    store = load(PIPELINES / "connections" / "store_api.yaml")
    manifest = load(PIPELINES / store["source"]["manifest"])
    configuration = store["source"]["configuration"] | {"base_url": "http://127.0.0.1:1", "api_key": "k"}
    offered = {stream.name: stream for stream in DeclarativeSource(configuration, manifest, {}).discover()}
    for stream in store["streams"]:
        assert stream["cursor_field"] in offered[stream["name"]].columns
        assert set(stream["primary_key"]) <= set(offered[stream["name"]].columns)
    files = load(PIPELINES / "connections" / "store_files.yaml")
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "endpoint": "http://127.0.0.1:1"}
    (invoices,) = s3.build(files["source"]["configuration"] | keys, None, files["lakehouse"]).discover()
    assert next(iter(invoices.columns)) == "InvoiceNo"
    shop = load(PIPELINES / "connections" / "postgres.yaml")
    PostgresSource(shop["source"]["configuration"] | {"host": "h", "database": "d", "username": "u"}, shop["lakehouse"])
