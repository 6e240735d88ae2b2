"""The release journal: which of the two slots of the marts readers see, and which a run builds.

A release goes building -> built -> switching -> released; each of the first three may go to failed.
`claim_slot` alone begins one. A run that was superseded finds its release failed, and is
refused everything further.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from lakehouse.ops import database
from lakehouse.ops.lease import Lease
from lakehouse.ops.schema import ensure_schema

SLOTS = ("a", "b")
_LOCK = 7_301_554  # of pg_advisory_xact_lock: one decision about slots at a time
_FROM: Mapping[str, tuple[str, ...]] = {
    "building": ("building", "built"),
    "built": ("building", "built"),
    "switching": ("built", "switching"),
    "released": ("switching", "released"),
    "failed": ("building", "built", "switching", "failed"),
}
_BUILDING = ("building", "built")  # states in which the run that claimed the slot may write to it
_OWNED = """
SELECT slot, state, (SELECT slot FROM release WHERE state = 'released' ORDER BY release_id DESC LIMIT 1)
FROM release WHERE run_id = %(run_id)s ORDER BY release_id DESC LIMIT 1
"""
_COLUMNS = "release_id, slot, run_id, batch_date, state, views, reason"


@dataclass(frozen=True)
class Release:
    """One row of the journal. `views` is what the release step wrote about the views of `gold`."""

    release_id: int
    slot: str
    run_id: str
    batch_date: date
    state: str
    views: Any = None
    reason: str | None = None


class ReleaseRefused(RuntimeError):
    """The step may not be made now; the message says what stands against it and what to do."""


def claim_slot(conn_id: str, run_id: str, batch_date: date) -> str:
    """Return the slot ('a' or 'b') that the run may build: the one that readers do not see.

    Idempotent: every task and try of a run gets the same slot until the run has released or lost it; called
    after that, a new release begins, in the slot that readers do not see then. A release that another run left
    building is closed as failed, so that run can no longer release it.

    :raises ReleaseRefused: a switch of the views was interrupted. Readers may see both slots, so neither may
        be built before the release step has been run again.
    :raises psycopg2.Error: the database does not answer.
    """
    with _transaction(conn_id) as cursor:
        _refuse_while_switching(cursor)
        live = _newest(cursor, "state = 'released'")
        own = _newest(cursor, "run_id = %s", run_id)
        # of one that was superseded only the slot's name is left: others may have built in it, or released it
        if own and own.state in _BUILDING and (live is None or own.slot != live.slot):
            _fail_others(cursor, own.release_id, run_id)
            _update(cursor, own.release_id, "building", own.views, None)
            return own.slot
        slot = "b" if live and live.slot == "a" else "a"
        cursor.execute(
            "INSERT INTO release (slot, run_id, batch_date, state) VALUES (%s, %s, %s, 'building')"
            " RETURNING release_id",
            (slot, run_id, batch_date),
        )
        _fail_others(cursor, cursor.fetchone()[0], run_id)
        return slot


def current(conn_id: str, run_id: str) -> Release | None:
    """Return the newest release that the run began, whatever its state; None if it claimed no slot.

    What comes after the marts (quality, reflections, release) asks here for its slot: unlike `claim_slot`
    this never begins anything.
    """
    with _transaction(conn_id) as cursor:
        return _newest(cursor, "run_id = %s", run_id)


def unfinished_switch(conn_id: str) -> Release | None:
    """Return the release whose views were being switched when its task died, None if there is none.

    It was built and tested whole, so it is put right by switching again, not by going back.
    """
    with _transaction(conn_id) as cursor:
        return _newest(cursor, "state = 'switching'")


def may_build(conn_id: str, run_id: str, slot: str) -> bool:
    """Tell whether the run still owns the slot for building: claimed, neither released nor lost, and not what
    readers see. One statement without a lock, so that it can be asked before each write.
    """
    url = database.dsn(conn_id)
    ensure_schema(url)
    found = database.run(url, _OWNED, {"run_id": run_id})
    return bool(found) and found[0][0] == slot and found[0][1] in _BUILDING and found[0][0] != found[0][2]


def mark(
    conn_id: str,
    run_id: str,
    state: str,
    *,
    views: Sequence[Any] | Mapping[str, Any] | None = None,
    reason: str | None = None,
    lease: Lease | None = None,
) -> Release:
    """Move the run's newest release to `state` and return it. Repeating the same step is no error.

    :param views: kept in the journal, as JSON; None leaves what is there.
    :param lease: proven in the same transaction, so that an orphan can never move the journal.
    :raises ReleaseRefused: the run has no release, or its state does not allow the step.
    :raises LeaseLost: a newer holder has the lease.
    :raises psycopg2.Error: the database does not answer.
    """
    if state not in _FROM:
        raise ValueError(f"unknown state {state!r} of a release; known: {', '.join(_FROM)}")
    with _transaction(conn_id) as cursor:
        if lease is not None:
            lease.check_in(cursor)
        found = _newest(cursor, "run_id = %s", run_id)
        if found is None:
            raise ReleaseRefused(f"run {run_id} has claimed no slot: run its marts group first")
        if found.state not in _FROM[state]:
            raise ReleaseRefused(
                f"release {found.release_id} (slot {found.slot}, run {run_id}) is {found.state}"
                f"{f' ({found.reason})' if found.reason else ''} and cannot become {state}: "
                "clear the run's marts group with everything after it"
            )
        if state == "switching":
            _refuse_while_switching(cursor, besides=found.release_id)
        return _update(cursor, found.release_id, state, views if views is not None else found.views, reason)


def journal(conn_id: str, limit: int = 20) -> list[Release]:
    """Return the newest releases, newest first."""
    with _transaction(conn_id) as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM release ORDER BY release_id DESC LIMIT %s", (limit,))
        return [Release(*row) for row in cursor.fetchall()]


@contextmanager
def _transaction(conn_id: str) -> Iterator[Any]:
    url = database.dsn(conn_id)
    ensure_schema(url)
    connection = database.connect(url, autocommit=False)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            yield cursor
    finally:
        connection.close()


def _newest(cursor: Any, where: str, *values: Any) -> Release | None:
    cursor.execute(f"SELECT {_COLUMNS} FROM release WHERE {where} ORDER BY release_id DESC LIMIT 1", values)
    row = cursor.fetchone()
    return Release(*row) if row else None


def _refuse_while_switching(cursor: Any, besides: int = -1) -> None:
    open_switch = _newest(cursor, "state = 'switching' AND release_id <> %s", besides)
    if open_switch is not None:
        raise ReleaseRefused(
            f"release {open_switch.release_id} of run {open_switch.run_id} was interrupted while it switched "
            f"the views of gold to slot {open_switch.slot}: clear the group release of that run first, or, if it "
            "fails again and again, its group marts with everything after it, which takes the switch back"
        )


def _fail_others(cursor: Any, release_id: int, run_id: str) -> None:
    cursor.execute(
        "UPDATE release SET state = 'failed', reason = %s, updated_at = clock_timestamp()"
        " WHERE release_id <> %s AND state IN ('building', 'built')",
        (f"superseded by run {run_id}", release_id),
    )


def _update(cursor: Any, release_id: int, state: str, views: Any, reason: str | None) -> Release:
    cursor.execute(
        "UPDATE release SET state = %s, views = %s, reason = %s, updated_at = clock_timestamp()"
        f" WHERE release_id = %s RETURNING {_COLUMNS}",
        (state, None if views is None else json.dumps(views), reason, release_id),
    )
    return Release(*cursor.fetchone())
