"""Arrow Flight with pyarrow's client, in the form of Dremio's own examples: SQL text as the command."""

import time

import pyarrow as pa
import pyarrow.flight as flight
import pytest


class Cookies(flight.ClientMiddlewareFactory):
    """Sends back the cookies that the server sets, as Dremio's examples do."""

    def __init__(self):
        self.values = {}

    def start_call(self, info):
        return _Cookie(self.values)


class _Cookie(flight.ClientMiddleware):
    def __init__(self, values):
        self.values = values

    def received_headers(self, headers):
        for text in headers.get("set-cookie", []):
            name, _, value = text.split(";")[0].partition("=")
            self.values[name] = value

    def sending_headers(self):
        text = "; ".join(f"{name}={value}" for name, value in self.values.items())
        return {"cookie": text} if text else {}


class Connection:
    def __init__(self, reach, headers=(), middleware=()):
        self.client = flight.FlightClient(reach["DREMIO_FLIGHT_URL"], middleware=list(middleware))
        token = self.client.authenticate_basic_token(reach["DREMIO_USERNAME"], reach["DREMIO_PASSWORD"])
        self.options = flight.FlightCallOptions(headers=[token, *headers])

    def info(self, sql):
        return self.client.get_flight_info(flight.FlightDescriptor.for_command(sql), self.options)

    def reader(self, sql):
        return self.client.do_get(self.info(sql).endpoints[0].ticket, self.options)

    def table(self, sql):
        return self.reader(sql).read_all()


@pytest.fixture(scope="module")
def connection(reach):
    return Connection(reach)


def test_a_query(connection):
    info = connection.info("SELECT 1 AS one")
    assert (info.total_records, info.total_bytes, len(info.endpoints)) == (-1, -1, 1)
    assert info.schema == pa.schema([("one", pa.int32())])
    assert connection.table("SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_types_are_those_that_dremio_emits(connection):
    sql = (
        "SELECT CAST(1 AS BIGINT) AS b, CAST(1.5 AS DECIMAL(10, 2)) AS d, DATE '2024-01-01' AS day,"
        " TIMESTAMP '2024-01-01 00:00:00' AS ts, 'x' AS s, CAST(1 AS DOUBLE) AS f, TRUE AS t"
    )
    table = connection.table(sql)
    assert table.schema.types == [
        pa.int64(),
        pa.decimal128(10, 2),
        pa.date64(),
        pa.timestamp("ms"),
        pa.utf8(),
        pa.float64(),
        pa.bool_(),
    ]


def test_no_rows_are_still_one_batch(connection):
    reader = connection.reader("SELECT 1 AS one WHERE 1 = 0")
    assert reader.read_chunk().data.num_rows == 0
    with pytest.raises(StopIteration):
        reader.read_chunk()


def test_ddl_runs_once_and_only_when_it_is_fetched(connection, rest, space):
    info = connection.info(f"CREATE VIEW {space}.v AS SELECT 1 AS a")
    assert rest.http.get(f"/catalog/by-path/{space}/v").status_code == 404
    rows = connection.client.do_get(info.endpoints[0].ticket, connection.options).read_all().to_pylist()
    assert rows == [{"ok": True, "summary": f"View '{space}.v' created successfully"}]
    assert rest.entity(space, "v")["type"] == "VIRTUAL_DATASET"


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT nope FROM (VALUES (1)) AS t(a)", "SELECT * FROM no.such"])
def test_errors_of_syntax_and_names_come_when_planning(connection, sql):
    with pytest.raises(pa.ArrowInvalid, match="SQL Query") as caught:
        connection.info(sql)
    assert "Traceback" not in str(caught.value)


def test_what_dremio_does_not_implement_is_unimplemented(connection):
    with pytest.raises(pa.ArrowNotImplementedError):
        list(connection.client.list_flights(options=connection.options))
    with pytest.raises(pa.ArrowNotImplementedError):
        list(connection.client.do_action(flight.Action("BeginTransaction", b""), connection.options))


def test_wrong_credentials_are_refused(reach):
    client = flight.FlightClient(reach["DREMIO_FLIGHT_URL"])
    with pytest.raises(flight.FlightUnauthenticatedError, match="Unable to authenticate user"):
        client.authenticate_basic_token(reach["DREMIO_USERNAME"], "not it")
    with pytest.raises(flight.FlightUnauthenticatedError):
        client.get_flight_info(flight.FlightDescriptor.for_command("SELECT 1"))


def test_a_login_token_of_rest_is_a_bearer_token(reach, rest):
    client = flight.FlightClient(reach["DREMIO_FLIGHT_URL"])
    header = (b"authorization", f"Bearer {rest.login['token']}".encode())
    options = flight.FlightCallOptions(headers=[header])
    info = client.get_flight_info(flight.FlightDescriptor.for_command("SELECT 3 AS n"), options)
    assert client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist() == [{"n": 3}]


def test_a_session_keeps_what_use_sets(reach, orders):
    source, table = orders.split(".")
    cookies = Cookies()
    connection = Connection(reach, middleware=[cookies])
    connection.table(f"USE {source}")
    assert "SESSION_ID" in cookies.values
    assert connection.table(f"SELECT COUNT(*) AS n FROM {table}").to_pylist() == [{"n": 1000}]
    with pytest.raises(pa.ArrowInvalid, match="not found"):
        Connection(reach).info(f"SELECT COUNT(*) AS n FROM {table}")


def test_a_session_that_is_not_known_is_refused(reach):
    cookies = Cookies()
    connection = Connection(reach, middleware=[cookies])
    cookies.values["SESSION_ID"] = "0" * 32
    with pytest.raises(flight.FlightUnauthenticatedError, match="session"):
        connection.info("SELECT 1")


def test_the_schema_property_names_the_path(reach, orders):
    source, table = orders.split(".")
    connection = Connection(reach, headers=[(b"schema", source.encode())])
    assert connection.table(f"SELECT COUNT(*) AS n FROM {table}").to_pylist() == [{"n": 1000}]


def test_a_client_that_goes_away_stops_its_query(connection, rest, orders):
    mark = f"/* gone {time.time_ns()} */"
    sql = f"{mark} SELECT a.id, b.id AS b, c.id AS c FROM {orders} a, {orders} b, {orders} c"
    reader = connection.reader(sql)
    assert reader.read_chunk().data.num_rows > 0
    reader.cancel()
    del reader

    def state():
        listing = rest.http.get(f"{rest.url}/apiv2/jobs-listing/v1.0", params={"filter": f'*=contains="{mark}"'})
        return listing.json()["jobs"][0]["state"]

    rest.wait(lambda: state() == "CANCELED", seconds=10)


def test_a_cancelled_job_is_reported_as_cancelled(connection, rest, orders):
    mark = f"/* stop {time.time_ns()} */"
    sql = f"{mark} SELECT a.id, b.id AS b, c.id AS c FROM {orders} a, {orders} b, {orders} c"
    reader = connection.reader(sql)
    reader.read_chunk()
    listing = rest.http.get(f"{rest.url}/apiv2/jobs-listing/v1.0", params={"filter": f'*=contains="{mark}"'})
    rest.http.post(f"/job/{listing.json()['jobs'][0]['id']}/cancel").raise_for_status()
    with pytest.raises((flight.FlightCancelledError, pa.ArrowCancelled)):
        while True:
            reader.read_chunk()


def test_a_large_result_streams(connection, orders):
    started = time.monotonic()
    rows, first = 0, None
    for chunk in connection.reader(f"SELECT a.id, b.id AS b FROM {orders} a, {orders} b"):
        first = first or time.monotonic() - started
        rows += chunk.data.num_rows
    assert rows == 1_000_000
    assert first < 5


def test_several_clients_at_once(reach, orders):
    from concurrent.futures import ThreadPoolExecutor

    def count(number):
        table = Connection(reach).table(f"SELECT COUNT(*) AS n FROM {orders} WHERE id >= {number}")
        return table.to_pylist()[0]["n"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(count, range(32))) == [1000 - number for number in range(32)]
