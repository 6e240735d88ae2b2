"""``TABLE(...)``: metadata of tables of the lake, external queries, and format options on a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from embedded.dremio.engine import copy_errors, snapshots, tables
from embedded.dremio.engine.contracts import Session
from embedded.dremio.engine.functions import UserFunctions
from embedded.dremio.engine.system import registered_name
from embedded.dremio.errors import UnsupportedOperation, ValidationError
from embedded.dremio.sql.kinds import quoted, text
from embedded.dremio.sql.query import QueryBinder
from embedded.dremio.sql.resolve import Resolver
from embedded.dremio.sql.scope import Field, Relation
from embedded.dremio.sql.words import Words
from embedded.dremio.types import from_arrow

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine

METADATA = "metadata$"  # the first part of a metadata function's registered name


class TableFunctions:
    """Binds table functions for one statement."""

    def __init__(
        self,
        engine: Engine,
        session: Session,
        resolver: Resolver,
        functions: UserFunctions,
        registered: list[list[str]],
    ) -> None:
        self.engine = engine
        self.registered = registered
        self.session = session
        self.resolver = resolver
        self.functions = functions

    def relation(self, queries: QueryBinder, call: exp.Expr, table: exp.Table) -> Relation:
        """The relation of ``TABLE(call)``; raises ValidationError, UnsupportedOperation."""
        if isinstance(call, exp.Anonymous) and str(call.this).lower() == "copy_errors":
            return self._copy_errors(call, table)
        if isinstance(call, exp.Anonymous):
            made = None
            if str(call.this).lower() not in snapshots.SCHEMAS:
                made = self.functions.table(queries, call, ())
            return made or self._metadata(call, table)
        if isinstance(call, exp.Dot):
            names = _names(call.this)
            inner = call.expression
            if isinstance(inner, exp.Anonymous) and str(inner.this).lower() == "external_query" and len(names) == 1:
                return self._external(names[0], inner, table)
            if isinstance(inner, exp.Anonymous):
                made = self.functions.table(queries, inner, tuple(names))
                if made is not None:
                    return made
        raise UnsupportedOperation(f"TABLE({call.sql(dialect='dremio')[:80]}) is not supported.")

    def _metadata(self, call: exp.Anonymous, table: exp.Table) -> Relation:
        name = str(call.this).lower()
        argument = call.expressions[0] if len(call.expressions) == 1 else None
        if name not in snapshots.SCHEMAS or not isinstance(argument, exp.Literal):
            raise ValidationError(f"No match found for function signature {name.upper()}(...)")
        name_path = Words(argument.name).path()
        context = table.meta.get("context") or self.session.context
        entity = self.resolver.dataset(name_path, tuple(context), table.meta.get("reader"))
        if "lake" not in entity.internals:
            raise ValidationError(f"{name}: [{entity.dotted}] is no Iceberg table")
        metadata = snapshots.LakeMetadata(self.engine, entity)
        if name == "table_partitions" and not entity.internals.get("partitions"):
            raise ValidationError(f"Table {entity.dotted} is not partitioned")
        version = snapshots.version_of(metadata, table.args.get("version"))
        # the rows are read when the statement runs: see Engine.register
        path = [METADATA, name, entity.id, "" if version is None else str(version)]
        self.registered.append(path)
        fields = [Field(column, kind) for column, kind in snapshots.columns(name)]
        return Relation(quoted(registered_name(path)), fields)

    def _copy_errors(self, call: exp.Anonymous, table: exp.Table) -> Relation:
        arguments = call.expressions
        fits = ((exp.Literal,), (exp.Literal, exp.Null), (exp.Boolean,))  # table_name, job_id, strict_consistency
        if not 1 <= len(arguments) <= 3 or not all(isinstance(a, f) for a, f in zip(arguments, fits, strict=False)):
            raise ValidationError("No match found for function signature COPY_ERRORS(...)")
        context = table.meta.get("context") or self.session.context
        entity = self.resolver.dataset(Words(arguments[0].name).path(), tuple(context), table.meta.get("reader"))
        job_id = copy_errors.job_of(self.engine, entity, arguments, self.session.user)
        path = [copy_errors.COPY_ERRORS, entity.id, job_id]
        self.registered.append(path)
        return Relation(quoted(registered_name(path)), [Field(f.name, from_arrow(f)) for f in copy_errors.SCHEMA])

    def _external(self, source_name: str, call: exp.Anonymous, table: exp.Table) -> Relation:
        source = self.engine.catalog.find([source_name])
        argument = call.expressions[0] if len(call.expressions) == 1 else None
        if source is None or source.body.get("type") != "POSTGRES":
            raise ValidationError(f"Source [{source_name}] does not support external queries")
        if not isinstance(argument, exp.Literal):
            raise ValidationError("External query takes one text.")
        if self.engine.access is not None:
            reader = table.meta.get("reader") or self.resolver.reader
            self.engine.access.require(reader, "EXTERNAL QUERY", source.path)
        database = self.engine.duck.ensure(source)
        physical = f"postgres_query({text(database)}, {text(argument.name)})"
        try:
            columns, casts = tables.read_columns(self.engine.duck, physical, "the external query")
        except duckdb.Error as error:
            raise ValidationError(f"External query failed: {error}") from error
        items = ", ".join(casts.get(c.name) or quoted(c.name) for c in columns)
        return Relation(f"(SELECT {items} FROM {physical})", [Field(c.name, c.type) for c in columns])


def _names(node: exp.Expr) -> list[str]:
    if isinstance(node, exp.Identifier):
        return [node.name]
    if isinstance(node, exp.Dot):
        return [*_names(node.this), *_names(node.expression)]
    if isinstance(node, exp.Column):
        return [part.name for part in node.parts]
    return []
