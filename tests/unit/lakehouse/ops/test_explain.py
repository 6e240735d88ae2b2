import psycopg2
import pytest

from lakehouse.airbyte.exceptions import AirbyteAuthError, SyncFailed
from lakehouse.dbt.operators import DbtFailed, DbtTestFailed
from lakehouse.minio.exceptions import ColumnTypeChanged, StoreUnreachable
from lakehouse.ops.explain import KILLED, LONGEST, explain
from lakehouse.ops.lease import LeaseHeld


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        pytest.param(
            StoreUnreachable("minio_default", "http://s3:9000", "key", "Connection refused"),
            "object store at http://s3:9000 (access key key): Connection refused",
            "Check that it runs",
            id="object store",
        ),
        pytest.param(
            AirbyteAuthError("http://a", "cid", 401),
            "Airbyte at http://a refused the client id cid with status 401",
            "Check login",
            id="credentials",
        ),
        pytest.param(
            SyncFailed("postgres", 7, "failed", "Table orders is gone. Was it renamed?"),
            "Airbyte's sync of postgres (job 7) failed: Table orders is gone. Was it renamed?",
            "Repair what it names",
            id="a reason of two sentences",
        ),
        pytest.param(
            ColumnTypeChanged("orders", "amount", "double", "string", "k.parquet"),
            "stream orders: column 'amount' changed its type from double to string (first seen in k.parquet)",
            "Nothing was published.",
            id="changed type",
        ),
        pytest.param(LeaseHeld("publish/x", "d/r/t/-1", 35), "lease 'publish/x' is held by", "Wait for", id="lease"),
        pytest.param(
            psycopg2.OperationalError("connection to server failed"),
            "OperationalError: connection to server failed",
            "Check that PostgreSQL runs",
            id="PostgreSQL",
        ),
        pytest.param(
            psycopg2.OperationalError('password authentication failed for user "x"'),
            "OperationalError: password authentication failed",
            "Check login and password",
            id="PostgreSQL's login",
        ),
        pytest.param(ConnectionError("no route"), "ConnectionError: no route", "Check that the service runs", id="net"),
        pytest.param(
            ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero", "Open the task", id="any"
        ),
        pytest.param(ZeroDivisionError(), "ZeroDivisionError", "Open the task's log", id="without text"),
        pytest.param("Task killed externally", "Task killed externally", "Open the task's log", id="text alone"),
        pytest.param(None, *KILLED, id="nothing known"),
    ],
)
def test_what_and_remedy(error, what, remedy):
    told = explain(error)
    assert told.what.startswith(what)
    assert told.remedy.startswith(remedy)


def test_long_texts_are_shortened_and_lines_joined():
    told = explain(ValueError("a\nb " + "x" * 5000))
    assert told.what.startswith("ValueError: a b xxx")
    assert len(told.what) == LONGEST


def test_rows_of_data_stay_in_the_tasks_log():
    text = 'Test unique_email failed: 2 row(s) should not be there.\n  {"email": "ana@shop.test"}\n  ... and 1 more\n'
    told = explain(DbtTestFailed(text + "Look at include/dbt/models/staging/_staging.yml. All rows: select 1"))
    assert told.what == "Test unique_email failed: 2 row(s) should not be there"
    assert told.remedy.startswith("Look at include/dbt/models/staging/_staging.yml.")


def test_what_dremio_said_is_kept():
    """dbt indents it, as rows are."""
    text = "Model m failed: Runtime Error in model m\n  Dremio job 1 FAILED: no such column\nLook at include/dbt/m.sql."
    assert "Dremio job 1 FAILED: no such column" in explain(DbtFailed(text)).what
