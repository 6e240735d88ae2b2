"""Reading CSV files of a bucket: new and replaced files, lines that do not parse, and files as they came."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import Airbyte

STREAM = {"name": "invoices", "syncMode": "incremental_append"}
GOOD = b'InvoiceNo,Description,Price\n1,red,1.5\n2,"blue, light",2.5\n'


class Inbox:
    """A folder of the bucket `inbox`, a connection that reads it, and where its rows land."""

    def __init__(self, airbyte: Airbyte, lake: Lake, destination: str, **settings: Any) -> None:
        self._airbyte, self._lake = airbyte, lake
        self.folder = f"in_{secrets.token_hex(4)}"
        self.raw_path = f"bronze/files/{self.folder}"
        source = airbyte.call(
            "POST",
            "/sources",
            json={
                "name": self.folder,
                "workspaceId": airbyte.workspace(),
                "configuration": {
                    "sourceType": "s3",
                    "bucket": "inbox",
                    "aws_access_key_id": lake.key,
                    "aws_secret_access_key": lake.secret,
                    "endpoint": lake.endpoint,
                    "streams": [
                        {
                            "name": "invoices",
                            "globs": [f"{self.folder}/*.csv"],
                            "input_schema": '{"InvoiceNo": "string", "Description": "string", "Price": "string"}',
                            "format": {"filetype": "csv", "encoding": "utf8"},
                        }
                    ],
                },
            },
        )["sourceId"]
        rejected = [{"name": "invoices_rejected", "stream": "invoices", "batch_date": "file_name"}]
        lakehouse = {"raw_path": self.raw_path, "rejected_streams": rejected} | settings
        self.connection, self.namespace = airbyte.connect(source, destination, [STREAM], lakehouse=lakehouse)

    def put(self, name: str, body: bytes) -> None:
        self._lake.put(f"{self.folder}/{name}", body)

    def sync(self) -> int:
        return self._airbyte.sync(self.connection)

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        return [tuple(row[name] for name in columns) for row in self._lake.rows(self.namespace, "invoices")]

    def rejected(self) -> list[tuple[Any, ...]]:
        """(file, line number, line, reason) of what was rejected."""
        rows = self._lake.rows(self.namespace, "invoices_rejected")
        return [
            (row["_ab_source_file_url"].split("/")[-1], row["line_number"], row["line"], row["reason"]) for row in rows
        ]


@pytest.fixture
def inbox(airbyte: Airbyte, lake: Lake, destination: str) -> Inbox:
    return Inbox(airbyte, lake, destination)


def test_records_come_as_text_with_file_time_and_line(inbox: Inbox, lake: Lake) -> None:
    inbox.put("2026-01-01.csv", GOOD)
    assert inbox.sync() == 2
    assert inbox.rows("InvoiceNo", "Description", "Price", "_ab_source_file_url", "line_number") == [
        ("1", "red", "1.5", f"{inbox.folder}/2026-01-01.csv", 2),
        ("2", "blue, light", "2.5", f"{inbox.folder}/2026-01-01.csv", 3),
    ]
    listed = lake.s3.list_objects_v2(Bucket="inbox", Prefix=inbox.folder)["Contents"][0]["LastModified"]
    assert inbox.rows("_ab_source_file_last_modified")[0][0] == f"{listed:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert lake.get(f"{inbox.raw_path}/invoices/2026-01-01.csv") == GOOD


def test_only_new_and_replaced_files_are_read(inbox: Inbox, lake: Lake) -> None:
    inbox.put("a.csv", GOOD)
    assert (inbox.sync(), inbox.sync()) == (2, 0)
    inbox.put("b.csv", GOOD.replace(b"1,red,1.5\n", b""))
    assert inbox.sync() == 1
    inbox.put("a.csv", GOOD + b"3,green,3\n")
    assert inbox.sync() == 3
    assert len(lake.files(inbox.namespace, "invoices")) == 3


def test_a_replaced_file_does_not_destroy_the_first_version_as_it_came(
    airbyte: Airbyte, inbox: Inbox, lake: Lake
) -> None:
    versions = [GOOD, GOOD + b"3,green,3\n", GOOD + b"4,grey,4\n"]
    for version in [*versions, versions[0]]:
        inbox.put("2026-01-01.csv", version)
        inbox.sync()
    kept = lake.keys(f"{inbox.raw_path}/")
    assert lake.get(f"{inbox.raw_path}/invoices/2026-01-01.csv") == versions[0]
    later = [key for key in kept if "/invoices/timestamp=" in key and key.endswith("/2026-01-01.csv")]
    assert sorted(lake.get(key) for key in later) == versions[1:]
    assert len(kept) == 3
    inbox.put("2026-01-01.csv", versions[1])
    inbox.sync()
    kept = lake.keys(f"{inbox.raw_path}/")
    airbyte.wait(airbyte.start_sync(inbox.connection, "clear"))
    inbox.sync()  # reads what was read before
    assert lake.keys(f"{inbox.raw_path}/") == kept
    assert lake.get(f"{inbox.raw_path}/invoices/2026-01-01.csv") == versions[0]


@pytest.mark.parametrize(
    ("body", "records", "rejected"),
    [
        pytest.param(b"", 0, [(0, "", "the file is empty")], id="empty"),
        pytest.param(b"InvoiceNo,Description,Price\n", 0, [], id="header only"),
        pytest.param(
            b"InvoiceNo,Price\n1,2\n",
            0,
            [(0, "", "the header lacks Description; it has InvoiceNo, Price")],
            id="missing column",
        ),
        pytest.param(
            b"InvoiceNo,Description,Price,Price\n1,a,2,3\n",
            0,
            [(0, "", "the header has Price more than once")],
            id="a name twice",
        ),
        pytest.param(
            b"InvoiceNo,,Description,Price\n1,2,a,3\n",
            0,
            [(0, "", "the header has no name for column 2")],
            id="a column without a name",
        ),
        pytest.param(
            b"InvoiceNo,Description,Price,line_number\n1,a,2,3\n",
            0,
            [
                (
                    *(0, ""),
                    "the header has line_number: in the lake it would have the name of line_number, which the reader "
                    "adds itself",
                )
            ],
            id="a name that the reader uses",
        ),
        pytest.param(b"InvoiceNo,Description,Price,\n1,red,1,\n", 1, [], id="a comma at the end"),
        pytest.param(
            b"InvoiceNo,Description,Price\n1,red\n2,blue,1\n3,a,b,c\n\n",
            1,
            [
                (2, "1,red", "2 fields instead of 3"),
                (4, "3,a,b,c", "4 fields instead of 3"),
                (5, "", "the line is empty"),
            ],
            id="wrong number of fields",
        ),
        pytest.param(
            b'InvoiceNo,Description,Price\n1,"red,1\n2,blue,2\n3,"a "b" c",3\n',
            1,
            [
                (2, '1,"red,1', "broken quote: it does not close"),
                (4, '3,"a "b" c",3', "broken quote: ',' expected after '\"'"),
            ],
            id="broken quotes",
        ),
        pytest.param(
            b"InvoiceNo,Description,Price\n1,caf\xe9,1\n2,caf\xc3\xa9,2\n",
            1,
            [(2, "1,caf\\xe9,1", "not utf8")],
            id="a line in another encoding",
        ),
        pytest.param(
            GOOD.decode().encode("utf-16"),
            0,
            [(0, "", "the file is not utf8; it looks like UTF-16")],
            id="another encoding",
        ),
        pytest.param(b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n"), 2, [], id="byte order mark and CRLF"),
        pytest.param(b'InvoiceNo,Description,Price\n1,"two\nlines",2\n', 1, [], id="a field of two lines"),
        pytest.param(b'InvoiceNo,Description,Price\n1,5" plate,2\n', 1, [], id="an inch"),
    ],
)
def test_what_does_not_parse_is_set_aside_with_its_reason(
    inbox: Inbox, body: bytes, records: int, rejected: list[Any]
) -> None:
    inbox.put("bad.csv", body)
    inbox.put("good.csv", GOOD)
    assert inbox.sync() == records + 2 + len(rejected)
    assert inbox.rejected() == [("bad.csv", *entry) for entry in rejected]
    assert len(inbox.rows("InvoiceNo")) == records + 2


def test_a_sync_counts_the_rejected_lines_that_it_read_not_those_of_earlier_syncs(
    airbyte: Airbyte, inbox: Inbox
) -> None:
    def counts() -> dict[str, int]:
        job = airbyte.wait(airbyte.start_sync(inbox.connection))
        (entry,) = airbyte.config("/jobs/get_without_logs", id=job["jobId"])["attempts"]
        return {one["streamName"]: one["stats"]["recordsCommitted"] for one in entry["attempt"]["streamStats"]}

    inbox.put("a.csv", GOOD + b"3,x\n4,x\n5,x\n")
    assert counts() == {"invoices": 2, "invoices_rejected": 3}
    inbox.put("b.csv", GOOD)
    assert counts() == {"invoices": 2, "invoices_rejected": 0}
    assert len(inbox.rejected()) == 3


def test_a_stream_for_rejected_lines_can_be_seen_before_the_first(inbox: Inbox, lake: Lake) -> None:
    inbox.put("a.csv", GOOD)
    inbox.sync()
    (table,) = lake.tables(inbox.namespace, "invoices_rejected")
    assert table.num_rows == 0
    assert table.column_names[4:] == [
        "_ab_source_file_url", "_ab_source_file_last_modified", "line_number", "line", "reason",
    ]  # fmt: skip


def test_lines_that_do_not_parse_fail_the_sync_where_no_stream_takes_them(
    airbyte: Airbyte, lake: Lake, destination: str
) -> None:
    inbox = Inbox(airbyte, lake, destination, rejected_streams=[])
    inbox.put("bad.csv", GOOD + b"3,x\n")
    job = airbyte.wait(airbyte.start_sync(inbox.connection))
    assert job["status"] == "failed"
    assert "bad.csv, line 4: 2 fields instead of 3" in airbyte.reason(job["jobId"])


def test_another_encoding_is_read_where_the_connection_names_it(airbyte: Airbyte, lake: Lake, destination: str) -> None:
    inbox = Inbox(airbyte, lake, destination, encoding_fallback="latin-1")
    inbox.put("latin.csv", "InvoiceNo,Description,Price\n1,café,2\n".encode("latin-1"))
    inbox.sync()
    assert inbox.rows("Description") == [("café",)]


def test_a_new_column_of_a_file_is_followed(inbox: Inbox) -> None:
    inbox.put("a.csv", GOOD)
    inbox.sync()
    inbox.put("b.csv", b"InvoiceNo,Description,Price,Store No\n9,red,1,S1\n")
    assert inbox.sync() == 1
    assert set(inbox.rows("InvoiceNo")) == {("1",), ("2",), ("9",)}


def test_a_wrong_key_fails_at_once_without_the_secret(airbyte: Airbyte, lake: Lake, destination: str) -> None:
    inbox = Inbox(airbyte, lake, destination)
    inbox.put("a.csv", GOOD)
    source = airbyte.call("GET", f"/connections/{inbox.connection}")["sourceId"]
    wrong = {"configuration": {"aws_secret_access_key": "not-the-right-one"}}
    airbyte.call("PATCH", f"/sources/{source}", json=wrong)
    job = airbyte.wait(airbyte.start_sync(inbox.connection))
    details = airbyte.config("/jobs/get", id=job["jobId"])
    assert job["status"] == "failed"
    assert len(details["attempts"]) == 1
    assert f"as access key {lake.key}" in airbyte.reason(job["jobId"])
    assert "not-the-right-one" not in str(details)


def test_a_clear_forgets_data_and_state(airbyte: Airbyte, inbox: Inbox, lake: Lake) -> None:
    inbox.put("a.csv", GOOD + b"bad\n")
    inbox.sync()
    assert airbyte.wait(airbyte.start_sync(inbox.connection, "clear"))["status"] == "succeeded"
    assert lake.keys(f"bronze/landing/{inbox.namespace}/") == []
    assert airbyte.config("/state/get", connectionId=inbox.connection)["stateType"] == "not_set"
    assert inbox.sync() == 3
