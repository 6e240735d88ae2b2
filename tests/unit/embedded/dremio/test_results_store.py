"""Results for paging: pages across batches, in memory and on disk, and what is dropped when."""

import pyarrow as pa
import pytest

from embedded.dremio.jobs.results import ResultStore

SCHEMA = pa.schema([("n", pa.int64())])


def batches(sizes):
    start = 0
    for size in sizes:
        yield pa.record_batch([pa.array(range(start, start + size), pa.int64())], SCHEMA)
        start += size


@pytest.mark.parametrize("sizes", [[3, 0, 4, 1], [200_000, 1, 100_000]], ids=["memory", "disk"])
def test_pages_cross_batches(tmp_path, sizes):
    stored = ResultStore(tmp_path).store("job", SCHEMA, batches(sizes))
    total = sum(sizes)
    assert stored.rows == total
    assert stored.on_disk == (total > 1000)
    for offset, limit in [(0, 2), (2, 3), (total - 2, 500), (total, 10), (total + 5, 1)]:
        rows = stored.page(offset, limit).column("n").to_pylist()
        assert rows == list(range(total))[offset : offset + limit]


def test_an_empty_result_has_its_schema(tmp_path):
    stored = ResultStore(tmp_path).store("job", SCHEMA, batches([0]))
    assert stored.rows == 0
    assert stored.page(0, 10).schema == SCHEMA


def test_the_oldest_goes_when_there_is_too_much(tmp_path):
    store = ResultStore(tmp_path, kept_bytes=5_000_000)
    for job in ("a", "b", "c"):
        store.store(job, SCHEMA, batches([300_000]))
    assert store.find("a") is None
    assert store.find("c") is not None
    assert len(list(tmp_path.glob("*.arrow"))) == 2


def test_a_failing_result_leaves_no_file(tmp_path):
    def failing():
        yield from batches([300_000])
        raise RuntimeError("the query failed")

    store = ResultStore(tmp_path)
    with pytest.raises(RuntimeError):
        store.store("job", SCHEMA, failing())
    assert store.find("job") is None
    assert list(tmp_path.glob("*.arrow")) == []
