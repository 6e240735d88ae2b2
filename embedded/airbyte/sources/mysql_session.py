"""One connection to MySQL or MariaDB: asyncmy in straight-line calls, and its errors with what to do about them."""

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import asyncmy
from asyncmy import converters
from asyncmy.cursors import SSCursor
from asyncmy.errors import MySQLError

from embedded.airbyte.failures import Kind, SyncFailure

CONNECT_SECONDS = 10
SSL_MODES = ("preferred", "required", "verify_ca", "verify_identity")
# Numbers and times of day become Python's; everything else stays the server's text, which Arrow reads faster.
_AS_TEXT = {0, 7, 10, 12, 246}  # the protocol's decimal, timestamp, date, datetime, new decimal
CONVERSIONS = {key: value for key, value in converters.conversions.items() if key not in _AS_TEXT}
# No surprises of the server's settings: time zone, quoting, and a reader that pauses while files are uploaded.
SETTINGS = (
    "SET SESSION time_zone = '+00:00', sql_mode = '', net_write_timeout = 3600, net_read_timeout = 3600",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
)
LOST = {1053, 1077, 1080, 1205, 1213, 1317, 2006, 2013, 2055}
UNREACHABLE = {1040, 1129, 2002, 2003, 2005}
FORBIDDEN = {1142, 1143, 1227, 1370}


class Server:
    """Where the database is and who asks it: makes sessions, and explains errors without the password."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self.host = str(configuration["host"])
        self.port = int(configuration.get("port") or 3306)
        self.database = str(configuration["database"])
        self.user = str(configuration["username"])
        self._password = str(configuration.get("password") or "")
        self._ssl = configuration.get("ssl_mode") or {"mode": "required"}  # Airbyte's default
        self.ssl_mode = self._ssl.get("mode", "required")
        self.encrypted = True
        if self.ssl_mode not in SSL_MODES:
            raise self.refused(f"ssl_mode {self.ssl_mode} is not one of {', '.join(SSL_MODES)}")

    @property
    def where(self) -> str:
        return f"MySQL {self.host}:{self.port}, database {self.database}, user {self.user}"

    def address(self) -> dict[str, Any]:
        """Connection arguments that asyncmy and PyMySQL share."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self._password,
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_SECONDS,
            "ssl": self._tls() if self.encrypted else None,
        }

    def refused(self, reason: str) -> SyncFailure:
        return SyncFailure(f"{self.where}: {reason}.", origin="source", kind="config_error")

    def explain(self, error: Exception, doing: str = "") -> SyncFailure:
        """A driver's error as a failure with what to do."""
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = str(error.args[1]) if code and len(error.args) > 1 else str(error) or type(error).__name__
        if self._password:
            text = text.replace(self._password, "***")
        kind: Kind = "system_error"
        if isinstance(error.__context__, ssl.SSLError):
            reason = (
                f"no encrypted connection ({text}); check that the server has TLS, ssl_mode and its certificates "
                "(ssl_mode preferred goes on without)"
            )
            kind = "config_error"
        elif code == 1045:
            reason, kind = "the password or user is wrong; check the source's username and password", "config_error"
        elif code in (1044, 1049):
            reason, kind = f"{text}; check the database's name and what the user was granted", "config_error"
        elif code in FORBIDDEN:
            reason, kind = f"{text}; grant it to the user", "config_error"
        elif code in UNREACHABLE or (not code and isinstance(error, (OSError, asyncio.TimeoutError))):
            reason, kind = "no connection; check that it runs and that host and port are right", "transient_error"
        elif code in LOST:
            reason, kind = f"the connection or the query was cut off ({text}); it is tried again", "transient_error"
        else:
            reason = text
        doing = f"{doing}: " if doing else ""
        return SyncFailure(f"{self.where}: {doing}{reason}.", origin="source", kind=kind, detail=text)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = self.ssl_mode == "verify_identity"
        if not self.ssl_mode.startswith("verify_"):
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            context = ssl.create_default_context(cadata=self._ssl["ca_certificate"])
            context.check_hostname = self.ssl_mode == "verify_identity"
            if self._ssl.get("client_certificate"):
                # Python reads a client's key from a file only
                with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                    file.write(f"{self._ssl['client_key']}\n{self._ssl['client_certificate']}\n")
                    file.flush()
                    context.load_cert_chain(file.name, password=self._ssl.get("client_key_password"))
        except (KeyError, ValueError, ssl.SSLError) as error:
            raise self.refused(
                f"the certificates of ssl_mode {self.ssl_mode} cannot be read ({type(error).__name__}: {error}); "
                "ca_certificate is needed, client_certificate goes with client_key, all as PEM"
            ) from error
        return context


class Session:
    """One connection, for one thread. Every error is a SyncFailure."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        try:
            self._db = self._loop.run_until_complete(self._connect())
        except (TimeoutError, MySQLError, OSError) as error:
            self._loop.close()
            raise server.explain(error) from error
        for statement in SETTINGS:
            self.rows(statement)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it may be broken already
            self._db.close()
        self._loop.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        rows: list[tuple[Any, ...]] = []
        self.each(query, 10_000, rows.extend)
        return rows

    def each(self, query: str, batch_rows: int, take: Callable[[list[tuple[Any, ...]]], None]) -> None:
        """Call `take` with the rows of a result as they come in, `batch_rows` at a time."""
        try:
            self._loop.run_until_complete(self._each(query, batch_rows, take))
        except MySQLError as error:
            raise self._server.explain(error) from error

    def literal(self, value: Any) -> str:
        """A value as SQL."""
        return str(self._db.escape(value))

    async def _connect(self) -> Any:
        more = {"database": self._server.database, "conv": CONVERSIONS, "autocommit": True}
        try:
            return await asyncmy.connect(**self._server.address(), **more)
        except MySQLError as error:
            if self._server.ssl_mode != "preferred" or not isinstance(error.__context__, ssl.SSLError):
                raise
            self._server.encrypted = False
            return await asyncmy.connect(**self._server.address(), **more)

    async def _each(self, query: str, batch_rows: int, take: Callable[[list[tuple[Any, ...]]], None]) -> None:
        # `take` runs inside: whenever the loop goes round without need, it reads on into a buffer that grows
        cursor = self._db.cursor(SSCursor)
        await cursor.execute(query)
        while batch := await cursor.fetchmany(batch_rows):
            take(batch)
        await cursor.close()


def identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
