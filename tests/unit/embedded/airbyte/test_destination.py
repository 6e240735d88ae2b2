"""Where files go, and which configurations are refused."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.destinations import validate
from embedded.airbyte.destinations.s3 import S3Bucket, S3Destination
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.worker.delivery import column_changes, namespace

CONFIGURATION = {
    "s3_bucket_name": "lake",
    "s3_bucket_path": "bronze/landing",
    "s3_endpoint": "http://127.0.0.1:1",
    "access_key_id": "k",
    "secret_access_key": "s",
    "format": {"format_type": "Parquet", "compression_codec": "SNAPPY"},
}
AT = 1_777_593_600_123  # 2026-05-01 00:00:00.123 UTC


def test_keys_are_those_of_airbytes_s3_destination() -> None:
    destination = S3Bucket(CONFIGURATION)
    assert destination.key("source=shop", "orders", AT, 2) == (
        f"bronze/landing/source=shop/orders/2026_05_01_{AT}_2.parquet"
    )
    assert destination.folder("source=shop", "orders") == "bronze/landing/source=shop/orders/"


def test_an_empty_namespace_leaves_no_empty_folder() -> None:
    assert S3Bucket(CONFIGURATION).key("", "orders", AT, 0) == f"bronze/landing/orders/2026_05_01_{AT}_0.parquet"


def test_a_folder_does_not_hold_a_stream_with_a_longer_name() -> None:
    destination = S3Bucket(CONFIGURATION | {"s3_path_format": "${STREAM_NAME}/${EPOCH}_"})
    assert destination.folder("", "orders") == "bronze/landing/orders/"
    assert not destination.key("", "orders_old", AT, 0).startswith(destination.folder("", "orders"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": {"format_type": "CSV"}}, "writes Parquet only"),
        ({"format": {"format_type": "Parquet", "compression_codec": "LZO"}}, "expected one of UNCOMPRESSED, SNAPPY"),
        ({"s3_bucket_name": ""}, "lacks: s3_bucket_name"),
        ({"file_name_pattern": "{date}"}, "file_name_pattern is not supported"),
        ({"s3_path_format": "${NAMESPACE}/${HOUR}"}, "unknown variables: HOUR"),
    ],
)
def test_what_it_does_not_do_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        validate("s3", CONFIGURATION | change)


POSTGRES = {"host": "h", "database": "d", "username": "u"}
ELASTICSEARCH = {"endpoint": "https://search:9200"}


@pytest.mark.parametrize(
    ("type_", "configuration", "said"),
    [
        ("postgres", {"host": "h"}, "lacks: database, username"),
        ("postgres", POSTGRES | {"ssl_mode": {"mode": "sometimes"}}, "expected one of disable, allow"),
        ("postgres", POSTGRES | {"ssl_mode": {"mode": "verify-ca", "ca_certificate": "x"}}, "ca_certificate is not"),
        ("postgres", POSTGRES | {"disable_type_dedupe": True}, "disable_type_dedupe is not supported"),
        ("postgres", POSTGRES | {"jdbc_url_params": "a=b"}, "jdbc_url_params is not supported"),
        ("postgres", POSTGRES | {"cdc_deletion_mode": "none"}, "expected Hard delete or Soft delete"),
        ("elasticsearch", {"endpoint": "search:9200"}, "endpoint is no URL"),
        ("elasticsearch", {"endpoint": "https://u:p@search"}, "without user and password"),
        ("elasticsearch", ELASTICSEARCH | {"authenticationMethod": {"method": "token"}}, "expected none, secret or"),
        ("elasticsearch", ELASTICSEARCH | {"authenticationMethod": {"method": "secret"}}, "lacks: apiKeyId, apiKeyS"),
    ],
)
def test_what_the_others_do_not_do_is_refused(type_: str, configuration: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        validate(type_, configuration)


@pytest.mark.parametrize(
    ("definition", "format_", "expected"),
    [
        ("custom_format", "source=x", "source=x"),
        ("custom_format", "a/${SOURCE_NAMESPACE}", "a/public"),
        ("source", None, "public"),
        ("destination", None, ""),
    ],
)
def test_namespaces(definition: str, format_: str | None, expected: str) -> None:
    connection = {"namespace_definition": definition, "namespace_format": format_}
    stream = ConfiguredStream("orders", "full_refresh_append", namespace="public")
    assert namespace(connection, stream) == expected


def test_column_names_become_those_of_airbytes_parquet_files() -> None:
    destination = S3Destination(S3Bucket(CONFIGURATION), Mock(), AT)
    assert destination.column_names("s", ["a b", "ok_1", "é"]) == ["a_b", "ok_1", "_"]
    with pytest.raises(SyncFailure, match="a b, a-b would not be the only column of that name"):
        destination.column_names("s", ["a b", "a-b"])


def test_changes_of_columns_are_told() -> None:
    before, now = {"a": "int64", "b": "string", "c": "int64"}, {"a": "int64", "c": "string", "d": "bool"}
    assert column_changes(before, now) == [
        "new column d (bool), null in older files.",
        "column b (string) is gone from the source.",
        "column c changed its type from int64 to string.",
    ]
    assert column_changes({}, now) == []
