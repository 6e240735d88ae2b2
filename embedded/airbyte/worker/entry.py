"""Where worker processes begin. The server imports this module, so nothing heavy is imported at its top."""

from multiprocessing.connection import Connection
from typing import Any


def run_attempt(database_url: str, job_id: int, attempt: int, scratch: str) -> None:
    """One attempt of a job; its outcome is in the database and in the exit code."""
    from embedded.airbyte.worker.attempt import run_attempt

    run_attempt(database_url, job_id, attempt, scratch)


def run_discovery(
    answer: Connection, type_: str, configuration: dict[str, Any], manifest: dict[str, Any] | None
) -> None:
    """One discovery of a source's streams; sends what it found, or why it could not."""
    from embedded.airbyte.worker.attempt import run_discovery

    run_discovery(answer, type_, configuration, manifest)


def warm_up() -> None:
    """Nothing: starting it starts the fork server."""
