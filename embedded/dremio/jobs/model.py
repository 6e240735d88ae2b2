"""A job: one statement, from its submission to its end, as ``GET /api/v3/job/{id}`` shows it."""

from __future__ import annotations

import datetime as dt
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """The states of Dremio's ``job.proto`` that a statement passes here, in the order of a normal run."""

    NOT_SUBMITTED = "NOT_SUBMITTED"
    PENDING = "PENDING"
    METADATA_RETRIEVAL = "METADATA_RETRIEVAL"
    PLANNING = "PLANNING"
    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"


TERMINAL = frozenset({JobState.COMPLETED, JobState.CANCELED, JobState.FAILED})


@dataclass
class Job:
    """The live state of a job. Only the thread that runs it changes its state; all may read it."""

    sql: str
    user: str
    query_type: str
    context: list[str] = field(default_factory=list)
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: JobState = JobState.NOT_SUBMITTED
    history: list[tuple[JobState, dt.datetime]] = field(default_factory=list)
    row_count: int | None = None
    error_message: str = ""
    cancellation_reason: str = ""
    reflections: list[dict[str, str]] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    started_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    ended_at: dt.datetime | None = None
    future: Future[None] = field(default_factory=Future, repr=False)
    handle: Any = field(default=None, repr=False)

    @property
    def done(self) -> bool:
        return self.state in TERMINAL

    def enter(self, state: JobState) -> None:
        """Go to a state and remember when."""
        now = dt.datetime.now(dt.UTC)
        self.history.append((state, now))
        if state in TERMINAL:
            self.ended_at = now
        self.state = state

    def entered_at(self, state: JobState) -> dt.datetime | None:
        """When the job first entered the state, or None."""
        return next((at for entered, at in self.history if entered == state), None)
