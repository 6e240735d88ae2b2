"""Brings Superset to the dashboards that are declared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink

from lakehouse.ops.declarations import load
from lakehouse.superset.apply import apply
from lakehouse.superset.declared import FILE, Dashboards, with_database
from lakehouse.superset.hook import SupersetHook
from lakehouse.superset.links import SupersetDashboardsLink, dashboards_url

if TYPE_CHECKING:
    from airflow.sdk import Context


class SupersetApplyOperator(BaseOperator):
    """Create or correct the declared dashboards, with their charts, datasets and database.

    Compares what Superset holds with the bundle and imports the objects that differ, and only those: an import
    of a dataset changes its time of change, and with it every cache key of its charts. Each difference is
    logged as it is found. Nothing is deleted. Applying twice changes nothing. Interrupted anywhere, a rerun
    finishes it.

    The database's URI is made from the Airflow connection that the declaration names, and Superset is asked to
    connect with it; a password that was changed in Airflow is passed on.

    :param declaration: YAML file as in `lakehouse.superset.declared.Dashboards`; a relative path is looked for
        in `include/pipelines`. (templated)
    :param superset_conn_id: Airflow connection of type `superset`. (templated)
    :return: one line for each object that was created or corrected.
    :raises SupersetDatabaseError: Superset cannot log in to the database.
    :raises DashboardsNotApplied: Superset took the import, yet differs from the bundle afterwards.

    Example::

        SupersetApplyOperator(task_id="apply_dashboards", declaration="dashboards.yaml")
    """

    template_fields: Sequence[str] = ("declaration", "superset_conn_id")
    operator_extra_links: Sequence[BaseOperatorLink] = (SupersetDashboardsLink(),)
    ui_color = "#d6f1f7"

    def __init__(
        self,
        *,
        declaration: str = FILE,
        superset_conn_id: str = SupersetHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.declaration = declaration
        self.superset_conn_id = superset_conn_id

    def execute(self, context: "Context") -> list[str]:
        """Compare, import what differs, and compare again."""
        declared = load(self.declaration, Dashboards)
        connection = SupersetHook.get_connection(declared.database_connection)
        bundle = with_database(declared.read_bundle(self.declaration), connection)
        hook = SupersetHook(self.superset_conn_id)
        url = hook.settings.url
        context["ti"].xcom_push(key=SupersetDashboardsLink().xcom_key, value=dashboards_url(url, declared.dashboards))
        changed = apply(hook, bundle, declared.dashboards)
        if not changed:
            self.log.info("Superset at %s has everything as declared; nothing was changed.", url)
        return changed
