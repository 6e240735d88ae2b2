"""Operations on the catalog; see the package's docstring."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from embedded.dremio.catalog import databases, elastic, storage
from embedded.dremio.catalog.entities import SECRET_KEYS, SECRET_PLACEHOLDER, Entity, Kind, key_of, unpromoted_id
from embedded.dremio.catalog.store import Store
from embedded.dremio.errors import (
    ConcurrentModification,
    InvalidRequest,
    NotFound,
    UnsupportedOperation,
)
from embedded.dremio.types import Column

FILE_SOURCES = ("S3", "NAS")
TABLE_SOURCES = {"POSTGRES": databases, "ELASTIC": elastic}  # whose tables lie on a server: how they are listed
SOURCE_TYPES = (*FILE_SOURCES, *TABLE_SOURCES)
RESERVED = ("sys", "information_schema")
FORMATS = ("Parquet", "JSON", "Text")


class Catalog:
    """Thread-safe; every change raises `version`, by which translated SQL is cached.

    The engine sets the three hooks: `describe_files` and `describe_table` read the columns of files and of a
    database's table, `source_changed` (re)attaches or detaches a source.
    """

    def __init__(self, dsn: str) -> None:
        self._store = Store(dsn)
        self._lock = threading.RLock()
        self._by_id: dict[str, Entity] = {}
        self._by_key: dict[tuple[str, ...], Entity] = {}
        self._children: dict[tuple[str, ...], dict[tuple[str, ...], Entity]] = {}
        self.version = 0
        self.describe_files: Callable[[Entity], list[Column]] | None = None
        self.describe_table: Callable[[Entity], list[Column]] | None = None
        self.source_changed: Callable[[Entity, bool], None] | None = None
        for entity in self._store.load():
            self._index(entity)

    # -- lookups ---------------------------------------------------------------------------------------------

    def find(self, path: Iterable[str]) -> Entity | None:
        """The stored entity with this path (any case), or None; looks at no source."""
        return self._by_key.get(key_of(tuple(path)))

    def get_by_id(self, entity_id: str) -> Entity:
        """The entity with this id (``dremio:/...`` ids of unpromoted files too); raises NotFound."""
        entity = self._by_id.get(entity_id)
        if entity is not None:
            return entity
        if entity_id.startswith("dremio:/"):
            return self.get_by_path([unquote(part) for part in entity_id[len("dremio:/") :].split("/")])
        raise NotFound(f"Could not find entity with id [{entity_id}]")

    def get_by_path(self, path: Iterable[str]) -> Entity:
        """The entity with this path; raises NotFound.

        Below a file source, folders and files that are no stored entity are found by listing the source and have
        an id ``dremio:/...``; tables of a database source are registered the first time that they are asked for.
        """
        parts = tuple(path)
        entity = self.find(parts) or self._find_in_source(parts)
        if entity is None:
            raise NotFound(f"Could not find entity with path [[{', '.join(parts)}]]")
        return entity

    def children(self, container: Entity) -> list[Entity]:
        """What lies directly below a container, by name: stored entities, and for file sources the rest."""
        stored = dict(self._children.get(container.key, {}))
        source = self.source_of(container.path)
        if source is not None and source.body.get("type") in FILE_SOURCES:
            folders, files = storage.list_names(source, storage.address_of(source, container.path))
            for kind, names in ((Kind.FOLDER, folders), (Kind.FILE, files)):
                for name in names:
                    path = (*container.path, name)
                    stored.setdefault(key_of(path), Entity(kind, path, id=unpromoted_id(path)))
        elif source is not None:
            self._register_tables(source)
            stored = dict(self._children.get(container.key, {}))
        return sorted(stored.values(), key=lambda entity: entity.key)

    def roots(self) -> list[Entity]:
        """Homes, spaces and sources."""
        return sorted((e for e in self._by_id.values() if len(e.path) == 1), key=lambda entity: entity.key)

    def entities(self) -> list[Entity]:
        """All stored entities, in order of path."""
        with self._lock:
            return sorted(self._by_id.values(), key=lambda entity: entity.key)

    def source_of(self, path: tuple[str, ...]) -> Entity | None:
        """The source that a path lies in, or None for spaces and homes."""
        root = self.find(path[:1])
        return root if root is not None and root.kind == Kind.SOURCE else None

    # -- changes ---------------------------------------------------------------------------------------------

    def ensure_home(self, user: str) -> Entity:
        """The user's home ``@user``, made when absent."""
        return self.find([f"@{user}"]) or self._add(Entity(Kind.HOME, (f"@{user}",)))

    def create_space(self, name: str) -> Entity:
        """A new space; raises ConcurrentModification if the name is taken."""
        self._check_root(name, "space")
        return self._add(Entity(Kind.SPACE, (name,)))

    def create_folder(self, path: Iterable[str]) -> Entity:
        """A folder in a space, a home or a folder of one; the parent must exist."""
        parts = tuple(path)
        if len(parts) < 2:
            raise InvalidRequest("A folder needs a space, a home or a folder to be in.")
        if self.source_of(parts) is not None:
            raise InvalidRequest("Can not create a folder inside a [SOURCE].")
        self._check_parent(parts)
        if self.find(parts) is not None:
            raise ConcurrentModification(f"An object already exists with that name: [{', '.join(parts)}]")
        return self._add(Entity(Kind.FOLDER, parts))

    def create_source(self, body: dict[str, Any]) -> Entity:
        """A source from REST's body ({"name", "type", "config", "metadataPolicy", ...}); it must answer."""
        name = body.get("name") or ""
        kind = body.get("type")
        self._check_root(name, "source")
        if kind not in SOURCE_TYPES:
            raise InvalidRequest(f"Unsupported source type [{kind}]; this server has {', '.join(SOURCE_TYPES)}.")
        entity = Entity(Kind.SOURCE, (name,), {k: v for k, v in body.items() if k in _SOURCE_KEYS})
        entity.body.setdefault("config", {})
        _check_source(entity)
        if self.source_changed is not None:
            self.source_changed(entity, True)
        entity = self._add(entity)
        if kind in TABLE_SOURCES:
            self._register_tables(entity)
        return entity

    def create_view(
        self,
        path: Iterable[str],
        sql: str,
        sql_context: Iterable[str] = (),
        columns: list[Column] | None = None,
        *,
        replace_existing: bool = False,
    ) -> Entity:
        """A view; with `replace_existing` a view of that path is changed and keeps its id.

        `columns` are those of its query (the engine's `prepare` gives them); raises ConcurrentModification when
        another object has the path.
        """
        parts = tuple(path)
        body = {"sql": sql, "sqlContext": list(sql_context)}
        with self._lock:
            existing = self.find(parts)
            if existing is not None and (existing.kind != Kind.VIEW or not replace_existing):
                raise ConcurrentModification(f"An object already exists with that name: [{', '.join(parts)}]")
            if existing is not None:
                return self.put(existing, body={**existing.body, **body}, columns=columns or [])
            if len(parts) < 2:
                raise InvalidRequest(f"Cannot create view [{'.'.join(parts)}]: name a space or a folder for it.")
            if self.source_of(parts) is not None:
                raise UnsupportedOperation(f"Cannot create view in [{'.'.join(parts[:-1])}]: it is a source.")
            self._check_parent(parts)
            return self._add(Entity(Kind.VIEW, parts, body, columns or []))

    def create_function(self, path: Iterable[str], body: dict[str, Any], *, replace_existing: bool) -> Entity:
        """A SQL function (``returnType``, ``functionBody``, ``functionArgList``, ``isScalar``)."""
        parts = tuple(path)
        existing = self.find(parts)
        if existing is not None and (existing.kind != Kind.FUNCTION or not replace_existing):
            raise ConcurrentModification(f"An object already exists with that name: [{', '.join(parts)}]")
        if existing is not None:
            return self.put(existing, body=body)
        self._check_parent(parts)
        return self._add(Entity(Kind.FUNCTION, parts, body))

    def add_table(
        self,
        path: Iterable[str],
        columns: list[Column],
        lake: tuple[str, str],
        more: dict[str, Any] | None = None,
    ) -> Entity:
        """Register a table of the lake (the engine made it); a table of that path keeps its id."""
        parts = tuple(path)
        internals = {**(more or {}), "lake": list(lake)}
        existing = self.find(parts)
        if existing is not None:
            return self.put(existing, columns=columns, internals=internals)
        return self._add(Entity(Kind.TABLE, parts, {"format": {"type": "Iceberg"}}, columns, internals))

    def promote(self, path: Iterable[str], file_format: dict[str, Any], policy: dict[str, Any] | None = None) -> Entity:
        """Make a folder or file of a file source a table; its files are listed now.

        `file_format` is REST's ({"type": "Parquet" | "JSON" | "Text", ...}). An already promoted path gets the new
        format and a new list of files and keeps its id. Raises NotFound, InvalidRequest, DataReadError.
        """
        parts = tuple(path)
        source = self.source_of(parts)
        if source is None or source.body.get("type") not in FILE_SOURCES or len(parts) < 2:
            raise InvalidRequest(f"Can only promote a folder or a file but found [{'.'.join(parts)}]")
        if (file_format or {}).get("type") not in FORMATS:
            raise InvalidRequest(
                f"Format [{(file_format or {}).get('type')}] is not supported; give one of {', '.join(FORMATS)}."
            )
        existing = self.find(parts)
        if existing is not None and "files" not in existing.internals:
            raise ConcurrentModification(f"An object already exists with that name: [{', '.join(parts)}]")
        body = {"format": file_format}
        if policy is not None:
            body["accelerationRefreshPolicy"] = policy
        entity = Entity(Kind.TABLE, parts, {**(existing.body if existing else {}), **body})
        self._read_files(source, entity)
        if existing is None:
            return self._add(entity)
        return self.put(existing, body=entity.body, columns=entity.columns, internals=entity.internals)

    def refresh_metadata(self, path: Iterable[str]) -> bool:
        """List a promoted table's files again, or read a database table's columns again; True if it changed.

        Tables of the lake are always current. Raises NotFound for what is no table.
        """
        entity = self.get_by_path(path)
        source = self.source_of(entity.path)
        if entity.kind != Kind.TABLE or source is None:
            raise NotFound(f"Unknown table [{entity.dotted}]")
        fresh = replace(entity, internals=dict(entity.internals))
        if "files" in entity.internals:
            self._read_files(source, fresh)
        elif "remote" in entity.internals and self.describe_table is not None:
            fresh.columns = self.describe_table(fresh)
        changed = fresh.columns != entity.columns or fresh.internals.get("files") != entity.internals.get("files")
        fresh.internals["refreshed_at"] = datetime.now(UTC).isoformat()
        self.put(entity, columns=fresh.columns, internals=fresh.internals, tag=changed)
        return changed

    def update(self, entity_id: str, body: dict[str, Any], tag: str | None) -> Entity:
        """Replace an entity's `body` keys as PUT /catalog/{id} does; `tag` must be the current one.

        Masked secrets of a source keep their value. Raises ConcurrentModification on another tag, NotFound.
        """
        entity = self.get_by_id(entity_id)
        self._check_tag(entity, tag)
        if entity.kind == Kind.SOURCE:
            config = dict(body.get("config") or {})
            for key in SECRET_KEYS & config.keys():
                if config[key] == SECRET_PLACEHOLDER:
                    config[key] = entity.body["config"].get(key)
            new = replace(entity, body={**{k: v for k, v in body.items() if k in _SOURCE_KEYS}, "config": config})
            new.body.setdefault("type", entity.body["type"])
            if config != entity.body["config"]:
                _check_source(new)
                if self.source_changed is not None:
                    self.source_changed(new, True)
            return self.put(entity, body=new.body)
        if entity.kind == Kind.TABLE and body.get("format", entity.body.get("format")) != entity.body.get("format"):
            return self.promote(entity.path, body["format"], body.get("accelerationRefreshPolicy"))
        return self.put(entity, body={**entity.body, **body})

    def delete(self, entity_id: str, tag: str | None = None) -> None:
        """Delete an entity and what lies below it (a promoted table is un-promoted; files are never touched)."""
        entity = self.get_by_id(entity_id)
        if not entity.is_promoted:
            raise InvalidRequest(f"[{entity.dotted}] is not an entity of the catalog; it cannot be deleted.")
        self._check_tag(entity, tag)
        if "lake" in entity.internals:
            raise UnsupportedOperation(f"Table [{entity.dotted}] is deleted by DROP TABLE.")
        if "remote" in entity.internals:
            raise InvalidRequest("A physical dataset can not be deleted.")
        self.remove(entity)

    def remove(self, entity: Entity) -> None:
        """Take an entity and everything below it out of the catalog."""
        with self._lock:
            gone = [e for e in self._by_id.values() if e.key[: len(entity.key)] == entity.key]
            self._store.delete([e.id for e in gone])
            for each in gone:
                self._by_id.pop(each.id, None)
                self._by_key.pop(each.key, None)
                self._children.get(each.key[:-1], {}).pop(each.key, None)
            self.version += 1
        if entity.kind == Kind.SOURCE and self.source_changed is not None:
            self.source_changed(entity, False)

    def put(
        self,
        entity: Entity,
        *,
        body: dict[str, Any] | None = None,
        columns: list[Column] | None = None,
        internals: dict[str, Any] | None = None,
        tag: bool = True,
    ) -> Entity:
        """Store new values for an entity under a new tag (the old one with ``tag=False``)."""
        with self._lock:
            current = self._by_id.get(entity.id)
            if current is None:
                raise NotFound(f"Could not find entity with id [{entity.id}]")
            fresh = replace(
                current,
                body=current.body if body is None else body,
                columns=current.columns if columns is None else columns,
                internals=current.internals if internals is None else internals,
                tag=str(uuid.uuid4()) if tag else current.tag,
                modified_at=datetime.now(UTC),
            )
            self._store.save(fresh)
            self._index(fresh)
            return fresh

    # -- wiki and tags ---------------------------------------------------------------------------------------

    def wiki(self, entity_id: str) -> tuple[str, int | None]:
        """The wiki text and its version (None before the first)."""
        found = self._store.collaboration(self.get_by_id(entity_id).id, "wiki")
        return ("", None) if found is None else (found[0], int(found[1]))

    def set_wiki(self, entity_id: str, text: str, version: int | None) -> int:
        """Write the wiki over `version`; raises ConcurrentModification if that is not the stored one."""
        entity = self.get_by_id(entity_id)
        _, stored = self.wiki(entity_id)
        fresh = 0 if version is None else int(version) + 1
        replaces = None if version is None else str(version)
        if not self._store.set_collaboration(entity.id, "wiki", text, str(fresh), replaces):
            raise ConcurrentModification(
                f"The provided version [{version}] does not match the stored version [{stored}]."
            )
        return fresh

    def tags(self, entity_id: str) -> tuple[list[str], str | None]:
        """The tags (labels) and their version."""
        found = self._store.collaboration(self.get_by_id(entity_id).id, "tag")
        return ([], None) if found is None else (list(found[0]), found[1])

    def set_tags(self, entity_id: str, tags: list[str], version: str | None) -> str:
        """Write the tags over `version`; raises InvalidRequest, ConcurrentModification."""
        entity = self.get_by_id(entity_id)
        if not entity.is_dataset:
            raise InvalidRequest("Labels may only be set on views and tables.")
        for tag in tags:
            if not tag or len(tag) > 128 or set(tag) & set("/:[]"):
                raise InvalidRequest(f"Tag [{tag}] must have 1 to 128 characters without / : [ ]")
        _, stored = self.tags(entity_id)
        fresh = str(uuid.uuid4())
        if not self._store.set_collaboration(entity.id, "tag", tags, fresh, version):
            raise ConcurrentModification(
                f"The provided version [{version}] does not match the stored version [{stored}]."
            )
        return fresh

    def close(self) -> None:
        """Close the database connections."""
        self._store.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _index(self, entity: Entity) -> None:
        with self._lock:
            self._by_id[entity.id] = entity
            self._by_key[entity.key] = entity
            for depth in range(1, len(entity.key)):
                child = entity.key[: depth + 1]
                shown = entity if depth + 1 == len(entity.key) else self._by_key.get(child)
                path = entity.path[: depth + 1]
                level = self._children.setdefault(entity.key[:depth], {})
                if shown is not None:
                    level[child] = shown
                else:
                    level.setdefault(child, Entity(Kind.FOLDER, path, id=unpromoted_id(path)))
            self.version += 1

    def _add(self, entity: Entity) -> Entity:
        with self._lock:
            if entity.key in self._by_key:
                raise ConcurrentModification(f"An object already exists with that name: [{', '.join(entity.path)}]")
            self._store.save(entity)
            self._index(entity)
            return entity

    def _check_root(self, name: str, what: str) -> None:
        if not name or name.startswith("@") or name.lower() in RESERVED or set(name) & set('/:[]"'):
            raise InvalidRequest(f"[{name}] is no name for a {what}.")
        if self.find([name]) is not None:
            raise ConcurrentModification(f"A {what} with the name [{name}] already exists.")

    def _check_parent(self, parts: tuple[str, ...]) -> None:
        parent = self.find(parts[:-1])
        if parent is None or not parent.is_container:
            raise NotFound(f"Could not find entity with path [[{', '.join(parts[:-1])}]]")

    def _check_tag(self, entity: Entity, tag: str | None) -> None:
        if tag is not None and tag != entity.tag:
            raise ConcurrentModification(
                f"The specified version [{tag}] of [{entity.dotted}] is not the current one: somebody changed it."
            )

    def _find_in_source(self, parts: tuple[str, ...]) -> Entity | None:
        source = self.source_of(parts)
        if source is None:
            return None
        if source.body.get("type") in TABLE_SOURCES:
            self._register_tables(source)
            return self.find(parts) or self._children.get(key_of(parts[:-1]), {}).get(key_of(parts))
        address = storage.address_of(source, parts)
        folders, files = storage.list_names(source, address.rpartition("/")[0] or "/")
        if parts[-1] in folders:
            return Entity(Kind.FOLDER, parts, id=unpromoted_id(parts))
        if parts[-1] in files:
            return Entity(Kind.FILE, parts, id=unpromoted_id(parts))
        return self._children.get(key_of(parts[:-1]), {}).get(key_of(parts))

    def _register_tables(self, source: Entity) -> None:
        for schema, table in TABLE_SOURCES[source.body["type"]].list_tables(source):
            path = (source.name, schema, table)
            if self.find(path) is not None:
                continue
            entity = Entity(Kind.TABLE, path, internals={"remote": [schema, table]})
            if self.describe_table is not None:
                entity.columns = self.describe_table(entity)
            self._add(entity)

    def _read_files(self, source: Entity, entity: Entity) -> None:
        address = storage.address_of(source, entity.path)
        files = storage.list_files(source, address)
        if not files:
            raise NotFound(f"Could not find entity with path [[{', '.join(entity.path)}]]: it holds no files.")
        entity.internals = {
            **{key: value for key, value in entity.internals.items() if key == "statistics"},
            "address": address,
            "files": [{"path": f.address, "size": f.size, "modified": f.modified} for f in files],
            "refreshed_at": datetime.now(UTC).isoformat(),
        }
        if self.describe_files is not None:
            entity.columns = self.describe_files(entity)


_SOURCE_KEYS = frozenset(
    {
        "type",
        "config",
        "metadataPolicy",
        "accelerationRefreshPeriodMs",
        "accelerationGracePeriodMs",
        "accelerationActivePolicyType",
        "accelerationRefreshSchedule",
        "accelerationNeverExpire",
        "accelerationNeverRefresh",
        "accelerationRefreshOnDataChanges",
        "allowCrossSourceSelection",
        "disableMetadataValidityCheck",
    }
)


def _check_source(source: Entity) -> None:
    config = source.body["config"]
    if source.body["type"] in TABLE_SOURCES:
        TABLE_SOURCES[source.body["type"]].check(source)
    elif source.body["type"] == "NAS" and not str(config.get("path", "")).startswith("/"):
        raise InvalidRequest(f"Source [{source.name}]: config.path must be an absolute directory.")
    elif source.body["type"] == "S3":
        storage.list_names(source, storage.root_of(source))
