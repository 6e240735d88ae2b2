"""What the commands behind the make targets print."""

import sys
from pathlib import Path

import pytest

from embedded.stack.__main__ import main


def test_an_error_is_not_where_eval_would_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "argv", ["embedded.stack", "env"])
    assert main() == 1
    told = capfd.readouterr()
    assert told.out == ""
    assert "run `make up` first" in told.err
