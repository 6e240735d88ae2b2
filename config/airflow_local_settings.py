"""Imports, once, in the processes that fork for every task and every DAG file, what the forks would import again.

Airflow imports this module by name when it starts. With LocalExecutor a task's process is a fork of a fork of the
scheduler, and the DAG processor forks for each file: what is imported here costs them nothing, where importing dbt
alone takes 2 s. Other processes (api-server, triggerer, commands) are left as they are.
"""

import importlib
import logging
import sys
import time

FORKING = ("scheduler", "dag-processor")
MODULES = (
    "dbt.cli.main",
    "dbt.task.build",
    "dbt.adapters.dremio",
    "cosmos",
    "cosmos.airflow.graph",
    "cosmos.dbt.graph",
    "cosmos.operators.local",
    "upath.implementations.local",  # Cosmos reads the manifest through it
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.standard.decorators.python",
    "airflow.sdk.lineage",
    "fastapi",  # plugins, which every task loads, are made of it
    "airflow.providers.postgres.hooks.postgres",
    "lakehouse.airbyte.operators",
    "lakehouse.dbt.groups",
    "lakehouse.dbt.runner",
    "lakehouse.dremio.hook",
    "lakehouse.dremio.operators.catalog",
    "lakehouse.dremio.operators.reflections",
    "lakehouse.dremio.operators.release",
    "lakehouse.minio.operators",
    "lakehouse.ops.report",
    "lakehouse.superset.operators.warm_up",
)

log = logging.getLogger(__name__)


def preload(arguments: list[str]) -> list[str]:
    """Import MODULES if this process is one that forks.

    :param arguments: the process's command line.
    :returns: names of the modules that are now imported. A module that is missing is logged and left out: its tasks
        then import it themselves, or fail with the reason.
    """
    if not any(name in arguments[1:3] for name in FORKING):
        return []
    started = time.monotonic()
    imported = []
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            log.warning("%s is not imported ahead of the tasks: %s", name, error)
        else:
            imported.append(name)
    if "scheduler" in arguments[1:3] and "lakehouse.dbt.runner" in imported:
        sys.modules["lakehouse.dbt.runner"].warm_up()
    log.info("Imported %d modules ahead of the tasks in %.1f s", len(imported), time.monotonic() - started)
    return imported


preload(sys.argv)
