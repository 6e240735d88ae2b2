"""Runs jobs: one worker process per attempt, retries with growing pauses, cancellation, limits of time.

Workers are forked from a fork server that has the heavy imports done, so an attempt starts in milliseconds.
"""

import contextlib
import logging
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import psycopg

from embedded.airbyte.catalog import DiscoveredStream
from embedded.airbyte.failures import SyncFailure
from embedded.airbyte.jobs import TERMINAL, Jobs
from embedded.airbyte.worker import entry

log = logging.getLogger("embedded.airbyte.supervisor")
T = TypeVar("T")

DEFAULT_MAX_RETRIES = 3
DEFAULT_TIMEOUT_MINUTES = 60
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
STOP_SECONDS = 5.0
DISCOVERY_SECONDS = 60.0
CONCURRENT_JOBS = 8


class Supervisor:
    """Starts and ends the worker processes of this server.

    :param database_url: given to the workers, which record their attempts themselves.
    :param scratch: folder for files on their way; each attempt has a folder of its own within.
    """

    def __init__(self, jobs: Jobs, database_url: str, scratch: str) -> None:
        self._jobs = jobs
        self._database_url = database_url
        self._scratch = scratch
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["embedded.airbyte.worker.preload"])
        self._threads = ThreadPoolExecutor(CONCURRENT_JOBS, thread_name_prefix="job")
        self._processes: dict[int, BaseProcess] = {}
        self._wake: dict[int, threading.Event] = {}
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._starting = threading.Lock()

    def warm_up(self) -> None:
        """Start the fork server in the background, so that the first job hardly waits for its imports."""
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no threads in what is forked
        process = self._context.Process(target=entry.warm_up)
        threading.Thread(target=process.start, daemon=True, name="warm-up").start()

    def recover(self) -> None:
        """Take up the jobs that a server which is gone has left; their running attempts have failed."""
        gone = SyncFailure(
            "The Airbyte server stopped while the attempt ran.", origin="platform", kind="transient_error"
        )
        for job in self._jobs.unfinished():
            for attempt in self._jobs.attempts(job["job_id"]):
                self._jobs.end_attempt(job["job_id"], attempt["number"], gone, _now_ms())
            self.submit(job["job_id"])

    def submit(self, job_id: int) -> None:
        """Run a pending job as soon as a thread is free."""
        with self._lock:
            self._wake[job_id] = threading.Event()
        self._threads.submit(self._run, job_id)

    def cancel(self, job_id: int) -> bool:
        """Cancel a job and wait until its worker has ended; False if the job was finished already."""
        with self._starting:
            cancelled = self._jobs.set_status(job_id, "cancelled")
        with self._lock:
            process, wake = self._processes.get(job_id), self._wake.get(job_id)
        if cancelled and wake is not None:
            wake.set()
        if cancelled and process is not None:
            _stop(process)
            for attempt in self._jobs.attempts(job_id):
                self._jobs.end_attempt(job_id, attempt["number"], _cancelled(), _now_ms())
        return cancelled

    def discover(
        self, type_: str, configuration: dict[str, Any], manifest: dict[str, Any] | None
    ) -> list[DiscoveredStream]:
        """What streams a source offers, found out in a process of its own.

        :raises SyncFailure: the source could not be reached or refused.
        """
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=entry.run_discovery, args=(sender, type_, configuration, manifest))
        process.start()
        sender.close()
        try:
            answer = receiver.recv() if receiver.poll(DISCOVERY_SECONDS) else None
        except EOFError:
            answer = None
        finally:
            _stop(process)
        if answer is None:
            raise SyncFailure(
                f"Discovery of the source gave no answer within {DISCOVERY_SECONDS:.0f} seconds.",
                origin="source",
                kind="transient_error",
            )
        if isinstance(answer, tuple):
            message, origin, kind, detail = answer
            raise SyncFailure(message, origin=origin, kind=kind, detail=detail)
        return list(answer)

    def close(self) -> None:
        """Stop all workers; their jobs are taken up by the next server."""
        self._closing.set()
        with self._lock:
            processes, events = list(self._processes.values()), list(self._wake.values())
        for event in events:
            event.set()
        for process in processes:
            _stop(process)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, job_id: int) -> None:
        try:
            settings = self._persist(lambda: self._jobs.settings(job_id))
            retries = int(settings.get("max_retries", DEFAULT_MAX_RETRIES))
            minutes = float(settings.get("timeout_minutes", DEFAULT_TIMEOUT_MINUTES))
            while not self._closing.is_set():
                number = self._persist(lambda: self._jobs.begin_attempt(job_id))
                if number is None:
                    return
                self._run_attempt(job_id, number, minutes * 60)
                if self._closing.is_set() or self._job_ended(job_id, number, retries):
                    return
                pause = min(FIRST_PAUSE_SECONDS * 2**number, LONGEST_PAUSE_SECONDS)
                self._wake[job_id].wait(pause * random.uniform(0.9, 1.1))
        except _Closing:
            log.info("Job %s is left for the next server.", job_id)
        except Exception:
            log.exception("Job %s could not be supervised", job_id)
        finally:
            with self._lock:
                self._wake.pop(job_id, None)

    def _run_attempt(self, job_id: int, number: int, seconds: float) -> None:
        """Run a worker to its end, and see to it that the attempt has an outcome."""
        process = self._context.Process(
            target=entry.run_attempt,
            args=(self._database_url, job_id, number, self._scratch),
            name=f"airbyte-job-{job_id}-{number}",
        )
        with self._starting:  # a cancellation has come before, or finds the process
            job = self._persist(lambda: self._jobs.get(job_id))
            if job is None or job["status"] in TERMINAL:
                self._persist(lambda: self._jobs.end_attempt(job_id, number, _cancelled(), _now_ms()))
                return
            process.start()
            with self._lock:
                self._processes[job_id] = process
        try:
            process.join(seconds)
            if process.is_alive():
                _stop(process)
                failure = SyncFailure(
                    f"The attempt took longer than {seconds / 60:g} minutes (lakehouse.timeout_minutes) "
                    "and was stopped.",
                    origin="platform",
                    kind="transient_error",
                )
            else:
                failure = SyncFailure(
                    f"The worker process ended unexpectedly ({_ending(process.exitcode)}).",
                    origin="platform",
                    kind="system_error",
                )
        finally:
            with self._lock:
                self._processes.pop(job_id, None)
        if not self._closing.is_set():
            self._persist(lambda: self._jobs.end_attempt(job_id, number, failure, _now_ms()))

    def _job_ended(self, job_id: int, number: int, retries: int) -> bool:
        """Whether the job is over after this attempt; if it is to be retried it is now `incomplete`."""
        job = self._persist(lambda: self._jobs.get(job_id))
        if job is None or job["status"] in TERMINAL:
            return True
        attempts = self._persist(lambda: self._jobs.attempts(job_id))
        hopeless = any(not reason["retryable"] for reason in attempts[-1]["failures"])
        over = hopeless or number >= retries
        self._persist(lambda: self._jobs.set_status(job_id, "failed" if over else "incomplete"))
        return over

    def _persist(self, action: Callable[[], T]) -> T:
        """Do something in the database, however long the database is away."""
        pause = 0.5
        while True:
            try:
                return action()
            except psycopg.OperationalError as error:
                log.warning("The database does not answer, trying again in %.1f s: %s", pause, error)
                if self._closing.wait(pause):
                    raise _Closing from error
                pause = min(pause * 2, 10)


class _Closing(Exception):
    """The server stops while the database is away."""


def _stop(process: BaseProcess) -> None:
    """End a process: asked first, then forced."""
    with contextlib.suppress(ValueError):  # closed already
        process.terminate()
        process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _cancelled() -> SyncFailure:
    return SyncFailure("The job was cancelled.", origin="platform", kind="config_error")


def _ending(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by signal {-exit_code}"
    return f"exit code {exit_code}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
