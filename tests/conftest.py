"""What all tests share. Those that need a running stack reach it by the names that `make env` prints."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest

if "AIRFLOW_HOME" not in os.environ:  # read at Airflow's first import
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-tests-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")


@pytest.fixture(scope="session")
def reach() -> dict[str, str]:
    """Where the stack's services are, by the names of `make env`.

    Fails, and does not skip, without a stack: `bin/test` starts one.
    """
    if "DREMIO_URL" not in os.environ:
        pytest.fail('no stack: run `make test`, or `make up` and `eval "$(make -s env)"`', pytrace=False)
    return dict(os.environ)


@pytest.fixture(scope="session")
def real_invoices() -> Path | None:
    """The folder of real invoice files that ONLINE_RETAIL_DIR names; None (and a warning) where there are none.

    They are days of UCI's data set Online Retail, as CSV, which is not part of the project.
    """
    folder = os.environ.get("ONLINE_RETAIL_DIR")
    if folder and list(Path(folder).glob("*.csv")):
        return Path(folder)
    warnings.warn("ONLINE_RETAIL_DIR names no real invoice files: generated ones take their place", stacklevel=1)
    return None
