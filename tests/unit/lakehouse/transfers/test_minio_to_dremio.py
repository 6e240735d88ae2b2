import json

import pytest
from airflow.sdk.exceptions import TaskDeferred

from lakehouse.dremio.exceptions import DremioJobFailed
from lakehouse.dremio.operators import sql as module
from lakehouse.transfers.batches import MANIFEST, Manifest, Part
from lakehouse.transfers.exceptions import TransferError
from lakehouse.transfers.minio_to_dremio import MinioToDremioOperator

FOLDER = "exports/orders/batch=2026-11-24/"
STAGING = '"lake"."silver"."orders__load_'
SOURCE = "/api/v3/catalog/by-path/lake"
TABLE = "/api/v3/catalog/by-path/lake/silver/orders"


@pytest.fixture
def make(hook, store, dremio, monkeypatch):
    monkeypatch.setattr(module, "WAIT_IN_WORKER", 0.0)
    source = {"id": "s", "entityType": "source", "type": "S3", "config": {"rootPath": "/lake"}}
    dremio.on("GET", SOURCE, source)
    fields = [{"name": "id"}, {"name": "amount"}, {"name": "_batch"}]
    dremio.on("GET", TABLE, {"id": "t", "entityType": "dataset", "fields": fields})
    put_manifest(store, [Part("part-abc-00000.parquet", 5, 9)])

    def build(**kwargs):
        arguments = {"table": "lake.silver.orders", "source": "lake", "bucket": "lake", "prefix": "exports/orders"}
        operator = MinioToDremioOperator(task_id="load", **arguments | {"batch": "2026-11-24"} | kwargs)
        operator.__dict__["hook"] = hook
        operator.__dict__["store"] = store
        return operator

    return build


def put_manifest(store, parts, file_format="parquet"):
    manifest = Manifest("2026-11-24", "abc", file_format, parts)
    store.content[FOLDER + MANIFEST] = manifest.dump().encode()


def counts(dremio, *numbers):
    """The table's rows of the batch, each time they are counted."""
    left = list(numbers)

    def outcome(sql):
        if sql.startswith("SELECT COUNT(*)"):
            return {"rows": [{"found": left.pop(0) if len(left) > 1 else left[0]}]}
        return {}

    dremio.on_sql(outcome)


def test_the_batch_goes_through_a_staging_table_by_one_insert(make, dremio, task_context):
    counts(dremio, 0, 5)
    found = make().execute(task_context)
    assert found == {"table": "lake.silver.orders", "batch": "2026-11-24", "rows": 5, "loaded": True}
    count, drop, create, copy, insert, _, tidy = dremio.statements()
    assert count == """SELECT COUNT(*) AS found FROM "lake"."silver"."orders" WHERE "_batch" = '2026-11-24'"""
    assert drop == tidy and drop.startswith(f"DROP TABLE IF EXISTS {STAGING}")
    assert create.endswith('AS SELECT "id", "amount" FROM "lake"."silver"."orders" WHERE 1 = 0')
    assert copy.endswith("FROM '@lake/exports/orders/batch=2026-11-24' REGEX '.*part-abc-.*' FILE_FORMAT 'parquet'")
    assert insert.startswith(
        'INSERT INTO "lake"."silver"."orders" ("id", "amount", "_batch") SELECT "id", "amount", \'2026-11-24\' FROM'
    )
    guard = """(SELECT COUNT(*) FROM "lake"."silver"."orders" WHERE "_batch" = '2026-11-24') = 0 AND (SELECT"""
    assert guard in insert and insert.endswith(") = 5")


def test_a_batch_that_is_there_is_left_alone(make, dremio, task_context):
    counts(dremio, 5)
    assert make().execute(task_context)["loaded"] is False
    _, tidy = dremio.statements()
    assert tidy.startswith(f"DROP TABLE IF EXISTS {STAGING}")  # of a try that died after its INSERT


def test_a_batch_that_is_there_with_other_rows_is_not_taken_for_loaded(make, dremio, task_context):
    counts(dremio, 4)
    with pytest.raises(TransferError, match=r"it has 4 rows of batch 2026-11-24, its manifest counts 5.*`replace`"):
        make().execute(task_context)


def test_a_batch_can_be_replaced_and_is_deleted_only_when_its_successor_is_whole(make, dremio, task_context):
    counts(dremio, 5)
    assert make(replace=True).execute(task_context)["loaded"] is True
    (delete,) = [sql for sql in dremio.statements() if sql.startswith("DELETE")]
    assert """WHERE "_batch" = '2026-11-24' AND (SELECT COUNT(*) FROM "lake"."silver"."orders__load_""" in delete
    assert delete.endswith(") = 5")


def test_rows_that_are_missing_fail_the_task(make, dremio, task_context):
    counts(dremio, 0, 0)
    with pytest.raises(TransferError, match=r"it has 0 rows of batch 2026-11-24.*Nothing was loaded"):
        make().execute(task_context)


def test_without_a_manifest_everything_below_the_folder_is_loaded(make, dremio, store, task_context):
    store.content = {FOLDER + "a.csv": b"id,amount\n1,2\n"}
    counts(dremio, 0, 1)
    operator = make(file_format="csv", copy_options={"FIELD_DELIMITER": ";", "ON_ERROR": "abort"})
    assert operator.execute(task_context)["rows"] == 1
    (copy,) = [sql for sql in dremio.statements() if sql.startswith("COPY")]
    assert copy.endswith("batch=2026-11-24' FILE_FORMAT 'csv' (FIELD_DELIMITER ';', ON_ERROR 'abort')")


def test_csv_of_a_manifest_is_read_with_the_header_that_it_was_written_with(make, dremio, store, task_context):
    put_manifest(store, [Part("part-abc-00000.csv.gz", 5, 9)], "csv")
    counts(dremio, 0, 5)
    make().execute(task_context)
    (copy,) = [sql for sql in dremio.statements() if sql.startswith("COPY")]
    assert copy.endswith("REGEX '.*part-abc-.*' FILE_FORMAT 'csv' (EXTRACT_HEADER 'true')")


def test_a_batch_without_rows_copies_nothing(make, dremio, store, task_context):
    put_manifest(store, [Part("part-abc-00000.parquet", 0, 9)])
    counts(dremio, 0)
    assert make().execute(task_context)["rows"] == 0
    assert not [sql for sql in dremio.statements() if sql.startswith("COPY")]


def test_a_long_statement_is_deferred_and_the_plan_comes_back_with_it(make, dremio, store, task_context):
    counts(dremio, 0, 5)
    finished = dremio.script["POST", "/api/v3/sql"]
    jobs = iter([*["quick"] * 3, "slow"])

    def submit(request):
        answer = finished[0](request)
        if next(jobs, "quick") == "slow":
            dremio.on("GET", f"/api/v3/job/{answer['id']}", {"jobState": "RUNNING"}, {"jobState": "COMPLETED"})
        return answer

    dremio.on("POST", "/api/v3/sql", submit)
    with pytest.raises(TaskDeferred) as deferred:
        make().execute(task_context)
    put_manifest(store, [Part("part-abc-00000.parquet", 99, 9)])  # what was begun is finished as it was begun
    trigger = deferred.value.trigger
    event = {"job_id": trigger.job_id, "reason": "ended", "detail": "COMPLETED", "state": trigger.state}
    assert make().resume(task_context, event)["rows"] == 5
    assert len([sql for sql in dremio.statements() if sql.startswith("COPY")]) == 1


def test_a_retry_adopts_the_job_of_a_dead_worker(make, dremio, task_context):
    counts(dremio, 0, 5)
    finished = dremio.script["POST", "/api/v3/sql"][0]

    def submit(request):
        answer = finished(request)
        if len(dremio.statements()) == 2:
            dremio.on("GET", f"/api/v3/job/{answer['id']}", {"jobState": "RUNNING"}, {"jobState": "COMPLETED"})
        return answer

    dremio.on("POST", "/api/v3/sql", submit)
    with pytest.raises(TaskDeferred):
        make().execute(task_context)
    assert make().execute(task_context)["loaded"] is True
    assert len([sql for sql in dremio.statements() if sql.startswith("DROP")]) == 2  # one before, one after


def test_what_a_dead_worker_may_have_sent_begins_again_where_there_is_no_job_list(make, dremio, task_context):
    counts(dremio, 0, 0, 5)
    finished = dremio.script["POST", "/api/v3/sql"][0]

    def die(request):
        if "COPY" in json.loads(request.content)["sql"]:
            raise KeyboardInterrupt
        return finished(request)

    dremio.on("POST", "/api/v3/sql", die)
    with pytest.raises(KeyboardInterrupt):
        make().execute(task_context)
    dremio.on("POST", "/api/v3/sql", finished)
    assert make().execute(task_context)["loaded"] is True
    words = [sql.split()[0] for sql in dremio.statements()]
    assert words[-6:-2] == ["DROP", "CREATE", "COPY", "INSERT"]


def test_a_failed_copy_stops_before_the_table_is_touched(make, dremio, task_context):
    def outcome(sql):
        if sql.startswith("COPY"):
            return {"jobState": "FAILED", "errorMessage": "line 3: not a number"}
        return {"rows": [{"found": 0}]} if sql.startswith("SELECT") else {}

    dremio.on_sql(outcome)
    with pytest.raises(DremioJobFailed, match="line 3: not a number"):
        make().execute(task_context)
    assert not [sql for sql in dremio.statements() if sql.startswith("INSERT")]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(lambda d, s: s.content.clear(), r"exports/orders/batch=2026-11-24/: holds no objects", id="none"),
        pytest.param(
            lambda d, s: d.on("GET", SOURCE, {"entityType": "source", "config": {"rootPath": "/x"}}),
            r"source lake does not show s3://lake/exports/orders/batch=2026-11-24 \(its root is /x\)",
            id="another-root",
        ),
        pytest.param(
            lambda d, s: d.script.pop(("GET", SOURCE)), "there is no such source", id="no-source"
        ),
        pytest.param(lambda d, s: d.script.pop(("GET", TABLE)), "there is no such table", id="no-table"),
        pytest.param(
            lambda d, s: d.on("GET", TABLE, {"fields": [{"name": "id"}]}), "it has no column _batch", id="no-column"
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_before_anything_runs(make, dremio, store, task_context, change, text):
    operator = make()
    change(dremio, store)
    with pytest.raises(TransferError, match=text):
        operator.execute(task_context)
    assert dremio.statements() == []


def test_an_unknown_format_is_refused(make, store, task_context):
    store.content = {FOLDER + "a.orc": b"x"}
    with pytest.raises(ValueError, match="file_format 'orc' is none of parquet, csv, json"):
        make(file_format="orc").execute(task_context)


def test_a_source_over_the_whole_store_shows_the_bucket_too(make, dremio, task_context):
    dremio.on("GET", SOURCE, {"entityType": "source", "config": {}})
    counts(dremio, 0, 5)
    make().execute(task_context)
    assert "FROM '@lake/lake/exports/orders/batch=2026-11-24'" in dremio.statements()[3]
