"""Which bucket is the lake, and as what Dremio shows it."""

from typing import Any, Protocol

DEFAULT_BUCKET = "datalake"
SOURCE = "datalake"  # Dremio's source that shows the bucket, whatever that is called


class AirflowConnection(Protocol):
    """The part of Airflow's Connection that is read here."""

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


def bucket_of(conn: AirflowConnection) -> str:
    """Return the bucket that a connection of type `aws` names as the amazon provider has it; `datalake` if it does not.

    Example of its extra::

        {"service_config": {"s3": {"bucket_name": "my-lake"}}}
    """
    configured = conn.extra_dejson.get("service_config") or {}
    return str((configured.get("s3") or {}).get("bucket_name") or DEFAULT_BUCKET)
