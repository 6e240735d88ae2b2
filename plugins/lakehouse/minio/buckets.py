"""Buckets and prefixes as declared: what is missing, and making it. Nothing is removed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lakehouse.minio.declared import Bucket

if TYPE_CHECKING:
    from lakehouse.minio.hook import ObjectStoreHook


def plan(store: "ObjectStoreHook", buckets: Iterable[Bucket]) -> list[str]:
    """Return what is missing, as `bucket datalake` and `datalake/silver`; only looks.

    :raises StoreUnreachable: the object store does not answer or refuses the keys.
    """
    missing: list[str] = []
    for bucket in buckets:
        there = store.has_bucket(bucket.name)
        if not there:
            missing.append(f"bucket {bucket.name}")
        missing += [
            f"{bucket.name}/{prefix}"
            for prefix in bucket.prefixes
            if not (there and store.has_prefix(bucket.name, prefix))
        ]
    return missing


def apply(store: "ObjectStoreHook", buckets: Iterable[Bucket]) -> list[str]:
    """Make what is missing and return it, in the same words.

    :raises StoreUnreachable: the object store does not answer or refuses the keys.
    """
    made: list[str] = []
    for bucket in buckets:
        if store.ensure_bucket(bucket.name):
            made.append(f"bucket {bucket.name}")
        made += [f"{bucket.name}/{prefix}" for prefix in bucket.prefixes if store.ensure_prefix(bucket.name, prefix)]
    return made
