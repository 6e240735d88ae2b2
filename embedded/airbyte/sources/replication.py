"""PostgreSQL's replication protocol over psycopg's libpq: a snapshot to export, a slot's stream, its position.

psycopg has no replication cursor, but all of libpq's calls that one is made of.
"""

import select
import time
from types import TracebackType
from typing import Self

import psycopg
from psycopg import conninfo, errors, pq, sql

# How the server shows values, whatever the role's or the database's settings are; and how long it waits: for our
# answers while we write files, and (lock_timeout) for transactions that are older than a snapshot.
SESSION = {
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "wal_sender_timeout": "15min",
    "lock_timeout": "10min",
}
POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01 in microseconds of Unix time
KEEPALIVE, XLOG_DATA = ord("k"), ord("w")


def lsn_number(text: str) -> int:
    """A WAL position as a number: `16/B374D848` -> 97500059720."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(number: int) -> str:
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


class Replication:
    """A connection to the WAL sender of one database. All calls raise psycopg.Error with the server's answer."""

    def __init__(self, dsn: str) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
        address = conninfo.make_conninfo(dsn, replication="database", client_encoding="UTF8", options=options)
        self._pg = pq.PGconn.connect(address.encode())
        if self._pg.status != pq.ConnStatus.OK:
            message = self._pg.get_error_message()
            self._pg.finish()
            raise psycopg.OperationalError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._pg.finish()

    def export_snapshot(self, slot: str) -> str:
        """Make a slot that is gone with this connection; its snapshot's name holds until the connection's next call.

        Exactly the transactions that commit from the slot's first position on are invisible in the snapshot. The
        server waits for those that are running.
        """
        command = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')")
        result = self._run(command.format(sql.Identifier(slot)), pq.ExecStatus.TUPLES_OK)
        return (result.get_value(0, 2) or b"").decode()

    def start(self, slot: str, publication: str, position: int) -> None:
        """Begin the stream of the transactions that commit at `position` or later."""
        command = sql.SQL("START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names {})").format(
            sql.Identifier(slot),
            sql.SQL(lsn_text(position)),
            sql.Literal(sql.Identifier(publication).as_string()),
        )
        self._run(command, pq.ExecStatus.COPY_BOTH)

    def receive(self, seconds: float) -> list[bytes]:
        """The messages that have arrived; waits up to `seconds` for a first one."""
        messages: list[bytes] = []
        deadline = time.monotonic() + seconds
        while True:
            size, message = self._pg.get_copy_data(1)
            if size > 0:
                messages.append(bytes(message))
            elif size < 0:
                self._refused(self._pg.get_result())
            elif messages or time.monotonic() >= deadline:
                return messages
            else:
                # a pause of a second at most, for what TLS has read already does not make the socket readable
                select.select([self._pg.socket], [], [], min(seconds, 1.0))
                self._pg.consume_input()

    def confirm(self, position: int) -> None:
        """Tell the server that everything before `position` is durable here, and ask how far it is itself."""
        clock = time.time_ns() // 1000 - POSTGRES_EPOCH
        numbers = b"".join(number.to_bytes(8, "big") for number in (position, position, position, clock))
        self._pg.put_copy_data(b"r" + numbers + b"\x01")
        while self._pg.flush():
            select.select([], [self._pg.socket], [])

    def _run(self, command: sql.Composable, expected: pq.ExecStatus) -> pq.abc.PGresult:
        result = self._pg.exec_(command.as_string().encode())
        if result.status != expected:
            self._refused(result)
        return result

    def _refused(self, result: pq.abc.PGresult | None) -> None:
        code = result.error_field(pq.DiagnosticField.SQLSTATE) if result else None
        message = (result.get_error_message() if result else "") or self._pg.get_error_message()
        kind: type[psycopg.Error] = psycopg.OperationalError
        if code is not None:
            kind = errors.lookup(code.decode())
        raise kind(message)
