"""Sources other than S3: PostgreSQL and a directory, and a view that joins two of them."""

import uuid
from urllib.parse import unquote, urlsplit

import psycopg
import pytest


@pytest.fixture
def shop(rest, reach):
    """A PostgreSQL source over the demo shop's database, with a schema of the test's own."""
    url = urlsplit(reach["SHOP_DB_URL"])
    name = f"it_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(reach["SHOP_DB_URL"], autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        connection.execute(
            f"CREATE TABLE {name}.people (id bigint, name text, balance numeric(12,2), seen timestamptz)"
        )
        connection.execute(
            f"INSERT INTO {name}.people VALUES (1, 'Ada', 1.50, '2024-01-01 12:00:00+02'), (2, NULL, NULL, NULL)"
        )
        body = {
            "entityType": "source",
            "type": "POSTGRES",
            "name": name,
            "config": {
                "hostname": url.hostname,
                "port": str(url.port),
                "databaseName": url.path.lstrip("/"),
                "username": unquote(url.username or ""),
                "password": unquote(url.password or ""),
                "authenticationType": "MASTER",
                "fetchSize": 200,
                "useSsl": False,
            },
        }
        made = rest.http.post("/catalog", json=body)
        assert made.status_code == 200, made.text
        yield name
        rest.http.delete(f"/catalog/{made.json()['id']}").raise_for_status()
        connection.execute(f"DROP SCHEMA {name} CASCADE")


def test_a_table_of_postgresql_is_read(rest, shop):
    assert rest.rows(f"SELECT * FROM {shop}.{shop}.people ORDER BY id") == [
        {"id": 1, "name": "Ada", "balance": 1.5, "seen": "2024-01-01 10:00:00.000"},
        {"id": 2, "name": None, "balance": None, "seen": None},
    ]
    table = rest.entity(shop, shop, "people")
    kinds = {field["name"]: field["type"]["name"] for field in table["fields"]}
    assert kinds == {"id": "BIGINT", "name": "VARCHAR", "balance": "DECIMAL", "seen": "TIMESTAMP"}


def test_the_password_is_masked(rest, reach, shop):
    shown = rest.entity(shop)
    if urlsplit(reach["SHOP_DB_URL"]).password:
        assert shown["config"]["password"] == "$DREMIO_EXISTING_VALUE$"
    assert shown["config"]["authenticationType"] == "MASTER"


def test_a_table_of_postgresql_cannot_be_deleted(rest, shop):
    table = rest.entity(shop, shop, "people")
    answer = rest.http.delete(f"/catalog/{table['id']}")
    assert (answer.status_code, answer.json()["errorMessage"]) == (400, "A physical dataset can not be deleted.")


def test_a_view_joins_two_sources(rest, shop, space, orders):
    rest.run(
        f"CREATE VIEW {space}.joined AS SELECT p.name, COUNT(o.id) AS n FROM {shop}.{shop}.people AS p"
        f" JOIN {orders} AS o ON MOD(o.id, 500) = p.id GROUP BY p.name"
    )
    assert rest.rows(f"SELECT * FROM {space}.joined ORDER BY name") == [
        {"name": "Ada", "n": 2},
        {"name": None, "n": 2},
    ]


def test_a_database_that_does_not_answer_is_no_source(rest):
    body = {
        "entityType": "source",
        "type": "POSTGRES",
        "name": f"it_{uuid.uuid4().hex[:8]}",
        "config": {"hostname": "127.0.0.1", "port": "1", "databaseName": "nothing", "username": "x", "password": "y"},
    }
    answer = rest.http.post("/catalog", json=body)
    assert answer.status_code == 400
    assert rest.http.get(f"/catalog/by-path/{body['name']}").status_code == 404


def test_a_directory_is_a_source(rest, tmp_path):
    (tmp_path / "people.csv").write_text("id,name\n1,Ada\n2,Bob\n")
    name = f"it_{uuid.uuid4().hex[:10]}"
    body = {"entityType": "source", "type": "NAS", "name": name, "config": {"path": str(tmp_path)}}
    made = rest.http.post("/catalog", json=body)
    assert made.status_code == 200, made.text
    assert [child["path"] for child in rest.entity(name)["children"]] == [[name, "people.csv"]]
    promoted = rest.http.post(
        f"/catalog/dremio%3A%2F{name}%2Fpeople.csv",
        json={
            "entityType": "dataset",
            "type": "PHYSICAL_DATASET",
            "path": [name, "people.csv"],
            "format": {"type": "Text", "fieldDelimiter": ",", "extractHeader": True, "lineDelimiter": "\n"},
        },
    )
    assert promoted.status_code == 200, promoted.text
    rows = rest.rows(f'SELECT id, name FROM {name}."people.csv" ORDER BY id')
    assert rows == [{"id": "1", "name": "Ada"}, {"id": "2", "name": "Bob"}]
    rest.http.delete(f"/catalog/{made.json()['id']}").raise_for_status()
