"""The engine: prepares and runs SQL of Dremio's dialect on one DuckDB instance.

How the protocols use it::

    engine = Engine(Catalog(dsn), dsn, data_dir, memory_limit="1GB")
    statement = engine.prepare(sql, session)            # parse + resolve + bind; nothing is executed
    handle = Handle()
    future = engine.pool.submit(engine.execute, statement, session, handle)
    result = future.result()                            # Result: schema, batches, records, relationships
    for batch in result.batches: ...                    # also on engine.pool or an own thread, never gRPC's
    engine.cancel(handle)                               # from any thread

* `prepare` raises `errors.ParseError` / `errors.ValidationError` / `errors.UnsupportedOperation` /
  `errors.PermissionDenied`; it may be called again for the same text at little cost (translations are cached by
  text, context and catalog version). It touches DuckDB, so it too belongs on `engine.pool`.
* `execute` runs a statement once. Statements that write hold the engine's writer lock from begin to commit.
  `Result.batches` yields at least one record batch (of zero rows when there are none), all of `Result.schema`.
  Close it (`result.close()`) when the client goes away early.
* `Session` is mutable: `USE a.b` changes `session.context`.
* Threads: DuckDB must not be touched on a gRPC handler thread, hence `engine.pool`.
* Reflections: the wire side sets `engine.reflections` to its `ReflectionStore` (see `contracts`). Materialisations
  are native DuckDB tables in `data_dir/reflections.duckdb`, made by `build_materialization(name, sql, session)`.
* System tables that others own (``sys.jobs_recent``, ``sys.reflections``) are registered with
  `engine.register_system_table(name, schema, rows)`.
"""

from embedded.dremio.engine.contracts import (
    Handle,
    Materialization,
    ReflectionDefinition,
    ReflectionStore,
    Relationship,
    Result,
    Rewrite,
    Session,
    Statement,
    StatementKind,
)
from embedded.dremio.engine.engine import Engine

__all__ = [
    "Engine",
    "Handle",
    "Materialization",
    "ReflectionDefinition",
    "ReflectionStore",
    "Relationship",
    "Result",
    "Rewrite",
    "Session",
    "Statement",
    "StatementKind",
]
