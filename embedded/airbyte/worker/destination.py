"""The S3 destination: where a stream's files go in the bucket, and the calls to the object store."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from embedded.airbyte.destinations import CODECS, DEFAULT_PATH_FORMAT
from embedded.airbyte.object_store import explained, s3_client

COMPARED_BYTES = 1024 * 1024


class S3Destination:
    """One configured bucket. All calls raise SyncFailure that names bucket, endpoint and what to check."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.bucket: str = configuration["s3_bucket_name"]
        self.endpoint: str = configuration.get("s3_endpoint") or "AWS"
        self._path: str = configuration["s3_bucket_path"]
        self._format: str = configuration.get("s3_path_format") or DEFAULT_PATH_FORMAT
        shape = configuration["format"]
        self.codec = CODECS[shape.get("compression_codec", "UNCOMPRESSED")]
        self.page_bytes = int(shape.get("page_size_kb") or 1024) * 1024
        self.dictionary = bool(shape.get("dictionary_encoding", True))
        self._key_id = configuration.get("access_key_id")
        self._client = s3_client(
            self._key_id,
            configuration.get("secret_access_key"),
            configuration.get("s3_endpoint"),
            configuration.get("s3_bucket_region"),
        )

    def key(self, namespace: str, stream: str, epoch_ms: int, part: int) -> str:
        """The object key of a stream's file number `part` of the attempt that began at `epoch_ms`."""
        return f"{self._resolve(namespace, stream, epoch_ms)}{part}.parquet"

    def folder(self, namespace: str, stream: str) -> str:
        """The prefix (with its last `/`) under which all files of a stream lie, whatever their time."""
        template = self._format.split("${YEAR}")[0].split("${EPOCH}")[0].split("${MONTH}")[0].split("${DAY}")[0]
        resolved = self._resolve(namespace, stream, 0, template)
        return resolved[: resolved.rindex("/") + 1]

    def _resolve(self, namespace: str, stream: str, epoch_ms: int, template: str | None = None) -> str:
        at = datetime.fromtimestamp(epoch_ms / 1000, UTC)
        values = {
            "NAMESPACE": namespace,
            "STREAM_NAME": stream,
            "YEAR": f"{at:%Y}",
            "MONTH": f"{at:%m}",
            "DAY": f"{at:%d}",
            "EPOCH": str(epoch_ms),
        }
        text = f"{self._path}/{self._format if template is None else template}"
        resolved = re.sub(r"\$\{(\w+)\}", lambda match: values[match.group(1)], text)
        return re.sub(r"/{2,}", "/", resolved).lstrip("/")

    def upload(self, path: Path, key: str, generation: int | None = None) -> None:
        """Store a local file under the key; the object appears whole or not at all."""
        metadata = {} if generation is None else {"ab-generation-id": str(generation)}
        with self._explained(f"write s3://{self.bucket}/{key}"):
            self._client.upload_file(str(path), self.bucket, key, ExtraArgs={"Metadata": metadata})

    def put(self, key: str, body: bytes) -> None:
        """Store bytes under the key."""
        with self._explained(f"write s3://{self.bucket}/{key}"):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes | None:
        """What is stored under the key; None if nothing is."""
        with self._explained(f"read s3://{self.bucket}/{key}"):
            try:
                body: bytes = self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
                return body
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                    return None
                raise

    def holds(self, key: str, local: Path) -> bool | None:
        """Whether what is stored under the key is the same as a local file; None if nothing is."""
        with self._explained(f"read s3://{self.bucket}/{key}"):
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                    return None
                raise
            with local.open("rb") as ours:
                return answer["ContentLength"] == local.stat().st_size and all(
                    part == ours.read(len(part)) for part in answer["Body"].iter_chunks(COMPARED_BYTES)
                )

    def keys(self, prefix: str) -> list[str]:
        """All object keys under a prefix."""
        with self._explained(f"list s3://{self.bucket}/{prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def delete(self, keys: list[str]) -> None:
        """Remove objects; those that are gone already do not matter."""
        for start in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[start : start + 1000]]
            with self._explained(f"delete {len(objects)} objects of s3://{self.bucket}"):
                self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})

    def _explained(self, action: str) -> explained:
        return explained("destination", action, self.endpoint, self._key_id)
