"""Task groups of the dbt project: Cosmos renders a layer, a task per model; each task runs as DbtModelOperator."""

import json
import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, TaskGroup
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import DbtResourceType, LoadMode, TestBehavior
from cosmos.dbt.graph import DbtNode

from lakehouse.dbt import manifest
from lakehouse.dbt.operators import PROJECT, DbtModelOperator
from lakehouse.dbt.profile import DremioProfileMapping

# run by the quality group, once all marts are there
CROSS_MODEL_TESTS = "tag:quality"

# every task reads its DAG file, and Cosmos would fill the first page of each task's log with that
logging.getLogger("cosmos").setLevel(logging.WARNING)


def layer(
    group_id: str,
    *,
    slot: str = "a",
    builds_slot: bool = False,
    dremio_conn_id: str = "dremio_default",
    timeout: timedelta = timedelta(minutes=20),
    doc_md: str | None = None,
) -> DbtTaskGroup:
    """Render models/<group_id> as a task group, one task per model with the model's own tests.

    Reads the parsed project, never runs dbt.

    Example::

        with DAG(...):
            layer("staging") >> layer("intermediate")

    :param group_id: folder of the layer, and id of the group.
    :param slot: "a", "b" or a template that gives one: the slot of the marts that is built or read.
    :param builds_slot: the layer is the marts.
    :param doc_md: what the group is for, shown in the UI.
    :param timeout: limit of each task: dbt itself has none.
    :raises ManifestMissing: the project was changed and not parsed since; the message has the command.
    """

    def convert(dag: DAG, task_group: TaskGroup, node: DbtNode, **_: Any) -> DbtModelOperator:
        return DbtModelOperator(
            task_id=node.name,
            dag=dag,
            task_group=task_group,
            select=node.name,
            exclude=[CROSS_MODEL_TESTS],
            slot=slot,
            builds_slot=builds_slot,
            dremio_conn_id=dremio_conn_id,
            execution_timeout=timeout,
            doc_md=node.config.get("description") or None,
        )

    return DbtTaskGroup(
        group_id=group_id,
        project_config=ProjectConfig(manifest_path=manifest.manifest_path("a"), project_name=PROJECT),
        profile_config=ProfileConfig(
            profile_name=PROJECT,
            target_name="dremio",
            profile_mapping=DremioProfileMapping(conn_id=dremio_conn_id),
        ),
        execution_config=ExecutionConfig(dbt_project_path=manifest.project_directory()),
        render_config=RenderConfig(
            select=[f"path:models/{group_id}"],
            exclude=["resource_type:exposure"],
            load_method=LoadMode.DBT_MANIFEST,
            test_behavior=TestBehavior.BUILD,
            node_converters={DbtResourceType.MODEL: convert},
        ),
        doc_md=doc_md,
    )


def models_in(group_id: str) -> list[str]:
    """Return the names of the models of a layer, sorted.

    :raises ManifestMissing: the project was changed and not parsed since.
    """
    nodes = json.loads(manifest.manifest_path("a").read_text())["nodes"].values()
    return sorted(
        node["name"] for node in nodes if node["resource_type"] == "model" and node["path"].startswith(f"{group_id}/")
    )
