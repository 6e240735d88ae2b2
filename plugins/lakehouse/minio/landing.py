"""What is known of each landing object: its rows per day and its schema, kept so that no object is read twice."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.minio.altered import alterations
from lakehouse.minio.batch_date import BatchDate
from lakehouse.minio.exceptions import MissingBatchColumn, PublishError
from lakehouse.minio.hook import StoredObject
from lakehouse.ops import database
from lakehouse.ops.schema import ensure_schema

GENERATION = "_airbyte_generation_id"
MAX_ROW_GROUP = 1_000_000  # rows
READ_ROWS = 131_072  # rows read at a time


@dataclass(frozen=True)
class LandingObject:
    """A landing object and what it holds.

    :ivar days: rows for each day (text YYYY-MM-DD).
    :ivar generation: Airbyte's generation, larger than that of every earlier full refresh.
    :ivar copyable: whether its codec and row groups are those of a published object already.
    :ivar changes: column -> what Airbyte did to values of it on their way, and why (see `altered.alterations`).
    """

    key: str
    size: int
    etag: str
    rows: int
    days: dict[str, int]
    generation: int
    copyable: bool
    schema: pa.Schema
    changes: dict[str, str] = field(default_factory=dict)


def inspect(path: Path, stored: StoredObject, stream: str, rule: BatchDate) -> LandingObject:
    """Read what is to be known of the landing object that was fetched to `path`.

    :raises MissingBatchColumn: it lacks the column that tells the days.
    :raises PublishError: it is no Parquet file, or that column is text that is no date.
    """
    try:
        with pq.ParquetFile(path) as file:
            return _inspect(file, stored, stream, rule)
    except pa.ArrowInvalid as error:
        raise PublishError(
            stream,
            f"{stored.key} cannot be read: {str(error).splitlines()[0]}",
            "Clear the stream in Airbyte and sync it again, or correct batch_date of the stream.",
        ) from error


def _inspect(file: pq.ParquetFile, stored: StoredObject, stream: str, rule: BatchDate) -> LandingObject:
    schema = file.schema_arrow.remove_metadata()
    for column in rule.columns():
        if column not in schema.names:
            raise MissingBatchColumn(stream, column, stored.key)
    days: dict[str, int] = {}
    generation = 0
    wanted = [*rule.columns(), *([GENERATION] if GENERATION in schema.names else [])]
    for batch in file.iter_batches(READ_ROWS, columns=wanted):
        for item in rule.days(batch).value_counts().to_pylist():
            days[item["values"]] = days.get(item["values"], 0) + item["counts"]
        if GENERATION in schema.names and len(batch):
            generation = max(generation, pc.max(batch.column(GENERATION)).as_py() or 0)
    return LandingObject(
        stored.key,
        stored.size,
        stored.etag,
        file.metadata.num_rows,
        days,
        generation,
        _is_published_form(file.metadata),
        schema,
        alterations(file),
    )


def _is_published_form(metadata: pq.FileMetaData) -> bool:
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return all(
        group.num_rows <= MAX_ROW_GROUP and group.column(column).compression == "SNAPPY"
        for group in groups
        for column in range(group.num_columns)
    )


class LandingIndex:
    """The table `landing_object`: what was read of landing objects. A cache: emptied, it fills again.

    :param conn_id: Airflow connection of the database with the run records.
    """

    def __init__(self, conn_id: str, bucket: str, rule: BatchDate) -> None:
        self._url = database.dsn(conn_id)
        self._bucket, self._rule = bucket, rule.rule
        ensure_schema(self._url)

    def known(self, prefix: str) -> dict[str, LandingObject]:
        """Return what is known of the objects below `prefix`, by key."""
        rows = database.run(
            self._url,
            "SELECT key, size, etag, rows, days, generation, copyable, arrow_schema, changes FROM landing_object"
            " WHERE bucket = %s AND batch_column = %s AND starts_with(key, %s)",
            (self._bucket, self._rule, prefix),
        )
        return {row[0]: _landing_object(row) for row in rows}

    def keep(self, item: LandingObject) -> None:
        """Keep what was read of one object, in place of what was known of its key."""
        database.run(
            self._url,
            "INSERT INTO landing_object (bucket, batch_column, key, size, etag, rows, days, generation, copyable,"
            " arrow_schema, changes) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (bucket, key, batch_column) DO UPDATE SET size = excluded.size, etag = excluded.etag,"
            " rows = excluded.rows, days = excluded.days, generation = excluded.generation,"
            " copyable = excluded.copyable, arrow_schema = excluded.arrow_schema, changes = excluded.changes",
            (
                self._bucket,
                self._rule,
                item.key,
                item.size,
                item.etag,
                item.rows,
                json.dumps(item.days),
                item.generation,
                item.copyable,
                item.schema.serialize().to_pybytes(),
                json.dumps(item.changes),
            ),
        )


def _landing_object(row: tuple[Any, ...]) -> LandingObject:
    key, size, etag, rows, days, generation, copyable, schema, changes = row
    return LandingObject(
        key, size, etag, rows, days, generation, copyable, pa.ipc.read_schema(pa.py_buffer(bytes(schema))), changes
    )
