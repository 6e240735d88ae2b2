"""The protobuf reader against messages written by hand, field by field, as FlightSql.proto lays them out."""

import pytest

from embedded.dremio.protocol import flight_messages as messages


def test_a_statement_query_is_read_from_an_any():
    packed = messages.pack_any("CommandStatementQuery", messages.bytes_field(1, b"SELECT 1"))
    command = messages.unpack_any(packed)
    assert command is not None
    assert (command.name, command.text(1), command.raw(2)) == ("CommandStatementQuery", "SELECT 1", None)


def test_get_tables_has_optional_and_repeated_fields():
    body = messages.bytes_field(2, b"gold%") + messages.bytes_field(4, b"TABLE")
    body += messages.bytes_field(4, b"VIEW") + messages.int_field(5, 1)
    command = messages.unpack_any(messages.pack_any("CommandGetTables", body))
    assert command is not None
    assert command.text(1) is None
    assert command.text(2) == "gold%"
    assert command.texts(4) == ["TABLE", "VIEW"]
    assert command.flag(5)


@pytest.mark.parametrize(
    "body",
    [messages.bytes_field(1, b"\x00\xf8\x03"), messages.int_field(1, 0) + messages.int_field(1, 504)],
    ids=["packed", "one by one"],
)
def test_repeated_numbers(body):
    assert messages.Message("CommandGetSqlInfo", messages.fields(body)).numbers(1) == [0, 504]


@pytest.mark.parametrize(
    "text",
    ["SELECT 1", "", "select * from a", "\n\nSELECT 'x'", "type.googleapis.com/arrow.flight.protocol.sql.X"],
)
def test_sql_text_is_no_message(text):
    assert messages.unpack_any(text.encode()) is None


def test_a_message_that_is_cut_off_is_no_message():
    packed = messages.pack_any("CommandStatementQuery", messages.bytes_field(1, b"SELECT 1"))
    assert messages.unpack_any(packed[:-1]) is None


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31, 2**63 - 1])
def test_numbers_survive_the_wire(number):
    assert messages.fields(messages.int_field(7, number)) == {7: [number]}


def test_a_negative_number_is_twos_complement():
    assert messages.fields(messages.int_field(1, -1)) == {1: [2**64 - 1]}
