"""Folders for the time of a step: none is left by whoever was killed, none is taken from whoever lives."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lakehouse.ops.scratch import scratch

HOLD = """
import sys, time
from lakehouse.ops.scratch import scratch
with scratch("publish") as folder:
    (folder / "part.parquet").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /tmp."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def task() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process at work, and its folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_the_next_removes_what_a_killed_process_has_left_and_leaves_the_living_alone(place: Path) -> None:
    with task() as (alive, its), task() as (killed, left):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "part.parquet").exists()
        with scratch("publish") as folder, scratch("publish") as beside:
            assert not left.exists() and (its / "part.parquet").exists() and alive.poll() is None
            assert sorted(place.iterdir()) == sorted([its, folder, beside])
        assert list(place.iterdir()) == [its]


def test_it_is_removed_after_an_error_and_leaves_other_folders_alone(place: Path) -> None:
    (place / "lakehouse-scratch-publish-file").write_text("no folder")
    (place / "publish-old").mkdir()
    with pytest.raises(ValueError, match="no"), scratch("publish") as folder:
        (folder / "below").mkdir()
        raise ValueError("no")
    assert {path.name for path in place.iterdir()} == {"lakehouse-scratch-publish-file", "publish-old"}
