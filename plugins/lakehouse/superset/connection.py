"""An Airflow connection of type `superset`, read once and checked; and one of Dremio as Superset's database."""

from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import quote, urlencode, urlsplit

from lakehouse.superset.exceptions import SupersetConfigError

DEFAULT_TIMEOUT = 60.0  # seconds for one request; a chart's query runs within it
DEFAULT_FLIGHT_PORT = 32010
MASKED_PASSWORD = "X" * 10  # what Superset shows in place of a database's password


class AirflowConnection(Protocol):
    """The part of Airflow's Connection that is read here."""

    conn_id: str
    host: str | None
    port: int | None
    login: str | None
    password: str | None

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class SupersetSettings:
    """Where Superset is and how to log in. `password` never appears in its repr.

    :param url: scheme, host, port and path, without a trailing slash.
    :param verify: path of a CA file, or whether certificates are verified at all.
    :param timeout: seconds for one request.
    """

    url: str
    user: str
    password: str = field(repr=False)
    verify: str | bool = True
    timeout: float = DEFAULT_TIMEOUT

    @classmethod
    def from_connection(cls, conn: AirflowConnection) -> Self:
        """Read an Airflow connection: host is the URL; extra may hold `verify_ssl`, `ca_file`, `timeout`.

        :raises SupersetConfigError: naming the connection and the field.
        """
        if not conn.host:
            raise SupersetConfigError(f"Connection {conn.conn_id!r}: host is empty; it holds Superset's URL.")
        if not conn.login or not conn.password:
            raise SupersetConfigError(f"Connection {conn.conn_id!r}: login and password are both needed.")
        extra = conn.extra_dejson
        parts = urlsplit(conn.host if "://" in conn.host else f"http://{conn.host}")
        if "@" in parts.netloc:  # every error and link names the URL
            raise SupersetConfigError(
                f"Connection {conn.conn_id!r}: host carries a login; write it into login and password instead."
            )
        if not parts.hostname:
            raise SupersetConfigError(f"Connection {conn.conn_id!r}: host {conn.host!r} is no URL.")
        port = f":{conn.port}" if conn.port and parts.port is None else ""
        verify_ssl = extra.get("verify_ssl")
        return cls(
            url=f"{parts.scheme}://{parts.netloc}{port}{parts.path}".rstrip("/"),
            user=conn.login,
            password=conn.password,
            verify=extra.get("ca_file") or (True if verify_ssl is None else bool(verify_ssl)),
            timeout=float(extra.get("timeout") or DEFAULT_TIMEOUT),
        )


def dremio_uri(conn: AirflowConnection) -> str:
    """Return the SQLAlchemy URI by which Superset queries the Dremio of an Airflow connection.

    It is sqlalchemy-dremio's over Arrow Flight. A personal access token goes where the password does: beside
    a login Dremio accepts it there, and there Superset hides it.

    :raises SupersetConfigError: no host or login, or a password that sqlalchemy-dremio cannot carry.
    """
    extra = conn.extra_dejson
    host = extra.get("flight_host") or urlsplit(f"//{(conn.host or '').split('://')[-1]}").hostname
    for name, value in {"host": host, "login": conn.login, "password": conn.password}.items():
        if not value:
            raise SupersetConfigError(f"Connection {conn.conn_id!r}: Superset needs its {name}, which is empty.")
        if ";" in str(value):
            raise SupersetConfigError(
                f"Connection {conn.conn_id!r}: {name} contains a semicolon, at which sqlalchemy-dremio cuts it."
            )
    scheme, is_url, _ = str(conn.host).partition("://")
    rest_tls = scheme == "https" if is_url else extra.get("use_ssl")
    flight_tls = extra.get("flight_use_ssl")
    encrypted = bool(rest_tls if flight_tls is None else flight_tls)
    query = {"UseEncryption": str(encrypted).lower()}
    if encrypted and extra.get("ca_file"):
        query["TrustedCerts"] = str(extra["ca_file"])
    elif encrypted and extra.get("verify_ssl") is False:
        query["DisableCertificateVerification"] = "true"
    user, password = quote(str(conn.login), safe=""), quote(str(conn.password), safe="")
    port = extra.get("flight_port") or DEFAULT_FLIGHT_PORT
    return f"dremio+flight://{user}:{password}@{host}:{port}/dremio?{urlencode(query)}"


def masked(uri: str) -> str:
    """Return a URI as Superset shows it, with ten X in place of the password."""
    head, separator, tail = uri.rpartition("@")
    user = head.rpartition(":")[0]
    return f"{user}:{MASKED_PASSWORD}{separator}{tail}" if user.count(":") else uri
