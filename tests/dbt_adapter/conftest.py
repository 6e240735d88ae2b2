"""dbt's own adapter suites against the server, through dbt-dremio as it is.

The suites are written for databases with one schema for tables and views and with PostgreSQL's spelling. dbt-dremio
puts tables into an object storage source and views into a space, so what differs is adapted here, once for all of them:
the profile names both places, a relation is looked for in both, and the suites' own SQL is spelled as Dremio spells it.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import dbt.adapters.dremio.api.cursor as cursor
import dbt.tests.fixtures.project as fixtures
import dbt.tests.util as util
import pytest
import yaml

from tests.integration.dremio.conftest import Rest

SOURCE = f"dbt_{uuid.uuid4().hex[:8]}"  # of this run, for tables
SPACE = f"{SOURCE}_views"

# the suites' SQL and jinja, and the same as Dremio and dbt-dremio have it
SPELLINGS = [
    (r"('[^']*'|\{\{[^}]*\}\}|[\w.]+)::(\w+|\{\{[^}]*\}\})", r"cast(\1 as \2)"),
    (r"(?i)\btext\b(?=\s*[,)\n])", "varchar"),
    (r"(?i)\btimestamp without time zone\b|\btimestamptz\b", "timestamp"),
    (r"(\d\d:\d\d:\d\d)[-+]0+(?=')", r"\1"),
    (r"(?i)\badd column (\w+ [\w()]+)( default ('\w+'|null))?", r"add columns (\1)"),
    (
        r"(?:\{\{ ?target\.database ?\}\}\.)?\{\{ ?(?:target|this)\.schema ?\}\}\.(?=\w)",
        f"{SOURCE}.{{{{ target.schema }}}}.",
    ),
    (
        r"schema: \"\{\{ (target\.schema|var\('test_schema'\)) \}\}\"",
        rf'database: {SOURCE}\n    schema: "{{{{ \1 }}}}"',
    ),
    (r"(?i)interval '(\d+) (\w+)'", r"interval '\1' \2"),
    (r"'(\d\d)/(\d\d)/(\d{4})'", r"'\3-\1-\2'"),
    (r"\bdate\('([\d-]+)'\)", r"cast('\1' as date)"),
    (r"alias='(\w+)',\s*materialized='table'", r"file='\1', materialized='table'"),
    (r"target_database=database", "target_database=target.datalake"),
]  # fmt: skip


@pytest.fixture(scope="session")
def rest(reach: dict[str, str]) -> Rest:
    return Rest(reach["DREMIO_URL"], reach["DREMIO_USERNAME"], reach["DREMIO_PASSWORD"])


@pytest.fixture(scope="session")
def places(rest: Rest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A source for tables and a space for views; gone afterwards."""
    config = {"path": str(tmp_path_factory.mktemp("source"))}
    bodies = (
        {"entityType": "source", "type": "NAS", "name": SOURCE, "config": config},
        {"entityType": "space", "name": SPACE},
    )
    made = [rest.http.post("/catalog", json=body).raise_for_status().json()["id"] for body in bodies]
    yield
    for entity in made:
        rest.http.delete(f"/catalog/{entity}").raise_for_status()


@pytest.fixture(scope="session")
def users(rest: Rest) -> Iterator[None]:
    """Three users, by the names that the suites read from the environment."""
    with pytest.MonkeyPatch.context() as environment:
        for name in (f"{SOURCE}_{at}" for at in (1, 2, 3)):
            rest.run(f"CREATE USER {name}")
            environment.setenv(f"DBT_TEST_USER_{name[-1]}", f"user:{name}")
        yield
    for at in (1, 2, 3):
        rest.run(f"DROP USER {SOURCE}_{at}")


@pytest.fixture(scope="class")
def logs_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Not in the repository."""
    with pytest.MonkeyPatch.context() as environment:
        folder = str(tmp_path_factory.mktemp("logs"))
        environment.setenv("DBT_LOG_PATH", folder)
        yield folder


@pytest.fixture(scope="module")
def test_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("data") / "data"


@pytest.fixture(scope="class")
def dbt_profile_target(reach: dict[str, str], places: None) -> dict[str, Any]:
    url = urlsplit(reach["DREMIO_URL"])
    return {
        "type": "dremio",
        "threads": 4,
        "software_host": url.hostname,
        "port": url.port,
        "use_ssl": False,
        "user": reach["DREMIO_USERNAME"],
        "password": reach["DREMIO_PASSWORD"],
        "object_storage_source": SOURCE,
        "dremio_space": SPACE,
    }


@pytest.fixture(scope="class")
def dbt_profile_data(
    unique_schema: str, dbt_profile_target: dict[str, Any], profiles_config_update: dict[str, Any]
) -> dict[str, Any]:
    """The schema is the folder of tables and the folder of views."""
    target = dbt_profile_target | {"schema": unique_schema}
    profile = {"test": {"outputs": {"default": target}, "target": "default"}} | profiles_config_update
    for output in profile["test"]["outputs"].values():
        output["root_path"] = output["schema"]
    return profile


@pytest.fixture(scope="class")
def dbt_project_yml(project_root: Any, project_config_update: Any) -> dict[str, Any]:
    """A view and a table of one name take each other's place, as they do in one schema."""
    update = project_config_update
    project = {"name": "test", "profile": "test", "flags": {"send_anonymous_usage_stats": False}}
    project |= yaml.safe_load(update) if isinstance(update, str) else update
    for kind in ("models", "seeds", "snapshots"):
        project[kind] = {"+twin_strategy": "prevent"} | project.get(kind, {})
    fixtures.write_file(yaml.safe_dump(project, width=10_000), project_root, "dbt_project.yml")
    return project


def spelled(text: str) -> str:
    """A suite's text as Dremio has it."""
    for old, new in SPELLINGS:
        text = re.sub(old, new, text)
    return text


def write_file(contents: str, *paths: Any) -> None:
    dbt_write_file(contents if str(paths[-1]).endswith(".csv") else spelled(contents), *paths)


def run_sql_with_adapter(adapter: Any, sql: str, fetch: str | None = None) -> Any:
    """As dbt's own, but `schema.name` is where the name is, and DROP SCHEMA, which Dremio has not, is done by hand."""
    schema = adapter.config.credentials.schema
    sql = sql.format(schema=schema, database=adapter.quote(SPACE))
    if sql.lower().startswith("drop schema"):
        drop_relations(adapter, schema)
        return None
    made = re.search(r"(?i)create view", sql)

    def placed(name: re.Match[str]) -> str:
        identifier = name[1].strip('"')
        return f"{SPACE}.{schema}.{name[1]}" if made else str(relation_from_name(adapter, identifier))

    sql = re.sub(rf'(?:"?(?:{SPACE}|{SOURCE})"?\.)?"?\b{schema}"?\.("?\w+"?)', placed, sql)
    answer = None
    for statement in filter(str.strip, spelled(sql).split(";")):
        answer = dbt_run_sql(adapter, statement, fetch)
    return answer


def drop_relations(adapter: Any, schema: str) -> None:
    """Drops what is in the schema's folder of the space and of the source."""
    with util.get_connection(adapter):
        for place in (SPACE, SOURCE):
            relation = adapter.Relation.create(database=place, schema=schema)
            for found in adapter.list_relations_without_caching(relation):
                adapter.drop_relation(found)


def relation_from_name(adapter: Any, name: str) -> Any:
    """The view of this name in the space if there is one, or the table in the source."""
    *schema, identifier = name.split(".")
    folder = ".".join(schema) or adapter.config.credentials.schema
    view = adapter.Relation.create(database=SPACE, schema=folder, identifier=identifier)
    with util.get_connection(adapter):
        found = adapter.list_relations_without_caching(view.without_identifier())
    if identifier.lower() in (one.identifier.lower() for one in found):
        return view
    return adapter.Relation.create(database=SOURCE, schema=folder, identifier=identifier)


dbt_run_sql, dbt_write_file = util.run_sql_with_adapter, util.write_file
util.relation_from_name = relation_from_name
util.run_sql_with_adapter = fixtures.run_sql_with_adapter = run_sql_with_adapter
util.write_file = fixtures.write_file = write_file
cursor.time = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 10))  # between two looks at a job
