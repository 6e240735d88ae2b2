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


def dremio_connection(reach):
    """Airflow's connection to the stack's Dremio."""
    rest, flight = urlsplit(reach["DREMIO_URL"]), urlsplit(reach["DREMIO_FLIGHT_URL"])
    return {
        "conn_type": "dremio",
        "host": rest.hostname,
        "port": rest.port,
        "login": reach["DREMIO_USERNAME"],
        "password": reach["DREMIO_PASSWORD"],
        "extra": {"flight_port": flight.port},
    }


@pytest.fixture(scope="module")
def airflow(reach, tmp_path_factory):
    """Environment of a small Airflow: SQLite, and the stack's services as its connections."""
    home = tmp_path_factory.mktemp("airflow")
    connections = {
        "DREMIO_DEFAULT": dremio_connection(reach),
        "MINIO_DEFAULT": {
            "conn_type": "aws",
            "login": reach["AWS_ACCESS_KEY_ID"],
            "password": reach["AWS_SECRET_ACCESS_KEY"],
            "extra": {
                "endpoint_url": reach["S3_ENDPOINT_URL"],
                "region_name": "us-east-1",
                "config_kwargs": {"s3": {"addressing_style": "path"}},
            },
        },
    }
    environment = (
        dict(os.environ)
        | {f"AIRFLOW_CONN_{name}": json.dumps(fields) for name, fields in connections.items()}
        | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}",
        }
    )
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    return environment


@pytest.mark.usefixtures("own_database")
@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_it_runs_twice(file, airflow, reach):
    environment = airflow | {"LAKEHOUSE_DB_URL": os.environ["LAKEHOUSE_DB_URL"]}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(file)], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0 and "RAN" in done.stdout, done.stdout[-8000:] + done.stderr[-4000:]
    for name in ("DREMIO_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        assert reach[name] not in done.stdout + done.stderr, f"{name} is in the log"


@pytest.mark.usefixtures("own_database")
def test_openlineage_is_told_the_tables_and_the_objects(airflow, reach, tmp_path):
    events = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    environment = airflow | {
        "LAKEHOUSE_DB_URL": os.environ["LAKEHOUSE_DB_URL"],
        "AIRFLOW__OPENLINEAGE__DISABLED": "False",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
    }
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
