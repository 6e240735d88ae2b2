"""The kinds of source, and how one is made from its stored row.

A source's module is imported only when it is needed: the low-code one costs nearly two seconds.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from embedded.airbyte.catalog import ConfiguredStream, DiscoveredStream

if TYPE_CHECKING:
    from embedded.airbyte.worker.delivery import Delivery


class Source(Protocol):
    """What the worker asks of a source. All of it raises SyncFailure with a reason for people."""

    def discover(self) -> list[DiscoveredStream]: ...

    def read(self, streams: list[ConfiguredStream], states: Mapping[str, dict[str, Any]], delivery: "Delivery") -> None:
        """Read the streams from their states on, hand the rows to `delivery` and checkpoint each stream."""


@dataclass(frozen=True)
class SourceType:
    """One kind of source: Airbyte's own definition id, and where its reader is."""

    type: str
    definition_id: str
    module: str
    required: tuple[str, ...]
    secrets: tuple[str, ...]


# Definition ids are those of Airbyte's connector registry.
SOURCE_TYPES = {
    source.type: source
    for source in (
        SourceType(
            "postgres",
            "decd338e-5647-4c0b-adf4-da0e75f5a750",
            "embedded.airbyte.sources.postgres",
            required=("host", "database", "username"),
            secrets=("password",),
        ),
        SourceType(
            "mysql",
            "435bb9a5-7887-4809-aa58-28c27df0d7ad",
            "embedded.airbyte.sources.mysql",
            required=("host", "database", "username"),
            secrets=("password", "ca_certificate", "client_certificate", "client_key", "client_key_password"),
        ),
        SourceType(
            "mongodb-v2",
            "b2e713cd-cc36-4c0a-b5bd-b47cb8a0561e",
            "embedded.airbyte.sources.mongodb",
            required=("database_config",),
            secrets=("password",),
        ),
        SourceType(
            "s3",
            "69589781-7828-43c5-9f63-8925b1c1ccc2",
            "embedded.airbyte.sources.s3",
            required=("bucket", "streams"),
            secrets=("aws_access_key_id", "aws_secret_access_key"),
        ),
        SourceType(
            "sftp-bulk",
            "31e3242f-dee7-4cdc-a4b8-8e06c5458517",
            "embedded.airbyte.sources.sftp_bulk",
            required=("host", "username", "credentials", "streams"),
            secrets=("password", "private_key"),
        ),
        SourceType(
            "file",
            "778daa7c-feaf-4db6-96f3-70fd645acc77",
            "embedded.airbyte.sources.file",
            required=("dataset_name", "format", "url", "provider"),
            secrets=("password", "aws_access_key_id", "aws_secret_access_key"),
        ),
        SourceType(
            "declarative",
            "64a2f99c-542f-4af8-9a6f-355f1217b436",
            "embedded.airbyte.sources.declarative",
            required=(),
            secrets=(),
        ),
    )
}


def open_source(
    type_: str, configuration: dict[str, Any], manifest: dict[str, Any] | None, lakehouse: dict[str, Any]
) -> Source:
    """The reader of a source.

    :param manifest: the low-code manifest of a `declarative` source.
    :param lakehouse: the connection's own settings (batch size, threads, raw path, ...).
    """
    module = importlib.import_module(SOURCE_TYPES[type_].module)
    build: Callable[..., Source] = module.build
    return build(configuration, manifest, lakehouse)
