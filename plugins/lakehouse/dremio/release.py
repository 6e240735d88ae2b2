"""What a release of marts consists of, and the views that show it. Talks to Dremio alone; the journal and the
lease are the operator's.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakehouse.dremio.exceptions import DremioError

if TYPE_CHECKING:
    from lakehouse.dremio.hook import DremioHook

SPACE = "gold"
LAKE = "datalake.gold"


def view_definitions(hook: "DremioHook", slot: str, marts: Sequence[str]) -> dict[str, str]:
    """View name -> SELECT over the mart's table in a slot, its public columns in the table's order.

    Columns whose name begins with `_` are technical and are left out.

    :raises DremioError: tables are missing in the slot; names them all.
    """
    schema = f"{LAKE}.slot_{slot}"
    rows = hook.query(
        "SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS "
        f"WHERE TABLE_SCHEMA = '{schema}' ORDER BY TABLE_NAME, ORDINAL_POSITION"
    )
    columns: dict[str, list[str]] = {}
    for row in rows:
        columns.setdefault(str(row["TABLE_NAME"]), []).append(str(row["COLUMN_NAME"]))
    missing = [mart for mart in marts if mart not in columns]
    if missing:
        raise DremioError(
            f"{schema} lacks {', '.join(sorted(missing))}: nothing was switched. "
            "Clear the run's marts group, which builds them."
        )
    return {mart: _select(schema, mart, columns[mart]) for mart in sorted(marts)}


def current_definitions(hook: "DremioHook", marts: Sequence[str]) -> dict[str, str]:
    """View name -> its SQL now, for those that exist.

    :raises DremioError: something of that name in the space is no view.
    """
    found = {}
    for mart in marts:
        entity = hook.find_entity([SPACE, mart])
        if entity is None:
            continue
        if entity.get("type") != "VIRTUAL_DATASET":
            raise DremioError(
                f"{SPACE}.{mart} is a {entity.get('type')} in Dremio, where a view is expected: nothing was switched. "
                "Delete or rename it there, then clear this task."
            )
        found[mart] = str(entity.get("sql") or "").strip()
    return found


def check_targets(hook: "DremioHook", marts: Sequence[str]) -> None:
    """Find out, before anything is touched, what would keep a switch from being completed.

    Whether the user may change a view cannot be seen beforehand: Dremio tells it only with the change.

    :raises DremioError: the space is missing, or something of a mart's name in it is no view.
    """
    if hook.find_entity([SPACE]) is None:
        raise DremioError(
            f"the space {SPACE} does not exist in Dremio: nothing was switched. "
            "Run the DAG platform_setup, which makes it, then clear this task."
        )
    current_definitions(hook, marts)


def pending(now: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """The views that have to be made or made anew. Quotes and layout are not compared: servers differ there."""
    return {name: sql for name, sql in wanted.items() if _plain(now.get(name, "")) != _plain(sql)}


def left_behind(hook: "DremioHook", marts: Sequence[str]) -> list[str]:
    """Views of the space over a slot's table that are not among `marts`: they go on showing an older batch."""
    space = hook.find_entity([SPACE]) or {}
    names = {str(child["path"][-1]) for child in space.get("children") or []} - set(marts)
    entities = {name: hook.find_entity([SPACE, name]) or {} for name in sorted(names)}
    slots = _plain(f"{LAKE}.slot_")
    return [name for name, entity in entities.items() if slots in _plain(str(entity.get("sql") or ""))]


def switch(hook: "DremioHook", name: str, sql: str) -> None:
    """Make one view of the space show `sql`; atomic for its readers, safe to repeat."""
    hook.run_job(f'CREATE OR REPLACE VIEW {SPACE}."{name}" AS {sql}', idempotent=True)


def drop(hook: "DremioHook", name: str) -> None:
    """Remove one view of the space, if it is there."""
    hook.run_job(f'DROP VIEW IF EXISTS {SPACE}."{name}"', idempotent=True)


def _select(schema: str, mart: str, columns: Sequence[str]) -> str:
    public = [column for column in columns if not column.startswith("_")]
    if not public:
        raise DremioError(f"{schema}.{mart} has no public column (all begin with '_'): nothing to show")
    path = ".".join(f'"{part}"' for part in [*schema.split("."), mart])
    return f"SELECT {', '.join(_quote(column) for column in public)} FROM {path}"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(sql: str) -> str:
    return re.sub(r'[\s"]+', "", sql).lower()
