"""One attempt of a job, in its own process: from the stored connection to committed state."""

import logging
import os
import shutil
import tempfile
import threading
import time
import traceback
from dataclasses import replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psycopg

from embedded.airbyte.catalog import FOLLOWING, ConfiguredStream, DiscoveredStream, follow
from embedded.airbyte.destinations import open_destination
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.sources import open_source
from embedded.airbyte.worker.delivery import Delivery
from embedded.airbyte.worker.ledger import AttemptOver, Ledger

log = logging.getLogger("embedded.airbyte.worker")


def run_attempt(database_url: str, job_id: int, attempt: int, scratch: str) -> None:
    """Work through one attempt; its outcome is in the database, and in the exit code (0 good, 1 failed)."""
    _die_with_parent()
    folder = Path(scratch) / f"job_{job_id}_{attempt}"
    folder.mkdir(parents=True)
    tempfile.tempdir = str(folder)  # what a killed attempt leaves is removed with the folder
    ledger = Ledger(database_url, job_id, attempt)
    try:
        _work(ledger)
        ledger.succeed()
    except AttemptOver as over:
        log.warning("%s", over)
        raise SystemExit(1) from None
    except Exception as error:
        _fail(ledger, as_failure(error))
        raise SystemExit(1) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        ledger.close()


def run_discovery(
    answer: Connection, type_: str, configuration: dict[str, Any], manifest: dict[str, Any] | None
) -> None:
    """Discover a source's streams and send back the list, or the SyncFailure."""
    _die_with_parent()
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # what a source that fails leaves is removed with the folder
        try:
            answer.send(open_source(type_, configuration, manifest, {}).discover())
        except Exception as error:
            failure = as_failure(error)
            answer.send((failure.message, failure.origin, failure.kind, failure.detail))


def as_failure(error: Exception) -> SyncFailure:
    """Any error as a failure with a reason; one that was not foreseen names its kind and keeps its trace."""
    if isinstance(error, SyncFailure):
        return error
    if isinstance(error, psycopg.OperationalError):
        return SyncFailure(
            "The embedded Airbyte's own database could not be reached; check that PostgreSQL runs.",
            origin="platform",
            kind="transient_error",
            detail=str(error),
        )
    detail = "".join(traceback.format_exception(error))
    return SyncFailure(
        f"Unexpected {type(error).__name__}: {error}", origin="platform", kind="system_error", detail=detail
    )


def _work(ledger: Ledger) -> None:
    job = ledger.job()
    started_ms = time.time_ns() // 1_000_000
    destination = open_destination(
        job["destination_type"],
        job["destination_configuration"],
        ledger,
        job["connection_id"],
        started_ms,
    )
    try:
        delivery = Delivery(ledger, destination, job, started_ms)
        streams = [ConfiguredStream(**stream) for stream in job["streams"]]
        if job["config_type"] == "sync":
            _sync(ledger, job, streams, delivery)
        else:
            _clear(ledger, job, streams, delivery)
    finally:
        destination.close()


def _sync(ledger: Ledger, job: dict[str, Any], streams: list[ConfiguredStream], delivery: Delivery) -> None:
    names = ", ".join(stream.name for stream in streams)
    ledger.log("INFO", f"Sync of connection {job['name']} from source {job['source_name']}: {names}.")
    source = open_source(job["source_type"], job["source_configuration"], job["manifest"], job["lakehouse"])
    streams = _with_live_columns(streams, source.discover(), job, ledger)
    source.read(streams, delivery.states(), delivery)
    delivery.finish()
    now = [stream.as_json() for stream in streams]
    if now != job["streams"]:
        ledger.save_streams(job["connection_id"], job["streams"], now)
    ledger.log("INFO", "Sync finished.")


def _clear(ledger: Ledger, job: dict[str, Any], streams: list[ConfiguredStream], delivery: Delivery) -> None:
    rejected = [
        ConfiguredStream(entry["name"], "full_refresh_append") for entry in job["lakehouse"].get("rejected_streams", [])
    ]
    # State first: a kill after the data is gone and before the state is would leave a hole.
    ledger.clear_states(job["connection_id"])
    for stream in [*streams, *rejected]:
        delivery.remove_all(stream)
    ledger.log("INFO", f"Cleared data and state of {len(streams)} streams.")


def _with_live_columns(
    streams: list[ConfiguredStream], offered: list[DiscoveredStream], job: dict[str, Any], ledger: Ledger
) -> list[ConfiguredStream]:
    """The streams with the columns that the source has now, by the connection's policy on schema changes.

    :raises SyncFailure: a stream, or a column that a stream cannot do without, is gone.
    """
    live = {stream.name: stream.columns for stream in offered}
    if job["schema_changes"] == "propagate_fully":
        streams = _followed(streams, follow(streams, offered), job, ledger)
    for stream in streams:
        if stream.name not in live:
            raise _gone(
                f"Stream {stream.name} of connection {job['name']} is not in its source any more (renamed, "
                f"dropped, or not readable); the source has: {', '.join(sorted(live)) or 'nothing'}."
            )
    if job["schema_changes"] == "disable_connection":
        changed = [stream.name for stream in streams if live[stream.name] != stream.columns]
        if changed:
            ledger.disable_connection(job["connection_id"])
            raise _gone(
                f"The columns of {', '.join(changed)} changed, and connection {job['name']} is to be disabled "
                "then: it is inactive now. Accept the columns (PATCH configurations) and activate it."
            )
    return [_with_columns(stream, live[stream.name], job["schema_changes"]) for stream in streams]


def _followed(
    before: list[ConfiguredStream], now: list[ConfiguredStream], job: dict[str, Any], ledger: Ledger
) -> list[ConfiguredStream]:
    names, kept = {stream.name for stream in before}, {stream.name for stream in now}
    if gone := sorted(names - kept):
        ledger.log(
            "WARN", f"{', '.join(gone)}: gone from the source, and no stream any more; what was delivered stays."
        )
    if new := sorted(kept - names):
        ledger.log("INFO", f"{', '.join(new)}: new in the source, and a stream from now on.")
    if not now:
        raise _gone(f"The source of connection {job['name']} has no stream any more; see that it is readable.")
    return now


def _with_columns(stream: ConfiguredStream, live: dict[str, Any], policy: str) -> ConfiguredStream:
    for key in [*stream.primary_key, *([stream.cursor] if stream.cursor else [])]:
        if key not in live:
            raise _gone(
                f"Stream {stream.name}: its cursor or key column {key} is gone from the source; "
                "restore the column or configure another."
            )
    known = {name: schema for name, schema in live.items() if name in stream.columns}
    if policy not in FOLLOWING:
        return replace(stream, columns=known)
    # a new column is followed even where columns were selected, as Airbyte does
    new = [name for name in live if name not in known]
    selected = None if stream.selected is None else [*stream.selected, *new]
    return replace(stream, columns=live, selected=selected)


def _gone(message: str) -> SyncFailure:
    return SyncFailure(message, origin="source", kind="config_error")


def _fail(ledger: Ledger, failure: SyncFailure) -> None:
    try:
        ledger.log(
            "ERROR", f"{failure.message}\n{failure.detail}" if failure.detail != failure.message else failure.message
        )
        ledger.fail(failure, time.time_ns() // 1_000_000)
    except (psycopg.Error, AttemptOver) as error:
        # The supervisor sees the exit code and records the attempt as failed once the database answers.
        log.error("Could not record the failure %r: %s", failure.message, error)


def _die_with_parent() -> None:
    """End this process when the server that started it is gone, so that no orphan goes on working."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
