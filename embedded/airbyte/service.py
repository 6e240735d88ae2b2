"""What both APIs work with: the stores of one server and its supervisor."""

import logging

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from embedded.airbyte.actors import Actors
from embedded.airbyte.connections import Connections
from embedded.airbyte.database import Db, Row
from embedded.airbyte.jobs import Jobs
from embedded.airbyte.supervisor import Supervisor

log = logging.getLogger("embedded.airbyte.service")


class Service:
    """One server's stores and its supervisor."""

    def __init__(self, pool: ConnectionPool[Db], supervisor: Supervisor, jobs: Jobs) -> None:
        self._pool = pool
        self.actors = Actors(pool)
        self.connections = Connections(pool)
        self.jobs = jobs
        self.supervisor = supervisor

    def database_answers(self) -> bool:
        try:
            with self._pool.connection(timeout=3) as db:
                db.execute("SELECT 1")
        except (psycopg.Error, PoolTimeout):
            return False
        return True

    def start_job(self, connection: Row, job_type: str) -> Row:
        """Add a job for a connection and let it run.

        :raises AlreadyRunning: it has one that is not finished.
        """
        job = self.jobs.create(connection["connection_id"], job_type)
        self.supervisor.submit(job["job_id"])
        log.info("Job %s (%s) of connection %s", job["job_id"], job_type, connection["name"])
        return job
