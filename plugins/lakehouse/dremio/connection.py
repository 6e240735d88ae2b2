"""An Airflow connection of type `dremio`, read once and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from lakehouse.dremio.exceptions import DremioConfigError

DEFAULT_REST_PORT = 9047
DEFAULT_FLIGHT_PORT = 32010
DEFAULT_TIMEOUT = 30.0  # seconds for one REST request, and to connect by Flight
DEFAULT_FLIGHT_TIMEOUT = 1200.0  # seconds for one statement over Flight, and as many to fetch its result


class AirflowConnection(Protocol):
    """The part of Airflow's Connection that is read here (the SDK's and the core's class both have it)."""

    conn_id: str
    host: str | None
    port: int | None
    login: str | None
    password: str | None

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class DremioSettings:
    """Where a Dremio server is and how to log in. `secret` never appears in its repr.

    :param rest_url: scheme, host and port, without a trailing slash.
    :param verify: path of a CA file, or whether certificates are verified at all.
    :param timeout: seconds for one REST request, and to connect by Flight.
    :param flight_timeout: seconds for one statement over Flight, and as many to fetch its result.
    """

    rest_url: str
    flight_uri: str
    ui_url: str
    user: str | None
    secret: str = field(repr=False)
    uses_token: bool = False
    project_id: str | None = None
    verify: str | bool = True
    timeout: float = DEFAULT_TIMEOUT
    flight_timeout: float = DEFAULT_FLIGHT_TIMEOUT
    flight_headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_connection(cls, conn: AirflowConnection) -> Self:
        """Read an Airflow connection; see the connection form for the fields of extra.

        :raises DremioConfigError: naming the connection and the field.
        """
        extra = conn.extra_dejson
        scheme, host, port = _address(conn, extra)
        project = str(extra["project_id"]) if extra.get("project_id") else None
        auth = extra.get("auth") or ("pat" if project or not conn.login else "password")
        if auth not in ("password", "pat"):
            raise _wrong(conn, "auth", f"{auth!r} is neither 'password' nor 'pat'")
        if project and auth != "pat":
            raise _wrong(conn, "auth", "Dremio Cloud (project_id is set) accepts access tokens only: 'pat'")
        if not conn.password:
            raise _wrong(conn, "password", "is empty; it holds the password or the access token")
        if auth == "password" and not conn.login:
            raise _wrong(conn, "login", "is empty; with auth 'password' it names the user")
        verify: str | bool = extra.get("ca_file") or _flag(conn, extra, "verify_ssl", True)
        flight_tls = _flag(conn, extra, "flight_use_ssl", scheme == "https")
        flight_host = extra.get("flight_host") or host
        flight_port = _number(conn, extra, "flight_port", DEFAULT_FLIGHT_PORT)
        if "@" in urlsplit(str(extra.get("ui_url") or "")).netloc:
            raise _wrong(conn, "ui_url", "carries a login, which every link would show; leave it out")
        rest_url = f"{scheme}://{host}:{port}"
        return cls(
            rest_url=rest_url,
            flight_uri=f"grpc{'+tls' if flight_tls else ''}://{flight_host}:{int(flight_port)}",
            ui_url=str(extra.get("ui_url") or rest_url).rstrip("/"),
            user=conn.login,
            secret=conn.password,
            uses_token=auth == "pat",
            project_id=project,
            verify=verify,
            timeout=_number(conn, extra, "timeout", DEFAULT_TIMEOUT),
            flight_timeout=_number(conn, extra, "flight_timeout", DEFAULT_FLIGHT_TIMEOUT),
            flight_headers={key: str(extra[key]) for key in ("routing_queue", "routing_tag") if extra.get(key)},
        )

    def api(self, path: str) -> str:
        """URL path of a v3 resource: `/api/v3/...`, or `/v0/projects/<id>/...` on Dremio Cloud."""
        prefix = f"/v0/projects/{self.project_id}" if self.project_id else "/api/v3"
        return f"{prefix}/{path.lstrip('/')}"

    def job_link(self, job_id: str) -> str:
        """Address of a job's page in the console."""
        if self.project_id:
            return f"{self.ui_url}/sonar/{self.project_id}/job/{job_id}"
        return f"{self.ui_url}/job/{job_id}"


def _address(conn: AirflowConnection, extra: Mapping[str, Any]) -> tuple[str, str, int]:
    """Scheme, host and port; the host may be given as a URL."""
    host = (conn.host or "").strip().rstrip("/")
    tls = _flag(conn, extra, "use_ssl", bool(extra.get("project_id")))
    scheme = "https" if tls else "http"
    port = conn.port
    if "://" in host:
        parts = urlsplit(host)
        if parts.scheme not in ("http", "https"):
            raise _wrong(conn, "host", f"has scheme {parts.scheme!r}; give http or https, or only the name")
        scheme, host, port = parts.scheme, parts.hostname or "", port or parts.port
    if not host:
        raise _wrong(conn, "host", "is empty; it names the server")
    fallback = 443 if extra.get("project_id") else DEFAULT_REST_PORT
    return scheme, host, int(port or fallback)


def _flag(conn: AirflowConnection, extra: Mapping[str, Any], key: str, default: bool) -> bool:
    value = extra.get(key)
    if value is None or value == "":
        return default
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _wrong(conn, key, f"is {value!r}; it must be true or false")


def _number(conn: AirflowConnection, extra: Mapping[str, Any], key: str, default: float) -> float:
    value = extra.get(key)
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _wrong(conn, key, f"is {value!r}; it must be a number") from None
    if number <= 0:
        raise _wrong(conn, key, f"is {value!r}; it must be above 0")
    return number


def _wrong(conn: AirflowConnection, name: str, what: str) -> DremioConfigError:
    return DremioConfigError(f"Airflow connection '{conn.conn_id}': {name} {what}")
