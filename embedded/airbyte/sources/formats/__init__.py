"""The formats of files: from a local file to batches of rows with types."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from embedded.airbyte.sources.file_rows import Batch

Columns = dict[str, dict[str, Any]]
"""Names of columns with their JSON schemas, in order."""

Settle = Callable[[Columns], Columns]
"""From the columns that a file's values show to those that it is delivered with."""


class Format(Protocol):
    """What the reader of files asks of a format.

    All of it raises FileRejected for a file that is whole and not of the format or columns that the stream has, and
    FileUnreadable for one that is damaged.
    """

    def columns(self, path: Path) -> Columns:
        """The columns of a file."""

    def batches(self, path: Path, settle: Settle) -> Iterator[Batch]:
        """The rows. A format whose values have no types of their own asks `settle` for them."""
