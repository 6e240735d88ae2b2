"""The suites in which something is to be said of Dremio: its types, its error texts, what its context has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from dbt.tests.adapter.basic.expected_catalog import base_expected_catalog, expected_references_catalog, no_stats
from dbt.tests.adapter.basic.test_docs_generate import BaseDocsGenerate, BaseDocsGenReferences
from dbt.tests.adapter.constraints import test_constraints as constraints
from dbt.tests.adapter.dbt_show.test_dbt_show import BaseShowDoesNotHandleDoubleLimit
from dbt.tests.adapter.ephemeral.test_ephemeral import BaseEphemeralMulti, BaseEphemeralNested
from dbt.tests.adapter.grants.test_incremental_grants import BaseIncrementalGrants
from dbt.tests.adapter.grants.test_invalid_grants import BaseInvalidGrants
from dbt.tests.adapter.grants.test_model_grants import BaseModelGrants
from dbt.tests.adapter.grants.test_seed_grants import BaseSeedGrants
from dbt.tests.adapter.grants.test_snapshot_grants import BaseSnapshotGrants
from dbt.tests.adapter.hooks import test_model_hooks as model_hooks
from dbt.tests.adapter.hooks.test_run_hooks import BasePrePostRunHooks
from dbt.tests.adapter.incremental.test_incremental_unique_id import BaseIncrementalUniqueKey
from dbt.tests.adapter.simple_copy.test_simple_copy import SimpleCopyBase
from dbt.tests.adapter.simple_seed import test_seed as seeds
from dbt.tests.adapter.simple_seed.seeds import seed__actual_csv, seeds__expected_sql
from dbt.tests.adapter.simple_seed.test_seed_type_override import BaseSimpleSeedColumnOverride
from dbt.tests.adapter.simple_snapshot.new_record_check_mode import BaseSnapshotNewRecordCheckMode
from dbt.tests.adapter.simple_snapshot.new_record_timestamp_mode import BaseSnapshotNewRecordTimestampMode
from dbt.tests.adapter.simple_snapshot.test_snapshot import BaseSimpleSnapshot
from dbt.tests.adapter.simple_snapshot.test_various_configs import BaseSnapshotMultiUniqueKey
from dbt.tests.adapter.unit_testing.test_types import BaseUnitTestingTypes
from dbt.tests.adapter.utils.data_types.test_type_float import BaseTypeFloat
from dbt.tests.adapter.utils.data_types.test_type_int import BaseTypeInt
from dbt.tests.adapter.utils.test_array_append import BaseArrayAppend
from dbt.tests.adapter.utils.test_array_concat import BaseArrayConcat
from dbt.tests.adapter.utils.test_array_construct import BaseArrayConstruct
from dbt.tests.adapter.utils.test_timestamps import BaseCurrentTimestamps
from dbt.tests.util import check_relations_equal, run_dbt

from tests.dbt_adapter import suites
from tests.dbt_adapter.conftest import SOURCE, SPACE

# -- hooks: a target of dbt-dremio has no dbname, host, port and pass ------------------------------------------

HOOK_TABLE = """create table {schema}.%s (test_state varchar, target_dbname varchar, target_host varchar,
  target_name varchar, target_schema varchar, target_type varchar, target_user varchar, target_pass varchar,
  target_threads integer, run_started_at varchar, invocation_id varchar, thread_id varchar)"""


def check_context(context: dict[str, Any], state: str, project: Any) -> None:
    expected = {"test_state": state, "target_name": "default", "target_schema": project.test_schema}
    expected |= {"target_threads": 4, "target_type": "dremio", "target_user": os.environ["DREMIO_USERNAME"]}
    assert {name: context[name] for name in expected} == expected
    assert context["run_started_at"] and context["invocation_id"]
    assert context["thread_id"].startswith(("Thread-", "MainThread"))


class ModelHooks:
    @pytest.fixture(scope="class", autouse=True)
    def setUp(self, project: Any) -> None:
        project.run_sql(HOOK_TABLE % "on_model_hook")

    def check_hooks(self, state: str, project: Any, host: Any = None, count: int = 1) -> None:
        for context in self.get_ctx_vars(state, count, project):  # type: ignore[attr-defined]
            check_context(context, state, project)


class TestPrePostModelHooks(ModelHooks, model_hooks.BasePrePostModelHooks):
    pass


class TestPrePostModelHooksInConfig(ModelHooks, model_hooks.BasePrePostModelHooksInConfig):
    pass


class TestPrePostModelHooksInConfigWithCount(ModelHooks, model_hooks.BasePrePostModelHooksInConfigWithCount):
    pass


class TestPrePostModelHooksInConfigKwargs(ModelHooks, model_hooks.BasePrePostModelHooksInConfigKwargs):
    pass


class TestHookRefs(ModelHooks, model_hooks.BaseHookRefs):
    pass


class TestPrePostRunHooks(BasePrePostRunHooks):
    @pytest.fixture(scope="function")
    def setUp(self, project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM_TEST", "TESTING")
        for table in ("on_run_hook", "schemas", "db_schemas"):
            project.run_sql(f"drop table if exists {{schema}}.{table}")
        project.run_sql(HOOK_TABLE % "on_run_hook")

    def check_hooks(self, state: str, project: Any, host: Any = None) -> None:
        check_context(self.get_ctx_vars(state, project), state, project)

    def assert_used_schemas(self, project: Any) -> None:
        assert project.run_sql("select schema from {schema}.schemas", fetch="all")[0][0] == project.test_schema
        [used] = project.run_sql("select db, schema from {schema}.db_schemas", fetch="all")
        assert used[0] in (SOURCE, SPACE) and used[1] == project.test_schema  # seeds are in the one, views in the other


# -- the catalog of dbt docs -----------------------------------------------------------------------------------


def in_the_source(catalog: dict[str, Any], *tables: str) -> dict[str, Any]:
    """dbt's expectation with its tables in the source; a source is the seed's table."""
    for kind in ("nodes", "sources"):
        for name, node in catalog[kind].items():
            if kind == "sources" or name in tables:
                node["metadata"] |= {"database": SOURCE, "type": "table"}
    return catalog


TYPES: dict[str, Any] = {"role": None, "id_type": "bigint", "text_type": "character varying", "time_type": "timestamp"}
TYPES |= {"view_type": "view", "table_type": "table", "model_stats": no_stats()}


class TestDocsGenerate(BaseDocsGenerate):
    @pytest.fixture(scope="class")
    def expected_catalog(self, project: Any, profile_user: str) -> dict[str, Any]:
        catalog = in_the_source(base_expected_catalog(project, **TYPES), "seed.test.seed")
        second = catalog["nodes"]["model.test.second_model"]["metadata"]
        second["schema"] = f"{project.test_schema}.test"  # a custom schema is a folder below
        return catalog


class TestDocsGenReferences(BaseDocsGenReferences):
    @pytest.fixture(scope="class")
    def expected_catalog(self, project: Any, profile_user: str) -> dict[str, Any]:
        catalog = expected_references_catalog(project, bigint_type="bigint", **TYPES)
        return in_the_source(catalog, "seed.test.seed", "model.test.ephemeral_summary")


# -- constraints and contracts: types by Dremio's names; only NOT NULL is part of CREATE TABLE ------------------


class DremiosTypes:
    @pytest.fixture
    def string_type(self) -> str:
        return "VARCHAR"

    @pytest.fixture
    def int_type(self) -> str:
        return "INTEGER"

    @pytest.fixture
    def data_types(self, int_type: str, string_type: str) -> list[list[str]]:
        return [
            ["1", int_type, int_type],
            ["'1'", string_type, string_type],
            ["true", "boolean", "BOOLEAN"],
            ["cast(1 as bigint)", "bigint", "BIGINT"],
            ["cast(1 as double)", "double", "DOUBLE"],
            ["date '2013-11-03'", "date", "DATE"],
            ["time '10:20:30'", "time", "TIME"],
            ["timestamp '2013-11-03 00:00:00'", "timestamp", "TIMESTAMP"],
            ["cast('1' as decimal(10, 2))", "decimal", "DECIMAL"],
        ]


class TestTableConstraintsColumnsEqual(DremiosTypes, constraints.BaseTableConstraintsColumnsEqual):
    pass


class TestViewConstraintsColumnsEqual(DremiosTypes, constraints.BaseViewConstraintsColumnsEqual):
    pass


class TestIncrementalConstraintsColumnsEqual(DremiosTypes, constraints.BaseIncrementalConstraintsColumnsEqual):
    pass


class NotNullAlone:
    @pytest.fixture(scope="class")
    def expected_sql(self) -> str:
        return """create table <model_identifier> (id integer not null, color varchar, date_day varchar) as (
          select id, color, date_day from (
            -- depends_on: <foreign_key_model_identifier>
            select 'blue' as color, 1 as id, '2019-01-01' as date_day) as model_subq)"""


class TestIncrementalConstraintsDdl(NotNullAlone, constraints.BaseIncrementalConstraintsRuntimeDdlEnforcement):
    pass


class TestModelConstraintsDdl(NotNullAlone, constraints.BaseModelConstraintsRuntimeEnforcement):
    pass


class TestTableConstraintsDdl(NotNullAlone, constraints.BaseConstraintsRuntimeDdlEnforcement):
    pass


class TestConstraintQuotedColumn(constraints.BaseConstraintQuotedColumn):
    @pytest.fixture(scope="class")
    def expected_sql(self) -> str:
        return """create table <model_identifier> (id integer not null, "from" varchar not null, date_day varchar) as (
          select id, "from", date_day from (
            select 'blue' as "from", 1 as id, '2019-01-01' as date_day) as model_subq)"""


# -- ephemeral models: the suites compare the text of PostgreSQL's statements; the rows are what counts here --------


class TestEphemeralMulti(BaseEphemeralMulti):
    def test_ephemeral_multi(self, project: Any) -> None:
        run_dbt(["seed"])
        assert len(run_dbt(["run"])) == 3
        for model in ("dependent", "double_dependent", "super_dependent"):
            check_relations_equal(project.adapter, ["seed", model])


class TestEphemeralNested(BaseEphemeralNested):
    def test_ephemeral_nested(self, project: Any) -> None:
        assert len(run_dbt(["run"])) == 2
        check_relations_equal(project.adapter, ["source_table", "root_view"])


# -- incremental models: the default strategy is append --------------------------------------------------------


class TestIncrementalUniqueKey(BaseIncrementalUniqueKey):
    @pytest.fixture(scope="class")
    def project_config_update(self) -> dict[str, Any]:
        return {"models": {"+incremental_strategy": "merge"}}


# -- seeds: whole numbers are BIGINT, others DECIMAL without a scale, unless column_types says otherwise --------


class TestTypeInt(BaseTypeInt):
    @pytest.fixture(scope="class")
    def project_config_update(self) -> dict[str, Any]:
        return {"seeds": {"test": {"+column_types": {"int_col": "integer"}}}}


class TestTypeFloat(BaseTypeFloat):
    @pytest.fixture(scope="class")
    def project_config_update(self) -> dict[str, Any]:
        return {"seeds": {"test": {"+column_types": {"float_col": "float"}}}}


class TestSeedColumnOverride(BaseSimpleSeedColumnOverride):
    @staticmethod
    def seed_enabled_types() -> dict[str, str]:
        return {"seed_id": "varchar", "birthday": "date"}

    @staticmethod
    def seed_tricky_types() -> dict[str, str]:
        texts = ("seed_id_str", "looks_like_a_bool", "looks_like_a_date")
        return {name: "varchar" for name in texts}

    @pytest.fixture(scope="class")
    def models(self) -> dict[str, str]:
        def checks(columns: dict[str, str]) -> str:
            return "".join(
                f"\n      - name: {name}\n        data_tests:\n          - column_type: {{type: '{kind}'}}"
                for name, kind in columns.items()
            )

        text, number = "character varying(65536)", "bigint"
        enabled = checks({"seed_id": text, "birthday": "date"})
        tricky = {"seed_id": number, "seed_id_str": text, "a_bool": "boolean", "looks_like_a_bool": text}
        tricky |= {"a_date": "timestamp", "looks_like_a_date": text, "relative": text, "weekday": text}
        return {
            "schema.yml": "version: 2\nseeds:\n  - name: seed_enabled\n    columns:"
            + enabled
            + "\n  - name: seed_tricky\n    columns:"
            + checks(tricky)
        }


class ViewsStay:
    """A table is dropped and made again; the views on it stay, as no DROP TABLE of Dremio's takes them along."""

    def _check_relation_end_state(self, run_result: Any, project: Any, exists: bool) -> None:
        super()._check_relation_end_state(run_result, project, exists=True)  # type: ignore[misc]


class TestBasicSeedTests(ViewsStay, seeds.BaseBasicSeedTests):
    pass


class TestSeedConfigFullRefreshOn(ViewsStay, seeds.BaseSeedConfigFullRefreshOn):
    pass


class TestSimpleSeedWithBOM(seeds.BaseSimpleSeedWithBOM):
    @pytest.fixture(scope="class", autouse=True)
    def setUp(self, project: Any) -> None:
        project.run_sql(seeds__expected_sql)
        (Path(project.project_root) / "seeds" / "seed_bom.csv").write_text(
            seed__actual_csv.lstrip(), encoding="utf-8-sig"
        )


class TestSeedWithWrongDelimiter(seeds.BaseSeedWithWrongDelimiter):
    def test_seed_with_wrong_delimiter(self, project: Any) -> None:
        [failed] = run_dbt(["seed"], expect_pass=False)
        assert "failure parsing the query" in failed.message.lower()


# -- snapshots ---------------------------------------------------------------------------------------------------


class TestSimpleSnapshot(BaseSimpleSnapshot):
    @pytest.mark.skip(suites.NEW_COLUMNS)
    def test_new_column_captured_by_snapshot(self) -> None:
        pass


class DeletedAsText:
    """The adapter makes a boolean of the text 'True' (api/cursor.py, agate's types); here it is the text again."""

    @pytest.fixture
    def project(self, project: Any) -> Any:
        run = project.run_sql

        def run_sql(sql: str, fetch: str | None = None) -> Any:
            rows = run(sql, fetch=fetch) or []
            return [[str(value) if isinstance(value, bool) else value for value in row] for row in rows]

        project.run_sql = run_sql
        return project


class TestSnapshotNewRecordCheckMode(DeletedAsText, BaseSnapshotNewRecordCheckMode):
    pass


class TestSnapshotNewRecordTimestampMode(DeletedAsText, BaseSnapshotNewRecordTimestampMode):
    pass


class TestSnapshotMultiUniqueKey(BaseSnapshotMultiUniqueKey):
    """Its model stands for a table that the suite makes itself, so it is one: in the source, not in the space."""

    @pytest.fixture(scope="class")
    def project_config_update(self) -> dict[str, Any]:
        return {"models": {"+materialized": "table"}}


# -- dbt's macros: its array_construct has no empty arrays (utils/array_construct.sql) ---------------------------


class FullArrays:
    @pytest.fixture(scope="class")
    def models(self) -> dict[str, str]:
        def arrays(*rows: str) -> str:
            selects = (f"select {n} as id, {{{{ {row} }}}} as array_col" for n, row in enumerate(rows))
            return " union all ".join(selects)

        return {"actual.sql": arrays(*self.ACTUAL), "expected.sql": arrays(*self.EXPECTED)}  # type: ignore[attr-defined]


class TestArrayConstruct(FullArrays, BaseArrayConstruct):
    ACTUAL = EXPECTED = ("array_construct([1, 2, 3])", "array_construct([4])")


class TestArrayAppend(FullArrays, BaseArrayAppend):
    ACTUAL = ("array_append(array_construct([1, 2, 3]), 4)", "array_append(array_construct([4]), 5)")
    EXPECTED = ("array_construct([1, 2, 3, 4])", "array_construct([4, 5])")


class TestArrayConcat(FullArrays, BaseArrayConcat):
    ACTUAL = ("array_concat(array_construct([1, 2, 3]), array_construct([4, 5]))",)
    EXPECTED = ("array_construct([1, 2, 3, 4, 5])",)


class TestCurrentTimestamps(BaseCurrentTimestamps):
    """Without the two macros that dbt keeps for older projects, which are PostgreSQL's everywhere."""

    @pytest.fixture(scope="class")
    def models(self) -> dict[str, str]:
        return {"get_current_timestamp.sql": 'select {{ current_timestamp() }} as "current_timestamp"'}

    @pytest.fixture(scope="class")
    def expected_schema(self) -> dict[str, str]:
        return {"current_timestamp": "timestamp"}

    @pytest.fixture(scope="class")
    def expected_sql(self) -> str:
        return 'select (select current_timestamp()) as "current_timestamp"'


# -- unit tests, SHOW, copies ----------------------------------------------------------------------------------


class TestUnitTestingTypes(BaseUnitTestingTypes):
    @pytest.fixture
    def data_types(self) -> list[list[str]]:
        return [
            ["1", "1"],
            ["'1'", "1"],
            ["true", "true"],
            ["1.5", "1.5"],
            ["cast(1 as bigint)", "1"],
            ["cast(1.5 as double)", "1.5"],
            ["DATE '2020-01-02'", "2020-01-02"],
            ["TIME '10:20:30'", "'10:20:30'"],
            ["TIMESTAMP '2013-11-03 00:00:00'", "2013-11-03 00:00:00"],
            ["cast('1' as decimal(10, 2))", "1"],
        ]


class TestShowDoesNotHandleDoubleLimit(BaseShowDoesNotHandleDoubleLimit):
    DATABASE_ERROR_MESSAGE = "ERROR: Failure parsing"


class TestSimpleCopy(SimpleCopyBase):
    @pytest.mark.skip(suites.NO_MATERIALIZED_VIEWS)
    def test_simple_copy_with_materialized_views(self) -> None:
        pass


# -- grants: of the enterprise edition; a grantee is written user:name or role:name -----------------------------


@pytest.mark.usefixtures("users")
class Granting:
    def privilege_grantee_name_overrides(self) -> dict[str, str]:
        return {
            "select": "select",
            "insert": "alter",
            "fake_privilege": "fake_privilege",
            "invalid_user": "user:invalid_user",
        }


class TestIncrementalGrants(Granting, BaseIncrementalGrants):
    @pytest.fixture(autouse=True)
    def dropped_by_hand(self, project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """drop_schema drops nothing that is in an object storage source."""
        adapter = type(project.adapter)
        drop = adapter.drop_relation
        monkeypatch.setattr(
            adapter, "drop_schema", lambda self, relation: drop(self, relation.incorporate(type="table"))
        )


class TestInvalidGrants(Granting, BaseInvalidGrants):
    def grantee_does_not_exist_error(self) -> str:
        return "User [invalid_user] not found"

    def privilege_does_not_exist_error(self) -> str:
        return "Privilege FAKE_PRIVILEGE on TABLE is not supported"


class TestModelGrants(Granting, BaseModelGrants):
    pass


class TestSeedGrants(Granting, BaseSeedGrants):
    def seeds_support_partial_refresh(self) -> bool:
        return False


class TestSnapshotGrants(Granting, BaseSnapshotGrants):
    pass
