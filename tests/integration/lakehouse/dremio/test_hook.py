import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from airflow.providers.common.sql.operators.sql import (
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLTableCheckOperator,
)
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException

from lakehouse.dremio import calls, rest
from lakehouse.dremio.connection import DremioSettings
from lakehouse.dremio.exceptions import DremioAuthError, DremioJobFailed, DremioJobLost, DremioUnreachable
from lakehouse.dremio.hook import DremioHook
from lakehouse.dremio.jobs import JobState

REPOSITORY = Path(__file__).resolve().parents[4]


def test_the_connection_form_says_that_both_protocols_answer(hook):
    answered, message = hook.test_connection()
    assert answered, message
    assert "REST at" in message and "Flight at" in message


def test_sql_over_flight(hook):
    assert hook.get_first("SELECT 1 AS a, 'x' AS b, CAST(NULL AS INTEGER) AS c") == (1, "x", None)


def test_frames_over_flight(frames):
    """In a process of its own: pandas and polars are no requirement of the package, so .venv has neither."""
    code = """
from lakehouse.dremio.hook import DremioHook
hook = DremioHook("dremio_default")
sql = "SELECT * FROM (VALUES (1, 'x', 1.50), (2, NULL, NULL), (3, 'z', 3.25)) AS t(a, b, c) ORDER BY a"
pandas, polars = hook.get_df(sql), hook.get_df(sql, df_type="polars")
print(type(pandas).__module__.split(".")[0], pandas["a"].tolist(), pandas["c"].sum())
print(type(polars).__module__.split(".")[0], polars["b"].to_list(), polars["c"].sum())
for kind in ("pandas", "polars"):
    for text in (sql, f"SELECT * FROM ({sql}) AS q WHERE a > 3"):
        print([frame.shape for frame in hook.get_df_by_chunks(text, chunksize=2, df_type=kind)])
"""
    done = subprocess.run([sys.executable, "-c", code], env=frames, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-6:] == [
        "pandas [1, 2, 3] 4.75",
        "polars ['x', None, 'z'] 4.75",
        *["[(2, 3), (1, 3)]", "[(0, 3)]"] * 2,
    ]


@pytest.fixture
def frames(tmp_path):
    """An environment with pandas and polars: those of the embedded stack's."""
    site = REPOSITORY / ".venv-embedded" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    names = ("numpy", "numpy.libs", "pandas", "polars", "_polars_runtime_32", "dateutil", "pytz", "six.py", "tzdata")
    for name in names:
        if (site / name).exists():
            (tmp_path / name).symlink_to(site / name)
    return os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}


def test_a_statement_without_a_handler_has_run(hook, lake):
    table = f'"{lake}"."flight"."made"'
    hook.run(f"CREATE TABLE {table} AS SELECT 1 AS a")
    try:
        assert hook.get_first(f"SELECT COUNT(*) FROM {table}") == (1,)
    finally:
        hook.run(f"DROP TABLE {table}")


def test_the_common_sql_operator_works():
    operator = SQLExecuteQueryOperator(task_id="q", conn_id="dremio_default", sql="SELECT 42 AS answer")
    operator.do_xcom_push = True
    assert operator.execute({}) == [(42,)]


def test_the_common_check_operators_work(hook, lake):
    table = f'"{lake}"."flight"."checked"'
    hook.run(f"CREATE TABLE {table} AS SELECT * FROM (VALUES (1, 'x'), (2, NULL)) AS t(id, name)")
    columns = {"id": {"null_check": {"equal_to": 0}, "unique_check": {"equal_to": 0}, "max": {"leq_to": 2}}}
    where = {"conn_id": "dremio_default", "table": table}
    try:
        SQLColumnCheckOperator(task_id="c", column_mapping=columns, **where).execute({})
        rows = {"rows": {"check_statement": "COUNT(*) = 2"}}
        SQLTableCheckOperator(task_id="t", checks=rows, **where).execute({})
        named = {"name": {"null_check": {"equal_to": 0}}}
        with pytest.raises(AirflowException, match="null_check"):
            SQLColumnCheckOperator(task_id="f", column_mapping=named, **where).execute({})
    finally:
        hook.run(f"DROP TABLE {table}")


def test_a_job_over_rest(hook):
    job = hook.run_job("SELECT * FROM (VALUES (1), (2)) AS t(a)")
    assert job.state is JobState.COMPLETED and job.row_count == 2
    assert list(hook.iter_rows(job.job_id)) == [{"a": 1}, {"a": 2}]


def test_all_pages_of_a_result_are_read(hook):
    digits = "(VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9))"
    sql = f"SELECT a.x AS x FROM {digits} AS a(x), {digits} AS b(x), {digits} AS c(x), (VALUES (1),(2)) AS d(x)"
    assert len(hook.query(sql)) == 2000


def test_bad_sql_fails_with_dremios_text(hook):
    with pytest.raises(DremioJobFailed, match="no_such_column"):
        hook.run_job("SELECT no_such_column FROM (VALUES (1)) AS t(a)")


def test_an_unknown_job_is_lost(hook):
    with pytest.raises(DremioJobLost):
        hook.get_job("00000000-0000-0000-0000-000000000000")


def test_a_token_that_the_server_forgot_is_renewed(hook):
    key = rest._token_key(hook.settings)
    rest._tokens[key] = "forgotten"
    assert hook.query("SELECT 1 AS a") == [{"a": 1}]
    assert rest._tokens[key] != "forgotten"


def wrong(hook, **changes):
    settings = hook.settings
    host, port = settings.rest_url.removeprefix("http://").split(":")
    flight_port = int(settings.flight_uri.rsplit(":", 1)[1])
    fields = {"host": host, "port": int(port), "login": settings.user, "password": "wr0ng-secret"}
    extra = f'{{"flight_port": {changes.pop("flight_port", flight_port)}}}'
    conn = Connection(conn_id="wrong", conn_type="dremio", extra=extra, **(fields | changes))
    return DremioHook("wrong", connection=conn)


def test_a_wrong_password_is_told_by_both_protocols_without_the_password(hook):
    other = wrong(hook)
    with pytest.raises(DremioAuthError) as by_rest:
        other.query("SELECT 1")
    with pytest.raises(DremioAuthError) as by_flight:
        other.get_first("SELECT 1")
    for error in (by_rest.value, by_flight.value):
        assert hook.settings.user in str(error) and "wr0ng-secret" not in str(error)


def test_a_server_that_is_not_there_is_named(hook, monkeypatch):
    monkeypatch.setattr(rest, "FIRST_DELAY", 0.0)
    other = wrong(hook, port=1, flight_port=1)
    with pytest.raises(DremioUnreachable, match=r"http://127.0.0.1:1 "):
        other.query("SELECT 1")
    with pytest.raises(DremioUnreachable, match=r"grpc://127.0.0.1:1 "):
        other.get_first("SELECT 1")


async def test_the_async_session_speaks_to_the_server(hook):
    settings = DremioSettings.from_connection(hook.connection)
    async with rest.AsyncRestSession(settings) as session:
        assert "data" in await session.send(calls.get_catalog())


def test_health_needs_no_login(reach):
    assert httpx.get(f"{reach['DREMIO_URL']}/apiv2/server_status").json() == "OK"
