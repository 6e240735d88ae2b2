import gzip
import io
import json
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.minio.exceptions import StoreUnreachable
from lakehouse.ops.lease import LeaseLost
from lakehouse.transfers import batches, files
from lakehouse.transfers.batches import Manifest, Part, folder
from lakehouse.transfers.dremio_to_minio import DremioToMinioOperator
from lakehouse.transfers.exceptions import TransferError
from tests.unit.lakehouse.minio.conftest import MemoryLease

FOLDER = "exports/orders/batch=2026-11-24/"


def make(**kwargs):
    arguments = {"sql": "SELECT id FROM t;", "bucket": "lake", "prefix": "exports/orders", "batch": "2026-11-24"}
    return DremioToMinioOperator(task_id="export", **arguments | kwargs)


def manifest(store):
    return json.loads(store.content[FOLDER + "_manifest.json"])


def ids(store):
    """Ids by the manifest, in order."""
    tables = [pq.read_table(io.BytesIO(store.content[FOLDER + part["name"]])) for part in manifest(store)["parts"]]
    return pa.concat_tables(tables)["id"].to_pylist()


def test_the_result_lies_in_objects_that_the_manifest_names(store, flight, task_context):
    found = make().execute(task_context)
    assert ids(store) == list(range(12))
    assert set(store.content) == {FOLDER + "_manifest.json", FOLDER + manifest(store)["parts"][0]["name"]}
    assert (found["rows"], found["objects"], found["manifest"]) == (12, 1, FOLDER + "_manifest.json")
    assert found["bytes"] == sum(part["bytes"] for part in manifest(store)["parts"])


def test_the_statement_names_the_task(store, flight, task_context):
    make().execute(task_context)
    (sql,) = flight.statements
    assert '"task_id": "run_sql"' in sql and sql.endswith("SELECT id FROM t")


def test_a_file_ends_at_its_rows(store, flight, task_context, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP_ROWS", 1)
    make(rows_per_file=5).execute(task_context)
    assert [part["rows"] for part in manifest(store)["parts"]] == [5, 5, 2]
    assert ids(store) == list(range(12))


def test_small_batches_become_one_row_group(store, flight, task_context):
    make().execute(task_context)
    body = store.content[FOLDER + manifest(store)["parts"][0]["name"]]
    assert pq.ParquetFile(io.BytesIO(body)).num_row_groups == 1


def test_one_file_and_one_row_group_are_held_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP_ROWS", 1)
    schema = pa.schema([("id", pa.int64())])
    sent = []

    def source():
        for number in range(6):
            sent.append(number)
            yield pa.record_batch({"id": pa.array([number])})

    taken = 0
    for path, rows in files.write_files(
        source(), schema, tmp_path, file_format="parquet", compression="zstd", rows_per_file=2
    ):
        taken += rows
        assert [path] == list(tmp_path.iterdir()) and rows == 2
        assert len(sent) <= taken + 1, "no more is read than is written, and one row group"
        path.unlink()
    assert taken == 6


def test_a_batch_run_again_replaces_what_was_there(store, flight, task_context):
    first = make().execute(task_context)
    flight.batches = [pa.record_batch({"id": pa.array([7], pa.int64())})]
    again = make().execute(task_context)
    assert first["attempt"] != again["attempt"]
    assert ids(store) == [7]
    assert len(store.content) == 2


def test_another_batch_is_left_alone(store, flight, task_context):
    store.content["exports/orders/batch=2026-11-2/part-x-00000.parquet"] = b"x"
    make().execute(task_context)
    assert "exports/orders/batch=2026-11-2/part-x-00000.parquet" in store.content


def test_a_result_without_rows_is_an_object_with_its_columns(store, flight, task_context):
    flight.batches = [pa.record_batch({"id": pa.array([], pa.int64())})]
    assert make().execute(task_context)["rows"] == 0
    assert ids(store) == [] and len(manifest(store)["parts"]) == 1


def test_leftovers_of_an_interrupted_attempt_are_removed(store, flight, task_context):
    store.content[FOLDER + "part-dead-00000.parquet"] = b"half"
    make().execute(task_context)
    assert FOLDER + "part-dead-00000.parquet" not in store.content


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_failure_in_the_middle_leaves_the_batch_as_it_was(store, flight, task_context, monkeypatch, fails_at):
    monkeypatch.setattr(files, "ROW_GROUP_ROWS", 1)
    make().execute(task_context)
    before = dict(store.content)

    def broken(number):
        if number == fails_at:
            raise OSError("connection reset by peer")

    flight.between = broken
    with pytest.raises(TransferError, match=r"did not come to its end: .*connection reset by peer"):
        make(rows_per_file=4).execute(task_context)
    assert store.content == before


def test_a_store_that_goes_away_leaves_the_batch_as_it_was(store, flight, task_context):
    make().execute(task_context)
    before = dict(store.content)
    store.breaks_after = 0
    with pytest.raises(ConnectionError):
        make().execute(task_context)
    assert store.content == before


def test_a_manifest_whose_answer_was_lost_keeps_its_parts(store, flight, task_context):
    stored = store.store

    def store_and_lose_the_answer(bucket, key, path):
        stored(bucket, key, path)
        if key.endswith("_manifest.json"):
            raise StoreUnreachable("minio_default", "http://s3", "key", "no answer")

    store.store = store_and_lose_the_answer
    with pytest.raises(StoreUnreachable):
        make().execute(task_context)
    assert ids(store) == list(range(12))


def test_a_part_that_was_cut_short_is_not_committed(store, flight, task_context):
    stored = store.store

    def cut(bucket, key, path):
        stored(bucket, key, path)
        if "part-" in key:
            store.content[key] = store.content[key][:-1]

    store.store = cut
    with pytest.raises(TransferError, match=r"1 of 1 objects were not stored whole, the first is part-"):
        make().execute(task_context)
    assert FOLDER + "_manifest.json" not in store.content


def test_a_kill_cancels_the_query_and_takes_back_what_was_stored(store, flight, task_context, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP_ROWS", 1)
    operator = make(rows_per_file=4)
    flight.between = lambda number: operator.on_kill() if number == 2 else None
    with pytest.raises(TransferError, match="stopped before its end"):
        operator.execute(task_context)
    assert flight.cancelled == 1 and store.content == {}


def test_an_orphan_does_not_commit(store, flight, task_context, monkeypatch):
    monkeypatch.setattr("lakehouse.ops.lease.Lease", MemoryLease)
    monkeypatch.setattr(MemoryLease, "lost_after", 0)
    with pytest.raises(LeaseLost):
        make(lakehouse_conn_id="lakehouse_db").execute(task_context)
    assert store.content == {}


@pytest.mark.parametrize(("compression", "ending"), [(None, "csv"), ("gzip", "csv.gz")])
def test_csv_has_a_header_and_days_decimals_and_truths(store, flight, task_context, compression, ending):
    flight.batches = [
        pa.record_batch(
            {
                "day": pa.array([date(2026, 11, 24), None], pa.date64()),
                "amount": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
                "name": pa.array(['a"b', None]),
                "ok": pa.array([True, None]),
            }
        )
    ]
    make(file_format="csv", compression=compression).execute(task_context)
    (part,) = manifest(store)["parts"]
    assert part["name"].endswith(f".{ending}")
    body = store.content[FOLDER + part["name"]]
    text = (gzip.decompress(body) if compression else body).decode()
    assert text == '"day","amount","name","ok"\n2026-11-24,1.50,"a""b",true\n,,,\n'


def test_csv_refuses_what_it_cannot_hold(store, flight, task_context):
    flight.batches = [pa.record_batch({"id": pa.array([1]), "tags": pa.array([["a"]])})]
    with pytest.raises(ValueError, match="columns tags cannot stand in CSV"):
        make(file_format="csv").execute(task_context)
    assert store.content == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"prefix": "exports/"}, "prefix 'exports/': write it without slashes at its ends"),
        ({"batch": "24/11"}, r"batch '24/11': letters, digits and \. _ - only"),
        ({"file_format": "orc"}, "file_format 'orc' is none of parquet, csv"),
        ({"compression": "lzo"}, "compression 'lzo': parquet takes zstd"),
        ({"rows_per_file": 0}, "rows_per_file is 0"),
    ],
)
def test_wrong_arguments_are_refused_before_any_query(store, flight, task_context, arguments, text):
    with pytest.raises(ValueError, match=text):
        make(**arguments).execute(task_context)
    assert flight.statements == []


def test_the_batch_is_the_runs_by_default(store, flight, task_context):
    context = task_context | {"params": {"batch_date": "2026-11-24"}}
    assert make(batch=None).execute(context)["folder"] == FOLDER


def test_a_manifest_survives_the_way_there_and_back():
    one = Manifest("2026-11-24", "abc", "csv", [Part("part-abc-00000.csv", 3, 9)])
    assert Manifest.parse(one.dump()) == one and one.rows == 3 and one.bytes == 9


@pytest.mark.parametrize("body", [b"{}", b"[]", b"not json", b'{"parts": [1]}'])
def test_what_is_no_manifest_is_named(store, body):
    store.content[FOLDER + "_manifest.json"] = body
    with pytest.raises(TransferError, match=r"_manifest\.json: is no manifest"):
        batches.read_manifest(store, "lake", FOLDER)


def test_a_batch_without_a_manifest_has_none(store):
    assert batches.read_manifest(store, "lake", folder("exports/orders", "2026-11-24")) is None
