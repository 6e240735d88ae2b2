"""Files of every format over every storage, each from a real server, through the API to the lake."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.airbyte.file_servers import PASSWORD, USER, ftp_server, sftp_server, web_server
from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import Airbyte

NEW_ONLY = "incremental_append"
OWN = ("_ab_source_file_url", "_ab_source_file_last_modified", "line_number")


class Reading:
    """A connection over a source of files, with a stream `rows` and one for what is rejected."""

    def __init__(
        self,
        airbyte: Airbyte,
        lake: Lake,
        destination: str,
        configuration: dict[str, Any],
        mode: str = NEW_ONLY,
        rejected: bool = True,
    ) -> None:
        self._airbyte, self._lake = airbyte, lake
        body = {"name": "files", "workspaceId": airbyte.workspace(), "configuration": configuration}
        source = airbyte.call("POST", "/sources", json=body)
        assert PASSWORD not in str(source)
        self.source = source["sourceId"]
        lakehouse = {"rejected_streams": [{"name": "bad", "stream": "rows", "batch_date": "file_name"}]}
        self.connection, self.namespace = airbyte.connect(
            self.source, destination, [{"name": "rows", "syncMode": mode}], lakehouse=lakehouse if rejected else {}
        )

    def sync(self) -> int:
        return self._airbyte.sync(self.connection)

    def fails(self) -> str:
        """Sync, which must fail at its first attempt; returns why."""
        self._airbyte.call("PUT", f"/connections/{self.connection}/lakehouse", json={"max_retries": 0})
        job = self._airbyte.wait(self._airbyte.start_sync(self.connection))
        assert job["status"] == "failed"
        assert PASSWORD not in str(self._airbyte.config("/jobs/get", id=job["jobId"]))
        return self._airbyte.reason(job["jobId"])

    def rows(self, *own: str) -> list[dict[str, Any]]:
        rows = self._lake.rows(self.namespace, "rows")
        return [{name: value for name, value in row.items() if name in own or name not in OWN} for row in rows]

    def rejected(self) -> list[tuple[Any, ...]]:
        rows = self._lake.rows(self.namespace, "bad")
        return [(row["_ab_source_file_url"], row["line_number"], row["reason"]) for row in rows]

    def schema(self) -> dict[str, str]:
        table = self._lake.tables(self.namespace, "rows")[-1]
        return {field.name: str(field.type) for field in table.schema if field.name not in OWN}


Connect = Callable[..., Reading]


@pytest.fixture
def connect(airbyte: Airbyte, lake: Lake, destination: str) -> Connect:
    return lambda *arguments, **options: Reading(airbyte, lake, destination, *arguments, **options)


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The configuration of a source over the folder."""
    with sftp_server(tmp_path) as (port, key):
        yield {
            "sourceType": "sftp-bulk",
            "host": "127.0.0.1",
            "port": port,
            "username": USER,
            "credentials": {"auth_type": "private_key", "private_key": key},
            "folder_path": "/in",
        }


def stream(filetype: str, *globs: str, **options: Any) -> list[dict[str, Any]]:
    return [{"name": "rows", "globs": list(globs), "format": {"filetype": filetype}, **options}]


def zipped(**files: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.csv", content)
    return body.getvalue()


def test_sftp_compressed_csv_new_files_only_and_bad_lines_aside(
    tmp_path: Path, sftp: dict[str, Any], connect: Connect
) -> None:
    folder = tmp_path / "in" / "2026"
    folder.mkdir(parents=True)
    (tmp_path / "elsewhere.csv").write_bytes(b"id,name\n99,not read\n")
    (folder / "a.csv.gz").write_bytes(gzip.compress("id;name\n1;é\n2;x;y\n".encode("latin-1")))
    (folder / "b.zip").write_bytes(zipped(one=b"id;name\n3;c\n", two=b"id;name\n4;d\nbad\n"))
    streams = stream("csv", "**/*.csv.gz", "**/*.zip")
    streams[0]["format"] |= {"delimiter": ";", "encoding": "latin-1"}
    reading = connect(sftp | {"streams": streams})
    assert reading.sync() == 3 + 2
    assert reading.rows("_ab_source_file_url", "line_number") == [
        {"id": "1", "name": "é", "_ab_source_file_url": "/in/2026/a.csv.gz", "line_number": 2},
        {"id": "3", "name": "c", "_ab_source_file_url": "/in/2026/b.zip#one.csv", "line_number": 2},
        {"id": "4", "name": "d", "_ab_source_file_url": "/in/2026/b.zip#two.csv", "line_number": 2},
    ]
    assert reading.rejected() == [
        ("/in/2026/a.csv.gz", 3, "3 fields instead of 2"),
        ("/in/2026/b.zip#two.csv", 3, "1 fields instead of 2"),
    ]
    at = datetime.datetime.fromtimestamp(int((folder / "b.zip").stat().st_mtime), datetime.UTC)
    modified = f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert {row["_ab_source_file_last_modified"] for row in reading.rows(*OWN)[1:]} == {modified}
    assert reading.sync() == 0
    (folder / "c.csv.gz").write_bytes(gzip.compress(b"id;name\n5;e\n"))
    (folder / "b.zip").write_bytes(zipped(three=b"id;name\n6;f\n7;g\n"))
    assert reading.sync() == 3


def test_a_half_written_file_fails_by_name_and_nothing_of_the_sync_is_delivered(
    tmp_path: Path, sftp: dict[str, Any], connect: Connect, lake: Lake
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv.gz").write_bytes(gzip.compress(b"id\n1\n"))
    credentials = {"auth_type": "password", "password": PASSWORD}
    streams = stream("csv", "*.gz", input_schema='{"id": "string"}')
    reading = connect(sftp | {"credentials": credentials, "streams": streams})
    whole = gzip.compress(b"id\n" + b"".join(b"%d\n" % number for number in range(100_000)))
    (tmp_path / "in" / "b.csv.gz").write_bytes(whole[: len(whole) // 2])
    reason = reading.fails()
    assert "File /in/b.csv.gz cannot be read: it is no whole .gz file: Truncated" in reason
    assert lake.files(reading.namespace, "rows") == []
    (tmp_path / "in" / "b.csv.gz").write_bytes(whole)
    assert reading.sync() == 100_001


def test_a_wrong_password_fails_at_once_and_is_not_shown(
    airbyte: Airbyte, tmp_path: Path, sftp: dict[str, Any], connect: Connect
) -> None:
    (tmp_path / "in").mkdir()
    streams = stream("csv", "*.csv", input_schema='{"id": "string"}')
    reading = connect(sftp | {"streams": streams})
    wrong = {"credentials": {"auth_type": "password", "password": f"not {PASSWORD}"}}
    airbyte.call("PATCH", f"/sources/{reading.source}", json={"configuration": wrong})
    reason = reading.fails()
    assert f"as {USER}: AuthenticationException" in reason
    assert "check user, password or key" in reason


def test_ftp_json_lines_with_types_that_hold_all_files(tmp_path: Path, connect: Connect) -> None:
    records = [{"id": 1, "price": 2, "tags": ["a"], "at": "x", "big": 2**63}, {"id": 2, "price": 2.5, "ok": True}]
    lines = [*(json.dumps(record) for record in records), "", "[1]", '{"id": 3', '{"id": NaN}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with ftp_server(tmp_path) as port:
        provider = {"storage": "FTP", "host": "127.0.0.1", "port": port, "user": USER, "password": PASSWORD}
        url = {"url": "/*.jsonl", "provider": provider}
        reading = connect({"sourceType": "file", "dataset_name": "rows", "format": "jsonl", **url})
        assert reading.sync() == 2 + 3
        assert reading.rows("line_number") == [
            {
                **{"id": 1, "price": 2.0, "tags": '["a"]', "at": "x", "big": str(2**63), "ok": None},
                "line_number": 1,
            },
            {**{"id": 2, "price": 2.5, "tags": None, "at": None, "big": None, "ok": True}, "line_number": 2},
        ]
        assert [(line, reason) for _, line, reason in reading.rejected()] == [
            (4, "the line is no JSON object but list"),
            (5, "not JSON: unexpected end of data"),
            (6, "not JSON: unexpected character, expected a JSON value"),
        ]
        assert reading.sync() == 0
        first = reading.schema()
        # neither a column that the newest file lacks nor a type that it would allow is lost
        (tmp_path / "b.jsonl").write_text('{"id": 4, "price": 3, "new": {"a": 1}}\n')
        assert reading.sync() == 1
        assert reading.rows()[-1] == {
            **{"id": 4, "price": 3.0, "new": '{"a":1}'},
            **dict.fromkeys(("tags", "at", "big", "ok")),
        }
        assert {name: type_ for name, type_ in reading.schema().items() if name != "new"} == first


def test_parquet_of_a_local_folder_keeps_its_types(tmp_path: Path, connect: Connect) -> None:
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int32()),
            "amount": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)),
            "at": pa.array([at, at], pa.timestamp("ns", tz="Europe/Paris")),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "items": pa.array([[{"n": 1}], None], pa.list_(pa.struct([("n", pa.int8())]))),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    source = {"sourceType": "file", "dataset_name": "rows", "format": "parquet", "provider": {"storage": "local"}}
    reading = connect(source | {"url": f"{tmp_path}/*.parquet"}, rejected=False)
    assert reading.sync() == 2
    assert reading.rows("line_number") == [
        {"id": 1, "amount": Decimal("1.10"), "at": at, "kind": "a", "items": '[{"n":1}]', "line_number": 1},
        {"id": 2, "amount": None, "at": at, "kind": "b", "items": None, "line_number": 2},
    ]
    assert reading.sync() == 0
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-100])
    assert "b.parquet cannot be read: it is no whole Parquet file" in reading.fails()
    assert len(reading.rows()) == 2


def test_excel_from_a_web_server_is_read_when_it_is_another(tmp_path: Path, connect: Connect, airbyte: Airbyte) -> None:
    book = openpyxl.Workbook()
    for row in (["id", "name", "at", "mixed"], [1, "é", datetime.datetime(2026, 1, 2, 3), 7], [2.5, None, None, "x"]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    with web_server(tmp_path) as address:
        source = {"sourceType": "file", "dataset_name": "rows", "format": "excel", "provider": {"storage": "HTTPS"}}
        reading = connect(source | {"url": f"{address}/a.xlsx?token=t0ken"})
        assert reading.sync() == 2
        at = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)
        url = f"{address}/a.xlsx"
        assert reading.rows("line_number", "_ab_source_file_url") == [
            {"id": 1.0, "name": "é", "at": at, "mixed": "7", "line_number": 2, "_ab_source_file_url": url},
            {"id": 2.5, "name": None, "at": None, "mixed": "x", "line_number": 3, "_ab_source_file_url": url},
        ]
        assert reading.sync() == 0
        book.active.append([3])
        book.save(tmp_path / "a.xlsx")
        assert reading.sync() == 3
        (tmp_path / "a.xlsx").unlink()
        reason = reading.fails()
        assert f"Could not read {url}: the server answered 404" in reason
        assert "t0ken" not in reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"streams": stream("avro", "*")}, "format.filetype 'avro' is not supported by the embedded Airbyte"),
        ({"streams": stream("csv", "*", schemaless=True)}, "Stream rows: schemaless True is not supported"),
        ({"streams": stream("csv", "nothing*")}, "Stream rows: no file matches nothing* in bucket inbox"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    airbyte: Airbyte, lake: Lake, change: dict[str, Any], message: str
) -> None:
    configuration = {
        "sourceType": "s3",
        "bucket": "inbox",
        "aws_access_key_id": lake.key,
        "aws_secret_access_key": lake.secret,
        "endpoint": lake.endpoint,
        **change,
    }
    body = {"name": "files", "workspaceId": airbyte.workspace(), "configuration": configuration}
    source = airbyte.call("POST", "/sources", json=body)["sourceId"]
    answer = airbyte.request("GET", "/streams", params={"sourceId": source})
    assert answer.status_code >= 400
    assert message in answer.text
