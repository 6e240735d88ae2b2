"""What a reader of files hands over: rows with their places in the file, and what it could not take."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from embedded.airbyte.worker.parquet import safe_name


@dataclass(frozen=True)
class Rejected:
    """A line that was not taken; line 0 stands for the whole file."""

    line_number: int
    line: str
    reason: str


@dataclass
class Batch:
    """Rows of a file in its order.

    :param line_numbers: per row, its line (1-based; a header is line 1); in Parquet the number of the row.
    :param changes: per row, what was changed in its values (see `parquet.META_CHANGE`); None if nothing was.
    """

    rows: pa.Table
    line_numbers: pa.Array
    rejected: list[Rejected] = field(default_factory=list)
    changes: pa.Array | None = None


class FileRejected(Exception):
    """The file as a whole is not of the stream's format or columns; the text says why."""


class FileUnreadable(Exception):
    """The file is damaged, or not whole yet; the text says why. Nothing of it may be delivered."""


def named_columns(header: list[str], reserved: Collection[str]) -> int:
    """How many columns of a header have a name: those before the nameless ones at its end.

    :raises FileRejected: a column in between has no name, or two have the same in the lake, where case and special
        characters make no difference.
    """
    named = len(header)
    while named and not header[named - 1].strip():
        named -= 1
    nameless = [str(number) for number, name in enumerate(header[:named], start=1) if not name.strip()]
    if nameless or not named:
        raise FileRejected(f"the header has no name for column {', '.join(nameless or ['1'])}")
    twins = sorted({name for name in header[:named] if header.count(name) > 1})
    if twins:
        raise FileRejected(f"the header has {', '.join(twins)} more than once")
    refuse_twins(header[:named], reserved, "the header")
    return named


def refuse_twins(names: Iterable[str], reserved: Collection[str], where: str) -> None:
    """Refuse columns that would have one name in the lake, or the name of a column that the reader adds.

    :raises FileRejected: naming the first such column.
    """
    known = {safe_name(name).lower(): f"{name}, which the reader adds itself" for name in reserved}
    for name in names:
        short = safe_name(name).lower()
        if short in known:
            raise FileRejected(f"{where} has {name}: in the lake it would have the name of {known[short]}")
        known[short] = name


def refuse_missing(names: Collection[str], required: Iterable[str], where: str) -> None:
    """:raises FileRejected: a column that every file of the stream has to have is not there."""
    missing = [name for name in required if name not in names]
    if missing:
        raise FileRejected(f"{where} lacks {', '.join(missing)}; it has {', '.join(names)}")
