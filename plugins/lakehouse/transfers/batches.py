"""How a batch of objects lies in the object store, and the manifest that makes it whole.

    <prefix>/batch=<batch>/part-<attempt>-00000.parquet    what one attempt wrote, under names of its own
    <prefix>/batch=<batch>/_manifest.json                  names the parts that count; its PUT is the commit

An object store has no transaction over several objects, but replacing one object is atomic everywhere (conditional
requests are not to be relied on). Whoever reads a batch by its manifest therefore sees all of it or what was there
before. Names that begin with `_` are no data to Dremio and Spark.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lakehouse.ops.scratch import scratch
from lakehouse.transfers.exceptions import TransferError

if TYPE_CHECKING:
    from lakehouse.minio.hook import ObjectStoreHook

MANIFEST = "_manifest.json"
_BATCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Part:
    """One object of a batch; `name` is below the batch's folder."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a batch consists of. `attempt` is in the name of each of its parts."""

    batch: str
    attempt: str
    file_format: str
    parts: list[Part]

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)

    def dump(self) -> str:
        """The manifest as JSON."""
        return json.dumps(asdict(self) | {"rows": self.rows}, indent=1)

    @classmethod
    def parse(cls, text: str) -> "Manifest":
        """Read what `dump` wrote.

        :raises ValueError, KeyError, TypeError: it is no manifest.
        """
        data = json.loads(text)
        return cls(data["batch"], data["attempt"], data["file_format"], [Part(**part) for part in data["parts"]])


def folder(prefix: str, batch: str) -> str:
    """Key prefix of a batch, with a slash at its end.

    :raises ValueError: the prefix has slashes at its ends, or the batch has other signs than letters, digits, `._-`.
    """
    if not prefix or prefix.startswith("/") or prefix.endswith("/"):
        raise ValueError(f"prefix {prefix!r}: write it without slashes at its ends, as exports/orders")
    if not _BATCH.fullmatch(batch):
        raise ValueError(f"batch {batch!r}: letters, digits and . _ - only, as 2026-11-24 or {{{{ ts_nodash }}}}")
    return f"{prefix}/batch={batch}/"


def read_manifest(store: "ObjectStoreHook", bucket: str, batch_folder: str) -> Manifest | None:
    """The manifest of a batch, or None where there is none.

    :raises TransferError: what lies in its place is no manifest.
    """
    key = batch_folder + MANIFEST
    if not any(item.key == key for item in store.objects(bucket, key)):
        return None
    with scratch("manifest") as place:
        path = place / MANIFEST
        store.fetch(bucket, key, path)
        try:
            return Manifest.parse(path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError) as error:
            raise TransferError(
                f"s3://{bucket}/{key}", "is no manifest", "Remove it and write the batch again.", str(error)
            ) from error


def commit(store: "ObjectStoreHook", bucket: str, batch_folder: str, manifest: Manifest) -> list[str]:
    """Check that the parts are stored whole, write the manifest, remove what it does not name; return those keys.

    :raises TransferError: a part is missing or cut short; the old manifest and its parts are untouched.
    """
    stored = {item.key: item.size for item in store.objects(bucket, batch_folder)}
    wrong = [part.name for part in manifest.parts if stored.get(batch_folder + part.name) != part.bytes]
    if wrong:
        raise TransferError(
            f"s3://{bucket}/{batch_folder}",
            f"{len(wrong)} of {len(manifest.parts)} objects were not stored whole, the first is {wrong[0]}",
            "Look at the object store's disk and log, or for another copy of this task, then clear the group; "
            "the batch is as it was.",
        )
    with scratch("manifest") as place:
        path = place / MANIFEST
        path.write_text(manifest.dump(), encoding="utf-8")
        store.store(bucket, batch_folder + MANIFEST, path)
    kept = {batch_folder + MANIFEST, *(batch_folder + part.name for part in manifest.parts)}
    return _remove(store, bucket, [key for key in stored if key not in kept])


def _remove(store: "ObjectStoreHook", bucket: str, keys: Sequence[str]) -> list[str]:
    if keys:
        store.remove(bucket, keys)
    return list(keys)
