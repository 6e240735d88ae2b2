"""The files of a source: S3 (any server that speaks it) and NAS (a directory).

Addresses are what DuckDB reads: ``s3://bucket/key`` or an absolute path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from embedded.dremio.catalog.entities import Entity
from embedded.dremio.errors import DataReadError, InvalidRequest


@dataclass(frozen=True)
class StoredFile:
    """A file as listed: its address, size in bytes, and what changes when it is replaced."""

    address: str
    size: int
    modified: str


def s3_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The connection of an S3 source in one shape: endpoint (host:port or None), secure, path_style, keys."""
    properties = {item.get("name"): item.get("value") for item in config.get("propertyList") or []}
    endpoint = properties.get("fs.s3a.endpoint")
    if endpoint:
        endpoint = endpoint.removeprefix("http://").removeprefix("https://").rstrip("/")
    return {
        "endpoint": endpoint,
        "secure": bool(config.get("secure", False)),
        "path_style": str(properties.get("fs.s3a.path.style.access", "false")).lower() == "true",
        "key": config.get("accessKey") or "",
        "secret": config.get("accessSecret") or "",
        "region": properties.get("fs.s3a.endpoint.region") or "us-east-1",
    }


def root_of(source: Entity) -> str:
    """The address of a file source's root, without a slash at the end (``s3:/`` for all buckets)."""
    config = source.body.get("config", {})
    if source.body.get("type") == "NAS":
        return str(config.get("path", "/")).rstrip("/")
    root = str(config.get("rootPath") or "/").strip("/")
    return f"s3://{root}" if root else "s3:/"


def address_of(source: Entity, path: tuple[str, ...]) -> str:
    """The address of a path below the source (`path` begins with the source's name).

    Raises InvalidRequest for parts that would lead out of it.
    """
    for part in path[1:]:
        if part in ("", ".", "..") or set(part) & {"/", "\\", "\0"}:
            raise InvalidRequest(f"[{part}] is no name of a folder, file or table.")
    return "/".join([root_of(source), *path[1:]])


@lru_cache(maxsize=16)
def _client(endpoint: str | None, secure: bool, path_style: bool, key: str, secret: str, region: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=None if endpoint is None else f"{'https' if secure else 'http'}://{endpoint}",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=region,
        config=Config(
            s3={"addressing_style": "path" if path_style else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=5,
            retries={"max_attempts": 3},
        ),
    )


def client_of(source: Entity) -> Any:
    """A boto3 client for an S3 source."""
    return _client(**s3_settings(source.body.get("config", {})))


def is_hidden(name: str) -> bool:
    """True for names that Dremio leaves out of datasets."""
    return name.startswith((".", "_"))


def _s3_pages(source: Entity, address: str, delimiter: str = "") -> Iterator[dict[str, Any]]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    prefix = f"{key.rstrip('/')}/" if key else ""
    paginator = client_of(source).get_paginator("list_objects_v2")
    try:
        yield from paginator.paginate(Bucket=bucket, Prefix=prefix, Delimiter=delimiter)
    except (ClientError, BotoCoreError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in ("NoSuchBucket", "404"):
            return
        raise DataReadError(f"Source {source.name}: listing {address} failed: {error}") from error


def list_files(source: Entity, address: str) -> list[StoredFile]:
    """All visible files at or below an address, in order of address."""
    if not address.startswith("s3:"):
        return _list_directory(address)
    bucket = address.removeprefix("s3://").partition("/")[0]
    found = []
    for page in _s3_pages(source, address):
        for item in page.get("Contents", []):
            relative = f"s3://{bucket}/{item['Key']}"[len(address) + 1 :]
            if not item["Key"].endswith("/") and not any(is_hidden(p) for p in relative.split("/")):
                modified = f"{item['LastModified'].isoformat()} {item.get('ETag', '')}"
                found.append(StoredFile(f"s3://{bucket}/{item['Key']}", item["Size"], modified))
    return found or _single_object(source, address)


def _single_object(source: Entity, address: str) -> list[StoredFile]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not key:
        return []
    try:
        head = client_of(source).head_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError):
        return []
    return [StoredFile(address, head["ContentLength"], f"{head['LastModified'].isoformat()} {head['ETag']}")]


def _list_directory(address: str) -> list[StoredFile]:
    if os.path.isfile(address):
        stat = os.stat(address)
        return [StoredFile(address, stat.st_size, str(stat.st_mtime_ns))]
    found = []
    for folder, folders, names in os.walk(address):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            if not is_hidden(name):
                full = os.path.join(folder, name)
                stat = os.stat(full)
                found.append(StoredFile(full, stat.st_size, str(stat.st_mtime_ns)))
    return found


def list_names(source: Entity, address: str) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files directly below an address."""
    if address == "s3:/":
        return [bucket["Name"] for bucket in client_of(source).list_buckets()["Buckets"]], []
    if not address.startswith("s3:"):
        if not os.path.isdir(address):
            return [], []
        with os.scandir(address) as entries:
            names = [(e.name, e.is_dir()) for e in entries if not is_hidden(e.name)]
        return sorted(n for n, d in names if d), sorted(n for n, d in names if not d)
    folders: list[str] = []
    files: list[str] = []
    for page in _s3_pages(source, address, "/"):
        folders += [p["Prefix"].rstrip("/").rpartition("/")[2] for p in page.get("CommonPrefixes", [])]
        files += [item["Key"].rpartition("/")[2] for item in page.get("Contents", [])]
    return [n for n in folders if n and not is_hidden(n)], [n for n in files if n and not is_hidden(n)]


def modified_at(file: StoredFile) -> datetime:
    """When a listed file was last changed, as UTC without zone."""
    if file.modified.isdigit():
        return datetime.fromtimestamp(int(file.modified) / 1e9, UTC).replace(tzinfo=None)
    return datetime.fromisoformat(file.modified.partition(" ")[0]).astimezone(UTC).replace(tzinfo=None)


def delete_file(source: Entity, address: str) -> None:
    """Delete one file."""
    if not address.startswith("s3:"):
        os.remove(address)
        return
    bucket, _, key = address.removeprefix("s3://").partition("/")
    client_of(source).delete_object(Bucket=bucket, Key=key)
