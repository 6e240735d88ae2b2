"""Files as they come: compressed, damaged, changing; and the types that their rows are delivered with."""

from __future__ import annotations

import bz2
import datetime
import gzip
import lzma
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.archives import members
from embedded.airbyte.sources.file_rows import FileRejected, FileUnreadable
from embedded.airbyte.sources.file_storage import FolderStorage, common_folder
from embedded.airbyte.sources.formats.inference import (
    BOOLEAN,
    INSTANT,
    INTEGER,
    NUMBER,
    OBJECT,
    TEXT,
    ColumnTypes,
    widened,
)  # fmt: skip
from embedded.airbyte.sources.formats.parquet_files import ParquetFormat

PLAIN = b"id\n1\n" * 1000
COMPRESSED = {
    ".gz": gzip.compress(PLAIN),
    ".bz2": bz2.compress(PLAIN),
    ".xz": lzma.compress(PLAIN),
    ".zst": pa.compress(PLAIN, codec="zstd", asbytes=True),
}


def all_of(path: Path, uri: str) -> list[tuple[str, bytes]]:
    return [(name, member.read_bytes()) for name, member in members(path, uri)]


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_a_compressed_file_is_read_whole_or_not_at_all(tmp_path: Path, suffix: str) -> None:
    path, body = tmp_path / "fetched", COMPRESSED[suffix]
    path.write_bytes(body)
    assert all_of(path, f"a.csv{suffix.upper()}") == [(f"a.csv{suffix.upper()}", PLAIN)]
    assert list(tmp_path.iterdir()) == [path]
    for broken in (b"", body[:-5], b"id\n1\n"):
        path.write_bytes(broken)
        with pytest.raises(FileUnreadable):
            all_of(path, f"a.csv{suffix}")


def test_a_zip_is_its_files_and_none_of_them_if_one_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "fetched"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("in/a.csv", "b.csv", "__MACOSX/b.csv"):
            archive.writestr(name, PLAIN)
    assert all_of(path, "x.zip") == [("x.zip#in/a.csv", PLAIN), ("x.zip#b.csv", PLAIN)]
    body = path.read_bytes()
    place = body.rindex(PLAIN)
    path.write_bytes(body[:place] + b"?" + body[place + 1 :])
    with pytest.raises(FileUnreadable, match="damaged"):
        next(members(path, "x.zip"))
    path.write_bytes(body[:-30])
    with pytest.raises(FileUnreadable, match="no zip file that can be read"):
        next(members(path, "x.zip"))


class _Growing(LocalFileSystem):
    """A folder in which a writer is at work."""

    def get_file(self, path1: str, path2: str, **options: Any) -> None:
        super().get_file(path1, path2, **options)
        with Path(path1).open("ab") as file:
            file.write(b"more")


def test_a_file_that_grows_while_it_is_fetched_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(PLAIN)
    storage = FolderStorage("here", _Growing, str(tmp_path))
    (file,) = storage.list(["*.csv"])
    with pytest.raises(SyncFailure, match=r"changed while it was read \(5000 bytes before, 5000 read, 5004 after\)"):
        storage.fetch(file, tmp_path / "fetched")
    (tmp_path / "a.csv").unlink()
    assert storage.fetch(file, tmp_path / "fetched") is None
    with pytest.raises(SyncFailure, match=r"Could not list .*/none/ at here: FileNotFoundError"):
        storage.list(["none/*.csv"])


@pytest.mark.parametrize(
    ("globs", "folder"),
    [
        (["in/*.csv", "in/*.txt"], "in/"),
        (["in/a/b*.csv"], "in/a/"),
        (["in/*", "out/*"], ""),
        (["/in/*", "/out/*"], "/"),
        (["**"], ""),
        (["/in/{a,b}/x.csv"], "/in/"),
    ],
)
def test_the_folder_that_is_listed(globs: list[str], folder: str) -> None:
    assert common_folder(globs) == folder


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, None], INTEGER),
        ([1, 1.5], NUMBER),
        ([1, 2**63], TEXT),
        ([True, 1], TEXT),
        ([None], TEXT),
        ([{}, None], OBJECT),
        ([{}, []], TEXT),
        (["a", 1], TEXT),
        ([datetime.datetime(2026, 1, 1), datetime.date(2026, 1, 1)], INSTANT),
    ],
)
def test_a_column_has_the_type_that_all_values_fit(values: list[Any], type_: dict[str, Any]) -> None:
    at_once, one_by_one = ColumnTypes(), ColumnTypes()
    at_once.see([{"a": value} for value in values])
    for value in values:
        one_by_one.see([{"a": value}])
    assert at_once.schema == one_by_one.schema == {"a": type_}


def test_a_type_is_never_narrower_than_it_was() -> None:
    assert widened(INTEGER, "double") == NUMBER
    assert widened(NUMBER, "int64") == NUMBER
    assert widened(BOOLEAN, "string") == TEXT
    assert widened(OBJECT, "string") == OBJECT
    assert widened(INTEGER, None) == INTEGER


def test_parquet_types(tmp_path: Path) -> None:
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    columns = {
        "u": (pa.array([2**64 - 1], pa.uint64()), Decimal(2**64 - 1), {"type": "number"}),
        "f": (pa.array([1.5], pa.float32()), 1.5, {"type": "number"}),
        "b": (pa.array([b"\xc3\xa9"], pa.binary()), "é", {"type": "string"}),
        "t": (pa.array([at.time()], pa.time64("ns")), at.time(), None),
        "d": (pa.array([at.date()], pa.date64()), at.date(), {"type": "string", "format": "date"}),
        "l": (pa.array([at], pa.timestamp("ns")), at, None),
        "m": (pa.array([[("k", at)]], pa.map_(pa.string(), pa.timestamp("us"))), f'{{"k":"{at.isoformat()}"}}', None),
        "n": (pa.nulls(1), None, {"type": "string"}),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({name: array for name, (array, _, _) in columns.items()}), path)
    (batch,) = ParquetFormat().batches(path, dict)
    assert batch.rows.to_pylist() == [{name: value for name, (_, value, _) in columns.items()}]
    schemas = ParquetFormat().columns(path)
    assert list(schemas) == list(columns)
    assert all(schemas[name] == schema for name, (_, _, schema) in columns.items() if schema)


def test_parquet_that_cannot_be_delivered_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"b": pa.array([b"\xff"], pa.binary())}), path)
    with pytest.raises(FileUnreadable, match=r"column b \(binary\) cannot be delivered as string"):
        list(ParquetFormat().batches(path, dict))
    pq.write_table(pa.table({"a b": [1], "a_b": [2]}), path)
    with pytest.raises(FileRejected, match="in the lake it would have the name of a b"):
        ParquetFormat().columns(path)
