"""Airbyte's public API (`/api/public/v1`) over HTTP, blocking and async, from an Airflow connection.

The form of requests and answers is that of Airbyte's own OpenAPI file (airbyte-platform, airbyte-api). The
official client is not used: it refuses the state `queued`, has no workspaces or custom definitions for some
versions, and no async side.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import httpx

from lakehouse.airbyte.exceptions import (
    AirbyteAuthError,
    AirbyteError,
    AirbyteHttpError,
    AirbyteServerError,
    AirbyteUnreachable,
)

DEFAULT_TIMEOUT = 30.0  # seconds for one request
TRIES = 4
PAGE = 100  # entries of a listing; the API's limit
_TOKEN_MARGIN = 60.0  # seconds before its end at which a token is renewed
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})


class AirflowConnection(Protocol):
    """The part of Airflow's Connection that is read here."""

    conn_id: str
    host: str | None
    login: str | None
    password: str | None
    schema: str | None

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class AirbyteSettings:
    """Where an Airbyte is and how to log in: the official provider's connection, read once.

    :ivar url: base of the public API, without a trailing slash.
    :ivar config_url: base of the config API (`/api/v1`), None where the connection names none.
    :ivar ui_url: base of the web pages, for links.
    """

    url: str
    token_url: str
    client_id: str | None
    client_secret: str | None = field(repr=False)
    config_url: str | None
    ui_url: str
    timeout: float

    @property
    def uses_tls(self) -> bool:
        """Whether certificates are needed: reading them costs each client 25 ms, on the triggerer's event loop."""
        return any((url or "").startswith("https") for url in (self.url, self.token_url, self.config_url))

    @classmethod
    def from_connection(cls, conn: AirflowConnection) -> Self:
        """Read an Airflow connection of type `airbyte`.

        host: base URL of the public API. login, password: client id and secret. schema: token URL, if it is
        not `<host>/applications/token`. extra: timeout (s), config_api_url, ui_url.

        :raises AirbyteError: a URL carries a login.
        """
        extra = conn.extra_dejson
        url = (conn.host or "").rstrip("/")
        token = conn.schema or "applications/token"
        if not token.startswith("http"):
            token = f"{url}/{token.removeprefix('v1/').lstrip('/')}"
        config = extra.get("config_api_url")
        for name, value in {
            "host": url,
            "schema": token,
            "config_api_url": config,
            "ui_url": extra.get("ui_url"),
        }.items():
            if "@" in urlsplit(str(value)).netloc:  # every error and link names the URL
                problem = f"{name} carries a login; write it into login and password instead"
                raise AirbyteError(f"Airflow connection '{conn.conn_id}': {problem}")
        return cls(
            url,
            token,
            conn.login or None,
            conn.password or None,
            str(config).rstrip("/") if config else None,
            str(extra.get("ui_url") or url.split("/api/")[0]).rstrip("/"),
            float(extra.get("timeout") or DEFAULT_TIMEOUT),
        )


class _Token:
    """A bearer token and when it is to be renewed."""

    def __init__(self, settings: AirbyteSettings) -> None:
        self._settings = settings
        self._value: str | None = None
        self._until = 0.0

    def needed(self) -> bool:
        return self._settings.client_id is not None and time.monotonic() >= self._until

    def request(self) -> dict[str, Any]:
        return {
            "url": self._settings.token_url,
            "data": {
                "client_id": self._settings.client_id,
                "client_secret": self._settings.client_secret,
                "grant_type": "client_credentials",
            },
        }

    def take(self, response: httpx.Response) -> None:
        if response.status_code in (400, 401, 403):
            raise AirbyteAuthError(self._settings.url, self._settings.client_id, response.status_code)
        answer = _json("POST", "/applications/token", response)
        self._value = answer["access_token"]
        self._until = time.monotonic() + max(1.0, float(answer.get("expires_in") or 900) - _TOKEN_MARGIN)

    def checked(self, method: str, path: str, response: httpx.Response) -> Any:
        """The answer's JSON; a token that was refused is not used again."""
        if response.status_code == 401:
            self._until = 0.0
            raise AirbyteAuthError(self._settings.url, self._settings.client_id, 401)
        return _json(method, path, response)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}


def _json(method: str, path: str, response: httpx.Response) -> Any:
    """The answer's JSON (None for an empty body)."""
    if response.is_success:
        return response.json() if response.content else None
    title, answer = _problem(response)
    if response.status_code not in _TRANSIENT:
        raise AirbyteHttpError(method, path, response.status_code, title, answer)
    asked = response.headers.get("Retry-After", "")
    retry_after = float(asked) if asked.isdigit() else None
    raise AirbyteServerError(method, path, response.status_code, title, answer, retry_after)


def _problem(response: httpx.Response) -> tuple[str, str]:
    try:
        body = response.json()
    except ValueError:
        return "", response.text[:300]
    if not isinstance(body, dict):
        return "", str(body)[:300]
    said = body.get("detail") or body.get("message") or body.get("errorId") or ""
    more = (body.get("data") or {}).get("message") if isinstance(body.get("data"), dict) else None
    return str(body.get("title") or ""), " - ".join(dict.fromkeys(str(part) for part in (said, more) if part))


def _pause(attempt: int, asked: float | None) -> float:
    """Seconds before the next try: what the server asks for, else 0.25 s doubled each time, with jitter."""
    return min(asked, 30.0) if asked else 0.25 * 2**attempt * random.uniform(0.8, 1.2)


class AirbyteClient:
    """The public API, blocking. Every call is repeated after loss of connection, 408, 429 and 5xx.

    Repeating is safe for all that is sent here: reads, replacements, and starting a sync, of which Airbyte runs
    one per connection and answers 409 to the second.
    """

    def __init__(self, settings: AirbyteSettings, transport: httpx.BaseTransport | None = None) -> None:
        self.settings = settings
        self._token = _Token(settings)
        self._http = httpx.Client(timeout=settings.timeout, transport=transport, verify=settings.uses_tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        """Send one request; return its JSON.

        :param path: below the base of the public API (`/jobs/1`), or a whole URL of the config API.
        :raises AirbyteUnreachable: no answer in all tries.
        :raises AirbyteAuthError: the credentials are refused.
        :raises AirbyteHttpError: any other answer but success; AirbyteServerError for 429 and 5xx.
        """
        refused = False
        for attempt in range(TRIES):
            try:
                return self._once(method, path, json, params)
            except AirbyteAuthError:
                if refused:
                    raise
                refused = True  # once more, with a new token
            except (AirbyteServerError, AirbyteUnreachable) as error:
                if attempt == TRIES - 1:
                    raise
                time.sleep(_pause(attempt, getattr(error, "retry_after", None)))
        return self._once(method, path, json, params)

    def _once(self, method: str, path: str, json: Any, params: Mapping[str, Any] | None) -> Any:
        url = path if path.startswith("http") else self.settings.url + path
        try:
            if self._token.needed():
                self._token.take(self._http.post(**self._token.request()))
            response = self._http.request(method, url, json=json, params=params, headers=self._token.headers())
        except httpx.TransportError as error:
            raise _unreachable(self.settings, error) from error
        return self._token.checked(method, path, response)

    def all(self, path: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return every entry of a listing, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", path, params={**(params or {}), "limit": PAGE, "offset": len(found)})
            entries = page.get("data") or []
            found += entries
            if len(entries) < PAGE:
                return found

    def config(self, path: str, body: Mapping[str, Any]) -> Any:
        """Call the config API (`/jobs/get_without_logs`).

        :raises ValueError: the connection names no config API.
        """
        if self.settings.config_url is None:
            raise ValueError("the Airflow connection's extra has no config_api_url")
        return self.call("POST", self.settings.config_url + path, json=dict(body))


class AsyncAirbyteClient:
    """What a trigger needs of the public API: one try per call, the trigger decides about the next."""

    def __init__(self, settings: AirbyteSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.settings = settings
        self._token = _Token(settings)
        self._lock = asyncio.Lock()
        self._http = httpx.AsyncClient(timeout=settings.timeout, transport=transport, verify=settings.uses_tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str) -> Any:
        """Send one request; return its JSON. Raises as `AirbyteClient.call` does."""
        try:
            async with self._lock:
                if self._token.needed():
                    self._token.take(await self._http.post(**self._token.request()))
            response = await self._http.request(method, self.settings.url + path, headers=self._token.headers())
        except httpx.TransportError as error:
            raise _unreachable(self.settings, error) from error
        return self._token.checked(method, path, response)


def _unreachable(settings: AirbyteSettings, error: httpx.TransportError) -> AirbyteUnreachable:
    return AirbyteUnreachable(settings.url, settings.client_id, str(error) or type(error).__name__)
