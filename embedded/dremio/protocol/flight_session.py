"""Who calls a Flight method and in which session: Basic and Bearer authentication, SESSION_ID cookies, client
properties as headers.

As in Dremio with ``services.flight.use_session_service``: the first call without a cookie gets one, the session
keeps what ``USE`` sets, it ends after 120 minutes without a call, and an id that is not known is refused. A client
that sends no cookies back opens a session with each call: of more than `MOST_SESSIONS` the longest unused end.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from typing import Any

import pyarrow.flight as flight

from embedded.dremio.engine import Session
from embedded.dremio.protocol.auth import (
    Accounts,
    AuthenticationError,
    User,
    basic_credentials,
    token_of_header,
)

SESSION_SECONDS = 120 * 60
MOST_SESSIONS = 10_000
MIDDLEWARE = "dremio"


class Sessions:
    """The open sessions by cookie. Thread safe."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, tuple[Session, float]] = OrderedDict()  # the longest unused first
        self._lock = threading.Lock()

    def open(self, user: User) -> tuple[str, Session]:
        """A new session and its id."""
        session_id, session = secrets.token_hex(16), Session(user=user.name)
        with self._lock:
            self._sessions[session_id] = (session, time.monotonic())
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return session_id, session

    def find(self, session_id: str, user: User) -> Session | None:
        """The user's session of that id, or None when it is unknown or has been idle too long."""
        now = time.monotonic()
        with self._lock:
            session, used_at = self._sessions.get(session_id, (None, 0.0))
            if session is None or session.user != user.name or now - used_at > SESSION_SECONDS:
                return None
            self._sessions[session_id] = (session, now)
            self._sessions.move_to_end(session_id)
            return session

    def close(self, session: Session) -> None:
        """Forget a session."""
        with self._lock:
            for key in [key for key, kept in self._sessions.items() if kept[0] is session]:
                del self._sessions[key]


def split_path(text: str) -> tuple[str, ...]:
    """The parts of a dotted path as the ``schema`` property writes it; dots inside double quotes do not part."""
    parts, current, quoted = [], "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif character == "." and not quoted:
            parts.append(current)
            current = ""
        else:
            current += character
    return tuple(part for part in [*parts, current] if part)


class OpenHandshake(flight.ServerAuthHandler):
    """Lets the Handshake call through: the headers carry the credentials and the middleware checks them.

    Without an auth handler pyarrow answers Handshake with UNIMPLEMENTED.
    """

    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        """Nothing to exchange."""

    def is_valid(self, token: bytes) -> bytes:
        """The headers decide, not this token."""
        return b""


class CallMiddleware(flight.ServerMiddleware):
    """The caller of one method: user, session, and the headers that go back."""

    def __init__(self, user: User, session: Session, headers: dict[str, str]) -> None:
        self.user = user
        self.session = session
        self._headers = headers

    def sending_headers(self) -> dict[str, str]:
        return self._headers


class CallMiddlewareFactory(flight.ServerMiddlewareFactory):
    """Authenticates every call. Raises FlightUnauthenticatedError with Dremio's texts."""

    def __init__(self, accounts: Accounts, sessions: Sessions) -> None:
        self._accounts = accounts
        self._sessions = sessions

    def start_call(self, info: flight.CallInfo, headers: dict[str, list[str]]) -> CallMiddleware:
        headers = {key.lower(): values for key, values in headers.items()}
        user, answer = self._authenticate(headers)
        session = self._session(user, headers, answer)
        if "schema" in headers:
            session.context = split_path(_text(headers["schema"][-1]))
        if "routing_tag" in headers:
            session.tag = _text(headers["routing_tag"][-1])
        return CallMiddleware(user, session, answer)

    def _authenticate(self, headers: dict[str, list[str]]) -> tuple[User, dict[str, str]]:
        header = _text(headers.get("authorization", [""])[-1])
        name = ""
        try:
            if header[:6].lower() == "basic ":
                name, password = basic_credentials(header)
                token = self._accounts.login(name, password)
                return token.user, {"authorization": f"Bearer {token.text}"}
            return self._accounts.user_of_token(token_of_header(header)), {}
        except AuthenticationError as error:
            who = f"user {name}" if name else "the caller"
            raise flight.FlightUnauthenticatedError(f"Unable to authenticate {who}, exception: {error}") from error

    def _session(self, user: User, headers: dict[str, list[str]], answer: dict[str, str]) -> Session:
        session_id = _cookie(headers)
        if session_id is None:
            session_id, session = self._sessions.open(user)
            answer["set-cookie"] = f"SESSION_ID={session_id}"
            return session
        found = self._sessions.find(session_id, user)
        if found is None:
            raise flight.FlightUnauthenticatedError("The session is not known or has ended: connect again.")
        return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cookie(headers: dict[str, list[str]]) -> str | None:
    for text in headers.get("cookie", []):
        try:
            cookie = SimpleCookie(_text(text))
        except CookieError:
            continue
        if "SESSION_ID" in cookie:
            return cookie["SESSION_ID"].value
    return None
