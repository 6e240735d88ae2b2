"""Buckets, their settings and their prefixes as declared: what differs, and making it. Nothing is removed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lakehouse.minio import bucket_settings
from lakehouse.minio.declared import Bucket

if TYPE_CHECKING:
    from lakehouse.minio.hook import ObjectStoreHook


@dataclass
class Buckets:
    """What is missing or was made (`bucket datalake`, `datalake/silver`), which settings differ or were changed, and
    which are declared without the server having them.
    """

    made: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)


def plan(store: "ObjectStoreHook", buckets: Iterable[Bucket]) -> Buckets:
    """Return what `apply` would make and change; only looks. The settings of a bucket are known once it is there.

    :raises ObjectStoreError: the server refuses to tell a setting.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.
    """
    found = Buckets()
    for bucket in buckets:
        there = store.has_bucket(bucket.name)
        if not there:
            found.made.append(f"bucket {bucket.name}")
        found.made += [
            f"{bucket.name}/{prefix}"
            for prefix in bucket.prefixes
            if not (there and store.has_prefix(bucket.name, prefix))
        ]
        if there:
            compared = bucket_settings.compare(store, bucket)
            found.changed += compared.changes
            found.unsupported += compared.unsupported
    return found


def apply(store: "ObjectStoreHook", buckets: Iterable[Bucket]) -> Buckets:
    """Make and change what differs and return it, in the same words.

    :raises ObjectStoreError: the server refuses a setting, or took it and holds another.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.
    """
    done = Buckets()
    for bucket in buckets:
        if store.ensure_bucket(bucket.name):
            done.made.append(f"bucket {bucket.name}")
        done.made += [
            f"{bucket.name}/{prefix}" for prefix in bucket.prefixes if store.ensure_prefix(bucket.name, prefix)
        ]
        settled = bucket_settings.apply(store, bucket)
        done.changed += settled.changes
        done.unsupported += settled.unsupported
    return done
