"""The Arrow Flight SQL JDBC driver, as a BI tool uses it: connect, look around, query, bind, read every type, fail."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

DRIVER = next(Path(__file__).resolve().parents[3].glob(".jdbc/**/flight-sql-jdbc-driver-*.jar"), None)
pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java (Debian: apt-get install default-jre-headless)"),
    pytest.mark.skipif(DRIVER is None, reason="the JDBC driver is not in .jdbc/: bin/test could not fetch it"),
]

EVERY_TYPE = {
    "CAST(7 AS INTEGER)": ("INTEGER", "7"),
    "CAST(9007199254740993 AS BIGINT)": ("BIGINT", "9007199254740993"),
    "CAST(1.5 AS FLOAT)": ("FLOAT", "1.5"),
    "CAST(2.25 AS DOUBLE)": ("DOUBLE", "2.25"),
    "CAST('12345.6789' AS DECIMAL(20, 4))": ("DECIMAL", "12345.6789"),
    "TRUE": ("BOOLEAN", "true"),
    "'é'": ("VARCHAR", "é"),
    "CONVERT_TO('ab', 'UTF8')": ("VARBINARY", "ab"),
    "DATE '2024-02-29'": ("DATE", "2024-02-29"),
    "TIME '12:34:56'": ("TIME", "12:34:56"),
    "TIMESTAMP '2024-02-29 12:34:56.789'": ("TIMESTAMP", "2024-02-29 12:34:56.789"),
    "ARRAY[1, 2]": ("ARRAY", "[1,2]"),
    """CONVERT_FROM('{"a": 1, "b": "x"}', 'JSON')""": ("JAVA_OBJECT", '{"a":1,"b":"x"}'),
    "CAST(NULL AS INTEGER)": ("INTEGER", None),
}


@pytest.fixture(scope="module")
def java() -> Any:
    """The package java, in a virtual machine inside of this process."""
    import jpype

    options = ("--add-opens=java.base/java.nio=ALL-UNNAMED", "-Xmx256m")
    jpype.startJVM(*options, classpath=[str(DRIVER)], convertStrings=True)
    return jpype.JPackage("java")


@pytest.fixture
def connection(java: Any, reach: dict[str, str]) -> Iterator[Any]:
    with closing(connect(java, reach, reach["DREMIO_PASSWORD"])) as opened:
        yield opened


def connect(java: Any, reach: dict[str, str], password: str) -> Any:
    url = f"jdbc:arrow-flight-sql://{urlsplit(reach['DREMIO_FLIGHT_URL']).netloc}/?useEncryption=false"
    return java.sql.DriverManager.getConnection(url, reach["DREMIO_USERNAME"], password)


def rows(opened: Any) -> list[dict[str, Any]]:
    """All rows of a ResultSet, as texts; it is closed."""
    with closing(opened) as result:
        names = [result.getMetaData().getColumnLabel(at + 1) for at in range(result.getMetaData().getColumnCount())]
        found = []
        while result.next():
            found.append({name: result.getString(at) for at, name in enumerate(names, 1)})
        return found


def test_what_there_is_can_be_listed(connection: Any, rest: Any, space: str, orders: str) -> None:
    rest.run(f"CREATE VIEW {space}.v AS SELECT id FROM {orders}")
    source, table = orders.split(".")
    metadata = connection.getMetaData()
    assert metadata.getDatabaseProductName() == "Dremio Server"
    assert rows(metadata.getCatalogs()) == []  # Dremio has none
    assert {source, space, "INFORMATION_SCHEMA", "sys"} <= {row["TABLE_SCHEM"] for row in rows(metadata.getSchemas())}
    assert {row["TABLE_TYPE"] for row in rows(metadata.getTableTypes())} == {"TABLE", "SYSTEM_TABLE", "VIEW"}
    assert [row["TABLE_NAME"] for row in rows(metadata.getTables(None, source, table, ["TABLE"]))] == [table]
    assert rows(metadata.getTables(None, space, "%", ["TABLE"])) == []
    assert [row["TABLE_NAME"] for row in rows(metadata.getTables(None, space, "%", ["VIEW"]))] == ["v"]
    columns = [(row["COLUMN_NAME"], row["TYPE_NAME"]) for row in rows(metadata.getColumns(None, source, table, "%"))]
    assert columns == [("id", "INTEGER"), ("status", "VARCHAR"), ("day", "DATE"), ("amount", "DECIMAL")]


def test_every_type_is_read(connection: Any) -> None:
    names = [f"c{at}" for at in range(len(EVERY_TYPE))]
    items = ", ".join(f"{expression} AS {name}" for expression, name in zip(EVERY_TYPE, names, strict=True))
    with closing(connection.createStatement()) as statement:
        result = statement.executeQuery(f"SELECT {items}")
        types = [result.getMetaData().getColumnTypeName(at + 1) for at in range(len(names))]
        [values] = [row.values() for row in rows(result)]
    assert list(zip(types, values, strict=True)) == list(EVERY_TYPE.values())


def test_a_prepared_statement_runs_with_bound_parameters(java: Any, connection: Any, orders: str) -> None:
    query = (
        f'SELECT id FROM {orders} WHERE status = ? AND "day" >= ? AND amount + ? > 17.5 AND id IN (?, 999) ORDER BY id'
    )
    with closing(connection.prepareStatement(query)) as statement:
        assert statement.getParameterMetaData().getParameterCount() == 4
        for status, added, expected in (
            ("open", "2.00", ["996", "999"]),
            ("open", "0.00", ["999"]),
            ("o'pen", "0.00", []),
        ):
            statement.setString(1, status)
            statement.setDate(2, java.sql.Date.valueOf("2024-01-01"))
            statement.setBigDecimal(3, java.math.BigDecimal(added))
            statement.setInt(4, 996)
            assert [row["id"] for row in rows(statement.executeQuery())] == expected
    with closing(connection.prepareStatement(f"DELETE FROM {orders} WHERE id = ?")) as statement:
        statement.setInt(1, 7)
        assert statement.executeUpdate() == 1
    with closing(connection.prepareStatement(f"INSERT INTO {orders} (status, id) VALUES (?, ?)")) as statement:
        statement.setString(1, "open")
        statement.setInt(2, 7)
        assert statement.executeUpdate() == 1


def test_errors_have_dremios_text(java: Any, connection: Any, reach: dict[str, str]) -> None:
    error = java.sql.SQLException
    with closing(connection.createStatement()) as statement, pytest.raises(error, match="Column 'nope' not found"):
        statement.executeQuery("SELECT nope FROM (VALUES (1)) AS t(a)")
    with pytest.raises(error) as raised:
        connection.prepareStatement("SELECT ?")
    assert "Illegal use of dynamic parameter" in str(raised.value.getCause().getMessage())
    with pytest.raises(error, match="Unable to authenticate user"):
        connect(java, reach, "wrong")
