"""Reflections: declared by REST and SQL, built by jobs, used by queries with the same result, refreshed on request."""

import uuid

import pytest


def aggregation(dataset_id, **changes):
    return {
        "type": "AGGREGATION",
        "name": f"agg_{uuid.uuid4().hex[:6]}",
        "datasetId": dataset_id,
        "enabled": True,
        "dimensionFields": [{"name": "status"}, {"name": "day", "granularity": "DATE"}],
        "measureFields": [{"name": "amount", "measureTypeList": ["SUM", " COUNT", "MIN", "MAX"]}],
        **changes,
    }


def raw(dataset_id, *columns):
    fields = [{"name": name} for name in columns]
    return {
        "type": "RAW",
        "name": f"raw_{uuid.uuid4().hex[:6]}",
        "datasetId": dataset_id,
        "enabled": True,
        "displayFields": fields,
    }


def shown(rest, reflection):
    return rest.http.get(f"/reflection/{reflection['id']}").raise_for_status().json()


def wait_until_it_accelerates(rest, reflection):
    rest.wait(lambda: shown(rest, reflection)["status"]["combinedStatus"] == "CAN_ACCELERATE")


def declare(rest, body):
    made = rest.http.post("/reflection", json=body)
    assert made.status_code == 200, made.text
    wait_until_it_accelerates(rest, made.json())
    return made.json()


def relationships(rest, sql):
    job = rest.run(sql)
    found = job.get("acceleration", {}).get("reflectionRelationships", [])
    return {one["reflectionId"]: one["relationship"] for one in found}


@pytest.fixture
def dataset_id(rest, orders):
    return rest.entity(*orders.split("."))["id"]


QUERIES = [
    'SELECT "day", SUM(amount) AS total, COUNT(*) AS n FROM {t} GROUP BY "day" ORDER BY "day"',
    "SELECT status, AVG(amount) AS average, MIN(amount) AS least FROM {t} GROUP BY status ORDER BY status",
    "SELECT COUNT(amount) AS c, COUNT(status) AS s, COUNT(DISTINCT status) AS d FROM {t}",
    "SELECT SUM(amount) AS total, COUNT(*) AS n FROM {t} WHERE status = 'nobody'",
    "SELECT status, SUM(amount) AS total FROM {t} GROUP BY status HAVING SUM(amount) > 100 ORDER BY total DESC",
    "SELECT DISTINCT status FROM {t} ORDER BY status",
    "SELECT SUM(t.amount) AS total FROM (SELECT * FROM {t} WHERE status <> 'open') AS t"
    " WHERE \"day\" > DATE '2024-01-02'",
    "SELECT COALESCE(status, 'none') AS s, MAX(amount) AS m FROM {t} GROUP BY COALESCE(status, 'none') ORDER BY s",
]


@pytest.mark.parametrize("query", QUERIES)
def test_an_aggregation_reflection_answers_with_the_same_rows(rest, orders, dataset_id, query):
    sql = query.format(t=orders)
    before = rest.rows(sql)
    reflection = declare(rest, aggregation(dataset_id))
    assert relationships(rest, sql) == {reflection["id"]: "CHOSEN"}
    assert rest.rows(sql) == before


def test_what_it_cannot_answer_is_read_from_the_table(rest, orders, dataset_id):
    reflection = declare(rest, aggregation(dataset_id))
    for sql in (f"SELECT SUM(id) FROM {orders}", f"SELECT SUM(amount) FROM {orders} WHERE amount > 5"):
        assert relationships(rest, sql) == {reflection["id"]: "CONSIDERED"}


def test_a_raw_reflection_serves_its_columns(rest, orders, dataset_id):
    reflection = declare(rest, raw(dataset_id, "id", "status"))
    sql = f"SELECT id, status FROM {orders} WHERE id < 5 ORDER BY id"
    assert relationships(rest, sql) == {reflection["id"]: "CHOSEN"}
    assert [row["id"] for row in rest.rows(sql)] == [0, 1, 2, 3, 4]
    assert relationships(rest, f"SELECT * FROM {orders}") == {reflection["id"]: "CONSIDERED"}


def test_a_view_over_the_table_is_served(rest, space, orders, dataset_id):
    rest.run(f"CREATE VIEW {space}.orders AS SELECT id, status AS state, amount FROM {orders}")
    reflection = declare(rest, aggregation(dataset_id))
    sql = f"SELECT state, SUM(amount) AS total FROM {space}.orders GROUP BY state ORDER BY state"
    assert relationships(rest, sql) == {reflection["id"]: "CHOSEN"}


def test_old_data_is_shown_until_the_refresh(rest, orders, dataset_id):
    """Dremio's meaning of a reflection: its data are those of the last refresh, by policy or request."""
    reflection = declare(rest, aggregation(dataset_id))
    sql = f"SELECT COUNT(*) AS n FROM {orders}"
    rest.run(f"DELETE FROM {orders} WHERE id < 10")
    assert rest.rows(sql) == [{"n": 1000}]
    fetched = shown(rest, reflection)["status"]["lastDataFetch"]
    assert rest.http.post(f"/catalog/{dataset_id}/refresh").status_code == 204
    rest.wait(lambda: shown(rest, reflection)["status"]["lastDataFetch"] > fetched)
    assert rest.rows(sql) == [{"n": 990}]
    assert relationships(rest, sql) == {reflection["id"]: "CHOSEN"}


def test_a_changed_view_is_never_answered_from_its_old_query(rest, space, orders):
    rest.run(f"CREATE VIEW {space}.v AS SELECT id FROM {orders} WHERE id < 10")
    view_id = rest.entity(space, "v")["id"]
    reflection = declare(rest, raw(view_id, "id"))
    assert relationships(rest, f"SELECT id FROM {space}.v") == {reflection["id"]: "CHOSEN"}
    rest.run(f"CREATE OR REPLACE VIEW {space}.v AS SELECT id FROM {orders} WHERE id < 20")
    assert rest.rows(f"SELECT COUNT(id) AS n FROM {space}.v") == [{"n": 20}]
    rest.wait(lambda: relationships(rest, f"SELECT id FROM {space}.v") == {reflection["id"]: "CHOSEN"})
    assert rest.rows(f"SELECT COUNT(id) AS n FROM {space}.v") == [{"n": 20}]


def test_a_dataset_made_anew_has_no_reflection(rest, orders, dataset_id):
    reflection = declare(rest, raw(dataset_id, "id"))
    rest.run(f"DROP TABLE {orders}")
    rest.run(f"CREATE TABLE {orders} AS SELECT 1 AS id")
    assert rest.http.get(f"/reflection/{reflection['id']}").status_code == 404
    assert rest.rows(f"SELECT id FROM {orders}") == [{"id": 1}]
    assert relationships(rest, f"SELECT id FROM {orders}") == {}


def test_put_needs_the_tag_and_can_disable(rest, orders, dataset_id):
    reflection = shown(rest, declare(rest, raw(dataset_id, "id")))
    stale = rest.http.put(f"/reflection/{reflection['id']}", json={**reflection, "tag": "old"})
    assert (stale.status_code, "modified by another flow" in stale.text) == (409, True)
    off = rest.http.put(f"/reflection/{reflection['id']}", json={**reflection, "enabled": False}).json()
    assert off["status"]["combinedStatus"] == "DISABLED"
    assert relationships(rest, f"SELECT id FROM {orders}") == {}
    on = rest.http.put(f"/reflection/{reflection['id']}", json={**off, "enabled": True})
    assert on.status_code == 200
    wait_until_it_accelerates(rest, reflection)
    assert relationships(rest, f"SELECT id FROM {orders}") == {reflection["id"]: "CHOSEN"}


def test_sql_declares_lists_and_drops(rest, orders, dataset_id):
    rest.run(
        f'ALTER DATASET {orders} CREATE AGGREGATE REFLECTION by_day USING DIMENSIONS ("day")'
        " MEASURES (amount (SUM, COUNT))"
    )
    listed = rest.http.get(f"/dataset/{dataset_id}/reflection").json()["data"]
    assert [(one["name"], one["type"]) for one in listed] == [("by_day", "AGGREGATION")]
    wait_until_it_accelerates(rest, listed[0])
    row = rest.rows(f"SELECT * FROM sys.reflections WHERE reflection_id = '{listed[0]['id']}'")[0]
    assert (row["reflection_name"], row["dimensions"], row["measures"]) == ("by_day", "day", "amount")
    assert (row["status"], row["dataset_name"], row["record_count"]) == ("CAN_ACCELERATE", orders, 9)
    made = rest.rows(f"SELECT * FROM sys.materializations WHERE reflection_id = '{listed[0]['id']}'")[0]
    assert made["state"] == "DONE"
    job = rest.job(made["init_refresh_job_id"])
    assert (job["queryType"], job["jobState"], job["rowCount"]) == ("ACCELERATOR_CREATE", "COMPLETED", 9)
    rest.run(f"ALTER DATASET {orders} DROP REFLECTION by_day")
    assert rest.http.get(f"/dataset/{dataset_id}/reflection").json()["data"] == []
    assert "by_day" in rest.error(f"ALTER DATASET {orders} DROP REFLECTION by_day")


def test_counters_count(rest, orders, dataset_id):
    reflection = declare(rest, raw(dataset_id, "id"))
    rest.run(f"SELECT id FROM {orders}")
    rest.run(f"SELECT amount FROM {orders}")
    found = shown(rest, reflection)
    assert (found["consideredCount"], found["matchedCount"], found["acceleratedCount"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enabled": None}, "enabled"),
        ({"dimensionFields": [{"name": "nope"}]}, "nope"),
        ({"measureFields": [{"name": "status", "measureTypeList": ["SUM"]}]}, "status"),
        ({"dimensionFields": [], "measureFields": []}, "at least one"),
        ({"datasetId": "no-such-dataset"}, "no-such-dataset"),
    ],
)
def test_a_definition_that_is_wrong_is_refused(rest, dataset_id, change, message):
    answer = rest.http.post("/reflection", json=aggregation(dataset_id, **change))
    assert answer.status_code == 400
    assert message in answer.json()["errorMessage"]


def test_two_reflections_of_one_name_are_refused(rest, dataset_id):
    body = raw(dataset_id, "id")
    declare(rest, body)
    assert rest.http.post("/reflection", json=body).status_code == 409


def test_a_reflection_is_dropped(rest, orders, dataset_id):
    reflection = declare(rest, raw(dataset_id, "id"))
    dropped = rest.http.delete(f"/reflection/{reflection['id']}")
    assert (dropped.status_code, dropped.content) == (200, b"")
    assert rest.http.get(f"/reflection/{reflection['id']}").status_code == 404
    assert relationships(rest, f"SELECT id FROM {orders}") == {}
