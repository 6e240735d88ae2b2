"""CSV files as columns of text: block by block by Arrow, and a block that Arrow's reader does not take, by lines.

Arrow's reader is fast and not strict: what it takes is only kept where it cannot differ from the strict reading.
"""

import codecs
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from embedded.airbyte.sources.file_rows import Batch, FileRejected, named_columns, refuse_missing
from embedded.airbyte.sources.formats import Columns, Settle
from embedded.airbyte.sources.formats.csv_lines import Dialect, header_fields, parse

TEXT = {"type": "string"}
BLOCK_BYTES = 1024 * 1024
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class CsvFormat:
    """CSV with a header.

    :param required: columns without which a file is rejected as a whole.
    :param reserved: names that no column of a file may have, because the reader has columns of these names itself.
    """

    def __init__(
        self,
        dialect: Dialect,
        required: Collection[str] = (),
        reserved: Collection[str] = (),
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._dialect = dialect
        self._required = required
        self._reserved = reserved
        self._block_bytes = block_bytes

    def columns(self, path: Path) -> Columns:
        with _decodable(path, self._dialect) as (file, encoding):
            header = _header(file, encoding, self._dialect)
            return dict.fromkeys(header[: named_columns(header, self._reserved)], TEXT)

    def batches(self, path: Path, settle: Settle) -> Iterator[Batch]:
        with _decodable(path, self._dialect) as (file, encoding):
            header = _header(file, encoding, self._dialect)
            refuse_missing(header, self._required, "the header")
            named = named_columns(header, self._reserved)
            begin = file.tell()
            if named < len(header):
                _refuse_values_without_name(self._read(file, encoding, len(header)), named)
                file.seek(begin)
            for batch in self._read(file, encoding, len(header)):
                batch.rows = batch.rows.select(range(named)).rename_columns(header[:named])
                yield batch

    def _read(self, file: BinaryIO, encoding: str, width: int) -> Iterator[Batch]:
        """The rows after the header, with numbers for names."""
        blocks = _Blocks(self._dialect, encoding, width)
        pending = b""
        while chunk := file.read(self._block_bytes):
            pending += chunk
            whole = pending.rfind(b"\n") + 1
            if whole:
                batch, unread = blocks.read(pending[:whole], last=False)
                pending = unread + pending[whole:]
                yield batch
        if pending:
            batch, _ = blocks.read(pending, last=True)
            yield batch


class _Blocks:
    """Reads the blocks of one file, in order; each is some whole lines."""

    def __init__(self, dialect: Dialect, encoding: str, width: int) -> None:
        self._dialect = dialect
        self._encoding = encoding
        self._names = [str(number) for number in range(width)]
        self._line = 2
        delimiter, quote = dialect.delimiter, dialect.quote_char
        # Arrow's reader takes single bytes, and doubles quotes or nothing
        self._simple = (delimiter + quote).isascii() and dialect.double_quote
        d, q = re.escape(delimiter.encode()), re.escape(quote.encode())
        field = rb"(?:%b[^%b]*+(?:%b%b[^%b]*+)*+%b|[^%b%b\r\n]*+)" % (q, q, q, q, q, q, q, d)
        self._strict = re.compile(rb"(?:%b(?:%b|\r?\n|\Z))*+" % (field, d))
        self._convert = arrow_csv.ConvertOptions(column_types=dict.fromkeys(self._names, pa.string()))
        self._parse = arrow_csv.ParseOptions(delimiter=delimiter, quote_char=quote) if self._simple else None

    def read(self, block: bytes, last: bool) -> tuple[Batch, bytes]:
        """The rows of a block, and the rest of it that belongs to a record which goes on in the next."""
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        rows = self._fast(block, lines)
        if rows is not None:
            batch = Batch(rows, pa.array(np.arange(self._line, self._line + lines, dtype=np.int64)))
            self._line += lines
            return batch, b""
        text, undecodable = _lines(block, self._encoding)
        parsed = parse(text, undecodable, self._dialect, len(self._names), self._line, last)
        columns: list[Any] = list(zip(*parsed.rows, strict=True)) or [[] for _ in self._names]
        table = pa.table([pa.array(column, pa.string()) for column in columns], names=self._names)
        self._line += parsed.used
        unread = b"\n".join(block.split(b"\n")[parsed.used :]) if parsed.used < len(text) else b""
        return Batch(table, pa.array(parsed.line_numbers, pa.int64()), parsed.rejected), unread

    def _fast(self, block: bytes, lines: int) -> pa.Table | None:
        """The block by Arrow's reader, if it is one record a line and every reader agrees on it."""
        if not self._simple:
            return None
        if self._encoding != "utf-8":
            try:
                block = block.decode(self._encoding).encode()
            except UnicodeDecodeError:
                return None
        if block.count(b"\r") != block.count(b"\r\n"):
            return None  # a line end to Arrow, a character here
        if self._dialect.quote_char.encode() in block and not self._strict.fullmatch(block):
            return None
        options = arrow_csv.ReadOptions(column_names=self._names, block_size=len(block) + 1)
        try:
            table = arrow_csv.read_csv(
                pa.BufferReader(block), read_options=options, parse_options=self._parse, convert_options=self._convert
            )
        except pa.ArrowInvalid:
            return None
        # Arrow skips empty lines, and joins the lines of a quoted field
        return table if table.num_rows == lines else None


@contextmanager
def _decodable(path: Path, dialect: Dialect) -> Iterator[tuple[BinaryIO, str]]:
    """The file at its first character, with the encoding that its lines are to be read in."""
    encoding = codecs.lookup(dialect.encoding).name
    if encoding == "utf-8-sig":
        encoding = "utf-8"
    with path.open("rb") as file:
        if dialect.fallback and not _decodes(file, encoding):
            encoding = codecs.lookup(dialect.fallback).name
        elif encoding == "utf-8" and file.read(2) in _UTF16_MARKS:
            raise FileRejected(f"the file is not {dialect.encoding}; it looks like UTF-16")
        file.seek(0)
        if "\n".encode(encoding) == b"\n":
            if encoding != "utf-8" or file.read(3) != _UTF8_MARK:
                file.seek(0)
            yield file, encoding
            return
        # an encoding whose lines cannot be told apart byte by byte
        with tempfile.TemporaryFile() as text:
            try:
                for part in codecs.iterdecode(iter(lambda: file.read(BLOCK_BYTES), b""), encoding):
                    text.write(part.encode())
            except UnicodeDecodeError:
                raise FileRejected(f"the file is not {dialect.encoding}") from None
            text.seek(0)
            yield text, "utf-8"


def _decodes(file: BinaryIO, encoding: str) -> bool:
    try:
        for _ in codecs.iterdecode(iter(lambda: file.read(BLOCK_BYTES), b""), encoding):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _header(file: BinaryIO, encoding: str, dialect: Dialect) -> list[str]:
    """The fields of the first line; the file is then at the second."""
    begin = file.tell()
    if not any(chunk.strip() for chunk in iter(lambda: file.read(BLOCK_BYTES), b"")):
        raise FileRejected("the file is empty")
    file.seek(begin)
    raw = file.readline()
    (line, *_), undecodable = _lines(raw, encoding)
    if undecodable or b"\x00" in raw:
        raise FileRejected(f"the header is {undecodable.get(0, f'not {dialect.encoding}: it has zero bytes')}")
    return header_fields(line, dialect)


def _lines(block: bytes, encoding: str) -> tuple[list[str], dict[int, str]]:
    """Lines without their ends, and the reasons of those that are not in the encoding (by index)."""
    undecodable: dict[int, str] = {}
    try:
        lines = block.decode(encoding).split("\n")
    except UnicodeDecodeError:
        lines = []
        for index, line in enumerate(block.split(b"\n")):
            try:
                lines.append(line.decode(encoding))
            except UnicodeDecodeError:
                # the reason is the same for all such lines, so that they are counted as one; the line shows the byte
                undecodable[index] = f"not {'utf8' if encoding == 'utf-8' else encoding}"
                lines.append(line.decode("utf-8", "backslashreplace"))
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines], undecodable


def _refuse_values_without_name(batches: Iterator[Batch], named: int) -> None:
    """Columns at the end that have no name are left out, if these are empty.

    :raises FileRejected: one of them has a value.
    """
    for batch in batches:
        for column in batch.rows.columns[named:]:
            for number, value in zip(batch.line_numbers.to_pylist(), column.to_pylist(), strict=True):
                if value.strip():
                    raise FileRejected(
                        f"the header has no name for column {named + 1}, and line {number} has a value in a column "
                        "without one"
                    )
