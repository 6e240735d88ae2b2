"""Columns that files have beyond the schema of their stream: one file with one blocks nothing."""

from datetime import UTC, datetime
from itertools import permutations

import pyarrow as pa
import pytest

from lakehouse.minio.exceptions import ColumnDropped
from lakehouse.minio.publish import Stream

INVOICES = Stream("orders", "updated_at", required_columns=["id", "price"])
BATCH = "2026-11-22"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
PRICE = {"price": pa.array(["1.5"])}


@pytest.mark.parametrize("order", list(permutations(["plain", "with a store", "plain too"])))
def test_a_column_of_one_file_is_null_in_the_rows_of_others_in_whatever_order_they_come(publisher, store, land, order):
    for number, kind in enumerate(order):
        further = {"store": pa.array(["S1"])} if kind == "with a store" else {}
        land(f"2026_11_20_{number}", [(number, AT)], columns=PRICE | further)
        publisher.publish(INVOICES, BATCH)
    stores = {table["id"][0].as_py(): table["store"].to_pylist() for table in store.published().values()}
    assert stores == {number: ["S1" if kind == "with a store" else None] for number, kind in enumerate(order)}


def test_a_column_of_the_schema_may_not_be_lost(publisher, land):
    land("a", [(1, AT)], columns=PRICE)
    land("b", [(2, AT)])
    with pytest.raises(ColumnDropped) as failed:
        publisher.publish(INVOICES, BATCH)
    assert failed.value.columns == ["price"]
