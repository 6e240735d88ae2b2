"""MongoDB source: types that widen, JSON as Airbyte writes it, and errors without the password."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from pymongo.errors import OperationFailure

from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources.mongodb import Cluster, MongoDbSource
from embedded.airbyte.sources.mongodb_types import DocumentColumns, arrow, as_json, as_text, kind_of_values

DAY = datetime.datetime(2026, 1, 2)
KEY = ObjectId("65a000000000000000000001")
ADDRESS = {"connection_string": "mongodb://db/", "databases": ["shop"], "username": "reader", "password": "hidden"}


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, Int64(2**62), None], "integer", [1, 2**62, None]),
        ([1, 2.5, Decimal128("3.25")], "number", [1.0, 2.5, 3.25]),
        ([2**53 + 1, 0.5], "text", ["9007199254740993", "0.5"]),  # a double would be another number
        ([float("inf"), 1], "number", [float("inf"), 1.0]),
        ([True, None], "boolean", [True, None]),
        ([True, 1], "text", ["true", "1"]),
        ([DAY, None], "date", [DAY.replace(tzinfo=datetime.UTC), None]),
        ([DAY, "soon"], "text", ["2026-01-02T00:00:00.000Z", "soon"]),
        ([{"a": 1}, None], "object", ['{"a":1}', None]),
        ([{"a": 1}, [2]], "array", ['[{"a":1}]', "[2]"]),
        ([KEY, "x", float("nan")], "text", [str(KEY), "x", "nan"]),
        ([1, MaxKey()], "integer", [1, None]),
    ],
    ids=str,
)
def test_a_column_has_the_narrowest_type_that_holds_its_values(values: Any, kind: str, expected: list[Any]) -> None:
    found = kind_of_values(values)
    assert found.name == kind
    assert arrow(found, values).to_pylist() == expected


def test_json_is_as_airbyte_writes_it() -> None:
    value = {
        "id": KEY, "at": DAY, "stamp": Timestamp(1767312000, 7), "price": Decimal128("1.50"), "raw": b"\x00\xff",
        "uuid": Binary(b"0" * 16, 4), "like": Regex("^a", "ix"), "plain": Regex("b"), "code": Code("f()"),
        "ref": DBRef("orders", KEY), "deep": [{"at": DAY}, None, Int64(5)], "nan": float("nan"), "max": MaxKey(),
    }  # fmt: skip
    assert as_json(value) == (
        '{"id":"65a000000000000000000001","at":"2026-01-02T00:00:00.000Z","stamp":"2026-01-02T00:00:00.000Z",'
        '"price":1.5,"raw":"AP8=","uuid":"MDAwMDAwMDAwMDAwMDAwMA==","like":"(ix)^a","plain":"b","code":"f()",'
        '"ref":{"$ref":"orders","$id":"65a000000000000000000001"},'
        '"deep":[{"at":"2026-01-02T00:00:00.000Z"},null,5],"nan":null,"max":null}'
    )
    assert as_text(Decimal128("NaN")) == "NaN"


def test_columns_widen_follow_and_remember() -> None:
    schema = {"type": "number", "airbyte_type": "integer"}
    before = {"count": "double", "old": "bool"}
    columns = DocumentColumns({"count": schema}, before, follow=True, leave_out=["secret"])
    table = columns.table([{"count": 1, "secret": 1, "empty": None}, {"new": "x"}])
    assert {field.name: str(field.type) for field in table.schema} == {
        "count": "double",
        "old": "bool",
        "new": "string",
    }
    assert columns.table([{"count": "many", "empty": 1}]).to_pylist() == [
        {"count": "many", "old": None, "empty": 1, "new": None}
    ]
    assert columns.types == {"count": "string", "old": "bool", "empty": "int64", "new": "string"}
    fixed = DocumentColumns({"count": schema}, {}, follow=False)
    assert fixed.table([{"count": 1, "new": 2}]).column_names == ["count"]
    assert fixed.unlisted == {"new"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"connection_string": "db:27017"}, "must begin with mongodb://"),
        ({"connection_string": "mongodb://reader:hidden@db/"}, r"mongodb://\*\*\*@db/.*put them into username"),
        ({"databases": []}, "databases names no database"),
        ({"cluster_type": "SHARDED"}, "cluster_type SHARDED is not one of ATLAS_REPLICA_SET"),
    ],
)
def test_what_cannot_be_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SyncFailure, match=said) as caught:
        MongoDbSource({"database_config": ADDRESS | change}, {})
    assert caught.value.kind == "config_error"
    assert "hidden" not in caught.value.message


def test_an_older_configuration_and_atlas_placeholders_are_taken() -> None:
    older = {"connection_string": '"mongodb+srv://<user>:<db_password>@c0.example.net/"', "database": "shop"}
    assert Cluster({"database_config": older}).where == "MongoDB mongodb+srv://c0.example.net/, databases shop"
    with pytest.raises(SyncFailure, match="update_capture_mode Preimage is not one of Lookup, Post Image"):
        MongoDbSource({"database_config": ADDRESS, "update_capture_mode": "Preimage"}, {})


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (18, "config_error", "check username, password and auth_source"),
        (13, "config_error", "grant the user the role read"),
        (40573, "config_error", "the server is no replica set"),
        (10334, "config_error", "larger than a document may be"),
        (9999, "system_error", "it failed for hidden"),
    ],
)
def test_errors_say_what_to_do(code: int, kind: str, said: str) -> None:
    failure = Cluster({"database_config": ADDRESS}).explain(OperationFailure("it failed for hidden", code))
    assert failure.kind == kind
    assert said.replace("hidden", "***") in failure.message
    assert "user reader" in failure.message
    assert "hidden" not in failure.message + failure.detail
