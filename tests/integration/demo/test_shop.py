"""Loading and advancing the shop: once, whole, and the same however it came about."""

from __future__ import annotations

import datetime
from pathlib import Path

import boto3
import botocore.client
import psycopg
import pytest

from embedded.demo.company import Company
from embedded.demo.invoices import HEADER
from embedded.demo.shop import KEYS, fill
from tests.integration.demo.conftest import Demo

END = datetime.date(2026, 3, 31)
ONE_DAY = datetime.timedelta(days=1)


def contents(database_url: str) -> dict[str, tuple[int, str]]:
    """Number of rows and a digest of every table of the shop."""
    found = {}
    with psycopg.connect(database_url) as connection:
        for table, key in KEYS.items():
            row = connection.execute(
                f"SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY {key})) FROM {table} AS t"
            ).fetchone()
            assert row is not None
            found[table] = (row[0], row[1])
    return found


def inbox_of(demo: Demo) -> dict[str, datetime.datetime]:
    """Keys of the inbox and when they were written."""
    client = boto3.client(
        "s3",
        endpoint_url=demo.environment["S3_ENDPOINT_URL"],
        aws_access_key_id=demo.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=demo.environment["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=botocore.client.Config(response_checksum_validation="when_required"),
    )
    listed = client.list_objects_v2(Bucket="inbox", Prefix="invoices/")
    return {item["Key"]: item["LastModified"] for item in listed.get("Contents", [])}


def test_second_load_changes_nothing_and_says_so(demo: Demo) -> None:
    status, said = demo.run("load")
    assert status == 0, said
    rows, files = contents(demo.database_url), inbox_of(demo)
    assert rows["orders"][0] == pytest.approx(2_000, rel=0.05)
    assert "invoices/2026-03-31.csv" in files and len(files) >= 19
    status, said = demo.run("load")
    assert status == 0 and "nothing to do" in said
    assert contents(demo.database_url) == rows and inbox_of(demo) == files


def test_another_company_is_not_loaded_over_the_first(demo: Demo) -> None:
    demo.run("load")
    rows = contents(demo.database_url)
    demo.environment["DEMO_SCALE"] = "3000"
    status, said = demo.run("load")
    assert status == 1 and "2,000 orders" in said and "3,000 orders" in said and "make clean" in said
    assert contents(demo.database_url) == rows


def test_a_load_that_is_killed_leaves_nothing_and_can_be_repeated(demo: Demo) -> None:
    demo.environment["DEMO_SCALE"] = "60000"
    process = demo.start("load")
    assert process.stderr is not None
    while "orders with" not in process.stderr.readline():
        assert process.poll() is None
    process.kill()
    process.communicate()
    with psycopg.connect(demo.database_url) as connection:
        assert connection.execute("SELECT to_regclass('public.orders')").fetchone() == (None,)
    status, said = demo.run("load")
    assert status == 0, said
    assert contents(demo.database_url)["orders"][0] == pytest.approx(60_000, rel=0.05)


def test_days_added_one_by_one_give_the_shop_that_is_filled_at_once(demo: Demo) -> None:
    demo.run("load")
    status, said = demo.run("advance", "--days", "4")
    assert status == 0, said
    advanced = contents(demo.database_url)
    company = Company(seed=11, scale=2_000, end_date=END)
    with psycopg.connect(demo.database_url) as connection:
        fill(connection, company, END + 4 * ONE_DAY, lambda line: None)
    assert advanced == contents(demo.database_url)


def test_rows_that_a_day_brings_have_cursors_of_that_day(demo: Demo) -> None:
    demo.run("load")
    demo.run("advance", "--days", "3")
    with psycopg.connect(demo.database_url) as connection:
        connection.execute("SET timezone = 'UTC'")
        latest = {
            table: connection.execute(f"SELECT max(updated_at)::date FROM {table}").fetchone()
            for table in ("customers", "orders", "order_items")
        }
        late = connection.execute(
            "SELECT count(*) FROM order_items i JOIN orders o USING (order_id) "
            "WHERE i.updated_at::date > o.order_date AND o.order_date > %s",
            (END - 30 * ONE_DAY,),
        ).fetchone()
    assert set(latest.values()) == {(END + 3 * ONE_DAY,)}
    assert late is not None and late[0] > 0


def test_advance_needs_a_shop(demo: Demo) -> None:
    status, said = demo.run("advance")
    assert status == 1 and "load" in said and "Traceback" not in said


def test_own_files_take_the_place_of_the_generated_ones_for_good(demo: Demo, tmp_path: Path) -> None:
    demo.run("load")
    for name in ("2010-12-01.csv", "2026-03-31.csv"):
        (tmp_path / name).write_text(f"{HEADER}\n1,A,{name},1,2010-12-01 08:26:00,1.0,,France\n")
    status, said = demo.run("load-files", str(tmp_path))
    assert status == 0 and "2 files put" in said and "the inbox has 2 files" in said
    files = inbox_of(demo)
    assert set(files) == {"invoices/2010-12-01.csv", "invoices/2026-03-31.csv"}
    status, said = demo.run("load-files", str(tmp_path))
    assert "0 files put into the inbox, 2 were there already" in said
    demo.run("advance", "--days", "2")
    assert inbox_of(demo) == files


def test_own_files_that_cannot_be_read_are_named_and_put_into_the_inbox_all_the_same(
    demo: Demo, tmp_path: Path
) -> None:
    demo.run("load")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "good.csv").write_text(f"{HEADER}\n1,A,x,1,2010-12-01 08:26:00,1.0,,France\n")
    (tmp_path / "wide.csv").write_bytes(f"{HEADER}\n".encode("utf-16"))
    status, said = demo.run("load-files", str(tmp_path))
    assert status == 0 and "3 files put" in said
    warnings = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert [line.split(":")[1] for line in warnings] == [" empty.csv", " wide.csv"]
    assert "published already stay in the lake" in said
    assert set(inbox_of(demo)) == {"invoices/empty.csv", "invoices/good.csv", "invoices/wide.csv"}


def test_what_is_wrong_is_said_in_one_line(demo: Demo) -> None:
    demo.environment["SHOP_DB_URL"] = "postgresql://shop:hidden-word@127.0.0.1:1/shop"
    status, said = demo.run("load")
    assert status == 1 and "port 1" in said and "make status" in said
    assert "Traceback" not in said and "hidden-word" not in said
    demo.environment["AWS_SECRET_ACCESS_KEY"] = "wrong-key-of-somebody"
    demo.environment["SHOP_DB_URL"] = demo.database_url
    status, said = demo.run("load")
    assert status == 1 and "AWS_SECRET_ACCESS_KEY" in said and "wrong-key-of-somebody" not in said
