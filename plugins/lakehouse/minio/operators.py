"""Operators: buckets as declared, landing to bronze, and small objects joined."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from lakehouse.minio.exceptions import StreamsCannotBePublished, StreamsFailed
from lakehouse.ops.batch import batch_date
from lakehouse.ops.lake import SOURCE
from lakehouse.ops.lease import LeaseHeld, holder_of
from lakehouse.ops.records import record

if TYPE_CHECKING:
    from lakehouse.minio.publish import Published


class BucketApplyOperator(BaseOperator):
    """Makes the buckets and prefixes that a YAML file declares, and their settings equal. Removes no object.

    Settings are versioning, lifecycle, quota (MinIO) and policy; what a bucket does not name is left as it is, and so
    are lifecycle rules that were made elsewhere. A setting that the server does not have is said in the log and in the
    result, and is no error. Running it again changes nothing.

    Returns (XCom) `{"made": ["bucket datalake", "datalake/silver", ...], "changed": ["bucket datalake: versioning: off
    instead of Enabled", ...], "unsupported": ["bucket datalake: quota is declared, but this server has none", ...]}`.

    :param declaration: YAML file, relative to include/pipelines (templated). See `lakehouse.minio.declared`.
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    :raises DeclarationError: the file is wrong; names line and key.
    :raises ObjectStoreError: the server refuses a setting, or took it and holds another.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.

    Example::

        BucketApplyOperator(task_id="buckets", declaration="storage.yaml")
    """

    template_fields: Sequence[str] = ("declaration", "aws_conn_id")

    def __init__(self, *, declaration: str = "storage.yaml", aws_conn_id: str = "minio_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.declaration = declaration
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Any) -> dict[str, list[str]]:
        """Make what is missing, and change what differs."""
        from lakehouse.minio.buckets import apply
        from lakehouse.minio.declared import Storage
        from lakehouse.minio.hook import ObjectStoreHook
        from lakehouse.ops.declarations import load

        store = ObjectStoreHook(self.aws_conn_id)
        buckets = load(self.declaration, Storage).named(store.lake)
        done = apply(store, buckets)
        for item in done.made:
            self.log.info("made %s", item)
        for item in done.changed:
            self.log.info("changed %s", item)
        for item in done.unsupported:
            self.log.warning("%s", item)
        if not done.made and not done.changed:
            self.log.info("%d buckets and their prefixes are there already: nothing changed", len(buckets))
        return asdict(done)


class PublishOperator(BaseOperator):
    """Publishes what a source has landed: one folder per stream, one partition `date=YYYY-MM-DD` per day.

    What is published is a function of what has landed and of nothing else: each row stands in the partition of
    its own day (UTC), in snappy-compressed Parquet with one schema for the whole stream. Only objects that
    changed are written; a landing object that holds a single day and is right as it is, is copied inside the
    server. Each stream is all or nothing, holds a lease, and may be interrupted at any instant: running again
    does the rest. A stream that fails does not keep the others from being published; the task then fails and
    names it.

    A stream that has landed nothing but whose columns are known gets an object without rows, so that it can be
    queried.

    A new column is followed: older rows have null there. A changed type that would lose values, a column that the
    newest rows lack, and values that Airbyte could not deliver as they were, fail by name before anything is changed.

    Returns `{"rows": {stream: rows}, "streams": [Published as a dict, ...]}`; records the rows per stream of the
    stages landing and bronze.

    :param source: name of the source, the `<s>` of `bronze/landing/source=<s>` and `bronze/<s>`.
    :param streams: one mapping per stream with `name`, `batch_date` (a column, `file_name` or `snapshot`) and
        optionally `columns`, `dropped_columns`, `required_columns` and `overwrites` (see
        `lakehouse.minio.publish.Stream`) (templated).
    :param columns: stream -> columns, for streams that name none themselves: what AirbyteSyncOperator returns
        under this name (templated).
    :param batch: day YYYY-MM-DD that snapshots belong to (templated); None: the run's batch (`lakehouse.ops.batch`).
    :param bucket: bucket of the lake (templated); None: the one that the Airflow connection names in its extra as
        `service_config: {s3: {bucket_name: ...}}`, else `datalake`.
    :param landing_prefix: where sources land (templated).
    :param published_prefix: where published sources stand (templated).
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    :param lakehouse_conn_id: Airflow connection of the run records: leases and what is known of landing objects.
    :param parallel_streams: streams published at a time.
    :raises PublishError: a stream could not be published; names it with reason and remedy. Where only a repair helps
        (a column is gone or has another type) Airflow does not retry it.
    :raises StreamsFailed: several could not; names each.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.

    Example::

        PublishOperator(
            task_id="postgres",
            source="postgres",
            streams=[{"name": "orders", "batch_date": "updated_at"}],
        )
    """

    template_fields: Sequence[str] = (
        "source",
        "streams",
        "columns",
        "batch",
        "bucket",
        "landing_prefix",
        "published_prefix",
        "aws_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"streams": "json", "columns": "json"}
    ui_color = "#f3e1e4"

    def __init__(
        self,
        *,
        source: str,
        streams: Sequence[Mapping[str, Any]],
        columns: Mapping[str, Mapping[str, str]] | None = None,
        batch: str | None = None,
        bucket: str | None = None,
        landing_prefix: str = "bronze/landing",
        published_prefix: str = "bronze",
        aws_conn_id: str = "minio_default",
        lakehouse_conn_id: str = "lakehouse_db",
        parallel_streams: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.streams = streams
        self.columns = columns
        self.batch = batch
        self.bucket = bucket
        self.landing_prefix = landing_prefix
        self.published_prefix = published_prefix
        self.aws_conn_id = aws_conn_id
        self.lakehouse_conn_id = lakehouse_conn_id
        self.parallel_streams = parallel_streams
        self._stop = threading.Event()

    def execute(self, context: Any) -> dict[str, Any]:
        """Publish all streams; raise at the end if one could not be."""
        from lakehouse.minio.hook import ObjectStoreHook
        from lakehouse.minio.publish import Stream, StreamPublisher

        known = self.columns or {}
        streams = [Stream(**({"columns": known.get(stream["name"], {})} | dict(stream))) for stream in self.streams]
        batch = self.batch or batch_date(context).isoformat()
        store = ObjectStoreHook(self.aws_conn_id)
        publisher = StreamPublisher(
            store,
            bucket=self.bucket or store.lake,
            landing=f"{self.landing_prefix}/source={self.source}",
            published=f"{self.published_prefix}/{self.source}",
            conn_id=self.lakehouse_conn_id,
            holder=holder_of(context),
            stopped=self._stop.is_set,
        )
        done: list[Published] = []
        failed: list[Exception] = []
        with ThreadPoolExecutor(self.parallel_streams, thread_name_prefix="stream") as pool:
            try:
                for task in [pool.submit(publisher.publish, stream, batch) for stream in streams]:
                    error = task.exception()
                    if isinstance(error, Exception):
                        failed.append(error)
                    else:
                        done.append(task.result())
            except BaseException:  # the task's time is over: leaving the pool waits for its threads, before on_kill
                self._stop.set()
                raise
        for item in done:
            self.log.info("%s: %s", self.source, _sentence(item))
        self._record(context, done)
        if failed:
            raise _joined(failed)
        return {"rows": {item.stream: item.rows for item in done}, "streams": [asdict(item) for item in done]}

    def on_kill(self) -> None:
        """Stop between two objects; what is written stays and is taken up by the next try."""
        self._stop.set()

    def _record(self, context: Any, done: "Sequence[Published]") -> None:
        # bronze under the name that it has in Dremio, which counts it again
        bronze = ".".join([SOURCE, *self.published_prefix.split("/"), self.source])
        rows = [
            {"stage": stage, "dataset": dataset, "rows": count}
            for item in done
            for stage, dataset, count in (
                ("landing", f"{self.source}.{item.stream}", item.landed_rows),
                ("bronze", f"{bronze}.{item.stream}", item.rows),
            )
        ]
        record(context, "rows", rows)


class CompactOperator(BaseOperator):
    """Joins the small Parquet objects of each folder below a prefix, in the codec and row groups of their layer.

    For folders that a job fills with many small files, and that are read as what lies in them. Objects in the same
    folder with the same columns and types are joined in the order of their keys, to row groups of a million rows and
    about 256 MB an object; bronze and silver are snappy, gold is zstd. A folder in which one small object is left
    over is as it is to be, so running again changes nothing.

    Safe to interrupt at any instant and beside readers: at no time does a row lack. A reader that lists the folder
    between the appearance of a joined object and the removal of what it was made of (one request later; after a kill
    until the next run) sees these rows twice, and one that has listed it before may find an object gone and has to
    list again: Dremio needs its metadata refreshed afterwards (DremioPromoteOperator).

    Refused by name, because something else finds these objects by their names and rows would be lost or doubled:
    tables of Iceberg, DuckLake, Delta and Hudi (OPTIMIZE TABLE is theirs), batches with a manifest, and what Airbyte
    has landed or PublishOperator published.

    Returns (XCom) `{"bucket", "before": objects that were joined, "after": objects made of them, "rows",
    "bytes_before", "bytes_after", "folders": [{"folder", "before", "after", "rows", "bytes_before", "bytes_after"}]}`.

    :param bucket: bucket (templated).
    :param prefix: folder, with a slash at its end; all folders below it are compacted (templated).
    :param layer: `bronze`, `silver` or `gold`.
    :param small_mb: objects of at least so many MB are left as they are.
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    :param lakehouse_conn_id: Airflow connection of the run records, for the leases.
    :raises ValueError: the prefix is empty or has no slash at its end, an unknown layer, or `small_mb` is below 1.
    :raises CannotCompact: objects that must not be joined, or were replaced meanwhile; their folder is as it was.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.

    Example::

        CompactOperator(task_id="compact", bucket="datalake", prefix="silver/clicks/", layer="silver")
    """

    template_fields: Sequence[str] = ("bucket", "prefix", "aws_conn_id")
    ui_color = "#f3e1e4"

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str,
        layer: str,
        small_mb: int = 64,
        aws_conn_id: str = "minio_default",
        lakehouse_conn_id: str = "lakehouse_db",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.layer = layer
        self.small_mb = small_mb
        self.aws_conn_id = aws_conn_id
        self.lakehouse_conn_id = lakehouse_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        """Join what is small."""
        from lakehouse.minio.compaction import CODECS, Compactor
        from lakehouse.minio.hook import ObjectStoreHook

        if self.prefix in ("", "/") or not self.prefix.endswith("/"):
            raise ValueError(f"Task {self.task_id}: prefix {self.prefix!r} must name a folder and end with a slash")
        if self.layer not in CODECS:
            raise ValueError(f"Task {self.task_id}: layer is {self.layer!r}; it must be one of {', '.join(CODECS)}")
        if self.small_mb < 1:
            raise ValueError(f"Task {self.task_id}: small_mb is {self.small_mb}; it must be at least 1")
        compactor = Compactor(
            ObjectStoreHook(self.aws_conn_id),
            bucket=self.bucket,
            layer=self.layer,
            small_bytes=self.small_mb << 20,
            conn_id=self.lakehouse_conn_id,
            holder=holder_of(context),
        )
        done = compactor.compact(self.prefix)
        if not done:
            self.log.info("s3://%s/%s has nothing to join", self.bucket, self.prefix)
        sums = {
            name: sum(getattr(one, name) for one in done)
            for name in ("before", "after", "rows", "bytes_before", "bytes_after")
        }
        return {"bucket": self.bucket, **sums, "folders": [asdict(one) for one in done]}


class CompactLandingOperator(BaseOperator):
    """Joins the small objects that a source has landed since it was last published.

    For a connection that is synced every few seconds: without it the batch would publish as many objects as there
    were syncs. The rows stay as they are; what has been published already stays too. A stream that is being published
    is left to the next run. Safe to interrupt and to run again, as CompactOperator, with which it shares everything
    but what may be joined. After a kill PublishOperator, which holds the same lease, takes the join back or ends it
    before it publishes, and the live copies stay as they are until then: each row is there once.

    Returns (XCom) `{"before": objects that were joined, "after": objects made of them, "rows"}`.

    :param source: name of the source, the `<s>` of `bronze/landing/source=<s>` and `bronze/<s>` (templated).
    :param streams: names of its streams (templated).
    :param bucket: bucket of the lake (templated); None: the one that the Airflow connection names in its extra as
        `service_config: {s3: {bucket_name: ...}}`, else `datalake`.
    :param landing_prefix: where sources land (templated).
    :param published_prefix: where published sources stand (templated).
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    :param lakehouse_conn_id: Airflow connection of the run records, for the leases.
    :raises CannotCompact: an object cannot be read, or was replaced meanwhile; its folder is as it was.
    :raises StoreUnreachable: the object store does not answer or refuses the keys.

    Example::

        CompactLandingOperator(task_id="shop", source="shop", streams=["orders"])
    """

    template_fields: Sequence[str] = (
        "source",
        "streams",
        "bucket",
        "landing_prefix",
        "published_prefix",
        "aws_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"streams": "json"}
    ui_color = "#f3e1e4"

    def __init__(
        self,
        *,
        source: str,
        streams: Sequence[str],
        bucket: str | None = None,
        landing_prefix: str = "bronze/landing",
        published_prefix: str = "bronze",
        aws_conn_id: str = "minio_default",
        lakehouse_conn_id: str = "lakehouse_db",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.streams = streams
        self.bucket = bucket
        self.landing_prefix = landing_prefix
        self.published_prefix = published_prefix
        self.aws_conn_id = aws_conn_id
        self.lakehouse_conn_id = lakehouse_conn_id

    def execute(self, context: Any) -> dict[str, int]:
        """Join what is small, stream after stream."""
        from lakehouse.minio.hook import ObjectStoreHook
        from lakehouse.minio.landing_compaction import LandingCompactor

        store, done = ObjectStoreHook(self.aws_conn_id), []
        bucket = self.bucket or store.lake
        for stream in self.streams:
            compactor = LandingCompactor(
                store,
                bucket=bucket,
                landing=f"{self.landing_prefix}/source={self.source}",
                published=f"{self.published_prefix}/{self.source}",
                stream=stream,
                conn_id=self.lakehouse_conn_id,
                holder=holder_of(context),
            )
            try:
                done += compactor.compact_stream()
            except LeaseHeld as other:
                self.log.info("%s is being published by %s: left to the next run", stream, other.holder)
        return {name: sum(getattr(one, name) for one in done) for name in ("before", "after", "rows")}


def _sentence(item: "Published") -> str:
    if not item.written and not item.copied and not item.removed:
        return f"{item.stream}: {item.rows} rows in {item.partitions} partitions, nothing new"
    return (
        f"{item.stream}: {item.rows} rows in {item.partitions} partitions; {item.written} objects written, "
        f"{item.copied} copied, {item.removed} replaced, in {len(item.days)} partitions"
    )


def _joined(failed: Sequence[Exception]) -> Exception:
    """One exception for all; permanent where a retry could help none of them."""
    if len(failed) == 1:
        return failed[0]
    permanent = all(isinstance(error, AirflowFailException) for error in failed)
    kind = StreamsCannotBePublished if permanent else StreamsFailed
    return kind("\n".join(dict.fromkeys(str(error) for error in failed)), list(failed))
