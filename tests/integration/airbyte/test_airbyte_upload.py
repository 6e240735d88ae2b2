"""Objects that are sent while they are written, to the object store that runs."""

import os
import time
from collections.abc import Iterator

import pytest

from embedded.airbyte.destinations.s3 import S3Bucket
from embedded.airbyte.worker.upload import PART_BYTES
from tests.integration.airbyte.lake import Lake

FOLDER = "upload-test/"


@pytest.fixture
def bucket(lake: Lake) -> Iterator[S3Bucket]:
    bucket = S3Bucket(
        {
            "s3_bucket_name": "datalake",
            "s3_bucket_path": FOLDER,
            "s3_endpoint": lake.endpoint,
            "access_key_id": lake.key,
            "secret_access_key": lake.secret,
            "format": {"format_type": "Parquet"},
        }
    )
    yield bucket
    bucket.delete(bucket.keys(FOLDER))


@pytest.mark.parametrize("size", [0, 1000, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES, 40 * 1024 * 1024])
def test_an_object_appears_whole_when_it_is_completed(bucket: S3Bucket, size: int) -> None:
    body = os.urandom(size)
    upload = bucket.begin_upload(f"{FOLDER}a", generation=1)
    for start in range(0, size, 3_000_001):
        upload.write(body[start : start + 3_000_001])
    assert upload.tell() == size
    assert bucket.keys(FOLDER) == []
    upload.complete()
    assert bucket.keys(FOLDER) == [f"{FOLDER}a"]
    assert bucket.get(f"{FOLDER}a") == body


def test_what_is_given_up_leaves_nothing(bucket: S3Bucket) -> None:
    upload = bucket.begin_upload(f"{FOLDER}a", generation=1)
    upload.write(bytes(2 * PART_BYTES))
    assert begun(bucket) == [f"{FOLDER}a"]
    upload.give_up()
    assert begun(bucket) == bucket.keys(FOLDER) == []
    with pytest.raises(ValueError, match="given up"):
        upload.write(b"more")


def test_what_a_killed_attempt_has_begun_is_given_up_by_a_later_one(bucket: S3Bucket) -> None:
    for key in ("a/1", "b/1"):
        bucket.begin_upload(f"{FOLDER}{key}", generation=1).write(bytes(2 * PART_BYTES))
    bucket.give_up_uploads([f"{FOLDER}a/", f"{FOLDER}b/"], before_ms=0)
    assert begun(bucket) == [f"{FOLDER}a/1", f"{FOLDER}b/1"]
    bucket.give_up_uploads([f"{FOLDER}a/"], before_ms=int(time.time() * 1000) + 2000)
    assert begun(bucket) == [f"{FOLDER}b/1"]
    bucket.give_up_uploads([f"{FOLDER}b/"], before_ms=int(time.time() * 1000) + 2000)
    assert begun(bucket) == []


def begun(bucket: S3Bucket) -> list[str]:
    try:
        answer = bucket._client.list_multipart_uploads(Bucket=bucket.name)
    except bucket._client.exceptions.NoSuchUpload:  # rclone's answer where there are none
        return []
    return sorted(one["Key"] for one in answer.get("Uploads", []) if one["Key"].startswith(FOLDER))
