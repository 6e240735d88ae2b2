"""The catalog over REST: spaces, folders, views, sources, promotion, tags, wikis and labels."""

import io
import uuid
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.dremio.conftest import BUCKET, source_body


def test_a_space_is_listed_and_unique(rest, space):
    roots = rest.http.get("/catalog").json()["data"]
    mine = next(one for one in roots if one["path"] == [space])
    assert (mine["type"], mine["containerType"]) == ("CONTAINER", "SPACE")
    again = rest.http.post("/catalog", json={"entityType": "space", "name": space})
    assert (again.status_code, again.json()["errorMessage"]) == (
        409,
        f"A space with the name [{space}] already exists.",
    )


def test_folders_need_a_parent_and_are_unique(rest, space):
    def make(*path):
        return rest.http.post("/catalog", json={"entityType": "folder", "path": [space, *path]}).status_code

    assert make("a", "b") == 404
    assert make("a") == 200
    assert make("a", "b") == 200
    assert make("a", "b") == 409
    assert [child["path"] for child in rest.entity(space)["children"]] == [[space, "a"]]


def test_what_is_not_there_is_404(rest, space):
    answer = rest.http.get(f"/catalog/by-path/{space}/nothing")
    assert (answer.status_code, answer.json()["errorMessage"]) == (
        404,
        f"Could not find entity with path [[{space}, nothing]]",
    )
    assert rest.http.get("/catalog/no-such-id").json()["errorMessage"] == ("Could not find entity with id [no-such-id]")


def test_no_folder_is_made_inside_a_source(rest, source):
    answer = rest.http.post("/catalog", json={"entityType": "folder", "path": [source, "x"]})
    assert answer.status_code == 400
    assert "Can not create a folder inside a [SOURCE]" in answer.json()["errorMessage"]


def view_body(space, name, sql):
    return {"entityType": "dataset", "type": "VIRTUAL_DATASET", "path": [space, name], "sql": sql}


def test_a_view_is_changed_with_its_tag_only(rest, space):
    made = rest.http.post("/catalog", json=view_body(space, "v", "SELECT 1 AS a")).json()
    assert [(field["name"], field["type"]["name"]) for field in made["fields"]] == [("a", "INTEGER")]
    changed = rest.http.put(f"/catalog/{made['id']}", json={**made, "sql": "SELECT 'x' AS b"})
    assert (changed.status_code, changed.json()["id"]) == (200, made["id"])
    assert changed.json()["tag"] != made["tag"]
    assert rest.http.put(f"/catalog/{made['id']}", json={**made, "sql": "SELECT 2 AS a"}).status_code == 409
    assert rest.rows(f"SELECT * FROM {space}.v") == [{"b": "x"}]
    assert rest.http.delete(f"/catalog/{made['id']}").status_code == 204
    assert rest.http.get(f"/catalog/by-path/{space}/v").status_code == 404


def test_a_view_whose_sql_is_wrong_is_refused(rest, space):
    answer = rest.http.post("/catalog", json=view_body(space, "v", "SELECT nope"))
    assert answer.status_code == 400
    assert "nope" in answer.json()["errorMessage"]
    assert rest.http.get(f"/catalog/by-path/{space}/v").status_code == 404


def test_a_source_shows_no_secret_and_keeps_it(rest, source, reach, orders):
    shown = rest.entity(source)
    assert shown["config"]["accessSecret"] == "$DREMIO_EXISTING_VALUE$"
    assert reach["AWS_SECRET_ACCESS_KEY"] not in str(shown)
    changed = rest.http.put(f"/catalog/{shown['id']}", json={**shown, "accelerationRefreshPeriodMs": 7_200_000})
    assert changed.status_code == 200, changed.text
    assert changed.json()["accelerationRefreshPeriodMs"] == 7_200_000
    assert rest.rows(f"SELECT COUNT(*) AS n FROM {orders}") == [{"n": 1000}]
    assert rest.http.put(f"/catalog/{shown['id']}", json=shown).status_code == 409


def test_a_source_is_unique_and_its_type_known(rest, source, reach):
    again = rest.http.post("/catalog", json=source_body(reach, source))
    assert (again.status_code, again.json()["errorMessage"]) == (
        409,
        f"A source with the name [{source}] already exists.",
    )
    other = {**source_body(reach, f"{source}_x"), "type": "FLOPPY"}
    assert rest.http.post("/catalog", json=other).status_code == 400


def put_parquet(store, source, path, values):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"n": pa.array(values, pa.int64())}), buffer)
    store.put_object(Bucket=BUCKET, Key=f"{source}/{path}", Body=buffer.getvalue())


def test_a_folder_is_promoted_and_unpromoted(rest, source, store):
    folder = f"files_{uuid.uuid4().hex[:6]}"
    put_parquet(store, source, f"{folder}/date=2024-01-01/a.parquet", [1, 2])
    found = rest.entity(source, folder)
    assert (found["entityType"], found["id"]) == ("folder", f"dremio:/{source}/{folder}")
    url = f"/catalog/{quote(found['id'], safe='')}"
    body = {"entityType": "dataset", "type": "PHYSICAL_DATASET", "path": [source, folder]}
    missing = rest.http.post(url, json=body)
    assert (missing.status_code, missing.json()["errorMessage"]) == (
        400,
        "Promoted dataset needs to have a format set.",
    )
    table = rest.http.post(url, json={**body, "format": {"type": "Parquet"}})
    assert table.status_code == 200, table.text
    assert table.json()["format"]["type"] == "Parquet"
    assert {field["name"] for field in table.json()["fields"]} == {"n", "date"}
    query = f'SELECT SUM(n) AS total, MAX("date") AS newest FROM {source}.{folder}'
    assert rest.rows(query) == [{"total": 3, "newest": "2024-01-01"}]
    put_parquet(store, source, f"{folder}/date=2024-01-02/b.parquet", [10])
    assert rest.rows(query) == [{"total": 3, "newest": "2024-01-01"}]
    rest.run(f"ALTER TABLE {source}.{folder} REFRESH METADATA")
    assert rest.rows(query) == [{"total": 13, "newest": "2024-01-02"}]
    assert rest.http.delete(f"/catalog/{table.json()['id']}").status_code == 204
    assert rest.entity(source, folder)["entityType"] == "folder"


def test_a_refresh_policy_is_kept_on_the_table(rest, orders):
    table = rest.entity(*orders.split("."))
    policy = {"activePolicyType": "PERIOD", "refreshPeriodMs": 3_600_000, "gracePeriodMs": 10_800_000}
    changed = rest.http.put(f"/catalog/{table['id']}", json={**table, "accelerationRefreshPolicy": policy})
    assert changed.status_code == 200, changed.text
    shown = rest.entity(*orders.split("."))["accelerationRefreshPolicy"]
    assert (shown["activePolicyType"], shown["refreshPeriodMs"]) == ("PERIOD", 3_600_000)
    current = rest.entity(*orders.split("."))
    short = {**current, "accelerationRefreshPolicy": {**policy, "refreshPeriodMs": 1000}}
    assert rest.http.put(f"/catalog/{table['id']}", json=short).status_code == 400


@pytest.mark.parametrize(
    ("what", "empty", "first", "second"),
    [
        ("wiki", {"text": "", "version": None}, {"text": "a"}, {"text": "b"}),
        ("tag", {"tags": [], "version": None}, {"tags": ["a"]}, {"tags": ["a", "b"]}),
    ],
)
def test_wikis_and_labels_are_versioned(rest, space, what, empty, first, second):
    view = rest.http.post("/catalog", json=view_body(space, "v", "SELECT 1 AS a")).json()
    url = f"/catalog/{view['id']}/collaboration/{what}"
    assert rest.http.get(url).json() == empty
    stored = rest.http.post(url, json=first).json()
    assert rest.http.get(url).json() == {**first, "version": stored["version"]}
    assert rest.http.post(url, json={**second, "version": stored["version"]}).status_code == 200
    assert rest.http.post(url, json={**first, "version": stored["version"]}).status_code == 409
    assert {k: v for k, v in rest.http.get(url).json().items() if k != "version"} == second


def test_what_the_enterprise_edition_alone_has(rest, reach, space):
    if reach.get("DREMIO_EDITION") == "enterprise":
        assert isinstance(rest.http.get("/reflection").json()["data"], list)
        assert rest.rows("SELECT COUNT(*) AS n FROM sys.jobs_recent")[0]["n"] > 0
        return
    entity = rest.entity(space)
    assert rest.http.get(f"/catalog/{entity['id']}/grants").status_code == 404
    assert rest.http.get("/reflection").status_code == 404
    assert "jobs_recent" in rest.error("SELECT * FROM sys.jobs_recent")
