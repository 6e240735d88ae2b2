"""A source of type ELASTIC over a real Elasticsearch: what its tables hold, and what is said when it cannot be read."""

import json
import uuid

import pytest

from tests.integration.airbyte.elasticsearch import PASSWORD, USER
from tests.integration.dremio.test_flight import Connection

JSON = {"Content-Type": "application/json"}
MAPPING = {
    "id": {"type": "long"},
    "small": {"type": "short"},
    "price": {"type": "double"},
    "ratio": {"type": "half_float"},
    "word": {"type": "keyword"},
    "note": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
    "flag": {"type": "boolean"},
    "at": {"type": "date"},
    "day": {"type": "date", "format": "strict_date"},
    "time": {"type": "date", "format": "hour_minute_second"},
    "shown": {"type": "date", "format": "dd.MM.yyyy HH:mm||epoch_second"},
    "raw": {"type": "binary"},
    "address": {"type": "ip"},
    "place": {"type": "geo_point"},
    "owner": {"properties": {"name": {"type": "keyword"}, "age": {"type": "integer"}}},
    "lines": {"type": "nested", "properties": {"sku": {"type": "keyword"}, "n": {"type": "integer"}}},
    "tags": {"type": "keyword"},
    "span": {"type": "long_range"},
}
FULL = {
    "id": 1, "small": "7", "price": 12.30, "ratio": 0.5, "word": "a", "note": "1.50", "flag": "true",
    "at": "2024-02-29T10:20:30.123456+02:00", "day": "2024-02-29", "time": "10:20:30", "shown": "29.02.2024 10:20",
    "raw": "AQI=", "address": "10.0.0.1", "place": "52.5,13.4", "owner.name": "Ada", "owner": {"age": 36},
    "lines": [{"sku": "x", "n": 1}, {"sku": "y"}], "tags": ["p", ["q"]], "span": {"gte": 1}, "unmapped": 5,
}  # fmt: skip
SPARSE = {"id": 2, "at": 1709200830123, "shown": 1709200800, "note": 1.50, "place": [13.4, 52.5], "tags": "r"}


@pytest.fixture(scope="module")
def indices(elasticsearch):
    """An index of two documents, one of 5,000, which are two pages, and an alias for half of these."""
    elasticsearch.call("PUT", "/things", json={"mappings": {"dynamic": False, "properties": MAPPING}})
    elasticsearch.call("PUT", "/things/_doc/one?refresh=true", json=FULL)
    sparse = json.dumps(SPARSE).replace("1.5,", "1.50,")
    elasticsearch.call("PUT", "/things/_doc/two?refresh=true", content=sparse, headers=JSON)
    lines = "".join(f'{{"index":{{"_id":"{n}"}}}}\n{{"n":{n},"even":{str(n % 2 == 0).lower()}}}\n' for n in range(5000))
    elasticsearch.call("POST", "/many/_bulk?refresh=true", content=lines, headers=JSON)
    elasticsearch.call("PUT", "/many/_alias/evens", json={"filter": {"term": {"even": True}}})


def body_of(elasticsearch, name, **changes):
    host = {"hostname": elasticsearch.http.base_url.host, "port": elasticsearch.http.base_url.port}
    config = {
        "hostList": [host], "authenticationType": "MASTER", "username": USER, "password": PASSWORD,
        "sslEnabled": False, "showIdColumn": True, "scrollSize": 4000, "scrollTimeoutMillis": 60000,
    }  # fmt: skip
    return {"entityType": "source", "type": "ELASTIC", "name": name, "config": config | changes}


@pytest.fixture(scope="module")
def search(rest, elasticsearch, indices):
    """The source."""
    name = f"it_{uuid.uuid4().hex[:10]}"
    made = rest.http.post("/catalog", json=body_of(elasticsearch, name))
    assert made.status_code == 200, made.text
    yield name
    rest.http.delete(f"/catalog/{made.json()['id']}").raise_for_status()


def test_a_mapping_and_its_documents(rest, search):
    table = rest.entity(search, "things", "_doc")
    kinds = {field["name"]: field["type"]["name"] for field in table["fields"]}
    assert kinds == {
        "id": "BIGINT", "small": "INTEGER", "price": "DOUBLE", "ratio": "FLOAT", "word": "VARCHAR", "note": "VARCHAR",
        "flag": "BOOLEAN", "at": "TIMESTAMP", "day": "DATE", "time": "TIME", "shown": "TIMESTAMP", "raw": "VARBINARY",
        "address": "VARCHAR", "place": "STRUCT", "owner": "STRUCT", "lines": "LIST", "tags": "LIST",
        "_index": "VARCHAR", "_type": "VARCHAR", "_uid": "VARCHAR", "_id": "VARCHAR",
    }  # fmt: skip
    one, two = rest.rows(f"SELECT * FROM {search}.things._doc ORDER BY id")
    assert one == {
        "id": 1, "small": 7, "price": 12.3, "ratio": 0.5, "word": "a", "note": "1.50", "flag": True,
        "at": "2024-02-29 10:20:30.123", "day": "2024-02-29", "time": "10:20:30.000",
        "shown": "2024-02-29 10:20:00.000", "raw": "AQI=", "address": "10.0.0.1",
        "place": {"lat": 52.5, "lon": 13.4}, "owner": {"name": "Ada", "age": 36},
        "lines": [{"sku": "x", "n": 1}, {"sku": "y", "n": None}], "tags": ["p", "q"],
        "_index": "things", "_type": "_doc", "_uid": "_doc#one", "_id": "one",
    }  # fmt: skip
    shown = {name: value for name, value in two.items() if value is not None and name != "_index"}
    assert shown == {
        "id": 2, "at": "2024-02-29 10:00:30.123", "shown": "2024-02-29 10:00:00.000", "note": "1.50",
        "place": {"lat": 52.5, "lon": 13.4}, "tags": ["r"], "_type": "_doc", "_uid": "_doc#two", "_id": "two",
    }  # fmt: skip


def test_every_page_is_read(rest, search, reach):
    counted = f"SELECT COUNT(*) AS n, COUNT(DISTINCT a.n) AS d, MAX(b.n) AS m FROM {search}.many._doc AS a"
    assert rest.rows(f"{counted} JOIN {search}.many._doc AS b ON a.n = b.n") == [{"n": 5000, "d": 5000, "m": 4999}]
    assert rest.rows(f"SELECT COUNT(*) AS n FROM {search}.evens._doc") == [{"n": 2500}]
    flight = Connection(reach)
    assert flight.table(f"SELECT n FROM {search}.many._doc LIMIT 3").num_rows == 3
    assert sorted(flight.table(f"SELECT n FROM {search}.many._doc")["n"].to_pylist()) == list(range(5000))


def test_a_view_joins_it_with_the_lake_and_a_merge_takes_from_it(rest, search, space, orders):
    rest.run(
        f"CREATE VIEW {space}.joined AS SELECT o.status, COUNT(*) AS n FROM {orders} AS o"
        f" JOIN {search}.many._doc AS m ON m.n = o.id WHERE m.even GROUP BY o.status"
    )
    expected = f"SELECT status, COUNT(*) AS n FROM {orders} WHERE MOD(id, 2) = 0 GROUP BY status ORDER BY status"
    assert rest.rows(f"SELECT * FROM {space}.joined ORDER BY status") == rest.rows(expected)
    rest.run(
        f"MERGE INTO {orders} AS o USING (SELECT n FROM {search}.many._doc WHERE n < 2) AS m ON o.id = m.n"
        " WHEN MATCHED THEN UPDATE SET status = 'found'"
    )
    assert rest.rows(f"SELECT COUNT(*) AS n FROM {orders} WHERE status = 'found'") == [{"n": 2}]


def test_a_new_index_a_new_field_and_a_list_are_seen(rest, search, elasticsearch):
    elasticsearch.call("PUT", "/late/_doc/1?refresh=true", json={"a": 1})
    assert rest.rows(f"SELECT a FROM {search}.late._doc") == [{"a": 1}]
    assert [search, "late"] in [child["path"] for child in rest.entity(search)["children"]]
    elasticsearch.call("PUT", "/late/_doc/2?refresh=true", json={"a": [2, 3], "b": "x"})
    assert "New schema found. Please reattempt the query." in rest.error(f"SELECT a FROM {search}.late._doc")
    assert rest.rows(f"SELECT a FROM {search}.late._doc ORDER BY _id") == [{"a": [1]}, {"a": [2, 3]}]
    assert "'b'" in rest.error(f"SELECT b FROM {search}.late._doc")
    rest.run(f"ALTER TABLE {search}.late._doc REFRESH METADATA")
    assert rest.rows(f"SELECT b FROM {search}.late._doc WHERE b IS NOT NULL") == [{"b": "x"}]
    elasticsearch.call("DELETE", "/late")
    assert "HTTP 404" in rest.error(f"SELECT b FROM {search}.late._doc")


def test_the_password_is_masked_and_kept(rest, search, elasticsearch):
    shown = rest.entity(search)
    assert shown["config"]["password"] == "$DREMIO_EXISTING_VALUE$"
    assert PASSWORD not in str(shown)
    changed = rest.http.put(f"/catalog/{shown['id']}", json=shown | {"config": shown["config"] | {"scrollSize": 127}})
    assert changed.status_code == 200, changed.text
    assert rest.rows(f"SELECT COUNT(*) AS n FROM {search}.many._doc") == [{"n": 5000}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": "wrong"}, "Unauthorized to connect to Elasticsearch cluster. Please make sure that the username"),
        ({"hostList": [{"hostname": "127.0.0.1", "port": 1}]}, "Elasticsearch did not answer at http://127.0.0.1:1"),
        ({"hostList": []}, "config.hostList must be like"),
        ({"scrollSize": 5}, "config.scrollSize is a number from 127 to 65535"),
    ],
)
def test_a_wrong_source_is_none(rest, elasticsearch, changes, message):
    name = f"it_{uuid.uuid4().hex[:8]}"
    answer = rest.http.post("/catalog", json=body_of(elasticsearch, name, **changes))
    assert answer.status_code == 400
    assert message in answer.json()["errorMessage"]
    assert PASSWORD not in answer.text and "wrong" not in answer.text
    assert rest.http.get(f"/catalog/by-path/{name}").status_code == 404
