"""Arrow Flight on port 32010: plain Flight with SQL as the command, and Flight SQL.

GetFlightInfo prepares a statement (errors of syntax and names come here); DoGet runs it, once for each call.
Nothing here touches DuckDB on gRPC's threads: the engine's pool does, and batches come through a queue.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from embedded.dremio.engine import Session, Statement, StatementKind
from embedded.dremio.errors import DremioError
from embedded.dremio.jobs.runner import JobRunner, JobStream
from embedded.dremio.protocol import flight_messages as messages
from embedded.dremio.protocol.auth import Accounts
from embedded.dremio.protocol.flight_errors import InvalidArgument, Unimplemented, flight_error
from embedded.dremio.protocol.flight_metadata import Metadata
from embedded.dremio.protocol.flight_session import (
    MIDDLEWARE,
    CallMiddleware,
    CallMiddlewareFactory,
    OpenHandshake,
    Sessions,
)
from embedded.dremio.sql.parameters import with_values
from embedded.dremio.types import DremioType

log = logging.getLogger(__name__)

KEPT_STATEMENTS = 2_000
STATEMENT_SECONDS = 120 * 60
_CONSTRAINT_COMMANDS = frozenset(
    {"CommandGetPrimaryKeys", "CommandGetExportedKeys", "CommandGetImportedKeys", "CommandGetCrossReference"}
)


def _reported(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have a handler's errors reach the client as Dremio's: the right code, no chain of inner tracebacks."""

    @functools.wraps(method)
    def handler(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            if not isinstance(error, DremioError | flight.FlightError | InvalidArgument | Unimplemented):
                log.exception("Flight call %s failed unexpectedly", method.__name__)
            failure = flight_error(error)
        raise failure.with_traceback(None) from None

    return handler


@dataclass
class _Prepared:
    statement: Statement
    session: Session
    parameters: list[DremioType]
    bound: str | None = None  # the text with the values that the client has bound last
    used_at: float = field(default_factory=time.monotonic)


class _PreparedStatements:
    """Statements that wait for DoGet, by their opaque handle; the least recently used go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, _Prepared] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, statement: Statement, session: Session, parameters: list[DremioType] | None = None) -> bytes:
        """Keep a statement with the context that its names were looked up in."""
        handle = secrets.token_bytes(16)
        with self._lock:
            self._kept[handle] = _Prepared(statement, dataclasses.replace(session), parameters or [])
            oldest_allowed = time.monotonic() - STATEMENT_SECONDS
            while len(self._kept) > KEPT_STATEMENTS or next(iter(self._kept.values())).used_at < oldest_allowed:
                self._kept.popitem(last=False)
        return handle

    def find(self, handle: bytes | None, user: str) -> _Prepared:
        """Raises InvalidArgument."""
        with self._lock:
            prepared = self._kept.get(handle or b"")
            if prepared is None or prepared.session.user != user:
                raise InvalidArgument("The prepared statement is not known or has been closed.")
            prepared.used_at = time.monotonic()
            self._kept.move_to_end(handle or b"")
            return prepared

    def close(self, handle: bytes | None) -> None:
        with self._lock:
            self._kept.pop(handle or b"", None)


class DremioFlightServer(flight.FlightServerBase):
    """The Flight service. `location` like ``grpc://127.0.0.1:32010``."""

    def __init__(self, location: str, accounts: Accounts, runner: JobRunner) -> None:
        self._sessions = Sessions()
        self._runner = runner
        self._prepared = _PreparedStatements()
        self._metadata = Metadata(runner.engine)
        super().__init__(
            location,
            auth_handler=OpenHandshake(),
            middleware={MIDDLEWARE: CallMiddlewareFactory(accounts, self._sessions)},
        )

    # --- what the client asks for ---------------------------------------------------------------------------

    @_reported
    def get_flight_info(
        self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor
    ) -> flight.FlightInfo:
        """Prepare what the descriptor names; the one endpoint's ticket runs it."""
        session = _session(context)
        command = messages.unpack_any(descriptor.command or b"")
        if command is None:
            if not descriptor.command:
                raise InvalidArgument("The flight descriptor has no command: send the SQL text as the command.")
            return self._info_of_sql(descriptor, _sql_text(descriptor.command), session)
        if command.name == "CommandStatementQuery":
            return self._info_of_sql(descriptor, command.text(1) or "", session)
        if command.name == "CommandPreparedStatementQuery":
            prepared = self._prepared.find(command.raw(1), session.user)
            return _info(prepared.statement.schema, descriptor, descriptor.command)
        if command.name in _CONSTRAINT_COMMANDS:
            return flight.FlightInfo(pa.schema([]), descriptor, [], -1, -1)
        schema = self._metadata.schema(command)
        if schema is None:
            raise Unimplemented(f"{command.name} is not supported.")
        return _info(schema, descriptor, descriptor.command)

    def _info_of_sql(self, descriptor: flight.FlightDescriptor, sql: str, session: Session) -> flight.FlightInfo:
        statement = self._prepare(sql, session)
        handle = self._prepared.keep(statement, session)
        ticket = messages.pack_any("TicketStatementQuery", messages.bytes_field(1, handle))
        return _info(statement.schema, descriptor, ticket)

    def get_schema(self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor) -> flight.SchemaResult:
        """The schema of what GetFlightInfo would describe."""
        return flight.SchemaResult(self.get_flight_info(context, descriptor).schema)

    @_reported
    def do_get(self, context: flight.ServerCallContext, ticket: flight.Ticket) -> flight.FlightDataStream:
        """Run the ticket's statement, or list what its metadata command asks for."""
        session = _session(context)
        command = messages.unpack_any(ticket.ticket)
        if command is None:
            raise InvalidArgument("The ticket is none of this server's: take it from GetFlightInfo.")
        if command.name in ("TicketStatementQuery", "CommandPreparedStatementQuery"):
            return self._stream(context, self._prepared.find(command.raw(1), session.user), session)
        table = self._on_pool(self._metadata.table, command, session)
        if table is None:
            raise Unimplemented(f"{command.name} is not supported.")
        return flight.GeneratorStream(table.schema, iter(_at_least_one(table)))

    def _stream(
        self, context: flight.ServerCallContext, prepared: _Prepared, session: Session
    ) -> flight.FlightDataStream:
        stream = self._runner.stream(self._planned_now(prepared), session)
        assert stream.schema is not None
        return flight.GeneratorStream(stream.schema, _until_cancelled(context, stream))

    @_reported
    def do_action(self, context: flight.ServerCallContext, action: flight.Action) -> Iterator[flight.Result]:
        """Create and close prepared statements; close the session."""
        session = _session(context)
        if action.type == "CreatePreparedStatement":
            request = _action_body(action)
            prepare = self._runner.engine.prepare_with_parameters
            statement, parameters = self._on_pool(prepare, request.text(1) or "", session)
            return iter([self._prepared_result(statement, parameters, session)])
        if action.type == "ClosePreparedStatement":
            self._prepared.close(_action_body(action).raw(1))
            return iter([])
        if action.type == "CloseSession":
            self._sessions.close(session)
            return iter([flight.Result(messages.int_field(1, 1))])
        raise Unimplemented(f"The action {action.type} is not supported.")

    def _prepared_result(self, statement: Statement, parameters: list[DremioType], session: Session) -> flight.Result:
        handle = self._prepared.keep(statement, session, parameters)
        described = pa.schema([pa.field(f"parameter {at}", kind.arrow) for at, kind in enumerate(parameters, 1)])
        result = messages.bytes_field(1, handle) + messages.bytes_field(2, statement.schema.serialize().to_pybytes())
        result += messages.bytes_field(3, described.serialize().to_pybytes())
        return flight.Result(messages.pack_any("ActionCreatePreparedStatementResult", result))

    def list_actions(self, context: flight.ServerCallContext) -> list[tuple[str, str]]:
        """The actions that do_action knows."""
        return [
            ("CreatePreparedStatement", "Creates a reusable prepared statement"),
            ("ClosePreparedStatement", "Closes a prepared statement"),
            ("CloseSession", "Closes the session of the SESSION_ID cookie"),
        ]

    @_reported
    def do_put(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.FlightMetadataWriter,
    ) -> None:
        """Updates: run, and answer the number of rows. CommandPreparedStatementQuery: bind its parameters."""
        session = _session(context)
        command = messages.unpack_any(descriptor.command or b"")
        if command is None:
            raise Unimplemented("Only updates of Flight SQL can be put.")
        if command.name == "CommandStatementUpdate":
            count = self._update_count(self._prepare(command.text(1) or "", session), session)
        elif command.name == "CommandPreparedStatementUpdate":
            prepared = self._prepared.find(command.raw(1), session.user)
            count = 0
            for row in _rows(reader) if prepared.parameters else [[]]:
                _bind(prepared, row)
                count += self._update_count(self._planned_now(prepared), session)
        elif command.name == "CommandPreparedStatementQuery":
            rows = _rows(reader)
            if len(rows) != 1:
                raise InvalidArgument(f"A query runs with one row of parameters; {len(rows)} were sent.")
            _bind(self._prepared.find(command.raw(1), session.user), rows[0])
            return
        else:
            raise Unimplemented(f"{command.name} is not supported.")
        writer.write(pa.py_buffer(messages.int_field(1, count)))

    def _update_count(self, statement: Statement, session: Session) -> int:
        stream = self._runner.stream(statement, session)
        rows = sum(batch.num_rows for batch in stream.batches())
        if statement.kind in (StatementKind.DML, StatementKind.CTAS):
            return stream.job.row_count or 0
        return rows if statement.kind == StatementKind.QUERY else 0

    def _planned_now(self, prepared: _Prepared) -> Statement:
        """The statement as the catalog and the reflections are now: its plan may be hours old."""
        if prepared.parameters and prepared.bound is None:
            raise InvalidArgument(f"The statement has {len(prepared.parameters)} parameters: bind them first.")
        statement = self._prepare(prepared.bound or prepared.statement.sql, prepared.session)
        if statement.schema != prepared.statement.schema:
            raise InvalidArgument("The result has other columns than when the statement was prepared: prepare again.")
        return statement

    # --- help -------------------------------------------------------------------------------------------------

    def _prepare(self, sql: str, session: Session) -> Statement:
        engine = self._runner.engine
        return engine.prepared(sql, session) or self._on_pool(engine.prepare, sql, session)

    def _on_pool(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._runner.engine.pool.submit(function, *arguments).result()


def _session(context: flight.ServerCallContext) -> Session:
    middleware: CallMiddleware = context.get_middleware(MIDDLEWARE)
    return middleware.session


def _rows(reader: flight.MetadataRecordBatchReader) -> list[list[Any]]:
    columns = [column.to_pylist() for column in reader.read_all().columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _bind(prepared: _Prepared, row: list[Any]) -> None:
    if len(row) != len(prepared.parameters):
        raise InvalidArgument(f"The statement has {len(prepared.parameters)} parameters; {len(row)} were sent.")
    prepared.bound = with_values(prepared.statement.sql, prepared.parameters, row)


def _sql_text(command: bytes) -> str:
    try:
        return command.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument("The command is neither a Flight SQL message nor UTF-8 text.") from error


def _action_body(action: flight.Action) -> messages.Message:
    body = messages.unpack_any(action.body.to_pybytes())
    if body is None:
        raise InvalidArgument(f"The body of the action {action.type} is not a Flight SQL message.")
    return body


def _info(schema: pa.Schema, descriptor: flight.FlightDescriptor, ticket: bytes) -> flight.FlightInfo:
    return flight.FlightInfo(schema, descriptor, [flight.FlightEndpoint(ticket, [])], -1, -1)


def _at_least_one(table: pa.Table) -> list[pa.RecordBatch]:
    return table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]


def _until_cancelled(context: flight.ServerCallContext, stream: JobStream) -> Iterator[pa.RecordBatch]:
    """The stream's batches; the job is cancelled when the client goes away."""
    batches = stream.batches()
    try:
        for batch in batches:
            if context.is_cancelled():
                return
            yield batch
    except BaseException as error:
        if isinstance(error, GeneratorExit):
            raise
        raise flight_error(error) from error
    finally:
        batches.close()  # type: ignore[attr-defined]
