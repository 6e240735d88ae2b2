"""Decodes the messages of PostgreSQL's output plugin pgoutput by column, not by row.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html

The messages of a batch are laid end to end in one buffer. A change's tuple is a run of columns, each with a kind and
a length, so the place of a column follows from that of the column before: numpy finds them for all rows at a time,
and Arrow copies the values out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# Before pgoutput's message stand, of the WAL sender: `w`, the change's WAL position, the end of WAL, the clock.
HEADER = 25
BEGIN, COMMIT, RELATION, TRUNCATE = (ord(letter) for letter in "BCRT")
INSERT, UPDATE, DELETE = (ord(letter) for letter in "IUD")
CHANGES = frozenset((INSERT, UPDATE, DELETE))
KEY_TUPLE, OLD_TUPLE = ord("K"), ord("O")
TEXT_VALUE, UNCHANGED_VALUE = ord("t"), ord("u")

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    name: str
    type_oid: int
    in_key: bool  # of the replica identity


@dataclass(frozen=True)
class Relation:
    """A table as the stream describes it, before its first change and after each of its own changes."""

    oid: int
    schema: str
    table: str
    identity: str  # `d`efault (the primary key), `i`ndex, `f`ull or `n`othing
    columns: tuple[Column, ...]
    key: tuple[str, ...]  # the columns that tell the rows apart; of the replica identity unless it is all columns


@dataclass
class Rows:
    """Changes of one relation, in order: the new version of a row, or the last one before it was deleted.

    A change of the key is two rows, the deletion of the old key first. `unavailable` marks, by column, the values
    that an update left as they were and that are not in the WAL (TOAST).
    """

    values: list[pa.StringArray]  # by column, as PostgreSQL shows them
    unavailable: dict[int, Flags]
    deleted: Flags
    lsn: Numbers
    committed_at: Numbers  # microseconds since 2000


def relation(message: bytes) -> Relation:
    """Read a Relation message."""
    at = HEADER + 1
    oid = int.from_bytes(message[at : at + 4])
    schema, at = _string(message, at + 4)
    table, at = _string(message, at)
    identity = chr(message[at])
    columns = []
    count, at = int.from_bytes(message[at + 1 : at + 3]), at + 3
    for _ in range(count):
        flags = message[at]
        name, at = _string(message, at + 1)
        columns.append(Column(name, int.from_bytes(message[at : at + 4]), bool(flags & 1)))
        at += 8  # type and its modifier
    key = [column.name for column in columns if column.in_key and identity != "f"]
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns), tuple(key))


def truncated(message: bytes) -> list[int]:
    """The oids of the relations that a Truncate message is about."""
    count = int.from_bytes(message[HEADER + 1 : HEADER + 5])
    at = HEADER + 6
    return [int.from_bytes(message[at + 4 * number : at + 4 * number + 4]) for number in range(count)]


def position(message: bytes) -> int:
    """The WAL position of a message's change."""
    return int.from_bytes(message[1:9])


def commit_time(begin: bytes) -> int:
    """When the transaction of a Begin message was committed, in microseconds since 2000."""
    return int.from_bytes(begin[HEADER + 9 : HEADER + 17])


def commit_end(commit: bytes) -> int:
    """The end of a Commit message's transaction in WAL: where the next one may begin."""
    return int.from_bytes(commit[HEADER + 10 : HEADER + 18])


def decode(messages: list[bytes], relations: Mapping[int, Relation]) -> dict[int, Rows]:
    """The changes of each relation, by its oid.

    :param messages: Begin, Insert, Update and Delete messages as they came; the first is a Begin.
    """
    # the padding lets a length be read, and thrown away, where the last tuple ends
    buffer = np.frombuffer(b"".join(messages) + bytes(8), np.uint8)
    lengths = np.fromiter(map(len, messages), np.int64, len(messages))
    starts = np.cumsum(lengths) - lengths
    kinds = buffer[starts + HEADER]
    begins = kinds == BEGIN
    commit_times = _integers(buffer, ">i8")[starts[begins] + HEADER + 9].astype(np.int64)
    transaction = np.cumsum(begins) - 1
    oids = np.where(begins, 0, _integers(buffer, ">u4")[starts + HEADER + 1].astype(np.int64))
    decoded = {}
    for oid in np.unique(oids[~begins]).tolist():
        of_relation = np.flatnonzero(oids == oid)
        decoded[oid] = _Batch(buffer, starts[of_relation], relations[oid]).rows(commit_times[transaction[of_relation]])
    return decoded


@dataclass
class _Values:
    """Where one column's values are in the buffer, for some rows in order, and of what kind they are."""

    start: Numbers
    length: Numbers
    kind: npt.NDArray[np.uint8]

    def of(self, rows: Flags) -> "_Values":
        return _Values(self.start[rows], self.length[rows], self.kind[rows])

    def replace(self, rows: Flags, by: "_Values") -> None:
        """Take other values for the flagged rows."""
        self.start[rows], self.length[rows], self.kind[rows] = by.start, by.length, by.kind

    def texts(self, buffer: npt.NDArray[np.uint8]) -> pa.StringArray:
        """Copy the values out of the buffer.

        To Arrow the whole buffer is an array of strings in which every second one is a value and the others are what
        lies between them.
        """
        rows = len(self.start)
        bounds = np.empty(2 * rows, np.int32)
        bounds[0::2], bounds[1::2] = self.start, self.start + self.length
        present = self.kind == TEXT_VALUE
        valid = None
        if not present.all():
            valid = pa.py_buffer(np.packbits(np.repeat(present, 2), bitorder="little"))
        everything = pa.StringArray.from_buffers(2 * rows - 1, pa.py_buffer(bounds), pa.py_buffer(buffer), valid)
        return everything.take(pa.array(np.arange(0, 2 * rows - 1, 2)))


class _Batch:
    """The changes of one relation among a batch's messages."""

    def __init__(self, buffer: npt.NDArray[np.uint8], starts: Numbers, of: Relation) -> None:
        self._buffer = buffer
        self._lengths = _integers(buffer, ">u4")
        self._starts = starts
        self._relation = of

    def rows(self, committed_at: Numbers) -> Rows:
        buffer, starts = self._buffer, self._starts
        kind, marker = buffer[starts + HEADER], buffer[starts + HEADER + 5]
        has_old = (kind == UPDATE) & ((marker == KEY_TUPLE) | (marker == OLD_TUPLE))
        # a marker and the number of columns stand before each tuple
        first, ends = self._tuple(starts + HEADER + 8)
        values = first
        moved = np.zeros(len(starts), np.bool_)
        if has_old.any():
            new, _ = self._tuple(ends[has_old] + 3)
            whole_old = (marker == OLD_TUPLE)[has_old]
            values = []
            for number, (old, column) in enumerate(zip(first, new, strict=True)):
                known = whole_old | self._relation.columns[number].in_key
                unchanged = (column.kind == UNCHANGED_VALUE) & known
                column.replace(unchanged, old.of(has_old).of(unchanged))
                latest = _Values(old.start.copy(), old.length.copy(), old.kind.copy())
                latest.replace(has_old, column)
                values.append(latest)
            moved[has_old] = self._key_changed([column.of(has_old) for column in first], new)
        rows = Rows(
            values=[column.texts(buffer) for column in values],
            unavailable={
                number: flags for number, column in enumerate(values) if (flags := column.kind == UNCHANGED_VALUE).any()
            },
            deleted=kind == DELETE,
            lsn=_integers(buffer, ">i8")[starts + 1].astype(np.int64),
            committed_at=committed_at,
        )
        return self._with_old_keys(rows, first, moved) if moved.any() else rows

    def _tuple(self, at: Numbers) -> tuple[list[_Values], Numbers]:
        """The columns of a tuple of each row, and where the tuples end."""
        columns = []
        for _ in self._relation.columns:
            kind = self._buffer[at]
            sized = kind == TEXT_VALUE
            length = np.where(sized, self._lengths[at + 1], 0).astype(np.int64)
            start = at + np.where(sized, 5, 1)
            columns.append(_Values(start, length, kind))
            at = start + length
        return columns, at

    def _key_changed(self, old: list[_Values], new: list[_Values]) -> Flags:
        """Which updates gave the row another key. (An old tuple alone does not say so.)"""
        changed = np.zeros(len(old[0].start), np.bool_)
        for column, before, after in zip(self._relation.columns, old, new, strict=True):
            if column.name in self._relation.key:
                differs = pc.not_equal(before.texts(self._buffer), after.texts(self._buffer))
                changed |= differs.fill_null(False).to_numpy(zero_copy_only=False)
        return changed

    def _with_old_keys(self, rows: Rows, first: list[_Values], moved: Flags) -> Rows:
        """The rows with, before each one that was moved to another key, the deletion of the old key."""
        count, added = len(moved), int(moved.sum())
        # the deletions are appended, and then everything is put in order
        order = np.argsort(np.concatenate([2 * np.arange(count) + 1, 2 * np.flatnonzero(moved)]), kind="stable")
        take = pa.array(order)
        return Rows(
            values=[
                pa.concat_arrays([values, column.of(moved).texts(self._buffer)]).take(take)
                for values, column in zip(rows.values, first, strict=True)
            ],
            unavailable={
                number: np.concatenate([flags, np.zeros(added, np.bool_)])[order]
                for number, flags in rows.unavailable.items()
            },
            deleted=np.concatenate([rows.deleted, np.ones(added, np.bool_)])[order],
            lsn=np.concatenate([rows.lsn, rows.lsn[moved]])[order],
            committed_at=np.concatenate([rows.committed_at, rows.committed_at[moved]])[order],
        )


def _integers(buffer: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[np.int64]:
    """The buffer as integers that begin at every byte."""
    size = np.dtype(kind).itemsize
    return np.ndarray((len(buffer) - size + 1,), kind, buffer, strides=(1,))


def _string(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(0, at)
    return message[at:end].decode(), end + 1
