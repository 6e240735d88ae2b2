"""Excel workbooks: the first sheet, or the one that is named; its first row is the header."""

from collections.abc import Collection, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from embedded.airbyte.sources.file_rows import Batch, FileRejected, FileUnreadable, named_columns, refuse_missing
from embedded.airbyte.sources.formats import Columns, Settle
from embedded.airbyte.sources.formats.inference import ColumnTypes
from embedded.airbyte.sources.json_columns import to_table

BATCH_ROWS = 10_000


class ExcelFormat:
    """xlsx, xlsb, xls and ods. Numbers are doubles, as in the sheet and in Airbyte; a column of mixed cells is text."""

    def __init__(self, sheet: str | int = 0, required: Collection[str] = (), reserved: Collection[str] = ()) -> None:
        self._sheet = sheet
        self._required = required
        self._reserved = reserved

    def columns(self, path: Path) -> Columns:
        return _types(*self._read(path))

    def batches(self, path: Path, settle: Settle) -> Iterator[Batch]:
        header, rows = self._read(path)
        schema = settle(_types(header, rows))
        for start in range(0, len(rows), BATCH_ROWS):
            part = rows[start : start + BATCH_ROWS]
            records = [{name: _written(value, schema[name]) for name, value in record.items()} for _, record in part]
            table, changes = to_table(records, schema)
            yield Batch(table, pa.array([number for number, _ in part], pa.int64()), changes=changes)

    def _read(self, path: Path) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
        """The header, and each row that has a value, with its number in the sheet."""
        from python_calamine import CalamineError, CalamineWorkbook

        try:
            with CalamineWorkbook.from_path(path) as book:
                if isinstance(self._sheet, str):
                    if self._sheet not in book.sheet_names:
                        raise FileRejected(
                            f"the workbook has no sheet {self._sheet}; it has {', '.join(book.sheet_names)}"
                        )
                    sheet = book.get_sheet_by_name(self._sheet)
                elif self._sheet < len(book.sheet_names):
                    sheet = book.get_sheet_by_index(self._sheet)
                else:
                    raise FileRejected(f"the workbook has no sheet number {self._sheet}; the first is 0")
                cells, begin = sheet.to_python(), sheet.start
        except (CalamineError, OSError) as error:
            raise FileUnreadable(f"it is no whole Excel workbook: {error}") from None
        if not cells or begin is None:
            raise FileRejected("the sheet is empty")
        names = [str(_written(cell, {"type": "string"}) or "") for cell in cells[0]]
        named = named_columns(names, self._reserved)
        refuse_missing(names[:named], self._required, "the header")
        rows = []
        for number, row in enumerate(cells[1:], start=begin[0] + 2):
            if any(cell != "" for cell in row[named:]):
                raise FileRejected(f"row {number} has a value in a column for which the header has no name")
            if any(cell != "" for cell in row):
                rows.append((number, {name: _value(cell) for name, cell in zip(names, row[:named], strict=False)}))
        return names[:named], rows


def _types(header: list[str], rows: list[tuple[int, dict[str, Any]]]) -> Columns:
    found = ColumnTypes()
    found.see([dict.fromkeys(header), *(record for _, record in rows)])
    return found.schema


def _value(cell: Any) -> Any:
    """A cell's value: an empty one has none, and a number is a double whether or not it has decimals."""
    if cell == "" and isinstance(cell, str):
        return None
    return float(cell) if type(cell) is int else cell


def _written(value: Any, schema: dict[str, Any]) -> Any:
    """A value as JSON has it, for its column: as text a whole number has no decimals."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer() and schema.get("type") == "string":
        return str(int(value))
    if isinstance(value, str | int | float) or value is None:
        return value
    return str(value)
