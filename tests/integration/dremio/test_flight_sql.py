"""Flight SQL with the ADBC driver: queries, prepared statements, updates, metadata."""

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as adbc
import pyarrow as pa
import pytest


@pytest.fixture
def connection(reach):
    credentials = {"username": reach["DREMIO_USERNAME"], "password": reach["DREMIO_PASSWORD"]}
    with adbc.connect(reach["DREMIO_FLIGHT_URL"], db_kwargs=credentials, autocommit=True) as opened:
        yield opened


def fetch(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetch_arrow_table()


def test_a_query(connection):
    assert fetch(connection, "SELECT 1 AS one, 'x' AS x").to_pylist() == [{"one": 1, "x": "x"}]


def test_a_statement_is_prepared_once_and_run_again(connection, orders):
    with connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute(f"SELECT COUNT(*) AS n FROM {orders}")
            assert cursor.fetchall() == [(1000,)]


def test_a_prepared_statement_sees_what_changed_meanwhile(connection, rest, orders):
    with connection.cursor() as cursor:
        cursor.adbc_prepare(f"SELECT COUNT(*) AS n FROM {orders}")
        rest.run(f"DELETE FROM {orders} WHERE id < 100")
        cursor.execute(f"SELECT COUNT(*) AS n FROM {orders}")
        assert cursor.fetchall() == [(900,)]


def test_an_update_answers_the_number_of_rows(connection, orders):
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_sql_query(f"DELETE FROM {orders} WHERE id < 10")
        assert cursor.adbc_statement.execute_update() == 10
    assert fetch(connection, f"SELECT COUNT(*) AS n FROM {orders}").to_pylist() == [{"n": 990}]


def test_an_error_has_its_code(connection):
    with pytest.raises(adbc.ProgrammingError, match="INVALID_ARGUMENT"):
        fetch(connection, "SELECT nope FROM (VALUES (1)) AS t(a)")


def test_a_personal_token_is_enough(reach, rest):
    path = f"/user/{rest.login['userId']}/token"
    token = rest.http.post(path, json={"label": "adbc", "millisecondsToExpire": 60_000}).text
    option = adbc_driver_flightsql.DatabaseOptions.AUTHORIZATION_HEADER.value
    with adbc.connect(reach["DREMIO_FLIGHT_URL"], db_kwargs={option: f"Bearer {token}"}, autocommit=True) as opened:
        assert fetch(opened, "SELECT 5 AS n").to_pylist() == [{"n": 5}]
    rest.http.delete(path).raise_for_status()


def test_the_server_describes_itself(connection):
    assert connection.adbc_get_info()["vendor_name"] == "Dremio Server"
    assert set(connection.adbc_get_table_types()) == {"TABLE", "SYSTEM_TABLE", "VIEW"}


def test_schemas_and_tables_are_listed(connection, orders):
    source, table = orders.split(".")
    objects = connection.adbc_get_objects(depth="tables", db_schema_filter=source).read_all().to_pylist()
    schemas = {
        schema["db_schema_name"]: {one["table_name"]: one["table_type"] for one in schema["db_schema_tables"]}
        for catalog in objects
        for schema in catalog["catalog_db_schemas"]
    }
    assert schemas[source][table] == "TABLE"


def test_columns_are_listed(connection, orders):
    source, table = orders.split(".")
    objects = connection.adbc_get_objects(depth="all", db_schema_filter=source, table_name_filter=table)
    found = objects.read_all().to_pylist()[0]["catalog_db_schemas"][0]["db_schema_tables"][0]
    assert [column["column_name"] for column in found["table_columns"]] == ["id", "status", "day", "amount"]


def test_a_table_has_its_schema(connection, orders):
    source, table = orders.split(".")
    schema = connection.adbc_get_table_schema(table, db_schema_filter=source)
    assert schema.field("amount").type == pa.decimal128(12, 2)
    assert schema.names == ["id", "status", "day", "amount"]


def test_bulk_ingest_is_refused(connection):
    with connection.cursor() as cursor, pytest.raises(adbc.NotSupportedError):
        cursor.adbc_ingest("t", pa.table({"a": [1]}), mode="create")
