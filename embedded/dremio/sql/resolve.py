"""Finds what the tables of a query are: tags base tables with their catalog entity and expands views.

After `resolve`, a base table has ``meta["dataset_id"]`` and ``meta["path"]``; an expanded view is a Subquery with the
same keys and ``meta["view"]``; system tables have ``meta["system"]``; CTE names have ``meta["cte"]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlglot import exp

from embedded.dremio.access.control import AccessControl
from embedded.dremio.access.grants import Grantee
from embedded.dremio.catalog import Catalog, Entity, Kind
from embedded.dremio.catalog.catalog import TABLE_SOURCES
from embedded.dremio.errors import NotFound, UnsupportedOperation, ValidationError
from embedded.dremio.sql.dialect import parse_query, path_of

SYSTEM_SCHEMAS = ("sys", "information_schema")
_MAX_DEPTH = 60


@dataclass
class Found:
    """What a query refers to."""

    entities: dict[str, Entity] = field(default_factory=dict)
    versions: bool = False


def lookup(catalog: Catalog, path: tuple[str, ...], contexts: Iterable[tuple[str, ...]]) -> Entity | None:
    """The entity that a name stands for: within the context first, then from the root."""
    candidates = [(*context, *path) for context in contexts if context] + [path]
    if any("." in part for part in path):  # a client that quotes a whole schema: "a.b"."t"
        candidates.append(tuple(piece for part in path for piece in part.split(".")))
    for candidate in candidates:
        entity = catalog.find(candidate)
        if entity is not None and not entity.is_container:
            return entity
        source = catalog.source_of(candidate)
        if entity is None and source is not None and source.body.get("type") in TABLE_SOURCES:
            try:
                entity = catalog.get_by_path(candidate)
            except NotFound:
                continue
            if entity.kind == Kind.TABLE:
                return entity
    return None


def not_found(path: tuple[str, ...]) -> ValidationError:
    """Dremio's message for a table that is not there."""
    within = f" within '{'.'.join(path[:-1])}'" if len(path) > 1 else ""
    return ValidationError(f"Object '{path[-1]}' not found{within}")


class Resolver:
    """Resolves one query for one user and context.

    With access control, `reader` needs SELECT on what is read: the user, and within a view the view's owner.
    """

    def __init__(
        self, catalog: Catalog, user: str, access: AccessControl | None = None, reader: Grantee | None = None
    ) -> None:
        self.catalog = catalog
        self.user = user
        self.access = access
        self.reader = reader or Grantee("USER", user)
        self.found = Found()

    def resolve(self, query: exp.Query, context: tuple[str, ...]) -> exp.Query:
        """Tag and expand in place; raises ValidationError."""
        self._walk(query, context, frozenset(), 0)
        return query

    def dataset(self, path: tuple[str, ...], context: tuple[str, ...], reader: Grantee | None = None) -> Entity:
        """The table or view of that name; raises ValidationError, PermissionDenied."""
        if path and path[0] == "@home":
            path = (f"@{self.user}", *path[1:])
        entity = lookup(self.catalog, path, [context])
        if entity is None or not entity.is_dataset:
            raise not_found(path)
        if self.access is not None:
            self.access.require(reader or self.reader, "SELECT", entity.path)
        self.found.entities[entity.id] = entity
        return entity

    def _walk(self, node: exp.Expr, context: tuple[str, ...], ctes: frozenset[str], depth: int) -> None:
        with_ = node.args.get("with_")
        if with_ is not None:
            for cte in with_.expressions:
                self._walk(cte.this, context, ctes, depth)
                ctes = ctes | {cte.alias.lower()}
        for child in list(node.iter_expressions()):
            if child is with_:
                continue
            if isinstance(child, exp.Table):
                self._table(child, context, ctes, depth)
            else:
                self._walk(child, context, ctes, depth)

    def _table(self, table: exp.Table, context: tuple[str, ...], ctes: frozenset[str], depth: int) -> None:
        for join in table.args.get("joins") or []:
            self._walk(join, context, ctes, depth)
        if not isinstance(table.this, (exp.Identifier, exp.Dot)):
            table.meta["context"] = context
            table.meta["reader"] = self.reader
            self._walk(table.this, context, ctes, depth)
            return
        path = path_of(table)
        if len(path) == 1 and path[0].lower() in ctes:
            table.meta["cte"] = path[0]
            return
        if path[0].lower() in SYSTEM_SCHEMAS:
            table.meta["system"] = [part.lower() for part in path]
            return
        if context and context[0].lower() in SYSTEM_SCHEMAS and len(path) == 1:
            table.meta["system"] = [context[0].lower(), path[0].lower()]
            return
        entity = self.dataset(path, context)
        if table.args.get("version") is not None:
            self.found.versions = True
        if entity.kind == Kind.TABLE:
            table.meta["dataset_id"] = entity.id
            table.meta["path"] = list(entity.path)
            return
        self._expand(table, entity, depth)

    def _expand(self, table: exp.Table, view: Entity, depth: int) -> None:
        if depth >= _MAX_DEPTH:
            raise ValidationError(f"View [{view.dotted}] refers to itself, or is nested too deeply.")
        if table.args.get("version") is not None:
            raise UnsupportedOperation(f"Time travel on the view [{view.dotted}] is not supported.")
        inner = parse_query(view.body["sql"])
        holder = exp.Subquery(this=inner)
        reader = self.reader
        try:
            if self.access is not None:
                self.reader = self.access.owner(view.path)
            self._walk(holder, tuple(view.body.get("sqlContext") or ()), frozenset(), depth + 1)
        except ValidationError as error:
            raise ValidationError(
                f"Error while expanding view {view.dotted}. {error.message}", sql=view.body["sql"]
            ) from error
        finally:
            self.reader = reader
        alias = table.args.get("alias")
        if alias is None:
            alias = exp.TableAlias(this=exp.to_identifier(path_of(table)[-1], quoted=True))
            holder.meta["names"] = list(path_of(table))
        holder.set("alias", alias.copy())
        for name in ("joins", "pivots", "sample"):
            if table.args.get(name):
                holder.set(name, table.args[name])
        holder.meta["dataset_id"] = view.id
        holder.meta["path"] = list(view.path)
        holder.meta["view"] = True
        holder.meta["columns"] = [column.name for column in view.columns]
        table.replace(holder)
