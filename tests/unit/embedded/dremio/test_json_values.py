"""Value forms of the results page: what Dremio's REST documentation and OSS DataJsonOutput state."""

import datetime as dt
import decimal

import orjson
import pyarrow as pa
import pytest

from embedded.dremio.protocol.json_values import rows_json, schema_json

CASES = [
    (pa.int32(), 7, b"7", '"7"'),
    (pa.int64(), 2**53 + 1, b"9007199254740993", '"9007199254740993"'),
    (pa.decimal128(12, 2), decimal.Decimal("1.50"), b"1.50", '"1.50"'),
    (pa.decimal128(38, 0), decimal.Decimal(10**30), b"1" + b"0" * 30, '"1' + "0" * 30 + '"'),
    (pa.float64(), 0.1, b"0.1", '"0.1"'),
    (pa.float32(), 1.1, b"1.1", '"1.1"'),
    (pa.float64(), float("nan"), b'"NaN"', '"NaN"'),
    (pa.float64(), float("-inf"), b'"-Infinity"', '"-Infinity"'),
    (pa.bool_(), True, b"true", "true"),
    (pa.utf8(), "é", '"é"'.encode(), '"é"'),
    (pa.binary(), b"\x00\xff", b'"AP8="', '"AP8="'),
    (pa.date64(), dt.date(2024, 2, 29), b'"2024-02-29"', '"2024-02-29"'),
    (pa.time32("ms"), dt.time(1, 2, 3, 4000), b'"01:02:03.004"', '"01:02:03.004"'),
    (
        pa.timestamp("ms"),
        dt.datetime(2024, 1, 2, 3, 4, 5),
        b'"2024-01-02 03:04:05.000"',
        '"2024-01-02 03:04:05.000"',
    ),
    (pa.list_(pa.decimal128(4, 1)), [decimal.Decimal("2.0"), None], b"[2.0,null]", '["2.0",null]'),
    (pa.struct([("a", pa.int32())]), {"a": 1}, b'{"a":1}', '{"a":"1"}'),
]


@pytest.mark.parametrize(("kind", "value", "number", "string"), CASES, ids=lambda case: str(case)[:30])
def test_value_forms(kind, value, number, string):
    table = pa.table({"x": pa.array([value, None], kind)})
    assert orjson.dumps(rows_json(table, False)) == b'[{"x":' + number + b'},{"x":null}]'
    assert orjson.dumps(rows_json(table, True)[0]["x"]) == string.encode()


def test_schema_names_types_with_precision_and_children():
    schema = pa.schema(
        [
            ("d", pa.decimal128(12, 2)),
            ("l", pa.list_(pa.int64())),
            ("s", pa.struct([("a", pa.utf8())])),
            ("b", pa.binary()),
        ]
    )
    assert schema_json(schema) == [
        {"name": "d", "type": {"name": "DECIMAL", "precision": 12, "scale": 2}},
        {"name": "l", "type": {"name": "LIST", "subSchema": [{"type": {"name": "BIGINT"}}]}},
        {"name": "s", "type": {"name": "STRUCT", "subSchema": [{"name": "a", "type": {"name": "VARCHAR"}}]}},
        {"name": "b", "type": {"name": "VARBINARY"}},
    ]
