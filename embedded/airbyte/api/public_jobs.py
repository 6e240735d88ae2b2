"""Jobs in the public API."""

from datetime import UTC, datetime
from typing import Any

from embedded.airbyte.api import shapes
from embedded.airbyte.api.calls import Call, Problem, bad_request, not_found, page, unprocessable
from embedded.airbyte.database import Row
from embedded.airbyte.jobs import ACTIVE, CONFIG_TYPES, ORDER_COLUMNS, TERMINAL, AlreadyRunning
from embedded.airbyte.service import Service

TIMES = {
    "createdAtStart": "created_at_start",
    "createdAtEnd": "created_at_end",
    "updatedAtStart": "updated_at_start",
    "updatedAtEnd": "updated_at_end",
}


class PublicJobs:
    """The endpoints; each takes a Call and gives the answer's JSON."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._jobs = service.jobs

    def create(self, call: Call) -> Any:
        """Add a job; answers as soon as its row exists."""
        connection_id = call.required_id("connectionId")
        job_type = call.required("jobType")
        if job_type not in CONFIG_TYPES:
            raise unprocessable(f"jobType is {job_type!r}: expected one of {', '.join(CONFIG_TYPES)}.")
        connection = self._service.connections.get(connection_id)
        if connection is None:
            raise not_found("connection", connection_id)
        if connection["status"] != "active":
            raise Problem(409, "state-conflict", f"Could not fulfill request: connection {connection_id} is inactive.")
        try:
            return shapes.job(self._service.start_job(connection, job_type), None)
        except AlreadyRunning as error:
            raise Problem(409, "try-again-later", str(error)) from error

    def get(self, call: Call) -> Any:
        row = self._jobs.get(_job_id(call))
        if row is None:
            raise not_found("job", call.path["jobId"])
        return shapes.job(row, self._jobs.attempts(row["job_id"]))

    def cancel(self, call: Call) -> Any:
        """Cancel what runs on the job's connection, and answer when it has stopped; a finished job stays as it is."""
        row = self._jobs.get(_job_id(call))
        if row is None:
            raise Problem(409, "state-conflict", "Job is not currently running")
        running = self._jobs.active_job(row["connection_id"])
        if running is not None:
            self._service.supervisor.cancel(running["job_id"])
        return shapes.job(self._jobs.get(row["job_id"]) or row, None)

    def list(self, call: Call) -> Any:
        limit, offset = call.number("limit", 20, 1, 100), call.number("offset", 0, 0, 2**31)
        order, descending = _order(call.first("orderBy"))
        connection = call.ids("connectionId")
        rows, _ = self._jobs.search(
            connection_ids=connection,
            workspace_ids=call.ids("workspaceIds"),
            config_types=_config_types(call.first("jobType")),
            statuses=_statuses(call.first("status")),
            times={ours: _time(call.first(name), name) for name, ours in TIMES.items() if call.first(name)},
            order=order,
            descending=descending,
            limit=limit,
            offset=offset,
        )
        return page(call, [self._with_counts(row) for row in rows], limit, offset)

    def _with_counts(self, row: Row) -> dict[str, Any]:
        return shapes.job(row, self._jobs.attempts(row["job_id"]))


def _job_id(call: Call) -> int:
    text = str(call.path["jobId"])
    if not text.isdigit() or int(text) >= 2**63:
        raise bad_request(f"jobId is {text!r}: expected a number.")
    return int(text)


def _order(text: str | None) -> tuple[str, bool]:
    name, _, direction = (text or "createdAt|ASC").partition("|")
    if name not in ORDER_COLUMNS or direction not in ("ASC", "DESC"):
        raise bad_request(f"orderBy is {text!r}: expected createdAt or updatedAt, then |ASC or |DESC.")
    return ORDER_COLUMNS[name], direction == "DESC"


def _config_types(text: str | None) -> Any:
    if text is None:
        return None
    if text not in CONFIG_TYPES:
        raise bad_request(f"jobType is {text!r}: expected one of {', '.join(CONFIG_TYPES)}.")
    return [CONFIG_TYPES[text]]


def _statuses(text: str | None) -> Any:
    if text is None:
        return None
    if text not in (*ACTIVE, *TERMINAL, "queued"):
        raise bad_request(f"status is {text!r}: expected one of {', '.join((*ACTIVE, *TERMINAL))}.")
    return [text]


def _time(text: str | None, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise bad_request(f"{name} is {text!r}: expected a time like 2026-05-01T00:00:00Z.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
