"""Names and values as Dremio's SQL writes them. Parameters are not bound by servers before 26."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any


def quoted(path: Sequence[str]) -> str:
    """A path as a quoted SQL identifier: `"a"."b"`."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in path)


def literal(value: Any) -> str:
    """A value as an SQL literal.

    :raises TypeError: it is neither text, number, date nor truth.
    """
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        utc = value.astimezone(UTC) if value.tzinfo else value
        return f"TIMESTAMP '{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise TypeError(f"{value!r} ({type(value).__name__}) has no SQL literal: give text, a number, a date or a truth")
