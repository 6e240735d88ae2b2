"""The steps of a continuous sync's round, each short: sync, copy what landed to the live prefix, tell Dremio.

No position is kept here: Airbyte has the source's, and what is to be copied shows by comparing. Whatever dies at any
instant, the next round does what is missing; two of these side by side do no harm.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from lakehouse.airbyte.exceptions import SyncFailed
from lakehouse.airbyte.hook import AirbyteHook
from lakehouse.airbyte.jobs import Job, JobStatus
from lakehouse.dremio.hook import DremioHook
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.minio.live import bring_up_to_date

log = logging.getLogger(__name__)


class ContinuousSync:
    """One connection that is synced again and again. Not for several threads at a time.

    :param connection: name of the Airbyte connection, of its landing folder and of its folder below the live prefix.
    :param streams: names of its streams.
    :param bucket: bucket of the lake; None: the one that the Airflow connection names, else `datalake`.
    :param source: name of Dremio's source that shows it.
    """

    def __init__(
        self,
        connection: str,
        streams: Sequence[str],
        *,
        bucket: str | None,
        source: str,
        landing_prefix: str,
        live_prefix: str,
        airbyte_conn_id: str,
        aws_conn_id: str,
        dremio_conn_id: str,
    ) -> None:
        self._connection, self._streams, self._source = connection, streams, source
        self._landing = f"{landing_prefix}/source={connection}"
        self._live = f"{live_prefix}/{connection}"
        self._airbyte, self._dremio = AirbyteHook(airbyte_conn_id), DremioHook(dremio_conn_id)
        self._store = ObjectStoreHook(aws_conn_id)
        self._bucket = bucket or self._store.lake
        self._connection_id = ""
        self._seen = 0  # the newest job whose rows have been counted
        # at first all: whoever was here before may have died before it had delivered
        self._due = True
        self._stale = set(streams)  # tables that Dremio has to look at again

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._airbyte.__exit__()

    def start(self) -> Job:
        """Start a sync, or find the one that runs (the daily batch's, say).

        :raises AirbyteError: Airbyte refuses it, does not answer, or has no such connection.
        """
        if not self._connection_id:
            self._connection_id = self._airbyte.connection_id(self._connection)
            self._rows_since()
        return self._airbyte.start_sync(self._connection_id)[0]

    def look(self, job: Job) -> Job:
        """Return the job as it is now."""
        return self._airbyte.job(job.job_id)

    def deliver(self, job: Job) -> int:
        """Bring to Dremio what has landed since the last time, by this ended job and others; return the rows.

        :raises SyncFailed: the job did not succeed; what it has landed is delivered nevertheless.
        :raises StoreUnreachable, DremioError: what is missing now is delivered the next time.
        """
        rows = self._rows_since()
        self._due = self._due or rows > 0
        if self._due:
            now = datetime.now(UTC)
            self._stale |= set(
                bring_up_to_date(self._store, self._bucket, self._landing, self._live, self._streams, now)
            )
            for stream in sorted(self._stale):
                self._refresh([self._source, *self._live.split("/"), stream])
                self._stale.discard(stream)
            self._due = False
        if job.status is not JobStatus.SUCCEEDED:
            raise SyncFailed(self._connection, job.job_id, job.status, self._airbyte.details(job.job_id)[1])
        return rows

    def _rows_since(self) -> int:
        """Rows of the connection's jobs that have ended since the last call, whoever has started them."""
        ended = [job for job in self._airbyte.newest_jobs(self._connection_id) if job.status.is_terminal]
        before, self._seen = self._seen, max((job.job_id for job in ended), default=self._seen)
        return sum(job.rows for job in ended if job.job_id > before)

    def _refresh(self, table: list[str]) -> None:
        entity = self._dremio.find_entity(table)
        if entity is None:
            log.info("%s: nothing has landed yet", ".".join(table))
        elif entity.get("entityType") == "folder":
            self._dremio.promote_folder(entity, table)
        else:
            self._dremio.refresh_metadata(table)
