"""The two APIs: shapes, paging, errors, cancellation, statistics, logs and secrets."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.airbyte.lake import Lake
from tests.integration.airbyte.servers import CLIENT_ID, CLIENT_SECRET, REPOSITORY, Airbyte, Shop

CREDENTIALS = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "grant_type": "client_credentials"}


@pytest.fixture
def table(shop: Shop) -> Shop:
    shop.db.execute("CREATE TABLE orders (order_id bigint PRIMARY KEY, updated_at timestamptz DEFAULT now())")
    shop.db.execute("INSERT INTO orders SELECT g FROM generate_series(1, 3) g")
    return shop


@pytest.fixture
def connection(airbyte: Airbyte, destination: str, table: Shop) -> str:
    return airbyte.connect(table.source(airbyte), destination, [{"name": "orders"}])[0]


def hold(table: Shop, airbyte: Airbyte, connection: str) -> int:
    """Start a sync that cannot go on, because its table is locked."""
    table.db.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
    job = airbyte.start_sync(connection)
    while airbyte.call("GET", f"/jobs/{job}")["status"] != "running":
        time.sleep(0.05)
    return job


@pytest.mark.parametrize("how", ["json", "data"])
def test_a_token_is_given_for_json_and_for_a_form(airbyte: Airbyte, how: str) -> None:
    answer = httpx.post(f"{airbyte.url}/applications/token", **{how: CREDENTIALS})  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert answer.json().keys() == {"access_token", "token_type", "expires_in"}
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 900)


def test_wrong_credentials_and_tokens_are_refused(airbyte: Airbyte) -> None:
    refused = httpx.post(f"{airbyte.url}/applications/token", json=CREDENTIALS | {"client_secret": "x"})
    assert (refused.status_code, list(refused.json())) == (401, ["errorId"])
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        answer = httpx.get(f"{airbyte.url}/jobs", headers=headers)
        assert (answer.status_code, answer.json()["title"]) == (401, "invalid-api-key")


def test_health_needs_no_token(airbyte: Airbyte) -> None:
    assert httpx.get(f"{airbyte.url}/health").text == "Successful operation"
    assert httpx.get(f"{airbyte.config_url}/health").json() == {"available": True}


def test_a_job_of_the_public_api(airbyte: Airbyte, connection: str) -> None:
    started = airbyte.call("POST", "/jobs", json={"connectionId": connection, "jobType": "sync"})
    assert started.keys() <= {"jobId", "status", "jobType", "startTime", "connectionId", "duration"}
    ended = airbyte.wait(started["jobId"])
    assert ended["jobType"] == "sync"
    assert ended["connectionId"] == connection
    assert ended["rowsSynced"] == 3
    assert ended["bytesSynced"] > 0
    assert ended["duration"].startswith("PT")
    assert ended["lastUpdatedAt"].endswith("Z")


def test_a_second_sync_is_refused(airbyte: Airbyte, table: Shop, connection: str) -> None:
    hold(table, airbyte, connection)
    for attempt in (
        airbyte.request("POST", "/jobs", json={"connectionId": connection, "jobType": "sync"}),
        httpx.post(f"{airbyte.config_url}/connections/sync", json={"connectionId": connection}),
    ):
        assert attempt.status_code == 409
        assert f"A sync is already running for: {connection}" in attempt.text
    table.db.execute("ROLLBACK")


def test_a_cancelled_job_has_stopped_when_the_answer_comes(airbyte: Airbyte, table: Shop, connection: str) -> None:
    job = hold(table, airbyte, connection)
    assert airbyte.call("DELETE", f"/jobs/{job}")["status"] == "cancelled"
    assert airbyte.workers() == []
    assert airbyte.call("DELETE", f"/jobs/{job}")["status"] == "cancelled"
    table.db.execute("ROLLBACK")
    assert airbyte.config("/state/get", connectionId=connection)["stateType"] == "not_set"
    assert airbyte.sync(connection) == 3


def test_the_config_api_cancels_too(airbyte: Airbyte, table: Shop, connection: str) -> None:
    job = hold(table, airbyte, connection)
    assert airbyte.config("/jobs/cancel", id=job)["job"]["status"] == "cancelled"
    table.db.execute("ROLLBACK")


def test_an_attempt_that_takes_too_long_is_stopped(airbyte: Airbyte, table: Shop, connection: str) -> None:
    airbyte.call("PUT", f"/connections/{connection}/lakehouse", json={"timeout_minutes": 0.03, "max_retries": 0})
    job = hold(table, airbyte, connection)
    assert airbyte.wait(job)["status"] == "failed"
    assert "longer than 0.03 minutes" in airbyte.reason(job)
    table.db.execute("ROLLBACK")


def test_errors_have_airbytes_form(airbyte: Airbyte, connection: str) -> None:
    unknown = str(uuid.uuid4())
    cases = [
        ("GET", f"/connections/{unknown}", None, 404, "resource-not-found"),
        ("GET", "/jobs/987654321", None, 404, "resource-not-found"),
        ("DELETE", "/jobs/987654321", None, 409, "state-conflict"),
        ("GET", "/jobs/abc", None, 400, "bad-request"),
        ("POST", "/jobs", {"connectionId": connection, "jobType": "refresh"}, 422, "unprocessable-entity"),
        ("POST", "/jobs", {"connectionId": "x", "jobType": "sync"}, 400, "bad-request"),
        ("POST", "/jobs", {"connectionId": unknown, "jobType": "sync"}, 404, "resource-not-found"),
        ("PATCH", f"/connections/{connection}", {"status": "sleeping"}, 400, "bad-request"),
        ("PUT", f"/connections/{connection}/lakehouse", {"thread": 4}, 400, "bad-request"),
    ]
    for method, path, body, status, title in cases:
        answer = airbyte.request(method, path, json=body) if body else airbyte.request(method, path)
        assert (answer.status_code, answer.json()["title"]) == (status, title), f"{method} {path}"
        assert answer.json().keys() == {"status", "type", "title", "detail", "data"}
        assert answer.json()["type"] == f"https://reference.airbyte.com/reference/errors#{title}"


def test_a_source_that_is_not_supported_is_refused_by_name(airbyte: Airbyte) -> None:
    configuration = {"sourceType": "mssql", "host": "h", "port": 1, "database": "d", "username": "u"}
    body = {"name": "x", "workspaceId": airbyte.workspace(), "configuration": configuration}
    answer = airbyte.request("POST", "/sources", json=body)
    assert answer.status_code == 422
    assert "no source of type mssql" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ({"name": "none"}, "has no stream 'none'; it has: orders"),
        ({"name": "orders", "syncMode": "incremental_append"}, "No cursor field"),
        ({"name": "orders", "syncMode": "incremental_append", "cursorField": ["x"]}, "Cursor field 'x' is not"),
        ({"name": "orders", "primaryKey": [["x"]]}, "Primary key x is not"),
        ({"name": "orders", "syncMode": "incremental_update"}, "Cannot set sync mode"),
        ({"name": "orders", "selectedFields": []}, "No fields selected"),
    ],
)
def test_streams_are_checked_against_the_source(
    airbyte: Airbyte, connection: str, stream: dict[str, Any], said: str
) -> None:
    answer = airbyte.request("PATCH", f"/connections/{connection}", json={"configurations": {"streams": [stream]}})
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


def test_secrets_are_masked_and_survive_being_written_back(airbyte: Airbyte, destination: str, table: Shop) -> None:
    source = table.source(airbyte)
    shown = airbyte.call("GET", f"/sources/{source}")
    assert shown["configuration"]["password"] == "**********"
    body = {"name": "renamed", "configuration": shown["configuration"]}
    assert airbyte.call("PUT", f"/sources/{source}", json=body)["name"] == "renamed"
    connection, _ = airbyte.connect(source, destination, [{"name": "orders"}])
    assert airbyte.sync(connection) == 3
    shown = airbyte.call("GET", f"/destinations/{destination}")["configuration"]
    assert {shown["access_key_id"], shown["secret_access_key"]} == {"**********"}


@pytest.mark.parametrize(
    ("change", "said", "attempts"),
    [
        ({"secret_access_key": "not-the-right-one"}, "check the key and secret", 1),
        ({"s3_bucket_name": "no-such-bucket"}, "check that the bucket exists", 1),
        ({"s3_endpoint": "http://127.0.0.1:1"}, "check that it runs", 2),
    ],
)
def test_a_destination_that_fails_is_named_with_what_to_check(
    airbyte: Airbyte, lake: Lake, table: Shop, change: dict[str, str], said: str, attempts: int
) -> None:
    destination = airbyte.destination(lake)
    connection, _ = airbyte.connect(
        table.source(airbyte), destination, [{"name": "orders"}], lakehouse={"max_retries": 1}
    )
    airbyte.call("PATCH", f"/destinations/{destination}", json={"configuration": change})
    job = airbyte.wait(airbyte.start_sync(connection))
    details = airbyte.config("/jobs/get", id=job["jobId"])
    assert job["status"] == "failed"
    assert said in airbyte.reason(job["jobId"])
    assert details["attempts"][0]["attempt"]["failureSummary"]["failures"][0]["failureOrigin"] == "destination"
    assert len(details["attempts"]) == attempts
    assert "not-the-right-one" not in str(details)
    assert airbyte.config("/state/get", connectionId=connection)["stateType"] == "not_set"


def test_streams_of_a_source(airbyte: Airbyte, destination: str, table: Shop) -> None:
    source = table.source(airbyte)
    (stream,) = airbyte.call("GET", "/streams", params={"sourceId": source, "destinationId": destination})
    assert stream["streamName"] == "orders"
    assert stream["sourceDefinedPrimaryKey"] == [["order_id"]]
    assert stream["propertyFields"] == [["order_id"], ["updated_at"]]
    assert "incremental_deduped_history" in stream["syncModes"]


def test_lists_are_paged_as_airbyte_pages_them(airbyte: Airbyte, connection: str) -> None:
    jobs = [airbyte.wait(airbyte.start_sync(connection))["jobId"] for _ in range(3)]
    query = {"connectionId": connection, "limit": 2, "orderBy": "createdAt|DESC"}
    first = airbyte.call("GET", "/jobs", params=query)
    assert [job["jobId"] for job in first["data"]] == [jobs[2], jobs[1]]
    assert first["next"].endswith("limit=2&offset=2")
    second = airbyte.call("GET", "/jobs", params=query | {"offset": 2})
    assert [job["jobId"] for job in second["data"]] == [jobs[0]]
    assert second["next"] != ""
    last = airbyte.call("GET", "/jobs", params=query | {"offset": 4})
    assert (last["data"], last["next"]) == ([], "")
    assert airbyte.call("GET", "/jobs", params={"connectionId": connection, "status": "failed"})["data"] == []


def test_the_config_api_tells_attempts_streams_and_logs(airbyte: Airbyte, connection: str) -> None:
    started = airbyte.config("/connections/sync", connectionId=connection)
    assert started["job"]["status"] in ("running", "succeeded")
    job = started["job"]["id"]
    airbyte.wait(job)
    details = airbyte.config("/jobs/get", id=job)
    assert details["job"]["configId"] == connection
    assert details["job"]["configType"] == "sync"
    (entry,) = details["attempts"]
    attempt = entry["attempt"]
    assert (attempt["id"], attempt["status"], attempt["recordsSynced"]) == (0, "succeeded", 3)
    assert attempt["totalStats"]["recordsCommitted"] == 3
    (stream,) = attempt["streamStats"]
    assert (stream["streamName"], stream["stats"]["recordsEmitted"]) == ("orders", 3)
    assert any("Stream orders: 3 rows to" in line for line in entry["logs"]["logLines"])
    bare = airbyte.config("/jobs/get_without_logs", id=job)
    assert bare["job"]["aggregatedStats"]["recordsCommitted"] == 3
    assert "logs" not in bare["attempts"][0]
    listed = airbyte.config("/jobs/list", configTypes=["sync"], configId=connection)
    assert (listed["totalJobCount"], listed["jobs"][0]["job"]["id"]) == (1, job)


def test_state_is_one_row_a_connection(airbyte: Airbyte, destination: str, table: Shop) -> None:
    import psycopg

    stream = {"name": "orders", "syncMode": "incremental_append", "cursorField": ["updated_at"]}
    connection, _ = airbyte.connect(table.source(airbyte), destination, [stream])
    airbyte.sync(connection)
    told = airbyte.config("/state/get", connectionId=connection)
    assert told["stateType"] == "stream"
    assert told["streamState"][0]["streamDescriptor"] == {"name": "orders"}
    assert told["streamState"][0]["streamState"]["cursor_field"] == ["updated_at"]
    with psycopg.connect(airbyte.database_url) as db:
        rows = db.execute("SELECT state FROM airbyte_state WHERE connection_id = %s", (connection,)).fetchall()
    assert [row[0]["streamState"] for row in rows] == [told["streamState"]]


def test_old_jobs_and_their_logs_are_forgotten(airbyte: Airbyte, connection: str) -> None:
    import psycopg

    first = airbyte.start_sync(connection)
    airbyte.wait(first)
    with psycopg.connect(airbyte.database_url, autocommit=True) as db:
        db.execute(
            "INSERT INTO job (connection_id, config_type, status)"
            " SELECT connection_id, config_type, 'succeeded' FROM job, generate_series(1, 1000) WHERE job_id = %s",
            (first,),
        )
        newest = airbyte.start_sync(connection)
        airbyte.wait(newest)
        kept = db.execute(
            "SELECT count(*), min(job_id), max(job_id) FROM job WHERE connection_id = %s", (connection,)
        ).fetchone()
        assert kept == (1000, first + 2, newest)
        for left in ("attempt", "log_line", "stream_stats"):
            assert db.execute(f"SELECT count(*) FROM {left} WHERE job_id = %s", (first,)).fetchone() == (0,)


def test_the_official_client_and_the_official_hook(airbyte: Airbyte, lake: Lake, table: Shop, tmp_path: Path) -> None:
    """The airbyte-api client and Airflow's provider, unchanged, in the environment that has them."""
    python = REPOSITORY / ".venv" / "bin" / "python"
    if not python.exists():
        pytest.skip("the environment with Airflow is missing: run `make install`")
    environment = os.environ | {
        "TEST_AIRBYTE_URL": airbyte.url,
        "TEST_CLIENT_ID": CLIENT_ID,
        "TEST_CLIENT_SECRET": CLIENT_SECRET,
        "TEST_PG_PORT": str(table.configuration["port"]),
        "TEST_PG_DATABASE": table.name,
        "TEST_PG_PASSWORD": str(table.configuration["password"]),
        "TEST_S3": lake.endpoint,
        "TEST_S3_KEY": lake.key,
        "TEST_S3_SECRET": lake.secret,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
    }
    script = Path(__file__).with_name("official_client.py")
    done = subprocess.run([python, script], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rows synced by the client: 3" in done.stdout
    assert "state seen by the hook: succeeded" in done.stdout
