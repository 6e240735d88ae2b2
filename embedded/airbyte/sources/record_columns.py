"""Which columns the records of one sync are delivered with: those of the schema, and what the service does otherwise.

A service says nothing of its schema but what its records show. So it is remembered which columns a stream was ever
delivered with, and a sync is compared with that:

- A field that the schema does not list is followed as text, where the connection follows new columns. From then on it
  is a column of the stream, null where a record lacks it.
- A column of the schema that was delivered with values before, and that no record of the sync has, is left out of the
  sync's files, as a column that was dropped from a table would be. A null in its place would say that the service
  sent one.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from embedded.airbyte.catalog import ConfiguredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.json_columns import column_type
from embedded.airbyte.worker.parquet import AIRBYTE_FIELDS, safe_name

# Text holds whatever comes later: a number that is followed as an integer today is a fraction tomorrow.
FOLLOWED = {"type": "string"}
FOLLOWED_TYPE = str(column_type(FOLLOWED)[0])
_OWN = [field.name for field in AIRBYTE_FIELDS]


class RecordColumns:
    """The columns of one stream in one sync.

    :param delivered: column -> Arrow type, of all syncs before (`Delivery.delivered_columns`).
    :param follow: whether the connection follows new columns.
    """

    def __init__(self, stream: ConfiguredStream, delivered: Mapping[str, str], follow: bool) -> None:
        self._stream = stream
        self._follow = follow
        self._before = dict(delivered)
        self._present: set[str] = set()
        self._followed: set[str] = set()
        self.delivered: dict[str, str] = {}
        for name in sorted(self._before.keys() - stream.columns.keys()):
            if self._reason_against(name) is None:
                self._followed.add(name)

    def see(self, record: Mapping[str, Any]) -> list[str]:
        """Take note of a record's fields; returns what is to be said of them, once for each."""
        new = record.keys() - self._present
        if not new:
            return []
        self._present |= new
        return self._judge(sorted(new - self._stream.columns.keys() - self._followed))

    @property
    def schema(self) -> dict[str, dict[str, Any]]:
        """The columns as far as they are known, with their JSON schemas."""
        return self._stream.read_columns | dict.fromkeys(sorted(self._followed), FOLLOWED)

    @property
    def lost(self) -> list[str]:
        """Columns of the schema that earlier syncs delivered and no record of this one has had."""
        return [name for name in self._stream.read_columns if name in self._before and name not in self._present]

    def fit(self, tables: Iterable[pa.Table]) -> list[pa.Table]:
        """The tables of records with one set of columns: without those that are lost, null where one is newer.

        :raises SyncFailure: the records have none of the columns any more.
        """
        types = {name: column_type(schema)[0] for name, schema in self.schema.items() if name not in self.lost}
        if not types:
            raise SyncFailure(
                f"Stream {self._stream.name}: no record has any of its columns ({', '.join(self.lost)}); "
                "see what the service sends and correct the manifest.",
                origin="source",
                kind="config_error",
            )
        fitted = [_with_columns(table, types) for table in tables]
        for table in fitted:
            for name, column in zip(table.column_names, table.columns, strict=True):
                # a column that never had a value may come and go: nothing is lost with it
                if name in self._followed or column.null_count < len(column):
                    self.delivered[name] = str(column.type)
        return fitted

    def _judge(self, unlisted: list[str]) -> list[str]:
        said = []
        for name in unlisted:
            reason = self._reason_against(name)
            if reason is None:
                self._followed.add(name)
            what = "followed as text" if reason is None else f"not delivered{reason} (the raw responses hold it)"
            said.append(f"the service sends {name}, which the manifest's schema does not list; {what}.")
        return said

    def _reason_against(self, name: str) -> str | None:
        """Why a field that the schema does not list is not followed; None if it is."""
        if not self._follow:
            return ""
        before = self._before.get(name, FOLLOWED_TYPE)
        if before != FOLLOWED_TYPE:
            return f": as long as the schema listed it, it was of type {before}"
        # engines that read the files take names that differ in case for one
        taken = {safe_name(one).lower(): one for one in [*self._stream.columns, *self._followed, *_OWN]}
        twin = taken.get(safe_name(name).lower())
        return None if twin is None else f": in the lake it would have the name of the column {twin}"


def _with_columns(table: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    known = set(table.column_names)
    return pa.table(
        {
            name: table.column(name) if name in known else pa.nulls(table.num_rows, type_)
            for name, type_ in types.items()
        }
    )
