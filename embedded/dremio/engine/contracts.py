"""What the engine and its neighbours exchange: sessions, statements, results, and the reflection store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import duckdb
import pyarrow as pa
from sqlglot import exp


class StatementKind(StrEnum):
    """What a statement does; the protocols derive job types and update counts from it."""

    QUERY = "query"
    DDL = "ddl"  # result (ok BOOLEAN, summary VARCHAR)
    DML = "dml"  # result Records BIGINT
    CTAS = "ctas"  # result rows of the writer
    COMMAND = "command"  # SHOW, DESCRIBE, EXPLAIN, USE: rows made by the engine itself


@dataclass
class Session:
    """One client's state; `context` is the path that unqualified names are looked up in first."""

    user: str
    context: tuple[str, ...] = ()
    tag: str | None = None


@dataclass(frozen=True)
class Relationship:
    """How one reflection took part in a query: CONSIDERED, MATCHED or CHOSEN."""

    dataset_id: str
    reflection_id: str
    relationship: str


@dataclass
class Statement:
    """A prepared statement.

    `schema` has the Arrow types that Dremio emits. `datasets` are the catalog ids of all tables and views that
    the statement reads, `dataset_paths` their paths. `plan` belongs to the engine.
    """

    sql: str
    kind: StatementKind
    schema: pa.Schema
    datasets: tuple[str, ...] = ()
    dataset_paths: tuple[tuple[str, ...], ...] = ()
    relationships: tuple[Relationship, ...] = ()
    plan: Any = None
    access_version: int = 0  # of the privileges that it was checked against
    is_short: bool = False  # when it last ran, its first rows came at once


class Handle:
    """Lets another thread cancel a running statement; one for each call of `Engine.execute`, which `job_id` names."""

    def __init__(self, job_id: str = "") -> None:
        self.job_id = job_id
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self.cancelled = False
        self.reason = ""

    def attach(self, connection: duckdb.DuckDBPyConnection | None) -> None:
        """Name the DuckDB connection that works for this statement now (None: no more)."""
        with self._lock:
            self._connection = connection

    def cancel(self, reason: str = "Query is cancelled by the server.") -> None:
        """Mark as cancelled and interrupt what runs; safe to call at any time, any number of times."""
        with self._lock:
            self.cancelled, self.reason = True, self.reason or reason
            if self._connection is not None:
                self._connection.interrupt()


@dataclass
class Result:
    """The outcome of `Engine.execute`: `batches` has at least one batch; read it once.

    `records` is the number of rows written (DML, CTAS), None for queries.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    records: int | None = None
    relationships: tuple[Relationship, ...] = ()

    def close(self) -> None:
        """Give the connection back without reading on; harmless when everything was read."""
        close = getattr(self.batches, "close", None)
        if close is not None:
            close()


@dataclass(frozen=True)
class Materialization:
    """A built materialisation: native table `name`, its size, and its columns (`name`, Dremio type)."""

    name: str
    records: int
    size_bytes: int
    schema: pa.Schema


@dataclass(frozen=True)
class ReflectionDefinition:
    """A reflection as the DDL states it (names as written, order kept).

    `dimensions`: (column, granularity DATE|NORMAL); `measures`: (column, (SUM, COUNT, ...)), empty tuple = default;
    `partitions`: (column, transform or "IDENTITY").
    """

    name: str
    type: str  # RAW | AGGREGATION
    display: tuple[str, ...] = ()
    dimensions: tuple[tuple[str, str], ...] = ()
    measures: tuple[tuple[str, tuple[str, ...]], ...] = ()
    distribution: tuple[str, ...] = ()
    partitions: tuple[tuple[str, str], ...] = ()
    sort: tuple[str, ...] = ()
    partition_strategy: str = "CONSOLIDATED"
    arrow_cache: bool = False


@dataclass(frozen=True)
class Rewrite:
    """A query rewritten to reflections: `query` is None when nothing was replaced.

    In the tree, a materialisation stands as ``exp.Table(this=exp.to_identifier(<alias or name>, quoted=True))``
    with ``table.meta["materialization"] = <Materialization.name>``.
    """

    query: exp.Query | None
    relationships: tuple[Relationship, ...] = ()


@dataclass(frozen=True)
class DatasetUse:
    """A dataset found in a query: catalog id, path, and True for views."""

    id: str
    path: tuple[str, ...]
    is_view: bool = False


class ReflectionStore(Protocol):
    """What the engine asks of the reflections (implemented beside it, set as ``engine.reflections``)."""

    def rewrite(self, query: exp.Query, datasets: list[DatasetUse]) -> Rewrite:
        """Rewrite a resolved SELECT where, and only where, the result is provably the same.

        `query` is still of Dremio's dialect. Every base table is an ``exp.Table`` with ``meta["dataset_id"]`` and
        ``meta["path"]``; every expanded view is an ``exp.Subquery`` with the same two keys (and
        ``meta["view"] = True``), its alias being the name that the query knows it by. The given tree may be
        changed in place (it is a copy).
        """
        ...

    def create(self, dataset_id: str, definition: ReflectionDefinition) -> None:
        """CREATE RAW|AGGREGATE REFLECTION; raises ConcurrentModification if the name is taken."""
        ...

    def drop(self, dataset_id: str, name_or_id: str) -> None:
        """DROP REFLECTION; raises NotFound."""
        ...

    def refresh(self, dataset_id: str) -> None:
        """REFRESH REFLECTIONS: start refreshing all reflections that depend on the dataset; does not wait."""
        ...

    def set_acceleration(self, dataset_id: str, raw: bool, enabled: bool) -> None:
        """ENABLE|DISABLE RAW|AGGREGATE ACCELERATION."""
        ...
