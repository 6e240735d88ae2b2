"""GRANT, REVOKE, users and roles: what is parsed, what is not in the grammar, and what a privilege stands for."""

from __future__ import annotations

import pytest

from embedded.dremio.access.privileges import granted_by
from embedded.dremio.errors import ParseError
from embedded.dremio.sql import records
from embedded.dremio.sql.statements import parse
from embedded.dremio.sql.statements_access import Grant, GrantRole, Principal, without_password


@pytest.mark.parametrize(
    ("sql", "privileges", "kind", "path", "all_datasets"),
    [
        ("GRANT SELECT ON TABLE s.t TO USER u", ("SELECT",), "TABLE", ("s", "t"), False),
        ("GRANT ALL ON VDS sp.v TO USER u", ("ALL",), "VDS", ("sp", "v"), False),
        (
            "grant alter reflection, select on folder sp.f to user u",
            ("ALTER REFLECTION", "SELECT"),
            "FOLDER",
            ("sp", "f"),
            False,
        ),
        ("GRANT SELECT ON ALL DATASETS IN SOURCE s TO USER u", ("SELECT",), "SOURCE", ("s",), True),
        ("GRANT CREATE TABLE ON SYSTEM TO USER u", ("CREATE TABLE",), "SYSTEM", (), False),
        ("GRANT EXECUTE ON FUNCTION sp.f TO USER u", ("EXECUTE",), "FUNCTION", ("sp", "f"), False),
        ("GRANT OWNERSHIP ON SPACE sp TO USER u", ("OWNERSHIP",), "SPACE", ("sp",), False),
    ],
)
def test_grant(sql: str, privileges: tuple[str, ...], kind: str, path: tuple[str, ...], all_datasets: bool) -> None:
    made = parse(sql)
    assert isinstance(made, Grant)
    assert (made.privileges, made.kind, made.path, made.all_datasets) == (privileges, kind, path, all_datasets)
    assert (made.revoke, made.grantee_kind, made.grantee) == (False, "USER", "u")
    assert made.message == "GRANT is not supported in this edition."


def test_revoke() -> None:
    made = parse('REVOKE INSERT ON PDS "a.b".t FROM ROLE "the role"')
    assert (made.revoke, made.path, made.grantee_kind, made.grantee) == (True, ("a.b", "t"), "ROLE", "the role")
    assert made.message == "REVOKE is not supported in this edition."


@pytest.mark.parametrize(
    ("sql", "record"),
    [
        ("GRANT ROLE r TO USER u", (False, "r", "USER", "u")),
        ("REVOKE ROLE r FROM ROLE q", (True, "r", "ROLE", "q")),
    ],
)
def test_roles_are_granted(sql: str, record: tuple[bool, str, str, str]) -> None:
    made = parse(sql)
    assert isinstance(made, GrantRole)
    assert (made.revoke, made.role, made.grantee_kind, made.grantee) == record


@pytest.mark.parametrize(
    ("sql", "record"),
    [
        ("CREATE ROLE r", ("CREATE", "ROLE", "r", None)),
        ("DROP ROLE r", ("DROP", "ROLE", "r", None)),
        ('CREATE USER "a@b.c"', ("CREATE", "USER", "a@b.c", None)),
        ("ALTER USER u SET PASSWORD 'p'", ("ALTER", "USER", "u", "p")),
        ("ALTER USER u UNSET PASSWORD", ("ALTER", "USER", "u", None)),
        ("DROP USER u", ("DROP", "USER", "u", None)),
    ],
)
def test_users_and_roles(sql: str, record: tuple[str, str, str, str | None]) -> None:
    made = parse(sql)
    assert isinstance(made, Principal)
    assert (made.verb, made.kind, made.name, made.password) == record


@pytest.mark.parametrize(
    "sql",
    [
        "GRANT SELECT ON DATASET t TO USER u",
        "GRANT SELECT ON TABLE t TO u",
        "GRANT SELECT ON TABLE t TO USER u, USER v",
        "GRANT SELECT ON TABLE t FROM USER u",
        "GRANT ON TABLE t TO USER u",
        "GRANT ROLE r",
        "REVOKE SELECT ON TABLE t TO USER u",
        "ALTER USER u",
        "CREATE ROLE",
    ],
)
def test_not_in_the_grammar(sql: str) -> None:
    with pytest.raises(ParseError):
        parse(sql)


@pytest.mark.parametrize("sql", ["GRANT USAGE ON ENGINE e TO USER u", "GRANT SELECT ON TABLE t AT BRANCH b TO USER u"])
def test_refused_by_name(sql: str) -> None:
    assert type(parse(sql)) is records.Refused


@pytest.mark.parametrize(
    ("word", "object_type", "stands_for"),
    [
        ("SELECT", "VDS", ("SELECT",)),
        ("INSERT", "VDS", ()),
        ("ALL", "FUNCTION", ("EXECUTE", "ALTER", "DROP")),
        ("MANAGE GRANTS", "PDS", ("MANAGE GRANTS",)),
        ("OWNERSHIP", "SYSTEM", ()),
        ("CREATE TABLE", "PDS", ()),
    ],
)
def test_what_can_be_granted(word: str, object_type: str, stands_for: tuple[str, ...]) -> None:
    assert granted_by(word, object_type) == stands_for


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("ALTER USER u SET PASSWORD 'it''s'", "ALTER USER u SET PASSWORD '***'"),
        (" alter user u set password 'p' ", " alter user u set password '***' "),
        ("ALTER USER u UNSET PASSWORD", "ALTER USER u UNSET PASSWORD"),
        ("ALTER TABLE t ADD COLUMNS (a INT)", "ALTER TABLE t ADD COLUMNS (a INT)"),
        ("SELECT 'p'", "SELECT 'p'"),
    ],
)
def test_a_password_is_not_shown(sql: str, shown: str) -> None:
    assert without_password(sql) == shown
