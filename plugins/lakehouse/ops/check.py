"""Checks everything under include/pipelines: `python -m lakehouse.ops.check`.

Each service says itself what it declares: a module `lakehouse.<service>.declared` with

    FILES = {"storage.yaml": Storage}            # pattern relative to include/pipelines -> pydantic model

A value may also be a function that takes the path and raises DeclarationError, for what a model cannot tell.
A file that no service reads is an error: nothing would ever come of it.
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

import lakehouse
from lakehouse.ops.declarations import DeclarationError, load, pipelines_dir, shown

Reader = type[BaseModel] | Callable[[Path], Any]


def readers() -> dict[str, Reader]:
    """Return pattern -> reader, of all services that are installed."""
    found: dict[str, Reader] = {}
    for room in pkgutil.iter_modules(lakehouse.__path__, "lakehouse."):
        name = f"{room.name}.declared"
        if room.ispkg and importlib.util.find_spec(name) is not None:
            found.update(getattr(importlib.import_module(name), "FILES", {}))
    return found


def problems(folder: Path, known: dict[str, Reader]) -> list[str]:
    """Return one line `file:line: key: what is wrong` for each problem below `folder`, sorted by file."""
    found: list[str] = []
    for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
        relative = path.relative_to(folder)
        reader = next((reader for pattern, reader in known.items() if relative.match(pattern)), None)
        if reader is None:
            found.append(f"{shown(path)}:1: no service reads this file; known: {', '.join(sorted(known))}")
        else:
            found += _problems_of(path, reader)
    return found


def _problems_of(path: Path, reader: Reader) -> list[str]:
    try:
        if isinstance(reader, type) and issubclass(reader, BaseModel):
            load(path, reader)
        else:
            cast(Callable[[Path], Any], reader)(path)
    except DeclarationError as error:
        return error.problems
    return []


def refuse_mistakes(*patterns: str) -> None:
    """Raise if a declaration is wrong. DAG files call it, so that the import error says what a run would, hours later.

    Does nothing in the process of a task, which reads its DAG file too: the task says itself what is wrong for it.

    Example::

        refuse_mistakes("daily_batch.yaml", "connections/*.yaml")

    :param patterns: what the DAG reads, as in FILES; none: everything under include/pipelines.
    :raises DeclarationError: with a line `file:line: key: what is wrong` for each problem.
    """
    from airflow.sdk import get_parsing_context  # `make check` does without Airflow

    if get_parsing_context().task_id is not None:
        return
    folder, known = pipelines_dir(), readers()
    if patterns:
        files = [(path, known[pattern]) for pattern in patterns for path in _files(folder, pattern)]
        found = [line for path, reader in files for line in _problems_of(path, reader)]
    else:
        found = problems(folder, known)
    if found:
        raise DeclarationError(folder, found)


def _files(folder: Path, pattern: str) -> list[Path]:
    """What a pattern stands for; a plain name is returned though it may not be there, which is a problem too."""
    return sorted(folder.glob(pattern)) if "*" in pattern else [folder / pattern]


def main() -> int:
    """Print the problems; return 0 if there is none, 1 otherwise."""
    folder = pipelines_dir()
    if not folder.is_dir():
        print(f"{folder}: no such folder (LAKEHOUSE_INCLUDE names the folder above it)", file=sys.stderr)
        return 1
    found = problems(folder, readers())
    for line in found:
        print(line, file=sys.stderr)
    count = len([*folder.rglob("*.yaml"), *folder.rglob("*.yml")])
    print(f"{count} declarations, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
