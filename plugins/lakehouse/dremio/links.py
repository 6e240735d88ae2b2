"""Links from a task in Airflow's UI to the console of Dremio."""

from typing import TYPE_CHECKING, ClassVar

from airflow.providers.common.compat.sdk import XCom
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class DremioJobLink(BaseOperatorLink):
    """Link to the page of the job that the task ran last.

    The task pushes the finished address under `xcom_key` as soon as it knows the job's id, so the link
    works while the job runs and needs no connection in the API server.
    """

    name: ClassVar[str] = "Dremio job"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return the address, or an empty string before a job was submitted."""
        return str(XCom.get_value(key=self.xcom_key, ti_key=ti_key) or "")
