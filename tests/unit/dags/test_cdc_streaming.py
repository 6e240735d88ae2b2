"""The DAG of the continuous connections, which is there only if there are some."""

import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.dags import test_dags
from tests.unit.dags.conftest import REPOSITORY, Parsed


@pytest.fixture
def parsed(bag: Parsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Parses the DAGs that sync with other texts in connections/postgres.yaml; returns the DagBag."""
    from airflow.dag_processing.dagbag import DagBag

    shutil.copytree(REPOSITORY / "include" / "pipelines", tmp_path / "pipelines")
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(tmp_path))
    for name in ("cdc_streaming", "ingest"):
        (tmp_path / "dags").mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "dags" / f"{name}.py", tmp_path / "dags")

    def with_(**replaced: str) -> Any:
        path = tmp_path / "pipelines" / "connections" / "postgres.yaml"
        text = path.read_text()
        for key, value in replaced.items():
            text = re.sub(rf"(?m)^( *{key}:) .*$", rf"\1 {value}", text)
        path.write_text(text)
        return DagBag(dag_folder=str(tmp_path / "dags"))

    return with_


def test_a_continuous_connection_is_streamed_and_in_no_tier(parsed: Callable[..., Any]) -> None:
    bag = parsed(schedule="continuous")
    assert not bag.import_errors
    assert sorted(bag.dags) == ["cdc_streaming", "ingest_6h", "ingest_daily"]
    dag = bag.dags["cdc_streaming"]
    assert (dag.schedule, dag.max_active_runs, dag.catchup) == ("@continuous", 1, False)
    stream, compact = dag.get_task("stream.postgres"), dag.get_task("compact.postgres")
    assert stream.connection == compact.source == "postgres"
    assert stream.streams == compact.streams == ["customers", "products", "orders", "order_items"]
    assert stream.duration == timedelta(hours=1)
    assert not stream.upstream_task_ids | compact.upstream_task_ids, "neither waits for the other"
    as_parsed = Parsed(bag.dags, {}, 0.0)
    test_dags.test_it_says_what_it_does_and_whose_it_is(as_parsed, "cdc_streaming")
    test_dags.test_every_task_is_retried_later_each_time_and_ends(as_parsed, "cdc_streaming")


def test_a_full_refresh_that_would_never_end_is_refused_by_name(parsed: Callable[..., Any]) -> None:
    for error in parsed(schedule="continuous", sync_mode="full_refresh_append").import_errors.values():
        assert re.search(r"connections/postgres.yaml:\d+:.* stream customers: .*every few seconds", error), error
        break
    else:
        pytest.fail("no error")
