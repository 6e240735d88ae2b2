"""The lake's bucket is the connection's, in every file of this installation that names it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lakehouse.airbyte.apply import _configuration
from lakehouse.airbyte.declared import Airbyte
from lakehouse.dremio.declared.catalog import Catalog
from lakehouse.dremio.declared.source_config import source_config
from lakehouse.minio.declared import Storage
from lakehouse.ops.declarations import DeclarationError, load
from lakehouse.ops.lake import bucket_of

NAMED = {"service_config": {"s3": {"bucket_name": "my-lake"}}}


def connection(extra: dict[str, Any]) -> Any:
    return SimpleNamespace(
        conn_id="minio_default", login="k", password="s", extra=json.dumps(extra), extra_dejson=extra
    )


@pytest.mark.parametrize(
    ("extra", "bucket"),
    [
        pytest.param(NAMED, "my-lake", id="named"),
        pytest.param({}, "datalake", id="no extra"),
        pytest.param({"service_config": None}, "datalake", id="empty"),
        pytest.param({"service_config": {"sts": {}}}, "datalake", id="of another service"),
    ],
)
def test_it_is_the_same_in_all_files(extra: dict[str, Any], bucket: str) -> None:
    conn = connection(extra)
    assert bucket_of(conn) == bucket
    assert [one.name for one in load("storage.yaml", Storage).named(bucket)] == [bucket, "inbox"]
    lake = next(source for source in load("dremio.yaml", Catalog).sources if source.type == "S3")
    assert lake.name == "datalake" and source_config(lake, conn)["rootPath"] == f"/{bucket}"
    (destination,) = load("airbyte.yaml", Airbyte).destinations
    assert _configuration(destination, lambda _: conn)["s3_bucket_name"] == bucket


def test_two_buckets_without_a_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "storage.yaml").write_text("buckets: [{prefixes: [a]}, {prefixes: [b]}]")
    with pytest.raises(DeclarationError, match="a bucket without a name, which is the lake, is declared twice"):
        load(tmp_path / "storage.yaml", Storage)
