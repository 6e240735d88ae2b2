"""What the commands behind the make targets print."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedded.stack.__main__ import main

REPOSITORY = Path(__file__).resolve().parents[4]


def test_an_error_is_not_where_eval_would_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "argv", ["embedded.stack", "env"])
    assert main() == 1
    told = capfd.readouterr()
    assert told.out == ""
    assert "run `make up` first" in told.err


@pytest.mark.parametrize("script", ["install", "lock", "minio", "test"])
def test_a_script_tells_what_it_does_and_does_nothing_else(script: str) -> None:
    path = REPOSITORY / "bin" / script
    told = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=10, check=True, env=os.environ)
    assert path.read_text().splitlines()[1].removeprefix("# ") == told.stdout.splitlines()[0]
    refused = subprocess.run([path, "all-of-it"], capture_output=True, text=True, timeout=10, check=False)
    assert refused.returncode == 2 and "all-of-it" in refused.stderr
