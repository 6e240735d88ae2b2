"""Publishes one stream: what landed becomes `<bronze>/<source>/<stream>/date=<day>/*.parquet`."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.minio.batch_date import BatchDate
from lakehouse.minio.dropped import lost_columns
from lakehouse.minio.exceptions import ColumnDropped, PublishError, ValuesAltered
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.landing import LandingIndex, LandingObject, inspect
from lakehouse.minio.landing_compaction import LandingCompactor, lease_name
from lakehouse.minio.partitions import Slice, current, desired, empty_name, made_of, superseded
from lakehouse.minio.slicing import cut, write_empty
from lakehouse.minio.unify import unified
from lakehouse.ops.lease import Holder, Lease, LeaseHeld
from lakehouse.ops.scratch import scratch

log = logging.getLogger(__name__)

TRANSFERS = 8  # objects stored or copied at a time, per stream

_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
# The first columns of everything that Airbyte lands (its S3 destination's Parquet format).
_AIRBYTE_COLUMNS = [
    pa.field("_airbyte_raw_id", pa.string()),
    pa.field("_airbyte_extracted_at", pa.timestamp("ms", tz="UTC")),
    pa.field("_airbyte_generation_id", pa.int64()),
    pa.field(
        "_airbyte_meta",
        pa.struct(
            [
                pa.field("sync_id", pa.int64()),
                pa.field(
                    "changes",
                    pa.list_(
                        pa.struct(
                            [
                                pa.field("field", pa.string()),
                                pa.field("change", pa.string()),
                                pa.field("reason", pa.string()),
                            ]
                        )
                    ),
                ),
            ]
        ),
    ),
]


@dataclass(frozen=True)
class Stream:
    """A stream to publish.

    :ivar batch_date: see `BatchDate`.
    :ivar columns: name -> string, integer, number, boolean, date or timestamp: what a stream is published with
        as long as nothing has landed, so that it can be queried. Once something has, its own schema counts.
        With neither, nothing is published: a table without the columns that its readers name is worse than none.
    :ivar dropped_columns: columns that the source had and may lack from now on: null in the rows without them,
        and where Airbyte could not deliver the value.
    :ivar required_columns: the columns whose loss counts. None means all: a table that lacks a column has lost it. A
        file's header says nothing of other files, so of files those count that the stream's schema names.
    :ivar overwrites: whether Airbyte overwrites the stream (`full_refresh_overwrite`): once it has removed a generation
        from landing for a newer one, nothing of it stays published. Of snapshots each day keeps its own all the same.
    """

    name: str
    batch_date: str
    columns: Mapping[str, str] = field(default_factory=dict)
    dropped_columns: Sequence[str] = ()
    required_columns: Sequence[str] | None = None
    overwrites: bool = False


@dataclass(frozen=True)
class Published:
    """What publishing a stream came to. Rows and partitions are totals, the rest is what this call did.

    :ivar days: partitions that were written to or removed from.
    """

    stream: str
    landed_rows: int
    rows: int
    partitions: int
    written: int
    copied: int
    removed: int
    days: list[str]


class StreamPublisher:
    """Publishes the streams of one source, each all or nothing.

    Every object has a name that tells what is in it (see `partitions.desired`), so the work is a comparison of
    names: what is missing is written, verified by size and rows, and only then what it replaces is removed.
    Killed at any point, the next call does the rest. A failure before the removal leaves the old objects.

    :param landing: prefix of the landing objects, `bronze/landing/source=<source>`.
    :param published: prefix of what is published, `bronze/<source>`.
    :param conn_id: Airflow connection of the run records (leases, landing index).
    :param stopped: asked between objects; when it says True the publisher stops with PublishError.
    """

    def __init__(
        self,
        store: ObjectStoreHook,
        *,
        bucket: str,
        landing: str,
        published: str,
        conn_id: str,
        holder: Holder | str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._bucket = store, bucket
        self._landing, self._published = landing, published
        self._conn_id, self._holder, self._stopped = conn_id, holder, stopped

    def publish(self, stream: Stream, batch: str) -> Published:
        """Bring the published stream to what has landed.

        :param batch: day of the run (YYYY-MM-DD), for snapshots and for streams without data.
        :raises ColumnDropped: the newest rows lack a column that older objects had and that is not declared as
            dropped. Nothing was changed.
        :raises ValuesAltered: Airbyte put null (or a shortened value) in the place of one that it could not deliver.
            Nothing was changed.
        :raises PublishError: the data cannot be published (a changed type, no column for the day, not Parquet).
        :raises CannotCompact: what a killed join of landing objects has left behind cannot be read.
        :raises StoreUnreachable: the object store does not answer.
        :raises LeaseLost: another try of the task has taken over.
        """
        with self._lease(stream) as lease, scratch("publish") as folder:
            return self._publish(stream, batch, lease, folder)

    @contextmanager
    def _lease(self, stream: Stream) -> Iterator[Lease]:
        """The stream's lease, however long its holder is at work: the batch waits for an ingest run, not the day."""
        name = lease_name(self._bucket, self._published, stream.name)
        with ExitStack() as held:
            while True:
                try:
                    lease = held.enter_context(Lease(self._conn_id, name, holder=self._holder))
                    break
                except LeaseHeld as other:
                    log.info("%s: waiting for %s, which publishes it", stream.name, other.holder)
                    self._stop_if_told(stream)
            yield lease

    def _publish(self, stream: Stream, batch: str, lease: Lease, folder: Path) -> Published:
        rule = BatchDate(stream.batch_date)
        target = f"{self._published}/{stream.name}/"
        self._finish_join(stream, lease)
        objects, past, fetched = self._landed(stream, rule, folder)
        self._refuse_dropped(stream, objects, past)
        self._refuse_altered(stream, current(objects, rule))
        present = {item.key.removeprefix(target): item for item in self._store.objects(self._bucket, target)}
        schema = self._schema(stream, objects)
        overwrites = stream.overwrites and not rule.is_snapshot
        slices = desired(objects, schema, rule, batch, overwrites)
        missing = {name: item for name, item in slices.items() if name not in present}
        wanted = set(slices)
        if not any(item.rows for item in slices.values()) and (objects or stream.columns):
            known = [name for name in present if name.endswith(empty_name(schema, batch).split("/")[1])]
            wanted.add(known[0] if known else empty_name(schema, batch))
        sizes = self._write(stream, target, missing, schema, rule, lease, folder, fetched)
        for name in wanted - set(slices) - set(present):
            sizes[name] = self._write_empty(target + name, schema, lease, folder)
        newest = max((item.generation for item in objects), default=0) if overwrites else 0
        obsolete = superseded(present, wanted, objects, rule, batch, newest)
        self._verify(stream, target, sizes)
        if obsolete:
            lease.check()
            self._store.remove(self._bucket, [target + name for name in obsolete])
        copied = sum(item.whole for item in missing.values())
        return Published(
            stream.name,
            sum(item.rows for item in objects),
            sum(item.rows for item in slices.values()),
            len({item.day for item in slices.values()}),
            len(sizes) - copied,
            copied,
            len(obsolete),
            sorted({name.split("/")[0].removeprefix("date=") for name in (*sizes, *obsolete)}),
        )

    def _finish_join(self, stream: Stream, lease: Lease) -> None:
        """Landing holds each row once, also where a join of its objects was killed."""
        LandingCompactor(
            self._store,
            bucket=self._bucket,
            landing=self._landing,
            published=self._published,
            stream=stream.name,
            conn_id=self._conn_id,
            holder=self._holder,
        ).finish(lease)

    def _landed(
        self, stream: Stream, rule: BatchDate, folder: Path
    ) -> tuple[list[LandingObject], list[LandingObject], dict[str, Path]]:
        """All landing objects, in the order of their keys; those known from before that are there no more; and
        the files of those that had to be fetched to know them.
        """
        prefix = f"{self._landing}/{stream.name}/"
        index = LandingIndex(self._conn_id, self._bucket, rule)
        known = index.known(prefix)
        objects: list[LandingObject] = []
        fetched: dict[str, Path] = {}
        for stored in self._store.objects(self._bucket, prefix):
            if not stored.key.endswith(".parquet"):
                continue
            item = known.get(stored.key)
            if item is None or (item.size, item.etag) != (stored.size, stored.etag):
                fetched[stored.key] = self._fetch(stream, stored.key, folder)
                item = inspect(fetched[stored.key], stored, stream.name, rule)
                index.keep(item)
            objects.append(item)
        there = {item.key for item in objects}
        return objects, [item for key, item in known.items() if key not in there], fetched

    def _refuse_dropped(self, stream: Stream, objects: Sequence[LandingObject], past: Sequence[LandingObject]) -> None:
        lost, newest = lost_columns(objects, past, stream.dropped_columns, stream.required_columns)
        gone = [column for column, keys in lost.items() if keys[-1] == newest]
        if gone:
            raise ColumnDropped(stream.name, gone, newest, self._published.rpartition("/")[2])
        for column, keys in lost.items():
            log.warning(
                "%s: column %r was gone for a time and is null in the rows of %d landing objects, the last is %s; "
                "clear the stream in Airbyte and sync it to read them again",
                stream.name,
                column,
                len(keys),
                keys[-1],
            )

    def _refuse_altered(self, stream: Stream, objects: Sequence[LandingObject]) -> None:
        for item in objects:
            altered = {name: what for name, what in item.changes.items() if name not in stream.dropped_columns}
            if altered:
                raise ValuesAltered(stream.name, altered, item.key, self._published.rpartition("/")[2])

    def _fetch(self, stream: Stream, key: str, folder: Path) -> Path:
        self._stop_if_told(stream)
        path = folder / f"{made_of(key)}.parquet"
        self._store.fetch(self._bucket, key, path)
        return path

    def _schema(self, stream: Stream, objects: Sequence[LandingObject]) -> pa.Schema:
        if objects:
            return unified(stream.name, [(item.key, item.schema) for item in objects])
        columns = [pa.field(name, _type(stream, name, kind)) for name, kind in stream.columns.items()]
        return pa.schema([*_AIRBYTE_COLUMNS, *columns])

    def _write(
        self,
        stream: Stream,
        target: str,
        missing: Mapping[str, Slice],
        schema: pa.Schema,
        rule: BatchDate,
        lease: Lease,
        folder: Path,
        fetched: Mapping[str, Path],
    ) -> dict[str, int]:
        """Store what is missing, one landing object after the other; return name -> size."""
        by_source: dict[str, dict[str, Slice]] = {}
        for name, item in missing.items():
            by_source.setdefault(item.source.key, {})[name] = item
        sizes: dict[str, int] = {}
        with ThreadPoolExecutor(TRANSFERS, thread_name_prefix="publish") as pool:
            for key, slices in by_source.items():
                self._stop_if_told(stream)
                lease.check()
                log.info("%s: %s -> %d objects", stream.name, key, len(slices))
                whole = [name for name, item in slices.items() if item.whole]
                for name in whole:
                    self._store.copy_whole(self._bucket, key, target + name)
                    sizes[name] = slices[name].source.size
                rest = {name: item for name, item in slices.items() if not item.whole}
                if rest:
                    landed = fetched.get(key) or self._fetch(stream, key, folder)
                    sizes |= self._store_slices(stream, target, rest, landed, schema, rule, pool)
                    landed.unlink()
        return sizes

    def _store_slices(
        self,
        stream: Stream,
        target: str,
        slices: Mapping[str, Slice],
        landed: Path,
        schema: pa.Schema,
        rule: BatchDate,
        pool: ThreadPoolExecutor,
    ) -> dict[str, int]:
        with tempfile.TemporaryDirectory(dir=landed.parent) as folder:
            files = cut(landed, Path(folder), schema, rule, {item.source_day for item in slices.values()})
            paths: dict[str, Path] = {}
            for name, item in slices.items():
                paths[name] = files[item.source_day]
                _expect_rows(stream, files[item.source_day], item)
            list(pool.map(lambda name: self._store.store(self._bucket, target + name, paths[name]), paths))
            return {name: path.stat().st_size for name, path in paths.items()}

    def _write_empty(self, key: str, schema: pa.Schema, lease: Lease, folder: Path) -> int:
        path = folder / "empty.parquet"
        write_empty(path, schema)
        lease.check()
        self._store.store(self._bucket, key, path)
        return path.stat().st_size

    def _verify(self, stream: Stream, target: str, sizes: Mapping[str, int]) -> None:
        """What was stored is there, with its size."""
        if not sizes:
            return
        there = {item.key: item.size for item in self._store.objects(self._bucket, target)}
        wrong = [name for name, size in sizes.items() if there.get(target + name) != size]
        if wrong:
            self._store.remove(self._bucket, [target + name for name in wrong])
            raise PublishError(
                stream.name,
                f"{len(wrong)} of {len(sizes)} objects were not stored whole, the first is {target}{wrong[0]}",
                "They were removed again; look at the object store's disk and log, then clear this task.",
            )

    def _stop_if_told(self, stream: Stream) -> None:
        if self._stopped():
            raise PublishError(stream.name, "stopped before it was published whole", "Clear this task.")


def _type(stream: Stream, name: str, kind: str) -> pa.DataType:
    if kind not in _TYPES:
        raise PublishError(
            stream.name,
            f"column {name!r} is declared as {kind!r}",
            f"Use one of: {', '.join(_TYPES)}.",
        )
    return _TYPES[kind]


def _expect_rows(stream: Stream, path: Path, item: Slice) -> None:
    rows = pq.read_metadata(path).num_rows
    if rows != item.rows:
        raise PublishError(
            stream.name,
            f"{item.source.key} has {rows} rows of {item.day}, but {item.rows} were counted when it landed",
            "The landing object was changed: clear the stream in Airbyte and sync it again.",
        )
