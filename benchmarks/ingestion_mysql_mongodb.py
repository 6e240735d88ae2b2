"""MySQL and MongoDB read by the embedded Airbyte, beside the libraries that people would read them with.

    .venv/bin/python benchmarks/ingestion_mysql_mongodb.py [--rows 1M] [--documents 200k] [--repeat 3]

An instance of its own is made, and the servers of the tests: Debian's MariaDB, and mongo-java-server, which holds its
documents in memory and is much slower than a real MongoDB (Java, and its jars in `.mongodb`, see bin/test).

- MySQL, full refresh: a table of 10 columns, beside connectorx;
- MySQL, CDC: a backlog of the binlog, half of it inserts and half updates, 1000 to a transaction, beside
  python-mysql-replication, which decodes the same binlog and counts its rows;
- MongoDB, full refresh: documents of 10 fields, beside pymongoarrow.

The peers of full refreshes leave snappy Parquet in the bucket, as ours does. The rest is as in ingestion.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from _instance import EMBEDDED, REPOSITORY, instance, row_count

if Path(sys.prefix) != EMBEDDED.parent.parent:  # the tests' servers need the clients that only the stack's own has
    os.execv(EMBEDDED, [str(EMBEDDED), *sys.argv])
sys.path.insert(0, str(REPOSITORY))

import bson
from ingestion import Bench, peers

from tests.integration.airbyte import mariadb, mongodb

PACKAGES = [
    "connectorx==0.4.6", "mysql-replication==1.0.17", "pymongoarrow==1.15.0", "pyarrow", "boto3",
]  # fmt: skip
TRANSACTION = 1000
MIDNIGHT = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = [
    ("bigint", "seq"),
    ("int", "(seq * 7919) % 1000003"),
    ("decimal(12,2)", "((seq * 31) % 10000000) / 100.0"),
    ("double", "sqrt(seq)"),
    ("datetime(6)", "timestamp '2024-01-01 00:00:00' + interval seq * 17 second"),
    ("date", "date '2024-01-01' + interval seq % 900 day"),
    ("varchar(40)", "concat('status ', seq % 7)"),
    ("varchar(40)", "md5(seq)"),
    ("boolean", "seq % 3 = 0"),
    ("int", "if(seq % 5 = 0, NULL, seq % 1000)"),
]
TYPES = ", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(COLUMNS))
VALUES = ", ".join(value for _, value in COLUMNS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=row_count, default=1_000_000, help="rows of MySQL (default 1M)")
    parser.add_argument("--documents", type=row_count, default=200_000, help="documents of MongoDB (default 200k)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, the best counts (default 3)")
    arguments = parser.parse_args()
    if arguments.rows % (2 * TRANSACTION):
        parser.error(f"--rows is a multiple of {2 * TRANSACTION}")
    with (
        tempfile.TemporaryDirectory(prefix="lakehouse-bench-peers.") as folder,
        instance("20k", "--no-run", airflow=False),
    ):
        bench = Others(arguments.rows, arguments.repeat, peers(Path(folder), PACKAGES))
        if mariadb.installed():
            server = mariadb.MariaDb(Path(folder, "mariadb"))
            try:
                bench.mysql(server)
                bench.binlog(server)
            finally:
                server.stop()
        else:
            print("MySQL was left out: MariaDB is not installed (see bin/test)")
        if mongodb.installed():
            bench.mongodb(Path(folder, "mongodb"), arguments.documents)
        else:
            print("MongoDB was left out: there is no JDK, or not its jars (see bin/test)")
    return 0


class Others(Bench):
    """The instance's services, and the measurements on the other databases."""

    def mysql(self, server: mariadb.MariaDb) -> None:
        server.execute(
            "CREATE DATABASE bench",
            "SET SESSION sql_log_bin = 0",
            f"CREATE TABLE bench.orders ({TYPES}, PRIMARY KEY (c0))",
            f"INSERT INTO bench.orders SELECT {VALUES} FROM seq_1_to_{self.rows}",
            "ANALYZE TABLE bench.orders",
            database="mysql",
        )
        ((size,),) = server.execute("SELECT data_length FROM information_schema.tables WHERE table_schema = 'bench'")
        connection_id = self.connect("mysql", self.source(server), ["orders"])
        job = {"dsn": f"mysql://root@127.0.0.1:{server.port}/bench", "table": "orders"}
        found = self.measure(connection_id, ["connectorx alone"], job, self.python, self.rows)
        self.show(f"MySQL, {self.rows:,} rows of {len(COLUMNS)} columns, {size / 1e6:,.0f} MB", size, found)

    def binlog(self, server: mariadb.MariaDb) -> None:
        server.execute(f"CREATE TABLE bench.changes ({TYPES}, PRIMARY KEY (c0))")
        connection_id = self.connect("binlog", self.source(server, "CDC"), ["changes"], "incremental_deduped_history")
        self.ours(connection_id, 0)
        ((log_file, begin, *_),) = server.execute("SHOW MASTER STATUS")
        with server.connect("bench") as db, db.cursor() as cursor:
            for first in range(1, self.rows // 2 + 1, TRANSACTION):
                last = first + TRANSACTION - 1
                cursor.execute(f"INSERT INTO changes SELECT {VALUES} FROM seq_{first}_to_{last}")
                cursor.execute(f"UPDATE changes SET c6 = 'changed' WHERE c0 BETWEEN {first} AND {last}")
        ((_, end, *_),) = server.execute("SHOW MASTER STATUS")
        job = {
            "mysql": {"host": "127.0.0.1", "port": server.port, "user": "root", "passwd": ""}, "table": "changes",
            "log_file": log_file, "log_pos": begin, "rows": self.rows, "endpoint": "", "bucket": "",
        }  # fmt: skip
        found = {
            "embedded Airbyte": self.ours(connection_id, self.rows),
            "mysql-replication": self.peer(self.python, "mysql-replication", job, self.rows),
        }
        size = end - begin
        self.show(f"MySQL CDC, {self.rows:,} changes of {len(COLUMNS)} columns, {size / 1e6:,.0f} MB", size, found)

    def source(self, server: mariadb.MariaDb, method: str = "STANDARD") -> dict[str, Any]:
        configuration = {
            "sourceType": "mysql", "host": "127.0.0.1", "port": server.port, "database": "bench",
            "username": "reader", "password": mariadb.PASSWORD, "ssl_mode": {"mode": "preferred"},
            "replication_method": {"method": method},
        }  # fmt: skip
        return {"configuration": configuration}

    def mongodb(self, home: Path, documents: int) -> None:
        server = mongodb.MongoDb(home)
        try:
            collection = server.client["bench"]["orders"]
            for first in range(0, documents, 10_000):
                collection.insert_many([document(number) for number in range(first, min(first + 10_000, documents))])
            configuration = {
                "sourceType": "mongodb-v2",
                "database_config": {
                    "cluster_type": "SELF_MANAGED_REPLICA_SET", "connection_string": server.url,
                    "databases": ["bench"], "schema_enforced": True,
                },
            }  # fmt: skip
            connection_id = self.connect("mongodb", {"configuration": configuration}, ["orders"])
            job = {"url": server.url, "database": "bench", "collection": "orders"}
            found = self.measure(connection_id, ["pymongoarrow alone"], job, self.python, documents)
            size = documents * len(bson.encode(document(1)))
        finally:
            server.stop()
        self.show(f"MongoDB, {documents:,} documents of 10 fields, {size / 1e6:,.0f} MB", size, found)


def document(number: int) -> dict[str, Any]:
    return {
        "_id": number, "customer": number * 7919 % 1000003, "amount": number * 31 % 10000000 / 100,
        "root": number**0.5, "at": MIDNIGHT + timedelta(seconds=17 * number), "day": f"2024-{number % 12 + 1:02}-01",
        "status": f"status {number % 7}", "digest": f"{number * 2654435761:032x}", "paid": number % 3 == 0,
        "note": None if number % 5 == 0 else number % 1000,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
