"""The result of a query as objects: streamed, whole or not at all, one batch at a time."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from lakehouse.dremio.jobs import task_tags, with_comment
from lakehouse.ops.batch import batch_date
from lakehouse.ops.scratch import scratch
from lakehouse.transfers.batches import MANIFEST, Manifest, Part, commit, folder
from lakehouse.transfers.exceptions import TransferError

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from lakehouse.dremio.hook import DremioHook
    from lakehouse.minio.hook import ObjectStoreHook
    from lakehouse.ops.lease import Lease
    from lakehouse.transfers.files import FileFormat


class DremioToMinioOperator(BaseOperator):
    """Write a query's result to Parquet or CSV objects, `<prefix>/batch=<batch>/part-<attempt>-<number>.<format>`.

    The result is streamed over Arrow Flight: some record batches in memory, one file on the worker's disk. The object
    `_manifest.json` names the parts that count and is written last, in one request: a reader that goes by it
    (MinioToDremioOperator does) sees the whole batch or the one before. Afterwards the parts of earlier attempts are
    removed. Running a batch again replaces it; interrupted anywhere, running it again puts it right.

    It holds a worker while it runs, since the data goes through it. Killed, it cancels the query and removes what it
    had stored.

    Example::

        DremioToMinioOperator(
            task_id="export_orders",
            sql="SELECT * FROM gold.orders WHERE order_date = DATE '{{ params.batch_date }}'",
            bucket="datalake",
            prefix="exports/orders",
            batch="{{ params.batch_date }}",
            retries=2,
        )

    Returns (XCom) `{"bucket", "folder", "manifest", "batch", "attempt", "objects": int, "rows": int, "bytes": int}`;
    `folder` and `manifest` are keys.

    Known limits: a reader that lists the folder, and does not read the manifest, may see two attempts for a moment; one
    that reads the parts of the manifest before may find them removed, and has to read the manifest again.

    :param sql: one query, or the path of a `.sql` template (templated).
    :param bucket: bucket (templated).
    :param prefix: key prefix without slashes at its ends (templated).
    :param batch: names the batch: letters, digits, `.`, `_`, `-` (templated). Default: the run's batch date.
    :param file_format: `parquet` or `csv` (with a header line).
    :param compression: Parquet: `zstd`, `snappy`, `gzip`, `none`; CSV: `gzip`, `none`. Default: zstd, none.
    :param rows_per_file: rows of one object; the next begins after them.
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    :param lakehouse_conn_id: Airflow connection of the run records' database; with it a lease keeps an orphaned copy
        of this task from committing beside its retry. Default: none.
    """

    template_fields: Sequence[str] = ("sql", "bucket", "prefix", "batch", "dremio_conn_id", "aws_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#d8f3f0"

    def __init__(
        self,
        *,
        sql: str,
        bucket: str,
        prefix: str,
        batch: str | None = None,
        file_format: "FileFormat" = "parquet",
        compression: str | None = None,
        rows_per_file: int = 2_000_000,
        dremio_conn_id: str = "dremio_default",
        aws_conn_id: str = "minio_default",
        lakehouse_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.bucket = bucket
        self.prefix = prefix
        self.batch = batch
        self.file_format = file_format
        self.compression = compression
        self.rows_per_file = rows_per_file
        self.dremio_conn_id = dremio_conn_id
        self.aws_conn_id = aws_conn_id
        self.lakehouse_conn_id = lakehouse_conn_id
        self._stop = threading.Event()
        self._cursor: Any = None

    def execute(self, context: "Context") -> dict[str, Any]:
        """Stream, store, commit.

        :raises ValueError: an argument is wrong, or a column does not fit the format; names it.
        :raises TransferError: Dremio refused the query, or the parts were not stored whole.
        :raises StoreUnreachable: the object store does not answer or refuses the keys.
        :raises LeaseLost: another try of this task is at work.
        """
        from lakehouse.dremio.hook import DremioHook
        from lakehouse.minio.hook import ObjectStoreHook
        from lakehouse.transfers.files import extension

        batch = self.batch or batch_date(context).isoformat()
        place = folder(self.prefix, batch)
        compression = self.compression or ("zstd" if self.file_format == "parquet" else "none")
        ending = extension(self.file_format, compression)
        if self.rows_per_file < 1:
            raise ValueError(f"rows_per_file is {self.rows_per_file}; it must be at least 1")
        store, attempt = ObjectStoreHook(self.aws_conn_id), uuid.uuid4().hex[:8]
        parts: list[Part] = []
        with self._lease(context, place) as lease:
            try:
                self._export(
                    DremioHook(self.dremio_conn_id), store, context, place, attempt, ending, compression, parts
                )
                if lease is not None:
                    lease.check()
            except BaseException:
                self._take_back(store, place, attempt)
                raise
            manifest = Manifest(batch, attempt, self.file_format, parts)
            # from here on nothing is taken back: a manifest whose answer was lost may be in force
            removed = commit(store, self.bucket, place, manifest)
        self.log.info(
            "s3://%s/%s: %d rows in %d objects, %d bytes; %d objects of earlier attempts removed",
            self.bucket, place, manifest.rows, len(parts), manifest.bytes, len(removed),
        )  # fmt: skip
        return {
            "bucket": self.bucket,
            "folder": place,
            "manifest": place + MANIFEST,
            "batch": batch,
            "attempt": attempt,
            "objects": len(parts),
            "rows": manifest.rows,
            "bytes": manifest.bytes,
        }

    def on_kill(self) -> None:
        """Cancel the query; what was stored is removed on the way out, or by the next run of the batch."""
        self._stop.set()
        if self._cursor is not None:
            with suppress(Exception):  # best effort: the query may have ended
                self._cursor.adbc_cancel()

    def get_openlineage_facets_on_start(self) -> "OperatorLineage | None":
        """The query's tables come in, the objects of the prefix go out."""
        from airflow.providers.common.compat.openlineage.facet import Dataset

        from lakehouse.dremio.hook import DremioHook
        from lakehouse.dremio.lineage import lineage

        objects = Dataset(namespace=f"s3://{self.bucket}", name=self.prefix.strip("/"))
        return lineage(DremioHook(self.dremio_conn_id).settings, [self.sql], outputs=[objects])

    def _export(
        self,
        dremio: "DremioHook",
        store: "ObjectStoreHook",
        context: "Context",
        place: str,
        attempt: str,
        ending: str,
        compression: str,
        parts: list[Part],
    ) -> None:
        from lakehouse.transfers.files import write_files

        with closing(dremio.get_conn()) as connection, closing(connection.cursor()) as cursor:
            self._cursor = cursor
            try:
                with self._query_errors(place):
                    cursor.execute(with_comment(self.sql.strip().rstrip(";"), task_tags(context)))
                    reader = cursor.fetch_record_batch()
                with scratch("export") as local:
                    for path, rows in write_files(
                        self._batches(reader, place),
                        reader.schema,
                        local,
                        file_format=self.file_format,
                        compression=compression,
                        rows_per_file=self.rows_per_file,
                    ):
                        name = f"part-{attempt}-{len(parts):05}.{ending}"
                        store.store(self.bucket, place + name, path)
                        parts.append(Part(name, rows, path.stat().st_size))
                        self.log.info("%s: %d rows", name, rows)
                        path.unlink()
            finally:
                self._cursor = None

    def _batches(self, reader: Any, place: str) -> Any:
        """The reader's batches, until the task is killed."""
        while True:
            with self._query_errors(place):
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            if self._stop.is_set():
                raise TransferError(
                    f"s3://{self.bucket}/{place}", "stopped before its end", "Clear the group; the batch is as it was."
                )
            yield batch

    @contextmanager
    def _query_errors(self, place: str) -> Iterator[None]:
        import pyarrow as pa
        from adbc_driver_manager import Error

        try:
            yield
        except (Error, OSError, pa.ArrowException) as error:
            raise TransferError(
                f"s3://{self.bucket}/{place}",
                "the query did not come to its end",
                "Correct the query, or clear the group if Dremio was away; the batch is as it was.",
                f"{str(error).split('. Vendor code')[0]} (statement: {self.sql[:300]})",
            ) from error

    def _take_back(self, store: "ObjectStoreHook", place: str, attempt: str) -> None:
        """Remove what this attempt stored; best effort, the next run of the batch does it too."""
        try:
            keys = [item.key for item in store.objects(self.bucket, f"{place}part-{attempt}-")]
            if keys:
                store.remove(self.bucket, keys)
        except Exception as error:
            self.log.warning("objects of this attempt are left in s3://%s/%s: %s", self.bucket, place, error)

    def _lease(self, context: "Context", place: str) -> "AbstractContextManager[Lease | None]":
        if self.lakehouse_conn_id is None:
            return nullcontext()
        from lakehouse.ops.lease import Lease, holder_of

        return Lease(self.lakehouse_conn_id, f"export/{self.bucket}/{place}", holder=holder_of(context))
