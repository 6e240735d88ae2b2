import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from lakehouse import cli
from lakehouse.cli import Outcome, Part, main
from lakehouse.ops.declarations import DeclarationError


@pytest.fixture
def asked():
    """(part, connection, whether to write) for each time that a part was run."""
    return []


@pytest.fixture(autouse=True)
def parts(asked, monkeypatch, tmp_path):
    """Two parts that differ until they are applied."""
    (tmp_path / "pipelines").mkdir()
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / "pipelines" / name).write_text("x: 1")
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", str(tmp_path))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    state = {"one": ["create a", "create b"], "two": []}

    def run(name):
        def run_(conn_id, write):
            asked.append((name, conn_id, write))
            changes, state[name] = state[name], [] if write else state[name]
            return Outcome(list(changes))

        return run_

    made = {name: Part(f"{name}.yaml", f"{name}_default", run(name)) for name in state}
    monkeypatch.setattr(cli, "PARTS", made)
    return made


def test_a_plan_shows_what_differs_and_says_so_by_its_exit_code(asked, capsys):
    assert main(["plan"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        "one: 2 to change",
        "  ~ create a",
        "  ~ create b",
        "two: as declared",
    ]
    assert asked == [("one", "one_default", False), ("two", "two_default", False)]


def test_apply_says_what_it_changed_and_nothing_the_second_time(asked, capsys):
    assert main(["apply"]) == 0
    assert "one: 2 changed\n  * create a" in capsys.readouterr().out
    assert main(["apply"]) == 0
    assert capsys.readouterr().out.splitlines() == ["one: as declared", "two: as declared"]
    assert main(["plan"]) == 0


def test_parts_and_connections_can_be_chosen(asked):
    main(["plan", "--only", "two", "--two-conn-id", "other"])
    assert asked == [("two", "other", False)]


def test_an_unknown_part_is_refused(capsys):
    for text, problem in (("three", "three: choose from one, two"), (",", "nothing: choose from one, two")):
        with pytest.raises(SystemExit):
            main(["plan", "--only", text])
        assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("the server is away"), "  ! the server is away"),
        (DeclarationError("f", ["one.yaml:3: name: missing"]), "  ! one.yaml:3: name: missing"),
        (KeyError(), "  ! KeyError"),
    ],
)
def test_a_part_that_fails_keeps_no_other_back(parts, monkeypatch, capsys, error, text):
    def fail(conn_id, write):
        raise error

    monkeypatch.setitem(parts, "one", Part("one.yaml", "one_default", fail))
    assert main(["plan"]) == 1
    told = capsys.readouterr()
    assert text in told.err and told.out.splitlines() == ["one: failed", "two: as declared"]
    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError):
            main(["plan", "--traceback"])


def test_changes_and_errors_of_a_part_are_both_told(parts, monkeypatch, capsys):
    mixed = Outcome(["create a"], errors=["view v: no table"], notes=["mart m is not built yet"])
    monkeypatch.setitem(parts, "one", Part("one.yaml", "one_default", lambda conn_id, write: mixed))
    assert main(["apply"]) == 1
    told = capsys.readouterr()
    assert "one: 1 changed\n  * create a\n  . mart m is not built yet" in told.out and "! view v: no table" in told.err


def test_what_is_not_declared_is_left_out(asked, tmp_path, capsys):
    (tmp_path / "pipelines" / "one.yaml").unlink()
    assert main(["plan"]) == 0
    assert "one: nothing is declared (one.yaml is not there)" in capsys.readouterr().out
    assert [name for name, _, _ in asked] == ["two"]


def test_a_folder_that_is_not_there_is_not_as_declared(asked, tmp_path, capsys):
    assert main(["plan", "--include", str(tmp_path / "inculde")]) == 1
    assert "inculde/pipelines: no such folder" in capsys.readouterr().err
    assert asked == []


def test_check_reads_the_declarations_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", "/nowhere")
    include = tmp_path / "include"
    (include / "pipelines").mkdir(parents=True)
    (include / "pipelines" / "storage.yaml").write_text("buckets: [{name: lake, prefix: [a]}]")
    assert main(["check", "--include", str(include)]) == 1
    assert "storage.yaml:1: buckets.0.prefix: unknown key" in capsys.readouterr().err
    (include / "pipelines" / "storage.yaml").write_text("buckets: [{name: lake, prefixes: [a]}]")
    assert main(["check", "--include", str(include)]) == 0


def test_it_is_installed_as_a_command():
    (entry,) = entry_points(group="console_scripts", name="lakehouse")
    assert entry.load() is main


def test_its_help_needs_no_airflow():
    code = (
        "import sys\nfrom lakehouse.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print('airflow' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert "lakehouse plan" in found.stdout and found.stdout.strip().endswith("False")
