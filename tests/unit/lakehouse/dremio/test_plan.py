import json
import re

import pytest
from airflow.sdk import Connection

from lakehouse.dremio.declared.catalog import Catalog
from lakehouse.dremio.declared.plan import apply, plan
from lakehouse.dremio.declared.source_config import source_config
from lakehouse.dremio.exceptions import DremioConfigError, DremioError

LAKE = {"name": "datalake", "type": "S3", "connection": "minio_default", "root_path": "/datalake"}
SHOP = {"name": "shop", "type": "POSTGRES", "connection": "shop_db"}
VIEW = {"path": "bronze.raw_orders", "sql": "SELECT * FROM datalake.bronze.postgres.orders"}


def minio(endpoint="http://127.0.0.1:9000", password="s3cret-key"):
    extra = json.dumps({"endpoint_url": endpoint} if endpoint else {})
    return Connection(conn_id="minio_default", conn_type="aws", login="key", password=password, extra=extra)


def shop(**changes):
    fields = {"host": "db", "port": 5432, "login": "u", "password": "s3cret-pw", "schema": "shop"} | changes
    return Connection(conn_id="shop_db", conn_type="postgres", **fields)


def connections(conn_id):
    return {"minio_default": minio(), "shop_db": shop()}[conn_id]


def stored_source(declared, **changes):
    """What Dremio answers for a source that was made from its declaration."""
    source = Catalog(sources=[declared]).sources[0]
    config = source_config(source, connections(source.connection))
    masked = {
        key: "$DREMIO_EXISTING_VALUE$" if key in ("accessSecret", "password") else value
        for key, value in config.items()
    }
    return {
        "entityType": "source",
        "id": f"id-{source.name}",
        "tag": "t",
        "name": source.name,
        "type": source.type,
        "config": masked | {"maxCacheSpacePct": 100} | changes,
        "state": {"status": "good"},
        "children": [],
    }


def by_path(*parts):
    return "/api/v3/catalog/by-path/" + "/".join(parts)


def test_an_s3_source_of_minio():
    config = source_config(Catalog(sources=[LAKE]).sources[0], minio())
    assert config["compatibilityMode"] is True and config["secure"] is False
    assert config["rootPath"] == "/datalake"
    assert {"name": "fs.s3a.endpoint", "value": "127.0.0.1:9000"} in config["propertyList"]


def test_an_s3_source_of_aws_has_no_endpoint():
    config = source_config(Catalog(sources=[LAKE]).sources[0], minio(endpoint=None))
    assert (config["compatibilityMode"], config["secure"], config["propertyList"]) == (False, True, [])


def test_a_postgres_source_has_its_port_as_text():
    config = source_config(Catalog(sources=[SHOP]).sources[0], shop())
    assert (config["hostname"], config["port"], config["databaseName"]) == ("db", "5432", "shop")


@pytest.mark.parametrize(
    ("declared", "conn", "text"),
    [
        pytest.param(SHOP, shop(schema=None), "'shop_db' .*schema missing", id="no-database"),
        pytest.param(SHOP, shop(login="", host=""), "host, login missing", id="several"),
        pytest.param(LAKE, minio(endpoint="nowhere"), "endpoint_url 'nowhere'", id="endpoint"),
        pytest.param(LAKE, minio(password=""), "password missing", id="no-secret"),
    ],
)
def test_a_connection_that_lacks_something_is_named(declared, conn, text):
    with pytest.raises(DremioConfigError, match=text):
        source_config(Catalog(sources=[declared]).sources[0], conn)


def test_on_an_empty_server_everything_is_created(hook, dremio):
    dremio.on_sql(lambda sql: {})
    dremio.on("POST", "/api/v3/catalog", {})
    catalog = Catalog(sources=[LAKE, SHOP], spaces=[{"name": "bronze"}], views=[VIEW])
    changes = plan(hook, catalog, connections)
    assert [str(change) for change in changes] == [
        "create source datalake",
        "create source shop",
        "create space bronze",
        "create view bronze.raw_orders",
    ]
    for change in changes:
        apply(hook, change, connections)
    made = dremio.sent("POST", "/api/v3/catalog")
    assert [entity["name"] for entity in made] == ["datalake", "shop", "bronze"]
    assert made[0]["config"]["accessSecret"] == "s3cret-key"
    assert dremio.statements() == [f'CREATE OR REPLACE VIEW "bronze"."raw_orders" AS {VIEW["sql"]}']


def test_what_is_as_declared_is_left_alone(hook, dremio):
    dremio.on("GET", by_path("datalake"), stored_source(LAKE))
    dremio.on("GET", by_path("shop"), stored_source(SHOP))
    dremio.on("GET", by_path("bronze"), {"entityType": "space", "id": "s"})
    fields = [{"name": "order_id"}]
    view = {"id": "v", "type": "VIRTUAL_DATASET", "sql": VIEW["sql"], "fields": fields}
    dremio.on("GET", by_path("bronze", "raw_orders"), view)
    dremio.on_sql(lambda sql: {"schema": [{"name": "order_id", "type": {"name": "BIGINT"}}]})
    catalog = Catalog(sources=[LAKE, SHOP], spaces=[{"name": "bronze"}], views=[VIEW])
    assert plan(hook, catalog, connections) == []


def test_drift_of_a_source_is_shown_and_mended_without_its_secret(hook, dremio):
    dremio.on("GET", by_path("datalake"), stored_source(LAKE, rootPath="/other"))
    dremio.on("PUT", "/api/v3/catalog/id-datalake", {})
    (change,) = plan(hook, Catalog(sources=[LAKE]), connections)
    assert str(change) == "update source datalake: rootPath: '/other' -> '/datalake'"
    apply(hook, change, connections)
    (sent,) = dremio.sent("PUT", "/api/v3/catalog/id-datalake")
    assert sent["tag"] == "t"
    assert sent["config"]["rootPath"] == "/datalake" and sent["config"]["maxCacheSpacePct"] == 100
    assert sent["config"]["accessSecret"] == "s3cret-key"


def test_a_source_that_cannot_log_in_is_given_its_credentials_again(hook, dremio):
    state = {"status": "bad", "suggestedUserAction": "check the password"}
    dremio.on("GET", by_path("shop"), stored_source(SHOP) | {"state": state})
    (change,) = plan(hook, Catalog(sources=[SHOP]), connections)
    assert "bad (check the password)" in str(change) and "s3cret" not in str(change)


def test_a_name_taken_by_another_kind_is_an_error(hook, dremio):
    dremio.on("GET", by_path("shop"), {"entityType": "space", "id": "x"})
    with pytest.raises(DremioError, match="space of type None named shop"):
        plan(hook, Catalog(sources=[SHOP]), connections)


@pytest.mark.parametrize(
    ("stored", "now", "difference"),
    [
        pytest.param("SELECT 1 AS a", ["a"], "sql differs", id="sql"),
        pytest.param(VIEW["sql"], ["a", "b"], r"columns: \[\] -> \['b'\]", id="new-column"),
        pytest.param(VIEW["sql"], [], r"columns: \['a'\] -> \[\]", id="dropped-column"),
    ],
)
def test_a_stale_view_is_made_anew(hook, dremio, stored, now, difference):
    view = {"id": "v", "type": "VIRTUAL_DATASET", "sql": stored, "fields": [{"name": "a"}]}
    dremio.on("GET", by_path("bronze", "raw_orders"), view)
    dremio.on_sql(lambda sql: {"schema": [{"name": name} for name in now]})
    (change,) = plan(hook, Catalog(views=[VIEW]), connections)
    assert re.search(difference, str(change))


def test_layout_of_the_sql_is_no_difference(hook, dremio):
    stored = "SELECT *\n  FROM datalake.bronze.postgres.orders ;"
    view = {"id": "v", "type": "VIRTUAL_DATASET", "sql": stored, "fields": []}
    dremio.on("GET", by_path("bronze", "raw_orders"), view)
    dremio.on_sql(lambda sql: {})
    assert plan(hook, Catalog(views=[VIEW]), connections) == []


def test_a_description_is_written_once(hook, dremio):
    dremio.on("GET", by_path("gold"), {"entityType": "space", "id": "g"})
    dremio.on("GET", "/api/v3/catalog/g/collaboration/wiki", {"text": "old", "version": 3})
    dremio.on("POST", "/api/v3/catalog/g/collaboration/wiki", {})
    catalog = Catalog(spaces=[{"name": "gold", "description": "The marts."}])
    (change,) = plan(hook, catalog, connections)
    apply(hook, change, connections)
    sent = dremio.sent("POST", "/api/v3/catalog/g/collaboration/wiki")
    assert sent == [{"text": "The marts.", "version": 3}]
    dremio.on("GET", "/api/v3/catalog/g/collaboration/wiki", {"text": "The marts.", "version": 4})
    assert plan(hook, catalog, connections) == []


def test_a_folder_is_made_once_and_something_else_in_its_place_is_named(hook, dremio):
    catalog = Catalog(folders=[{"path": "gold.reports"}])
    dremio.on("POST", "/api/v3/catalog", {})
    (change,) = plan(hook, catalog, connections)
    assert str(change) == "create folder gold.reports"
    apply(hook, change, connections)
    assert dremio.sent("POST", "/api/v3/catalog") == [{"entityType": "folder", "path": ["gold", "reports"]}]
    dremio.on("GET", by_path("gold", "reports"), {"entityType": "folder", "id": "f"})
    assert plan(hook, catalog, connections) == []
    dremio.on("GET", by_path("gold", "reports"), {"entityType": "dataset", "id": "d"})
    with pytest.raises(DremioError, match=r"a dataset at gold.reports, where a folder is declared"):
        plan(hook, catalog, connections)


def test_tags_are_written_once_and_left_alone_where_none_are_declared(hook, dremio):
    view, place = {"id": "v", "type": "VIRTUAL_DATASET", "sql": VIEW["sql"]}, "/api/v3/catalog/v/collaboration/tag"
    dremio.on("GET", by_path("bronze", "raw_orders"), view)
    dremio.on("GET", place, {"tags": ["old"], "version": "4"})
    dremio.on("POST", place, {})
    dremio.on_sql(lambda sql: {})
    assert plan(hook, Catalog(views=[VIEW]), connections) == []
    catalog = Catalog(views=[{**VIEW, "tags": ["raw", "orders"]}])
    (change,) = plan(hook, catalog, connections)
    assert str(change).endswith("tags: ['old'] -> ['orders', 'raw']")
    apply(hook, change, connections)
    assert dremio.sent("POST", place) == [{"tags": ["raw", "orders"], "version": "4"}]
    dremio.on("GET", place, {"tags": ["orders", "raw"], "version": "5"})
    assert plan(hook, catalog, connections) == []


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        pytest.param({"sources": [{**SHOP, "root_path": "/x"}]}, "root_path belongs to type S3", id="root"),
        pytest.param({"sources": [{**LAKE, "root_path": "x"}]}, "must begin with '/'", id="relative"),
        pytest.param({"spaces": [{"name": "a"}, {"name": "a"}]}, "declared more than once: a", id="twice"),
        pytest.param({"spaces": [{"name": "a", "colour": 1}]}, "Extra inputs", id="unknown-key"),
    ],
)
def test_a_wrong_declaration_is_refused(declared, text):
    with pytest.raises(ValueError, match=text):
        Catalog.model_validate(declared)
