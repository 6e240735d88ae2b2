"""A filter on a partition reads that partition's files and no others."""

import io
import re
import uuid
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.dremio.conftest import BUCKET


@pytest.fixture
def sales(rest, source):
    """A table partitioned by month, as the marts are: three months, ten rows each."""
    name = f"sales_{uuid.uuid4().hex[:8]}"
    digits = ", ".join(f"({digit})" for digit in range(10))
    rest.run(
        f"CREATE TABLE {source}.{name} PARTITION BY (MONTH(sold_on)) AS"
        " SELECT CAST('2025-' || month_number || '-05' AS DATE) AS sold_on, n AS amount"
        f" FROM (VALUES ('08'), ('09'), ('10')) AS months(month_number), (VALUES {digits}) AS numbers(n)"
    )
    return name


def keys_of(store, prefix):
    pages = store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def test_the_other_partitions_of_a_table_are_not_read(rest, store, source, sales):
    """Shown by taking their files away: what is still answered has not looked at them."""
    october = f"SELECT SUM(amount) AS amount FROM {source}.{sales} WHERE sold_on >= DATE '2025-10-01'"
    everything = f"SELECT SUM(amount) AS amount FROM {source}.{sales}"
    keys = keys_of(store, f"{source}/{sales}/")
    assert {re.sub(r"[^/]+$", "", key).split(f"{sales}/")[1] for key in keys} == {
        "year=2025/month=8/",
        "year=2025/month=9/",
        "year=2025/month=10/",
    }
    for key in keys:
        if "month=10/" not in key:
            store.delete_object(Bucket=BUCKET, Key=key)
    assert rest.rows(october) == [{"amount": 45}]
    assert "404" in rest.error(everything)


def test_the_plan_says_how_many_files_of_a_promoted_folder_are_scanned(rest, reach, store, source):
    """Days of bronze, as `publish` lays them out."""
    folder = f"days_{uuid.uuid4().hex[:8]}"
    for day in range(1, 6):
        content = io.BytesIO()
        pq.write_table(pa.table({"amount": [day]}), content)
        key = f"{source}/{folder}/date=2025-10-0{day}/data.parquet"
        store.put_object(Bucket=BUCKET, Key=key, Body=content.getvalue())
    url = f"/catalog/{quote(rest.entity(source, folder)['id'], safe='')}"
    body = {"entityType": "dataset", "type": "PHYSICAL_DATASET", "path": [source, folder]}
    rest.http.post(url, json=body | {"format": {"type": "Parquet"}}).raise_for_status()
    query = f"SELECT SUM(amount) AS amount FROM {source}.{folder} WHERE \"date\" >= '2025-10-04'"
    assert rest.rows(query) == [{"amount": 9}]
    plan = "\n".join(str(row["text"]) for row in rest.rows(f"EXPLAIN PLAN FOR {query}"))
    assert re.search(r"Scanning Files: 2/5", plan), plan
