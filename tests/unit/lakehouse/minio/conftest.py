"""An object store in memory, landing files, and what the publisher keeps in PostgreSQL kept in memory. No sockets."""

import hashlib
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.minio import publish
from lakehouse.minio.hook import StoredObject
from lakehouse.minio.publish import StreamPublisher
from lakehouse.ops.lease import LeaseHeld, LeaseLost

EXTRACTED = datetime(2026, 11, 23, 1, 5, tzinfo=UTC)


class MemoryStore:
    """The verbs of ObjectStoreHook over a dictionary. `breaks_after` writes it raises, once."""

    def __init__(self):
        self.content = {}
        self.copied = []
        self.breaks_after = None

    def objects(self, bucket, prefix):
        return [
            StoredObject(key, len(body), hashlib.md5(body).hexdigest())
            for key, body in sorted(self.content.items())
            if key.startswith(prefix)
        ]

    def fetch(self, bucket, key, path):
        path.write_bytes(self.content[key])

    def store(self, bucket, key, path):
        self._count()
        self.content[key] = path.read_bytes()

    def copy_whole(self, bucket, source, target):
        self._count()
        self.content[target] = self.content[source]
        self.copied.append(target)

    def remove(self, bucket, keys):
        for key in keys:
            self.content.pop(key, None)

    def _count(self):
        if self.breaks_after is not None:
            self.breaks_after -= 1
            if self.breaks_after < 0:
                self.breaks_after = None
                raise ConnectionError("the store went away")

    def published(self, stream="orders"):
        """Name -> table of what is published."""
        prefix = f"bronze/shop/{stream}/"
        return {
            key.removeprefix(prefix): pq.read_table(pa.BufferReader(body))
            for key, body in sorted(self.content.items())
            if key.startswith(prefix)
        }

    def rows(self, stream="orders"):
        """Day -> sorted ids of what is published."""
        found = {}
        for name, table in self.published(stream).items():
            found.setdefault(name.split("/")[0].removeprefix("date="), []).extend(table["id"].to_pylist())
        return {day: sorted(ids) for day, ids in found.items()}


class MemoryIndex:
    """LandingIndex over a dictionary."""

    kept = {}  # noqa: RUF012
    inspected = []  # noqa: RUF012

    def __init__(self, conn_id, bucket, rule):
        self.rule = rule.rule

    def known(self, prefix):
        return {key: item for (rule, key), item in self.kept.items() if rule == self.rule and key.startswith(prefix)}

    def keep(self, item):
        self.kept[self.rule, item.key] = item
        self.inspected.append(item.key)


class MemoryLease:
    """A lease that is lost after `lost_after` checks, and that another holds for the first `held` tries to take it."""

    lost_after = None
    held = 0

    def __init__(self, conn_id, name, *, holder):
        self.name = name

    def __enter__(self):
        if MemoryLease.held:
            MemoryLease.held -= 1
            raise LeaseHeld(self.name, "ingest_15m/r/publish.postgres/-1", 35)
        return self

    def __exit__(self, *_):
        return None

    def check(self):
        if MemoryLease.lost_after is not None:
            MemoryLease.lost_after -= 1
            if MemoryLease.lost_after < 0:
                raise LeaseLost(self.name, 1)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def index(monkeypatch):
    monkeypatch.setattr(MemoryIndex, "kept", {})
    monkeypatch.setattr(MemoryIndex, "inspected", [])
    monkeypatch.setattr(publish, "LandingIndex", MemoryIndex)
    return MemoryIndex


@pytest.fixture
def lease(monkeypatch):
    monkeypatch.setattr(MemoryLease, "lost_after", None)
    monkeypatch.setattr(MemoryLease, "held", 0)
    monkeypatch.setattr(publish, "Lease", MemoryLease)
    return MemoryLease


@pytest.fixture
def publisher(store, index, lease):
    return StreamPublisher(
        store,
        bucket="lake",
        landing="bronze/landing/source=shop",
        published="bronze/shop",
        conn_id="db",
        holder="d/r/t/-1",
    )


@pytest.fixture
def land(store):
    """Put a landing object: rows are (id, time of change or None, ...)."""

    def land_(key, rows, *, columns=None, stream="orders", codec="snappy", generation=0, **options):
        times = [time for _, time in rows]
        arrays = {
            "_airbyte_raw_id": pa.array([str(number) for number, _ in rows]),
            "_airbyte_extracted_at": pa.array([EXTRACTED] * len(rows), pa.timestamp("ms", "UTC")),
            "_airbyte_generation_id": pa.array([generation] * len(rows), pa.int64()),
            "id": pa.array([number for number, _ in rows], pa.int64()),
            "updated_at": pa.array(times, pa.timestamp("us", "UTC")),
        } | (columns or {})
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table(arrays), buffer, compression=codec, **options)
        full = f"bronze/landing/source=shop/{stream}/{key}.parquet"
        store.content[full] = buffer.getvalue().to_pybytes()
        return full

    return land_
