"""What a DAG file imports is cheap: the scheduler parses it again and again, and needs no hook and no client for it.

Superset's operators do import their session, which is httpx alone (some 40 ms, most of them Airflow's own modules).
"""

import json
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
    "lakehouse.streaming.operators",
    "lakehouse.transfers.dremio_to_minio",
    "lakehouse.transfers.minio_to_dremio",
]
# all in one interpreter: what several import is told of the first
CODE = """
import importlib, json, sys, airflow.sdk
from airflow.sdk import BaseOperator
heavy = ("adbc_driver_flightsql", "boto3", "botocore", "cosmos", "dbt", "pyarrow", "sqlglot")
heavy += ("airflow.providers.common.sql",)
found = {}
for module in sys.argv[1:]:
    before = set(sys.modules) | {"airflow.sdk.bases.hook"}
    importlib.import_module(module)
    new = set(sys.modules) - before
    found[module] = sorted(m for m in new if m in heavy or m.endswith((".hook", ".hooks", ".session")))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *MODULES], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", MODULES)
def test_importing_operators_and_sensors_imports_neither_hooks_nor_clients(
    module: str, imported: dict[str, list[str]]
) -> None:
    assert imported[module] == []
