"""Every example DAG really runs against the stack, by Airflow's own `dag.test()`, in a process and a database of its
own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLES = REPOSITORY / "docs" / "examples"
RUN = """
import sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1])
assert not bag.import_errors, bag.import_errors
(dag,) = bag.dags.values()
for _ in range(2):  # an example may be run again
    run = dag.test()
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    assert run.state == "success", states
print("RAN", sorted(states))
"""


pytestmark = pytest.mark.usefixtures("own_database")


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_it_runs_twice(file, small_airflow, reach):
    environment = os.environ | small_airflow | {"AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(file)], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0 and "RAN" in done.stdout, done.stdout[-8000:] + done.stderr[-4000:]
    kept = Path(small_airflow["AIRFLOW_HOME"], "airflow.db").read_bytes()  # XComs, rendered fields, what tasks remember
    for name in ("DREMIO_PASSWORD", "AWS_SECRET_ACCESS_KEY", "SUPERSET_PASSWORD", "AIRBYTE_CLIENT_SECRET"):
        assert reach[name] not in done.stdout + done.stderr, f"{name} is in the log"
        assert reach[name].encode() not in kept, f"{name} is in Airflow's database"


def test_openlineage_is_told_the_tables_and_the_objects(small_airflow, reach, tmp_path):
    events = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    environment = (
        os.environ
        | small_airflow
        | {
            "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
            "AIRFLOW__OPENLINEAGE__DISABLED": "False",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        }
    )
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(EXAMPLES / "example_transfers.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    text = events.read_text()
    complete = {
        event["job"]["name"]: event for event in map(json.loads, text.splitlines()) if event["eventType"] == "COMPLETE"
    }
    dremio = f"dremio://{urlsplit(reach['DREMIO_URL']).netloc}"
    table, load = complete["example_transfers.table"], complete["example_transfers.load"]
    assert [(each["namespace"], each["name"]) for each in table["outputs"]] == [(dremio, "examples.transfers.orders")]
    assert "CREATE TABLE IF NOT EXISTS examples.transfers.orders" in table["job"]["facets"]["sql"]["query"]
    assert table["run"]["facets"]["externalQuery"]["source"] == dremio
    assert [(each["namespace"], each["name"]) for each in load["inputs"]] == [
        ("s3://datalake", "examples/exports/orders")
    ]
    assert [each["name"] for each in load["outputs"]] == ["examples.transfers.orders"]
    for name in ("DREMIO_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        assert reach[name] not in text, f"{name} is in the events"
