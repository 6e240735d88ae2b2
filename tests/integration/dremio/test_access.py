"""Users, roles and privileges of the enterprise edition: granted, and then enforced."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.integration.dremio.conftest import Rest
from tests.integration.dremio.own_server import LAKE, own_server


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """The administrator of an enterprise server of this module's own, with a source for tables."""
    with own_server(tmp_path_factory.mktemp("enterprise"), "enterprise") as server:
        yield server.client()


@dataclass
class Case:
    """Two users and a folder of the lake with two tables, of one test's own."""

    admin: Rest
    ann: Rest
    ben: Rest
    folder: str


@pytest.fixture
def case(admin: Rest) -> Iterator[Case]:
    mark = uuid.uuid4().hex[:8]
    clients = []
    for name in (f"ann_{mark}", f"ben_{mark}"):
        admin.run(f"CREATE USER {name}")
        admin.run(f"ALTER USER {name} SET PASSWORD 'secret-{name}'")
        clients.append(Rest(admin.url, name, f"secret-{name}"))
    folder = f"{LAKE}.f_{mark}"
    admin.run(f"CREATE TABLE {folder}.t AS SELECT 1 AS a")
    admin.run(f"CREATE TABLE {folder}.u AS SELECT 2 AS a")
    yield Case(admin, *clients, folder)
    admin.run(f"DROP TABLE IF EXISTS {folder}.t")
    admin.run(f"DROP TABLE IF EXISTS {folder}.u")


def name_of(client: Rest) -> str:
    return str(client.login["userName"])


@pytest.mark.parametrize(
    ("privilege", "statement"),
    [
        ("SELECT", "SELECT * FROM {t}"),
        ("SELECT", "SELECT * FROM TABLE(table_history('{t}'))"),
        ("INSERT", "INSERT INTO {t} VALUES (2)"),
        ("TRUNCATE", "TRUNCATE TABLE {t}"),
        ("ALTER", "ALTER TABLE {t} ADD COLUMNS (b INT)"),
        ("ALTER REFLECTION", "ALTER TABLE {t} DROP REFLECTION r"),
        ("SELECT, UPDATE", "UPDATE {t} SET a = 3"),
        ("SELECT, DELETE", "DELETE FROM {t} WHERE a = 3"),
        (
            "SELECT, INSERT, UPDATE",
            "MERGE INTO {t} USING (SELECT 9 AS k) s ON a = k WHEN NOT MATCHED THEN INSERT (a) VALUES (k)",
        ),
        ("DROP", "DROP TABLE {t}"),
    ],
)
def test_a_statement_needs_its_privilege(case: Case, privilege: str, statement: str) -> None:
    sql = statement.format(t=f"{case.folder}.t")
    assert "has no privilege" in case.ann.error(sql)
    assert "has no privilege" in case.ben.error(sql)
    case.admin.run(f"GRANT {privilege} ON TABLE {case.folder}.t TO USER {name_of(case.ann)}")
    job = case.ann.finished(case.ann.submit(sql))
    assert "privilege" not in (job["errorMessage"] or "")


def test_a_revoked_privilege_is_gone_at_once(case: Case) -> None:
    read = f"SELECT a FROM {case.folder}.t"
    grant = f"SELECT ON TABLE {case.folder}.t"
    case.admin.run(f"GRANT {grant} TO USER {name_of(case.ann)}")
    assert case.ann.rows(read) == [{"a": 1}]
    case.admin.run(f"REVOKE {grant} FROM USER {name_of(case.ann)}")
    assert "has no privilege SELECT" in case.ann.error(read)


def test_a_folder_gives_its_privileges_to_what_is_in_it_all_datasets_only_to_what_there_is(case: Case) -> None:
    case.admin.run(f"GRANT SELECT ON FOLDER {case.folder} TO USER {name_of(case.ann)}")
    case.admin.run(f"GRANT SELECT ON ALL DATASETS IN FOLDER {case.folder} TO USER {name_of(case.ben)}")
    case.admin.run(f"CREATE TABLE {case.folder}.later AS SELECT 3 AS a")
    assert case.ann.rows(f"SELECT a FROM {case.folder}.u") == case.ben.rows(f"SELECT a FROM {case.folder}.u")
    assert case.ann.rows(f"SELECT a FROM {case.folder}.later") == [{"a": 3}]
    assert "has no privilege SELECT" in case.ben.error(f"SELECT a FROM {case.folder}.later")
    case.admin.run(f"DROP TABLE {case.folder}.later")


def test_roles_and_roles_of_roles(case: Case) -> None:
    inner, outer = f"in_{uuid.uuid4().hex[:8]}", f"out_{uuid.uuid4().hex[:8]}"
    case.admin.run(f"CREATE ROLE {inner}")
    case.admin.run(f"CREATE ROLE {outer}")
    case.admin.run(f"GRANT SELECT ON TABLE {case.folder}.t TO ROLE {inner}")
    case.admin.run(f"GRANT ROLE {inner} TO ROLE {outer}")
    case.admin.run(f"GRANT ROLE {outer} TO USER {name_of(case.ann)}")
    assert "cannot be a member of itself" in case.admin.error(f"GRANT ROLE {outer} TO ROLE {inner}")
    assert case.ann.rows(f"SELECT a FROM {case.folder}.t") == [{"a": 1}]
    case.admin.run(f"REVOKE ROLE {outer} FROM USER {name_of(case.ann)}")
    assert "has no privilege SELECT" in case.ann.error(f"SELECT a FROM {case.folder}.t")
    case.admin.run(f"DROP ROLE {outer}")
    case.admin.run(f"DROP ROLE {inner}")


def test_a_view_reads_with_its_owners_privileges(case: Case) -> None:
    ann, ben = name_of(case.ann), name_of(case.ben)
    view = f'"@{ann}".v'
    assert "has no privilege SELECT" in case.ann.error(f"CREATE VIEW {view} AS SELECT a FROM {case.folder}.t")
    case.admin.run(f"GRANT SELECT ON TABLE {case.folder}.t TO USER {ann}")
    case.ann.run(f"CREATE VIEW {view} AS SELECT a FROM {case.folder}.t")
    assert "has no privilege SELECT" in case.ben.error(f"SELECT * FROM {view}")
    case.ann.run(f"GRANT SELECT ON VIEW {view} TO USER {ben}")
    assert case.ben.rows(f"SELECT * FROM {view}") == [{"a": 1}]
    case.admin.run(f"REVOKE SELECT ON TABLE {case.folder}.t FROM USER {ann}")
    assert f"User [{ann}] has no privilege SELECT" in case.ben.error(f"SELECT * FROM {view}")
    case.admin.run(f"DROP USER {ann}")
    assert "no privilege SELECT" in case.admin.error(f"SELECT * FROM {view}")


def test_who_replaces_a_view_owns_it(case: Case) -> None:
    """Otherwise ALTER on a view would read whatever its owner may read."""
    view = f'"@{name_of(case.ann)}".v'
    case.admin.run(f"CREATE VIEW {view} AS SELECT 1 AS a")
    case.admin.run(f"GRANT ALTER, SELECT ON VIEW {view} TO USER {name_of(case.ben)}")
    steal = f"CREATE OR REPLACE VIEW {view} AS SELECT a FROM {case.folder}.u"
    assert "has no privilege SELECT" in case.ben.error(steal)
    case.ben.run(f"CREATE OR REPLACE VIEW {view} AS SELECT 2 AS a")
    assert case.ben.rows(f"SELECT a FROM {view}") == [{"a": 2}]


def test_a_function_needs_execute_and_reads_as_its_owner(case: Case) -> None:
    function = f'"@admin".f_{uuid.uuid4().hex[:8]}'
    case.admin.run(f"CREATE FUNCTION {function}() RETURNS INT RETURN SELECT max(a) FROM {case.folder}.u")
    assert "has no privilege EXECUTE" in case.ann.error(f"SELECT {function}() AS a")
    case.admin.run(f"GRANT EXECUTE ON FUNCTION {function} TO USER {name_of(case.ann)}")
    assert case.ann.rows(f"SELECT {function}() AS a") == [{"a": 2}]
    case.admin.run(f"DROP FUNCTION {function}")


def test_is_member_and_what_depends_on_the_user_is_in_no_reflection(case: Case) -> None:
    role, view = f"r_{uuid.uuid4().hex[:8]}", f'"@admin".v_{uuid.uuid4().hex[:8]}'
    case.admin.run(f"CREATE ROLE {role}")
    case.admin.run(f"CREATE VIEW {view} AS SELECT a, IS_MEMBER('{role}') AS m FROM {case.folder}.t")
    for client in (case.ann, case.ben):
        case.admin.run(f"GRANT SELECT ON VIEW {view} TO USER {name_of(client)}")
    assert case.ann.rows(f"SELECT m FROM {view}") == [{"m": False}]
    case.admin.run(f"GRANT ROLE {role} TO USER {name_of(case.ann)}")
    case.admin.run(f"ALTER VIEW {view} CREATE RAW REFLECTION r USING DISPLAY (a, m)")
    failed = "SELECT status FROM sys.reflections WHERE reflection_name = 'r'"
    case.admin.wait(lambda: "FAILED" in str(case.admin.rows(failed)) or "CANNOT" in str(case.admin.rows(failed)), 60)
    assert case.ann.rows(f"SELECT m FROM {view}") == [{"m": True}]
    assert case.ben.rows(f"SELECT m FROM {view}") == [{"m": False}]
    case.admin.run(f"DROP VIEW {view}")
    case.admin.run(f"DROP ROLE {role}")


def test_a_maker_owns_what_it_made_and_may_give_it_away(case: Case) -> None:
    ann, ben = name_of(case.ann), name_of(case.ben)
    create = f"CREATE TABLE {case.folder}.mine AS SELECT 5 AS a"
    assert "has no privilege CREATE TABLE" in case.ann.error(create)
    case.admin.run(f"GRANT CREATE TABLE ON FOLDER {case.folder} TO USER {ann}")
    case.ann.run(create)
    case.ann.run(f"OPTIMIZE TABLE {case.folder}.mine")
    assert "needs the ownership" in case.ben.error(f"OPTIMIZE TABLE {case.folder}.mine")
    case.ann.run(f"GRANT OWNERSHIP ON TABLE {case.folder}.mine TO USER {ben}")
    assert "has no privilege SELECT" in case.ann.error(f"SELECT * FROM {case.folder}.mine")
    case.ben.run(f"DROP TABLE {case.folder}.mine")


def test_a_grant_ends_with_its_table(case: Case) -> None:
    case.admin.run(f"GRANT SELECT ON TABLE {case.folder}.t TO USER {name_of(case.ann)}")
    case.admin.run(f"DROP TABLE {case.folder}.t")
    case.admin.run(f"CREATE TABLE {case.folder}.t AS SELECT 7 AS a")
    assert "has no privilege SELECT" in case.ann.error(f"SELECT a FROM {case.folder}.t")


def test_what_may_not_be_used_is_not_shown(case: Case) -> None:
    schema = case.folder
    listed = f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{schema}'"
    columns = f"SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = '{schema}'"
    assert case.ann.rows(listed) == case.ann.rows(columns) == case.ann.rows(f"SHOW TABLES IN {schema}") == []
    assert "Unknown table" in case.ann.error(f"DESCRIBE {schema}.t")
    case.admin.run(f"GRANT SELECT ON TABLE {schema}.t TO USER {name_of(case.ann)}")
    assert case.ann.rows(listed) == [{"TABLE_NAME": "t"}]
    assert case.ann.rows(columns) == [{"COLUMN_NAME": "a"}]
    assert case.ann.rows(f"SHOW TABLES IN {schema}") == [{"TABLE_SCHEMA": schema, "TABLE_NAME": "t"}]
    assert len(case.ann.rows(f"DESCRIBE {schema}.t")) == 1


def test_files_are_copied_by_who_may_read_their_folder(case: Case) -> None:
    case.admin.run(f"GRANT INSERT ON TABLE {case.folder}.t TO USER {name_of(case.ann)}")
    assert "has no privilege SELECT" in case.ann.error(f"COPY INTO {case.folder}.t FROM '@{LAKE}/in' FILE_FORMAT 'csv'")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE USER nobody",
        "CREATE ROLE nothing",
        "GRANT ROLE ADMIN TO USER admin",
        "GRANT SELECT ON SYSTEM TO ROLE PUBLIC",
        "SELECT * FROM sys.reflections",
        "SELECT * FROM sys.roles",
        "SELECT * FROM sys.users",
        "CREATE VIEW \"@admin\".v AS SELECT 1 AS a",
        "CREATE FOLDER \"@admin\".f",
    ],
)  # fmt: skip
def test_administrators_only(case: Case, sql: str) -> None:
    assert case.ann.error(sql)
    assert "privilege" in case.ann.error(sql) or "administrators" in case.ann.error(sql)


def test_the_catalogs_paths_are_for_administrators(case: Case) -> None:
    for path in ("/catalog", "/catalog/by-path/lake", "/reflection"):
        assert case.ann.http.get(path).status_code == 403
        assert case.admin.http.get(path).status_code == 200


def test_jobs_are_their_users_own(case: Case) -> None:
    job = case.admin.run("SELECT 1")
    assert case.ann.http.get(f"/job/{job['id']}").status_code == 404
    case.ann.run("SELECT 2")
    assert {row["user_name"] for row in case.ann.rows("SELECT user_name FROM sys.jobs")} == {name_of(case.ann)}


def test_what_sys_shows(case: Case) -> None:
    ann, role = name_of(case.ann), f"r_{uuid.uuid4().hex[:8]}"
    case.admin.run(f"CREATE ROLE {role}")
    case.admin.run(f"GRANT ROLE {role} TO USER {ann}")
    case.admin.run(f"GRANT SELECT, MANAGE GRANTS ON TABLE {case.folder}.t TO ROLE {role}")
    shown = case.admin.rows(f"SELECT * FROM sys.privileges WHERE object_id = '{case.folder}.t' ORDER BY privilege")
    assert [(r["grantee_id"], r["grantee_type"], r["privilege"], r["object_type"]) for r in shown] == [
        (role, "role", "MANAGE_GRANTS", "PDS"),
        (role, "role", "SELECT", "PDS"),
    ]
    assert case.admin.rows(f"SELECT member_name, member_type FROM sys.membership WHERE role_name = '{role}'") == [
        {"member_name": ann, "member_type": "user"}
    ]
    [user] = case.admin.rows(f"SELECT * FROM sys.users WHERE user_name = '{ann}'")
    assert (user["user_id"], user["status"], user["user_type"]) == (case.ann.login["userId"], "active", "LOCAL")
    owners = case.admin.rows(
        f"SELECT owner_id FROM sys.roles WHERE role_name IN ('ADMIN', '{role}') ORDER BY role_name"
    )
    assert [row["owner_id"] for row in owners] == ["$dremio$", case.admin.login["userId"]]
    route = f"ALTER TABLE {case.folder}.t ROUTE REFLECTIONS TO"
    assert "the default queue" in case.admin.rows(f"{route} DEFAULT QUEUE")[0]["summary"]
    assert "Invalid queue name" in case.admin.error(f"{route} QUEUE fast")
    case.ann.run(f"GRANT SELECT ON TABLE {case.folder}.t TO USER {name_of(case.ben)}")
    assert case.ben.rows(f"SELECT a FROM {case.folder}.t") == [{"a": 1}]
    case.admin.run(f"DROP ROLE {role}")


def test_a_password_is_set_and_unset_and_not_shown(case: Case) -> None:
    ann = name_of(case.ann)
    case.admin.run(f"ALTER USER {ann} SET PASSWORD 'another-one'")
    assert case.ann.http.get("/catalog").status_code == 401
    Rest(case.admin.url, ann, "another-one")
    texts = case.admin.rows(f"SELECT DISTINCT query FROM sys.jobs WHERE query LIKE 'ALTER USER {ann}%'")
    assert texts == [{"query": f"ALTER USER {ann} SET PASSWORD '***'"}]
    case.admin.run(f"ALTER USER {ann} UNSET PASSWORD")
    with pytest.raises(httpx.HTTPStatusError):
        Rest(case.admin.url, ann, "another-one")


def test_users_are_made_and_get_another_password_by_rest(case: Case) -> None:
    name = f"eve_{uuid.uuid4().hex[:8]}"
    body = {"name": name, "password": "secret-word-1"}
    assert case.ann.http.post("/user", json=body).status_code == 403
    assert "at least 8 letters" in case.admin.http.post("/user", json=body | {"password": "short1"}).text
    assert "firstName of a user" in case.admin.http.post("/user", json=body | {"firstName": "Eve"}).text
    made = case.admin.http.post("/user", json=body)
    assert (made.status_code, made.json()["name"], made.json()["@type"]) == (200, name, "EnterpriseUser")
    again = case.admin.http.post("/user", json=body)
    assert (again.status_code, again.json()["errorMessage"]) == (400, f"User [{name}] already exists.")
    Rest(case.admin.url, name, "secret-word-1")
    case.admin.http.put(f"/user/{made.json()['id']}", json=body | {"password": "another-word-2"}).raise_for_status()
    Rest(case.admin.url, name, "another-word-2")
    with pytest.raises(httpx.HTTPStatusError):
        Rest(case.admin.url, name, "secret-word-1")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("GRANT USAGE ON ENGINE e TO USER admin", "GRANT on ENGINE is not supported in this edition."),
        ("GRANT VIEW REFLECTION ON SYSTEM TO USER admin", "Privilege VIEW REFLECTION on SYSTEM is not supported."),
        ("GRANT INSERT ON SPACE nowhere TO USER admin", "Space [nowhere] not found."),
        ("GRANT SELECT ON SYSTEM TO USER nobody", "User [nobody] not found."),
        ("GRANT OWNERSHIP, SELECT ON SOURCE lake TO USER admin", "OWNERSHIP is granted alone"),
        ("CREATE USER Admin", "User [Admin] already exists."),
        ("DROP ROLE PUBLIC", "Role [PUBLIC] cannot be dropped."),
        ("DROP USER admin", "A user cannot drop itself."),
    ],
)
def test_refused(admin: Rest, sql: str, message: str) -> None:
    assert message in admin.error(sql)
