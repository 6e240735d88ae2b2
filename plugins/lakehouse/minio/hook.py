"""The hook: amazon's S3Hook with the settings and the few verbs that the operators here need."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from lakehouse.minio.exceptions import ObjectStoreError, StoreUnreachable, UnsafeKey
from lakehouse.ops.lake import bucket_of

# What every S3 server takes: rclone answers a range with status 200, on which boto3's own checksums stumble.
_DEFAULTS: dict[str, Any] = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
    "connect_timeout": 5,
    "read_timeout": 60,
    "retries": {"mode": "standard", "max_attempts": 4},
    "max_pool_connections": 32,
    "signature_version": "s3v4",  # boto3 signs links by an older one by default, which rclone refuses
}
_REFUSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "Forbidden"})
_DELETE_LIMIT = 1000  # keys in one DeleteObjects request, by S3's API
# One plain request up to 64 MB, parts above it; and never more threads inside a transfer than that.
_TRANSFER = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=64 << 20, max_concurrency=2)


@dataclass(frozen=True)
class StoredObject:
    """One object of a listing. `size` in bytes; `etag` without quotes; `modified` as the server says it."""

    key: str
    size: int
    etag: str
    modified: datetime | None = None


class ObjectStoreHook(S3Hook):
    """S3Hook for servers that are not AWS: path-style or not as the connection says, plain checksums, short timeouts.

    Every method is safe to repeat. Nothing here uses conditional requests, part copies or tags: they lose data
    on rclone's server.

    :param aws_conn_id: Airflow connection of type `aws` with `endpoint_url` in its extra, and the lake's bucket as
        `service_config: {s3: {bucket_name: ...}}` if that is not `datalake`.

    Example::

        hook = ObjectStoreHook()
        for item in hook.objects("datalake", "bronze/landing/"):
            print(item.key, item.size)
    """

    default_conn_name = "minio_default"

    def __init__(self, aws_conn_id: str = "minio_default", **kwargs: Any) -> None:
        super().__init__(aws_conn_id=aws_conn_id, **kwargs)

    @property
    def lake(self) -> str:
        """The lake's bucket: the one that the connection names, else `datalake`."""
        return bucket_of(self.get_connection(str(self.aws_conn_id)))

    def get_conn(self) -> Any:
        """Return the boto3 client; the connection's `config_kwargs` win over the defaults of this hook.

        :raises ObjectStoreError: `endpoint_url` carries a login.
        """
        if self._config is None:
            extra = self.get_connection(str(self.aws_conn_id)).extra_dejson
            if "@" in urlsplit(str(extra.get("endpoint_url") or "")).netloc:  # every error names it
                raise ObjectStoreError(
                    f"Airflow connection '{self.aws_conn_id}': endpoint_url carries a login; write it into login "
                    "(access key) and password (secret key) instead"
                )
            named = dict(extra.get("config_kwargs") or {})
            self._config = Config(**(_DEFAULTS | named))
        return super().get_conn()

    @contextmanager
    def answers(self) -> Iterator[Any]:
        """Yield the client; turn what means 'unreachable' or 'not let in' into StoreUnreachable."""
        try:
            yield self.get_conn()
        except (ConnectionError, HTTPClientError) as error:
            raise self.unreachable(str(error)) from error
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code in _REFUSED:
                raise self.unreachable(f"it refused the request ({code})") from error
            raise
        except BotoCoreError as error:
            raise self.unreachable(str(error)) from error

    def unreachable(self, reason: str) -> StoreUnreachable:
        """The error that names the endpoint and the access key."""
        conn = self.get_connection(str(self.aws_conn_id))
        endpoint = str(conn.extra_dejson.get("endpoint_url") or "AWS")
        return StoreUnreachable(str(self.aws_conn_id), endpoint, conn.login, reason)

    def objects(self, bucket: str, prefix: str) -> list[StoredObject]:
        """Return all objects below `prefix`, sorted by key.

        :raises StoreUnreachable: no answer, or the keys are refused.
        """
        return sorted(self.iter_objects(bucket, prefix), key=lambda item: item.key)

    def iter_objects(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below `prefix` page by page, for listings that are too long to hold.

        :raises StoreUnreachable: no answer, or the keys are refused.
        """
        with self.answers() as client:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    etag = item["ETag"].strip('"')
                    yield StoredObject(item["Key"], item["Size"], etag, item.get("LastModified"))

    def server_time(self, bucket: str) -> datetime:
        """The server's clock, by which ages are told; this worker's where the server does not say."""
        with self.answers() as client:
            answer = client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        said = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
        return parsedate_to_datetime(said) if said else datetime.now(UTC)

    def link(self, bucket: str, key: str, seconds: int) -> str:
        """A link by which anybody can download the object for some seconds (at most 7 days). Never log it."""
        with self.answers() as client:
            params = {"Bucket": bucket, "Key": key}
            return str(client.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds))

    def has_bucket(self, bucket: str) -> bool:
        """Whether the bucket is there."""
        with self.answers() as client:
            try:
                client.head_bucket(Bucket=bucket)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise
                return False
            return True

    def has_prefix(self, bucket: str, prefix: str) -> bool:
        """Whether there is any object below `<prefix>/`."""
        with self.answers() as client:
            return bool(client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/", MaxKeys=1).get("Contents"))

    def ensure_bucket(self, bucket: str) -> bool:
        """Make the bucket if it is missing. Returns whether it was made."""
        if self.has_bucket(bucket):
            return False
        with self.answers() as client:
            client.create_bucket(Bucket=bucket)
        return True

    def ensure_prefix(self, bucket: str, prefix: str) -> bool:
        """Make a prefix visible by an empty object `<prefix>/.keep`. Returns whether anything had to be made."""
        if self.has_prefix(bucket, prefix):
            return False
        with self.answers() as client:
            client.put_object(Bucket=bucket, Key=f"{prefix}/.keep", Body=b"")
        return True

    def fetch(self, bucket: str, key: str, path: Path) -> None:
        """Store an object in the file `path`."""
        with self.answers() as client:
            client.download_file(bucket, key, str(path), Config=_TRANSFER)

    def store(self, bucket: str, key: str, path: Path) -> None:
        """Store the file `path` as an object, in place of one with that key.

        :raises UnsafeKey: the key ends with a slash.
        """
        if key.endswith("/"):
            raise UnsafeKey(key)
        with self.answers() as client:
            client.upload_file(str(path), bucket, key, Config=_TRANSFER)

    def copy_whole(self, bucket: str, source: str, target: str) -> None:
        """Copy an object inside the server, in one request (at most 5 GiB; parts copied come out empty on rclone)."""
        if target.endswith("/"):
            raise UnsafeKey(target)
        with self.answers() as client:
            client.copy_object(Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source})

    def remove(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error.

        :raises ClientError: the server kept one of them.
        """
        with self.answers() as client:
            for start in range(0, len(keys), _DELETE_LIMIT):
                named = [{"Key": key} for key in keys[start : start + _DELETE_LIMIT]]
                answer = client.delete_objects(Bucket=bucket, Delete={"Objects": named, "Quiet": True})
                if answer.get("Errors"):
                    first = answer["Errors"][0]
                    raise ClientError({"Error": first}, f"DeleteObjects {first.get('Key')}")
