"""Sends calls to Dremio's REST API: log in, renew the token, repeat what may be repeated.

`RestSession` and `AsyncRestSession` differ in `await` alone; what to do with an answer is decided once, in
`_Attempts`. Tokens live 30 hours and are kept per process and user, so that a hundred tasks' hooks in one
triggerer log in once.
"""

import asyncio
import hashlib
import random
import ssl
import time
from types import TracebackType
from typing import Any, Self

import httpx

from lakehouse.dremio import calls
from lakehouse.dremio.calls import Call
from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.exceptions import (
    DremioAuthError,
    DremioConflict,
    DremioForbidden,
    DremioHttpError,
    DremioNotFound,
    DremioOutcomeUnknown,
    DremioServerBusy,
    DremioUnreachable,
)

MAX_ATTEMPTS = 5
FIRST_DELAY = 0.5  # seconds; doubled each time, then drawn from the upper half (jitter)
LONGEST_DELAY = 10.0  # seconds
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# The server did not take the request in: even a call that is not idempotent may be sent again.
REFUSED_STATUSES = frozenset({429, 503})
# A gateway gave up waiting: whether the server took the request in is not known.
LOST_STATUSES = frozenset({408, 502, 504})

_ERRORS: dict[int, type[DremioHttpError]] = {
    403: DremioForbidden,
    404: DremioNotFound,
    409: DremioConflict,
} | dict.fromkeys(RETRY_STATUSES, DremioServerBusy)

_tokens: dict[str, str] = {}  # by server, user and hashed secret


class _Attempts:
    """Decides, for one call, what an answer or the lack of one means."""

    def __init__(self, settings: DremioSettings, call: Call) -> None:
        self.settings, self.call = settings, call
        self.made = 0
        self.renewed = False

    def request(self) -> dict[str, Any]:
        """Arguments of the next request."""
        self.made += 1
        absolute = self.call.path.startswith("/")
        path = self.call.path if absolute else self.settings.api(self.call.path)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.call.authenticated:
            headers["Authorization"] = authorization(self.settings)
        return {
            "method": self.call.method,
            "url": self.settings.rest_url + path,
            "json": self.call.json,
            "params": self.call.params,
            "headers": headers,
        }

    def needs_login(self, response: httpx.Response) -> bool:
        """True once, when the token was refused and a new login can help."""
        if response.status_code != 401 or not self.call.authenticated or self.settings.uses_token:
            return False
        first, self.renewed = not self.renewed, True
        return first

    def delay_after_error(self, error: httpx.HTTPError) -> float:
        """Seconds until the next attempt.

        :raises DremioOutcomeUnknown: the request may have arrived and must not be repeated.
        :raises DremioUnreachable: attempts used up.
        """
        reason = f"{type(error).__name__}: {error}"
        never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if not never_sent and not self.call.idempotent:
            raise self._unknown(reason) from error
        if self.made >= MAX_ATTEMPTS:
            raise DremioUnreachable(self.settings.rest_url, self.settings.user, reason) from error
        return self._backoff()

    def delay_after(self, response: httpx.Response) -> float | None:
        """Seconds until the next attempt, or None when this answer is to be taken as it is."""
        status = response.status_code
        if status not in RETRY_STATUSES:
            return None
        if not self.call.idempotent and status in LOST_STATUSES:
            raise self._unknown(f"status {status}")
        repeatable = self.call.idempotent or status in REFUSED_STATUSES
        if not repeatable or self.made >= MAX_ATTEMPTS:
            return None
        asked = response.headers.get("Retry-After", "")
        return min(float(asked), 30.0) if asked.isdigit() else self._backoff()

    def result(self, response: httpx.Response) -> Any:
        """The decoded body; None when empty.

        :raises DremioAuthError, DremioHttpError: by status.
        """
        if response.is_success:
            return response.json() if response.content else None
        answer = _answer(response)
        if response.status_code == 401:
            raise DremioAuthError(self.settings.rest_url, self.settings.user, answer)
        error = _ERRORS.get(response.status_code, DremioHttpError)
        raise error(self.call.method, self.call.path, response.status_code, answer)

    def _unknown(self, reason: str) -> DremioOutcomeUnknown:
        sql = str((self.call.json or {}).get("sql") or f"{self.call.method} {self.call.path}")
        return DremioOutcomeUnknown(self.settings.rest_url, reason, sql)

    def _backoff(self) -> float:
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (self.made - 1))
        return random.uniform(longest / 2, longest)


class RestSession:
    """Calls Dremio's REST API from a worker. Safe to share between threads."""

    def __init__(self, settings: DremioSettings, transport: httpx.BaseTransport | None = None) -> None:
        self.settings = settings
        self._client = httpx.Client(
            timeout=settings.timeout, verify=_tls(settings), transport=transport, follow_redirects=False
        )

    def send(self, call: Call) -> Any:
        """Send a call and return its decoded body.

        :raises DremioError: see `lakehouse.dremio.exceptions`.
        """
        if call.authenticated and not _has_token(self.settings):
            self._login()
        attempts = _Attempts(self.settings, call)
        while True:
            try:
                response = self._client.request(**attempts.request())
            except httpx.TransportError as error:
                time.sleep(attempts.delay_after_error(error))
                continue
            if attempts.needs_login(response):
                self._login()
            elif (delay := attempts.delay_after(response)) is None:
                return attempts.result(response)
            else:
                time.sleep(delay)

    def _login(self) -> None:
        body = self.send(calls.login(self.settings.user or "", self.settings.secret))
        _keep_token(self.settings, body)

    def close(self) -> None:
        """Close the sockets; the token stays valid."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncRestSession:
    """Calls Dremio's REST API from a trigger; the twin of RestSession."""

    def __init__(self, settings: DremioSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.settings = settings
        self._client = httpx.AsyncClient(
            timeout=settings.timeout, verify=_tls(settings), transport=transport, follow_redirects=False
        )

    async def send(self, call: Call) -> Any:
        """Send a call and return its decoded body.

        :raises DremioError: see `lakehouse.dremio.exceptions`.
        """
        if call.authenticated and not _has_token(self.settings):
            await self._login()
        attempts = _Attempts(self.settings, call)
        while True:
            try:
                response = await self._client.request(**attempts.request())
            except httpx.TransportError as error:
                await asyncio.sleep(attempts.delay_after_error(error))
                continue
            if attempts.needs_login(response):
                await self._login()
            elif (delay := attempts.delay_after(response)) is None:
                return attempts.result(response)
            else:
                await asyncio.sleep(delay)

    async def _login(self) -> None:
        body = await self.send(calls.login(self.settings.user or "", self.settings.secret))
        _keep_token(self.settings, body)

    async def aclose(self) -> None:
        """Close the sockets; the token stays valid."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def authorization(settings: DremioSettings) -> str:
    """Value of the Authorization header; needs an earlier login unless it is a personal access token."""
    if settings.uses_token:
        return f"Bearer {settings.secret}"
    return f"_dremio{_tokens.get(_token_key(settings), '')}"


def _has_token(settings: DremioSettings) -> bool:
    return settings.uses_token or _token_key(settings) in _tokens


def _keep_token(settings: DremioSettings, body: Any) -> None:
    token = body.get("token") if isinstance(body, dict) else None
    if not token:
        raise DremioAuthError(settings.rest_url, settings.user, "the login's answer has no token")
    _tokens[_token_key(settings)] = token


def _token_key(settings: DremioSettings) -> str:
    secret = hashlib.sha256(settings.secret.encode()).hexdigest()
    return f"{settings.rest_url} {settings.user} {secret}"


def _tls(settings: DremioSettings) -> ssl.SSLContext | bool:
    if isinstance(settings.verify, str):
        return ssl.create_default_context(cafile=settings.verify)
    return settings.verify if settings.rest_url.startswith("https") else False


def _answer(response: httpx.Response) -> str:
    """Dremio's error text of an answer; the start of the body when it is not Dremio's JSON."""
    try:
        body = response.json()
    except ValueError:
        return response.text[:300]
    if not isinstance(body, dict):
        return str(body)[:300]
    parts = [body.get("errorMessage"), body.get("moreInfo"), *(body.get("context") or [])]
    return "; ".join(dict.fromkeys(str(part) for part in parts if part))
