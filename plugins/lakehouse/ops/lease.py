"""Leases: of two copies of a task, only the newer one writes.

Airflow can start the retry of a task while an orphan of its first try still runs. What publishes or switches
therefore holds a lease, a row in PostgreSQL with a fencing token that grows with each holder, and calls
`check()` right before each write: an older holder's is refused.
"""

import logging
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg2

from lakehouse.ops import database
from lakehouse.ops.schema import ensure_schema

log = logging.getLogger(__name__)

# The same holder (a retry beside its orphan) takes over at once, and an older try never; another holder does when
# the lease has expired.
_ACQUIRE = """
INSERT INTO lease AS l (name, holder, try_number, token, expires_at)
VALUES (%(name)s, %(holder)s, %(try_number)s, 1, clock_timestamp() + %(ttl)s * interval '1 second')
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, try_number = excluded.try_number, token = l.token + 1, expires_at = excluded.expires_at
WHERE CASE WHEN l.holder = excluded.holder THEN l.try_number <= excluded.try_number
      ELSE l.expires_at < clock_timestamp() END
RETURNING token
"""
_RENEW = """
UPDATE lease SET expires_at = clock_timestamp() + %(ttl)s * interval '1 second'
WHERE name = %(name)s AND token = %(token)s RETURNING token
"""
# Expired, not deleted: the token must go on growing.
_RELEASE = "UPDATE lease SET expires_at = '-infinity' WHERE name = %(name)s AND token = %(token)s"


class LeaseError(RuntimeError):
    """Base of what goes wrong with a lease."""


class LeaseHeld(LeaseError):
    """Somebody else holds the lease, and went on holding it for as long as was to be waited."""

    def __init__(self, name: str, holder: str, waited: float) -> None:
        self.name, self.holder, self.waited = name, holder, waited
        super().__init__(
            f"lease {name!r} is held by {holder}, still after {waited:.0f} s. "
            "Wait for that task to end (or stop it), then clear this one."
        )


class LeaseLost(LeaseError):
    """A newer holder took the lease: this process must write nothing more."""

    def __init__(self, name: str, token: int) -> None:
        self.name, self.token = name, token
        super().__init__(
            f"lease {name!r} was taken over by a newer holder (token {token} is void): "
            "another try of this task is at work, this one stops without writing."
        )


class Holder(NamedTuple):
    """Who holds a lease: a name for all tries of a task, and which try it is."""

    name: str
    try_number: int = 0


def holder_of(context: Mapping[str, Any]) -> Holder:
    """Return as what a try of a task holds a lease; the name is `<dag>/<run>/<task>/<map index>`."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return Holder(f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{map_index}", ti.try_number)


class Lease:
    """Hold a lease while the `with` block runs; a thread renews it.

    Example::

        with Lease("lakehouse_db", "publish/postgres/orders", holder=holder_of(context)) as lease:
            write_new_objects()
            lease.check()  # right before what cannot be taken back
            remove_old_objects()

    :param conn_id: Airflow connection of the database with the run records.
    :param name: what is protected.
    :param holder: who holds it, by default the running task (`holder_of`). A newer try takes over from an older
        one at once, and never the other way round; a plain text is a holder without tries.
    :param ttl: seconds after which a holder that died is held to be gone.
    :param wait: seconds to wait for another holder; the default lasts until a dead one's lease expires.
    :ivar token: the fencing token, larger than that of every holder before.
    """

    def __init__(
        self,
        conn_id: str,
        name: str,
        *,
        holder: Holder | str | None = None,
        ttl: float = 30.0,
        wait: float | None = None,
    ) -> None:
        self.conn_id, self.name, self.ttl = conn_id, name, ttl
        self.holder = Holder(holder) if isinstance(holder, str) else holder
        self.wait = ttl + 5 if wait is None else wait
        self.token = 0
        self._dsn = ""
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._renewer: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Take the lease.

        :raises LeaseHeld: another holder kept it for longer than `wait`.
        :raises LeaseLost: a newer try of this holder has or had it.
        :raises psycopg2.Error: the database does not answer.
        :raises RuntimeError: no holder was named and no task is running.
        """
        if self.holder is None:
            from airflow.sdk import get_current_context  # only needed, and only there, inside a task

            self.holder = holder_of(get_current_context())
        self._dsn = database.dsn(self.conn_id)
        ensure_schema(self._dsn)
        started = time.monotonic()
        while not self._acquire():
            waited = time.monotonic() - started
            other = self._current_holder()
            if other.name == self.holder.name and other.try_number > self.holder.try_number:
                raise LeaseLost(self.name, self.token)
            if waited >= self.wait:
                raise LeaseHeld(self.name, other.name, waited)
            time.sleep(min(1.0, self.wait - waited))
        self._renewer = threading.Thread(target=self._renew_until_stopped, name=f"lease {self.name}", daemon=True)
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._renewer is not None:
            self._renewer.join(timeout=self.ttl)
        try:
            self._run(_RELEASE, fetch=False)
        except psycopg2.Error as problem:
            log.warning("lease %r expires in %.0f s, it could not be given back: %s", self.name, self.ttl, problem)

    def check(self) -> None:
        """Prove, against the database, that this process still holds the lease, and prolong it.

        :raises LeaseLost: a newer holder has it.
        :raises psycopg2.Error: the database does not answer: without proof nothing may be written.
        """
        if self._lost.is_set() or not self._run(_RENEW):
            self._lost.set()
            raise LeaseLost(self.name, self.token)

    def check_in(self, cursor: Any) -> None:
        """Like `check`, inside the caller's transaction in the same database: the lease's row stays locked
        until that transaction ends, so that its writes and the lease are one.

        :raises LeaseLost: a newer holder has it.
        """
        cursor.execute(_RENEW, self._values())
        if cursor.fetchone() is None:
            self._lost.set()
            raise LeaseLost(self.name, self.token)

    def _acquire(self) -> bool:
        found = self._run(_ACQUIRE)
        if found:
            self.token = int(found[0])
        return bool(found)

    def _current_holder(self) -> Holder:
        found = self._run("SELECT holder, try_number FROM lease WHERE name = %(name)s")
        return Holder(*found) if found else Holder("nobody")

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(self.ttl / 3):
            try:
                if not self._run(_RENEW):
                    self._lost.set()
                    return
            except psycopg2.Error as problem:
                log.warning("lease %r was not renewed, next try in %.0f s: %s", self.name, self.ttl / 3, problem)

    def _run(self, statement: str, *, fetch: bool = True) -> tuple[Any, ...] | None:
        connection = database.connect(self._dsn)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, self._values())
                return cursor.fetchone() if fetch else None
        finally:
            connection.close()

    def _values(self) -> dict[str, Any]:
        holder = self.holder or Holder("")
        values = {"name": self.name, "token": self.token, "ttl": self.ttl}
        return values | {"holder": holder.name, "try_number": holder.try_number}
