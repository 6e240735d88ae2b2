"""`lakehouse new-connection` without a terminal, against a small Airbyte that has the public API alone."""

import argparse
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from lakehouse.airbyte import new_connection
from lakehouse.airbyte.client import AirbyteClient, AirbyteSettings
from lakehouse.airbyte.declared import Connection, load_connection
from lakehouse.airbyte.discovered import Offered, as_yaml
from lakehouse.airbyte.hook import AirbyteHook
from lakehouse.ops.declarations import load

REPOSITORY = Path(__file__).resolve().parents[4]
INCREMENTAL = ["full_refresh_overwrite", "full_refresh_append", "incremental_append", "incremental_deduped_history"]
STREAMS = [
    {
        "streamName": "orders",
        "syncModes": INCREMENTAL,
        "defaultCursorField": [],
        "sourceDefinedPrimaryKey": [["order_id"]],
        "propertyFields": [["order_id"], ["created_at"], ["updated_at"], ["customer", "id"]],
    },
    {"streamName": "countries", "syncModes": INCREMENTAL[:2], "propertyFields": [["code"]]},
]
CONN = SimpleNamespace(
    host="https://db", port=5432, schema="shop", login="u", password="pw-source", extra_dejson={"api_key": "k"}
)


class Api:
    """Workspaces, sources and streams of Airbyte's public API."""

    def __init__(self):
        self.sources, self.streams = {}, httpx.Response(200, json=STREAMS)

    def __call__(self, request):
        method, path = request.method, request.url.path
        body = json.loads(request.content) if request.content else {}
        if path == "/workspaces":
            return httpx.Response(200, json={"data": [{"name": "lakehouse", "workspaceId": "w"}]})
        if path == "/workspaces/w/definitions/declarative_sources":
            return httpx.Response(200, json={"data": []} if method == "GET" else {"id": "definition"})
        if path == "/streams":
            return self.streams
        if (method, path) == ("GET", "/sources"):
            return httpx.Response(200, json={"data": list(self.sources.values())})
        if method == "DELETE":
            del self.sources[path.rpartition("/")[2]]
            return httpx.Response(204)
        assert (method, path) == ("POST", "/sources"), "only the public API is used"
        self.sources["s1"] = body | {"sourceId": "s1"}
        return httpx.Response(200, json=self.sources["s1"])


@pytest.fixture
def api(monkeypatch):
    api = Api()
    settings = AirbyteSettings("http://a", "http://a/t", None, None, None, "http://a", 5)
    client = AirbyteClient(settings, httpx.MockTransport(api))
    monkeypatch.setattr(AirbyteHook, "get_conn", lambda self: client)
    monkeypatch.setattr(AirbyteHook, "get_connection", lambda conn_id: CONN)
    return api


@pytest.fixture
def folder(monkeypatch, tmp_path):
    shutil.copytree(REPOSITORY / "include" / "pipelines", tmp_path / "pipelines")
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    return tmp_path / "pipelines" / "connections"


def run(*arguments):
    parser = argparse.ArgumentParser()
    new_connection.add_arguments(parser)
    return new_connection.main(parser.parse_args(arguments))


POSTGRES = ("--name", "crm", "--type", "postgres", "--connection", "crm_db")


def test_a_destination_that_is_not_the_lake_has_no_days(api, folder):
    airbyte = folder.parent / "airbyte.yaml"
    airbyte.write_text(airbyte.read_text() + "  - {name: warehouse, type: postgres}\n")
    assert run(*POSTGRES, "--destination", "warehouse") == 0
    assert {stream.batch_date for stream in load_connection(folder / "crm.yaml").streams} == {None}


def test_without_more_every_stream_is_taken_as_proposed(api, folder):
    assert run(*POSTGRES, "--schedule", "0 */2  * * *") == 0
    written = load(folder / "crm.yaml", Connection)
    assert written.schedule == "0 */2 * * *" and written.destination == "datalake"
    countries, orders = written.streams
    assert (orders.sync_mode, orders.cursor_field, orders.primary_key, orders.batch_date) == (
        "incremental_deduped_history", "updated_at", ["order_id"], "updated_at",
    )  # fmt: skip
    assert (countries.sync_mode, countries.batch_date) == ("full_refresh_overwrite", "snapshot")
    assert "pw-source" not in (folder / "crm.yaml").read_text()
    # what the source is made with is what platform_setup finds declared
    assert api.sources["s1"]["configuration"]["password"] == "pw-source"
    assert written.source.from_connection["password"] == "password"


def test_an_airflow_connection_that_is_not_there_is_told(api, folder, monkeypatch, capsys):
    def absent(conn_id):
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")

    monkeypatch.setattr(AirbyteHook, "get_connection", absent)
    assert run(*POSTGRES) == 1
    assert "error: The conn_id `crm_db` isn't defined: create it in Airflow" in capsys.readouterr().err


def test_streams_and_modes_are_chosen_by_options(api, folder):
    assert run(*POSTGRES, "--stream", "orders:incremental_append:created_at") == 0
    (stream,) = load(folder / "crm.yaml", Connection).streams
    assert (stream.sync_mode, stream.cursor_field, stream.batch_date) == (
        "incremental_append", "created_at", "created_at",
    )  # fmt: skip


def test_mongodb_needs_its_databases_too(api, folder, capsys):
    mongo = ("--name", "crm", "--type", "mongodb-v2", "--connection", "crm_db")
    assert run(*mongo) == 1
    assert "say --set database_config.databases=[NAME]" in capsys.readouterr().err
    assert run(*mongo, "--set", "database_config.databases=[crm]") == 0
    assert load(folder / "crm.yaml", Connection).source.configuration["database_config"] == {
        "cluster_type": "SELF_MANAGED_REPLICA_SET", "databases": ["crm"],
    }  # fmt: skip
    sent = api.sources["s1"]["configuration"]["database_config"]
    assert (sent["connection_string"], sent["username"], sent["password"]) == ("https://db", "u", "pw-source")


def test_a_manifest_says_what_is_secret(api, folder):
    options = ("--type", "declarative", "--manifest", "connectors/store_api.yaml", "--connection", "x")
    assert run("--name", "rates", *options, "--set", "start_date='2026-01-01T00:00:00Z'") == 0
    source = load(folder / "rates.yaml", Connection).source
    assert source.from_connection == {"base_url": "host", "api_key": "password"}
    assert source.configuration == {"start_date": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--name", "crm"), "no terminal to ask at: say --type", id="nothing-to-ask"),
        pytest.param(("--name", "postgres"), "is there already", id="taken"),
        pytest.param(
            (*POSTGRES, "--set", "password=hunter2"), "crm_db and say --from-connection password", id="secret"
        ),
        pytest.param((*POSTGRES, "--set", "tunnel.ssh_token=x"), "tunnel.ssh_token would stand in a file", id="nested"),
        pytest.param((*POSTGRES, "--stream", "order"), "'order' is none of: countries, orders", id="stream"),
        pytest.param((*POSTGRES, "--stream", "countries:incremental_append:code"), "is none of", id="mode"),
        pytest.param((*POSTGRES, "--stream", "orders:incremental_append:x"), "orders has no column 'x'", id="cursor"),
        pytest.param((*POSTGRES, "--schedule", "hourly"), "write one of manual, 15m", id="schedule"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(api, folder, capsys, arguments, said):
    before = sorted(folder.parent.parent.rglob("*"))
    assert run(*arguments) == 1
    assert said in capsys.readouterr().err
    assert sorted(folder.parent.parent.rglob("*")) == before


def test_a_source_that_does_not_answer_is_not_left_behind(api, folder, capsys):
    api.streams = httpx.Response(400, json={"status": 400, "title": "bad-request", "detail": "the password is wrong"})
    assert run(*POSTGRES) == 1
    assert "the password is wrong" in capsys.readouterr().err
    assert api.sources == {}


@pytest.mark.parametrize(
    ("answer", "mode", "cursor", "day"),
    [
        pytest.param({"defaultCursorField": ["id"]}, "incremental_append", "id", "_airbyte_extracted_at", id="number"),
        pytest.param({"propertyFields": [["Updated_At"]]}, "incremental_append", "Updated_At", "Updated_At", id="case"),
        pytest.param({"syncModes": INCREMENTAL[:2]}, "full_refresh_overwrite", None, "snapshot", id="full"),
        pytest.param(
            {"defaultCursorField": ["_ab_source_file_last_modified"]},
            "incremental_append", "_ab_source_file_last_modified", "file_name",
            id="files",
        ),
    ],
)  # fmt: skip
def test_defaults(answer, mode, cursor, day):
    stream = Offered.of({"streamName": "x", "syncModes": INCREMENTAL} | answer).default()
    assert (stream["sync_mode"], stream.get("cursor_field"), stream["batch_date"]) == (mode, cursor, day)


def test_the_text_reads_like_the_files_of_the_repository():
    text = as_yaml(
        {"name": "x", "source": {"type": "postgres"}, "streams": [{"name": "a", "primary_key": ["b"]}]}, "X."
    )
    assert text.startswith("# X.\n") and text.endswith("\n\nstreams:\n  - name: a\n    primary_key: [b]\n")
