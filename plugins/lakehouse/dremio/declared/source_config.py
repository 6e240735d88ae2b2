"""Dremio source configurations from Airflow connections.

Keys: docs.dremio.com, REST reference, Source. Secrets read back as `$DREMIO_EXISTING_VALUE$`.
"""

from typing import Any
from urllib.parse import urlsplit

from lakehouse.dremio.connection import AirflowConnection
from lakehouse.dremio.declared.catalog import Source
from lakehouse.dremio.exceptions import DremioConfigError
from lakehouse.ops.lake import bucket_of

SECRET_KEYS = frozenset({"accessSecret", "password"})

# New files appear by metadata refresh, which the pipeline asks for itself; the server's own round is a net.
METADATA_POLICY = {
    "authTTLMs": 86_400_000,
    "namesRefreshMs": 3_600_000,
    "datasetRefreshAfterMs": 3_600_000,
    "datasetExpireAfterMs": 86_400_000,
    "datasetUpdateMode": "PREFETCH_QUERIED",
    "deleteUnavailableDatasets": True,
    "autoPromoteDatasets": False,
}


def source_config(source: Source, conn: AirflowConnection) -> dict[str, Any]:
    """The `config` object of a source, secrets included: never log it.

    :raises DremioConfigError: the connection lacks what this type of source needs.
    """
    derived = _s3(source, conn) if source.type == "S3" else _postgres(source, conn)
    config = derived | source.config
    if source.type == "S3":  # the declared properties stand beside those that reach the store
        config["propertyList"] = derived["propertyList"] + source.config.get("propertyList", [])
    return config


def _s3(source: Source, conn: AirflowConnection) -> dict[str, Any]:
    _require(source, conn, login=conn.login, password=conn.password)
    endpoint = str(conn.extra_dejson.get("endpoint_url") or "")
    config: dict[str, Any] = {
        "credentialType": "ACCESS_KEY",
        "accessKey": conn.login,
        "accessSecret": conn.password,
        "rootPath": source.root_path or f"/{bucket_of(conn)}",
        "secure": not endpoint.startswith("http://"),
        "compatibilityMode": bool(endpoint),
        "enableAsync": True,
        "isCachingEnabled": False,
        "propertyList": [],
    }
    if endpoint:
        parts = urlsplit(endpoint)
        if "@" in parts.netloc:
            raise DremioConfigError(f"Airflow connection '{conn.conn_id}': endpoint_url carries a login; leave it out")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise DremioConfigError(
                f"Airflow connection '{conn.conn_id}': endpoint_url {endpoint!r} is no http(s) address"
            )
        config["propertyList"] = [
            {"name": "fs.s3a.endpoint", "value": parts.netloc},
            {"name": "fs.s3a.path.style.access", "value": "true"},
        ]
    return config


def _postgres(source: Source, conn: AirflowConnection) -> dict[str, Any]:
    database = getattr(conn, "schema", None)
    _require(source, conn, host=conn.host, login=conn.login, password=conn.password, schema=database)
    return {
        "hostname": conn.host,
        "port": str(conn.port or 5432),
        "databaseName": database,
        "username": conn.login,
        "password": conn.password,
        "authenticationType": "MASTER",
        "useSsl": conn.extra_dejson.get("sslmode") in ("require", "verify-ca", "verify-full"),
    }


def _require(source: Source, conn: AirflowConnection, **fields: Any) -> None:
    missing = [name for name, value in fields.items() if not value]
    if missing:
        raise DremioConfigError(
            f"Airflow connection '{conn.conn_id}' (for Dremio source {source.name}): {', '.join(missing)} missing"
        )
