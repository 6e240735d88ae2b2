"""Airflow provider for a lakehouse: Dremio, Airbyte, S3-compatible object storage and Superset.

One folder per service; a service's folder never imports another service's folder. `ops` holds what all of
them share (run records, leases, the batch date), `transfers` what joins two of them.
"""

__version__ = "0.2.0"
