"""CSV lines: what is taken, what is rejected and why, and that one bad line costs no other."""

from __future__ import annotations

import csv
import io
import random

import pytest

from embedded.airbyte.sources.csv_lines import LONGEST_RECORD_LINES, Dialect, Rejected, parse

HEADER = "a,b,c\n"


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


def test_agrees_with_pythons_own_reader_on_whole_files() -> None:
    """Whatever csv.writer writes comes back as it was, line by line."""
    chance = random.Random(7)
    for _ in range(200):
        rows = [["".join(chance.choices('ab",\n é', k=chance.randrange(6))) for _ in range(3)] for _ in range(5)]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        assert taken(text.getvalue()) == rows
