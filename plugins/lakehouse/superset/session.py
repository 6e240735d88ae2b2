"""Sends requests to Superset: log in, renew the token, repeat what the server did not take in.

Every request of this package is idempotent (reads, imports with overwrite, cache refreshes), so all of them
may be repeated. `SupersetAuth` serves httpx's sync and async clients alike.
"""

import asyncio
import random
import time
from collections.abc import Generator, Iterator
from typing import Any

import httpx

from lakehouse.superset.connection import SupersetSettings
from lakehouse.superset.exceptions import (
    SupersetAuthError,
    SupersetError,
    SupersetHttpError,
    SupersetNotFound,
    SupersetServerBusy,
    SupersetUnreachable,
)

MAX_ATTEMPTS = 4
FIRST_DELAY = 0.5  # seconds; doubled each time, then drawn from the upper half (jitter)
RETRY_STATUSES = frozenset({408, 429, 502, 503, 504})
CSRF_EXEMPT = ("/api/v1/chart/data",)
# With any other Accept header Superset turns the errors of its commands into an HTML page with status 500.
HEADERS = {"Accept": "application/json"}


class SupersetAuth(httpx.Auth):
    """Token by login, a new one when it expired (15 minutes); CSRF token and its cookie for writes."""

    requires_response_body = True

    def __init__(self, settings: SupersetSettings) -> None:
        self.settings = settings
        self.token: str | None = None
        self.csrf: dict[str, str] = {}

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Log in if need be, sign the request, and once more with a new token if the old one is refused."""
        fresh = self.token is None
        if fresh:
            yield from self._log_in()
        response = yield from self._send(request)
        if response.status_code == 401 and not fresh:
            yield from self._log_in()
            response = yield from self._send(request)
        if response.status_code == 401:
            raise SupersetAuthError(self.settings.url, self.settings.user, answer_of(response))

    def _log_in(self) -> Generator[httpx.Request, httpx.Response, None]:
        self.csrf = {}
        login = {"username": self.settings.user, "password": self.settings.password}
        url = f"{self.settings.url}/api/v1/security/login"
        response = yield httpx.Request("POST", url, json={**login, "provider": "db", "refresh": True}, headers=HEADERS)
        if response.status_code != 200:
            if response.status_code in (400, 401, 403, 422):
                raise SupersetAuthError(self.settings.url, self.settings.user, answer_of(response))
            raise _error("POST", "/api/v1/security/login", response)
        self.token = response.json()["access_token"]

    def _send(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {self.token}"
        if request.method not in ("GET", "HEAD") and not request.url.path.endswith(CSRF_EXEMPT):
            if not self.csrf:
                yield from self._fetch_csrf()
            request.headers.update(self.csrf)
        response = yield request
        return response

    def _fetch_csrf(self) -> Generator[httpx.Request, httpx.Response, None]:
        headers = {**HEADERS, "Authorization": f"Bearer {self.token}"}
        response = yield httpx.Request("GET", f"{self.settings.url}/api/v1/security/csrf_token/", headers=headers)
        if response.status_code == 200:
            cookies = "; ".join(f"{name}={value}" for name, value in response.cookies.items())
            # Over https Superset also wants to see where the request comes from.
            self.csrf = {
                "X-CSRFToken": response.json()["result"],
                "Cookie": cookies,
                "Referer": self.settings.url,
            }


class SupersetSession:
    """A logged-in connection; use it as a context manager."""

    def __init__(self, settings: SupersetSettings) -> None:
        self.settings = settings
        self._client = httpx.Client(auth=SupersetAuth(settings), **_client_arguments(settings))

    def __enter__(self) -> "SupersetSession":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send one request and return the answer if it is no error.

        :param path: below the URL, e.g. `/api/v1/dashboard/1`.
        :param arguments: as in `httpx.Client.request`.
        :raises SupersetError: of a type that says why.
        """
        for delay in _delays():
            try:
                response = self._client.request(method, path, **arguments)
            except (httpx.TransportError, SupersetServerBusy) as error:
                if delay is None:
                    raise _last(self.settings, error) from error
            else:
                if delay is None or response.status_code not in RETRY_STATUSES:
                    return _checked(method, path, response)
            time.sleep(delay)
        raise AssertionError("the last delay is None")


class AsyncSupersetSession:
    """The same for triggers, and wherever several requests run side by side."""

    def __init__(self, settings: SupersetSettings) -> None:
        self.settings = settings
        self._client = httpx.AsyncClient(auth=SupersetAuth(settings), **_client_arguments(settings))

    async def __aenter__(self) -> "AsyncSupersetSession":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """See `SupersetSession.request`."""
        for delay in _delays():
            try:
                response = await self._client.request(method, path, **arguments)
            except (httpx.TransportError, SupersetServerBusy) as error:
                if delay is None:
                    raise _last(self.settings, error) from error
            else:
                if delay is None or response.status_code not in RETRY_STATUSES:
                    return _checked(method, path, response)
            await asyncio.sleep(delay)
        raise AssertionError("the last delay is None")


def answer_of(response: httpx.Response) -> str:
    """Return the server's own words of an error answer (its JSON has three shapes), at most 2,000 characters."""
    try:
        body = response.json()
    except ValueError:
        return " ".join(response.text.split())[:300]
    if not isinstance(body, dict):
        return str(body)[:2000]
    texts = [_with_details(item) for item in body.get("errors") or [] if isinstance(item, dict)]
    if not texts:
        texts = [str(body.get("message") or body.get("msg") or body)]
    return "; ".join(texts)[:2000]


def _with_details(error: dict[str, Any]) -> str:
    """One of `errors`; an import lists what is wrong with each file in `extra`."""
    extra = error.get("extra") or {}
    details = {name: value for name, value in extra.items() if name not in ("issue_codes", "engine_name")}
    return f"{error.get('message', '')} {details or ''}".strip()


def _client_arguments(settings: SupersetSettings) -> dict[str, Any]:
    return {
        "base_url": settings.url,
        "headers": HEADERS,
        "timeout": httpx.Timeout(settings.timeout, connect=5.0),
        "verify": settings.verify,
    }


def _delays() -> Iterator[float | None]:
    """Seconds to wait after each attempt; None after the last."""
    for attempt in range(MAX_ATTEMPTS - 1):
        yield FIRST_DELAY * 2**attempt * random.uniform(0.5, 1)
    yield None


def _last(settings: SupersetSettings, error: httpx.TransportError | SupersetServerBusy) -> SupersetError:
    """What to raise when the last attempt failed without an answer, or at the login inside of it."""
    if isinstance(error, SupersetServerBusy):
        return SupersetServerBusy(error.method, error.path, error.status, error.answer)
    return SupersetUnreachable(settings.url, settings.user, str(error) or type(error).__name__)


def _checked(method: str, path: str, response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise _error(method, path, response)


def _error(method: str, path: str, response: httpx.Response) -> SupersetHttpError:
    status = response.status_code
    kind: type[SupersetHttpError] = SupersetHttpError
    if status == 404:
        kind = SupersetNotFound
    elif status in RETRY_STATUSES:
        kind = SupersetServerBusy
    return kind(method, path, status, answer_of(response))
