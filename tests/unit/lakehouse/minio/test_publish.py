from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.minio.exceptions import ColumnDropped, ColumnTypeChanged, MissingBatchColumn, PublishError
from lakehouse.minio.publish import Stream
from lakehouse.ops.lease import LeaseLost

ORDERS = Stream("orders", "updated_at")
BATCH = "2026-11-22"


def at(day, hour=12):
    return datetime(2026, 11, day, hour, tzinfo=UTC)


def test_rows_go_to_the_day_of_their_cursor(publisher, store, land):
    land("a", [(1, at(20)), (2, at(21, 0)), (3, at(21, 23)), (4, None)])
    done = publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": [1], "2026-11-21": [2, 3], "2026-11-23": [4]}  # 4: day of extraction
    assert (done.landed_rows, done.rows, done.partitions, done.written, done.copied) == (4, 4, 3, 3, 0)


def test_published_again_nothing_is_touched_and_nothing_read(publisher, store, land, index):
    land("a", [(1, at(20)), (2, at(21))])
    publisher.publish(ORDERS, BATCH)
    before, index.inspected[:] = dict(store.content), []
    done = publisher.publish(ORDERS, BATCH)
    assert store.content == before and index.inspected == []
    assert (done.written, done.copied, done.removed, done.days) == (0, 0, 0, [])


def test_only_the_days_that_a_sync_touched_are_written(publisher, store, land):
    land("a", [(1, at(20)), (2, at(21))])
    publisher.publish(ORDERS, BATCH)
    before = set(store.content)
    land("b", [(3, at(22)), (4, at(20))])
    done = publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": [1, 4], "2026-11-21": [2], "2026-11-22": [3]}
    assert done.days == ["2026-11-20", "2026-11-22"] and before <= set(store.content)


def test_an_object_of_one_day_that_is_right_is_copied_as_it_is(publisher, store, land):
    key = land("a", [(1, at(20)), (2, at(20))])
    done = publisher.publish(ORDERS, BATCH)
    assert (done.written, done.copied) == (0, 1)
    assert store.content[store.copied[0]] == store.content[key]


@pytest.mark.parametrize("options", [{"codec": "none"}, {"codec": "zstd"}], ids=["uncompressed", "zstd"])
def test_another_codec_is_written_anew_with_snappy(publisher, store, land, options):
    land("a", [(1, at(20))], **options)
    assert publisher.publish(ORDERS, BATCH).written == 1
    (body,) = [body for key, body in store.content.items() if "/date=" in key]
    metadata = pq.read_metadata(pa.BufferReader(body))
    assert metadata.row_group(0).column(0).compression == "SNAPPY"
    assert metadata.row_group(0).column(0).statistics.has_min_max


def test_the_result_does_not_depend_on_what_happened_before(publisher, store, land, index):
    land("a", [(1, at(20)), (2, at(21))])
    publisher.publish(ORDERS, BATCH)
    land("b", [(3, at(21))])
    publisher.publish(ORDERS, BATCH)
    in_steps = {key: body for key, body in store.content.items() if "/date=" in key}
    for key in in_steps:
        del store.content[key]
    index.kept.clear()
    publisher.publish(ORDERS, BATCH)
    assert {key for key in store.content if "/date=" in key} == set(in_steps)
    assert store.rows() == {"2026-11-20": [1], "2026-11-21": [2, 3]}


@pytest.mark.parametrize("writes", range(4))
def test_interrupted_after_any_write_the_next_try_makes_it_whole(publisher, store, land, writes):
    land("a", [(1, at(20)), (2, at(21)), (3, at(22)), (4, at(19))])
    store.breaks_after = writes
    with pytest.raises(ConnectionError):
        publisher.publish(ORDERS, BATCH)
    publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-19": [4], "2026-11-20": [1], "2026-11-21": [2], "2026-11-22": [3]}
    assert len(store.published()) == 4


def test_a_replaced_landing_object_takes_the_place_of_what_it_had_published(publisher, store, land):
    land("a", [(1, at(20)), (2, at(21))])
    publisher.publish(ORDERS, BATCH)
    land("a", [(1, at(20)), (5, at(21))])
    done = publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": [1], "2026-11-21": [5]} and done.removed == 2


def test_what_retention_took_from_landing_stays_published(publisher, store, land):
    key = land("a", [(1, at(20)), (2, at(21))])
    publisher.publish(ORDERS, BATCH)
    del store.content[key]
    land("b", [(3, at(21))])
    publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": [1], "2026-11-21": [2, 3]}


def test_a_new_column_is_null_in_the_days_before_it(publisher, store, land):
    land("a", [(1, at(20))])
    publisher.publish(ORDERS, BATCH)
    land("b", [(2, at(21))], columns={"coupon": pa.array(["X"])})
    done = publisher.publish(ORDERS, BATCH)
    tables = store.published()
    assert [table["coupon"].to_pylist() for table in tables.values()] == [[None], ["X"]]
    assert len({tuple(table.schema.names) for table in tables.values()}) == 1 and done.removed == 1


COUPON = {"coupon": pa.array(["X"])}
DROPPED = Stream("orders", "updated_at", dropped_columns=["coupon"])


def test_a_dropped_column_fails_by_name_and_changes_nothing(publisher, store, land):
    land("a", [(1, at(20))], columns=COUPON)
    publisher.publish(ORDERS, BATCH)
    key = land("b", [(2, at(21))])
    before = dict(store.content)
    for _ in range(2):  # a retry, for which all objects are known, does not pass either
        with pytest.raises(ColumnDropped, match=f"^stream orders: column 'coupon' is gone: {key} lacks it") as failed:
            publisher.publish(ORDERS, BATCH)
    assert store.content == before
    assert "dropped_columns of stream orders in include/pipelines/connections/shop.yaml" in str(failed.value)
    assert "cleared in Airbyte" in str(failed.value)


def test_all_dropped_columns_are_named_and_airbytes_own_are_none(publisher, land):
    land("a", [(1, at(20))], columns=COUPON | {"channel": pa.array([1]), "_airbyte_meta": pa.array(["{}"])})
    land("b", [(2, at(21))])
    with pytest.raises(ColumnDropped, match="columns 'coupon', 'channel' are gone") as failed:
        publisher.publish(ORDERS, BATCH)
    assert failed.value.columns == ["coupon", "channel"]


def test_a_column_declared_as_dropped_is_null_in_the_days_after_it(publisher, store, land):
    land("a", [(1, at(20))], columns=COUPON)
    land("b", [(2, at(21))])
    publisher.publish(DROPPED, BATCH)
    assert [table["coupon"].to_pylist() for table in store.published().values()] == [["X"], [None]]
    land("c", [(3, at(22))], columns={"id": pa.array([3]), "channel": pa.array([1])})
    publisher.publish(DROPPED, BATCH)
    land("d", [(4, at(23))])
    with pytest.raises(ColumnDropped, match="'channel'"):  # any other is not meant
        publisher.publish(DROPPED, BATCH)


def test_a_column_that_came_back_is_published_and_the_gap_is_told(publisher, store, land, caplog):
    land("a", [(1, at(20))], columns=COUPON)
    gap = land("b", [(2, at(21))])
    with pytest.raises(ColumnDropped):
        publisher.publish(ORDERS, BATCH)
    land("c", [(3, at(22))], columns=COUPON)
    publisher.publish(ORDERS, BATCH)
    assert [table["coupon"].to_pylist() for table in store.published().values()] == [["X"], [None], ["X"]]
    assert f"column 'coupon' was gone for a time and is null in the rows of 1 landing objects, the last is {gap}" in (
        caplog.text
    )


def test_a_clear_after_the_column_came_back_heals_the_gap(publisher, store, land, caplog):
    keys = [land("a", [(1, at(20))], columns=COUPON), land("b", [(2, at(21))])]
    with pytest.raises(ColumnDropped):
        publisher.publish(ORDERS, BATCH)
    for key in keys:
        del store.content[key]
    land("c", [(1, at(20)), (2, at(21))], columns={"coupon": pa.array(["X", "Y"])})
    publisher.publish(ORDERS, BATCH)
    assert [table["coupon"].to_pylist() for table in store.published().values()] == [["X"], ["Y"]]
    assert "gone for a time" not in caplog.text


def test_a_full_refresh_that_removed_the_older_objects_does_not_hide_a_dropped_column(publisher, store, land):
    key = land("a", [(1, at(20))], columns=COUPON)
    publisher.publish(ORDERS, BATCH)
    del store.content[key]
    land("b", [(1, at(20))], generation=1)
    with pytest.raises(ColumnDropped, match="'coupon'"):
        publisher.publish(ORDERS, BATCH)


def test_an_object_without_rows_drops_no_column(publisher, store, land):
    land("a", [(1, at(20))], columns=COUPON)
    land("b", [])
    publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": [1]}


def test_a_first_object_without_rows_shows_columns_that_the_next_may_add_to(publisher, store, land):
    land("a", [])
    publisher.publish(ORDERS, BATCH)
    land("b", [(1, at(20))], columns=COUPON)
    publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": [1]}


def test_the_newest_object_is_the_last_part_of_the_last_sync(publisher, store, land):
    sync = "2026_11_23_1795395900000_"
    for part in range(10):
        land(f"{sync}{part}", [(part, at(20))])
    land(f"{sync}10", [(10, at(20))], columns=COUPON)  # as text it comes before part 2
    publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": list(range(11))}


def test_a_type_that_can_be_widened_is(publisher, store, land):
    land("a", [(1, at(20))], columns={"amount": pa.array([1.5], pa.float32())})
    land("b", [(2, at(21))], columns={"amount": pa.array([2.25], pa.float64())})
    publisher.publish(ORDERS, BATCH)
    assert {str(table.schema.field("amount").type) for table in store.published().values()} == {"double"}


def test_a_changed_type_fails_by_name_and_leaves_what_was_published(publisher, store, land):
    land("a", [(1, at(20))], columns={"amount": pa.array([1.5])})
    publisher.publish(ORDERS, BATCH)
    before = store.rows()
    land("b", [(2, at(21))], columns={"amount": pa.array(["two"])})
    with pytest.raises(
        ColumnTypeChanged, match=r"stream orders: column 'amount' changed its type from double to string"
    ):
        publisher.publish(ORDERS, BATCH)
    assert store.rows() == before


def test_a_missing_cursor_column_fails_by_name(publisher, land):
    key = land("a", [(1, at(20))])
    with pytest.raises(MissingBatchColumn, match=f"no column 'changed_at' in {key}"):
        publisher.publish(Stream("orders", "changed_at"), BATCH)


def test_a_landing_object_that_is_no_parquet_fails_by_name(publisher, store):
    store.content["bronze/landing/source=shop/orders/x.parquet"] = b"not parquet at all"
    with pytest.raises(PublishError, match=r"orders/x\.parquet cannot be read"):
        publisher.publish(ORDERS, BATCH)


def test_files_go_to_the_day_in_their_name(publisher, store, land):
    names = ["invoices/2010-12-01.csv", "invoices/20101202.csv", "invoices/notes.csv"]
    land("a", [(1, at(1)), (2, at(1)), (3, at(1))], columns={"_ab_source_file_url": pa.array(names)})
    publisher.publish(Stream("orders", "file_name"), BATCH)
    assert store.rows() == {"2010-12-01": [1], "2010-12-02": [2], "2026-11-23": [3]}


def test_a_snapshot_is_its_newest_generation_in_the_batch_of_the_run(publisher, store, land):
    snapshot = Stream("orders", "snapshot")
    land("a", [(1, at(1)), (2, at(2))], generation=1)
    publisher.publish(snapshot, "2026-11-21")
    land("b", [(3, at(3))], generation=2)
    publisher.publish(snapshot, "2026-11-22")
    assert store.rows() == {"2026-11-21": [1, 2], "2026-11-22": [3]}
    publisher.publish(snapshot, "2026-11-21")
    assert store.rows() == {"2026-11-21": [3], "2026-11-22": [3]}


def test_of_an_overwritten_stream_bronze_has_the_newest_generation_alone(publisher, store, land):
    appended, overwritten = Stream("orders", "updated_at"), Stream("orders", "updated_at", overwrites=True)
    key = land("a", [(1, at(20)), (2, at(21))], generation=1)
    publisher.publish(appended, BATCH)
    land("b", [(1, at(20)), (3, at(21))], generation=2)
    publisher.publish(overwritten, BATCH)
    assert store.rows() == {"2026-11-20": [1, 1], "2026-11-21": [2, 3]}, "the sync is not over: Airbyte keeps the rest"
    del store.content[key]  # it removes the older generation at the end
    publisher.publish(overwritten, BATCH)
    assert store.rows() == {"2026-11-20": [1], "2026-11-21": [3]}, "2 is gone from the source, in whichever day"
    key = land("c", [(4, at(22))], generation=3)
    del store.content[key.replace("/c.", "/b.")]
    publisher.publish(overwritten, BATCH)
    assert store.rows() == {"2026-11-22": [4]}
    del store.content[key]
    publisher.publish(overwritten, BATCH)
    assert store.rows() == {"2026-11-22": [4]}, "what retention takes from landing stays"


def test_a_stream_without_data_can_be_queried(publisher, store, land):
    declared = Stream("orders", "updated_at", {"id": "integer", "updated_at": "timestamp", "line": "string"})
    assert publisher.publish(declared, BATCH).written == 1
    ((name, table),) = store.published().items()
    assert name.startswith(f"date={BATCH}/") and table.num_rows == 0
    assert [str(table.schema.field(column).type) for column in ("id", "updated_at", "line")] == [
        "int64",
        "timestamp[us, tz=UTC]",
        "string",
    ]
    assert publisher.publish(declared, "2026-11-23").written == 0  # one is enough
    land("a", [(1, at(20))])
    publisher.publish(declared, BATCH)
    assert store.rows() == {"2026-11-20": [1]}


def test_a_stream_of_which_nothing_is_known_is_not_published(publisher, store):
    assert publisher.publish(ORDERS, BATCH).written == 0
    assert store.content == {}


def test_a_column_declared_with_an_unknown_type_is_refused(publisher):
    with pytest.raises(PublishError, match="column 'id' is declared as 'bigint'"):
        publisher.publish(Stream("orders", "updated_at", {"id": "bigint"}), BATCH)


@pytest.mark.parametrize("checks", range(2))
def test_who_lost_the_lease_removes_nothing_and_writes_no_more(publisher, store, land, lease, checks):
    land("a", [(1, at(20)), (2, at(21))])
    publisher.publish(ORDERS, BATCH)
    land("a", [(3, at(20)), (4, at(21))])
    before = set(store.content)
    lease.lost_after = checks
    with pytest.raises(LeaseLost):
        publisher.publish(ORDERS, BATCH)
    assert before <= set(store.content)
    lease.lost_after = None
    publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": [3], "2026-11-21": [4]}


def test_while_another_run_publishes_the_stream_it_is_waited_for(publisher, store, land, lease, monkeypatch):
    land("a", [(1, at(20))])
    lease.held = 50  # times 35 s
    publisher.publish(ORDERS, BATCH)
    assert store.rows() == {"2026-11-20": [1]} and lease.held == 0
    lease.held = 50
    monkeypatch.setattr(publisher, "_stopped", lambda: lease.held < 48)
    with pytest.raises(PublishError, match="stopped before"):
        publisher.publish(ORDERS, BATCH)


def test_an_object_that_was_not_stored_whole_is_removed_and_told(publisher, store, land, monkeypatch):
    land("a", [(1, at(20)), (2, at(21))])
    whole = store.store
    monkeypatch.setattr(
        store, "store", lambda bucket, key, path: (whole(bucket, key, path), store.content.update({key: b"x"}))
    )
    with pytest.raises(PublishError, match="2 of 2 objects were not stored whole"):
        publisher.publish(ORDERS, BATCH)
    assert not [key for key in store.content if "/date=" in key]


def test_large_days_get_row_groups_of_at_most_a_million(publisher, store, land):
    count = 1_200_000
    land("a", [(1, at(20))])
    columns = {
        "_airbyte_raw_id": pa.nulls(count, pa.string()),
        "_airbyte_extracted_at": pa.nulls(count, pa.timestamp("ms", "UTC")).fill_null(at(20)),
        "_airbyte_generation_id": pa.nulls(count, pa.int64()).fill_null(0),
        "id": pa.nulls(count, pa.int64()).fill_null(7),
        "updated_at": pa.nulls(count, pa.timestamp("us", "UTC")).fill_null(at(20)),
    }
    land("b", [], columns=columns, row_group_size=count)
    publisher.publish(ORDERS, BATCH)
    sizes = [
        [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
        for metadata in (
            pq.read_metadata(pa.BufferReader(body)) for key, body in store.content.items() if "/date=" in key
        )
    ]
    assert sorted(map(sum, sizes)) == [1, count]
    assert max(map(max, sizes)) <= 1_000_000 and max(map(len, sizes)) == 2
