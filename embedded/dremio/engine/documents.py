"""The documents of an index of an ELASTIC source, as a statement reads them: a temporary table of its cursor.

It is filled page by page before the text runs, so that no more than a page is in Python's memory, and DuckDB spills the
rest. A stream that DuckDB would pull needs the GIL, which a cursor that is closed meanwhile holds: both would wait for
ever.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from embedded.dremio.catalog import Catalog, elastic
from embedded.dremio.catalog.elastic_fields import Field, ListFound, marked, reader, undotted
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine.contracts import Handle
from embedded.dremio.errors import Canceled, DataReadError
from embedded.dremio.sql.kinds import duckdb_type, quoted
from embedded.dremio.types import Column, DremioType, arrow_schema

DOCUMENTS = "documents$"  # the first part of a table's registered name
_PAGE = "page$"
_META = {
    "_index": lambda hit: hit["_index"],
    "_type": lambda hit: elastic.MAPPING,
    "_uid": lambda hit: f"{elastic.MAPPING}#{hit['_id']}",
    "_id": lambda hit: hit["_id"],
}


def columns_of(source: Entity, fields: list[Field]) -> list[Column]:
    """The columns of an index: its fields, then what Dremio tells of each document."""
    meta = [*elastic.META_FIELDS, *(["_id"] if source.body["config"].get("showIdColumn") else [])]
    return [*(field.column for field in fields), *(Column(name, DremioType("VARCHAR")) for name in meta)]


def fill(cursor: duckdb.DuckDBPyConnection, name: str, catalog: Catalog, entity: Entity, handle: Handle | None) -> None:
    """Make the temporary table `name` of an index, with all its documents for a statement that runs (`handle`)."""
    listed = ", ".join(f"{quoted(c.name)} {duckdb_type(c.type)}" for c in entity.columns)
    cursor.execute(f"CREATE TEMP TABLE {quoted(name)} ({listed})")
    if handle is None:
        return
    source = catalog.source_of(entity.path)
    assert source is not None
    fields = [Field.from_json(field) for field in entity.internals["fields"]]
    readers = [(field.name, reader(field)) for field in fields]
    try:
        for hits in elastic.pages(source, entity.internals["remote"][0]):
            if handle.cancelled:
                raise Canceled(handle.reason)
            cursor.register(_PAGE, pa.table(_arrays(entity, hits, readers), schema=arrow_schema(entity.columns)))
            cursor.execute(f"INSERT INTO {quoted(name)} SELECT * FROM {quoted(_PAGE)}")
            cursor.unregister(_PAGE)
    except ListFound as found:
        fields = marked(fields, found.path)
        internals = {**entity.internals, "fields": [field.to_json() for field in fields]}
        catalog.put(entity, columns=columns_of(source, fields), internals=internals)
        raise DataReadError(
            "New schema found. Please reattempt the query. Multiple attempts may be necessary to fully learn the"
            f" schema. Table [{entity.dotted}]: field [{found}] holds lists."
        ) from None


def _arrays(entity: Entity, hits: list[dict[str, Any]], readers: list[tuple[str, Any]]) -> list[pa.Array]:
    if any("_source" not in hit for hit in hits):
        raise DataReadError(f"Index [{hits[0]['_index']}] does not keep the _source of its documents.")
    documents = [undotted(hit["_source"]) for hit in hits]
    values = {name: [read(document.get(name)) for document in documents] for name, read in readers}
    values |= {name: [tell(hit) for hit in hits] for name, tell in _META.items()}
    try:
        return [pa.array(values[column.name], column.type.arrow) for column in entity.columns]
    except (pa.ArrowException, OverflowError) as error:
        raise DataReadError(f"Table [{entity.dotted}]: a document cannot be read: {error}") from error
