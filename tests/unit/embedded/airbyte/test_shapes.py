"""Rows in the forms of the API, secrets hidden."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from embedded.airbyte.actors import MASK, masked, secret_names, unmasked
from embedded.airbyte.api import shapes
from embedded.airbyte.connections import checked_lakehouse

UTC = datetime.UTC
NOON = datetime.datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON, "2026-05-01T12:00Z"),
        (NOON.replace(microsecond=5), "2026-05-01T12:00Z"),
        (NOON.replace(second=7), "2026-05-01T12:00:07Z"),
        (NOON.astimezone(datetime.timezone(datetime.timedelta(hours=2))), "2026-05-01T12:00Z"),
    ],
)
def test_times_are_javas(at: datetime.datetime, text: str) -> None:
    assert shapes.java_time(at) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "PT0S"), (59, "PT59S"), (60, "PT1M"), (3661, "PT1H1M1S"), (90_000, "PT25H")]
)
def test_durations_are_javas(seconds: int, text: str) -> None:
    assert shapes.java_duration(seconds) == text


def job(**changes: Any) -> dict[str, Any]:
    row = {
        "job_id": 7,
        "status": "pending",
        "config_type": "reset_connection",
        "connection_id": "c",
        "created_at": NOON,
        "started_at": None,
        "updated_at": NOON,
    }
    return row | changes


def test_a_pending_job_has_neither_duration_nor_end() -> None:
    assert shapes.job(job(), None) == {
        "jobId": 7,
        "status": "pending",
        "jobType": "reset",
        "startTime": "2026-05-01T12:00Z",
        "connectionId": "c",
    }


def test_counts_are_what_is_committed_over_all_attempts() -> None:
    attempts = [
        {"stream_stats": {"a": {"recordsCommitted": 2, "recordsEmitted": 9, "bytesCommitted": 5}}},
        {"stream_stats": {"a": {"recordsCommitted": 3}, "b": {"recordsCommitted": 4}}},
    ]
    ended = job(status="succeeded", started_at=NOON, updated_at=NOON + datetime.timedelta(seconds=65))
    shape = shapes.job(ended, attempts)
    assert (shape["rowsSynced"], shape["bytesSynced"], shape["duration"]) == (9, 5, "PT1M5S")


def test_secrets_are_masked_at_any_depth() -> None:
    shown = masked(
        {"password": "p", "host": "h", "tunnel": {"ssh_password": "q"}, "empty_token": "", "hidden": "x"}, {"hidden"}
    )
    assert shown == {
        "password": MASK,
        "host": "h",
        "tunnel": {"ssh_password": MASK},
        "empty_token": "",
        "hidden": MASK,
    }


def test_a_mask_that_comes_back_keeps_the_secret() -> None:
    stored = {"password": "p", "tunnel": {"key": "k"}}
    given = {"password": MASK, "host": "new", "tunnel": {"key": MASK}}
    assert unmasked(given, stored) == {"password": "p", "host": "new", "tunnel": {"key": "k"}}


def test_a_manifest_says_what_is_secret() -> None:
    properties = {"key": {"airbyte_secret": True}, "url": {}}
    manifest = {"spec": {"connection_specification": {"properties": properties}}}
    assert secret_names("declarative", manifest) == {"key"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"thread": 4}, "Unknown lakehouse settings: thread"),
        ({"threads": 0}, "lakehouse.threads is 0: expected a number from 1 to 64"),
        ({"threads": True}, "lakehouse.threads is True"),
        ({"max_retries": "3"}, "lakehouse.max_retries is '3'"),
        ({"compression": "zip"}, "expected none or gzip"),
        ({"rejected_streams": [{"name": "x", "stream": "none"}]}, "a stream of the connection"),
        ([], "not an object"),
    ],
)
def test_settings_are_checked(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked_lakehouse(settings, ["orders"])


def test_the_declared_settings_pass() -> None:
    settings = {"batch_size": 10000, "threads": 4, "timeout_minutes": 60, "max_retries": 3, "compression": "gzip"}
    assert checked_lakehouse(settings, []) == settings
