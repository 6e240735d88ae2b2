"""Runs single Dremio queries on a plain in-memory DuckDB: binder, functions and macros, without catalog or sockets."""

from __future__ import annotations

from typing import Any, cast

import duckdb
from sqlglot import exp

from embedded.dremio.catalog import Catalog
from embedded.dremio.engine.duck import install_functions
from embedded.dremio.errors import ValidationError
from embedded.dremio.sql.dialect import parse_query
from embedded.dremio.sql.query import QueryBinder
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.resolve import Resolver
from embedded.dremio.sql.scope import Relation


class NoTables:
    """A binder's window on nothing: queries over VALUES and literals only."""

    user = "ann"
    roles = frozenset({"public", "analyst"})

    def __init__(self) -> None:
        self.personal: set[str] = set()

    def relation(self, table: exp.Table) -> Relation:
        raise ValidationError(f"Object '{table.name}' not found")

    def table_function(self, queries: QueryBinder, call: exp.Anonymous, table: exp.Table) -> Relation:
        raise ValidationError("no table functions")

    def user_function(self, binder: Any, node: exp.Anonymous, path: tuple[str, ...] = ()) -> Bound | None:
        return None


class NoCatalog:
    """A catalog without anything in it."""

    def find(self, path: Any) -> None:
        return None

    def source_of(self, path: Any) -> None:
        return None


def bound(sql: str) -> Relation:
    """A query resolved and bound."""
    tree = Resolver(cast(Catalog, NoCatalog()), "ann").resolve(parse_query(sql), ())
    return QueryBinder(NoTables()).bind(tree)


class Answers:
    """Binds and runs queries; one instance for a test session."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("SET GLOBAL TimeZone = 'UTC'")
        install_functions(self.connection)

    def translate(self, sql: str) -> str:
        """DuckDB's text of a Dremio query."""
        return bound(sql).sql

    def types(self, sql: str) -> list[str]:
        """Dremio's types of a query's columns."""
        columns = bound(sql).columns
        return [column.kind.sql if column.kind is not None else "?" for column in columns]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.connection.execute(self.translate(sql)).fetchall()
