"""The page that says what the embedded Dremio answers is the one that the examples make."""

from __future__ import annotations

from pathlib import Path

from tests.unit.embedded.dremio.compatibility import page

PAGE = Path(__file__).resolve().parents[4] / "docs" / "dremio-compatibility.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), f"write it again: see compatibility.py ({PAGE.name})"
