"""The hook: one method per thing that is asked of Airbyte."""

import time
from typing import Any
from uuid import UUID

from airflow.sdk import BaseHook

from lakehouse.airbyte.client import AirbyteClient, AirbyteSettings
from lakehouse.airbyte.exceptions import AirbyteHttpError, UnknownName
from lakehouse.airbyte.jobs import Job, failure_reason, needs_repair, stream_columns, stream_rows

_BUSY = 409
_ATTACH_TRIES = 5


class AirbyteHook(BaseHook):
    """Airbyte over the official provider's connection type (`airbyte`).

    :param airbyte_conn_id: host is the base URL of the public API, login and password client id and secret; its
        extra may name `config_api_url`, from which rows per stream and the reason of a failure come.

    Example::

        with AirbyteHook("airbyte_default") as airbyte:
            job, attached = airbyte.start_sync(airbyte.connection_id("postgres"))
    """

    conn_name_attr = "airbyte_conn_id"
    default_conn_name = "airbyte_default"
    conn_type = "airbyte"
    hook_name = "Airbyte"

    def __init__(self, airbyte_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.airbyte_conn_id = airbyte_conn_id
        self._client: AirbyteClient | None = None

    def get_conn(self) -> AirbyteClient:
        """Return the client, made once per hook."""
        if self._client is None:
            settings = AirbyteSettings.from_connection(self.get_connection(self.airbyte_conn_id))
            self._client = AirbyteClient(settings)
        return self._client

    def __enter__(self) -> "AirbyteHook":
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.__exit__()
            self._client = None

    def test_connection(self) -> tuple[bool, str]:
        """Log in and list the workspaces: what the button of the connection form does."""
        try:
            spaces = self.get_conn().all("/workspaces")
        except Exception as error:
            return False, str(error)
        return True, f"Airbyte answers; workspaces: {', '.join(space['name'] for space in spaces)}"

    def connection_id(self, connection: str, workspace: str | None = None) -> str:
        """Return the id of a connection that is given by id or by name.

        :param workspace: name of the workspace to look in; None: in all.
        :raises UnknownName: no or several connections of that name.
        """
        try:
            return str(UUID(connection))
        except ValueError:
            pass
        params = {} if workspace is None else {"workspaceIds": self.workspace_id(workspace)}
        found = self.get_conn().all("/connections", params)
        return _one("connection", connection, found, "connectionId")

    def workspace_id(self, name: str) -> str:
        """Return the id of the workspace of that name.

        :raises UnknownName: no or several workspaces of that name.
        """
        return _one("workspace", name, self.get_conn().all("/workspaces"), "workspaceId")

    def start_sync(self, connection_id: str) -> tuple[Job, bool]:
        """Start a sync, or find the one that runs already. Returns the job and whether it was found running.

        Safe to repeat: Airbyte runs one sync per connection. An answer that was lost is found again this way.

        :raises AirbyteHttpError: the connection is not active, or there is none.
        """
        return self._start(connection_id, "sync")

    def start_clear(self, connection_id: str) -> tuple[Job, bool]:
        """Start to clear a connection: Airbyte removes what it delivered, and its state.

        Returns the job and whether it was found running; one that was found may be a sync.

        :raises AirbyteHttpError: there is no such connection.
        """
        return self._start(connection_id, "clear")

    def _start(self, connection_id: str, job_type: str) -> tuple[Job, bool]:
        body = {"connectionId": connection_id, "jobType": job_type}
        for _ in range(_ATTACH_TRIES):
            try:
                answer = self.get_conn().call("POST", "/jobs", json=body)
                return Job.of(answer), False
            except AirbyteHttpError as error:
                if error.status != _BUSY or error.title == "state-conflict":
                    raise
                busy = error
            running = self.running_job(connection_id)
            if running is not None:
                return running, True
            time.sleep(0.5)  # it ended between the two requests
        raise busy

    def running_job(self, connection_id: str) -> Job | None:
        """Return the job that runs or waits on a connection, None if there is none."""
        for job in self.newest_jobs(connection_id):
            if not job.status.is_terminal:
                return job
        return None

    def newest_jobs(self, connection_id: str) -> list[Job]:
        """Return the five newest jobs of a connection, the newest first."""
        params = {"connectionId": connection_id, "orderBy": "createdAt|DESC", "limit": 5}
        answer = self.get_conn().call("GET", "/jobs", params=params)
        return [Job.of(entry) for entry in answer.get("data") or []]

    def job(self, job_id: int) -> Job:
        """Return a job.

        :raises AirbyteHttpError: 404, there is no such job.
        """
        return Job.of(self.get_conn().call("GET", f"/jobs/{job_id}"))

    def cancel(self, job_id: int) -> None:
        """Cancel a job; one that has ended is left as it is.

        Airbyte cancels whatever runs on the job's connection, so the job is looked at first.
        """
        if not self.job(job_id).status.is_terminal:
            self.get_conn().call("DELETE", f"/jobs/{job_id}")

    def details(self, job_id: int) -> tuple[dict[str, int], str, bool]:
        """Return rows per stream, why a failed job failed, and whether only a repair helps.

        Empty and False where no config API is named.
        """
        if self.get_conn().settings.config_url is None:
            return {}, "", False
        answer = self.get_conn().config("/jobs/get_without_logs", {"id": job_id})
        return stream_rows(answer), failure_reason(answer), needs_repair(answer)

    def columns(self, connection_id: str) -> dict[str, dict[str, str]]:
        """Return the columns of each stream with their types; empty where no config API is named."""
        if self.get_conn().settings.config_url is None:
            return {}
        return stream_columns(self.get_conn().config("/connections/get", {"connectionId": connection_id}))

    def page_of(self, connection_id: str) -> str:
        """Return the address of the connection's page in Airbyte."""
        client = self.get_conn()
        workspace = client.call("GET", f"/connections/{connection_id}").get("workspaceId", "")
        return f"{client.settings.ui_url}/workspaces/{workspace}/connections/{connection_id}/timeline"


def _one(kind: str, name: str, entries: list[dict[str, Any]], key: str) -> str:
    found = [entry for entry in entries if entry.get("name") == name]
    if len(found) != 1:
        raise UnknownName(kind, name, [str(entry.get("name")) for entry in entries], len(found))
    return str(found[0][key])
