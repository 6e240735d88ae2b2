"""Roles as declared: what is missing becomes one statement each, what is surplus goes only where it is told to."""

import pytest
from pydantic import ValidationError

from lakehouse.dremio.declared.catalog import Catalog
from lakehouse.dremio.declared.plan import apply, plan
from lakehouse.dremio.declared.roles import Grant, Role
from lakehouse.dremio.exceptions import DremioError, DremioJobFailed

ANALYSTS = {
    "name": "analysts",
    "users": ["ann"],
    "roles": ["interns"],
    "grants": [{"on": "SPACE gold", "privileges": ["SELECT", "ALTER REFLECTION"]}],
}


@pytest.fixture
def server(dremio):
    """Rows of sys.roles, sys.membership and sys.privileges; `refused` fails the statements that begin with it."""
    rows = {"sys.roles": [], "sys.membership": [], "sys.privileges": []}
    refused = {}

    def outcome(sql):
        for start, message in refused.items():
            if sql.startswith(start):
                return {"jobState": "FAILED", "errorMessage": message}
        table = sql.rpartition(" FROM ")[2]
        return {"rows": rows.get(table, [])} if table in rows else {}

    dremio.on_sql(outcome)
    rows["refused"] = refused
    return rows


def changes(hook, *roles, parts=("roles",)):
    return plan(hook, Catalog(roles=list(roles)), lambda conn_id: None, parts)


def test_everything_that_is_missing_is_one_statement(hook, server):
    found = changes(hook, ANALYSTS)
    assert [change.sql for change in found] == [
        'CREATE ROLE "analysts"',
        'GRANT ROLE "analysts" TO USER "ann"',
        'GRANT ROLE "analysts" TO ROLE "interns"',
        'GRANT SELECT, ALTER REFLECTION ON SPACE "gold" TO ROLE "analysts"',
    ]
    assert str(found[-1]) == "grant SELECT, ALTER REFLECTION on SPACE gold to analysts"


def test_what_is_there_in_any_case_and_quoting_is_not_repeated(hook, server):
    server["sys.roles"] = [{"role_name": "Analysts"}]
    server["sys.membership"] = [
        {"role_name": "Analysts", "member_name": "ANN", "member_type": "user"},
        {"role_name": "Analysts", "member_name": "interns", "member_type": "ROLE"},
    ]
    server["sys.privileges"] = [
        {
            "grantee_id": "analysts",
            "grantee_type": "role",
            "privilege": word,
            "object_id": '"gold"',
            "object_type": "SPACE",
        }
        for word in ("SELECT", "ALTER_REFLECTION")
    ]
    assert changes(hook, ANALYSTS) == []


def test_what_is_not_declared_stays_unless_the_role_is_exclusive(hook, server):
    server["sys.roles"] = [{"role_name": "analysts"}]
    server["sys.membership"] = [{"role_name": "analysts", "member_name": "bob", "member_type": "user"}]
    privilege = {"grantee_id": "analysts", "grantee_type": "role"}
    server["sys.privileges"] = [
        privilege | {"privilege": "SELECT", "object_id": "gold", "object_type": "SPACE"},
        privilege | {"privilege": "INSERT", "object_id": "lake.a.b", "object_type": "PDS"},
        privilege | {"privilege": "DELETE", "object_id": "lake.a.b", "object_type": "PDS"},
        {"grantee_id": "ann", "grantee_type": "user"}
        | {"privilege": "DROP", "object_id": "lake.a.b", "object_type": "PDS"},
    ]
    declared = {"name": "analysts", "grants": [{"on": "SPACE gold", "privileges": ["SELECT"]}]}
    assert changes(hook, declared) == []
    assert [change.sql for change in changes(hook, declared | {"exclusive": True})] == [
        'REVOKE ROLE "analysts" FROM USER "bob"',
        'REVOKE DELETE, INSERT ON TABLE "lake"."a"."b" FROM ROLE "analysts"',
    ]


def test_a_role_that_was_made_since_is_fine_and_another_failure_is_not(hook, server, dremio):
    create, *_, grant = changes(hook, ANALYSTS)
    server["refused"]["CREATE ROLE"] = "Role [analysts] already exists."
    apply(hook, create, lambda conn_id: None)
    server["refused"]["GRANT SELECT"] = "There is no space gold."
    with pytest.raises(DremioJobFailed, match="no space gold"):
        apply(hook, grant, lambda conn_id: None)


def test_the_community_edition_is_named_as_the_reason(hook, server):
    server["refused"]["SELECT"] = "Object 'roles' not found within 'sys'"
    with pytest.raises(DremioError, match="need Dremio Enterprise or Cloud"):
        changes(hook, ANALYSTS)


def test_nothing_is_asked_where_no_role_is_declared(hook, server, dremio):
    assert changes(hook) == [] and changes(hook, ANALYSTS, parts=("views",)) == []
    assert dremio.statements() == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"on": "gold", "privileges": ["SELECT"]}, "must be one of"),
        ({"on": "SYSTEM gold", "privileges": ["SELECT"]}, "must be one of"),
        ({"on": "SPACE", "privileges": ["SELECT"]}, "must be one of"),
        ({"on": "SPACE gold", "privileges": ["ALL"]}, "one by one"),
        ({"on": "SPACE gold", "privileges": ["select"]}, "privileges"),
    ],
)
def test_a_wrong_grant_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Grant(**wrong)


def test_a_role_declared_twice_is_refused():
    with pytest.raises(ValidationError, match="role analysts"):
        Catalog(roles=[Role(name="analysts"), Role(name="Analysts")])
