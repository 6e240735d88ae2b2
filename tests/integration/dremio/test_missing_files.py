"""A file of a promoted folder that is gone: the folder is listed again and the query tried again, as by Dremio."""

import io
import uuid
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.dremio.conftest import BUCKET
from tests.integration.dremio.test_flight import Connection

ROWS = 200_000  # several batches


@pytest.fixture
def folder(rest, store, source):
    """A promoted folder with the files a and b."""
    name = f"gone_{uuid.uuid4().hex[:8]}"
    for file in ("a", "b"):
        put(store, f"{source}/{name}/{file}.parquet")
    url = f"/catalog/{quote(rest.entity(source, name)['id'], safe='')}"
    body = {"entityType": "dataset", "type": "PHYSICAL_DATASET", "path": [source, name]}
    rest.http.post(url, json=body | {"format": {"type": "Parquet"}}).raise_for_status()
    return name


def put(store, key):
    content = io.BytesIO()
    pq.write_table(pa.table({"n": range(ROWS)}), content)
    store.put_object(Bucket=BUCKET, Key=key, Body=content.getvalue())


def test_what_replaced_it_is_read_by_rest_and_by_flight(rest, reach, store, source, folder):
    count, everything = (f"SELECT {what} FROM {source}.{folder}" for what in ("COUNT(*) AS n", "*"))
    assert rest.rows(count) == [{"n": 2 * ROWS}]
    flight = Connection(reach)
    planned = flight.info(everything).endpoints[0].ticket
    for old, new, ask in (
        ("a", "c", lambda: rest.rows(count)[0]["n"]),
        ("b", "d", lambda: rest.run(everything)["rowCount"]),
        ("c", "e", lambda: flight.table(count)["n"].to_pylist()[0]),
        ("d", "f", lambda: flight.client.do_get(planned, flight.options).read_all().num_rows),
    ):
        put(store, f"{source}/{folder}/{new}.parquet")
        store.delete_object(Bucket=BUCKET, Key=f"{source}/{folder}/{old}.parquet")
        assert ask() == 2 * ROWS


def test_a_table_that_has_lost_all_its_files_says_so(rest, store, source, folder):
    for file in ("a", "b"):
        store.delete_object(Bucket=BUCKET, Key=f"{source}/{folder}/{file}.parquet")
    assert "holds no files" in rest.error(f"SELECT COUNT(*) AS n FROM {source}.{folder}")
