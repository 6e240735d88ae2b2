"""Tasks that are killed by SIGKILL right after one of their writes, and then run again.

A task runs in a forked process, in which everything that writes is counted: HTTP requests of httpx and urllib3
(Dremio, Airbyte, Superset, the object store, dbt), commits on PostgreSQL, files put in their place, and
what the task keeps for its next try. Nothing of the killed process runs afterwards; the servers go on as they would.
"""

import asyncio
import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg2
import psycopg2.extensions
import urllib3
from airflow.sdk.exceptions import TaskDeferred

KILLS = int(os.environ.get("KILLS", "1"))  # of each task
NEVER = 10**6
READS = ("GET", "HEAD", "OPTIONS")
LONGEST = 120  # seconds of one try
FORK = multiprocessing.get_context("fork")


class Store:
    """A task's state store that outlives the process of a try."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str) -> Any:
        return self._all().get(key)

    def set(self, key: str, value: Any) -> None:
        self._keep(self._all() | {key: value})

    def delete(self, key: str) -> None:
        self._keep({name: value for name, value in self._all().items() if name != key})

    def _all(self) -> dict[str, Any]:
        return dict(json.loads(self.path.read_text())) if self.path.exists() else {}

    def _keep(self, values: dict[str, Any]) -> None:
        self.path.write_text(json.dumps(values))


class Tries:
    """The tries of one task in one run."""

    def __init__(self, make: Callable[[], Any], store: Path, **context: Any) -> None:
        self.make, self.store, self.context = make, store, context
        self.made = 0
        self.operator: Any = None
        self.result: Any = None

    def begin_anew(self) -> None:
        """As if the task had not run yet."""
        self.store.unlink(missing_ok=True)

    def run(self) -> Any:
        """One try, here and to its end; plays triggerer for what is deferred. Keeps the result."""
        self.made += 1
        operator = self.operator = self.make()
        ti = SimpleNamespace(
            dag_id="it",
            task_id=operator.task_id,
            run_id="killed",
            try_number=self.made,
            map_index=-1,
            xcom_push=lambda key, value: None,
            get_task_states=lambda **_: {"killed": {"extract.one": "success"}},
        )
        context = {"ti": ti, "task_state_store": Store(self.store)} | self.context
        step, arguments = operator.execute, {}
        while True:
            try:
                self.result = step(context, **arguments)
                return self.result
            except TaskDeferred as deferred:
                event = asyncio.run(_first_event(deferred.trigger))
                step, arguments = getattr(operator, deferred.method_name), {**(deferred.kwargs or {}), "event": event}

    def run_killed_after(self, writes: int) -> int:
        """One try, in a process that kills itself after so many writes. Returns how many it made."""
        made = FORK.Value("i", 0)
        process = FORK.Process(target=self._run_mortal, args=(writes, made))
        process.start()
        self.made += 1
        process.join(LONGEST)
        if process.is_alive():
            process.kill()
            raise AssertionError(f"the try that was to die after {writes} writes did not end in {LONGEST} s")
        assert process.exitcode == (-signal.SIGKILL if made.value == writes else 0), "the try failed: see stderr"
        return made.value

    def _run_mortal(self, writes: int, made: Any) -> None:
        _die_after(writes, made)
        self.run()


def killed_after_its_writes(
    tries: Tries,
    fresh: Callable[[], Any],
    seen: Callable[[], Any],
    readers: Callable[[], Any] = lambda: None,
) -> int:
    """Kill the task after one write and another; each time the next try must end as an unbroken run does.

    Of many writes some are drawn, other ones in each run: KILLS=100 takes all.

    :param fresh: brings the servers to what they are before the task.
    :param seen: what they are after it.
    :param readers: asserts what must hold for readers at any instant.
    :returns: the number of writes of an unbroken run.
    """
    fresh()
    tries.begin_anew()
    writes = tries.run_killed_after(NEVER)
    unbroken = seen()
    for write in sorted(random.sample(range(1, writes + 1), min(writes, KILLS))):
        fresh()
        tries.begin_anew()
        tries.run_killed_after(write)
        readers()
        tries.run()
        assert seen() == unbroken, f"killed after write {write} of {writes}"
    return writes


async def _first_event(trigger: Any) -> Any:
    return (await anext(aiter(trigger.run()))).payload


def _die_after(writes: int, made: Any) -> None:
    """Let this process end, as by the kernel, right after its n-th write. Keeps their number in `made`."""

    def wrote() -> None:
        made.value += 1
        if made.value == writes:
            os.kill(os.getpid(), signal.SIGKILL)

    sends, sends_async, opens = (
        httpx.HTTPTransport.handle_request,
        httpx.AsyncHTTPTransport.handle_async_request,
        urllib3.connectionpool.HTTPConnectionPool.urlopen,
    )
    replaces, connects = os.replace, psycopg2.connect

    def send(self: Any, request: httpx.Request) -> httpx.Response:
        response = sends(self, request)
        if request.method not in READS:
            wrote()
        return response

    async def send_async(self: Any, request: httpx.Request) -> httpx.Response:
        response = await sends_async(self, request)
        if request.method not in READS:
            wrote()
        return response

    def urlopen(self: Any, method: str, *arguments: Any, **options: Any) -> Any:
        response = opens(self, method, *arguments, **options)
        if method not in READS:
            wrote()
        return response

    def replace(*arguments: Any, **options: Any) -> None:
        wrote()  # what is to be put in its place has been written
        replaces(*arguments, **options)
        wrote()

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, query: Any, values: Any = None) -> None:
            super().execute(query, values)
            if str(query).split(maxsplit=1)[0].upper() in ("INSERT", "UPDATE", "DELETE"):
                if self.connection.autocommit:
                    wrote()
                self.connection.written = True

    class Connection(psycopg2.extensions.connection):
        written = False

        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            if self.written:  # a transaction, and now committed: before that it is as if nothing was
                wrote()

    def connect(*arguments: Any, **options: Any) -> Any:
        return connects(*arguments, **options, connection_factory=Connection, cursor_factory=Cursor)

    keeps = Store._keep

    def keep(self: Store, values: dict[str, Any]) -> None:
        keeps(self, values)
        wrote()

    httpx.HTTPTransport.handle_request = send
    httpx.AsyncHTTPTransport.handle_async_request = send_async
    urllib3.connectionpool.HTTPConnectionPool.urlopen = urlopen
    os.replace = replace
    psycopg2.connect = connect
    Store._keep = keep
