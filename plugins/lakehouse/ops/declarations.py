"""Declared state in YAML: read, checked against a model, with errors that name file, line and key."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

INCLUDE_VARIABLE = "LAKEHOUSE_INCLUDE"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times quicker: every task reads its DAG file
Model = TypeVar("Model", bound=BaseModel)


class Declared(BaseModel):
    """Base of all declarations: unknown keys are refused, values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeclarationError(ValueError):
    """A declaration that cannot be read. `problems` holds one line `file:line: key: what is wrong` for each.

    :ivar path: the file.
    """

    remedy = "Correct the file at the line that is named, run `make check`, then clear the group."

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path, self.problems = path, list(problems)
        more = len(self.problems) - 1
        self.what = self.problems[0] + (f" (and {more} more)" if more > 0 else "")
        super().__init__("\n".join(self.problems))


def pipelines_dir() -> Path:
    """Return the folder of the declarations: `$LAKEHOUSE_INCLUDE/pipelines`, by default this repository's."""
    named = os.environ.get(INCLUDE_VARIABLE)
    include = Path(named).resolve() if named else Path(__file__).resolve().parents[3] / "include"
    return include / "pipelines"


def load(path: str | Path, model: type[Model]) -> Model:
    """Read a YAML file into `model`.

    :param path: a file; a relative one is looked for in `pipelines_dir()`.
    :raises DeclarationError: no such file, not YAML, a key given twice, an unknown or missing key,
        a wrong value.

    Example::

        class Bucket(Declared):
            name: str
            prefixes: list[str] = []

        bucket = load("storage.yaml", Bucket)
    """
    path = Path(path)
    path = path if path.is_absolute() else pipelines_dir() / path
    node = _compose(path)
    if node is None:
        raise DeclarationError(path, [f"{shown(path)}:1: the file is empty"])
    doubled = [f"{shown(path)}:{line}: {key}: given twice" for key, line in _doubled(node, ())]
    if doubled:
        raise DeclarationError(path, doubled)
    try:
        data = yaml.SafeLoader("").construct_document(node)
        return model.model_validate(data)
    except yaml.constructor.ConstructorError as error:
        raise DeclarationError(path, [_yaml_problem(path, error)]) from error
    except ValidationError as error:
        raise DeclarationError(path, [_problem(path, node, item) for item in error.errors()]) from error


def _compose(path: Path) -> yaml.Node | None:
    try:
        with path.open(encoding="utf-8") as stream:
            return yaml.compose(stream, Loader=_LOADER)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DeclarationError(path, [f"{shown(path)}: cannot be read: {reason}"]) from error
    except yaml.YAMLError as error:
        raise DeclarationError(path, [_yaml_problem(path, error)]) from error


def _yaml_problem(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = " ".join(str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    return f"{shown(path)}:{mark.line + 1 if mark else 1}: not valid YAML: {what or error}"


def wrong(path: Path, key: str, problem: str) -> DeclarationError:
    """Return the error for what a model cannot tell, at the line of a key of the file's first level."""
    lines = path.read_text(encoding="utf-8").splitlines()
    line = next((number for number, text in enumerate(lines, 1) if text.startswith(f"{key}:")), 1)
    return DeclarationError(path, [f"{shown(path)}:{line}: {key}: {problem}"])


def shown(path: Path) -> str:
    """Return the path as a person in the repository would type it."""
    root = pipelines_dir().parent.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _doubled(node: yaml.Node, above: tuple[str, ...]) -> list[tuple[str, int]]:
    """Keys that a mapping has twice (YAML readers silently keep the last)."""
    found: list[tuple[str, int]] = []
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                found.append((".".join((*above, name)), key.start_mark.line + 1))
            seen.add(name)
            found += _doubled(value, (*above, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found += _doubled(value, (*above, str(index)))
    return found


def _problem(path: Path, root: yaml.Node, item: Any) -> str:
    line, key = _locate(root, item["loc"])
    return f"{shown(path)}:{line}: {key or '(whole file)'}: {_text(item)}"


def _text(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown key"
    if item["type"] == "missing":
        return "missing"
    if item["type"] == "model_type":
        return "expected keys and values, `key: value`"
    given = item.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) or given is None else ""
    return item["msg"].removeprefix("Value error, ") + shown


def _locate(root: yaml.Node, location: Sequence[str | int]) -> tuple[int, str]:
    """The line of the deepest part of `location` that the file has, and the whole key in words.

    Parts that are no key of the file (a missing key, pydantic's names of union members) leave the line.
    """
    node, line, names = root, root.start_mark.line + 1, []
    for position, part in enumerate(location):
        if isinstance(node, yaml.MappingNode):
            pairs = {str(key.value): (key, value) for key, value in node.value}
            if str(part) in pairs:
                key, node = pairs[str(part)]
                line = key.start_mark.line + 1
            elif position < len(location) - 1:
                continue  # the name of a union member
            names.append(str(part))
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            names.append(str(part))
    return line, ".".join(names)
