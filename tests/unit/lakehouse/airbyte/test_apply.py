import itertools
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lakehouse.airbyte.apply import apply, plan
from lakehouse.airbyte.declared import load_connections, load_declarations
from lakehouse.airbyte.exceptions import AirbyteError, AirbyteHttpError
from lakehouse.ops.declarations import DeclarationError

CONNECTIONS = {
    "shop_db": SimpleNamespace(host="db", port=5432, schema="shop", login="u", password="pw-shop", extra_dejson={}),
    "minio_default": SimpleNamespace(
        host=None, port=None, schema=None, login="key", password="pw-store", extra_dejson={"endpoint_url": "http://s3"}
    ),
    "store_api": SimpleNamespace(
        host="http://api", port=None, schema=None, login=None, password="pw-api", extra_dejson={}
    ),
}
SECRETS = {"password", "secret_access_key", "aws_secret_access_key", "api_key", "access_key_id", "aws_access_key_id"}


class Airbyte:
    """Keeps what is sent, and answers it with secrets masked and defaults added, as Airbyte does."""

    def __init__(self, *, embedded=True):
        self.kept, self.ids, self.writes, self.embedded = {}, itertools.count(1), [], embedded
        self.lakehouse = {}

    def all(self, path, params=None):
        return [self._shown(path, entry) for entry in self.kept.get(path, [])]

    def _shown(self, path, entry):
        entry = deepcopy(entry)
        for key in SECRETS & set(entry.get("configuration", {})):
            entry["configuration"][key] = "**********"
        if "configuration" in entry:
            entry["configuration"]["a_default"] = 1
        if "schedule" in entry:
            entry["schedule"]["basicTiming"] = None
        return entry

    def call(self, method, path, *, json=None, params=None):
        if path.endswith("/lakehouse"):
            if not self.embedded:
                raise AirbyteHttpError(method, path, 404, "resource-not-found", "")
            if method == "PUT":
                self.writes.append((method, path))
                self.lakehouse[path] = json
            return self.lakehouse.get(path)
        self.writes.append((method, path))
        if method == "POST":
            number = str(next(self.ids))
            kind = path.rsplit("/", 1)[-1].removesuffix("s")
            entry = {**json, f"{kind}Id": number, "id": number}
            self.kept.setdefault(path, []).append(entry)
            return entry
        collection, number = path.rsplit("/", 1)
        entry = next(entry for entry in self.kept[collection] if entry["id"] == number)
        entry |= json
        return entry


@pytest.fixture
def declared():
    return load_declarations()


def test_everything_is_made_and_then_nothing_changes(declared):
    airbyte = Airbyte()
    changes = apply(airbyte, declared, CONNECTIONS.__getitem__)
    for expected in (
        "workspace lakehouse: created",
        "destination datalake: created",
        "connector store_api: created",
        "source postgres: created",
        "connection postgres: created",
        "connection store_files: settings changed",
    ):
        assert expected in changes
    assert apply(airbyte, declared, CONNECTIONS.__getitem__) == []
    assert {len(entries) for path, entries in airbyte.kept.items() if path == "/connections"} == {3}


def test_secrets_come_from_airflow_connections_and_are_in_no_change(declared):
    airbyte = Airbyte()
    changes = apply(airbyte, declared, CONNECTIONS.__getitem__)
    (postgres,) = [entry for entry in airbyte.kept["/sources"] if entry["name"] == "postgres"]
    assert postgres["configuration"]["password"] == "pw-shop"
    assert postgres["configuration"]["sourceType"] == "postgres"
    (files,) = [entry for entry in airbyte.kept["/sources"] if entry["name"] == "store_files"]
    assert files["configuration"]["endpoint"] == "http://s3"
    assert "region_name" not in files["configuration"]  # empty in the Airflow connection
    assert "pw-" not in " ".join(changes)


def test_a_secret_that_changed_is_sent_although_it_cannot_be_seen(declared):
    airbyte = Airbyte()
    apply(airbyte, declared, CONNECTIONS.__getitem__)
    changed = CONNECTIONS | {"shop_db": SimpleNamespace(**(vars(CONNECTIONS["shop_db"]) | {"password": "pw-new"}))}
    assert apply(airbyte, declared, changed.__getitem__) == []
    (postgres,) = [entry for entry in airbyte.kept["/sources"] if entry["name"] == "postgres"]
    assert postgres["configuration"]["password"] == "pw-new"


def test_what_differs_is_changed_and_named(declared):
    airbyte = Airbyte()
    apply(airbyte, declared, CONNECTIONS.__getitem__)
    for entry in airbyte.kept["/sources"]:
        if entry["name"] == "postgres":
            entry["configuration"]["host"] = "elsewhere"
    for entry in airbyte.kept["/connections"]:
        if entry["name"] == "postgres":
            entry["status"] = "inactive"
            entry["configurations"]["streams"].pop()
    assert apply(airbyte, declared, CONNECTIONS.__getitem__) == [
        "source postgres: host changed",
        "connection postgres: status, configurations changed",
    ]
    assert apply(airbyte, declared, CONNECTIONS.__getitem__) == []


def test_another_airbyte_does_without_our_settings(declared):
    airbyte = Airbyte(embedded=False)
    changes = apply(airbyte, declared, CONNECTIONS.__getitem__)
    assert "connection postgres: created" in changes and not [item for item in changes if "settings" in item]


def test_a_connection_between_others_is_left_to_a_person(declared):
    airbyte = Airbyte()
    apply(airbyte, declared, CONNECTIONS.__getitem__)
    airbyte.kept["/connections"][0]["sourceId"] = "other"
    with pytest.raises(AirbyteError, match="delete the connection in Airbyte"):
        apply(airbyte, declared, CONNECTIONS.__getitem__)


@pytest.mark.parametrize("embedded", [True, False])
def test_a_plan_names_what_apply_would_change_and_writes_nothing(declared, embedded):
    airbyte = Airbyte(embedded=embedded)
    planned = plan(airbyte, declared, CONNECTIONS.__getitem__)
    assert airbyte.writes == [] and airbyte.kept == {}
    settings = [line for line in apply(airbyte, declared, CONNECTIONS.__getitem__) if "settings" in line]
    changed = apply(Airbyte(embedded=embedded), declared, CONNECTIONS.__getitem__)
    # settings of a connection that is not there yet come with it
    assert planned == [line for line in changed if line not in settings]
    assert plan(airbyte, declared, CONNECTIONS.__getitem__) == []


def test_a_plan_of_a_drift_says_what_apply_then_says(declared):
    airbyte = Airbyte()
    apply(airbyte, declared, CONNECTIONS.__getitem__)
    airbyte.kept["/connections"][0]["status"] = "inactive"
    airbyte.writes.clear()
    planned = plan(airbyte, declared, CONNECTIONS.__getitem__)
    assert len(planned) == 1 and "status changed" in planned[0] and airbyte.writes == []
    assert apply(airbyte, declared, CONNECTIONS.__getitem__) == planned


def test_the_streams_as_the_publisher_takes_them():
    streams = {item.name: item.published_streams() for item in load_connections()}
    assert {"name": "orders", "batch_date": "updated_at"} in streams["postgres"]
    invoices, rejected = streams["store_files"]
    assert invoices == {
        "name": "invoices",
        "batch_date": "file_name",
        "required_columns": [
            *("InvoiceNo", "StockCode", "Description", "Quantity"),
            *("InvoiceDate", "UnitPrice", "CustomerID", "Country"),
        ],
    }
    assert rejected["name"] == "invoices_rejected" and rejected["columns"]["line_number"] == "integer"


def test_dropped_columns_go_to_the_publisher_and_not_to_airbyte(declared):
    (first, *rest) = declared.connections[0].streams
    dropping = first.model_copy(update={"dropped_columns": ["coupon"]})
    connection = declared.connections[0].model_copy(update={"streams": [dropping, *rest]})
    published = connection.published_streams()
    assert published[0] == {"name": first.name, "batch_date": first.batch_date, "dropped_columns": ["coupon"]}
    assert not [stream for stream in published[1:] if "dropped_columns" in stream]
    airbyte = Airbyte()
    apply(airbyte, replace(declared, connections=[connection]), CONNECTIONS.__getitem__)
    assert "coupon" not in str(airbyte.kept)


def test_a_stream_that_airbyte_overwrites_is_published_as_such(declared):
    (first, *_) = declared.connections[0].streams
    overwritten = first.model_copy(update={"sync_mode": "full_refresh_overwrite_deduped"})
    connection = declared.connections[0].model_copy(update={"streams": [overwritten]})
    assert connection.published_streams() == [{"name": first.name, "batch_date": first.batch_date, "overwrites": True}]


AIRBYTE = "workspace: w\ndestinations: [{name: lake, type: s3}, {name: warehouse, type: postgres}]\n"
SOURCE = "name: shop\nsource: {type: postgres}\nnamespace_format: source=shop\n"
STREAM = "{name: s, sync_mode: %s, batch_date: d%s}"


def test_what_is_delivered_elsewhere_is_not_published(tmp_path):
    (tmp_path / "airbyte.yaml").write_text(AIRBYTE)
    (tmp_path / "connections").mkdir()
    stream = "streams: [{name: s, sync_mode: full_refresh_append}]\n"
    (tmp_path / "connections" / "shop.yaml").write_text(SOURCE + "destination: warehouse\n" + stream)
    (connection,) = load_declarations(tmp_path).connections
    assert connection.published_streams() == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SOURCE + "destination: gone\nstreams: []\n", "shop.yaml:4: destination: 'gone' is no destination"),
        (
            SOURCE + "destination: lake\nstreams: [{name: s, sync_mode: full_refresh_append}]\n",
            ":5: streams: batch_date is missing, which the lake needs: s",
        ),
        (
            SOURCE + f"destination: warehouse\nstreams:\n  - {STREAM % ('full_refresh_append', '')}\n",
            ":4: destination: 'warehouse' is of type postgres and not the lake: leave out batch_date",
        ),
        (SOURCE.replace("shop\n", "other\n", 1) + "destination: lake\nstreams: []\n", ":1: name: the file of"),
        (
            SOURCE + f"destination: lake\nstreams:\n  - {STREAM % ('incremental_append', '')}\n",
            ":6: streams.0: stream s: incremental_append needs a cursor_field",
        ),
        (
            SOURCE
            + f"destination: lake\nstreams:\n  - {STREAM % ('incremental_deduped_history', ', cursor_field: c')}\n",
            "needs a primary_key",
        ),
        (SOURCE + f"destination: lake\nstreams:\n  - {STREAM % ('sometimes', '')}\n", ":6: streams.0.sync_mode: "),
        (
            SOURCE.replace("{type: postgres}", "{type: postgres, from_connection: {host: hots}, connection: c}")
            + "destination: lake\nstreams: []\n",
            ":2: source: host: 'hots' is none of",
        ),
        (SOURCE.replace("postgres", "declarative") + "destination: lake\nstreams: []\n", "has a manifest"),
        (
            SOURCE.replace("postgres", "declarative, manifest: connectors/gone.yaml")
            + "destination: lake\nstreams: []\n",
            ":2: source: manifest: connectors/gone.yaml is not there",
        ),
        ("- 1\n", "shop.yaml:1: (whole file): expected keys and values"),
        (
            SOURCE.replace("postgres", "s3, configuration: {streams: [{name: f, input_schema: '{a: string}'}]}")
            + "destination: lake\nstreams: []\n",
            ":2: source: stream f: input_schema is no JSON: Expecting property name",
        ),
    ],
)
def test_wrong_declarations_are_told_by_line_and_key(tmp_path, text, problem):
    (tmp_path / "airbyte.yaml").write_text(AIRBYTE)
    (tmp_path / "connections").mkdir()
    (tmp_path / "connections" / "shop.yaml").write_text(text)
    with pytest.raises(DeclarationError) as error:
        load_declarations(tmp_path)
    assert problem in str(error.value)
