"""CSV lines to records, line by line, so that a line that does not parse costs no other line.

A general CSV reader gives up at a broken quote or swallows the rest of the file into one field. Here a line whose
quotes do not close is joined with the lines after it only if that makes a whole record; else it is rejected alone.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field

from embedded.airbyte.sources.file_rows import FileRejected, Rejected

# A quoted field may go over this many lines; a quote that is still open then is broken.
LONGEST_RECORD_LINES = 100


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written (the keys of Airbyte's CSV format)."""

    delimiter: str = ","
    quote_char: str = '"'
    double_quote: bool = True
    encoding: str = "utf8"
    fallback: str | None = None


@dataclass
class Parsed:
    """The records of some lines, with the lines that they begin at, and what was rejected.

    :param used: how many of the lines were parsed; the rest belongs to a record that goes on after them.
    """

    rows: list[list[str]] = field(default_factory=list)
    line_numbers: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    used: int = 0


def parse(
    lines: list[str], undecodable: dict[int, str], dialect: Dialect, width: int, first_line: int, last: bool
) -> Parsed:
    """Parse lines without their ends, each to `width` fields.

    :param undecodable: reasons of the lines that are not in the encoding, by index.
    :param first_line: the number of the first line in its file.
    :param last: whether the file ends with these lines.
    """
    parsed = Parsed()
    delimiter, quote = dialect.delimiter, dialect.quote_char
    while parsed.used < len(lines):
        at, used = parsed.used, 1
        line, number = lines[at], first_line + at
        if at in undecodable:
            parsed.rejected.append(Rejected(number, line, undecodable[at]))
        elif quote in line:
            try:
                fields, used, reason = _quoted_record(lines, at, width, dialect, undecodable, last)
            except _GoesOn:
                break
            if fields is None:
                parsed.rejected.append(Rejected(number, line, reason))
            else:
                parsed.rows.append(fields)
                parsed.line_numbers.append(number)
        else:
            fields = line.split(delimiter)
            if len(fields) == width:
                parsed.rows.append(fields)
                parsed.line_numbers.append(number)
            else:
                reason = _count_reason(len(fields), width) if line.strip() else "the line is empty"
                parsed.rejected.append(Rejected(number, line, reason))
        parsed.used += used
    return parsed


def header_fields(line: str, dialect: Dialect) -> list[str]:
    """The names in a header.

    :raises FileRejected: it does not parse.
    """
    try:
        return next(_reader([line], dialect))
    except (csv.Error, StopIteration) as error:
        raise FileRejected(f"the header does not parse: {error}") from None


class _GoesOn(Exception):
    """A record may go on after the lines that were given."""


def _quoted_record(
    lines: list[str], at: int, width: int, dialect: Dialect, undecodable: dict[int, str], last_lines: bool
) -> tuple[list[str] | None, int, str]:
    """The record that begins at a line with quotes: its fields and number of lines, or None and the reason."""
    quotes = 0
    for used in range(1, LONGEST_RECORD_LINES + 1):
        last = at + used - 1
        if last >= len(lines) and not last_lines:
            raise _GoesOn
        if last >= len(lines) or (used > 1 and last in undecodable):
            break
        quotes += lines[last].count(dialect.quote_char)
        if quotes % 2:
            if not _may_continue(lines[at], dialect) and used == 1:
                break
            continue
        try:
            fields = next(_reader(["\n".join(lines[at : at + used])], dialect))
        except csv.Error as error:
            return None, 1, f"broken quote: {error}"
        if len(fields) == width:
            return fields, used, ""
        if used == 1:
            return None, 1, _count_reason(len(fields), width)
        break
    else:
        return None, 1, "broken quote: it does not close"
    # an odd number of quotes may still be a whole record: one inside a field that is not quoted
    try:
        fields = next(_reader([lines[at]], dialect))
    except csv.Error:
        return None, 1, "broken quote: it does not close"
    if len(fields) == width:
        return fields, 1, ""
    return None, 1, _count_reason(len(fields), width)


def _may_continue(line: str, dialect: Dialect) -> bool:
    """Whether the line ends inside a quoted field."""
    try:
        next(_reader([line], dialect))
    except csv.Error:
        return True
    return False


def _reader(lines: list[str], dialect: Dialect) -> Iterator[list[str]]:
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote_char,
        doublequote=dialect.double_quote,
        strict=True,
    )


def _count_reason(found: int, expected: int) -> str:
    return f"{found} fields instead of {expected}"
