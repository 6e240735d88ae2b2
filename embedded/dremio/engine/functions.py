"""Functions made by CREATE FUNCTION: their body is bound in place of the call.

A body is one expression or a query; arguments are bound before, so that names in them never mean something of the
body's. ``RETURNS TABLE (..)`` makes a function that is called as ``TABLE(f(..))``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from embedded.dremio.catalog.entities import Entity, Kind
from embedded.dremio.engine import guard
from embedded.dremio.engine.contracts import Session
from embedded.dremio.errors import ValidationError
from embedded.dremio.sql import casts
from embedded.dremio.sql.clauses import parse_type, table_columns
from embedded.dremio.sql.dialect import parse_expression, parse_query
from embedded.dremio.sql.expressions import BoundArgument, ExpressionBinder
from embedded.dremio.sql.kinds import duckdb_type, quoted
from embedded.dremio.sql.query import QueryBinder
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.resolve import Resolver
from embedded.dremio.sql.scope import Field, Relation, Scope
from embedded.dremio.sql.words import Words

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

_MAX_DEPTH = 20


class UserFunctions:
    """Binds calls of user-defined functions for one statement."""

    def __init__(self, engine: Engine, session: Session, resolver: Resolver) -> None:
        self.engine = engine
        self.session = session
        self.resolver = resolver
        self._depth = 0

    def call(self, binder: ExpressionBinder, node: exp.Anonymous, path: tuple[str, ...] = ()) -> Bound | None:
        """A call of a scalar function (`path`: what stands before its name); None for an unknown name."""
        entity = self._find((*path, str(node.this)))
        if entity is None:
            return None
        if not entity.body.get("isScalar", True):
            raise ValidationError(f"Function {entity.dotted} returns a table: write TABLE({entity.name}(..)).")
        return self.scalar(entity.dotted, self._body(entity), self._arguments(entity, node, binder), binder)

    def table(self, queries: QueryBinder, node: exp.Anonymous, path: tuple[str, ...]) -> Relation | None:
        """A call of a tabular function; None for an unknown name."""
        entity = self._find((*path, str(node.this)))
        if entity is None:
            return None
        if entity.body.get("isScalar", True):
            raise ValidationError(f"Function {entity.dotted} returns no table.")
        binder = ExpressionBinder(queries, Scope())
        return self.tabular(entity.dotted, self._body(entity), self._arguments(entity, node, binder), queries)

    def scalar(self, name: str, body: dict[str, Any], values: dict[str, Bound], binder: ExpressionBinder) -> Bound:
        """The body of a scalar function over bound arguments, as its return type."""
        query = query_of(body["functionBody"])
        if query is None:
            tree = _filled(parse_expression(body["functionBody"]), values, binder.scope)
            bound = self._deeper(name, lambda: binder.bind(tree))
        else:
            relation = self._deeper(name, lambda: self._query(query, body, values, binder.queries, binder.scope))
            if len(relation.columns) != 1:
                raise ValidationError(f"Function {name}: the query returns {len(relation.columns)} columns, not one.")
            bound = Bound(f"({relation.sql})", relation.columns[0].kind)
        returns = parse_type(body["returnType"], Words(body["returnType"]))
        return casts.explicit(bound, returns, False) if bound.kind != returns.kind else bound

    def tabular(self, name: str, body: dict[str, Any], values: dict[str, Bound], queries: QueryBinder) -> Relation:
        """The query of a tabular function over bound arguments, with the columns that it declares."""
        query = query_of(body["functionBody"])
        if query is None:
            raise ValidationError(f"Function {name}: a table is returned by a query.")
        relation = self._deeper(name, lambda: self._query(query, body, values, queries, None))
        declared = table_columns(body["returnType"])
        if len(declared) != len(relation.columns):
            raise ValidationError(
                f"Function {name} declares {len(declared)} columns, its query has {len(relation.columns)}."
            )
        items, fields = [], []
        for column, (declared_name, target) in zip(relation.columns, declared, strict=True):
            value = Bound(quoted(column.name), column.kind)
            if value.kind != target.kind:
                value = casts.explicit(value, target, False)
            items.append(f"{value.sql} AS {quoted(declared_name)}")
            fields.append(Field(declared_name, target.kind))
        return Relation(f"(SELECT {', '.join(items)} FROM ({relation.sql}))", fields)

    def check(self, name: str, body: dict[str, Any]) -> None:
        """Bind a function over nulls of its parameters' types; raises what a call would."""
        queries = QueryBinder(self.engine.tables(self.session, self.resolver))
        values = {}
        for parameter in body["functionArgList"]:
            kind = casts.target(exp.DataType.build(parameter["type"], dialect="dremio")).kind
            values[parameter["name"].lower()] = Bound(f"CAST(NULL AS {duckdb_type(kind)})", kind)
        if body["isScalar"]:
            self.scalar(name, body, values, ExpressionBinder(queries, Scope()))
        else:
            self.tabular(name, body, values, queries)

    def _find(self, path: tuple[str, ...]) -> Entity | None:
        for candidate in ((*self.session.context, *path), (f"@{self.session.user}", *path), path):
            found = self.engine.catalog.find(candidate)
            if found is not None and found.kind == Kind.FUNCTION:
                return found
        return None

    def _body(self, entity: Entity) -> dict[str, Any]:
        """The function for a caller that may run it; what its query reads, its owner must be allowed to."""
        guard.may_execute(self.engine, entity, self.session)
        access = self.engine.access
        return entity.body if access is None else {**entity.body, "reader": access.owner(entity.path)}

    def _arguments(self, entity: Entity, node: exp.Anonymous, binder: ExpressionBinder) -> dict[str, Bound]:
        parameters = entity.body["functionArgList"]
        if len(parameters) != len(node.expressions):
            raise ValidationError(f"Function {entity.dotted} takes {len(parameters)} arguments.")
        values = {}
        for parameter, argument in zip(parameters, node.expressions, strict=True):
            target = casts.target(exp.DataType.build(parameter["type"], dialect="dremio"))
            values[parameter["name"].lower()] = casts.explicit(binder.bind(argument), target, False)
        return values

    def _query(
        self,
        query: exp.Query,
        body: dict[str, Any],
        values: dict[str, Bound],
        queries: QueryBinder,
        scope: Scope | None,
    ) -> Relation:
        resolver = Resolver(self.engine.catalog, self.session.user, self.engine.access, body.get("reader"))
        resolver.resolve(query, tuple(body.get("context") or ()))
        self.resolver.found.entities |= resolver.found.entities
        return queries.subquery(_filled(query, values, scope), scope)

    def _deeper(self, name: str, bind: Any) -> Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValidationError(f"Function {name} calls itself, or is nested too deeply.")
        try:
            return bind()
        finally:
            self._depth -= 1


def query_of(body: str) -> exp.Query | None:
    """The query that a body is; None for an expression."""
    first = body.lstrip("( \t\r\n").split(maxsplit=1)
    return parse_query(body) if first and first[0].upper() in ("SELECT", "WITH", "VALUES") else None


def _filled(tree: Any, values: dict[str, Bound], outside: Scope | None) -> Any:
    """A body with the arguments in the places of its parameters; `outside`: the scope of the call."""

    def filled(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and len(node.parts) == 1 and node.name.lower() in values:
            argument = BoundArgument()
            argument.meta.update(bound=values[node.name.lower()], name=node.name, outside=id(outside))
            return argument
        return node

    return tree.transform(filled)
