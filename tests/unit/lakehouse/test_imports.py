"""What a DAG file imports is cheap: the scheduler parses it again and again, and needs no hook and no client for it.

Superset's operators do import their session, which is httpx alone (some 40 ms, most of them Airflow's own modules).
"""

import subprocess
import sys

import pytest

MODULES = [
    "lakehouse.airbyte.operators",
    "lakehouse.dbt.operators",
    "lakehouse.dremio.operators.catalog",
    "lakehouse.dremio.operators.reflections",
    "lakehouse.dremio.operators.release",
    "lakehouse.dremio.operators.sql",
    "lakehouse.dremio.sensors",
    "lakehouse.minio.operators",
    "lakehouse.minio.report_operators",
    "lakehouse.minio.retention",
    "lakehouse.minio.sensors",
    "lakehouse.transfers.dremio_to_minio",
    "lakehouse.transfers.minio_to_dremio",
]
CODE = """
import sys, airflow.sdk
from airflow.sdk import BaseOperator
before = set(sys.modules) | {{"airflow.sdk.bases.hook"}}
import {module}
heavy = ("adbc_driver_flightsql", "boto3", "botocore", "cosmos", "dbt", "pyarrow", "sqlglot")
heavy += ("airflow.providers.common.sql",)
print(sorted(m for m in set(sys.modules) - before if m in heavy or m.endswith((".hook", ".hooks", ".session"))))
"""


@pytest.mark.parametrize("module", MODULES)
def test_importing_operators_and_sensors_imports_neither_hooks_nor_clients(module: str) -> None:
    code = CODE.format(module=module)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip().endswith("[]"), found.stdout
