"""Objects into a table by COPY INTO, each batch once."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lakehouse.dremio.operators.sql import DremioSqlOperator
from lakehouse.dremio.quoting import literal, quoted
from lakehouse.ops.batch import batch_date
from lakehouse.transfers.batches import folder, read_manifest
from lakehouse.transfers.exceptions import TransferError

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from lakehouse.minio.hook import ObjectStoreHook


class MinioToDremioOperator(DremioSqlOperator):
    """Load a batch of objects into an Iceberg table by `COPY INTO`, once however often the task runs.

    COPY INTO keeps no record of what it has loaded and is no part of a transaction, so the batch goes into a staging
    table first, `<table>__load_<hash of the batch>`, and from there by one INSERT into the table, whose column
    `batch_column` tells the batch. The INSERT itself looks that no row of the batch is there yet and that all rows
    of the manifest were loaded: a batch is in the table whole or not at all, also when two tries overlap.

    A batch with a manifest (DremioToMinioOperator writes one) is loaded by it: the parts that it names, their rows
    counted. Without one everything below the folder is loaded.

    Like DremioSqlOperator, on which it is built, it waits in the triggerer, adopts its job after a retry, cancels it
    when killed.

    Example::

        MinioToDremioOperator(
            task_id="load_orders",
            table="datalake.silver.orders",
            source="datalake",
            bucket="datalake",
            prefix="exports/orders",
            batch="{{ params.batch_date }}",
            retries=2,
        )

    Returns (XCom) `{"table", "batch", "rows": int, "loaded": bool}`; `loaded` is False when the batch was there.

    Known limit: with `replace` the batch is absent between the DELETE and the INSERT.

    :param table: dotted path of an Iceberg table that has `batch_column` (templated).
    :param source: Dremio source of type S3 that shows the bucket (templated).
    :param bucket: bucket of the objects (templated).
    :param prefix: key prefix above the batch's folder, without slashes at its ends (templated).
    :param batch: names the batch, as for DremioToMinioOperator (templated). Default: the run's batch date.
    :param batch_column: VARCHAR column of the table that tells a row's batch; not in the files.
    :param file_format: `parquet`, `csv` or `json`; with a manifest, the manifest's.
    :param copy_options: options of COPY INTO, such as `{"FIELD_DELIMITER": ";"}`.
    :param replace: delete the batch's rows and load it anew, instead of leaving a loaded batch alone.
    :param aws_conn_id: Airflow connection of type `aws` (templated).
    :param dremio_conn_id: Airflow connection of type `dremio` (templated).
    """

    template_fields: Sequence[str] = ("table", "source", "bucket", "prefix", "batch", "dremio_conn_id", "aws_conn_id")
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        *,
        table: str,
        source: str,
        bucket: str,
        prefix: str,
        batch: str | None = None,
        batch_column: str = "_batch",
        file_format: str = "parquet",
        copy_options: Mapping[str, str] | None = None,
        replace: bool = False,
        aws_conn_id: str = "minio_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(sql=(), **kwargs)
        self.table = table
        self.source = source
        self.bucket = bucket
        self.prefix = prefix
        self.batch = batch
        self.batch_column = batch_column
        self.file_format = file_format
        self.copy_options = copy_options
        self.replace = replace
        self.aws_conn_id = aws_conn_id

    @cached_property
    def store(self) -> "ObjectStoreHook":
        """Object store of this task."""
        from lakehouse.minio.hook import ObjectStoreHook

        return ObjectStoreHook(self.aws_conn_id)

    def execute(self, context: "Context") -> dict[str, Any]:
        """Load the batch, or find that it is there, or go on where an earlier try was interrupted.

        :raises TransferError: no objects, no such table or column, rows missing; the table is as it was.
        :raises DremioJobFailed, DremioJobCanceled: a job did not complete; has Dremio's text.
        :raises AirflowFailException: the outcome of a submission is unknown; not retried.
        """
        plan = self._plan(context)
        statements = self._statements(plan)
        progress = self._stored_progress(context, statements, restartable=True)
        progress.carried = plan
        fresh = progress.index == 0 and progress.job_id is None
        if fresh and not self.replace and (there := self._count(plan["batch"])):
            self.log.info("%s has %d rows of batch %s already: nothing to load", self.table, there, plan["batch"])
            self._check_rows(plan, there)
            self._drop_staging(plan["batch"])  # of a try that died after its INSERT
            return {"table": self.table, "batch": plan["batch"], "rows": there, "loaded": False}
        self._run(context, statements, progress)
        return self._finish(plan)

    def resume(self, context: "Context", event: dict[str, Any]) -> dict[str, Any]:
        """Go on after a deferral."""
        progress = self._woken(event)
        self._run(context, self._statements(progress.carried), progress)
        return self._finish(progress.carried)

    def _lineage(self) -> "OperatorLineage | None":
        """The objects of the prefix as they come in, the table as what is written; staging is the task's own."""
        from airflow.providers.common.compat.openlineage.facet import Dataset

        from lakehouse.dremio.lineage import lineage, namespace

        objects = Dataset(namespace=f"s3://{self.bucket}", name=self.prefix.strip("/"))
        table = Dataset(namespace=namespace(self.hook.settings), name=self.table)
        return lineage(self.hook.settings, [], self._last_job, [objects], [table])

    # --- steps -----------------------------------------------------------------------------------

    def _plan(self, context: "Context") -> dict[str, Any]:
        """What is to be loaded, as plain JSON."""
        batch = self.batch or batch_date(context).isoformat()
        place = folder(self.prefix, batch)
        manifest = read_manifest(self.store, self.bucket, place)
        kind = manifest.file_format if manifest else self.file_format
        if kind not in ("parquet", "csv", "json"):
            raise ValueError(f"file_format {kind!r} is none of parquet, csv, json")
        if manifest is None and not self.store.objects(self.bucket, place):
            raise TransferError(
                f"s3://{self.bucket}/{place}",
                "holds no objects",
                "Check bucket, prefix and batch, and that the task that writes them ran.",
            )
        return {
            "batch": batch,
            "location": self._location(place),
            "columns": self._columns(),
            "format": kind,
            "attempt": manifest.attempt if manifest else None,
            "rows": manifest.rows if manifest else None,
        }

    def _location(self, place: str) -> str:
        """The folder as COPY INTO names it: `@source/path below the source's root`."""
        entity = self.hook.find_entity([self.source])
        root = str(((entity or {}).get("config") or {}).get("rootPath") or "/").strip("/")
        key = f"{self.bucket}/{place}".rstrip("/")
        if (
            entity is None
            or entity.get("entityType") != "source"
            or not f"{key}/".startswith(f"{root}/" if root else "")
        ):
            raise TransferError(
                self.table,
                f"Dremio source {self.source} does not show s3://{key}"
                + (f" (its root is /{root})" if entity else " (there is no such source)"),
                "Name the source that does, or declare one.",
            )
        return f"@{self.source}/{key.removeprefix(root).strip('/')}"

    def _columns(self) -> list[str]:
        """Columns of the table but the batch's."""
        entity = self.hook.find_entity(self.table.split("."))
        names = [str(one["name"]) for one in (entity or {}).get("fields") or []]
        if entity is None or self.batch_column not in names:
            problem = "there is no such table" if entity is None else f"it has no column {self.batch_column}"
            raise TransferError(
                self.table,
                problem,
                f"Make it with the columns of the files and {self.batch_column} VARCHAR"
                f" (ALTER TABLE {self.table} ADD COLUMNS ({self.batch_column} VARCHAR)), or name `batch_column`.",
            )
        return [name for name in names if name != self.batch_column]

    def _statements(self, plan: Mapping[str, Any]) -> list[str]:
        table, staging = quoted(self.table.split(".")), self._staging(plan["batch"])
        batch_column, batch = quoted([self.batch_column]), literal(plan["batch"])
        columns = ", ".join(quoted([name]) for name in plan["columns"])
        named = f" REGEX '.*part-{plan['attempt']}-.*'" if plan["attempt"] else ""
        own = {"EXTRACT_HEADER": "true"} if plan["attempt"] and plan["format"] == "csv" else {}  # as it was written
        options = ", ".join(f"{name} {literal(value)}" for name, value in (own | dict(self.copy_options or {})).items())
        absent = f"(SELECT COUNT(*) FROM {table} WHERE {batch_column} = {batch}) = 0"
        # a replaced batch is not deleted either before all rows are there
        whole = "" if plan["rows"] is None else f" AND (SELECT COUNT(*) FROM {staging}) = {plan['rows']}"
        return [
            f"DROP TABLE IF EXISTS {staging}",
            f"CREATE TABLE {staging} AS SELECT {columns} FROM {table} WHERE 1 = 0",
            *(
                []
                if plan["rows"] == 0
                else [
                    f"COPY INTO {staging} FROM {literal(plan['location'])}{named} FILE_FORMAT {literal(plan['format'])}"
                    + (f" ({options})" if options else "")
                ]
            ),
            *([f"DELETE FROM {table} WHERE {batch_column} = {batch}{whole}"] if self.replace else []),
            f"INSERT INTO {table} ({columns}, {batch_column})"
            f" SELECT {columns}, {batch} FROM {staging} WHERE {absent}{whole}",
        ]

    def _finish(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Look at what the table has, then drop the staging table."""
        there = self._count(plan["batch"])
        self._check_rows(plan, there)
        self._drop_staging(plan["batch"])
        self.log.info("%s has %d rows of batch %s", self.table, there, plan["batch"])
        return {"table": self.table, "batch": plan["batch"], "rows": there, "loaded": True}

    def _check_rows(self, plan: Mapping[str, Any], there: int) -> None:
        if plan["rows"] in (None, there):
            return
        raise TransferError(
            self.table,
            f"it has {there} rows of batch {plan['batch']}, its manifest counts {plan['rows']}",
            "Nothing was loaded by this task: see what COPY INTO took from the files in "
            f"{self._staging(plan['batch'])}."
            if there == 0
            else "The batch was loaded from other files before: set `replace` to load it anew.",
        )

    def _count(self, batch: str) -> int:
        table, column = quoted(self.table.split(".")), quoted([self.batch_column])
        (row,) = self.hook.query(f"SELECT COUNT(*) AS found FROM {table} WHERE {column} = {literal(batch)}")
        return int(row["found"])

    def _drop_staging(self, batch: str) -> None:
        self.hook.run_job(f"DROP TABLE IF EXISTS {self._staging(batch)}", idempotent=True)

    def _staging(self, batch: str) -> str:
        """A name for each batch, so that loads of two batches do not meet."""
        *above, name = self.table.split(".")
        return quoted([*above, f"{name}__load_{hashlib.sha256(batch.encode()).hexdigest()[:8]}"])
