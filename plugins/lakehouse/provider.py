"""Provider metadata: what Airflow reads to register the connection types and their forms, and to list the rest."""

from typing import Any

from lakehouse import __version__

_DREMIO_FORM: dict[str, Any] = {
    "flight_port": {
        "label": "Flight port",
        "description": "Arrow Flight SQL port (32010; 443 on Dremio Cloud).",
        "schema": {"type": ["integer", "null"], "default": 32010, "minimum": 1},
    },
    "flight_host": {
        "label": "Flight host",
        "description": "When Flight listens on another host than REST (Dremio Cloud: data.dremio.cloud).",
        "schema": {"type": ["string", "null"]},
    },
    "use_ssl": {
        "label": "REST over TLS",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "flight_use_ssl": {
        "label": "Flight over TLS",
        "description": "Empty: the same as REST.",
        "schema": {"type": ["boolean", "null"]},
    },
    "verify_ssl": {
        "label": "Verify certificates",
        "schema": {"type": ["boolean", "null"], "default": True},
    },
    "ca_file": {
        "label": "CA file",
        "description": "PEM file on every worker and triggerer, for a private certificate authority.",
        "schema": {"type": ["string", "null"]},
    },
    "auth": {
        "label": "Authentication",
        "description": "password: login and password. pat: the password field holds a personal access token.",
        "schema": {"type": ["string", "null"], "enum": ["password", "pat"], "default": "password"},
    },
    "project_id": {
        "label": "Cloud project id",
        "description": "Only for Dremio Cloud; needs authentication by token.",
        "schema": {"type": ["string", "null"]},
    },
    "ui_url": {
        "label": "Console URL",
        "description": "Base of the links to jobs, when it differs from host and port.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Request timeout (s)",
        "schema": {"type": ["integer", "null"], "default": 30, "minimum": 1},
    },
    "flight_timeout": {
        "label": "Flight timeout (s)",
        "description": "Of one statement over Flight, and of fetching its result.",
        "schema": {"type": ["integer", "null"], "default": 1200, "minimum": 1},
    },
    "routing_queue": {"label": "Routing queue", "schema": {"type": ["string", "null"]}},
    "routing_tag": {"label": "Routing tag", "schema": {"type": ["string", "null"]}},
}

_SUPERSET_FORM: dict[str, Any] = {
    "verify_ssl": {
        "label": "Verify certificates",
        "schema": {"type": ["boolean", "null"], "default": True},
    },
    "ca_file": {
        "label": "CA file",
        "description": "PEM file on every worker and triggerer, for a private certificate authority.",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Request timeout (s)",
        "schema": {"type": ["integer", "null"], "default": 60, "minimum": 1},
    },
}

_INTEGRATIONS = {
    "Dremio": "https://docs.dremio.com/",
    "Airbyte": "https://docs.airbyte.com/",
    "MinIO": "https://min.io/docs/",
    "Superset": "https://superset.apache.org/docs/",
    "dbt on Dremio": "https://docs.getdbt.com/",
    "Lakehouse": "https://airflow.apache.org/docs/",
}
_OPERATORS = {
    "Dremio": [
        "lakehouse.dremio.operators.catalog",
        "lakehouse.dremio.operators.reflections",
        "lakehouse.dremio.operators.release",
        "lakehouse.dremio.operators.sql",
    ],
    "Airbyte": ["lakehouse.airbyte.operators", "lakehouse.streaming.operators"],
    "MinIO": ["lakehouse.minio.operators", "lakehouse.minio.report_operators", "lakehouse.minio.retention"],
    "Superset": [
        "lakehouse.superset.operators.apply",
        "lakehouse.superset.operators.export",
        "lakehouse.superset.operators.invalidate",
        "lakehouse.superset.operators.warm_up",
    ],
    "dbt on Dremio": ["lakehouse.dbt.operators"],
    "Lakehouse": ["lakehouse.ops.report"],
}
_SENSORS = {"Dremio": ["lakehouse.dremio.sensors"], "MinIO": ["lakehouse.minio.sensors"]}
_HOOKS = {
    "Dremio": ["lakehouse.dremio.hook"],
    "Airbyte": ["lakehouse.airbyte.hook"],
    "MinIO": ["lakehouse.minio.hook"],
    "Superset": ["lakehouse.superset.hook"],
}
_TRIGGERS = {
    "Dremio": ["lakehouse.dremio.triggers"],
    "Airbyte": ["lakehouse.airbyte.trigger", "lakehouse.streaming.trigger"],
    "MinIO": ["lakehouse.minio.triggers"],
    "Superset": ["lakehouse.superset.triggers"],
}
_TRANSFERS = {
    "lakehouse.transfers.dremio_to_minio": ("Dremio", "MinIO"),
    "lakehouse.transfers.minio_to_dremio": ("MinIO", "Dremio"),
}


def _listed(modules: dict[str, list[str]]) -> list[dict[str, Any]]:
    return [{"integration-name": name, "python-modules": found} for name, found in modules.items()]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-provider-lakehouse",
        "name": "Lakehouse",
        "description": "Dremio, Airbyte, S3-compatible object storage and Superset as one lakehouse.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": name, "external-doc-url": url, "tags": ["service"]}
            for name, url in _INTEGRATIONS.items()
        ],
        "operators": _listed(_OPERATORS),
        "sensors": _listed(_SENSORS),
        "hooks": _listed(_HOOKS),
        "triggers": _listed(_TRIGGERS),
        "transfers": [
            {"source-integration-name": source, "target-integration-name": target, "python-module": module}
            for module, (source, target) in _TRANSFERS.items()
        ],
        "notifications": ["lakehouse.superset.notifier.SupersetChartNotifier"],
        "extra-links": [
            "lakehouse.airbyte.operators.AirbyteConnectionLink",
            "lakehouse.dremio.links.DremioJobLink",
            "lakehouse.superset.links.SupersetDashboardsLink",
        ],
        "connection-types": [
            {
                "connection-type": "dremio",
                "hook-class-name": "lakehouse.dremio.hook.DremioHook",
                "hook-name": "Dremio",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"port": "REST port", "password": "Password or access token"},
                    "placeholders": {"host": "dremio.example.com", "port": "9047", "login": "airflow"},
                },
                "conn-fields": _DREMIO_FORM,
            },
            {
                "connection-type": "superset",
                "hook-class-name": "lakehouse.superset.hook.SupersetHook",
                "hook-name": "Superset",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "URL"},
                    "placeholders": {"host": "http://superset.example.com:8088", "login": "admin"},
                },
                "conn-fields": _SUPERSET_FORM,
            },
        ],
    }
