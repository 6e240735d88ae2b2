"""What one installation of the embedded stack is: its folder, ports, credentials and demo data.

Everything that differs between two installations on one machine is in `Settings`. Ports come from the process
environment, then from `.env`, then from what the installation chose before, then from the defaults; credentials
and the demo's end date are made once, at the first start, and kept in `<home>/settings.json` (mode 0600).
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

REPOSITORY = Path(__file__).resolve().parent.parent

# Names as users write them in .env; values are the ports of the services that they know from their documentation.
DEFAULT_PORTS = {
    "AIRFLOW_PORT": 8080,
    "SUPERSET_PORT": 8088,
    "DREMIO_PORT": 9047,
    "DREMIO_FLIGHT_PORT": 32010,
    "AIRBYTE_PORT": 8000,
    "AIRBYTE_CONFIG_PORT": 8001,
    "S3_PORT": 9000,
    "POSTGRES_PORT": 5432,
    "STORE_API_PORT": 8090,
}
DATABASES = ("airflow", "superset", "lakehouse", "dremio", "airbyte", "shop")
S3_SERVERS = ("rclone", "minio")  # the first is in a package; MinIO is built from its source by bin/minio
DEFAULT_SCALE = "100k"  # orders in the demo shop
DEFAULT_SEED = 20251016


class SettingsError(Exception):
    """A setting cannot be used; the message names it, its value, and what to write instead."""


@dataclass
class Settings:
    """One installation. `home` holds all of its data; removing that folder removes the installation."""

    home: Path
    ports: dict[str, int]
    credentials: dict[str, str]
    scale: str
    seed: int
    end_date: datetime.date
    s3_server: str = S3_SERVERS[0]
    overrides: dict[str, str] = field(default_factory=dict)

    def url(self, port_name: str, scheme: str = "http") -> str:
        """`scheme://127.0.0.1:<port>` of the service that owns `port_name`."""
        return f"{scheme}://127.0.0.1:{self.ports[port_name]}"

    def database_url(self, database: str, scheme: str = "postgresql") -> str:
        """Connection URL of one of `DATABASES`, whose owner is the role of the same name."""
        password = quote(self.credentials[f"postgres_{database}"], safe="")
        return f"{scheme}://{database}:{password}@127.0.0.1:{self.ports['POSTGRES_PORT']}/{database}"

    def environment(self) -> dict[str, str]:
        """The names that `make env` prints: how a person or a test reaches every service."""
        secret = self.credentials
        return {
            "AIRFLOW_URL": self.url("AIRFLOW_PORT"),
            "AIRFLOW_USERNAME": "admin",
            "AIRFLOW_PASSWORD": secret["airflow_admin"],
            "DREMIO_URL": self.url("DREMIO_PORT"),
            "DREMIO_FLIGHT_URL": self.url("DREMIO_FLIGHT_PORT", "grpc"),
            "DREMIO_USERNAME": "admin",
            "DREMIO_PASSWORD": secret["dremio_admin"],
            "S3_ENDPOINT_URL": self.url("S3_PORT"),
            "AWS_ACCESS_KEY_ID": secret["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": secret["s3_secret_key"],
            "AIRBYTE_URL": self.url("AIRBYTE_PORT") + "/api/public/v1",
            "AIRBYTE_CONFIG_URL": self.url("AIRBYTE_CONFIG_PORT") + "/api/v1",
            "AIRBYTE_CLIENT_ID": secret["airbyte_client_id"],
            "AIRBYTE_CLIENT_SECRET": secret["airbyte_client_secret"],
            "LAKEHOUSE_DB_URL": self.database_url("lakehouse"),
            "SHOP_DB_URL": self.database_url("shop"),
            "STORE_API_URL": self.url("STORE_API_PORT"),
            "STORE_API_KEY": secret["store_api_key"],
            "SUPERSET_URL": self.url("SUPERSET_PORT"),
            "SUPERSET_USERNAME": "admin",
            "SUPERSET_PASSWORD": secret["superset_admin"],
        }


def home_folder() -> Path:
    """`LAKEHOUSE_HOME`, or `.stack` in the repository."""
    return Path(os.environ.get("LAKEHOUSE_HOME") or REPOSITORY / ".stack").resolve()


def load(create: bool = True) -> Settings | None:
    """Reads the installation in `home_folder()`; makes it if `create`, else returns None when there is none.

    Raises:
        SettingsError: a port or the scale is not usable, or the settings file cannot be read.
    """
    home = home_folder()
    file = home / "settings.json"
    if not file.exists() and not create:
        return None
    from_shell = {name: value for name, value in os.environ.items() if name in _known_names()}
    overrides = _read_dotenv(REPOSITORY / ".env") | from_shell
    free = overrides.get("LAKEHOUSE_PORTS") == "free"
    if free:  # .env then speaks of another instance of this clone
        overrides = {name: value for name, value in overrides.items() if name not in DEFAULT_PORTS} | from_shell
    from embedded.demo.company import parse_scale  # not at import: it loads numpy

    stored = _read_stored(file)
    if not stored and home.exists() and any(home.iterdir()):
        raise SettingsError(
            f"{home} is not empty and is no installation: name a new folder by LAKEHOUSE_HOME, because `make clean` "
            "deletes it whole."
        )
    fresh = {
        "ports": _free_ports() if free else {},
        "credentials": _new_credentials(),
        "scale": _checked("SCALE", overrides.get("SCALE", DEFAULT_SCALE), parse_scale, "100k or 1M"),
        "seed": int(_checked("SEED", overrides.get("SEED", str(DEFAULT_SEED)), int, "a whole number")),
        "end_date": _checked(
            "DEMO_END_DATE",
            overrides.get("DEMO_END_DATE") or _newest_due_day().isoformat(),
            datetime.date.fromisoformat,
            "a day as YYYY-MM-DD",
        ),
        "s3_server": _checked("S3_SERVER", overrides.get("S3_SERVER", S3_SERVERS[0]), _s3_server, "rclone or minio"),
    }
    kept = fresh | stored
    kept["credentials"] = fresh["credentials"] | stored.get("credentials", {})
    if stored and overrides.get("S3_SERVER", kept["s3_server"]) != kept["s3_server"]:
        raise SettingsError(
            f"S3_SERVER={overrides['S3_SERVER']} cannot be used: this installation's objects are in the form of "
            f"{kept['s3_server']}. Name a new folder by LAKEHOUSE_HOME, or `make clean` first (this deletes its data)."
        )
    if kept != stored:
        _write_private(file, kept)
    ports = {
        name: _port(name, overrides.get(name, kept["ports"].get(name, DEFAULT_PORTS[name]))) for name in DEFAULT_PORTS
    }
    _refuse_shared_ports(ports)
    return Settings(
        home=home,
        ports=ports,
        credentials=kept["credentials"],
        scale=str(kept["scale"]),
        seed=int(kept["seed"]),
        end_date=datetime.date.fromisoformat(kept["end_date"]),
        s3_server=str(kept["s3_server"]),
        overrides=overrides,
    )


def _checked(name: str, value: str, parse: Callable[[str], object], example: str) -> str:
    """`value` as it is, once `parse` takes it."""
    try:
        parse(value)
    except ValueError as error:
        raise SettingsError(f"{name}={value!r} cannot be used ({error}): write {example}.") from error
    return value


def _s3_server(name: str) -> None:
    if name not in S3_SERVERS:
        raise ValueError("there is no such server")


def _known_names() -> set[str]:
    return {*DEFAULT_PORTS, "LAKEHOUSE_PORTS", "SCALE", "SEED", "DEMO_END_DATE", "S3_SERVER"}


def _newest_due_day() -> datetime.date:
    """The newest day whose daily run is due: the one before yesterday until 01:00 UTC, then yesterday."""
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)).date() - datetime.timedelta(days=1)


def _read_dotenv(file: Path) -> dict[str, str]:
    """`NAME=value` lines; blank lines and `#` comments are passed over, an unknown name is refused."""
    found: dict[str, str] = {}
    if not file.exists():
        return found
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, separator, value = text.partition("=")
        if not separator or name.strip() not in _known_names():
            known = ", ".join(sorted(_known_names()))
            raise SettingsError(f"{file.name}, line {number}: cannot use {line!r}. Known names: {known}.")
        found[name.strip()] = value.strip().strip("'\"")
    return found


def _read_stored(file: Path) -> dict:
    if not file.exists():
        return {}
    try:
        return json.loads(file.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise SettingsError(
            f"{file} cannot be read ({error}). Restore it, or run `make clean` to begin a new installation "
            "(this deletes its data)."
        ) from error


def _write_private(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.parent.chmod(0o700)  # customers' data and logs are below it
    partial = file.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        json.dump(content, handle, indent=2)
    partial.replace(file)


def _new_credentials() -> dict[str, str]:
    names = [f"postgres_{database}" for database in (*DATABASES, "postgres")]
    names += ["airflow_admin", "airflow_jwt", "airflow_secret", "superset_admin", "superset_secret"]
    names += ["s3_secret_key", "airbyte_client_secret", "store_api_key"]
    made = {name: secrets.token_urlsafe(18) for name in names}
    made["s3_access_key"] = secrets.token_hex(10)
    made["airbyte_client_id"] = secrets.token_hex(10)
    # Dremio asks for at least eight characters with a letter and a digit.
    made["dremio_admin"] = secrets.token_urlsafe(16) + "a1"
    made["airflow_fernet"] = _fernet_key()
    return made


def _fernet_key() -> str:
    import base64

    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _free_ports() -> dict[str, int]:
    """Ports that nothing listens on now, all different because they are held open together while choosing."""
    held = [socket.socket() for _ in DEFAULT_PORTS]
    try:
        for candidate in held:
            candidate.bind(("127.0.0.1", 0))
        return {name: held[i].getsockname()[1] for i, name in enumerate(DEFAULT_PORTS)}
    finally:
        for candidate in held:
            candidate.close()


def _port(name: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number <= 65535:
        raise SettingsError(f"{name}={value!r} is no port: write a number from 1 to 65535 in .env.")
    return number


def _refuse_shared_ports(ports: dict[str, int]) -> None:
    for name, number in ports.items():
        twin = next((other for other, used in ports.items() if used == number and other != name), None)
        if twin:
            raise SettingsError(f"{name} and {twin} are both {number}: give each service a port of its own in .env.")
