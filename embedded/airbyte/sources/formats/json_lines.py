"""JSON lines: one object a line; a line that is none is rejected alone."""

import json
import re
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from embedded.airbyte.sources.file_rows import Batch, FileRejected, Rejected, refuse_twins
from embedded.airbyte.sources.formats import Columns, Settle
from embedded.airbyte.sources.formats.inference import ColumnTypes
from embedded.airbyte.sources.json_columns import to_table

BATCH_ROWS = 10_000
_LONG_NUMBER = re.compile(rb"[:,\[\s]-?\d{19}")


class JsonLinesFormat:
    """A file is read twice: for the types that all of its values fit, and for its rows."""

    def __init__(self, reserved: Collection[str] = ()) -> None:
        self._reserved = reserved

    def columns(self, path: Path) -> Columns:
        found = ColumnTypes()
        records = (record for _, record in _records(path) if isinstance(record, dict))
        while batch := list(islice(records, BATCH_ROWS)):
            found.see(batch)
        refuse_twins(found.schema, self._reserved, "the file")
        return found.schema

    def batches(self, path: Path, settle: Settle) -> Iterator[Batch]:
        schema = settle(self.columns(path))
        records: list[dict[str, Any]] = []
        numbers: list[int] = []
        rejected: list[Rejected] = []
        for number, record in _records(path):
            if isinstance(record, Rejected):
                rejected.append(record)
            else:
                records.append(record)
                numbers.append(number)
            if len(records) + len(rejected) >= BATCH_ROWS:
                yield _batch(records, numbers, rejected, schema)
                records, numbers, rejected = [], [], []
        yield _batch(records, numbers, rejected, schema)


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any] | Rejected]]:
    """Each line's number, and its object or why it is none. Empty lines do not count."""
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise FileRejected("the file is not utf8; it looks like UTF-16")
        file.seek(0)
        for number, raw in enumerate(file, start=1):
            line = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
            if line:
                yield number, _record(number, line)


def _record(number: int, line: bytes) -> dict[str, Any] | Rejected:
    try:
        record = orjson.loads(line)
        if isinstance(record, dict):
            # orjson makes a float of what is beyond 64 bits
            return json.loads(line) if _LONG_NUMBER.search(line) else record
        reason = f"the line is no JSON object but {type(record).__name__}"
    except orjson.JSONDecodeError as error:
        try:
            line.decode()
            reason = f"not JSON: {error.msg}"
        except UnicodeDecodeError:
            reason = "not utf8"
    return Rejected(number, line.decode("utf-8", "backslashreplace"), reason)


def _batch(records: list[dict[str, Any]], numbers: list[int], rejected: list[Rejected], schema: Columns) -> Batch:
    rows, changes = to_table(records, schema)
    return Batch(rows, pa.array(numbers, pa.int64()), rejected, changes)
