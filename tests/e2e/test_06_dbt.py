"""dbt-dremio as it is from its package, on the running stack's Dremio and the tables that a batch has made."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dbt.adapters.dremio.api.handle import DremioHandle
from dbt.adapters.dremio.api.parameters import ParametersBuilder
from dbt.adapters.dremio.credentials import DremioCredentials

from lakehouse.dbt.manifest import NAMES
from lakehouse.dbt.statements import Statements, watched
from tests.e2e.conftest import FirstRun

PROJECT = Path(__file__).resolve().parents[2] / "include" / "dbt"
ENDLESS = (
    "select count(*) from datalake.silver.int_orders_enriched a, datalake.silver.int_orders_enriched b,"
    " datalake.silver.int_orders_enriched c where a.amount + b.amount + c.amount > 3"
)


def test_the_models_unit_tests_pass_from_a_shell(reach: dict[str, str], tmp_path: Path, first_run: FirstRun) -> None:
    """With the profile for a shell, which reads the variables that `make env` prints."""
    command = [str(Path(sys.executable).with_name("dbt")), "test", "--select", "test_type:unit", "--no-use-colors"]
    folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    folders += ["--target-path", str(tmp_path / "target"), "--log-path", str(tmp_path)]
    done = subprocess.run([*command, *folders], env=reach, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert "ERROR=0" in done.stdout and "TOTAL=6" in done.stdout, done.stdout


@pytest.fixture
def handle(reach: dict[str, str]) -> DremioHandle:
    """A connection of dbt-dremio's, logged in."""
    address = urlsplit(reach["DREMIO_URL"])
    credentials = DremioCredentials(
        software_host=address.hostname,
        port=address.port,
        use_ssl=False,
        UID=reach["DREMIO_USERNAME"],
        PWD=reach["DREMIO_PASSWORD"],
        datalake=NAMES["object_storage_source"],
        root_path=NAMES["object_storage_path"],
        database=NAMES["dremio_space"],
        schema=NAMES["dremio_space_folder"],
    )
    return DremioHandle(ParametersBuilder.build(credentials).get_parameters())


def test_a_killed_task_leaves_no_job_on_dremio(handle: DremioHandle, first_run: FirstRun) -> None:
    statements, errors = Statements(), []

    def run() -> None:
        try:
            with watched(statements):
                handle.cursor().execute(ENDLESS)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 30
    while not statements._running and time.monotonic() < deadline:
        time.sleep(0.05)
    cancelled = statements.cancel("the task was killed")
    thread.join(timeout=30)
    assert len(cancelled) == 1
    assert errors and "CANCELED" in errors[0]
