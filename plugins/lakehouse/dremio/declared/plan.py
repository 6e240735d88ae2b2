"""Compare the declared catalog with the server's, and make them equal. Used by the operator and by people.

`plan` reads only; `apply` carries out what `plan` found. Nothing is removed, but members and privileges of a role that
says so (`exclusive`). Applying twice changes nothing
the second time, and two runs at once end in the declared state.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lakehouse.dremio.connection import AirflowConnection
from lakehouse.dremio.declared.catalog import Catalog, Folder, Source, Space, View
from lakehouse.dremio.declared.roles import RoleChange, apply_role_change, plan_roles
from lakehouse.dremio.declared.source_config import METADATA_POLICY, SECRET_KEYS, source_config
from lakehouse.dremio.declared.users import UserChange, apply_user_change, plan_users
from lakehouse.dremio.exceptions import DremioConflict, DremioError, DremioJobError
from lakehouse.dremio.hook import DremioHook, quoted

Part = Literal["sources", "spaces", "folders", "views", "users", "roles"]
PARTS: tuple[Part, ...] = ("sources", "spaces", "folders", "views", "users", "roles")
Connections = Callable[[str], AirflowConnection]


@dataclass(frozen=True)
class Change:
    """One thing that differs from its declaration.

    :param differences: `key: there -> declared`, never with a secret in it.
    :param entity: what the server has now; None where it has nothing.
    """

    action: Literal["create", "update"]
    declared: Source | Space | Folder | View
    differences: tuple[str, ...] = ()
    entity: Mapping[str, Any] | None = None

    @property
    def path(self) -> str:
        """Dotted name of the object."""
        return self.declared.path if isinstance(self.declared, Folder | View) else self.declared.name

    def __str__(self) -> str:
        kind = type(self.declared).__name__.lower()
        details = f": {'; '.join(self.differences)}" if self.differences else ""
        return f"{self.action} {kind} {self.path}{details}"


def plan(
    hook: DremioHook, catalog: Catalog, connections: Connections, parts: Iterable[Part] = PARTS
) -> list[Change | UserChange | RoleChange]:
    """What would have to change. Empty when the server is as declared.

    :param connections: returns the Airflow connection of an id.
    """
    wanted = set(parts)
    changes: list[Change | None] = []
    if "sources" in wanted:
        changes += [_plan_source(hook, source, connections) for source in catalog.sources]
    if "spaces" in wanted:
        changes += [_plan_container(hook, space) for space in catalog.spaces]
    if "folders" in wanted:
        changes += [_plan_container(hook, folder) for folder in catalog.folders]
    if "views" in wanted:
        changes += [_plan_view(hook, view) for view in catalog.views]
    found: list[Change | UserChange | RoleChange] = [change for change in changes if change is not None]
    found += plan_users(hook, catalog.users, connections) if "users" in wanted else []
    return found + (plan_roles(hook, catalog.roles) if "roles" in wanted else [])


def apply(hook: DremioHook, change: Change | UserChange | RoleChange, connections: Connections) -> None:
    """Carry out one change.

    :raises DremioError: with the object's name and what the server answered.
    """
    if isinstance(change, UserChange):
        apply_user_change(hook, change, connections)
        return
    if isinstance(change, RoleChange):
        apply_role_change(hook, change)
        return
    declared = change.declared
    if isinstance(declared, Source):
        _apply_source(hook, change, declared, connections)
    elif isinstance(declared, Space):
        if change.entity is None:
            _create(hook, {"entityType": "space", "name": declared.name})
    elif isinstance(declared, Folder):
        if change.entity is None:
            _create(hook, {"entityType": "folder", "path": declared.path.split(".")})
    else:
        path = quoted(declared.path.split("."))
        hook.run_job(f"CREATE OR REPLACE VIEW {path} AS {declared.sql.strip()}", idempotent=True)
    if declared.description is not None:
        _describe(hook, change.path.split("."), declared.description)
    if isinstance(declared, View) and declared.tags is not None:
        _tag(hook, declared.path.split("."), declared.tags)


def _plan_source(hook: DremioHook, source: Source, connections: Connections) -> Change | None:
    config = source_config(source, connections(source.connection))
    entity = hook.find_entity([source.name])
    if entity is None:
        return Change("create", source)
    if entity.get("entityType") != "source" or entity.get("type") != source.type:
        found = f"{entity.get('entityType')} of type {entity.get('type')}"
        raise DremioError(
            f"Dremio has a {found} named {source.name}, where a source of type {source.type} is declared. "
            "Rename one of them: a source's type cannot be changed."
        )
    differences = _config_differences(entity.get("config") or {}, config)
    state = entity.get("state") or {}
    if state.get("status") == "bad":
        # Secrets read back masked, so a changed password shows only here.
        differences.append(f"state: bad ({state.get('suggestedUserAction') or 'no reason given'}) -> good")
    differences += _wiki_difference(hook, entity, source.description)
    return Change("update", source, tuple(differences), entity) if differences else None


def _config_differences(there: Mapping[str, Any], declared: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: {there.get(key)!r} -> {value!r}"
        for key, value in declared.items()
        if key not in SECRET_KEYS and _comparable(there.get(key)) != _comparable(value)
    ]


def _comparable(value: Any) -> Any:
    """Property lists come back in any order, with more keys than were sent; absent is false or empty."""
    if isinstance(value, list):
        pairs = [(item.get("name"), item.get("value")) if isinstance(item, dict) else item for item in value]
        return sorted(pairs, key=str)
    return value or None


def _plan_container(hook: DremioHook, declared: Space | Folder) -> Change | None:
    """Of a space or folder: it is there, and described."""
    kind = type(declared).__name__.lower()
    path = declared.path if isinstance(declared, Folder) else declared.name
    entity = hook.find_entity(path.split(".") if isinstance(declared, Folder) else [path])
    if entity is None:
        return Change("create", declared)
    if entity.get("entityType") != kind:
        raise DremioError(f"Dremio has a {entity.get('entityType')} at {path}, where a {kind} is declared")
    differences = _wiki_difference(hook, entity, declared.description)
    return Change("update", declared, tuple(differences), entity) if differences else None


def _plan_view(hook: DremioHook, view: View) -> Change | None:
    entity = hook.find_entity(view.path.split("."))
    if entity is None:
        return Change("create", view)
    if entity.get("type") != "VIRTUAL_DATASET":
        raise DremioError(f"Dremio has a {entity.get('type')} at {view.path}, where a view is declared")
    differences = []
    if _normal(str(entity.get("sql") or "")) != _normal(view.sql):
        differences.append("sql differs")
    else:
        differences += _stale_columns(hook, view, entity)
    differences += _wiki_difference(hook, entity, view.description)
    if view.tags is not None:
        there = hook.get_tags(str(entity["id"])).get("tags") or []
        if sorted(there) != sorted(view.tags):
            differences.append(f"tags: {sorted(there)} -> {sorted(view.tags)}")
    return Change("update", view, tuple(differences), entity) if differences else None


def _stale_columns(hook: DremioHook, view: View, entity: Mapping[str, Any]) -> list[str]:
    """A view keeps the columns it was made with: `SELECT *` over a table that grew has to be remade."""
    kept = {str(column["name"]) for column in entity.get("fields") or []}
    try:
        job = hook.run_job(f"SELECT * FROM ({view.sql.strip()}) AS now_there LIMIT 0", idempotent=True)
    except DremioJobError as error:
        return [f"no longer answers ({error.message.splitlines()[0]})"]
    schema = hook.get_results(job.job_id, limit=1).get("schema") or []
    now = {str(column["name"]) for column in schema}
    return [f"columns: {sorted(kept - now)} -> {sorted(now - kept)}"] if kept != now else []


def _apply_source(hook: DremioHook, change: Change, source: Source, connections: Connections) -> None:
    config = source_config(source, connections(source.connection))
    wanted = {"entityType": "source", "name": source.name, "type": source.type, "config": config}
    if change.entity is None:
        _create(hook, wanted | {"metadataPolicy": METADATA_POLICY})
        return
    there = dict(change.entity)
    merged = there | wanted | {"config": dict(there.get("config") or {}) | config}
    hook.update_entity(str(there["id"]), {key: merged[key] for key in merged if key != "children"})


def _create(hook: DremioHook, entity: Mapping[str, Any]) -> None:
    """Create an entity; one that came into being since the plan was made is fine."""
    try:
        hook.create_entity(entity)
    except DremioConflict:
        if hook.find_entity(entity.get("path") or [str(entity["name"])]) is None:
            raise


def _wiki_difference(hook: DremioHook, entity: Mapping[str, Any], description: str | None) -> list[str]:
    if description is None or hook.get_wiki(str(entity["id"])).get("text", "") == description:
        return []
    return ["description differs"]


def _describe(hook: DremioHook, path: list[str], description: str) -> None:
    entity = hook.find_entity(path)
    if entity is None:
        raise DremioError(f"{'.'.join(path)} was applied and is not in Dremio's catalog")
    wiki = hook.get_wiki(str(entity["id"]))
    if wiki.get("text", "") != description:
        hook.set_wiki(str(entity["id"]), description, wiki.get("version"))


def _tag(hook: DremioHook, path: list[str], tags: list[str]) -> None:
    entity = hook.find_entity(path)
    if entity is None:
        raise DremioError(f"{'.'.join(path)} was applied and is not in Dremio's catalog")
    there = hook.get_tags(str(entity["id"]))
    if sorted(there.get("tags") or []) != sorted(tags):
        hook.set_tags(str(entity["id"]), tags, there.get("version"))


def _normal(sql: str) -> str:
    return " ".join(sql.split()).rstrip("; ")
