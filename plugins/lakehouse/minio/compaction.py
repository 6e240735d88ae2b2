"""Joins the small Parquet objects of a folder into large ones, so that no reader ever misses a row.

An object store cannot replace several objects by one in a single step. The order of what is done here is therefore
what keeps the rows: the joined object is built and read back under a hidden name, then appears by one copy inside the
server, and right after it the objects that it was made of go by one request. `_compaction.json`, stored before, says
what is being joined: whoever runs after a kill takes it back where all of these objects are still there, and ends it
where some are gone. Nothing relies on conditional requests, part copies, tags or metadata of objects.
"""

import filecmp
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.minio.exceptions import CannotCompact
from lakehouse.minio.hook import ObjectStoreHook, StoredObject
from lakehouse.minio.landing import MAX_ROW_GROUP, READ_ROWS
from lakehouse.ops.lease import Holder, Lease
from lakehouse.ops.scratch import scratch

log = logging.getLogger(__name__)

CODECS = {"bronze": "snappy", "silver": "snappy", "gold": "zstd"}  # by layer
TARGET_BYTES = 256 << 20  # of the objects that are joined into one
PLAN = "_compaction.json"
_HIDDEN = "_compaction-"  # no reader takes it for data: it begins with `_` and does not end with `.parquet`
_MANIFEST = "_manifest.json"
_TABLE = re.compile(r"(^|/)(metadata/[^/]+\.metadata\.json|_delta_log/[^/]+|\.hoodie/.+)$")
_TABLE_FOLDERS = ("metadata", "_delta_log", ".hoodie")
_FIELD_ID = b"PARQUET:field_id"
_AIRBYTE = "_airbyte_raw_id"


@dataclass(frozen=True)
class Compacted:
    """What became of one folder: `before` objects of `bytes_before` bytes are now `after` objects."""

    folder: str
    before: int
    after: int
    rows: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class _Plan:
    """What is being joined: `output` takes the place of `inputs` (name -> etag), all below the folder."""

    output: str
    inputs: dict[str, str]

    @property
    def hidden(self) -> str:
        return _HIDDEN + self.output.removesuffix(".parquet")


class Compactor:
    """Joins small objects below a prefix, folder by folder; each folder holds a lease while it is at work.

    :param conn_id: Airflow connection of the run records (leases).
    :param layer: `bronze`, `silver` or `gold`, whose codec the joined objects get.
    :param small_bytes: objects of at least so many bytes are left as they are.
    """

    takes_airbyte: ClassVar[bool] = False  # whether what Airbyte wrote may be joined

    def __init__(
        self,
        store: ObjectStoreHook,
        *,
        bucket: str,
        layer: str,
        small_bytes: int,
        conn_id: str,
        holder: Holder | str,
    ) -> None:
        self._store, self._bucket = store, bucket
        self._codec, self._small_bytes = CODECS[layer], small_bytes
        self._conn_id, self._holder = conn_id, holder

    def compact(self, prefix: str) -> list[Compacted]:
        """Join what is small in each folder below `prefix`; folders in which nothing was joined are left out.

        Only objects with the same columns and types are joined, in the order of their keys.

        :param prefix: ends with a slash.
        :raises CannotCompact: what lies there is found by name by something else (a table format, a manifest,
            Airbyte, PublishOperator), cannot be read, or was replaced meanwhile. That folder is as it was.
        :raises StoreUnreachable: the object store does not answer or refuses the keys.
        :raises LeaseLost: another try of the task has taken over.
        """
        found = self._store.objects(self._bucket, prefix)
        self._refuse_tables(prefix, found)
        folders: dict[str, list[StoredObject]] = {}
        for item in found:
            folders.setdefault(item.key.rpartition("/")[0] + "/", []).append(item)
        done = []
        for folder, items in folders.items():
            if len(self._small(items)) > 1 or any(item.key == folder + PLAN for item in items):
                with (
                    Lease(self._conn_id, self._lease_name(folder), holder=self._holder) as lease,
                    scratch("compact") as place,
                ):
                    done.append(_Folder(self, folder, lease, place).compact())
        return [one for one in done if one.before]

    def finish_interrupted(self, folder: str, lease: Lease) -> None:
        """Take back, or end, a join that was killed in the folder, whose lease the caller holds.

        :param folder: ends with a slash.
        :raises CannotCompact: the plan of that join cannot be read.
        :raises StoreUnreachable: the object store does not answer or refuses the keys.
        :raises LeaseLost: another has taken over.
        """
        if self._store.objects(self._bucket, folder + PLAN):
            with scratch("compact") as place:
                _Folder(self, folder, lease, place).finish_interrupted()

    def _lease_name(self, folder: str) -> str:
        return f"compact/{self._bucket}/{folder}"

    def _output(self, names: dict[str, str]) -> str:
        """Name of the object that takes the place of these (name -> etag, in the order of their keys)."""
        return f"compacted-{digest(names)}.parquet"

    def _small(self, items: Iterable[StoredObject]) -> list[StoredObject]:
        return [
            item
            for item in items
            if item.size < self._small_bytes
            and item.key.endswith(".parquet")
            and not item.key.rpartition("/")[2].startswith(("_", "."))
        ]

    def _refuse_tables(self, prefix: str, found: Sequence[StoredObject]) -> None:
        for item in found:
            if _TABLE.search(item.key):
                raise _belongs_to_table(f"s3://{self._bucket}/{item.key}")
            if item.key.endswith(f"/{_MANIFEST}"):
                raise CannotCompact(
                    f"s3://{self._bucket}/{item.key}",
                    "names the objects of a batch, which would no longer be there",
                    "Write the batch again with more rows_per_file (DremioToMinioOperator), or choose another prefix.",
                )
        above = prefix.rstrip("/")
        while above:
            for name in _TABLE_FOLDERS:
                if any(_TABLE.search(item.key) for item in self._store.objects(self._bucket, f"{above}/{name}/")):
                    raise _belongs_to_table(f"s3://{self._bucket}/{above}/{name}/")
            above = above.rpartition("/")[0]


class _Folder:
    """One folder, under its lease."""

    def __init__(self, by: Compactor, folder: str, lease: Lease, place: Path) -> None:
        self._by, self._store, self._bucket, self._folder = by, by._store, by._bucket, folder
        self._lease, self._place = lease, place
        self._address = f"s3://{by._bucket}/{folder}"

    def compact(self) -> Compacted:
        self.finish_interrupted()
        before = after = rows = bytes_before = bytes_after = 0
        for inputs in self._groups(self._by._small(self._here().values())):
            path = self._place / "joined"
            count = self._join(inputs, path, self._by._codec)
            size = path.stat().st_size
            self._replace([item for item, _ in inputs], path)
            for _, fetched in inputs:
                fetched.unlink()
            log.info("%s: %d objects with %d rows are now one of %d bytes", self._address, len(inputs), count, size)
            before, after, rows = before + len(inputs), after + 1, rows + count
            bytes_before += sum(item.size for item, _ in inputs)
            bytes_after += size
        return Compacted(self._folder, before, after, rows, bytes_before, bytes_after)

    def _groups(self, small: Sequence[StoredObject]) -> Iterable[list[tuple[StoredObject, Path]]]:
        """Fetch the objects, in the order of their keys, and yield those that belong together."""
        waiting: dict[str, list[tuple[StoredObject, Path]]] = {}
        for number, item in enumerate(small):
            path = self._place / f"{number}.parquet"
            self._store.fetch(self._bucket, item.key, path)
            columns = str(self._columns(item, path))
            group = waiting.setdefault(columns, [])
            group.append((item, path))
            if sum(one.size for one, _ in group) >= TARGET_BYTES and len(group) > 1:
                yield waiting.pop(columns)
        yield from (group for group in waiting.values() if len(group) > 1)

    def _columns(self, item: StoredObject, path: Path) -> pa.Schema:
        """The object's schema, if its rows may be moved to another object."""
        address = f"s3://{self._bucket}/{item.key}"
        try:
            with pq.ParquetFile(path) as file:
                schema, parquet = file.schema_arrow, file.schema
        except pa.ArrowInvalid as error:
            raise CannotCompact(
                address, f"is no Parquet file: {str(error).splitlines()[0]}", "Repair or remove it."
            ) from error
        if any(_FIELD_ID in (field.metadata or {}) for field in schema):
            raise _belongs_to_table(address)
        if _AIRBYTE in schema.names and not self._by.takes_airbyte:
            raise CannotCompact(
                address,
                "was written by Airbyte or published by PublishOperator, which find their objects by name and would "
                "write the rows once more",
                "Choose another prefix; a table made of it (by dbt) is the one to keep in large files.",
            )
        for number in range(len(parquet.names)):
            if parquet.column(number).physical_type == "INT96":
                raise CannotCompact(
                    address,
                    f"column {parquet.column(number).path!r} holds INT96 timestamps, which another type would replace",
                    "Let its writer write TIMESTAMP_MICROS (Spark: spark.sql.parquet.outputTimestampType).",
                )
        return schema.remove_metadata()

    def _join(self, inputs: Sequence[tuple[StoredObject, Path]], path: Path, codec: str) -> int:
        """Write the rows of all inputs into one file, in row groups of a million; return how many there are."""
        with pq.ParquetFile(inputs[0][1]) as first:
            schema = first.schema_arrow.remove_metadata()
        expected = written = 0
        held: list[pa.RecordBatch] = []
        with pq.ParquetWriter(path, schema, compression=codec, version="2.6") as writer:
            for _, fetched in inputs:
                with pq.ParquetFile(fetched) as file:
                    expected += file.metadata.num_rows
                    for batch in file.iter_batches(READ_ROWS):
                        room = MAX_ROW_GROUP - sum(map(len, held))
                        held.append(batch.slice(0, room))
                        if len(batch) >= room:
                            written += _write(writer, held, schema)
                            held = [batch.slice(room)]
            written += _write(writer, held, schema)
        if written != expected:
            raise CannotCompact(self._address, f"{written} of {expected} rows could be read", "Look for damaged files.")
        return written

    def _replace(self, inputs: Sequence[StoredObject], path: Path) -> None:
        """Put the joined object in the place of its inputs."""
        names = {item.key.removeprefix(self._folder): item.etag for item in inputs}
        plan = _Plan(self._by._output(names), names)
        self._lease.check()
        self._store_plan(plan)
        self._store.store(self._bucket, self._folder + plan.hidden, path)
        back = self._place / "read-back"
        self._store.fetch(self._bucket, self._folder + plan.hidden, back)
        self._lease.check()
        whole = filecmp.cmp(path, back, shallow=False)
        there = self._here()
        changed = [name for name, etag in names.items() if name not in there or there[name].etag != etag]
        if not whole or changed:
            self._take_back(plan)
            if changed:
                raise CannotCompact(
                    self._address + changed[0],
                    "was replaced or removed while it was read",
                    "Run this task when nothing writes to that folder.",
                )
            raise CannotCompact(
                self._address, "the joined object was not stored whole", "Look at the object store's disk and log."
            )
        self._store.copy_whole(self._bucket, self._folder + plan.hidden, self._folder + plan.output)
        stored = self._here().get(plan.output)
        if stored is None or stored.size != path.stat().st_size:
            self._take_back(plan)
            raise CannotCompact(
                self._address, "the joined object was not copied whole", "Look at the object store's disk and log."
            )
        self._lease.check()  # who has taken over has taken the joined object back: its inputs are the rows
        self._remove(*names)
        self._forget(plan)

    def finish_interrupted(self) -> None:
        """Take back, or end, what a run that was killed has begun."""
        there = self._here()
        if PLAN not in there:
            return
        path = self._place / PLAN
        self._store.fetch(self._bucket, self._folder + PLAN, path)
        try:
            plan = _Plan(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise CannotCompact(
                self._address + PLAN, "cannot be read", "See what lies in the folder, then remove it."
            ) from error
        self._lease.check()
        if plan.inputs.keys() <= there.keys():
            log.info("%s: a run that was interrupted is taken back", self._address)
            self._take_back(plan)
            return
        log.info("%s: a run that was interrupted is ended", self._address)
        if plan.output in there:  # else somebody has removed the folder's rows meanwhile, joined ones and others
            self._remove(*(name for name, etag in plan.inputs.items() if name in there and there[name].etag == etag))
        self._forget(plan)

    def _take_back(self, plan: _Plan) -> None:
        self._remove(plan.output)
        self._forget(plan)

    def _forget(self, plan: _Plan) -> None:
        self._remove(plan.hidden)
        self._remove(PLAN)  # last: without it nobody knows of the other

    def _here(self) -> dict[str, StoredObject]:
        """Name -> object, of those that lie directly in the folder."""
        items = self._store.objects(self._bucket, self._folder)
        named = {item.key.removeprefix(self._folder): item for item in items}
        return {name: item for name, item in named.items() if "/" not in name}

    def _remove(self, *names: str) -> None:
        self._store.remove(self._bucket, [self._folder + name for name in names])

    def _store_plan(self, plan: _Plan) -> None:
        path = self._place / PLAN
        path.write_text(json.dumps(asdict(plan)), encoding="utf-8")
        self._store.store(self._bucket, self._folder + PLAN, path)


def _write(writer: pq.ParquetWriter, held: Sequence[pa.RecordBatch], schema: pa.Schema) -> int:
    rows = pa.Table.from_batches(held, schema)
    if rows.num_rows:
        writer.write_table(rows, row_group_size=MAX_ROW_GROUP)
    return int(rows.num_rows)


def digest(names: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()[:24]


def _belongs_to_table(address: str) -> CannotCompact:
    return CannotCompact(
        address,
        "belongs to a table (Iceberg, DuckLake, Delta or Hudi) that names its files itself",
        "Compact the table where it lives (Dremio: OPTIMIZE TABLE), and take it out of the prefix.",
    )
