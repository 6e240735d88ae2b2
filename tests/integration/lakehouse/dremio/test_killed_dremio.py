"""Dremio's operators, killed after their writes and run again: the end is that of an unbroken run."""

import re
from datetime import UTC, datetime

import pytest

from lakehouse.dremio import release
from lakehouse.dremio.operators.catalog import DremioApplyOperator, DremioPromoteOperator
from lakehouse.dremio.operators.release import DremioClaimSlotOperator, DremioReleaseOperator, DremioRollbackOperator
from lakehouse.dremio.operators.sql import DremioSqlOperator
from lakehouse.minio.hook import ObjectStoreHook
from lakehouse.ops import database, releases
from lakehouse.transfers.dremio_to_minio import DremioToMinioOperator
from lakehouse.transfers.minio_to_dremio import MinioToDremioOperator
from tests.integration.lakehouse.dremio.test_reflections import make as refresh_reflections
from tests.integration.lakehouse.killing import Tries, killed_after_its_writes

MARTS = ["orders", "customers"]
DB = "lakehouse_db"
NIGHT = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
NO_KEYS = ("accessKey", "accessSecret")


@pytest.fixture
def tries(tmp_path):
    def make(operator, **context):
        return Tries(operator, tmp_path / "store.json", **context)

    return make


def remove(hook, path):
    entity = hook.find_entity(path)
    if entity and entity["entityType"] != "folder":  # a folder of files that is no table
        hook.delete_entity(entity["id"], entity.get("tag"))


def test_apply(hook, corner, tmp_path, tries):
    source, space = f"{corner}_s", f"{corner}_v"
    declared = tmp_path / "dremio.yaml"
    declared.write_text(
        f"sources:\n  - {{name: {source}, type: S3, connection: minio_default, root_path: /datalake/{corner},"
        " description: The corner.}\n"
        f"spaces:\n  - {{name: {space}, description: Its views.}}\n"
        f"views:\n  - {{path: {space}.numbers, description: Two., sql: 'SELECT * FROM (VALUES (1),(2)) AS t(a)'}}\n"
    )

    def fresh():
        remove(hook, [source])
        remove(hook, [space])

    def seen():
        found = []
        for path in ([source], [space], [space, "numbers"]):
            entity = hook.find_entity(path)
            config = {key: value for key, value in (entity.get("config") or {}).items() if key not in NO_KEYS}
            found.append((path, entity.get("type"), config, entity.get("sql"), hook.get_wiki(entity["id"])["text"]))
        return found

    try:
        task = tries(
            lambda: DremioApplyOperator(task_id="apply", path=str(declared), parts=["sources", "spaces", "views"])
        )
        assert killed_after_its_writes(task, fresh, seen) >= 6
        assert task.run() == {"changed": [], "declared": 3}
    finally:
        fresh()


def test_promote(hook, lake, put_parquet, tries, own_records):
    """One folder that is no table yet, and a table that has got another file."""
    new, old = f"{lake}.killed.new", f"{lake}.killed.old"
    put_parquet("killed/new/a.parquet", {"id": [1, 2]})
    put_parquet("killed/old/a.parquet", {"id": [1]})
    promote_old = DremioPromoteOperator(task_id="old", tables=[old])

    def fresh():
        remove(hook, new.split("."))
        remove(hook, old.split("."))
        ObjectStoreHook("minio_default").remove("datalake", [f"{lake}/killed/old/b.parquet"])
        promote_old._promote_or_submit(old)
        put_parquet("killed/old/b.parquet", {"id": [2, 3]})

    def seen():
        return hook.query(f"SELECT (SELECT COUNT(*) FROM {new}) AS n, (SELECT COUNT(*) FROM {old}) AS o")

    task = tries(lambda: DremioPromoteOperator(task_id="promote", tables=[new, old]))
    assert killed_after_its_writes(task, fresh, seen) >= 2
    assert seen() == [{"n": 2, "o": 3}]


def test_statements(hook, lake, tries):
    """The job that was started is adopted; one whose id was not kept yet is repeated, as `idempotent` says."""
    table = f"{lake}.sql.killed"
    sql = [
        f"CREATE TABLE IF NOT EXISTS {table} (a INT)",
        f"DELETE FROM {table}",
        f"INSERT INTO {table} SELECT 1 AS a WHERE (SELECT COUNT(*) FROM {table}) = 0",
    ]
    task = tries(lambda: DremioSqlOperator(task_id="sql", sql=sql, idempotent=True))
    kills = killed_after_its_writes(
        task,
        fresh=lambda: hook.run_job(f"DROP TABLE IF EXISTS {table}"),
        seen=lambda: hook.query(f"SELECT a FROM {table}"),
    )
    assert kills >= 2 * len(sql)
    assert hook.query(f"SELECT a FROM {table}") == [{"a": 1}]
    hook.run_job(f"DROP TABLE {table}")


def test_load(hook, lake, tries, context_of):
    """A reader sees the batch before or the new one, and no staging table stays."""
    table = f"{lake}.loading.t"
    numbers = "SELECT CAST(x AS BIGINT) AS id FROM (VALUES (1),(2),(3)) AS t(x)"
    place = {"bucket": "datalake", "prefix": f"{lake}/exports/killed", "batch": "2026-11-24"}
    DremioToMinioOperator(task_id="export", sql=numbers, **place).execute(context_of())

    def fresh():
        for row in hook.query(
            f"SELECT TABLE_NAME AS n FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{lake}.loading'"
        ):
            hook.run_job(f'DROP TABLE {lake}.loading."{row["n"]}"')
        hook.run_job(f"CREATE TABLE {table} AS SELECT CAST(0 AS BIGINT) AS id, 'old' AS _batch")

    def seen():
        tables = f"SELECT TABLE_NAME AS n FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{lake}.loading'"
        return hook.query(f"SELECT id, _batch FROM {table} ORDER BY id"), hook.query(tables)

    def readers():
        assert hook.query(f"SELECT COUNT(*) AS n FROM {table}") in ([{"n": 1}], [{"n": 4}])

    task = tries(lambda: MinioToDremioOperator(task_id="load", table=table, source=lake, **place))
    assert killed_after_its_writes(task, fresh, seen, readers) >= 5
    rows, tables = seen()
    assert len(rows) == 4 and tables == [{"n": "t"}]


def test_reflections(hook, lake, tmp_path, tries, own_records):
    table = f"{lake}.marts.killed"

    def fresh():
        hook.run_job(f"DROP TABLE IF EXISTS {table}")
        hook.run_job(
            f"CREATE TABLE {table} AS SELECT DATE '2026-11-24' AS order_date, CAST(n AS DOUBLE) AS amount"
            " FROM (VALUES (1),(2),(3)) AS t(n)"
        )

    def seen():
        (one,) = hook.list_reflections(hook.find_entity(table.split("."))["id"])
        return one["name"], one["status"]["availability"], one["recordCount"]

    task = tries(lambda: refresh_reflections(tmp_path, table))
    assert killed_after_its_writes(task, fresh, seen) >= 3
    assert seen() == ("it_agg", "AVAILABLE", 1)
    hook.run_job(f"DROP TABLE {table}")


class TestRelease:
    """Claim, release and rollback, on the real journal. Each view shows one release whole at any instant."""

    @pytest.fixture(autouse=True)
    def _corner(self, own_records, own_gold):
        """A journal and a space of the test's own."""

    @pytest.fixture
    def released(self, hook, own_gold, context_of):
        """Makes so many releases; returns what brings journal and views back to them."""

        def journal(statements):
            with database.connect(database.dsn(DB)) as connection, connection.cursor() as cursor:
                cursor.execute(statements)

        def made(count, then=lambda: None):
            for number in range(count):
                releases.claim_slot(DB, f"r{number}", NIGHT.date())
                DremioReleaseOperator(task_id="release", marts=MARTS).execute(context_of(f"r{number}", "release"))
            views = release.current_definitions(hook, MARTS)
            then()
            journal("CREATE TABLE kept AS SELECT * FROM release")
            changed = release.pending(release.current_definitions(hook, MARTS), views)
            half = {mart: sql for mart, sql in release.current_definitions(hook, MARTS).items() if mart in changed}

            def back():
                journal("DELETE FROM release; INSERT INTO release SELECT * FROM kept")
                for mart, sql in release.pending(release.current_definitions(hook, MARTS), views | half).items():
                    release.switch(hook, mart, sql)

            return back

        return made

    @pytest.fixture
    def shown(self, hook, own_gold):
        """The slot that each view shows; a view shows one of the two, whole."""

        def shown():
            views = release.current_definitions(hook, MARTS)
            slots = [re.findall("slot_([ab])", views[mart]) if mart in views else [] for mart in MARTS]
            assert all(len(found) < 2 for found in slots), views
            return "".join(found[0] if found else "-" for found in slots)

        return shown

    @pytest.fixture
    def seen(self, shown):
        return lambda: (shown(), [(one.run_id, one.slot, one.state) for one in releases.journal(DB)])

    def test_claim_that_takes_an_interrupted_switch_back(self, hook, own_gold, tries, released, seen, shown):
        def interrupt():
            releases.claim_slot(DB, "killed", NIGHT.date())
            views = {mart: f'SELECT "id", "amount" FROM "{own_gold[:-6]}"."gold"."slot_b"."{mart}"' for mart in MARTS}
            releases.mark(DB, "killed", "built")
            releases.mark(DB, "killed", "switching", views=views)
            hook.run_job(f'CREATE OR REPLACE VIEW "{own_gold}"."customers" AS {views["customers"]}')

        task = tries(lambda: DremioClaimSlotOperator(task_id="claim"), logical_date=NIGHT)
        assert killed_after_its_writes(task, released(1, interrupt), seen, shown) >= 3
        assert seen() == ("aa", [("killed", "b", "building"), ("killed", "b", "failed"), ("r0", "a", "released")])

    def test_release(self, tries, released, seen, shown):
        claimed = released(1, lambda: releases.claim_slot(DB, "killed", NIGHT.date()))
        task = tries(lambda: DremioReleaseOperator(task_id="release", marts=MARTS))
        assert killed_after_its_writes(task, claimed, seen, shown) >= 5
        assert seen() == ("bb", [("killed", "b", "released"), ("r0", "a", "released")])

    def test_roll_back(self, tries, released, seen, shown):
        task = tries(lambda: DremioRollbackOperator(task_id="back"))
        assert killed_after_its_writes(task, released(2), seen, shown) >= 6
        assert seen()[0] == "aa" and seen()[1][0] == ("killed", "a", "released")
