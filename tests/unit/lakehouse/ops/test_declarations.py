import pytest
from pydantic import Field

from lakehouse.ops.check import problems, readers
from lakehouse.ops.declarations import DeclarationError, Declared, load, pipelines_dir


class Column(Declared):
    name: str
    width: int = 1


class Table(Declared):
    title: str
    columns: list[Column] = Field(default_factory=list)


@pytest.fixture
def write(tmp_path):
    def write_(text, name="table.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write_


def test_the_folder_may_be_named_from_where_one_stands(tmp_path, monkeypatch):
    (tmp_path / "here" / "pipelines").mkdir(parents=True)
    (tmp_path / "here" / "pipelines" / "table.yaml").write_text("title: t")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", "here")
    (found,) = pipelines_dir().glob("*.yaml")
    assert load(found, Table) == load("table.yaml", Table)


def test_a_good_file_is_read(write):
    assert load(write("title: t\ncolumns: [{name: a, width: 2}]"), Table).columns[0].width == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("title: t\ncolour: red\n", ":2: colour: unknown key", id="unknown key"),
        pytest.param("columns: []\n", ":1: title: missing", id="missing key"),
        pytest.param(
            "title: t\ncolumns:\n  - name: a\n  - name: b\n    width: wide\n",
            ":5: columns.1.width: Input should be a valid integer",
            id="wrong value deep inside",
        ),
        pytest.param("title: t\ncolumns:\n  - width: 2\n", ":3: columns.0.name: missing", id="missing in a list"),
        pytest.param("title: a\ntitle: b\n", ":2: title: given twice", id="key given twice"),
        pytest.param("title: [\n", "not valid YAML", id="not YAML"),
        pytest.param("", ":1: the file is empty", id="empty"),
        pytest.param("- a\n", ":1: (whole file): expected keys and values", id="a list where a mapping belongs"),
    ],
)
def test_errors_name_line_and_key(write, text, problem):
    path = write(text)
    with pytest.raises(DeclarationError) as error:
        load(path, Table)
    assert str(error.value).startswith(str(path))
    assert problem in str(error.value)


def test_every_problem_of_a_file_is_told_at_once(write):
    with pytest.raises(DeclarationError) as error:
        load(write("colour: red\ncolumns: 3\n"), Table)
    assert len(error.value.problems) == 3


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DeclarationError, match=r"none\.yaml: cannot be read: No such file"):
        load(tmp_path / "none.yaml", Table)


def test_check_finds_wrong_files_and_files_that_nobody_reads(tmp_path, write):
    write("title: t", "table.yaml")
    write("x: 1", "tabel.yaml")
    write("title: 1", "tables/other.yaml")
    found = problems(tmp_path, {"table.yaml": Table, "tables/*.yaml": Table})
    assert len(found) == 2
    assert "tabel.yaml:1: no service reads this file" in found[0]
    assert "tables/other.yaml:1: title: Input should be a valid string" in found[1]


def test_everything_that_is_declared_here_is_right():
    known = readers()
    assert {"storage.yaml", "airbyte.yaml", "connections/*.yaml", "daily_batch.yaml"} <= set(known)
    assert problems(pipelines_dir(), known) == []


def test_the_folder_may_be_named_relative_to_where_one_is(tmp_path, monkeypatch, write):
    write("title: t", "pipelines/table.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_INCLUDE", ".")
    assert problems(pipelines_dir(), {"table.yaml": Table}) == []
