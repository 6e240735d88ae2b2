import io
from contextlib import suppress
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.minio import compaction
from lakehouse.minio.compaction import PLAN, Compactor
from lakehouse.minio.exceptions import CannotCompact
from lakehouse.minio.operators import CompactOperator
from lakehouse.ops.lease import LeaseLost
from tests.unit.lakehouse.minio.conftest import MemoryStore
from tests.unit.lakehouse.minio.test_operators import CONTEXT

FOLDER = "silver/clicks/"


class Killed(BaseException):
    """As kill -9: nothing of the killed process runs afterwards."""


class SteppedStore(MemoryStore):
    """Each stored, copied or removed object is a step; a reader looks after each, the `dies_at`th is not taken."""

    def __init__(self):
        super().__init__()
        self.steps, self.dies_at, self.read = 0, None, []

    def store(self, bucket, key, path):
        self.step()
        super().store(bucket, key, path)
        self.look()

    def copy_whole(self, bucket, source, target):
        self.step()
        super().copy_whole(bucket, source, target)
        self.look()

    def remove(self, bucket, keys):
        for key in keys:
            self.step()
            super().remove(bucket, [key])
            self.look()

    def step(self):
        if self.steps == self.dies_at:
            raise Killed
        self.steps += 1

    def look(self):
        self.read.append(self.ids())

    def ids(self):
        """What a reader of the folder sees, as Dremio does: no names that begin with `_`."""
        bodies = [body for key, body in sorted(self.content.items()) if "/_" not in key and key.endswith(".parquet")]
        return [number for body in bodies for number in pq.read_table(io.BytesIO(body))["id"].to_pylist()]

    def names(self):
        return sorted(key.removeprefix(FOLDER) for key in self.content)


@pytest.fixture
def stepped(lease, monkeypatch):
    monkeypatch.setattr(compaction, "Lease", lease)
    return SteppedStore()


def put(store, name, table, **options):
    buffer = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table({"id": table}), buffer, **options)
    store.content[FOLDER + name] = buffer.getvalue()


def compact(store, layer="silver", small_bytes=64 << 20):
    compactor = Compactor(store, bucket="lake", layer=layer, small_bytes=small_bytes, conn_id="db", holder="d/r/t/-1")
    return compactor.compact("silver/")


@pytest.mark.parametrize(("layer", "codec"), [("bronze", "SNAPPY"), ("silver", "SNAPPY"), ("gold", "ZSTD")])
def test_small_objects_become_one_with_the_layers_codec_and_row_groups(stepped, monkeypatch, layer, codec):
    monkeypatch.setattr(compaction, "MAX_ROW_GROUP", 4)
    for number in range(5):
        put(stepped, f"{number}.parquet", [number * 2, number * 2 + 1], compression="none")
    (done,) = compact(stepped, layer)
    assert (done.folder, done.before, done.after, done.rows) == (FOLDER, 5, 1, 10)
    (name,) = stepped.names()
    metadata = pq.read_metadata(io.BytesIO(stepped.content[FOLDER + name]))
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4, 4, 2]
    assert metadata.row_group(0).column(0).compression == codec
    assert stepped.ids() == list(range(10))
    assert compact(stepped, layer) == [] and stepped.names() == [name]


def test_what_is_large_hidden_or_not_parquet_stays(stepped):
    put(stepped, "large.parquet", list(range(9000)))
    for name in ("1.parquet", "2.parquet", "_hidden.parquet", ".tmp.parquet", "readme.txt", "deeper/1.parquet"):
        put(stepped, name, [1])
    before = dict(stepped.content)
    (done,) = compact(stepped, small_bytes=5000)
    assert (done.before, done.folder) == (2, FOLDER)
    gone = {FOLDER + name for name in ("1.parquet", "2.parquet")}
    assert {key: body for key, body in stepped.content.items() if "compacted-" not in key} == {
        key: body for key, body in before.items() if key not in gone
    }


def test_only_the_same_columns_are_joined_and_a_group_ends_at_its_size(stepped, monkeypatch):
    for number in range(4):
        put(stepped, f"{number}.parquet", [number])
    put(stepped, "2-other.parquet", pa.table({"id": ["text"]}))
    monkeypatch.setattr(compaction, "TARGET_BYTES", 2 * len(stepped.content[f"{FOLDER}0.parquet"]))
    (done,) = compact(stepped)
    assert (done.before, done.after) == (4, 2)
    assert sorted(stepped.ids(), key=str) == [0, 1, 2, 3, "text"]
    assert "2-other.parquet" in stepped.names()


def test_killed_at_any_step_no_row_ever_lacks_and_the_next_run_makes_it_whole(stepped):
    for number in range(4):
        put(stepped, f"{number}.parquet", [number])
    begin = dict(stepped.content)
    compact(stepped)
    steps, whole = stepped.steps, dict(stepped.content)
    assert steps == 1 + 1 + 1 + 4 + 2  # plan, hidden, visible, the inputs, hidden and plan removed
    for dies_at in range(steps):
        for dies_again in (None, 1, 3):
            stepped.content, stepped.steps, stepped.dies_at, stepped.read = dict(begin), 0, dies_at, []
            with pytest.raises(Killed):
                compact(stepped)
            if dies_again is not None:  # in the middle of putting it right, too
                stepped.steps, stepped.dies_at = 0, dies_again
                with suppress(Killed):
                    compact(stepped)
            stepped.dies_at = None
            compact(stepped)
            assert stepped.content == whole
            assert all({0, 1, 2, 3} == set(seen) for seen in stepped.read)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("silver/clicks/metadata/v3.metadata.json", "OPTIMIZE TABLE"),
        ("silver/clicks/_delta_log/00000000000000000000.json", "OPTIMIZE TABLE"),
        ("silver/clicks/.hoodie/hoodie.properties", "OPTIMIZE TABLE"),
        ("silver/clicks/batch=2026-11-24/_manifest.json", "rows_per_file"),
    ],
)
def test_what_a_table_format_or_a_manifest_names_is_refused(stepped, key, said):
    for name in ("1.parquet", "2.parquet"):
        put(stepped, name, [1])
    stepped.content[key] = b"{}"
    before = dict(stepped.content)
    with pytest.raises(CannotCompact, match=said):
        compact(stepped)
    assert stepped.content == before


def test_a_folder_inside_of_a_table_is_refused(stepped):
    put(stepped, "data/1.parquet", [1])
    put(stepped, "data/2.parquet", [1])
    stepped.content[f"{FOLDER}metadata/00001-a.metadata.json"] = b"{}"
    compactor = Compactor(stepped, bucket="lake", layer="silver", small_bytes=1 << 20, conn_id="db", holder="h")
    with pytest.raises(CannotCompact, match=r"s3://lake/silver/clicks/metadata/ belongs to a table"):
        compactor.compact(f"{FOLDER}data/")


STAMP = pa.table({"at": pa.array([datetime(2026, 1, 1)], pa.timestamp("ns"))})
FIELD_ID = pa.table([[1]], schema=pa.schema([pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "1"})]))


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (FIELD_ID, {}, "OPTIMIZE TABLE"),
        (pa.table({"_airbyte_raw_id": ["a"], "id": [1]}), {}, "PublishOperator"),
        (STAMP, {"use_deprecated_int96_timestamps": True}, "column 'at' holds INT96"),
    ],
)
def test_objects_that_something_else_finds_by_name_are_refused(stepped, table, options, said):
    put(stepped, "1.parquet", table, **options)
    put(stepped, "2.parquet", table, **options)
    before = dict(stepped.content)
    with pytest.raises(CannotCompact, match=said):
        compact(stepped)
    assert stepped.content == before


def test_a_file_that_is_not_parquet_is_named(stepped):
    put(stepped, "1.parquet", [1])
    stepped.content[f"{FOLDER}2.parquet"] = b"broken"
    with pytest.raises(CannotCompact, match=r"s3://lake/silver/clicks/2\.parquet is no Parquet file"):
        compact(stepped)


def test_an_object_that_is_replaced_meanwhile_is_kept_and_told(stepped, monkeypatch):
    put(stepped, "1.parquet", [1])
    put(stepped, "2.parquet", [2])

    def store(bucket, key, path):
        MemoryStore.store(stepped, bucket, key, path)
        put(stepped, "2.parquet", [3])

    monkeypatch.setattr(stepped, "store", store)
    with pytest.raises(CannotCompact, match=r"2\.parquet was replaced or removed"):
        compact(stepped)
    assert stepped.names() == ["1.parquet", "2.parquet"] and stepped.ids() == [1, 3]


@pytest.mark.parametrize(("verb", "said"), [("store", "not stored whole"), ("copy_whole", "not copied whole")])
def test_a_joined_object_that_is_cut_short_is_taken_back(stepped, monkeypatch, verb, said):
    put(stepped, "1.parquet", [1])
    put(stepped, "2.parquet", [2])
    before = dict(stepped.content)
    real = getattr(stepped, verb)

    def short(bucket, source, target):
        real(bucket, source, target)
        key = source if verb == "store" else target
        if not key.endswith(PLAN):
            stepped.content[key] = stepped.content[key][:-1]

    monkeypatch.setattr(stepped, verb, short)
    with pytest.raises(CannotCompact, match=said):
        compact(stepped)
    assert stepped.content == before


@pytest.mark.parametrize("checks", [0, 1])
def test_an_orphan_removes_nothing(stepped, lease, checks):
    put(stepped, "1.parquet", [1])
    put(stepped, "2.parquet", [2])
    lease.lost_after = checks
    with pytest.raises(LeaseLost):
        compact(stepped)
    assert stepped.ids() == [1, 2]


def test_a_plan_that_cannot_be_read_is_named(stepped):
    put(stepped, "1.parquet", [1])
    stepped.content[FOLDER + PLAN] = b"no JSON"
    with pytest.raises(CannotCompact, match=r"_compaction\.json cannot be read"):
        compact(stepped)


def test_a_plan_whose_objects_somebody_has_removed_is_forgotten(stepped):
    put(stepped, "1.parquet", [1])
    stepped.content[FOLDER + PLAN] = (
        b'{"output": "compacted-x.parquet", "inputs": {"1.parquet": "e", "2.parquet": "e"}}'
    )
    assert compact(stepped) == []
    assert stepped.names() == ["1.parquet"]


def test_the_operator_sums_up(stepped, monkeypatch):
    for folder in ("date=1", "date=2", "date=3"):
        put(stepped, f"{folder}/a.parquet", [1])
    put(stepped, "date=1/b.parquet", [2])
    put(stepped, "date=2/b.parquet", [3])
    monkeypatch.setattr("lakehouse.minio.hook.ObjectStoreHook", lambda conn_id: stepped)

    def run(**wrong):
        arguments = {"bucket": "lake", "prefix": FOLDER, "layer": "gold"} | wrong
        return CompactOperator(task_id="c", **arguments).execute(CONTEXT)

    for wrong, said in (({"prefix": "silver"}, "slash"), ({"layer": "tin"}, "bronze"), ({"small_mb": 0}, "at least 1")):
        with pytest.raises(ValueError, match=said):
            run(**wrong)
    found = run()
    assert (found["before"], found["after"], found["rows"]) == (4, 2, 4)
    assert [one["folder"] for one in found["folders"]] == [f"{FOLDER}date=1/", f"{FOLDER}date=2/"]
    assert run() == {
        "bucket": "lake", "before": 0, "after": 0, "rows": 0, "bytes_before": 0, "bytes_after": 0, "folders": []
    }  # fmt: skip
