"""CSV lines: what is taken, what is rejected and why, and that one bad line costs no other."""

from __future__ import annotations

import csv
import io
import random
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embedded.airbyte.sources.file_rows import FileRejected, Rejected
from embedded.airbyte.sources.formats import csv_lines
from embedded.airbyte.sources.formats.csv_files import BLOCK_BYTES, CsvFormat, _Blocks
from embedded.airbyte.sources.formats.csv_lines import LONGEST_RECORD_LINES, Dialect

HEADER = "a,b,c\n"


@dataclass
class Parsed:
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    line_numbers: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def parse(
    body: bytes,
    dialect: Dialect,
    required: Collection[str],
    reserved: Collection[str] = (),
    block_bytes: int = BLOCK_BYTES,
) -> Parsed:
    """All of a file."""
    parsed = Parsed()
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        try:
            for batch in CsvFormat(dialect, required, reserved, block_bytes).batches(Path(file.name), dict):
                parsed.header = batch.rows.column_names
                parsed.rows += [list(row.values()) for row in batch.rows.to_pylist()]
                parsed.line_numbers += batch.line_numbers.to_pylist()
                parsed.rejected += batch.rejected
        except FileRejected as error:
            parsed.rejected.append(Rejected(0, "", str(error)))
    return parsed


def taken(text: str, dialect: Dialect | None = None) -> list[list[str]]:
    return parse((HEADER + text).encode(), dialect or Dialect(), ["a"]).rows


def reasons(text: str) -> list[tuple[int, str]]:
    return [(line.line_number, line.reason) for line in parse((HEADER + text).encode(), Dialect(), ["a"]).rejected]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        pytest.param("1,2,3\n", [["1", "2", "3"]], id="plain"),
        pytest.param("1,2,3", [["1", "2", "3"]], id="no newline at the end"),
        pytest.param(",,\n", [["", "", ""]], id="empty fields"),
        pytest.param('"1,5","say ""hi""",3\n', [["1,5", 'say "hi"', "3"]], id="quoted"),
        pytest.param('1,"two\r\nlines",3\r\n', [["1", "two\nlines", "3"]], id="two lines"),
        pytest.param('1,6" nail,3\n4,5,6\n', [["1", '6" nail', "3"], ["4", "5", "6"]], id="quote inside a field"),
        pytest.param(" 1 , 2,3\n", [[" 1 ", " 2", "3"]], id="blanks stay"),
    ],
)
def test_records(text: str, rows: list[list[str]]) -> None:
    assert taken(text) == rows
    assert reasons(text) == []


def test_an_unclosed_quote_costs_its_own_line_only() -> None:
    parsed = parse((HEADER + '1,"x,3\n' + "4,5,6\n" * 300).encode(), Dialect(), [])
    assert parsed.rejected == [Rejected(2, '1,"x,3', "broken quote: it does not close")]
    assert len(parsed.rows) == 300


def test_an_unclosed_quote_does_not_take_a_later_quoted_field_with_it() -> None:
    parsed = parse((HEADER + '1,"x,3\n4,"ok, fine",6\n').encode(), Dialect(), [])
    assert [line.line_number for line in parsed.rejected] == [2]
    assert parsed.rows == [["4", "ok, fine", "6"]]
    assert parsed.line_numbers == [3]


def test_a_field_of_too_many_lines_is_a_broken_quote() -> None:
    lines = "\n".join(["x"] * (LONGEST_RECORD_LINES + 1))
    assert (2, "broken quote: it does not close") in reasons(f'1,"{lines}",3\n')


def test_line_numbers_are_those_of_an_editor() -> None:
    parsed = parse((HEADER + '1,"x\ny",3\nbad\n4,5,6\n').encode(), Dialect(), [])
    assert parsed.line_numbers == [2, 5]
    assert parsed.rejected == [Rejected(4, "bad", "1 fields instead of 3")]


def test_header_with_quotes_and_other_delimiter() -> None:
    parsed = parse(b'"a";"b c"\n1;2\n', Dialect(delimiter=";"), ["b c"])
    assert parsed.header == ["a", "b c"]
    assert parsed.rows == [["1", "2"]]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"a,b\n1,2\n", "the header lacks c; it has a, b"),
        (b"a,b,c,a\n", "the header has a more than once"),
        (b"a,b,c,B\n", "the header has B: in the lake it would have the name of b"),
        (b"a,b,c,x y,x_y\n", "the header has x_y: in the lake it would have the name of x y"),
        (
            b"a,b,c,line\n",
            "the header has line: in the lake it would have the name of line, which the reader adds itself",
        ),
        (b"a,,b, ,c\n1,2,3,4,5\n", "the header has no name for column 2, 4"),
        (
            b"a,b,c,\n1,2,3,\n1,2,3,4\n",
            "the header has no name for column 4, and line 3 has a value in a column without one",
        ),
        (b"\xe9,b,c\n", "the header is not utf8"),
        (b"\x00a\x00,\x00b", "the header is not utf8: it has zero bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_rejected_row(body: bytes, reason: str) -> None:
    assert parse(body, Dialect(), ["a", "b", "c"], reserved=["line"]).rejected == [Rejected(0, "", reason)]


@pytest.mark.parametrize("comma", [",", ",,", ", "])
def test_a_comma_at_the_end_of_every_line_is_no_column(comma: str) -> None:
    parsed = parse(f'a,b{comma}\n1,"2"{comma}\n3,4{comma}\n5,6,7,8,9\n'.encode(), Dialect(), ["a", "b"])
    assert (parsed.header, parsed.rows) == (["a", "b"], [["1", "2"], ["3", "4"]])
    assert [line.line_number for line in parsed.rejected] == [4]


def test_the_fallback_encoding_is_for_the_whole_file() -> None:
    parsed = parse("a\ncafé\nnaïve\n".encode("latin-1"), Dialect(fallback="latin-1"), ["a"])
    assert parsed.rows == [["café"], ["naïve"]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_encodings_in_which_a_line_end_is_more_than_a_byte(encoding: str) -> None:
    text = 'a,b\r\né,1\r\n"x\ny",2\r\n'
    parsed = parse(text.encode(encoding), Dialect(encoding=encoding), ["a"], block_bytes=7)
    assert parsed.rows == [["é", "1"], ["x\ny", "2"]]
    assert parsed.line_numbers == [2, 3]


def test_a_file_that_is_not_in_its_wide_encoding_is_rejected() -> None:
    assert parse(b"a,b\n1,2\n3", Dialect(encoding="utf-16-le"), []).rejected == [
        Rejected(0, "", "the file is not utf-16-le")
    ]


def test_what_the_fast_reader_takes_is_what_the_strict_one_reads() -> None:
    chance = random.Random(3)
    taken_fast = 0
    for _ in range(8_000):
        body = "".join(chance.choices('ab",,,\n\n"é\r', k=chance.randrange(1, 14))).encode()
        lines = body.decode().removesuffix("\n").split("\n")
        fast = _Blocks(Dialect(), "utf-8", 2)._fast(body, len(lines))
        if fast is not None:
            strict = csv_lines.parse([line.removesuffix("\r") for line in lines], {}, Dialect(), 2, 2, True)
            assert ([list(row.values()) for row in fast.to_pylist()], []) == (strict.rows, strict.rejected), body
            taken_fast += 1
    assert taken_fast > 150


def test_blocks_of_any_size_give_the_same() -> None:
    chance = random.Random(5)
    for _ in range(25):
        body = ("a,b\n" + "".join(chance.choices('ab",,\n\n"é\r\ufffe', k=200))).encode()
        body = body.replace("\ufffe".encode(), b"\xff")
        whole = parse(body, Dialect(), ["a"])
        for size in (1, 13, 64):
            assert parse(body, Dialect(), ["a"], block_bytes=size) == whole


def test_agrees_with_pythons_own_reader_on_whole_files() -> None:
    """Whatever csv.writer writes comes back as it was, line by line."""
    chance = random.Random(7)
    for _ in range(200):
        rows = [["".join(chance.choices('ab",\n é', k=chance.randrange(6))) for _ in range(3)] for _ in range(5)]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        assert taken(text.getvalue()) == rows
