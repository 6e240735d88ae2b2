"""Makes an Airbyte hold what is declared. Every step compares first, so that applying again changes nothing."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from lakehouse.airbyte.client import AirbyteClient
from lakehouse.airbyte.declared import Configured, Connection, Declarations, Source
from lakehouse.airbyte.exceptions import AirbyteError, AirbyteHttpError

GetConnection = Callable[[str], Any]
_PLANNED = "(planned)"  # id of what a dry run would have created


def apply(airbyte: AirbyteClient, declared: Declarations, get_connection: GetConnection) -> list[str]:
    """Create what is missing and change what differs; return one line for each change.

    :param get_connection: Airflow connection id -> connection, for what must not stand in a file.
    :raises AirbyteHttpError: Airbyte refuses something.
    :raises AirbyteError: an Airflow connection lacks a field, or a change needs a person.
    """
    return _Apply(airbyte, declared, get_connection).run()


def plan(airbyte: AirbyteClient, declared: Declarations, get_connection: GetConnection) -> list[str]:
    """Return what `apply` would say, changing nothing: the same steps over a client that keeps writes to itself.

    What depends on a thing that is missing is missing too. Secrets read back masked, so a changed one does not show.

    :raises AirbyteError: as `apply`.
    """
    return _Apply(_DryRun(airbyte), declared, get_connection).run()


def apply_source(
    airbyte: AirbyteClient, declared: Declarations, name: str, source: Source, get_connection: GetConnection
) -> tuple[str, bool]:
    """Create one source, or correct the one of that name; return its id and whether it was created.

    :raises AirbyteError: as `apply`.
    """
    applied = _Apply(airbyte, declared, get_connection)
    source_id, changes = applied.source(name, source)
    return source_id, f"source {name}: created" in changes


class _DryRun:
    """An Airbyte that reads from the real one, and answers writes with an id that nothing has."""

    def __init__(self, airbyte: AirbyteClient) -> None:
        self._airbyte = airbyte

    def all(self, path: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        below_nothing = _PLANNED in path or _PLANNED in (params or {}).values()
        return [] if below_nothing else self._airbyte.all(path, params)

    def call(self, method: str, path: str, *, json: Any = None) -> Any:
        if method == "GET" and _PLANNED in path:
            raise AirbyteHttpError(method, path, 404, "resource-not-found", "not created yet")
        if method == "GET":
            return self._airbyte.call(method, path)
        ids = ("id", "workspaceId", "sourceId", "destinationId", "connectionId")
        return {key: _PLANNED for key in ids}


class _Apply:
    def __init__(
        self, airbyte: "AirbyteClient | _DryRun", declared: Declarations, get_connection: GetConnection
    ) -> None:
        self._airbyte, self._declared, self._get_connection = airbyte, declared, get_connection
        self._changes: list[str] = []

    def run(self) -> list[str]:
        workspace = self._workspace(self._declared.airbyte.workspace)
        destinations = {
            item.name: self._actor("destination", item.name, workspace, item, {"destinationType": item.type}, None)
            for item in self._declared.airbyte.destinations
        }
        for connection in self._declared.connections:
            source = self._source(connection.name, connection.source, workspace)
            connection_id = self._connection(connection, workspace, source, destinations[connection.destination])
            self._settings(connection, connection_id)
        return self._changes

    def source(self, name: str, source: Source) -> tuple[str, list[str]]:
        """One source alone; its id and what was changed."""
        source_id = self._source(name, source, self._workspace(self._declared.airbyte.workspace))
        return source_id, self._changes

    def _workspace(self, name: str) -> str:
        found = _named(self._airbyte.all("/workspaces"), name)
        if found is None:
            found = self._airbyte.call("POST", "/workspaces", json={"name": name})
            self._changes.append(f"workspace {name}: created")
        return str(found["workspaceId"])

    def _source(self, name: str, source: Source, workspace: str) -> str:
        if source.manifest is None:
            return self._actor("source", name, workspace, source, {"sourceType": source.type}, None)
        definition = self._definition(name, self._declared.manifests[source.manifest], workspace)
        return self._actor("source", name, workspace, source, {}, definition)

    def _definition(self, name: str, manifest: Mapping[str, Any], workspace: str) -> str:
        path = f"/workspaces/{workspace}/definitions/declarative_sources"
        found = _named(self._airbyte.all(path), name)
        if found is None:
            found = self._airbyte.call("POST", path, json={"name": name, "manifest": manifest})
            self._changes.append(f"connector {name}: created")
        elif found.get("manifest") != manifest:
            self._airbyte.call("PUT", f"{path}/{found['id']}", json={"manifest": manifest})
            self._changes.append(f"connector {name}: new manifest")
        return str(found["id"])

    def _actor(
        self,
        kind: str,
        name: str,
        workspace: str,
        item: Configured,
        type_key: Mapping[str, str],
        definition: str | None,
    ) -> str:
        """A source or destination. Returns its id."""
        configuration = _configuration(item, self._get_connection) | dict(type_key)
        found = _named(self._airbyte.all(f"/{kind}s", {"workspaceIds": workspace}), name)
        if found is None:
            body = {"name": name, "workspaceId": workspace, "configuration": configuration}
            if definition is not None:
                body["definitionId"] = definition
            found = self._airbyte.call("POST", f"/{kind}s", json=body)
            self._changes.append(f"{kind} {name}: created")
            return str(found[f"{kind}Id"])
        differs, hidden = _differences(configuration, found.get("configuration") or {})
        if differs or hidden:
            # secrets come back masked, so that whether they changed cannot be seen: they are sent again
            body = {"name": name, "configuration": configuration}
            self._airbyte.call("PUT", f"/{kind}s/{found[f'{kind}Id']}", json=body)
        if differs:
            self._changes.append(f"{kind} {name}: {', '.join(differs)} changed")
        return str(found[f"{kind}Id"])

    def _connection(self, item: Connection, workspace: str, source: str, destination: str) -> str:
        found = _named(self._airbyte.all("/connections", {"workspaceIds": workspace}), item.name)
        fields = _connection_fields(item)
        if found is None:
            body = {**fields, "sourceId": source, "destinationId": destination}
            found = self._airbyte.call("POST", "/connections", json=body)
            self._changes.append(f"connection {item.name}: created")
            return str(found["connectionId"])
        if (found["sourceId"], found["destinationId"]) != (source, destination):
            raise AirbyteError(
                f"connection {item.name} joins another source or destination than declared, which Airbyte "
                "cannot change: delete the connection in Airbyte and apply again. Its first sync reads everything."
            )
        changed = {key: value for key, value in fields.items() if _comparable(key, found.get(key)) != value}
        if changed:
            self._airbyte.call("PATCH", f"/connections/{found['connectionId']}", json=changed)
            self._changes.append(f"connection {item.name}: {', '.join(changed)} changed")
        return str(found["connectionId"])

    def _settings(self, item: Connection, connection_id: str) -> None:
        """What only the embedded Airbyte has; any other answers 404 and does without."""
        settings = item.lakehouse.settings()
        path = f"/connections/{connection_id}/lakehouse"
        try:
            present = self._airbyte.call("GET", path)
        except AirbyteHttpError as error:
            if error.status == 404:
                return
            raise
        if (present or {}) != settings:
            self._airbyte.call("PUT", path, json=settings)
            self._changes.append(f"connection {item.name}: settings changed")


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((entry for entry in entries if entry.get("name") == name), None)


def _configuration(item: Configured, get_connection: GetConnection) -> dict[str, Any]:
    """The configuration with what the Airflow connection supplies; its empty fields are left out."""
    configuration = deepcopy(item.configuration)
    if item.connection is None:
        return configuration
    conn = get_connection(item.connection)
    for path, name in item.from_connection.items():
        value = _of_extra(conn, name.split(".")[1:]) if name.startswith("extra.") else getattr(conn, name)
        if value in (None, ""):
            continue
        *above, key = path.split(".")
        place = configuration
        for part in above:
            place = place.setdefault(part, {})
        place[key] = value
    return configuration


def _of_extra(conn: Any, path: list[str]) -> Any:
    """What stands at a path in a connection's extra, None where there is nothing."""
    found: Any = conn.extra_dejson
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _differences(wanted: Any, present: Any, path: str = "") -> tuple[list[str], bool]:
    """Return the paths at which `present` differs from what is wanted, and whether some of it is masked.

    Keys that `present` has beyond that are defaults of the connector.
    """
    if isinstance(present, str) and present and not present.strip("*"):
        return [], True
    if isinstance(wanted, dict) and isinstance(present, dict):
        found = [_differences(value, present.get(key), f"{path}.{key}".lstrip(".")) for key, value in wanted.items()]
        return [name for names, _ in found for name in names], any(hidden for _, hidden in found)
    return ([], False) if wanted == present else ([path], False)


def _connection_fields(item: Connection) -> dict[str, Any]:
    return {
        "name": item.name,
        "status": "active",
        "schedule": {"scheduleType": "manual"},  # whatever is declared: the DAGs start it
        "namespaceDefinition": "custom_format",
        "namespaceFormat": item.namespace_format,
        "nonBreakingSchemaUpdatesBehavior": item.schema_changes,
        "configurations": {
            "streams": [
                {
                    "name": stream.name,
                    "syncMode": stream.sync_mode,
                    "cursorField": [stream.cursor_field] if stream.cursor_field else [],
                    "primaryKey": [[key] for key in stream.primary_key],
                }
                for stream in item.streams
            ]
        },
    }


def _comparable(key: str, value: Any) -> Any:
    """What Airbyte answers, without what it adds to what was sent."""
    if key == "schedule":
        return {name: value.get(name) for name in ("scheduleType", "cronExpression") if value.get(name)}
    if key == "configurations":
        names = ("name", "syncMode", "cursorField", "primaryKey")
        return {
            "streams": [
                {name: stream.get(name) or ([] if name in names[2:] else None) for name in names}
                for stream in value.get("streams") or []
            ]
        }
    return value
