"""What the report says of a failed dbt task: one sentence and what to do, without rows and SQL."""

from typing import Any

import pytest

from lakehouse.dbt import failures
from lakehouse.dbt.operators import DbtFailed, DbtModelOperator, DbtTestFailed
from lakehouse.dbt.runner import DbtResult, NodeResult
from lakehouse.ops.explain import Explanation, explain


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    conn = (
        '{"conn_type": "dremio", "host": "http://dremio.test", "port": 9047, "login": "ana", "password": "hidden-word"}'
    )
    monkeypatch.setenv("AIRFLOW_CONN_DREMIO_DEFAULT", conn)


def node(**changes: Any) -> NodeResult:
    fields: dict[str, Any] = {
        "name": "fct_orders",
        "node_id": "model.lakehouse.fct_orders",
        "kind": "model",
        "status": "error",
        "message": "",
        "seconds": 0.5,
        "path": "models/marts/fct_orders.sql",
    }
    return NodeResult(**(fields | changes))


def bad_rows(name: str = "assert_positive_amounts", note: str = "Connection refused. Check the table") -> NodeResult:
    return node(
        name=name,
        kind="test",
        status="fail",
        failures=12,
        path=f"tests/quality/{name}.sql",
        compiled="select *\nfrom t where amount <= 0",
        samples=({"order_id": 7, "note": note},),
    )


def failure_of(*nodes: NodeResult, error: str | None = None) -> tuple[DbtFailed, Explanation]:
    with pytest.raises(DbtFailed) as caught:
        DbtModelOperator(task_id="m", select="fct_orders")._raise_if_failed(DbtResult(nodes, error))
    return caught.value, explain(caught.value)


def test_a_failing_test_is_told_without_its_rows_and_what_they_say() -> None:
    error, told = failure_of(bad_rows())
    assert isinstance(error, DbtTestFailed)
    assert '{"order_id": 7, "note": "Connection refused. Check the table"}' in str(error)  # for the log
    assert told.what == "test assert_positive_amounts failed: 12 row(s) should not be there"
    assert told.remedy.startswith("Look at the rows in the task's log and at include/dbt/tests/quality/assert_pos")
    assert "readers of gold go on seeing the last release" in told.remedy


def test_of_several_failures_the_others_are_named() -> None:
    _, told = failure_of(bad_rows("b_test"), bad_rows("a_test"))
    assert told.what == "test b_test failed: 12 row(s) should not be there (and 1 more: a_test)"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param(
            "Runtime Error\n  HTTPConnectionPool(host='dremio.test', port=9047): Max retries exceeded with url: /apiv2/"
            "login (Caused by NewConnectionError(': Failed to establish a new connection: Connection refused'))",
            "Connection refused",
            id="down",
        ),
        pytest.param("Runtime Error\n  HTTPConnectionPool: Read timed out. (read timeout=60)", "timed out", id="hung"),
    ],
)
def test_a_dremio_that_is_away_is_named_with_address_user_and_connection(message: str, reason: str) -> None:
    _, told = failure_of(bad_rows(), node(message=message))
    assert told.what.startswith(f"Dremio at dremio.test:9047 (user ana) does not answer: {reason}")
    assert told.remedy.startswith("Check that it runs") and "connection dremio_default" in told.remedy
    assert "fct_orders.sql" not in told.remedy
    _, at_start = failure_of(error=message)
    assert at_start.what == f"Dremio at dremio.test:9047 (user ana) does not answer: {reason}"


def test_a_refused_login_is_named_with_address_and_user_and_without_the_password() -> None:
    _, told = failure_of(node(message="Unauthorized:401 Client Error: Unauthorized for url: http://dremio.test/login"))
    assert told.what == "Dremio at dremio.test:9047 (user ana) refused the login"
    assert told.remedy.startswith("Check login and password")
    assert "hidden-word" not in told.what + told.remedy


def test_what_a_jobs_error_quotes_is_not_taken_for_the_reason() -> None:
    heading = "Runtime Error in model fct_orders (models/marts/fct_orders.sql)"
    text = "Dremio job 5 FAILED: cannot cast 'Connection refused' to INTEGER"
    _, told = failure_of(node(message=f"{heading}\n  {text}\n  SQL Query /* */ select secret_column"))
    expected = "model fct_orders failed: Dremio job 5 FAILED: cannot cast 'Connection refused' to INTEGER"
    assert told.what == expected
    assert told.remedy.startswith("Look at include/dbt/models/marts/fct_orders.sql")


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        pytest.param('connection to server at "127.0.0.1", port 1 failed: Connection refused', "PostgreSQL", id="db"),
        pytest.param("lease 'dbt/x' was taken over by a newer holder (token 1 is void)", "newer try", id="orphan"),
        pytest.param("Env var required but not provided", "include/dbt/models/marts", id="anything-else"),
    ],
)
def test_other_causes(message: str, remedy: str) -> None:
    assert remedy in failure_of(node(message=message))[1].remedy


def test_a_connection_that_cannot_be_read_hides_nothing() -> None:
    what, remedy = failures.told([node(message="Connection refused")], "no_such_connection")
    assert what == "Dremio of connection no_such_connection does not answer: Connection refused"
    assert "no_such_connection" in remedy
