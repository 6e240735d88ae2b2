"""What all tests share. Those that need a running stack reach it by the names that `make env` prints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reach() -> dict[str, str]:
    """Where the stack's services are, by the names of `make env`.

    Fails, and does not skip, without a stack: `bin/test` starts one.
    """
    if "DREMIO_URL" not in os.environ:
        pytest.fail('no stack: run `make test`, or `make up` and `eval "$(make -s env)"`', pytrace=False)
    return dict(os.environ)


@pytest.fixture(scope="session")
def real_invoices() -> Path:
    """The folder of real invoice files, which is not part of the project."""
    folder = Path(os.environ.get("ONLINE_RETAIL_DIR") or REPOSITORY.parent / "shared" / "data" / "online-retail")
    if not list(folder.glob("*.csv")):
        pytest.skip(f"the real invoice files are not here ({folder}): the generated ones are tested instead")
    return folder
