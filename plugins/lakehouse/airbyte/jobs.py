"""Jobs as Airbyte tells of them, and how often to ask."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from lakehouse.airbyte.exceptions import AirbyteError


class JobStatus(StrEnum):
    """All states of a job (airbyte-platform, JobStatusEnum)."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    INCOMPLETE = "incomplete"  # an attempt failed, the next one is due
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True)
class Job:
    """A job. `rows` and `bytes` are what is committed at the destination; `seconds` how long it has run; `began_at`
    epoch seconds, 0 where Airbyte does not tell.
    """

    job_id: int
    status: JobStatus
    connection_id: str
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    began_at: float = 0.0

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """Read a Job of the public API.

        :raises AirbyteError: it has a state that is not known.
        """
        try:
            status = JobStatus(answer["status"])
        except ValueError as error:
            known = ", ".join(JobStatus)
            raise AirbyteError(
                f"job {answer.get('jobId')} has the state {answer['status']!r}; known are {known}. "
                "This Airbyte is newer than this package: update it."
            ) from error
        return cls(
            int(answer["jobId"]),
            status,
            str(answer["connectionId"]),
            int(answer.get("rowsSynced") or 0),
            int(answer.get("bytesSynced") or 0),
            iso_seconds(answer.get("duration")),
            moment(answer["startTime"]) if answer.get("startTime") else 0.0,
        )


_DURATION = re.compile(r"P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?")


def iso_seconds(text: str | None) -> float:
    """Return the seconds of an ISO-8601 duration (`PT1H2M3.5S`); 0 for none."""
    found = _DURATION.fullmatch(text or "")
    if found is None:
        return 0.0
    days, hours, minutes, seconds = (float(found.group(name) or 0) for name in "dhms")
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def moment(text: str) -> float:
    """Return the epoch seconds of an ISO date or time; UTC unless it says otherwise.

    :raises ValueError: it is none.
    """
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def interval(elapsed: float) -> float:
    """Return the seconds until a job that was started `elapsed` seconds ago is asked for again.

    A tenth of its age, from half a second to half a minute: the end of an 8 s sync is seen within 0.8 s, and a
    sync of two hours is asked about twice a minute.
    """
    return min(30.0, max(0.5, elapsed / 10))


def stream_rows(details: Mapping[str, Any]) -> dict[str, int]:
    """Return rows committed per stream, added up over the attempts of a job of the config API (JobInfo)."""
    rows: dict[str, int] = {}
    for entry in details.get("attempts") or []:
        for stream in (entry.get("attempt") or {}).get("streamStats") or []:
            count = (stream.get("stats") or {}).get("recordsCommitted") or 0
            rows[stream["streamName"]] = rows.get(stream["streamName"], 0) + int(count)
    return rows


def failure_reason(details: Mapping[str, Any]) -> str:
    """Return why the last failed attempt of a JobInfo failed, in one line; empty if it does not say."""
    for entry in reversed(details.get("attempts") or []):
        summary = (entry.get("attempt") or {}).get("failureSummary") or {}
        for failure in summary.get("failures") or []:
            text = failure.get("externalMessage") or failure.get("internalMessage")
            if text:
                return f"{' '.join(str(text).split())} (from the {failure.get('failureOrigin') or 'sync'})"
    return ""


def needs_repair(details: Mapping[str, Any]) -> bool:
    """Return whether the last failed attempt failed for its configuration, so that trying again cannot help."""
    failures = [
        failure
        for entry in details.get("attempts") or []
        for failure in ((entry.get("attempt") or {}).get("failureSummary") or {}).get("failures") or []
    ]
    return bool(failures) and failures[-1].get("failureType") == "config_error"


_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean"}
_FORMATS = {"date": "date", "date-time": "timestamp"}


def stream_columns(connection: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return stream -> column -> type of a connection of the config API (its `syncCatalog`).

    Types are string, integer, number, boolean, date and timestamp, as a stream without data is published with.
    """
    streams = (connection.get("syncCatalog") or {}).get("streams") or []
    return {
        entry["stream"]["name"]: {
            name: _type(schema)
            for name, schema in (entry["stream"].get("jsonSchema") or {}).get("properties", {}).items()
        }
        for entry in streams
    }


def _type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "string"
    kinds = schema.get("type") or "string"
    named = [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"]
    if schema.get("airbyte_type") == "integer":
        return "integer"
    if named == ["string"]:
        return _FORMATS.get(schema.get("format", ""), "string")
    return _TYPES.get(named[0], "string") if len(named) == 1 else "string"
