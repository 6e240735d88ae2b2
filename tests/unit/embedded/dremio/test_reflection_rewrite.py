"""Which queries are rewritten to a reflection, to what, and above all which are left alone."""

import uuid

import pytest
from sqlglot import exp

from embedded.dremio.catalog import Entity, Kind
from embedded.dremio.catalog.entities import key_of
from embedded.dremio.reflections.definition_sql import building_sql, check_fields
from embedded.dremio.reflections.model import Reflection
from embedded.dremio.reflections.rewrite import Candidate, rewrite_query
from embedded.dremio.sql.dialect import parse_query
from embedded.dremio.sql.resolve import Resolver
from embedded.dremio.types import Column, DremioType

COLUMNS = [
    Column("order_id", DremioType("BIGINT")),
    Column("status", DremioType("VARCHAR")),
    Column("order_date", DremioType("DATE")),
    Column("placed_at", DremioType("TIMESTAMP")),
    Column("amount", DremioType("DECIMAL", 12, 2)),
    Column("quantity", DremioType("INTEGER")),
]


class Objects:
    """The catalog as the resolver and the rewriter look at it."""

    def __init__(self):
        self._by_key = {}
        self.table = self._add(Entity(Kind.TABLE, ("lake", "orders"), columns=COLUMNS))
        self._view("gold.orders", "SELECT order_id, status, order_date AS day, amount FROM lake.orders", 4)
        self._view("gold.shipped", "SELECT * FROM lake.orders WHERE status = 'shipped'", 6)
        self._view("gold.large", "SELECT * FROM lake.orders WHERE amount > 10", 6)

    def _view(self, path, sql, width):
        names = ["order_id", "status", "day", "amount"] if width == 4 else [c.name for c in COLUMNS]
        kinds = {"day": COLUMNS[2].type} | {c.name: c.type for c in COLUMNS}
        columns = [Column(name, kinds[name]) for name in names]
        return self._add(Entity(Kind.VIEW, tuple(path.split(".")), {"sql": sql}, columns))

    def _add(self, entity):
        self._by_key[entity.key] = entity
        return entity

    def find(self, path):
        return self._by_key.get(key_of(tuple(path)))

    def get_by_id(self, entity_id):
        return next(entity for entity in self._by_key.values() if entity.id == entity_id)

    def source_of(self, path):
        return None


OBJECTS = Objects()


def reflection(kind, dataset=None, **fields):
    dataset = dataset or OBJECTS.table
    made = Reflection(dataset.id, "r", kind, fields, reflection_id=str(uuid.uuid4()))
    check_fields(made, dataset)
    return Candidate(made, "mat", dataset)


AGGREGATION = reflection(
    "AGGREGATION",
    dimensionFields=[
        {"name": "status", "granularity": "NORMAL"},
        {"name": "order_date", "granularity": "DATE"},
        {"name": "placed_at", "granularity": "DATE"},
    ],
    measureFields=[
        {"name": "amount", "measureTypeList": ["SUM", "COUNT", "MIN", "MAX"]},
        {"name": "quantity", "measureTypeList": ["SUM", "COUNT"]},
    ],
)
RAW = reflection("RAW", displayFields=[{"name": "order_id"}, {"name": "status"}])
RAW_VIEW = reflection("RAW", OBJECTS.find(["gold", "orders"]), displayFields=[{"name": "order_id"}, {"name": "amount"}])


def rewritten(sql, *candidates):
    query = Resolver(OBJECTS, "someone").resolve(parse_query(sql), ())
    outcome = rewrite_query(query, list(candidates), OBJECTS)
    uses = [table for table in query.find_all(exp.Table) if "materialization" in table.meta]
    assert bool(uses) == bool(outcome.chosen)
    return query.sql(dialect="dremio") if uses else None


ROLLED_UP = [
    (
        "SELECT order_date, SUM(amount) FROM lake.orders GROUP BY order_date",
        'SELECT "orders"."order_date" AS "order_date", SUM("orders"."SUM$amount") FROM "orders"'
        ' GROUP BY "orders"."order_date"',
    ),
    (
        "SELECT COUNT(*) AS n FROM lake.orders o WHERE o.status = 'x'",
        'SELECT COALESCE(SUM("o"."COUNT$"), 0) AS n FROM "o" WHERE "o"."status" = \'x\'',
    ),
    (
        "SELECT MIN(amount), MAX(status) FROM lake.orders",
        'SELECT MIN("orders"."MIN$amount"), MAX("orders"."status") FROM "orders"',
    ),
    (
        "SELECT COUNT(DISTINCT status) FROM lake.orders",
        'SELECT COUNT(DISTINCT "orders"."status") FROM "orders"',
    ),
    (
        "SELECT COUNT(status) FROM lake.orders",
        'SELECT COALESCE(SUM(CASE WHEN NOT "orders"."status" IS NULL THEN "orders"."COUNT$" END), 0) FROM "orders"',
    ),
    (
        "SELECT AVG(quantity) FROM lake.orders",
        'SELECT (CAST(SUM("orders"."SUM$quantity") AS DOUBLE)'
        ' / CAST(NULLIF(SUM("orders"."COUNT$quantity"), 0) AS DOUBLE)) FROM "orders"',
    ),
    (
        "SELECT DISTINCT status FROM lake.orders ORDER BY status",
        'SELECT DISTINCT "orders"."status" AS "status" FROM "orders" ORDER BY "orders"."status"',
    ),
    (
        "SELECT day, SUM(amount) AS amount FROM gold.orders WHERE status <> 'x' GROUP BY 1 ORDER BY amount",
        'SELECT "orders"."order_date" AS "day", SUM("orders"."SUM$amount") AS amount FROM "orders"'
        ' WHERE "orders"."status" <> \'x\' GROUP BY 1 ORDER BY amount',
    ),
    (
        "SELECT COUNT(1) FROM (SELECT * FROM gold.shipped) AS t",
        'SELECT COALESCE(SUM("t"."COUNT$"), 0) FROM "t" WHERE "t"."status" = \'shipped\'',
    ),
    (
        "SELECT status, SUM(amount) FROM lake.orders GROUP BY ROLLUP (status)",
        'SELECT "orders"."status" AS "status", SUM("orders"."SUM$amount") FROM "orders"'
        ' GROUP BY ROLLUP ("orders"."status")',
    ),
    (
        "SELECT status, SUM(amount) FROM lake.orders GROUP BY GROUPING SETS ((status), ())",
        'SELECT "orders"."status" AS "status", SUM("orders"."SUM$amount") FROM "orders"'
        ' GROUP BY GROUPING SETS (("orders"."status"), ())',
    ),
    (
        "SELECT CAST(placed_at AS DATE) AS d, COUNT(amount) FROM lake.orders GROUP BY CAST(placed_at AS DATE)",
        'SELECT "orders"."placed_at" AS d, COALESCE(SUM("orders"."COUNT$amount"), 0) FROM "orders"'
        ' GROUP BY "orders"."placed_at"',
    ),
]


@pytest.mark.parametrize(("sql", "expected"), ROLLED_UP)
def test_aggregates_are_rolled_up(sql, expected):
    found = rewritten(sql, AGGREGATION)
    assert found is not None
    assert found == expected


LEFT_ALONE = [
    "SELECT status, amount FROM lake.orders",
    "SELECT SUM(order_id) FROM lake.orders",
    "SELECT MIN(quantity) FROM lake.orders",
    "SELECT SUM(DISTINCT amount) FROM lake.orders",
    "SELECT SUM(amount * 2) FROM lake.orders",
    "SELECT SUM(amount) FROM lake.orders WHERE amount > 5",
    "SELECT SUM(amount) FROM lake.orders WHERE quantity = 1",
    "SELECT SUM(amount) FROM gold.large",
    "SELECT COUNT(DISTINCT amount) FROM lake.orders",
    "SELECT STDDEV(amount) FROM lake.orders",
    "SELECT LISTAGG(status) FROM lake.orders",
    "SELECT status, ROW_NUMBER() OVER (ORDER BY SUM(amount)) FROM lake.orders GROUP BY status",
    "SELECT status, GROUPING(status), SUM(amount) FROM lake.orders GROUP BY ROLLUP(status)",
    "SELECT SUM(o.amount) FROM lake.orders o JOIN lake.orders p ON o.status = p.status",
    "SELECT SUM(amount) FROM lake.orders WHERE status IN (SELECT status FROM lake.orders)",
    "SELECT placed_at, COUNT(*) FROM lake.orders GROUP BY placed_at",
    "SELECT UPPER(status) AS status, COUNT(*) FROM lake.orders GROUP BY status",
    "SELECT COUNT(*) FROM lake.orders WHERE RANDOM() < 0.5",
    "SELECT COUNT(*) FROM (SELECT status FROM lake.orders LIMIT 5) AS t",
    "SELECT COUNT(*) FROM (SELECT DISTINCT status FROM lake.orders) AS t",
    "SELECT COUNT(*) FROM (SELECT status, SUM(amount) AS s FROM lake.orders GROUP BY status) AS t WHERE s > 5",
]


@pytest.mark.parametrize("sql", LEFT_ALONE[:-2])
def test_what_could_differ_is_left_alone(sql):
    assert rewritten(sql, AGGREGATION) is None


@pytest.mark.parametrize("sql", LEFT_ALONE[-2:])
def test_an_outer_count_stays_and_the_inner_grouping_is_rewritten(sql):
    found = rewritten(sql, AGGREGATION)
    assert found is not None
    assert found.startswith("SELECT COUNT(*) FROM (SELECT")


USES_RAW = [
    "SELECT order_id, status FROM lake.orders WHERE status = 'x'",
    "SELECT o.status, COUNT(*) FROM lake.orders AS o GROUP BY o.status",
    "SELECT a.order_id FROM lake.orders a JOIN gold.large b ON a.order_id = b.order_id",
    "SELECT order_id FROM gold.orders WHERE status = 'x'",
    "WITH c AS (SELECT status FROM lake.orders) SELECT * FROM c",
    "SELECT order_id, ROW_NUMBER() OVER (PARTITION BY status ORDER BY order_id) FROM lake.orders",
]
NOT_RAW = [
    "SELECT * FROM lake.orders",
    "SELECT o.* FROM lake.orders o",
    "SELECT order_id FROM lake.orders WHERE amount > 5",
    "SELECT order_id, (SELECT MAX(b.day) FROM gold.orders b WHERE b.amount = o.amount) FROM lake.orders o",
    "SELECT day FROM gold.orders",
    "SELECT a.order_id FROM lake.orders a NATURAL JOIN gold.large b",
]


@pytest.mark.parametrize("sql", USES_RAW)
def test_raw_columns_are_read_from_the_reflection(sql):
    assert rewritten(sql, RAW) is not None


@pytest.mark.parametrize("sql", NOT_RAW)
def test_a_column_that_is_not_kept_keeps_the_dataset(sql):
    assert rewritten(sql, RAW) is None


def test_a_reflection_of_a_view_stands_in_for_the_view():
    found = rewritten("SELECT SUM(v.amount) FROM gold.orders AS v", RAW_VIEW)
    assert found == 'SELECT SUM("v"."amount") FROM "v"'


def test_the_smaller_reflection_is_chosen():
    whole = reflection("RAW", displayFields=[{"name": c.name} for c in COLUMNS])
    query = Resolver(OBJECTS, "someone").resolve(parse_query("SELECT order_id FROM lake.orders"), ())
    outcome = rewrite_query(query, [whole, RAW], OBJECTS)
    assert outcome.chosen == {RAW.reflection.reflection_id}
    assert outcome.matched == {RAW.reflection.reflection_id, whole.reflection.reflection_id}


def test_the_building_query_groups_by_the_dimensions():
    assert building_sql(AGGREGATION.reflection, OBJECTS.table) == (
        'SELECT "status" AS "status", "order_date" AS "order_date", CAST("placed_at" AS DATE) AS "placed_at",'
        ' SUM("amount") AS "SUM$amount", COUNT("amount") AS "COUNT$amount", MIN("amount") AS "MIN$amount",'
        ' MAX("amount") AS "MAX$amount", SUM("quantity") AS "SUM$quantity", COUNT("quantity") AS'
        ' "COUNT$quantity", COUNT(*) AS "COUNT$" FROM "lake"."orders" GROUP BY "status", "order_date",'
        ' CAST("placed_at" AS DATE)'
    )
