"""Connections and streams in the public API, and our own settings of a connection."""

from typing import Any
from uuid import UUID

from embedded.airbyte.api import shapes
from embedded.airbyte.api.calls import Call, bad_request, not_found, page
from embedded.airbyte.catalog import SCHEMA_CHANGES, DiscoveredStream, InvalidCatalog, configure
from embedded.airbyte.connections import checked_lakehouse, streams_of
from embedded.airbyte.database import Row
from embedded.airbyte.service import Service


class PublicConnections:
    """The endpoints; each takes a Call and gives the answer's JSON."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connections = service.connections

    def list_streams(self, call: Call) -> Any:
        source_id = call.first("sourceId")
        if source_id is None:
            raise bad_request("The request lacks sourceId.")
        return [shapes.stream_properties(stream) for stream in self._discover(self._actor("source", source_id))]

    def list(self, call: Call) -> Any:
        limit, offset = call.number("limit", 20, 1, 100), call.number("offset", 0, 0, 2**31)
        rows = self._connections.list(call.ids("workspaceIds"), limit, offset)
        return page(call, [shapes.connection(row) for row in rows], limit, offset)

    def get(self, call: Call) -> Any:
        return shapes.connection(self._connection(call))

    def create(self, call: Call) -> Any:
        """Add a connection; its streams are checked against what the source offers now."""
        source = self._actor("source", call.required("sourceId"))
        target = self._actor("destination", call.required("destinationId"))
        fields = {
            "name": f"{source['name']} → {target['name']}",
            "status": "active",
            "schedule": {"scheduleType": "manual"},
            "namespace_definition": "destination",
            "namespace_format": None,
            "prefix": "",
            "schema_changes": "ignore",
            "tags": [],
            "streams": self._streams(call.body.get("configurations"), source),
        } | self._given(call.body)
        row = self._connections.add(source["workspace_id"], source["actor_id"], target["actor_id"], fields)
        return shapes.connection(row)

    def patch(self, call: Call) -> Any:
        """Change what is given; streams are checked against what the source offers now."""
        row = self._connection(call)
        fields = self._given(call.body)
        if "configurations" in call.body:
            source = self._actor("source", row["source_id"])
            fields["streams"] = self._streams(call.body["configurations"], source)
        changed = self._connections.update(row["connection_id"], fields)
        assert changed is not None  # it was there a moment ago, and rows are never removed
        return shapes.connection(changed)

    def delete(self, call: Call) -> None:
        self._connections.update(self._connection(call)["connection_id"], {"status": "deprecated"})

    def get_lakehouse(self, call: Call) -> Any:
        """Our own settings of a connection, for which Airbyte's API has no field."""
        return self._connection(call)["lakehouse"]

    def put_lakehouse(self, call: Call) -> Any:
        """Replace our own settings of a connection."""
        row = self._connection(call)
        try:
            settings = checked_lakehouse(call.body, [stream.name for stream in streams_of(row)])
        except ValueError as error:
            raise bad_request(str(error)) from error
        self._connections.update(row["connection_id"], {"lakehouse": settings})
        return settings

    def _given(self, body: dict[str, Any]) -> dict[str, Any]:
        """The plain fields of a request, checked."""
        fields: dict[str, Any] = {}
        if body.get("name"):
            fields["name"] = str(body["name"])
        if body.get("status") is not None:
            fields["status"] = _choice("status", body["status"], ("active", "inactive"))
        if body.get("schedule") is not None:
            fields["schedule"] = _schedule(body["schedule"])
        if body.get("namespaceDefinition") is not None:
            choices = ("source", "destination", "custom_format")
            fields["namespace_definition"] = _choice("namespaceDefinition", body["namespaceDefinition"], choices)
        if "namespaceFormat" in body:
            fields["namespace_format"] = body["namespaceFormat"]
        if body.get("prefix") is not None:
            fields["prefix"] = str(body["prefix"])
        if body.get("nonBreakingSchemaUpdatesBehavior") is not None:
            name = "nonBreakingSchemaUpdatesBehavior"
            fields["schema_changes"] = _choice(name, body[name], SCHEMA_CHANGES)
        if body.get("tags") is not None:
            fields["tags"] = body["tags"]
        return fields

    def _streams(self, configurations: Any, source: Row) -> Any:
        requested = (configurations or {}).get("streams")
        try:
            return [stream.as_json() for stream in configure(requested, self._discover(source))]
        except InvalidCatalog as error:
            raise bad_request(str(error)) from error

    def _discover(self, source: Row) -> Any:
        definition = self._service.actors.definition(source["definition_id"])
        manifest = definition["manifest"] if definition else None
        streams: list[DiscoveredStream] = self._service.supervisor.discover(
            source["type"], source["configuration"], manifest
        )
        return streams

    def _actor(self, kind: str, actor_id: str | UUID) -> Row:
        try:
            row = self._service.actors.get(kind, UUID(str(actor_id)))
        except ValueError:
            raise bad_request(f"{kind}Id is {actor_id!r}: expected a UUID.") from None
        if row is None:
            raise not_found(kind, actor_id)
        return row

    def _connection(self, call: Call) -> Row:
        connection_id = call.path_id("connectionId")
        row = self._connections.get(connection_id)
        if row is None:
            raise not_found("connection", connection_id)
        return row


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise bad_request(f"{name} is {value!r}: expected one of {', '.join(choices)}.")
    return str(value)


def _schedule(schedule: Any) -> dict[str, Any]:
    if not isinstance(schedule, dict) or schedule.get("scheduleType") != "manual":
        raise bad_request(
            "The embedded Airbyte runs connections only when it is asked to (scheduleType manual): "
            "let Airflow trigger them on its schedule."
        )
    return {"scheduleType": "manual"}
