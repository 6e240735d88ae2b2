"""CSV text to columns, line by line, so that a line that does not parse costs no other line.

A general CSV reader gives up at a broken quote or swallows the rest of the file into one field. Here a line whose
quotes do not close is joined with the lines after it only if that makes a whole record; else it is rejected alone.
"""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from embedded.airbyte.worker.parquet import safe_name

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


@dataclass(frozen=True)
class Rejected:
    """A line that was not taken; line 0 stands for the whole file."""

    line_number: int
    line: str
    reason: str


@dataclass
class Parsed:
    """A file's records: `rows` and their first lines (1-based, the header is line 1), and what was rejected."""

    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    line_numbers: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def parse(body: bytes, dialect: Dialect, required: list[str], reserved: Collection[str] = ()) -> Parsed:
    """Parse a whole file.

    :param required: columns without which the file is rejected as a whole.
    :param reserved: names that no column of a file may have, because the reader has columns of these names itself.
    """
    try:
        lines, undecodable = _lines(body, dialect)
        header = _header(lines, undecodable, dialect, required)
        named = _named_columns(header, reserved)
        parsed = _records(lines, undecodable, dialect, header)
        return parsed if named == len(header) else _without_nameless(parsed, named)
    except _FileRejected as error:
        return Parsed(rejected=[Rejected(0, "", str(error))])


def _records(lines: list[str], undecodable: dict[int, str], dialect: Dialect, header: list[str]) -> Parsed:
    parsed = Parsed(header=header)
    width, delimiter, quote = len(header), dialect.delimiter, dialect.quote_char
    at = 1
    while at < len(lines):
        line, used = lines[at], 1
        number = at + 1
        if at in undecodable:
            parsed.rejected.append(Rejected(number, line, undecodable[at]))
        elif quote in line:
            fields, used, reason = _quoted_record(lines, at, width, dialect, undecodable)
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
        at += used
    return parsed


class _FileRejected(Exception):
    """The file as a whole cannot be read; the text says why."""


def _lines(body: bytes, dialect: Dialect) -> tuple[list[str], dict[int, str]]:
    """Physical lines without their ends, and the reasons of those that are not in the encoding (by index)."""
    if not body.strip():
        raise _FileRejected("the file is empty")
    encoding = "utf-8-sig" if dialect.encoding.lower().replace("-", "") in ("utf8", "utf8sig") else dialect.encoding
    undecodable: dict[int, str] = {}
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        if dialect.fallback:
            return _split(body.decode(dialect.fallback)), {}
        if body.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _FileRejected(f"the file is not {dialect.encoding}; it looks like UTF-16") from None
        raw = body.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        lines = []
        for index, line in enumerate(raw):
            try:
                lines.append(line.decode(encoding))
            except UnicodeDecodeError:
                # the reason is the same for all such lines, so that they are counted as one; the line shows the byte
                undecodable[index] = f"not {dialect.encoding}"
                lines.append(line.decode("utf-8", "backslashreplace"))
        text = "\n".join(lines)
    return _split(text), undecodable


def _split(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _header(lines: list[str], undecodable: dict[int, str], dialect: Dialect, required: list[str]) -> list[str]:
    if 0 in undecodable or "\x00" in lines[0]:
        raise _FileRejected(f"the header is {undecodable.get(0, f'not {dialect.encoding}: it has zero bytes')}")
    try:
        header = next(_reader([lines[0]], dialect))
    except (csv.Error, StopIteration) as error:
        raise _FileRejected(f"the header does not parse: {error}") from None
    missing = [name for name in required if name not in header]
    if missing:
        raise _FileRejected(f"the header lacks {', '.join(missing)}; it has {', '.join(header)}")
    return header


def _named_columns(header: list[str], reserved: Collection[str]) -> int:
    """How many columns the file has, up to the last that has a name (a comma at the line's end makes one without).

    :raises _FileRejected: a column before that has no name, or two would be one in the lake, where case and special
        characters make no difference.
    """
    named = len(header)
    while named and not header[named - 1].strip():
        named -= 1
    nameless = [str(at) for at, name in enumerate(header[:named], 1) if not name.strip()]
    if nameless or not named:
        raise _FileRejected(f"the header has no name for column {', '.join(nameless or ['1'])}")
    twins = sorted({name for name in header[:named] if header.count(name) > 1})
    if twins:
        raise _FileRejected(f"the header has {', '.join(twins)} more than once")
    known = {safe_name(name).lower(): f"{name}, which the reader adds itself" for name in reserved}
    for name in header[:named]:
        short = safe_name(name).lower()
        if short in known:
            raise _FileRejected(f"the header has {name}: in the lake it would have the name of {known[short]}")
        known[short] = name
    return named


def _without_nameless(parsed: Parsed, named: int) -> Parsed:
    """The records without the columns at the end that have no name, if these are empty."""
    for number, fields in zip(parsed.line_numbers, parsed.rows, strict=True):
        if any(field.strip() for field in fields[named:]):
            raise _FileRejected(
                f"the header has no name for column {named + 1}, and line {number} has a value in a column without one"
            )
    rows = [fields[:named] for fields in parsed.rows]
    return Parsed(parsed.header[:named], rows, parsed.line_numbers, parsed.rejected)


def _quoted_record(
    lines: list[str], at: int, width: int, dialect: Dialect, undecodable: dict[int, str]
) -> tuple[list[str] | None, int, str]:
    """The record that begins at a line with quotes: its fields and number of lines, or None and the reason."""
    quotes = 0
    for used in range(1, LONGEST_RECORD_LINES + 1):
        last = at + used - 1
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
