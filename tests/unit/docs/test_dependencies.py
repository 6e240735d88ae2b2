"""docs/dependencies.md names every direct dependency, and none that is gone."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
FILES = [*sorted(REPOSITORY.glob("requirements*.txt")), REPOSITORY / "docker" / "celery.in"]


def direct_dependencies() -> dict[str, set[str]]:
    """Package names by requirements file."""
    return {file.name: set(re.findall(r"^([A-Za-z0-9_.-]+)", file.read_text(), re.MULTILINE)) for file in FILES}


def documented() -> dict[str, set[str]]:
    """Package names of each section's table, by the requirements files that the heading names."""
    found: dict[str, set[str]] = {}
    for section in (REPOSITORY / "docs" / "dependencies.md").read_text().split("\n## ")[1:]:
        heading, body = section.split("\n", 1)
        cells = re.findall(r"^\| ([^|]+) \| .* \|$", body, re.MULTILINE)
        names = {re.sub(r" \(.*\)", "", name) for cell in cells for name in re.split(r", (?![^(]*\))", cell)}
        for file in re.findall(r"`(?:docker/)?([\w.-]+\.(?:txt|in))`", heading):
            found[file] = names - {"package"}
    return found


def test_every_direct_dependency_is_explained() -> None:
    explained = documented()
    for file, names in direct_dependencies().items():
        assert names - explained[file] == set(), f"explain these of {file} in docs/dependencies.md"


def test_nothing_is_explained_that_is_not_used() -> None:
    used = direct_dependencies()
    for section in {frozenset(names) for names in documented().values()}:
        files = [file for file, names in documented().items() if names == section]
        assert section <= set().union(*(used[file] for file in files))
