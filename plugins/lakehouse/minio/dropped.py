"""Which columns a stream lost on its way: older landing objects had them, newer ones lack them."""

import re
from collections.abc import Collection, Iterable

from lakehouse.minio.landing import LandingObject


def lost_columns(
    objects: Iterable[LandingObject],
    past: Iterable[LandingObject],
    dropped: Collection[str],
    required: Collection[str] | None = None,
) -> tuple[dict[str, list[str]], str]:
    """Return column -> keys of the landing objects whose rows lack it, oldest first, and the newest key with rows.

    A column counts from the first object that has it: a new one is lost in none. An object without rows shows
    its columns but loses none. Airbyte's own columns are left out: they are the destination's, not the source's.

    :param objects: what is in landing.
    :param past: what was there (a full refresh, a clear and retention remove objects); counts as older only.
    :param dropped: columns that may be lost.
    :param required: the columns that may not; None for all that were ever there.
    """
    seen: dict[str, None] = {}
    lost: dict[str, list[str]] = {}
    newest = ""
    removed = {item.key for item in past}
    for item in sorted([*objects, *past], key=lambda item: _age(item.key)):
        names = set(item.schema.names)
        if item.rows and item.key not in removed:
            newest = item.key
            for column in seen:
                if column not in names:
                    lost.setdefault(column, []).append(item.key)
        counting = item.schema.names if required is None else [name for name in item.schema.names if name in required]
        seen |= {name: None for name in counting if not name.startswith("_airbyte_") and name not in dropped}
    return lost, newest


def _age(key: str) -> list[str | int]:
    """Sorts keys by the numbers in them: part 10 of a sync comes after part 9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]
