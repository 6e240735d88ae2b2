"""Parquet files in the making: Airbyte's columns, row groups, sizes."""

from __future__ import annotations

import resource
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedded.airbyte.worker import parquet
from embedded.airbyte.worker.parquet import META_CHANGE, ParquetFile, random_ids, with_airbyte_columns


def test_ids_are_random_uuids_of_version_4() -> None:
    ids = random_ids(1000).to_pylist()
    assert len(set(ids)) == 1000
    assert all(str(uuid.UUID(text)) == text and uuid.UUID(text).version == 4 for text in ids)
    assert random_ids(0).to_pylist() == []


def test_airbytes_columns_come_first_and_are_never_null() -> None:
    data = pa.table({"x": pa.array([1, 2], pa.int64())})
    change = {"field": "x", "change": "NULLED", "reason": "R"}
    changes = pa.array([[], [change]], pa.list_(META_CHANGE))
    table = with_airbyte_columns(data, extracted_at_ms=1_700_000_000_123, generation=3, job_id=9, changes=changes)
    assert [field.nullable for field in table.schema] == [False, False, False, False, True]
    assert table["_airbyte_generation_id"].to_pylist() == [3, 3]
    assert [time.value for time in table["_airbyte_extracted_at"]] == [1_700_000_000_123] * 2
    assert table["_airbyte_meta"].to_pylist() == [
        {"sync_id": 9, "changes": []},
        {"sync_id": 9, "changes": [change]},
    ]


def test_row_groups_hold_a_million_rows_or_what_the_buffer_holds(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array(range(2_500_000), pa.int64())})
    file = ParquetFile((tmp_path / "a.parquet").open("wb", buffering=0), table.schema, "snappy", 1024 * 1024, True)
    file.write(table, buffer_bytes=2**30)
    file.close()
    assert groups(tmp_path / "a.parquet") == [1_000_000, 1_000_000, 500_000]
    file = ParquetFile((tmp_path / "b.parquet").open("wb", buffering=0), table.schema, "zstd", 1024 * 1024, True)
    for start in range(0, 40_000, 10_000):
        file.write(table.slice(start, 10_000), buffer_bytes=160_000)
    file.close()
    assert groups(tmp_path / "b.parquet") == [20_000, 20_000]


def test_a_file_is_full_at_its_size(tmp_path: Path, monkeypatch: object) -> None:
    schema = pa.schema([("x", pa.int64())])
    file = ParquetFile((tmp_path / "a.parquet").open("wb", buffering=0), schema, "none", 1024, False)
    assert not file.full
    parquet_bytes = parquet.FILE_BYTES
    try:
        parquet.FILE_BYTES = 4
        assert file.full  # the magic number at its beginning is that long
    finally:
        parquet.FILE_BYTES = parquet_bytes
    file.close()


def groups(path: Path) -> list[int]:
    metadata = pq.ParquetFile(path).metadata
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files hold 10,000 bytes, and a write past that fails as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("writes", [1, 4])
def test_a_full_disk_is_told_by_a_later_write_or_by_the_end(tmp_path: Path, small_disk: None, writes: int) -> None:
    table = pa.table({"x": np.random.default_rng(1).random(100_000)})
    file = ParquetFile((tmp_path / "a.parquet").open("wb", buffering=0), table.schema, "none", 1024 * 1024, False)
    with pytest.raises(OSError, match="File too large"):
        for _ in range(writes):
            file.write(table, buffer_bytes=1)
        assert writes == 1
        file.close()
