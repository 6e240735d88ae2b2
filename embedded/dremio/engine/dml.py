"""INSERT, UPDATE, DELETE, MERGE and TRUNCATE on tables of the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from embedded.dremio.catalog.entities import Entity
from embedded.dremio.engine import lake, results
from embedded.dremio.engine.contracts import Handle, Result, Session, Statement, StatementKind
from embedded.dremio.engine.ddl import dotted, existing, target_table
from embedded.dremio.engine.tables import physical_of
from embedded.dremio.errors import ParseError, UnsupportedOperation, ValidationError
from embedded.dremio.sql import casts, parameters, records, sources
from embedded.dremio.sql.dialect import parse_query, parse_statement, path_of
from embedded.dremio.sql.expressions import ExpressionBinder
from embedded.dremio.sql.kinds import quoted
from embedded.dremio.sql.query import QueryBinder
from embedded.dremio.sql.registry import Bound
from embedded.dremio.sql.resolve import Resolver
from embedded.dremio.sql.scope import Field, Scope
from embedded.dremio.sql.words import Words
from embedded.dremio.types import Column

if TYPE_CHECKING:
    from embedded.dremio.engine.engine import Engine


def prepare(engine: Engine, record: records.Dml, session: Session, sql: str) -> Statement:
    """Any of the four statements."""
    if record.word == "INSERT":
        return _insert(engine, session, sql)
    tree = parse_statement(sql)
    if isinstance(tree, exp.Update):
        return _update(engine, tree, session, sql)
    if isinstance(tree, exp.Delete):
        return _delete(engine, tree, session, sql)
    if isinstance(tree, exp.Merge):
        return _merge(engine, tree, session, sql)
    raise ParseError("Failure parsing the query.", sql=sql)


def statement(sql: str, text: str, target: Target, checks: list[str]) -> Statement:
    """A write that runs one DuckDB text (after `checks`, whose rows must be none) and counts rows."""
    from embedded.dremio.engine.engine import uses

    engine = target.engine

    def run(session: Session, handle: Handle) -> Result:
        with lake.writing(engine, handle) as cursor:
            engine.register(cursor, target.tables.registered, session.user, handle)
            for check in checks:
                if cursor.execute(check).fetchall():
                    raise ValidationError("A target row matched more than once. Please update your query.")
            rows = cursor.execute(text).fetchall()
        return results.records(int(rows[0][0]) if rows else 0)

    return Statement(sql, StatementKind.DML, results.RECORDS_SCHEMA, **uses(target.resolver.found), plan=run)


class Target:
    """The table that a statement writes, and the binder for its expressions."""

    def __init__(self, engine: Engine, table: exp.Table, session: Session, word: str) -> None:
        if table.args.get("version") is not None:
            raise UnsupportedOperation(f"{word} at a version is not supported.")
        self.engine = engine
        self.session = session
        path = path_of(table)
        self.entity = target_table(engine, path, session, word)
        self.resolver = Resolver(engine.catalog, session.user, engine.access)
        self.tables = engine.tables(session, self.resolver)
        self.queries = QueryBinder(self.tables)
        self.scope = Scope()
        names = (table.alias,) if table.alias else path
        self.source = self.scope.add(names, [Field(c.name, c.type) for c in self.entity.columns])
        self.binder = ExpressionBinder(self.queries, self.scope)
        physical = physical_of(engine.catalog, engine.duck, self.entity)
        self.physical = physical
        self.sql = f"{physical} AS {quoted(self.source.alias)}"

    def resolve(self, *nodes: Any) -> None:
        """Resolve the tables in some parts of the statement."""
        for node in nodes:
            if node is not None:
                self.resolver._walk(exp.Paren(this=node), self.session.context, frozenset(), 0)

    def column(self, name: str) -> Column:
        """A column of the table; raises ValidationError."""
        return column_of(self.entity, name)

    def assign(self, name: str, value: exp.Expr) -> str:
        """``"column" = value`` with the value cast to the column's type."""
        column = self.column(name)
        return f"{quoted(column.name)} = {assigned(self.binder.bind(value), column)}"


def column_of(entity: Entity, name: str) -> Column:
    """A column by name; raises ValidationError."""
    for column in entity.columns:
        if column.name.lower() == name.lower():
            return column
    raise ValidationError(f"Unknown target column '{name}'")


def assigned(value: Bound, column: Column) -> str:
    """A value as it is written to a column."""
    if value.kind == column.type:
        return value.sql
    return casts.explicit(value, casts.Target(column.type), False).sql


def _insert(engine: Engine, session: Session, sql: str) -> Statement:
    from embedded.dremio.engine.engine import uses

    words = Words(sql)
    words.expect("INSERT", "INTO")
    path = words.path()
    if words.word() == "AT":
        raise UnsupportedOperation("INSERT at a branch needs a versioned (Nessie) source; this server has none.")
    names: list[str] = []
    if words.word() == "(" and words.word(1) not in ("SELECT", "WITH", "VALUES", "("):
        names = words.names()
    entity = target_table(engine, path, session, "INSERT")
    columns = [column_of(entity, name) for name in names] or entity.columns
    query = parse_query(words.rest())
    parameters.inserted(query, [column.type for column in columns])
    bound = engine.bind_tree(query, session, engine.reflections)
    if len(bound.columns) != len(columns):
        raise ValidationError(
            f"Number of columns in the INSERT ({len(columns)}) does not match the query's ({len(bound.columns)})"
        )
    items = ", ".join(
        assigned(Bound(quoted(f.name), f.type), column) for f, column in zip(bound.columns, columns, strict=True)
    )
    listed = ", ".join(quoted(column.name) for column in columns)
    physical = physical_of(engine.catalog, engine.duck, entity)
    text = f"INSERT INTO {physical} ({listed}) SELECT {items} FROM ({bound.sql})"

    def run(session: Session, handle: Handle) -> Result:
        with lake.writing(engine, handle) as cursor:
            engine.register(cursor, bound.registered, bound.user, handle)
            rows = cursor.execute(text).fetchall()
        return results.records(int(rows[0][0]) if rows else 0)

    return Statement(
        sql,
        StatementKind.DML,
        results.RECORDS_SCHEMA,
        **uses(bound.found),
        relationships=bound.relationships,
        plan=run,
    )


def _update(engine: Engine, tree: exp.Update, session: Session, sql: str) -> Statement:
    if not isinstance(tree.this, exp.Table) or not tree.expressions:
        raise ParseError("Failure parsing the query: UPDATE needs a table and SET.", sql=sql)
    target = Target(engine, tree.this, session, "UPDATE")
    from_ = tree.args.get("from_")
    where = tree.args.get("where")
    target.resolve(from_, where, *tree.expressions)
    from_text, checks = "", []
    if from_ is not None:
        from_text = sources.bind_from(target.queries, exp.Select(from_=from_), target.scope)
    assignments = []
    for item in tree.expressions:
        if not isinstance(item, exp.EQ) or not isinstance(item.this, exp.Column):
            raise ParseError("Failure parsing SET.", sql=sql)
        assignments.append(target.assign(item.this.name, item.expression))
    where_text = f" WHERE {target.binder.boolean(where.this)}" if where is not None else ""
    if from_ is not None:
        joined = from_text.replace(" FROM ", ", ", 1)
        alias = quoted(target.source.alias)
        checks.append(
            f"SELECT 1 FROM {target.sql}{joined}{where_text} GROUP BY {alias}.rowid HAVING count(*) > 1 LIMIT 1"
        )
    text = f"UPDATE {target.sql} SET {', '.join(assignments)}{from_text}{where_text}"
    return statement(sql, text, target, checks)


def _delete(engine: Engine, tree: exp.Delete, session: Session, sql: str) -> Statement:
    if not isinstance(tree.this, exp.Table):
        raise ParseError("Failure parsing the query: DELETE needs a table.", sql=sql)
    target = Target(engine, tree.this, session, "DELETE")
    using = tree.args.get("using")
    where = tree.args.get("where")
    using = using if isinstance(using, list) else []
    target.resolve(*using, where)
    using_text, parts = "", []
    if using:
        parts = [sources._item(target.queries, item, target.scope) for item in using]
        using_text = f" USING {', '.join(parts)}"
    where_text = f" WHERE {target.binder.boolean(where.this)}" if where is not None else ""
    checks = []
    if using:
        joined = f"{target.sql}, {', '.join(parts)}{where_text}"
        checks.append(
            f"SELECT 1 FROM {joined} GROUP BY {quoted(target.source.alias)}.rowid HAVING count(*) > 1 LIMIT 1"
        )
    text = f"DELETE FROM {target.sql}{using_text}{where_text}"
    return statement(sql, text, target, checks)


def _merge(engine: Engine, tree: exp.Merge, session: Session, sql: str) -> Statement:
    target = Target(engine, tree.this, session, "MERGE")
    using, on = tree.args["using"], tree.args.get("on")
    whens = tree.args["whens"].expressions
    if on is None or not whens or len(whens) > 2:
        raise ParseError("Failure parsing the query: MERGE needs ON and WHEN.", sql=sql)
    holder = exp.Select(from_=exp.From(this=using.copy()))
    target.resolve(holder, on, *whens)
    from_text = sources.bind_from(target.queries, holder, target.scope).removeprefix(" FROM ")
    condition = target.binder.boolean(on)
    clauses = [_merge_clause(target, when, sql) for when in whens]
    checks = []
    if any(when.args.get("matched") for when in whens):
        alias = quoted(target.source.alias)
        checks.append(
            f"SELECT 1 FROM {target.sql} JOIN {from_text} ON {condition}"
            f" GROUP BY {alias}.rowid HAVING count(*) > 1 LIMIT 1"
        )
    text = f"MERGE INTO {target.sql} USING {from_text} ON {condition} {' '.join(clauses)}"
    return statement(sql, text, target, checks)


def _merge_clause(target: Target, when: exp.When, sql: str) -> str:
    if when.args.get("condition") is not None or when.args.get("source"):
        raise ParseError("Failure parsing the query: MERGE takes no further conditions.", sql=sql)
    then = when.args["then"]
    inner = [Field(c.name, c.kind) for s in target.scope.sources[1:] for c in s.columns]
    if when.args.get("matched"):
        if not isinstance(then, exp.Update):
            raise ParseError("Failure parsing the query: WHEN MATCHED THEN UPDATE is expected.", sql=sql)
        if not then.expressions or isinstance(then.expressions[0], exp.Star):
            return f"WHEN MATCHED THEN UPDATE SET {', '.join(_star_assignments(target, inner))}"
        items = [target.assign(item.this.name, item.expression) for item in then.expressions]
        return f"WHEN MATCHED THEN UPDATE SET {', '.join(items)}"
    if not isinstance(then, exp.Insert):
        raise ParseError("Failure parsing the query: WHEN NOT MATCHED THEN INSERT is expected.", sql=sql)
    if isinstance(then.this, exp.Star) or then.expression is None:
        names = [c.name for c in target.entity.columns]
        values = [item.partition(" = ")[2] for item in _star_assignments(target, inner)]
    else:
        values_node = then.expression.expressions
        named = then.this.expressions if isinstance(then.this, exp.Tuple) else None
        names = [n.name for n in named] if named else [c.name for c in target.entity.columns]
        if len(names) != len(values_node):
            raise ValidationError("Number of columns in the INSERT does not match its values")
        values = [
            assigned(target.binder.bind(value), target.column(name))
            for name, value in zip(names, values_node, strict=True)
        ]
    listed = ", ".join(quoted(target.column(name).name) for name in names)
    return f"WHEN NOT MATCHED THEN INSERT ({listed}) VALUES ({', '.join(values)})"


def _star_assignments(target: Target, inner: list[Field]) -> list[str]:
    """UPDATE SET * and INSERT *: the source's columns in their order."""
    if len(inner) != len(target.entity.columns):
        raise ValidationError("MERGE with *: source and target differ in their number of columns")
    alias = quoted(target.scope.sources[1].alias)
    return [
        f"{quoted(c.name)} = {assigned(Bound(f'{alias}.{quoted(f.name)}', f.kind), c)}"
        for c, f in zip(target.entity.columns, inner, strict=True)
    ]


def truncate(engine: Engine, record: records.Truncate, session: Session, sql: str) -> Statement:
    """TRUNCATE [TABLE] [IF EXISTS]: a new snapshot without rows."""
    from embedded.dremio.engine.ddl import ddl

    if record.if_exists and existing(engine, record.path, session) is None:
        return ddl(sql, lambda s, h: results.summary(f"Table [{dotted(record.path)}] does not exist."))
    entity = target_table(engine, record.path, session, "TRUNCATE TABLE")
    physical = physical_of(engine.catalog, engine.duck, entity)

    def run(session: Session, handle: Handle) -> Result:
        with lake.writing(engine, handle) as cursor:
            cursor.execute(f"DELETE FROM {physical}")
        return results.summary(f"Table [{dotted(record.path)}] truncated")

    return ddl(sql, run)
