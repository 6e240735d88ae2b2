"""What the tests of the embedded Dremio share: a client that is logged in, a space and a source of each test's own."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

TERMINAL = ("COMPLETED", "FAILED", "CANCELED")
BUCKET = "datalake"


class Rest:
    """Dremio's REST API as a client sees it; paths are below /api/v3."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        login = httpx.post(f"{url}/apiv2/login", json={"userName": username, "password": password})
        login.raise_for_status()
        self.login: dict[str, Any] = login.json()
        self.http = httpx.Client(
            base_url=f"{url}/api/v3", headers={"Authorization": f"_dremio{self.login['token']}"}, timeout=60
        )

    def submit(self, sql: str, **body: Any) -> str:
        answer = self.http.post("/sql", json={"sql": sql, **body})
        answer.raise_for_status()
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/job/{job_id}").raise_for_status().json())

    def finished(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            job = self.job(job_id)
            if job["jobState"] in TERMINAL:
                return job
            time.sleep(0.05)
        raise TimeoutError(f"job {job_id} is still {job['jobState']} after {seconds} s")

    def run(self, sql: str, **body: Any) -> dict[str, Any]:
        """The finished job of a statement, which must succeed, with its ``id``."""
        job_id = self.submit(sql, **body)
        job = self.finished(job_id)
        assert job["jobState"] == "COMPLETED", (sql, job["errorMessage"])
        return {**job, "id": job_id}

    def rows(self, sql: str, **body: Any) -> list[dict[str, Any]]:
        """All rows of a statement."""
        job = self.run(sql, **body)
        rows: list[dict[str, Any]] = []
        while True:
            page = self.http.get(f"/job/{job['id']}/results", params={"offset": len(rows), "limit": 500})
            page.raise_for_status()
            rows += page.json()["rows"]
            if len(rows) >= page.json()["rowCount"]:
                return rows

    def error(self, sql: str) -> str:
        """The message that a statement fails with."""
        job = self.finished(self.submit(sql))
        assert job["jobState"] == "FAILED", sql
        return str(job["errorMessage"])

    def entity(self, *path: str) -> dict[str, Any]:
        return dict(self.http.get(f"/catalog/by-path/{'/'.join(path)}").raise_for_status().json())

    def wait(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"not so after {seconds} s"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def rest(reach: dict[str, str]) -> Rest:
    return Rest(reach["DREMIO_URL"], reach["DREMIO_USERNAME"], reach["DREMIO_PASSWORD"])


@pytest.fixture
def space(rest: Rest) -> Iterator[str]:
    """A space of the test's own."""
    name = f"it_{uuid.uuid4().hex[:10]}"
    made = rest.http.post("/catalog", json={"entityType": "space", "name": name})
    assert made.status_code == 200, made.text
    yield name
    rest.http.delete(f"/catalog/{made.json()['id']}").raise_for_status()


@pytest.fixture(scope="session")
def store(reach: dict[str, str]) -> Any:
    """A client of the object store."""
    return boto3.client(
        "s3",
        endpoint_url=reach["S3_ENDPOINT_URL"],
        aws_access_key_id=reach["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=reach["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def source_body(reach: dict[str, str], name: str) -> dict[str, Any]:
    """A source of type S3 in the form that Dremio documents for MinIO; its root is a folder of the test's own."""
    return {
        "entityType": "source",
        "type": "S3",
        "name": name,
        "config": {
            "credentialType": "ACCESS_KEY",
            "accessKey": reach["AWS_ACCESS_KEY_ID"],
            "accessSecret": reach["AWS_SECRET_ACCESS_KEY"],
            "secure": reach["S3_ENDPOINT_URL"].startswith("https"),
            "rootPath": f"/{BUCKET}/{name}",
            "compatibilityMode": True,
            "isPartitionInferenceEnabled": True,
            "propertyList": [
                {"name": "fs.s3a.path.style.access", "value": "true"},
                {"name": "fs.s3a.endpoint", "value": reach["S3_ENDPOINT_URL"].split("://")[1]},
            ],
        },
    }


@pytest.fixture(scope="session")
def source(rest: Rest, reach: dict[str, str], store: Any) -> Iterator[str]:
    """A source for tables, with a folder of the bucket of its own; gone with its objects afterwards."""
    name = f"it_{uuid.uuid4().hex[:10]}"
    with contextlib.suppress(store.exceptions.BucketAlreadyExists, store.exceptions.BucketAlreadyOwnedByYou):
        store.create_bucket(Bucket=BUCKET)
    made = rest.http.post("/catalog", json=source_body(reach, name))
    assert made.status_code == 200, made.text
    yield name
    rest.http.delete(f"/catalog/{made.json()['id']}").raise_for_status()
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/"):
        for item in page.get("Contents", []):
            store.delete_object(Bucket=BUCKET, Key=item["Key"])


@pytest.fixture
def orders(rest: Rest, source: str) -> Iterator[str]:
    """A table of 1,000 rows: id, status (some null), day, amount (some null)."""
    name = f"{source}.orders_{uuid.uuid4().hex[:8]}"
    digits = ", ".join(f"({digit})" for digit in range(10))
    rest.run(
        f"CREATE TABLE {name} AS SELECT a.n + 10 * b.n + 100 * c.n AS id,"
        " CASE WHEN b.n = 3 THEN NULL WHEN MOD(a.n, 3) = 0 THEN 'open' WHEN MOD(a.n, 3) = 1 THEN 'paid'"
        " ELSE 'sent' END AS status,"
        " CAST('2024-01-0' || CAST(MOD(b.n, 9) + 1 AS VARCHAR) AS DATE) AS \"day\","
        " CASE WHEN c.n = 5 THEN NULL ELSE CAST(a.n * 1.25 + c.n AS DECIMAL(12, 2)) END AS amount"
        f" FROM (VALUES {digits}) AS a(n), (VALUES {digits}) AS b(n), (VALUES {digits}) AS c(n)"
    )
    yield name
    rest.run(f"DROP TABLE IF EXISTS {name}")
