"""The parity table of the package's README: each of our cells names a test that is there, or says 'not yet'."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
README = (TESTS.parent / "plugins" / "README.md").read_text()


def cells() -> Iterator[tuple[str, str, str]]:
    """Feature, our cell, and what shows it."""
    table = README.split("\n## Parity\n")[1].split("\n## ")[0]
    for line in table.splitlines():
        if line.startswith("| ") and not line.startswith("| feature"):
            parts = [part.strip() for part in line.strip("|").split("|")]
            assert len(parts) == 7, line
            yield parts[0], parts[5], parts[6]


@pytest.mark.parametrize(("feature", "ours", "shown"), list(cells()), ids=lambda value: value[:40])
def test_what_we_claim_is_shown_by_a_test(feature: str, ours: str, shown: str) -> None:
    named = re.findall(r"`(\w+)::(\w+)`", shown)
    assert bool(named) != ours.startswith("not yet"), f"{feature}: {ours}"
    for file, name in named:
        text = "".join(path.read_text() for path in TESTS.rglob(f"{file}.py"))
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{file}::{name}"
