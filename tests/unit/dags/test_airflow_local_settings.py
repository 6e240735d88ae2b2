"""What is imported ahead, and where: importing the module itself must cost other processes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).resolve().parents[3] / "config"
LOOK = (
    "import sys; sys.argv = {argv!r}; sys.path.insert(0, {config!r}); import airflow_local_settings as it;"
    " print(sorted(name for name in it.MODULES if name in sys.modules) == sorted(it.MODULES), 'dbt' in sys.modules)"
)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param(["airflow", "scheduler", "--skip-serve-logs"], "True True", id="scheduler"),
        pytest.param(["airflow", "dag-processor"], "True True", id="dag-processor"),
        pytest.param(["airflow", "api-server"], "False False", id="api-server"),
        pytest.param(["airflow", "dags", "list"], "False False", id="a-command"),
    ],
)
def test_only_processes_that_fork_import_ahead(argv: list[str], expected: str, tmp_path: Path) -> None:
    code = LOOK.format(argv=argv, config=str(CONFIG))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.strip().splitlines()[-1:] == [expected], done.stderr[-2000:]
