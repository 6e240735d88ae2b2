"""Links from a task in Airflow's UI to Superset."""

from typing import TYPE_CHECKING, ClassVar

from airflow.providers.common.compat.sdk import XCom
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class SupersetDashboardsLink(BaseOperatorLink):
    """Link to the list of dashboards, or to the dashboard where the task is about one only.

    The task pushes the finished address under `xcom_key`, so the link needs no connection in the API server.
    """

    name: ClassVar[str] = "Superset dashboards"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return the address, or an empty string before the task has begun."""
        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")


def dashboards_url(url: str, slugs: list[str]) -> str:
    """Return the address in the Superset at `url` that shows these dashboards."""
    return f"{url}/superset/dashboard/{slugs[0]}/" if len(slugs) == 1 else f"{url}/dashboard/list/"
