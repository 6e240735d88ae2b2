"""What the tests of several services share: an Elasticsearch of their own, started once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.airbyte.elasticsearch import Elasticsearch


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    # Not pytest's own folder: that is closed to the user that PostgreSQL runs as where tests run as root.
    path = Path(tempfile.mkdtemp(prefix="lakehouse-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def elasticsearch(folder: Path) -> Iterator[Elasticsearch]:
    from tests.integration.airbyte.elasticsearch import Elasticsearch, installed

    if not installed():
        pytest.skip("no Java (Debian: apt-get install default-jdk-headless) or no .elasticsearch/, see `bin/test`")
    (folder / "elasticsearch").mkdir()
    server = Elasticsearch(folder / "elasticsearch")
    yield server
    server.stop()
