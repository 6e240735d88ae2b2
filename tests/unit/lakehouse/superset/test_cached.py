import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from lakehouse.superset import cached
from lakehouse.superset.exceptions import SupersetNotFound
from lakehouse.superset.hook import SupersetHook


@pytest.mark.parametrize(
    "error", [AirflowNotFoundException("no superset_default"), SupersetNotFound("GET", "/x", 404, "gone")]
)
def test_what_cannot_be_asked_is_not_taken_for_a_cold_cache(error, monkeypatch, capsys):
    def fail(self, slug):
        raise error

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setattr(SupersetHook, "get_dashboard", fail)
    assert cached.main() == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"{error}\n")
