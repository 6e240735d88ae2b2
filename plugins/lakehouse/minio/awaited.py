"""What an object sensor waits for, as data, and whether a listing has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lakehouse.ops.waiting import Sighting, parse_time

if TYPE_CHECKING:
    from lakehouse.minio.hook import ObjectStoreHook, StoredObject

_WILDCARDS = "*?["


@dataclass(frozen=True)
class Awaited:
    """Objects that are there, are enough, are new enough and have come to rest.

    :param prefix: only keys that begin so are listed.
    :param pattern: shell pattern that the whole key must match; None: any.
    :param min_age: seconds since the newest of them was written: nobody is writing any more.
    :param newer_than: ISO time since which an object must have been written to count.
    """

    bucket: str
    prefix: str
    pattern: str | None = None
    min_objects: int = 1
    min_bytes: int = 0
    min_age: float = 0.0
    newer_than: str | None = None

    @property
    def what(self) -> str:
        """For messages: `s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.pattern or self.prefix}"

    def counted(self, objects: "Sequence[StoredObject]") -> "list[StoredObject]":
        """Those that count; names that begin with a dot or underscore are marks, unless a pattern asks for them."""
        found = [
            item
            for item in objects
            if (
                fnmatchcase(item.key, self.pattern)
                if self.pattern is not None
                else not item.key.rpartition("/")[2].startswith((".", "_"))
            )
        ]
        if self.newer_than is None:
            return found
        since = parse_time(self.newer_than)
        return [item for item in found if item.modified is not None and item.modified >= since]

    def judge(self, objects: "Sequence[StoredObject]", now: datetime) -> Sighting:
        """Whether a listing has what is waited for."""
        found = self.counted(objects)
        size = sum(item.size for item in found)
        since = f" written since {self.newer_than}" if self.newer_than else ""
        if len(found) < self.min_objects or size < self.min_bytes:
            wanted = f"{self.min_objects} objects" + (f" and {self.min_bytes} bytes" if self.min_bytes else "")
            return Sighting(False, f"{self.what}: {len(found)} objects of {size} bytes{since}, wanted {wanted}")
        newest = max((item.modified for item in found if item.modified is not None), default=None)
        age = (now - newest).total_seconds() if newest is not None else None
        if self.min_age and (age is None or age < self.min_age):
            told = "is not told" if age is None else f"{age:.0f} s ago"
            return Sighting(False, f"{self.what}: the newest object was written {told}, wanted {self.min_age:g} s")
        value = {
            "bucket": self.bucket,
            "objects": len(found),
            "bytes": size,
            "newest": newest.isoformat() if newest else None,
            "first_key": min((item.key for item in found), default=None),
        }
        return Sighting(True, f"{self.what}: {len(found)} objects of {size} bytes{since}", value)


def awaited_key(bucket: str, key: str, **rules: float | str | None) -> Awaited:
    """What waits for one key, or for those that match it where it has `*`, `?` or `[`."""
    plain = min((key.index(sign) for sign in _WILDCARDS if sign in key), default=None)
    return Awaited(bucket, key if plain is None else key[:plain], key, **rules)  # type: ignore[arg-type]


def look(store: "ObjectStoreHook", awaited: Awaited) -> Sighting:
    """List once. A bucket that is not there is waited for.

    :raises StoreUnreachable: no answer, or the keys are refused.
    """
    try:
        objects = store.objects(awaited.bucket, awaited.prefix)
        now = store.server_time(awaited.bucket) if awaited.min_age else datetime.now(UTC)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchBucket", "404"):
            return Sighting(False, f"there is no bucket {awaited.bucket} yet")
        raise
    return awaited.judge(objects, now)
