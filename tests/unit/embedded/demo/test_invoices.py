"""The generated inbox files have the format and the troubles of the real ones."""

from __future__ import annotations

import csv
import datetime
import re
from pathlib import Path

import pytest

from embedded.demo.company import Company
from embedded.demo.inbox import InboxError, doubts, own_files
from embedded.demo.invoices import HEADER, file_days, file_name, invoice_file, is_trading_day

SHOP = Company(seed=20251016, scale=100_000, end_date=datetime.date(2026, 11, 22))


@pytest.fixture(scope="module")
def files() -> dict[datetime.date, bytes]:
    return {day: invoice_file(SHOP, day) for day in file_days(SHOP)}


@pytest.fixture(scope="module")
def lines(files: dict[datetime.date, bytes]) -> list[list[str]]:
    """The lines that parse, of all files."""
    rows = []
    for content in files.values():
        for line in content.splitlines()[1:]:
            try:
                row = next(csv.reader([line.decode()]))
            except UnicodeDecodeError:
                continue
            if len(row) == 8:
                rows.append(row)
    return rows


def test_a_file_for_each_trading_day_and_none_on_saturdays(files: dict[datetime.date, bytes]) -> None:
    assert 19 <= len(files) <= 20 and max(files) == SHOP.end_date
    assert not any(day.weekday() == 5 for day in files)
    assert not is_trading_day(datetime.date(2026, 11, 21))
    assert file_name(SHOP.end_date) == "invoices/2026-11-22.csv"


def test_lines_are_written_as_in_the_real_files(lines: list[list[str]]) -> None:
    for number, code, _, quantity, when, price, customer, country in lines:
        assert re.fullmatch(r"C?\d{6}", number)
        assert code and country
        assert re.fullmatch(r"-?[1-9]\d*", quantity)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:00", when)
        assert price == str(float(price))
        assert re.fullmatch(r"(\d{5}\.0)?", customer)


def test_every_kind_of_odd_line_occurs(lines: list[list[str]]) -> None:
    share = sum(row[6] == "" for row in lines) / len(lines)
    assert 0.25 < share < 0.5
    cancelled = [row for row in lines if row[0].startswith("C")]
    assert cancelled and all(int(row[3]) < 0 for row in cancelled)
    assert any(int(row[3]) < 0 and float(row[5]) == 0 and not row[0].startswith("C") for row in lines)
    assert {"POST", "DOT", "M"} <= {row[1] for row in lines}
    assert any(row[2] == "" for row in lines)
    repeated = len(lines) - len({tuple(row) for row in lines})
    assert 0.002 < repeated / len(lines) < 0.02
    names: dict[str, set[str]] = {}
    for row in lines:
        names.setdefault(row[1], set()).add(row[2])
    assert any(len(found) > 1 for found in names.values())


def test_invoice_numbers_belong_to_one_day(files: dict[datetime.date, bytes]) -> None:
    seen: dict[str, datetime.date] = {}
    for day, content in files.items():
        for line in content.splitlines()[1:]:
            number = line.split(b",")[0].decode().removeprefix("C")
            assert seen.setdefault(number, day) == day


def test_a_few_lines_do_not_parse_in_each_of_the_known_ways(files: dict[datetime.date, bytes]) -> None:
    fields, undecodable = [], 0
    for content in files.values():
        assert content.splitlines()[0].decode() == HEADER
        for line in content.splitlines():
            try:
                fields.append(len(next(csv.reader([line.decode()]))))
            except UnicodeDecodeError:
                undecodable += 1
    assert set(fields) == {6, 8, 9}
    assert undecodable >= 1
    bad = undecodable + sum(count != 8 for count in fields)
    assert bad <= 3 * len(files)


def test_the_number_of_lines_follows_the_scale() -> None:
    day = SHOP.end_date
    small = invoice_file(Company(1, 1_000, day), day).count(b"\n")
    default = invoice_file(Company(1, 100_000, day), day).count(b"\n")
    large = invoice_file(Company(1, 1_000_000, day), day).count(b"\n")
    assert small < default < large
    assert 200 < default < 450


def test_own_files_are_the_csv_files_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "notes.txt"):
        (tmp_path / name).write_text(HEADER + "\n")
    assert [path.name for path in own_files(tmp_path)] == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no file whose name ends in .csv"),
        ("InvoiceNo;StockCode\n", "a.csv is not the header"),
        ("", "a.csv is not the header"),
    ],
)
def test_a_folder_without_usable_files_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InboxError, match=reason):
        own_files(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b" \n\n", "the file is empty", id="blank"),
        pytest.param(f"{HEADER}\n".encode("utf-16"), "it is not UTF-8; it looks like UTF-16", id="UTF-16"),
        pytest.param(f"{HEADER}\n".encode("utf-16-be"), "it is not UTF-8; it looks like UTF-16", id="without a mark"),
        pytest.param(b"caf\xe9,1\n", "its first line is not UTF-8", id="another encoding"),
        pytest.param(b'"InvoiceNo,x\n', "its first line does not parse: unexpected end of data", id="broken quote"),
        pytest.param(HEADER.replace(",Country", "").encode(), "its first line lacks Country", id="a column is missing"),
        pytest.param(f"\ufeff{HEADER}\r\n".encode(), None, id="byte order mark and CRLF"),
        pytest.param(f'"{HEADER}"'.replace(",", '","').encode(), None, id="quoted"),
        pytest.param(f"{HEADER},Store\n".encode(), None, id="a further column"),
    ],
)
def test_one_file_that_will_be_set_aside_does_not_keep_the_others_out(
    tmp_path: Path, content: bytes, reason: str | None
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "b.csv").write_text(HEADER + "\n")
    assert [path.name for path in own_files(tmp_path)] == ["a.csv", "b.csv"]
    assert [doubts(path) for path in own_files(tmp_path)] == [reason, None]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InboxError, match="is no folder"):
        own_files(tmp_path / "missing")
