"""Generated queries give the same rows with reflections and without, and many of them use one.

The same data stand in two tables; only the first has reflections. The seed is fixed, so a failure can be repeated.
"""

import random

import pytest

QUERIES = 300
SHARE_REWRITTEN = 0.3

DIMENSIONS = ["status", '"day"', "region"]
SCALARS = [
    "UPPER(status)",
    "COALESCE(region, 0)",
    'EXTRACT(MONTH FROM "day")',
    "CASE WHEN region > 1 THEN 'far' ELSE status END",
    "DATE_TRUNC('MONTH', \"day\")",
]
AGGREGATES = [
    "SUM(amount)",
    "COUNT(amount)",
    "COUNT(*)",
    "AVG(amount)",
    "MIN(amount)",
    "MAX(amount)",
    "SUM(quantity)",
    "AVG(quantity)",
    "COUNT(status)",
    "COUNT(DISTINCT region)",
    'MAX("day")',
    # not in the reflection, or not additive
    "COUNT(DISTINCT amount)",
    "SUM(quantity * 2)",
    "STDDEV_POP(quantity)",
    "MIN(id)",
    "SUM(DISTINCT quantity)",
]
CONDITIONS = [
    "status = 'paid'",
    "status IS NULL",
    "region IN (0, 2)",
    "\"day\" >= DATE '2024-01-04'",
    "\"day\" BETWEEN DATE '2024-01-02' AND DATE '2024-01-05'",
    "status LIKE 'o%'",
    "NOT (region = 1 OR status = 'sent')",
    "amount > 5",
    "quantity = 2",
    "id < 500",
    "status IN (SELECT status FROM {t} WHERE region = 0)",
]
SOURCES = [
    "{t}",
    "{t}",
    "{v}",
    "(SELECT * FROM {t}) AS s",
    "(SELECT * FROM {v} WHERE region <> 1) AS s",
    "(SELECT * FROM {t} WHERE amount > 3) AS s",
    "(SELECT * FROM {t} LIMIT 1000) AS s",
    '(SELECT DISTINCT status, "day", region, amount, quantity, id FROM {t}) AS s',
]


def grouped(rng):
    keys = rng.sample(DIMENSIONS + rng.sample(SCALARS, 1), rng.randint(0, 3))
    values = rng.sample(AGGREGATES, rng.choice([1, 1, 2, 3]))
    columns = [f"{key} AS k{i}" for i, key in enumerate(keys)] + [f"{v} AS v{i}" for i, v in enumerate(values)]
    sql = f"SELECT {', '.join(columns)} FROM {rng.choice(SOURCES)}"
    conditions = rng.sample(CONDITIONS, rng.choice([0, 0, 1, 1, 2]))
    if conditions:
        sql += f" WHERE {rng.choice([' AND ', ' OR ']).join(conditions)}"
    if keys:
        sql += f" GROUP BY {', '.join(keys)}"
        if rng.random() < 0.2:
            sql += f" HAVING {rng.choice(values)} > 3"
    return sql


def plain(rng):
    columns = rng.sample(["id", "status", "region", '"day"', "amount"], rng.randint(1, 3))
    sql = f"SELECT {rng.choice(['', '', 'DISTINCT '])}{', '.join(columns)} FROM {rng.choice(SOURCES)}"
    conditions = rng.sample(CONDITIONS, rng.choice([0, 1, 2]))
    return sql + (f" WHERE {' AND '.join(conditions)}" if conditions else "")


def joined(rng):
    column = rng.choice(["a.id", "a.status", "b.region", "a.amount", 'b."day"'])
    return (
        f"SELECT {column} AS x, COUNT(*) AS n, SUM(b.quantity) AS q FROM {{t}} AS a JOIN {{v}} AS b ON a.id = b.id"
        f" WHERE a.{rng.choice(['region', 'id', 'quantity'])} > 0 GROUP BY {column}"
    )


def generated():
    rng = random.Random(20240101)
    shapes = [grouped] * 7 + [plain] * 2 + [joined]
    return [rng.choice(shapes)(rng) for _ in range(QUERIES)]


@pytest.fixture
def twins(rest, source, space):
    """Two tables of the same 1,000 rows with a view on each; reflections on the first."""
    digits = ", ".join(f"({digit})" for digit in range(10))
    names = []
    for name in ("with_reflections", "without"):
        rest.run(f"DROP TABLE IF EXISTS {source}.{name}")
        rest.run(
            f"CREATE TABLE {source}.{name} AS SELECT a.n + 10 * b.n + 100 * c.n AS id,"
            " CASE WHEN b.n = 3 THEN NULL WHEN MOD(a.n, 3) = 0 THEN 'open' WHEN MOD(a.n, 3) = 1 THEN 'paid'"
            " ELSE 'sent' END AS status, CASE WHEN MOD(c.n, 4) = 3 THEN NULL ELSE MOD(c.n, 4) END AS region,"
            " CAST('2024-01-0' || CAST(MOD(b.n, 9) + 1 AS VARCHAR) AS DATE) AS \"day\","
            " CASE WHEN c.n = 5 THEN NULL ELSE CAST(a.n * 1.25 + c.n AS DECIMAL(12, 2)) END AS amount,"
            " CASE WHEN a.n = 7 THEN NULL ELSE MOD(a.n * 3 + b.n, 5) END AS quantity"
            f" FROM (VALUES {digits}) AS a(n), (VALUES {digits}) AS b(n), (VALUES {digits}) AS c(n)"
        )
        rest.run(f"CREATE VIEW {space}.{name} AS SELECT * FROM {source}.{name}")
        names.append((f"{source}.{name}", f"{space}.{name}"))
    dataset = rest.entity(source, "with_reflections")["id"]
    common = {"datasetId": dataset, "enabled": True}
    measures = [{"name": n, "measureTypeList": ["SUM", "COUNT", "MIN", "MAX"]} for n in ("amount", "quantity")]
    dimensions = [{"name": "status"}, {"name": "day"}, {"name": "region"}]
    bodies = [
        {**common, "type": "AGGREGATION", "name": "all", "dimensionFields": dimensions, "measureFields": measures},
        {
            **common,
            "type": "AGGREGATION",
            "name": "by_status",
            "dimensionFields": dimensions[:1],
            "measureFields": measures[:1],
        },
        {**common, "type": "RAW", "name": "raw", "displayFields": [{"name": "id"}, *dimensions]},
    ]
    for body in bodies:
        made = rest.http.post("/reflection", json=body)
        assert made.status_code == 200, made.text
        path = f"/reflection/{made.json()['id']}"
        rest.wait(lambda p=path: rest.http.get(p).json()["status"]["combinedStatus"] == "CAN_ACCELERATE")
    yield names
    for name in ("with_reflections", "without"):
        rest.run(f"DROP TABLE {source}.{name}")


def comparable(rows):
    """Rows in an order of their own; doubles to 12 digits, for their sums depend on the order of addition."""
    return sorted(str({k: f"{v:.12g}" if isinstance(v, float) else v for k, v in row.items()}) for row in rows)


def test_rows_are_the_same_with_and_without(rest, twins):
    (table, view), (other_table, other_view) = twins
    rewritten = 0
    for number, query in enumerate(generated()):
        sql = query.format(t=table, v=view)
        job = rest.run(sql)
        relationships = job.get("acceleration", {}).get("reflectionRelationships", [])
        rewritten += any(one["relationship"] == "CHOSEN" for one in relationships)
        found = comparable(rest.rows(sql))
        expected = comparable(rest.rows(query.format(t=other_table, v=other_view)))
        assert found == expected, (number, sql)
    assert rewritten >= QUERIES * SHARE_REWRITTEN
