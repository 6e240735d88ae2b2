"""SQL and jobs: POST /sql, GET /job/{id}, its results, its cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from embedded.dremio.engine import Session
from embedded.dremio.jobs.model import Job, JobState
from embedded.dremio.protocol.catalog_json import moment
from embedded.dremio.protocol.json_values import rows_json, schema_json
from embedded.dremio.protocol.responses import (
    ApiError,
    JsonResponse,
    body_object,
    no_content,
    number_parameter,
)

# dbt sleeps 0.2 s between two polls: a job that is done before the answer to POST /sql saves it the wait.
QUICK_JOB_SECONDS = 1.0
MAX_PAGE = 500


def job_json(job: Job) -> dict[str, Any]:
    """The job as GET /job/{id} shows it; what is not known yet is left out."""
    body: dict[str, Any] = {
        "jobState": job.state,
        "errorMessage": job.error_message,
        "startedAt": moment(job.started_at),
        "queryType": job.query_type,
        "queueName": "UI Previews" if job.query_type == "UI_PREVIEW" else "Low Cost User Queries",
        "queueId": "LOW_COST_USER_QUERIES",
        "cancellationReason": job.cancellation_reason,
    }
    if job.row_count is not None:
        body["rowCount"] = job.row_count
    if job.ended_at is not None:
        body["endedAt"] = moment(job.ended_at)
    queued, starting = job.entered_at(JobState.QUEUED), job.entered_at(JobState.STARTING)
    if queued is not None and starting is not None:
        body["resourceSchedulingStartedAt"] = moment(queued)
        body["resourceSchedulingEndedAt"] = moment(starting)
    if job.state is JobState.COMPLETED and job.reflections:
        body["acceleration"] = {"reflectionRelationships": job.reflections}
    return body


async def post_sql(request: Request) -> Response:
    """POST /sql {sql, context}: the id of the job. SQL that fails makes a FAILED job, not an error here."""
    body = await body_object(request)
    sql, context = body.get("sql"), body.get("context") or []
    if not isinstance(sql, str) or not sql.strip():
        raise ApiError(400, "The field sql must be the text of a statement.")
    if not isinstance(context, list) or not all(isinstance(part, str) for part in context):
        raise ApiError(400, "The field context must be a list of names.")
    for source, reference in (body.get("references") or {}).items():
        raise ApiError(400, f"Source [{source}] does not support versioning: the reference {reference} cannot be used.")
    session = Session(user=request.state.user.name, context=tuple(context))
    job = request.app.state.services.runner.submit(sql, session, "REST")
    await asyncio.wait([asyncio.wrap_future(job.future)], timeout=QUICK_JOB_SECONDS)
    return JsonResponse({"id": job.job_id})


async def find_job(request: Request) -> Job:
    """The job of the path. Raises ApiError 404, also for another user's job unless an administrator asks."""
    job_id = request.path_params["job_id"]
    store = request.app.state.services.jobs
    job: Job | None = store.find_live(job_id) or await asyncio.to_thread(store.find, job_id)
    if job is None or not (request.state.user.is_admin or job.user == request.state.user.name):
        raise ApiError(404, f"Could not find a job with id [{job_id}]")
    return job


async def get_job(request: Request) -> Response:
    """GET /job/{id}."""
    return JsonResponse(job_json(await find_job(request)))


async def get_results(request: Request) -> Response:
    """GET /job/{id}/results?offset=&limit=: a page of at most 500 rows."""
    job = await find_job(request)
    offset, limit = number_parameter(request, "offset", 0), number_parameter(request, "limit", 100)
    if limit > MAX_PAGE:
        raise ApiError(400, f"limit can not exceed {MAX_PAGE} rows")
    if job.state is not JobState.COMPLETED:
        raise ApiError(400, f"Can not fetch details for a job that is in [{job.state}] state.")
    stored = request.app.state.services.results.find(job.job_id)
    if stored is None:
        raise ApiError(400, f"The results of job [{job.job_id}] are no longer kept. Run the statement again.")
    table = await asyncio.to_thread(stored.page, offset, limit) if stored.on_disk else stored.page(offset, limit)
    as_strings = request.headers.get("x-dremio-job-data-number-format") == "number-as-string"
    rows = rows_json(table, as_strings)
    return JsonResponse({"rowCount": stored.rows, "schema": schema_json(stored.schema), "rows": rows})


async def cancel_job(request: Request) -> Response:
    """POST /job/{id}/cancel: 204, also for a job that has ended."""
    job = await find_job(request)
    request.app.state.services.runner.cancel(job, f"Query cancelled by user '{request.state.user.name}'")
    return no_content()
