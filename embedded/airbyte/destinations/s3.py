"""The S3 destination: a stream's rows as Parquet files in a bucket.

A file is sent while it is written, and appears when it is large enough or a state is to be stored.
"""

import io
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError

from embedded.airbyte.destinations import S3_CODECS, Target
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.object_store import explained, s3_client
from embedded.airbyte.worker.ledger import Ledger
from embedded.airbyte.worker.parquet import AIRBYTE_FIELDS, ParquetFile, safe_name
from embedded.airbyte.worker.upload import Upload

DEFAULT_PATH_FORMAT = "${NAMESPACE}/${STREAM_NAME}/${YEAR}_${MONTH}_${DAY}_${EPOCH}_"
COMPARED_BYTES = 1024 * 1024


def build(configuration: dict[str, Any], ledger: Ledger, connection_id: Any, started_ms: int) -> "S3Destination":
    """The writer of one configured bucket (whose files do not tell connections apart)."""
    return S3Destination(S3Bucket(configuration), ledger, started_ms)


class _StreamFiles:
    """What one attempt has written of one stream."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.open: ParquetFile | None = None
        self.upload: Upload | None = None  # the open file's way to the bucket
        self.key = ""
        self.part = 0
        self.keys: list[str] = []


class S3Destination:
    """Writes the files of one attempt."""

    def __init__(self, bucket: "S3Bucket", ledger: Ledger, started_ms: int) -> None:
        self.bucket = bucket
        self._ledger = ledger
        self._started_ms = started_ms
        self._streams: dict[str, _StreamFiles] = {}

    def stored_states(self) -> dict[str, tuple[Any, Any]]:
        return {}

    def begin(self, target: Target) -> None:
        self._streams[target.stream.name] = _StreamFiles(target)

    def is_new(self, stream: str) -> bool:
        return not self.bucket.keys(self._folder(stream))

    def column_names(self, stream: str, names: list[str]) -> list[str]:
        return distinct_names(stream, names, [safe_name(name) for name in names])

    def write(self, stream: str, rows: pa.Table, buffer_bytes: int) -> None:
        """Take rows. A table with other columns than the one before begins a new file."""
        files = self._streams[stream]
        if files.open is not None and not files.open.schema.equals(rows.schema):
            self._flush(stream)
        if files.open is None:
            to, target = self.bucket, files.target
            files.key = to.key(target.namespace, target.name, self._started_ms, files.part)
            files.upload = to.begin_upload(files.key, target.generation)
            files.open = ParquetFile(files.upload, rows.schema, to.codec, to.page_bytes, to.dictionary)
        with self.bucket.explaining(f"write {files.key}"):
            files.open.write(rows, buffer_bytes)
        if files.open.full:
            self._flush(stream)

    def commit(self, streams: list[str], key: str, before: Any, state: Any) -> None:
        for stream in streams:
            self._flush(stream)

    def landed(self, stream: str, columns: list[str]) -> pa.Table:
        self._flush(stream)
        keys = [key for key in self.bucket.keys(self._folder(stream)) if key.endswith(".parquet")]
        names = {safe_name(name): name for name in columns}
        tables = []
        for key in keys:
            file = pq.ParquetFile(io.BytesIO(self.bucket.get(key) or b""))
            found = [name for name in names if name in file.schema_arrow.names]
            tables.append(file.read(columns=found).rename_columns([names[name] for name in found]))
        if not tables:
            return pa.table({name: pa.nulls(0) for name in columns})
        return pa.concat_tables(tables, promote_options="permissive")

    def finish(self, stream: str) -> None:
        """Remove what the stream's folder holds of older generations and of failed attempts (overwrite)."""
        files = self._streams[stream]
        if not files.target.stream.overwrites:
            return
        older = [key for key in self.bucket.keys(self._folder(stream)) if key not in set(files.keys)]
        self.bucket.delete(older)
        if older:
            self._ledger.log("INFO", f"Stream {stream}: removed {len(older)} files of older generations.")

    def clear(self, target: Target) -> None:
        self.begin(target)
        self.bucket.delete(self.bucket.keys(self._folder(target.stream.name)))

    def close(self) -> None:
        """Give up what is still open, here and of attempts that were killed: the bucket would hold it for good."""
        for files in self._streams.values():
            if files.upload is not None:
                files.upload.give_up()
        self.bucket.give_up_uploads([self._folder(stream) for stream in self._streams], self._started_ms)

    def _folder(self, stream: str) -> str:
        target = self._streams[stream].target
        return self.bucket.folder(target.namespace, target.name)

    def _flush(self, stream: str) -> None:
        """Complete the file that is open."""
        files = self._streams[stream]
        if files.open is None or files.upload is None:
            return
        with self.bucket.explaining(f"write {files.key}"):
            files.open.close()
            files.upload.complete()
        self._ledger.log("INFO", f"Stream {stream}: {files.open.rows} rows to {files.key}.")
        files.keys.append(files.key)
        files.open, files.upload, files.part = None, None, files.part + 1
        self._ledger.report()


def distinct_names(stream: str, names: list[str], renamed: list[str]) -> list[str]:
    """The renamed names.

    :raises SyncFailure: two columns would have the same, or one that of a column of Airbyte's.
    """
    taken = [*(field.name for field in AIRBYTE_FIELDS), *renamed]
    if len(set(taken)) != len(taken):
        twins = sorted(name for name, short in zip(names, renamed, strict=True) if taken.count(short) > 1)
        raise SyncFailure(
            f"Stream {stream}: {', '.join(twins)} would not be the only column of that name in the destination, where "
            "Airbyte has columns of its own too; rename or deselect it.",
            origin="destination",
            kind="config_error",
        )
    return renamed


class S3Bucket:
    """One configured bucket. All calls raise SyncFailure that names bucket, endpoint and what to check."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.name: str = configuration["s3_bucket_name"]
        self.endpoint: str = configuration.get("s3_endpoint") or "AWS"
        self._path: str = configuration["s3_bucket_path"]
        self._format: str = configuration.get("s3_path_format") or DEFAULT_PATH_FORMAT
        shape = configuration["format"]
        self.codec = S3_CODECS[shape.get("compression_codec", "UNCOMPRESSED")]
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

    def begin_upload(self, key: str, generation: int) -> Upload:
        """An object in the making. Its own calls raise botocore's errors: see `explaining`."""
        return Upload(self._client, self.name, key, {"ab-generation-id": str(generation)})

    def give_up_uploads(self, folders: list[str], before_ms: int) -> None:
        """Give up the uploads to these folders that were begun before; they are listed if the store does that."""
        with suppress(ClientError, BotoCoreError):
            for begun in self._client.list_multipart_uploads(Bucket=self.name).get("Uploads", []):
                key, at = begun["Key"], begun["Initiated"].timestamp() * 1000
                if at < before_ms and any(key.startswith(folder) for folder in folders):
                    self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=begun["UploadId"])

    def upload(self, path: Path, key: str) -> None:
        """Store a local file under the key; the object appears whole or not at all."""
        with self.explaining(f"write {key}"):
            self._client.upload_file(str(path), self.name, key)

    def put(self, key: str, body: bytes) -> None:
        """Store bytes under the key."""
        with self.explaining(f"write {key}"):
            self._client.put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key: str) -> bytes | None:
        """What is stored under the key; None if nothing is."""
        with self.explaining(f"read {key}"):
            try:
                body: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
                return body
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                    return None
                raise

    def holds(self, key: str, local: Path) -> bool | None:
        """Whether what is stored under the key is the same as a local file; None if nothing is."""
        with self.explaining(f"read {key}"):
            try:
                answer = self._client.get_object(Bucket=self.name, Key=key)
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
        with self.explaining(f"list {prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def delete(self, keys: list[str]) -> None:
        """Remove objects; those that are gone already do not matter."""
        for start in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[start : start + 1000]]
            with self.explaining(f"delete {len(objects)} objects"):
                self._client.delete_objects(Bucket=self.name, Delete={"Objects": objects, "Quiet": True})

    def explaining(self, action: str) -> explained:
        """A context in which the store's errors become a SyncFailure; `action` is a verb and what it is done to."""
        return explained("destination", f"{action} in bucket {self.name}", self.endpoint, self._key_id)
