"""PostgreSQL's values as text, which is what its log has, in the columns that a table's rows have in the lake.

They are the columns that `postgres.TYPES` gives the same types, so that a stream's files are alike whether their rows
were read from the table or from the log.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import pq
from psycopg.adapt import Transformer

from embedded.airbyte.sources.pgoutput import Flags
from embedded.airbyte.sources.postgres import identifier
from embedded.airbyte.worker.parquet import META_CHANGE

# What Debezium, and so Airbyte, puts where an update left a value as it was that is not in the log (TOAST).
UNAVAILABLE = "__debezium_unavailable_value"

# PostgreSQL's type name -> DuckDB expression over its text {c}. What cannot be a value in the lake is null.
PARSED = {
    "bool": "TRY_CAST({c} AS BOOLEAN)",
    "int2": "TRY_CAST({c} AS BIGINT)",
    "int4": "TRY_CAST({c} AS BIGINT)",
    "int8": "TRY_CAST({c} AS BIGINT)",
    "oid": "TRY_CAST({c} AS BIGINT)",
    "float4": "CAST(TRY_CAST({c} AS FLOAT) AS DOUBLE)",
    "float8": "TRY_CAST({c} AS DOUBLE)",
    "numeric": "CASE WHEN isfinite(TRY_CAST({c} AS DOUBLE)) THEN TRY_CAST({c} AS DOUBLE) END",
    "date": "CASE WHEN isfinite(TRY_CAST({c} AS DATE)) THEN TRY_CAST({c} AS DATE) END",
    "timestamp": "CASE WHEN isfinite(TRY_CAST({c} AS TIMESTAMP)) THEN TRY_CAST({c} AS TIMESTAMP) END",
    "timestamptz": "CASE WHEN isfinite(TRY_CAST({c} AS TIMESTAMPTZ)) THEN TRY_CAST({c} AS TIMESTAMPTZ) END",
    "time": "TRY_CAST({c} AS TIME)",
    "interval": "CAST(TRY_CAST({c} AS INTERVAL) AS VARCHAR)",
}
TEXT_ARRAY_OID = 1009
JSON_LITERALS = {"_bool", "_int2", "_int4", "_int8", "_oid", "_float4", "_float8", "_numeric"}


class TextColumns:
    """Turns columns of text into those of the lake.

    :param types: of the columns, PostgreSQL's type name and its modifier.
    """

    def __init__(self, duck: duckdb.DuckDBPyConnection, types: Mapping[str, tuple[str, int]]) -> None:
        self._duck = duck
        self._types = types
        self._select = ", ".join(f"{self._expression(name)} AS {identifier(name)}" for name in types)
        self._loader = Transformer().get_loader(TEXT_ARRAY_OID, pq.Format.TEXT)

    def parse(
        self, texts: Mapping[str, pa.StringArray], unavailable: Mapping[str, Flags], rows: int
    ) -> tuple[pa.Table, pa.Array | None]:
        """The columns, and per row the values that are not there as they are in PostgreSQL (see `META_CHANGE`).

        A column that is not among `texts` is null.
        """
        raw = {name: self._text(name, texts.get(name), unavailable.get(name), rows) for name in self._types}
        table = pa.table(raw)
        self._duck.register("changes", table)
        parsed = self._duck.execute(f"SELECT {self._select} FROM changes").to_arrow_table()
        self._duck.unregister("changes")
        return parsed, self._lost(table, parsed, unavailable)

    def _text(self, name: str, text: pa.StringArray | None, unavailable: Flags | None, rows: int) -> pa.Array:
        if text is None:
            return pa.nulls(rows, pa.string())
        if self._types[name][0].startswith("_"):
            text = pa.array([self._as_json(name, value) for value in text.to_pylist()], pa.string())
        if unavailable is not None and not self._is_typed(name):
            return pc.if_else(pa.array(unavailable), UNAVAILABLE, text)
        return text

    def _is_typed(self, name: str) -> bool:
        return self._types[name][0] in PARSED

    def _expression(self, name: str) -> str:
        type_, modifier = self._types[name]
        column = identifier(name)
        precision, scale = (modifier - 4) >> 16, (modifier - 4) & 0x7FF
        if type_ == "numeric" and modifier >= 4 and precision <= 38 and scale <= precision:
            return f"TRY_CAST({column} AS DECIMAL({precision}, {scale}))"
        return PARSED.get(type_, "{c}").format(c=column)

    def _as_json(self, name: str, text: str | None) -> str | None:
        """An array's text as JSON."""
        if text is None:
            return None
        # '[0:2]={1,2,3}' has bounds, which JSON has not
        value = self._loader.load(re.sub(r"^[\[\]\d:-]+=", "", text).encode())
        return _json(value, literal=self._types[name][0] in JSON_LITERALS)

    def _lost(self, raw: pa.Table, parsed: pa.Table, unavailable: Mapping[str, Flags]) -> pa.Array | None:
        lost: list[tuple[str, str, Flags]] = []
        for name in filter(self._is_typed, self._types):
            if parsed[name].null_count > raw[name].null_count:
                gone = pc.and_(pc.is_null(parsed[name]), pc.is_valid(raw[name])).to_numpy()
                lost.append((name, "SOURCE_SERIALIZATION_ERROR", gone))
            if name in unavailable:
                lost.append((name, "SOURCE_RETRIEVAL_ERROR", unavailable[name]))
        if not lost:
            return None
        changes: list[list[dict[str, str]]] = [[] for _ in range(raw.num_rows)]
        for name, reason, flags in lost:
            for row in np.flatnonzero(flags).tolist():
                changes[row].append({"field": name, "change": "NULLED", "reason": reason})
        return pa.array(changes, pa.list_(META_CHANGE))


def _json(value: Any, *, literal: bool) -> str:
    """Nested lists of texts as JSON, in the form in which DuckDB writes it."""
    if value is None:
        return "null"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_json(entry, literal=literal) for entry in value) + "]"
    if literal and value in ("t", "f"):
        return "true" if value == "t" else "false"
    return value if literal and value not in ("NaN", "Infinity", "-Infinity") else json.dumps(value, ensure_ascii=False)
