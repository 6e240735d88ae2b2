"""The inbox bucket of the object store: generated invoice files, or the user's own in their place."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import botocore.exceptions

from embedded.demo.invoices import HEADER

BUCKET = "inbox"
PREFIX = "invoices/"


class InboxError(Exception):
    """The inbox cannot be filled; the message says what is wrong and what to do."""


class Inbox:
    """Bucket `inbox`. Putting a file that is there already with the same content does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.endpoint = environment.get("S3_ENDPOINT_URL", "")
        missing = [
            name
            for name in ("S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
            if not environment.get(name)
        ]
        if missing:
            raise InboxError(f'{", ".join(missing)} not set: run `eval "$(make -s env)"` first.')
        # Checksums only where the protocol asks for them: rclone's server does not answer the newer kind.
        config = botocore.client.Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            retries={"max_attempts": 3, "mode": "standard"},
        )
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment.get("AWS_REGION", "us-east-1"),
            config=config,
        )

    def make(self) -> None:
        """Makes the bucket if it is not there.

        Raises:
            InboxError: the object store cannot be reached or refuses.
        """
        try:
            self._client.head_bucket(Bucket=BUCKET)
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise InboxError(
                    f"The object store at {self.endpoint} refuses bucket {BUCKET}: {error}. "
                    "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
                ) from error
            self._client.create_bucket(Bucket=BUCKET)
        except botocore.exceptions.BotoCoreError as error:
            raise InboxError(
                f"No object store answers at {self.endpoint} ({error}). Is the stack up (`make status`)?"
            ) from error

    def put(self, key: str, content: bytes) -> bool:
        """Stores one file; False if it was there with the same content (its modification time stays)."""
        try:
            found = self._client.head_object(Bucket=BUCKET, Key=key)
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            found = None
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found and found["ContentLength"] == len(content) and found["ETag"].strip('"') == digest:
            return False
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content, ContentType="text/csv")
        return True

    def remove(self, keys: Iterable[str]) -> int:
        """Removes files; returns how many of them were there."""
        present = set(self.keys())
        doomed = [key for key in keys if key in present]
        for key in doomed:
            self._client.delete_object(Bucket=BUCKET, Key=key)
        return len(doomed)

    def keys(self) -> list[str]:
        """Keys of all files in the inbox, in order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", []))

    def read(self, key: str) -> bytes:
        """Content of one file."""
        return self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def own_files(folder: Path) -> list[Path]:
    """The CSV files of `folder`, in order of name. What is wrong with one of them is its reader's to say, and
    `doubts` tells it beforehand.

    Raises:
        InboxError: no such folder, no CSV file in it, or none that has the columns of store invoices.
    """
    if not folder.is_dir():
        raise InboxError(f"{folder} is no folder. Write DIR=<folder with CSV files>.")
    files = sorted(path for path in folder.iterdir() if path.suffix == ".csv" and path.is_file())
    if not files:
        raise InboxError(f"{folder} has no file whose name ends in .csv.")
    wrong = [path.name for path in files if doubts(path)]
    if len(wrong) == len(files):
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise InboxError(
            f"The first line of {shown} is not the header of a store invoice file: {HEADER}. {folder} has no other "
            "CSV file, so nothing was put into the inbox."
        )
    return files


def doubts(path: Path) -> str | None:
    """Why the reader of the inbox will set the whole file aside, as far as its first line shows; None: it will not."""
    with path.open("rb") as file:
        line = file.readline()
        if not line.strip() and not file.read().strip():
            return "the file is empty"
    if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in line:
        return "it is not UTF-8; it looks like UTF-16"
    try:
        names = next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], strict=True), [])
    except UnicodeDecodeError:
        return "its first line is not UTF-8"
    except csv.Error as error:
        return f"its first line does not parse: {error}"
    missing = [name for name in HEADER.split(",") if name not in names]
    return f"its first line lacks {', '.join(missing)}" if missing else None
