"""The documents of an index of an ELASTIC source, as DuckDB reads them: an Arrow stream, opened anew at each scan.

A page of the scroll becomes a batch, so that no more than a few pages are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from embedded.dremio.catalog import Catalog, elastic
from embedded.dremio.catalog.elastic_fields import Field, ListFound, marked, reader, undotted
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.errors import DataReadError, DremioError
from embedded.dremio.types import Column, DremioType, arrow_schema

DOCUMENTS = "documents$"  # the first part of a stream's registered name
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


class Documents:
    """One index; DuckDB knows it by Arrow's PyCapsule interface."""

    def __init__(self, catalog: Catalog, entity: Entity) -> None:
        source = catalog.source_of(entity.path)
        assert source is not None
        self._catalog, self._source, self._entity = catalog, source, entity
        self._fields = [Field.from_json(field) for field in entity.internals["fields"]]
        self._schema = arrow_schema(entity.columns)

    def __arrow_c_schema__(self) -> Any:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatchReader.from_batches(self._schema, self._batches()).__arrow_c_stream__()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        readers = [(field.name, reader(field)) for field in self._fields]
        try:
            for hits in elastic.pages(self._source, self._entity.internals["remote"][0]):
                yield self._batch(hits, readers)
        except ListFound as found:
            self._learn(found)
            raise ValueError(
                "New schema found. Please reattempt the query. Multiple attempts may be necessary to fully learn the"
                f" schema. Table [{self._entity.dotted}]: field [{found}] holds lists."
            ) from None
        except DremioError as error:  # DuckDB hands on no more than a text; see `results.translate`
            raise ValueError(error.message) from None

    def _batch(self, hits: list[dict[str, Any]], readers: list[tuple[str, Any]]) -> pa.RecordBatch:
        if any("_source" not in hit for hit in hits):
            raise DataReadError(f"Index [{hits[0]['_index']}] does not keep the _source of its documents.")
        documents = [undotted(hit["_source"]) for hit in hits]
        values = {name: [read(document.get(name)) for document in documents] for name, read in readers}
        values |= {name: [tell(hit) for hit in hits] for name, tell in _META.items()}
        try:
            arrays = [pa.array(values[field.name], field.type) for field in self._schema]
        except (pa.ArrowException, OverflowError) as error:
            raise DataReadError(f"Table [{self._entity.dotted}]: a document cannot be read: {error}") from error
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _learn(self, found: ListFound) -> None:
        fields = marked(self._fields, found.path)
        internals = {**self._entity.internals, "fields": [field.to_json() for field in fields]}
        self._catalog.put(self._entity, columns=columns_of(self._source, fields), internals=internals)
