"""An instance of the stack for a benchmark: made in a folder of its own on free ports, deleted at the end."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
EMBEDDED = REPOSITORY / ".venv-embedded" / "bin" / "python"


@contextmanager
def instance(scale: str, *arguments: str, airflow: bool = True) -> Iterator[None]:
    """`embedded.stack up` with these arguments and `scale` orders; inside, the environment is that of `make env`.

    :param airflow: whether Airflow and Superset go on running. Idle, they take a fifth of a core from what is measured.
    """
    home = tempfile.mkdtemp(prefix="lakehouse-bench.")
    os.environ |= {"LAKEHOUSE_HOME": home, "LAKEHOUSE_PORTS": "free", "SCALE": scale, "PYTHONPATH": str(REPOSITORY)}
    try:
        stack("up", *arguments)
        os.environ |= dict(shlex.split(line)[1].split("=", 1) for line in stack("env").splitlines())
        if not airflow:
            _signal(home, signal.SIGSTOP)
        yield
    finally:
        _signal(home, signal.SIGCONT)
        stack("clean")
        shutil.rmtree(home, ignore_errors=True)


def _signal(home: str, signal_: signal.Signals) -> None:
    """To each process of Airflow and Superset."""
    for file in Path(home, "run").glob("*.json"):
        if file.stem.startswith(("airflow-", "superset")):
            with suppress(ProcessLookupError):
                os.killpg(json.loads(file.read_text())["pid"], signal_)


def stack(*arguments: str) -> str:
    """The output of `python -m embedded.stack`; ends this process where it fails."""
    command = [str(EMBEDDED), "-m", "embedded.stack", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"`{' '.join(arguments)}` failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return done.stdout


def row_count(text: str) -> int:
    """The rows that an option names, `500k` or `10M` among others; for argparse."""
    try:
        return int(float(text.upper().rstrip("KM")) * {"K": 1_000, "M": 1_000_000}.get(text.upper()[-1:], 1))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows: write 500k or 10M") from error
