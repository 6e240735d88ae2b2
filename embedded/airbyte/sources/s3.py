"""Airbyte's source-s3: the files of a bucket."""

from typing import Any

from embedded.airbyte.sources.file_storage import S3Storage
from embedded.airbyte.sources.file_streams import file_streams, refuse_other_than_records
from embedded.airbyte.sources.files import FileSource


def build(configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]) -> FileSource:
    """The reader of one configured bucket (`manifest` is not for this kind of source)."""
    refuse_other_than_records(configuration, "role_arn")
    storage = S3Storage(
        configuration["bucket"],
        configuration.get("aws_access_key_id"),
        configuration.get("aws_secret_access_key"),
        configuration.get("endpoint"),
        configuration.get("region_name"),
    )
    return FileSource(
        storage, file_streams(configuration["streams"], lakehouse), lakehouse, configuration.get("start_date")
    )
