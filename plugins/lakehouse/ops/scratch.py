"""Folders on the worker's disk for the time of a step, of which a killed process leaves none for good."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "lakehouse-scratch-"


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Yield an empty folder and remove it afterwards; first remove those whose processes were killed.

    A folder is locked by the process that works in it, and the kernel takes that lock back when the process dies,
    however it does. So what is not locked is nobody's, and a folder is never taken from a task that still runs.

    :param name: for a person who looks at the disk, e.g. `publish`.
    """
    sweep()
    folder, lock = _make(name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep() -> None:
    """Remove the folders of processes that are no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is gone already, or another user's
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError where its process lives
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _make(name: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}-"))
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():  # and was not swept away before it was locked
                return folder, lock
            os.close(lock)
