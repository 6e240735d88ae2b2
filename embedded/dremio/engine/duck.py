"""The DuckDB instance: settings, extensions, macros, and one attached database for each source."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
from duckdb.func import FunctionNullHandling
from duckdb_extensions import import_extension
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from embedded.dremio.catalog import databases, storage
from embedded.dremio.catalog.entities import Entity
from embedded.dremio.sql.functions_python import PYTHON_FUNCTIONS
from embedded.dremio.sql.kinds import quoted, text
from embedded.dremio.sql.macros import ALL_MACROS

EXTENSIONS = ("httpfs", "ducklake", "postgres_scanner")
REFLECTIONS = "reflections"  # the attached database of materialisations

_SETTINGS = (
    "SET GLOBAL autoinstall_known_extensions = false",
    "SET GLOBAL autoload_known_extensions = false",
    "SET GLOBAL python_enable_replacements = false",
    # both give wrong rows in DuckDB 1.5.2, the first now and then (duckdb/duckdb#21757, #25819)
    "SET GLOBAL disabled_optimizers = 'join_filter_pushdown,common_subplan'",
    "SET GLOBAL TimeZone = 'UTC'",
    "SET GLOBAL preserve_insertion_order = true",
    "SET GLOBAL default_null_order = 'NULLS_LAST'",
    "SET GLOBAL ducklake_default_data_inlining_row_limit = 0",  # or small tables would live in PostgreSQL
    # a statement holds a connection from its begin to its end; cached for a thread, others would wait for it in vain
    "SET GLOBAL pg_pool_max_connections = 32",
    "SET GLOBAL pg_pool_enable_thread_local_cache = false",
    "SET GLOBAL pg_pool_enable_reaper_thread = true",
    "SET GLOBAL pg_pool_idle_timeout_millis = 60000",
    "SET GLOBAL http_keep_alive = true",
    "SET GLOBAL parquet_metadata_cache = true",
)


def database_name(source: Entity) -> str:
    """The name of the attached database of a source."""
    return f"src_{source.id.replace('-', '')}"


def metadata_schema(source: Entity) -> str:
    """The PostgreSQL schema of a source's DuckLake metadata."""
    return f"lake_{source.id.replace('-', '')}"


class Duck:
    """Owns the instance; `cursor` gives a connection for one thread's statement."""

    def __init__(self, dsn: str, data_dir: Path, memory_limit: str | None) -> None:
        self._dsn = dsn
        self._lock = threading.RLock()
        data_dir.mkdir(parents=True, exist_ok=True)
        for extension in EXTENSIONS:
            import_extension(extension)
        self.root = duckdb.connect(":memory:")
        for extension in EXTENSIONS:
            self.root.execute(f"LOAD {extension}")
        for setting in _SETTINGS:
            try:
                self.root.execute(setting)
            except duckdb.CatalogException:  # a setting that this build does not have
                if "inlining" in setting:
                    raise
        self.root.execute(f"SET GLOBAL memory_limit = {text(memory_limit or self._share_of_memory())}")
        self.root.execute(f"SET GLOBAL temp_directory = {text(str(data_dir / 'spill'))}")
        install_functions(self.root)
        self.root.execute(f"ATTACH {text(str(data_dir / 'reflections.duckdb'))} AS {REFLECTIONS}")
        self._attached: dict[str, str] = {}

    def _share_of_memory(self) -> str:
        """DuckDB would take 80 % of the machine's or container's memory: an eighth of that, at least 1 GB."""
        row = self.root.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchone()
        assert row is not None
        return f"{max(10**9, row[0] // 8)}B"

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A new connection to the instance; close it after use."""
        return self.root.cursor()

    def source_changed(self, source: Entity, exists: bool) -> None:
        """Attach a source (again, when its config changed) or detach it; raises duckdb.Error."""
        with self._lock:
            name = database_name(source)
            if name in self._attached:
                self.root.execute(f"DETACH {name}")
                del self._attached[name]
            self.root.execute(f"DROP SECRET IF EXISTS {name}")
            if exists:
                self._attach(source)

    def ensure(self, source: Entity) -> str:
        """The name of the source's database, attached now if it was not yet."""
        name = database_name(source)
        if name not in self._attached:
            with self._lock:
                if name not in self._attached:
                    self._attach(source)
        return name

    def _attach(self, source: Entity) -> None:
        name = database_name(source)
        if source.body["type"] == "ELASTIC":  # read by `documents`
            return
        if source.body["type"] == "POSTGRES":
            conninfo = databases.conninfo(source)
            self.root.execute(f"ATTACH {text(conninfo)} AS {name} (TYPE postgres, READ_ONLY)")
            self._attached[name] = "postgres"
            return
        root = storage.root_of(source)
        if source.body["type"] == "S3":
            self.secret(source)
        self._attached[name] = "files"
        if root not in ("s3:/", ""):
            conninfo = make_conninfo("", **_plain(self._dsn))
            self.root.execute(
                f"ATTACH {text('ducklake:postgres:' + conninfo)} AS {name} (DATA_PATH {text(root + '/')},"
                f" METADATA_SCHEMA {text(metadata_schema(source))}, OVERRIDE_DATA_PATH true)"
            )
            self._attached[name] = "lake"

    def secret(self, source: Entity) -> None:
        """(Re)create the DuckDB secret by which an S3 source's objects are read."""
        settings = storage.s3_settings(source.body.get("config", {}))
        options = [
            "TYPE s3",
            f"KEY_ID {text(settings['key'])}",
            f"SECRET {text(settings['secret'])}",
            f"REGION {text(settings['region'])}",
            f"USE_SSL {'true' if settings['secure'] else 'false'}",
            f"URL_STYLE {text('path' if settings['path_style'] else 'vhost')}",
            f"SCOPE {text(storage.root_of(source) + '/')}",
        ]
        if settings["endpoint"]:
            options.append(f"ENDPOINT {text(settings['endpoint'])}")
        self.root.execute(f"CREATE OR REPLACE SECRET {quoted(database_name(source))} ({', '.join(options)})")

    def close(self) -> None:
        """Close the instance."""
        self.root.close()


def install_functions(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the functions and macros that translated texts call."""
    for name, (function, arguments, returns) in PYTHON_FUNCTIONS.items():
        connection.create_function(name, function, arguments, returns, null_handling=FunctionNullHandling.SPECIAL)
    for macro in ALL_MACROS:
        connection.execute(macro)


def _plain(dsn: str) -> dict[str, str]:
    """The parts of a libpq DSN that DuckDB's connection string takes."""
    parts = conninfo_to_dict(dsn)
    return {k: str(v) for k, v in parts.items() if k in ("host", "port", "user", "password", "dbname", "sslmode")}
