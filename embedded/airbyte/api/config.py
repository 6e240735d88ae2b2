"""The config API, /api/v1: the older interface (POST with JSON for everything), without authentication."""

import time
from typing import Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from embedded.airbyte.api import shapes
from embedded.airbyte.api.calls import Call, Problem, error_id, handler, not_found
from embedded.airbyte.database import Row
from embedded.airbyte.jobs import AlreadyRunning
from embedded.airbyte.service import Service

# how long an answer to a started sync waits for it to run
START_SECONDS = 10.0


def config_app(service: Service) -> Starlette:
    """The ASGI application of the config API."""
    api = ConfigApi(service)
    endpoints = {
        "/connections/sync": api.sync,
        "/connections/reset": api.reset,
        "/connections/clear": api.clear,
        "/connections/get": api.get_connection,
        "/jobs/get": api.get_job,
        "/jobs/get_without_logs": api.get_job_without_logs,
        "/jobs/cancel": api.cancel_job,
        "/jobs/list": api.list_jobs,
        "/state/get": api.get_state,
    }
    routes = [Route(path, handler(endpoint, _answer_error), methods=["POST"]) for path, endpoint in endpoints.items()]
    routes.append(Route("/health", handler(api.health, _answer_error), methods=["GET"]))
    return Starlette(routes=[Mount("/api/v1", routes=routes)])


def _answer_error(error: Exception) -> Response:
    if isinstance(error, AlreadyRunning):
        return JSONResponse({"message": str(error), "errorId": error_id(error)}, 409)
    status = error.status if isinstance(error, Problem) else 500
    return JSONResponse({"errorId": error_id(error)}, status)


class ConfigApi:
    """The endpoints; each takes a Call and gives the answer's JSON."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._jobs = service.jobs

    def health(self, call: Call) -> Any:
        available = self._service.database_answers()
        return JSONResponse({"available": available}, 200 if available else 503)

    def sync(self, call: Call) -> Any:
        return self._start(call, "sync")

    def reset(self, call: Call) -> Any:
        return self._start(call, "reset")

    def clear(self, call: Call) -> Any:
        return self._start(call, "clear")

    def get_connection(self, call: Call) -> Any:
        row = self._connection(call)
        return {
            "connectionId": str(row["connection_id"]),
            "name": row["name"],
            "sourceId": str(row["source_id"]),
            "destinationId": str(row["destination_id"]),
            "syncCatalog": shapes.sync_catalog(row),
            "status": row["status"],
            "breakingChange": False,
            "scheduleType": "manual",
            "namespaceDefinition": row["namespace_definition"].replace("_", ""),
            "namespaceFormat": row["namespace_format"],
            "prefix": row["prefix"],
        }

    def get_job(self, call: Call) -> Any:
        job = self._job(call)
        return self._info(job, with_logs=True)

    def get_job_without_logs(self, call: Call) -> Any:
        return self._info(self._job(call), with_logs=False)

    def cancel_job(self, call: Call) -> Any:
        """Cancel a job and answer when it has stopped; a finished job stays as it is."""
        job = self._job(call)
        self._service.supervisor.cancel(job["job_id"])
        return self._info(self._jobs.get(job["job_id"]) or job, with_logs=True)

    def list_jobs(self, call: Call) -> Any:
        paging = call.body.get("pagination") or {}
        rows, total = self._jobs.search(
            connection_ids=[call.required_id("configId")] if call.body.get("configId") else None,
            config_types=[str(kind) for kind in call.required("configTypes")],
            statuses=call.body.get("statuses") or None,
            descending=True,
            limit=int(paging.get("pageSize") or 20),
            offset=int(paging.get("rowOffset") or 0),
        )
        jobs = []
        for row in rows:
            attempts = self._jobs.attempts(row["job_id"])
            jobs.append(
                {"job": shapes.job_read(row, attempts), "attempts": [shapes.attempt(entry) for entry in attempts]}
            )
        return {"jobs": jobs, "totalJobCount": total}

    def get_state(self, call: Call) -> Any:
        connection_id = call.required_id("connectionId")
        state = self._service.connections.state(connection_id) or {"stateType": "not_set"}
        return {"connectionId": str(connection_id), **state}

    def _start(self, call: Call, job_type: str) -> Any:
        connection = self._connection(call)
        if connection["status"] != "active":
            raise RuntimeError(f"Connection {connection['connection_id']} is {connection['status']}.")
        job = self._service.start_job(connection, job_type)
        deadline = time.monotonic() + START_SECONDS
        while job["status"] == "pending" and time.monotonic() < deadline:
            time.sleep(0.05)
            job = self._jobs.get(job["job_id"]) or job
        return self._info(job, with_logs=True)

    def _info(self, job: Row, *, with_logs: bool) -> dict[str, Any]:
        attempts = self._jobs.attempts(job["job_id"])
        entries = []
        for attempt in attempts:
            entry: dict[str, Any] = {"attempt": shapes.attempt(attempt)}
            if with_logs:
                lines = self._jobs.log_lines(job["job_id"], attempt["number"])
                entry |= {"logType": "formatted", "logs": {"logLines": lines}}
            entries.append(entry)
        return {"job": shapes.job_read(job, None if with_logs else attempts), "attempts": entries}

    def _job(self, call: Call) -> Row:
        job_id = call.required("id")
        row = self._jobs.get(int(job_id)) if str(job_id).isdigit() else None
        if row is None:
            raise not_found("job", job_id)
        return row

    def _connection(self, call: Call) -> Row:
        connection_id = call.required_id("connectionId")
        row = self._service.connections.get(connection_id)
        if row is None:
            raise not_found("connection", connection_id)
        return row
