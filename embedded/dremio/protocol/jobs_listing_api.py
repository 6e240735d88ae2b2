"""GET /apiv2/jobs-listing/v1.0: the job list of Dremio's own web pages (JobsListingResource, PartialJobListingItem).

It is the only list of jobs that the community edition has; ``sys.jobs`` belongs to the enterprise edition. The filter
is Dremio's: ``jst=="RUNNING"`` (state), ``usr==``, ``qt==`` (query type), joined by ``;`` (and) or ``,`` (or), with
parentheses. ``*=contains=x`` looks for a text in the statement or the id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from embedded.dremio.jobs.model import Job
from embedded.dremio.protocol.responses import ApiError, JsonResponse, number_parameter

LISTED_JOBS = 2_000

_Test = Callable[[Job], bool]

# The web pages group the API's query types; others are compared as they are.
_QUERY_TYPES = {
    "UI": {"UI_RUN", "UI_PREVIEW"},
    "EXTERNAL": {"ODBC", "JDBC", "REST", "FLIGHT"},
    "ACCELERATION": {"ACCELERATOR_CREATE", "ACCELERATOR_EXPLAIN", "ACCELERATOR_DROP"},
    "INTERNAL": {"METADATA_REFRESH"},
}


class _Filter:
    """Reads a filter: or := and (',' and)* ; and := term (';' term)* ; term := '(' or ')' | name op value."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0

    def read(self) -> _Test:
        test = self._alternatives()
        if self.position != len(self.text):
            raise self._error()
        return test

    def _error(self) -> ApiError:
        return ApiError(400, f"The filter [{self.text}] cannot be read at position {self.position}.")

    def _take(self, token: str) -> bool:
        found = self.text.startswith(token, self.position)
        self.position += len(token) if found else 0
        return found

    def _alternatives(self) -> _Test:
        tests = [self._conjunction()]
        while self._take(","):
            tests.append(self._conjunction())
        return lambda job: any(test(job) for test in tests)

    def _conjunction(self) -> _Test:
        tests = [self._term()]
        while self._take(";"):
            tests.append(self._term())
        return lambda job: all(test(job) for test in tests)

    def _term(self) -> _Test:
        if self._take("("):
            test = self._alternatives()
            if not self._take(")"):
                raise self._error()
            return test
        for name, operator, compare in _COMPARISONS:
            if self._take(name + operator):
                value = self._value()
                if name == "st" and not value.isdigit():
                    raise self._error()
                return lambda job, compare=compare: compare(job, value)  # type: ignore[misc]
        raise self._error()

    def _value(self) -> str:
        quoted = self._take('"')
        stops = '"' if quoted else ",;)"
        start = self.position
        while self.position < len(self.text) and self.text[self.position] not in stops:
            self.position += 1
        value = self.text[start : self.position]
        if quoted and not self._take('"'):
            raise self._error()
        return value


def read_filter(text: str) -> _Test:
    """The test that a filter states. Raises ApiError 400 when it cannot be read."""
    return _Filter(text).read()


_COMPARISONS: list[tuple[str, str, Callable[[Job, str], bool]]] = [
    ("jst", "==", lambda job, value: job.state == value),
    ("jst", "!=", lambda job, value: job.state != value),
    ("usr", "==", lambda job, value: job.user == value),
    ("qt", "==", lambda job, value: job.query_type in _QUERY_TYPES.get(value, {value})),
    ("job", "==", lambda job, value: job.job_id == value),
    ("st", "=gt=", lambda job, value: _milliseconds(job.started_at) > int(value)),
    ("st", "=lt=", lambda job, value: _milliseconds(job.started_at) < int(value)),
    ("*", "=contains=", lambda job, value: value.lower() in job.sql.lower() or value == job.job_id),
]


def _milliseconds(at: dt.datetime) -> int:
    return int(at.timestamp() * 1000)


def _item(job: Job) -> dict[str, Any]:
    ended = _milliseconds(job.ended_at) if job.ended_at else 0
    until = ended or _milliseconds(dt.datetime.now(dt.UTC))
    return {
        "id": job.job_id,
        "state": job.state,
        "user": job.user,
        "startTime": _milliseconds(job.started_at),
        "endTime": ended,
        "duration": until - _milliseconds(job.started_at),
        "outputRecords": job.row_count or 0,
        "wlmQueue": "",
        "queryText": job.sql,
        "description": job.sql,
        "queryType": job.query_type,
        "requestType": "RUN_SQL",
        "accelerated": any(one["relationship"] == "CHOSEN" for one in job.reflections),
        "queriedDatasets": [
            {"datasetName": path.split(".")[-1], "datasetPath": path, "datasetPathsList": path.split(".")}
            for path in job.datasets
        ],
        "durationDetails": _durations(job, until),
        "totalAttempts": 1,
        "isComplete": job.done,
    }


def _durations(job: Job, until: int) -> list[dict[str, Any]]:
    starts = [_milliseconds(at) for _, at in job.history]
    ends = [*starts[1:], until]
    return [
        {"phaseName": state, "phaseDuration": str(end - start), "phaseStartTime": str(start)}
        for (state, _), start, end in zip(list(job.history), starts, ends, strict=False)
    ]


def list_jobs(request: Request) -> Response:
    """The newest first, of all users for an administrator, else the caller's own. ``next`` is the next page."""
    offset, limit = number_parameter(request, "offset", 0), number_parameter(request, "limit", 100)
    filter_text = request.query_params.get("filter", "")
    wanted = read_filter(filter_text) if filter_text else lambda job: True
    user = request.state.user
    jobs = [
        job
        for job in request.app.state.services.jobs.recent(LISTED_JOBS)
        if (user.is_admin or job.user == user.name) and wanted(job)
    ]
    page = jobs[offset : offset + limit]
    body: dict[str, Any] = {"jobs": [_item(job) for job in page]}
    if len(page) == limit:
        body["next"] = f"/apiv2/jobs-listing/v1.0/?offset={offset + limit}&limit={limit}" + (
            f"&filter={quote(filter_text)}" if filter_text else ""
        )
    return JsonResponse(body)
