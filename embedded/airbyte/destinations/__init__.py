"""The kinds of destination, and how one is made from its stored row.

A destination's module is imported only when it is needed, by a worker.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from embedded.airbyte.catalog import ConfiguredStream

if TYPE_CHECKING:
    import pyarrow as pa

    from embedded.airbyte.worker.ledger import Ledger

S3_CODECS = {
    "UNCOMPRESSED": "none",
    "SNAPPY": "snappy",
    "GZIP": "gzip",
    "ZSTD": "zstd",
    "LZ4": "lz4",
    "BROTLI": "brotli",
}
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Target:
    """Where the rows of one stream go in one attempt.

    :ivar name: the stream's name with the connection's prefix.
    :ivar generation: what the rows of this job belong to.
    :ivar commits: how many states of the stream were ever stored: the same for a second attempt at the same rows.
    """

    stream: ConfiguredStream
    namespace: str
    name: str
    generation: int
    commits: int


class Destination(Protocol):
    """What the worker asks of a destination. All of it raises SyncFailure with a reason for people."""

    def stored_states(self) -> dict[str, tuple[Any, Any]]:
        """What was stored together with rows: stream ("" for all) -> the state before, the state that covers them."""

    def begin(self, target: Target) -> None:
        """A stream's rows are going to come."""

    def is_new(self, stream: str) -> bool:
        """Whether nothing shows the stream's columns yet."""

    def column_names(self, stream: str, names: list[str]) -> list[str]:
        """The names that a stream's columns have there."""

    def write(self, stream: str, rows: "pa.Table", buffer_bytes: int) -> None:
        """Take rows with Airbyte's columns before the stream's."""

    def commit(self, streams: list[str], key: str, before: Any, state: Any) -> None:
        """Make durable all that was taken of these streams.

        :param key: the stream whose state covers it, "" where all streams have one state.
        :param before: that state as it was before; `state` is what it is after this.
        """

    def landed(self, stream: str, columns: list[str]) -> "pa.Table":
        """These columns of all that was ever delivered of the stream; null where one is not."""

    def finish(self, stream: str) -> None:
        """A full refresh was read to its end: readers see it now, and nothing older where it overwrites."""

    def clear(self, target: Target) -> None:
        """Remove all that was ever delivered of the stream."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class DestinationType:
    """One kind of destination: Airbyte's own definition id, what is refused of it, and where its writer is."""

    type: str
    definition_id: str
    module: str
    required: tuple[str, ...]
    secrets: tuple[str, ...]
    check: Callable[[dict[str, Any]], None]


def validate(type_: str, configuration: dict[str, Any]) -> None:
    """Refuse what a destination does not do.

    :raises ValueError: naming the key and what is allowed.
    """
    destination = DESTINATION_TYPES[type_]
    missing = [key for key in destination.required if not configuration.get(key)]
    if missing:
        raise ValueError(f"The configuration of a {type_} destination lacks: {', '.join(missing)}.")
    destination.check(configuration)


def open_destination(
    type_: str, configuration: dict[str, Any], ledger: "Ledger", connection_id: Any, started_ms: int
) -> Destination:
    """The writer of a destination.

    :param started_ms: epoch milliseconds of the attempt's start, which no other attempt of the connection has.
    """
    module = importlib.import_module(DESTINATION_TYPES[type_].module)
    build: Callable[..., Destination] = module.build
    return build(configuration, ledger, connection_id, started_ms)


def _check_s3(configuration: dict[str, Any]) -> None:
    shape = configuration["format"]
    if shape.get("format_type", "Parquet") != "Parquet":
        raise ValueError(f"format.format_type is {shape['format_type']!r}: this destination writes Parquet only.")
    if shape.get("compression_codec", "UNCOMPRESSED") not in S3_CODECS:
        raise ValueError(
            f"format.compression_codec is {shape['compression_codec']!r}: expected one of {', '.join(S3_CODECS)}."
        )
    if configuration.get("file_name_pattern"):
        raise ValueError("file_name_pattern is not supported: files are named by s3_path_format and part number.")
    unknown = set(re.findall(r"\$\{(\w+)\}", configuration.get("s3_path_format") or "")) - {
        "NAMESPACE", "STREAM_NAME", "YEAR", "MONTH", "DAY", "EPOCH",
    }  # fmt: skip
    if unknown:
        raise ValueError(f"s3_path_format has unknown variables: {', '.join(sorted(unknown))}.")


def _check_postgres(configuration: dict[str, Any]) -> None:
    mode = configuration.get("ssl_mode") or {}
    if mode.get("mode", "prefer") not in SSL_MODES:
        raise ValueError(f"ssl_mode.mode is {mode['mode']!r}: expected one of {', '.join(SSL_MODES)}.")
    if set(mode) - {"mode"}:
        raise ValueError(f"ssl_mode.{min(set(mode) - {'mode'})} is not supported: name no more than the mode.")
    tunnel = (configuration.get("tunnel_method") or {}).get("tunnel_method", "NO_TUNNEL")
    if tunnel != "NO_TUNNEL":
        raise ValueError(f"tunnel_method {tunnel} is not supported: use NO_TUNNEL.")
    if configuration.get("disable_type_dedupe"):
        raise ValueError("disable_type_dedupe is not supported: rows go to tables with a column for each field.")
    if configuration.get("jdbc_url_params"):
        raise ValueError("jdbc_url_params is not supported: no JDBC driver is used.")
    deletion = configuration.get("cdc_deletion_mode", "Hard delete")
    if deletion not in ("Hard delete", "Soft delete"):
        raise ValueError(f"cdc_deletion_mode is {deletion!r}: expected Hard delete or Soft delete.")


def _check_elasticsearch(configuration: dict[str, Any]) -> None:
    if not re.fullmatch(r"https?://[^/@]+(/[^@]*)?", configuration["endpoint"]):
        raise ValueError("endpoint is no URL of http or https, without user and password: they belong elsewhere.")
    method = configuration.get("authenticationMethod") or {"method": "none"}
    needed = {"none": (), "secret": ("apiKeyId", "apiKeySecret"), "basic": ("username", "password")}
    if method.get("method") not in needed:
        raise ValueError(f"authenticationMethod.method is {method.get('method')!r}: expected none, secret or basic.")
    missing = [key for key in needed[method["method"]] if not method.get(key)]
    if missing:
        raise ValueError(f"authenticationMethod lacks: {', '.join(missing)}.")
    tunnel = (configuration.get("tunnel_method") or {}).get("tunnel_method", "NO_TUNNEL")
    if tunnel != "NO_TUNNEL":
        raise ValueError(f"tunnel_method {tunnel} is not supported: use NO_TUNNEL.")


# Definition ids are those of Airbyte's connector registry.
DESTINATION_TYPES = {
    destination.type: destination
    for destination in (
        DestinationType(
            "s3",
            "4816b78f-1489-44c1-9060-4b19d5fa9362",
            "embedded.airbyte.destinations.s3",
            required=("s3_bucket_name", "s3_bucket_path", "format"),
            secrets=("access_key_id", "secret_access_key"),
            check=_check_s3,
        ),
        DestinationType(
            "postgres",
            "25c5221d-dce2-4163-ade9-739ef790f503",
            "embedded.airbyte.destinations.postgres",
            required=("host", "database", "username"),
            secrets=("password",),
            check=_check_postgres,
        ),
        DestinationType(
            "elasticsearch",
            "68f351a7-2745-4bef-ad7f-996b8e51bb8c",
            "embedded.airbyte.destinations.elasticsearch",
            required=("endpoint",),
            secrets=("apiKeySecret", "password"),
            check=_check_elasticsearch,
        ),
    )
}
