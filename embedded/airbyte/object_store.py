"""Calls to an S3 object store, with errors that a person can act on."""

from types import TracebackType
from typing import Any

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from embedded.airbyte.failures import Origin, SyncFailure


def s3_client(key_id: str | None, secret: str | None, endpoint: str | None, region: str | None) -> Any:
    """A client that works with any S3: path addressing, no checksum headers that only AWS knows."""
    return boto3.client(
        "s3",
        aws_access_key_id=key_id or None,
        aws_secret_access_key=secret or None,
        endpoint_url=endpoint or None,
        region_name=region or "us-east-1",
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 3, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        ),
    )


class explained:
    """Turns the object store's errors into a SyncFailure with what to check; shows no secret."""

    def __init__(self, origin: Origin, action: str, endpoint: str, key_id: str | None) -> None:
        self._origin = origin
        self._action = action
        self._where = f"object store {endpoint} as access key {key_id or 'of the environment'}"

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, S3UploadFailedError):
            # raised in the place of what the server answered, which it hides
            error = error.__context__
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code", "")
            denied = code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403")
            absent = code in ("NoSuchBucket", "404")
            hint = "check the key and secret" if denied else "check that the bucket exists" if absent else "see detail"
            raise SyncFailure(
                f"Could not {self._action} at {self._where}: {code}; {hint}.",
                origin=self._origin,
                kind="config_error" if denied or absent else "transient_error",
                detail=str(error),
            ) from error
        if isinstance(error, BotoCoreError):
            raise SyncFailure(
                f"Could not {self._action}: no answer from {self._where}; "
                "check that it runs and that the endpoint is right.",
                origin=self._origin,
                kind="transient_error",
                detail=str(error),
            ) from error
