"""ISO periods (``P1DT2H``) as texts that CAST reads: Python functions that the engine registers with DuckDB."""

from __future__ import annotations

import re

from embedded.dremio.sql.functions_python import python

_PERIOD = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)W)?(?:(-?\d+)D)?"
    r"(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d*)(?:\.(\d+))?S)?)?",
    re.IGNORECASE,
)


def _match(value: str) -> re.Match[str]:
    found = _PERIOD.fullmatch(value)
    if found is None or value.upper() in ("P", "PT") or value.upper().endswith("T"):
        raise ValueError(f'Invalid format: "{value}"')
    return found


@python("py_period_milliseconds", "VARCHAR", "BIGINT")
def period_milliseconds(value: str) -> int:
    """Days, hours, minutes and seconds of a period; a bare number is milliseconds already."""
    if value.isdigit():
        return int(value)
    found = _match(value)
    days, hours, minutes = (int(found.group(place) or 0) for place in (4, 5, 6))
    seconds = int(found.group(8) or 0) * 1000 + int((found.group(9) or "").ljust(3, "0")[:3])
    sign = -1 if found.group(7) else 1
    return days * 86_400_000 + hours * 3_600_000 + minutes * 60_000 + sign * seconds


@python("py_period_months", "VARCHAR", "BIGINT")
def period_months(value: str) -> int:
    """Years and months of a period; a bare number is months already."""
    if value.isdigit():
        return int(value)
    found = _match(value)
    return int(found.group(1) or 0) * 12 + int(found.group(2) or 0)
