"""Which day (UTC) each row of a landing object belongs to."""

import re
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

EXTRACTED_AT = "_airbyte_extracted_at"
FILE_URL = "_ab_source_file_url"
SNAPSHOT_DAY = "snapshot"  # stands for the batch of the run that publishes
# 2010-12-01, 2010_12_01 or 20101201, anywhere in the file's name
_DAY_IN_NAME = re.compile(r"(?<!\d)(\d{4})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True)
class BatchDate:
    """How a stream's rows are put to days: `snapshot`, `file_name`, or the name of a column.

    A row without a value belongs to the day on which it was extracted.
    """

    rule: str

    @property
    def is_snapshot(self) -> bool:
        """Whether the whole newest generation belongs to the run's batch."""
        return self.rule == SNAPSHOT_DAY

    @property
    def column(self) -> str | None:
        """The column that tells the day; None for a snapshot."""
        if self.is_snapshot:
            return None
        return FILE_URL if self.rule == "file_name" else self.rule

    def columns(self) -> list[str]:
        """The columns that `days` needs."""
        return [EXTRACTED_AT] if self.column is None else [EXTRACTED_AT, self.column]

    def days(self, batch: pa.RecordBatch) -> pa.Array:
        """Return the day of each row, as text YYYY-MM-DD (for a snapshot: the word `snapshot`).

        :raises KeyError: the column is not in the batch.
        :raises pa.ArrowInvalid: the column is text that is no date or time.
        """
        if self.column is None:
            return pa.repeat(pa.scalar(SNAPSHOT_DAY), len(batch))
        values = batch.column(self.column)
        named = _day_in_name(values) if self.rule == "file_name" else _day_of(values)
        return pc.coalesce(named, _day_of(batch.column(EXTRACTED_AT)).cast(pa.date32())).cast(pa.string())


def _day_of(values: pa.Array) -> pa.Array:
    """Dates, times (taken as UTC where they name no zone) or ISO text as date32."""
    kind = values.type
    if pa.types.is_date(kind):
        return values.cast(pa.date32())
    if pa.types.is_timestamp(kind):
        # without a zone the value is the instant in UTC, whatever zone the column is shown in
        return values.cast(pa.timestamp(kind.unit)).cast(pa.date32(), safe=False)
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.date32())
    return _day_of(_parsed(values.cast(pa.string())))


def _parsed(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.timestamp("us", tz="UTC"))
    except pa.ArrowInvalid:  # no zone in the text
        return values.cast(pa.timestamp("us"))


def _day_in_name(values: pa.Array) -> pa.Array:
    encoded = values.dictionary_encode()  # few files, many rows
    days = pa.array([day_in_name(url) for url in encoded.dictionary.to_pylist()], pa.date32())
    return days.take(encoded.indices)


def day_in_name(url: str | None) -> date | None:
    """Return the last day that the name of a file says, or None."""
    for year, month, day in reversed(_DAY_IN_NAME.findall((url or "").rsplit("/", 1)[-1])):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:  # 31 February
            continue
    return None
