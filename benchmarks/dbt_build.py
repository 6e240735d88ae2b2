"""`dbt build` of the project: dbt-dremio on the embedded Dremio, beside dbt-duckdb on the same models.

    .venv/bin/python benchmarks/dbt_build.py [--scale 100k] [--repeat 3]

An instance of its own is made with `make up`'s first run, so that bronze is there, and an environment for dbt-duckdb of
the same dbt-core; both are deleted at the end. Both build include/dbt as it is, its data tests included, from the same
Parquet objects in the bucket (and the shop's live table), with four dbt threads and the same memory. dbt-duckdb gets
bronze as views in DuckDB, and the two functions of Dremio's that the models call and DuckDB lacks, as macros; it writes
tables of DuckDB's own file where the embedded Dremio writes Iceberg tables in the bucket, which leans against ours.

Two rows: a build from nothing (--full-refresh), and one after it, whose incremental models merge. Seconds from the
command to its end, medians; dbt-dremio's own waits are in them. The marts of both are compared at the end, by rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _instance import REPOSITORY, instance
from dremio import MEMORY, Dremio, lake  # goes on in the stack's own environment, where DuckDB is
from duckdb_extensions import import_extension

PACKAGES = ["dbt-core==1.11.16", "dbt-duckdb==1.11.1", "duckdb==1.5.2"]  # dbt-core: as in requirements.txt
SLOT = "b"  # the first run has released slot a
EXTENSIONS = ["httpfs", "postgres_scanner"]
# database -> schema -> the bucket's folder, or the statement, of each source; the names are those of _sources.yml
BRONZE = {
    "bronze": {"no_schema": {"raw_customers": "bronze/postgres/customers", "raw_orders": "bronze/postgres/orders"}},
    "datalake": {
        "bronze.postgres": {name: f"bronze/postgres/{name}" for name in ("products", "order_items")},
        "bronze.store_api": {name: f"bronze/store_api/{name}" for name in ("exchange_rates", "product_reviews")},
        "bronze.store_files": {name: f"bronze/store_files/{name}" for name in ("invoices", "invoices_rejected")},
    },
}
FUNCTIONS = (
    "regexp_like(value, pattern) AS regexp_matches(value, pattern)",
    "datediff(later, sooner) AS CAST(later AS DATE) - CAST(sooner AS DATE)",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="100k", help="orders in the demo shop (default 100k)")
    parser.add_argument("--repeat", type=int, default=3, help="counted runs of each (default 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-dbt.") as name, instance(arguments.scale):
        folder = Path(name)
        commands = {
            "dbt-dremio": [REPOSITORY / ".venv/bin/dbt", "build", "--profiles-dir", REPOSITORY / "include/dbt"],
            "dbt-duckdb": [install(folder), "build", "--profiles-dir", folder],
        }
        databases(folder)
        (folder / "profiles.yml").write_text(json.dumps(profile(folder)))  # JSON is YAML
        seconds: dict[tuple[str, str], list[float]] = {}
        for _ in range(arguments.repeat):
            for kind, options in (("from nothing", ["--full-refresh"]), ("again, merging", [])):
                for tool, command in commands.items():
                    seconds.setdefault((kind, tool), []).append(build([*command, *options], folder))
        rows = compare(folder)
    print(f"\n`dbt build`, SCALE={arguments.scale}, {rows:,} rows of marts, seconds, medians of {arguments.repeat}")
    print(f"  {'':<16}{'dbt-dremio':>12}{'dbt-duckdb':>12}{'ratio':>8}")
    for kind in ("from nothing", "again, merging"):
        ours, peer = (statistics.median(seconds[kind, tool]) for tool in commands)
        print(f"  {kind:<16}{ours:12.1f}{peer:12.1f}{ours / peer:7.2f}x")
    return 0


def install(folder: Path) -> Path:
    """An environment with dbt-duckdb; its dbt."""
    uv, venv = REPOSITORY / ".venv-uv" / "bin" / "uv", folder / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", REPOSITORY / ".venv/bin/python", venv], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", venv / "bin/python", *PACKAGES], check=True)
    return venv / "bin" / "dbt"


def databases(folder: Path) -> None:
    """DuckDB files with the sources as views, and the databases that the models name."""
    for extension in EXTENSIONS:
        import_extension(extension)
    duck = lake()
    for database in ("datalake", "bronze", "staging", "intermediate"):
        duck.execute(f"ATTACH '{folder / database}.duckdb' AS {database}; USE {database}")
        for function in FUNCTIONS:
            duck.execute(f"CREATE MACRO {function}")
        for schema, tables in BRONZE.get(database, {}).items():
            duck.execute(f'CREATE SCHEMA "{schema}"')
            for table, path in tables.items():
                files = f"'s3://datalake/{path}/**/*.parquet'"
                if not duck.execute(f"SELECT count(*) FROM glob({files})").fetchall()[0][0]:
                    continue  # no line was rejected
                read = f"read_parquet({files}, union_by_name = true, hive_partitioning = true)"
                kinds = duck.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()
                # Dremio has no time zones: its timestamps are in UTC
                zoned = [f'"{name}" AT TIME ZONE \'UTC\' AS "{name}"' for name, kind, *_ in kinds if "ZONE" in kind]
                replaced = f"REPLACE ({', '.join(zoned)})" if zoned else ""
                duck.execute(f'CREATE VIEW "{schema}"."{table}" AS SELECT * {replaced} FROM {read}')
    duck.close()


def profile(folder: Path) -> dict[str, Any]:
    attached: list[dict[str, Any]] = [
        {"path": str(folder / f"{name}.duckdb"), "alias": name} for name in ("bronze", "staging", "intermediate")
    ]
    attached.append({"path": os.environ["SHOP_DB_URL"], "type": "postgres", "alias": "shop", "read_only": True})
    store = {
        "type": "s3", "key_id": os.environ["AWS_ACCESS_KEY_ID"], "secret": os.environ["AWS_SECRET_ACCESS_KEY"],
        "endpoint": os.environ["S3_ENDPOINT_URL"].split("://")[1], "use_ssl": False, "url_style": "path",
    }  # fmt: skip
    target = {
        "type": "duckdb", "path": str(folder / "datalake.duckdb"), "schema": "marts", "threads": 4,
        "extensions": EXTENSIONS, "secrets": [store],
        "settings": {"memory_limit": MEMORY, "TimeZone": "UTC", "parquet_metadata_cache": True},
        "attach": attached,
    }  # fmt: skip
    return {"lakehouse": {"target": "duckdb", "outputs": {"duckdb": target}}}


def build(command: list[Any], folder: Path) -> float:
    """Seconds of one `dbt build`; ends this process where it fails."""
    options = ["--project-dir", REPOSITORY / "include/dbt", "--target-path", folder / "target"]
    options += ["--log-path", folder / "logs", "--exclude-resource-type", "unit_test"]
    options += ["--vars", json.dumps({"slot": SLOT})]
    begun = time.monotonic()
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} build failed:\n{done.stdout[-6000:]}{done.stderr[-2000:]}")
    return time.monotonic() - begun


def compare(folder: Path) -> int:
    """Rows of all marts; ends this process where a mart's are not the same in both."""
    duck = lake()
    duck.execute(f"ATTACH '{folder / 'datalake.duckdb'}' AS built (READ_ONLY)")
    names = [
        name
        for (name,) in duck.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'built' AND schema_name = 'marts' ORDER BY 1"
        ).fetchall()
    ]
    total = 0
    with Dremio().flight() as ours:
        for name in names:
            (peer,) = duck.execute(f"SELECT count(*) FROM built.marts.{name}").fetchall()[0]
            mine = ours(f"SELECT COUNT(*) AS n FROM datalake.gold.slot_{SLOT}.{name}")["n"][0].as_py()
            if mine != peer:
                sys.exit(f"{name} has {mine} rows by dbt-dremio and {peer} by dbt-duckdb")
            total += peer
    return total


if __name__ == "__main__":
    sys.exit(main())
