"""Writes dashboards as they are in Superset to the folder of a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from lakehouse.superset.export import export
from lakehouse.superset.hook import SupersetHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class SupersetExportOperator(BaseOperator):
    """Write dashboards, with their charts, datasets and databases, to a folder that `SupersetApplyOperator` applies.

    For what people edit in Superset: a scheduled export, followed by a commit, keeps it. Only files whose object means
    something else are written, each in one step and under the name that it has; after the export the files are
    compared with what Superset gave. Passwords are not in it; databases keep the address that their file has.
    Exporting twice writes nothing; interrupted anywhere, a rerun finishes it. On the command line, for the bundle of
    dashboards.yaml: `lakehouse export-dashboards`.

    :param dashboards: slugs. (templated)
    :param folder: of the bundle, on the worker. (templated)
    :param superset_conn_id: Airflow connection of type `superset`. (templated)
    :return: `{"written": [files below the folder], "notes": [what is to be known of the bundle]}`.
    :raises UnknownDashboard: a dashboard does not exist; names those that do.
    :raises SupersetConfigError: a dashboard has another slug, or the folder holds files that are no bundle.

    Example::

        SupersetExportOperator(task_id="export", dashboards=["sales-overview"], folder="/srv/lake/include/superset")
    """

    template_fields: Sequence[str] = ("dashboards", "folder", "superset_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"dashboards": "json"}
    ui_color = "#d6f1f7"

    def __init__(
        self,
        *,
        dashboards: Sequence[str],
        folder: str,
        superset_conn_id: str = SupersetHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dashboards = dashboards
        self.folder = folder
        self.superset_conn_id = superset_conn_id

    def execute(self, context: "Context") -> dict[str, list[str]]:
        """Export, compare, write what differs, and compare again."""
        result = export(SupersetHook(self.superset_conn_id), list(self.dashboards), Path(self.folder))
        for file in result.written:
            self.log.info("wrote %s", file)
        for note in result.notes:
            self.log.warning("%s", note)
        if not result.written:
            self.log.info("%s has the dashboards as they are in Superset; nothing was written", self.folder)
        return {"written": result.written, "notes": result.notes}
