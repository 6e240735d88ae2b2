"""Workspaces, sources, destinations and low-code source definitions in the public API."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from embedded.airbyte.actors import unmasked
from embedded.airbyte.api import shapes
from embedded.airbyte.api.calls import Call, Endpoint, as_uuid, not_found, page, unprocessable
from embedded.airbyte.database import Row
from embedded.airbyte.destinations import DESTINATION_TYPES, validate
from embedded.airbyte.service import Service
from embedded.airbyte.sources import SOURCE_TYPES


class PublicActors:
    """The endpoints; each takes a Call and gives the answer's JSON."""

    def __init__(self, service: Service) -> None:
        self._actors = service.actors

    def list_workspaces(self, call: Call) -> Any:
        limit, offset = call.number("limit", 20, 1, 100), call.number("offset", 0, 0, 2**31)
        wanted = call.ids("workspaceIds")
        rows = self._actors.workspaces(limit, offset)
        found = [shapes.workspace(row) for row in rows if wanted is None or row["workspace_id"] in wanted]
        return page(call, found, limit, offset)

    def create_workspace(self, call: Call) -> Any:
        return shapes.workspace(self._actors.add_workspace(str(call.required("name"))))

    def get_workspace(self, call: Call) -> Any:
        return shapes.workspace(self._workspace(call.path_id("workspaceId")))

    def rename_workspace(self, call: Call) -> Any:
        workspace_id = call.path_id("workspaceId")
        row = self._actors.rename_workspace(workspace_id, str(call.required("name")))
        if row is None:
            raise not_found("workspace", workspace_id)
        return shapes.workspace(row)

    def list_definitions(self, call: Call) -> Any:
        limit, offset = call.number("limit", 20, 1, 100), call.number("offset", 0, 0, 2**31)
        rows = self._actors.definitions(call.path_id("workspaceId"), limit, offset)
        return page(call, [shapes.definition(row) for row in rows], limit, offset)

    def create_definition(self, call: Call) -> Any:
        workspace = self._workspace(call.path_id("workspaceId"))
        name = str(call.required("name"))
        return shapes.definition(self._actors.add_definition(workspace["workspace_id"], name, _manifest(call)))

    def get_definition(self, call: Call) -> Any:
        definition_id = call.path_id("definitionId")
        return shapes.definition(self._found_definition(self._actors.definition(definition_id), definition_id))

    def put_definition(self, call: Call) -> Any:
        definition_id = call.path_id("definitionId")
        row = self._actors.replace_manifest(definition_id, _manifest(call))
        return shapes.definition(self._found_definition(row, definition_id))

    def delete_definition(self, call: Call) -> Any:
        definition_id = call.path_id("definitionId")
        row = self._actors.delete_definition(definition_id)
        return shapes.definition(self._found_definition(row, definition_id))

    def of_kind(self, kind: str, endpoint: Callable[[Call, str], Any]) -> Endpoint:
        """An endpoint below for `source` or `destination`."""
        return lambda call: endpoint(call, kind)

    def list(self, call: Call, kind: str) -> Any:
        limit, offset = call.number("limit", 20, 1, 100), call.number("offset", 0, 0, 2**31)
        rows = self._actors.list(kind, call.ids("workspaceIds"), limit, offset)
        return page(call, [self._shape(row) for row in rows], limit, offset)

    def create(self, call: Call, kind: str) -> Any:
        workspace = self._workspace(call.required_id("workspaceId"))
        name, configuration = str(call.required("name")), _configuration(call.required("configuration"))
        type_, definition_id, manifest = self._type_of(call, kind, configuration)
        configuration.pop(f"{kind}Type", None)
        self._validate(kind, type_, configuration, manifest)
        row = self._actors.add(kind, workspace["workspace_id"], definition_id, type_, name, configuration)
        return self._shape(row)

    def get(self, call: Call, kind: str) -> Any:
        return self._shape(self._actor(call, kind))

    def put(self, call: Call, kind: str) -> Any:
        """Replace name and configuration; a masked secret keeps its stored value."""
        return self._change(call, kind, str(call.required("name")), call.required("configuration"), merge=False)

    def patch(self, call: Call, kind: str) -> Any:
        """Change name or some keys of the configuration; a masked secret keeps its stored value."""
        return self._change(call, kind, call.body.get("name"), call.body.get("configuration") or {}, merge=True)

    def delete(self, call: Call, kind: str) -> None:
        self._actors.delete(self._actor(call, kind)["actor_id"])

    def _change(self, call: Call, kind: str, name: str | None, given: Any, *, merge: bool) -> Any:
        row = self._actor(call, kind)
        given = unmasked(_configuration(given), row["configuration"])
        given.pop(f"{kind}Type", None)
        configuration = {**row["configuration"], **given} if merge else given
        self._validate(kind, row["type"], configuration, self._manifest_of(row))
        return self._shape(self._actors.update(row["actor_id"], name or row["name"], configuration))

    def _type_of(self, call: Call, kind: str, configuration: dict[str, Any]) -> tuple[str, UUID, dict[str, Any] | None]:
        """Type, definition id and manifest, from `definitionId` or from the type that the configuration names."""
        given_id = call.body.get("definitionId")
        given_type = configuration.get(f"{kind}Type")
        known = (
            {source.type: source.definition_id for source in SOURCE_TYPES.values() if source.type != "declarative"}
            if kind == "source"
            else {kind.type: kind.definition_id for kind in DESTINATION_TYPES.values()}
        )
        if given_id is None and given_type in known:
            return given_type, UUID(known[given_type]), None
        if given_id is not None:
            definition_id = as_uuid(given_id, "definitionId")
            for type_, known_id in known.items():
                if definition_id == UUID(known_id):
                    return type_, definition_id, None
            custom = self._actors.definition(definition_id) if kind == "source" else None
            if custom is not None:
                return "declarative", definition_id, custom["manifest"]
        wanted = given_type or given_id or "none"
        raise unprocessable(
            f"The embedded Airbyte has no {kind} of type {wanted}; it has: {', '.join(known)}"
            + (", and low-code definitions (definitionId)." if kind == "source" else ".")
            + " Connect to a real Airbyte for other types."
        )

    def _validate(self, kind: str, type_: str, configuration: dict[str, Any], manifest: dict[str, Any] | None) -> None:
        if kind == "destination":
            try:
                validate(type_, configuration)
            except ValueError as error:
                raise unprocessable(str(error)) from error
            return
        required = SOURCE_TYPES[type_].required
        if type_ == "declarative":
            spec = ((manifest or {}).get("spec") or {}).get("connection_specification") or {}
            required = tuple(spec.get("required") or ())
        missing = [key for key in required if configuration.get(key) in (None, "")]
        if missing:
            raise unprocessable(f"The configuration of a {type_} source lacks: {', '.join(missing)}.")

    def _shape(self, row: Row) -> dict[str, Any]:
        return shapes.actor(row, self._manifest_of(row))

    def _manifest_of(self, row: Row) -> dict[str, Any] | None:
        if row["type"] != "declarative":
            return None
        definition = self._actors.definition(row["definition_id"])
        return definition["manifest"] if definition else None

    def _actor(self, call: Call, kind: str) -> Row:
        actor_id = call.path_id(f"{kind}Id")
        row = self._actors.get(kind, actor_id)
        if row is None:
            raise not_found(kind, actor_id)
        return row

    def _workspace(self, workspace_id: UUID) -> Row:
        row = self._actors.workspace(workspace_id)
        if row is None:
            raise not_found("workspace", workspace_id)
        return row

    def _found_definition(self, row: Row | None, definition_id: UUID) -> Row:
        if row is None:
            raise not_found("declarativeSourceDefinition", definition_id)
        return row


def _configuration(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise unprocessable("The configuration is not an object.")
    return dict(value)


def _manifest(call: Call) -> dict[str, Any]:
    manifest = call.required("manifest")
    if not isinstance(manifest, dict) or manifest.get("type") != "DeclarativeSource":
        raise unprocessable("The manifest is not a low-code manifest (an object of type DeclarativeSource).")
    return manifest
