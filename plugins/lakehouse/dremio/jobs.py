"""Dremio jobs: states, what the server says about one, and the comment that tags its statement.

Source: Dremio's Job API (`GET /api/v3/job/{id}`) and `job.proto` of dremio-oss 25.2.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from lakehouse.dremio.exceptions import DremioError, DremioJobCanceled, DremioJobFailed


class JobState(StrEnum):
    """State of a job. `CANCELED` has one L."""

    NOT_SUBMITTED = "NOT_SUBMITTED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    CANCELLATION_REQUESTED = "CANCELLATION_REQUESTED"
    ENQUEUED = "ENQUEUED"
    PLANNING = "PLANNING"
    PENDING = "PENDING"
    METADATA_RETRIEVAL = "METADATA_RETRIEVAL"
    QUEUED = "QUEUED"
    ENGINE_START = "ENGINE_START"
    EXECUTION_PLANNING = "EXECUTION_PLANNING"
    INVALID_STATE = "INVALID_STATE"

    @property
    def is_terminal(self) -> bool:
        """True when the state will not change any more."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobState.COMPLETED, JobState.CANCELED, JobState.FAILED, JobState.INVALID_STATE})


@dataclass(frozen=True)
class Job:
    """What the server says about one job.

    :param row_count: Rows returned or written; None where the server names none.
    :param chosen: Ids of the reflections that answered the query; `considered`: of those it looked at.
    """

    job_id: str
    state: JobState
    row_count: int | None = None
    error: str = ""
    query_type: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    chosen: tuple[str, ...] = ()
    considered: tuple[str, ...] = field(default=())

    @classmethod
    def parse(cls, job_id: str, body: Mapping[str, Any]) -> Self:
        """Read the body of `GET /job/{id}`.

        :raises DremioError: for a state this package does not know.
        """
        raw = str(body.get("jobState"))
        if raw not in JobState.__members__:
            raise DremioError(f"Dremio job {job_id} is in state {raw!r}, which is none of the known states")
        relations = (body.get("acceleration") or {}).get("reflectionRelationships") or []
        return cls(
            job_id=job_id,
            state=JobState(raw),
            row_count=body.get("rowCount"),
            error=str(body.get("errorMessage") or body.get("cancellationReason") or ""),
            query_type=str(body.get("queryType") or ""),
            started_at=body.get("startedAt"),
            ended_at=body.get("endedAt"),
            chosen=tuple(r["reflectionId"] for r in relations if r.get("relationship") == "CHOSEN"),
            considered=tuple(r["reflectionId"] for r in relations if r.get("relationship") != "CHOSEN"),
        )

    def raise_for_state(self, sql: str | None = None) -> None:
        """Raise when the job ended otherwise than completed; do nothing while it runs.

        :raises DremioJobCanceled, DremioJobFailed: with Dremio's text and the start of the statement.
        """
        if self.state is JobState.CANCELED:
            raise DremioJobCanceled(self.job_id, f"was cancelled: {self.error or 'no reason given'}", sql)
        if self.state in (JobState.FAILED, JobState.INVALID_STATE):
            raise DremioJobFailed(self.job_id, f"failed: {self.error or 'no reason given'}", sql)


def task_tags(context: Mapping[str, Any]) -> dict[str, str | int]:
    """Name the task that is running, for the comment of its statements: dag, task, run, try, map index."""
    ti = context.get("ti")
    if ti is None:
        return {}
    tags: dict[str, str | int] = {
        "dag_id": str(ti.dag_id),
        "task_id": str(ti.task_id),
        "run_id": str(ti.run_id),
        "try_number": int(ti.try_number),
    }
    if (map_index := getattr(ti, "map_index", -1)) is not None and int(map_index) >= 0:
        tags["map_index"] = int(map_index)
    return tags


def with_comment(sql: str, tags: Mapping[str, Any]) -> str:
    """Put `tags` before a statement as a comment of one JSON object; unchanged without tags.

    A `*/` or `//` inside a value is broken up, so that no value can end the comment.
    """
    if not tags:
        return sql
    text = re.sub(r"[*/](?=/)", lambda found: found.group() + " ", json.dumps(dict(tags), sort_keys=True))
    return f"/* {text} */\n{sql}"
