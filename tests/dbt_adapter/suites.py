"""Which suites the package has, and those that are left out, each beside the limit of dbt-dremio 1.11 that it meets.

The files named are dbt-dremio's: macros are below dbt/include/dremio/macros, Python files below dbt/adapters/dremio.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import dbt.tests.adapter as package

NO_PYTHON = "no Python models: connections.py sends SQL, impl.py has no submit_python_job"
NO_FUNCTIONS = "no macros for functions: dbt's own write CREATE FUNCTION .. AS .., Dremio has .. RETURN .."
NO_MATERIALIZED_VIEWS = "no materialized views: materializations/reflection is what Dremio has"
NO_COMMENTS = (
    "descriptions become wikis and tags (adapters/persist_docs.sql), the catalog's comments are null (metadata.sql)"
)
TABLES_ALONE = (
    "results of tests are in the object storage source (get_custom_name/is_datalake_node.sql): no views there"
)
TWO_STATEMENTS = (
    "a header is written before CREATE TABLE (table/create_table_as.sql): two statements, and Dremio takes one"
)
NO_EXPRESSION = "datediff and dateadd are SELECTs without brackets, some with a semicolon (utils/date_spine.sql)"
NO_CLONE = "materializations/clone.sql raises 'Clone command not supported in dbt-dremio'"
STRATEGIES = "append and merge alone, without predicates (incremental/validate.sql, incremental.sql)"
NEW_COLUMNS = (
    "a snapshot's new columns are dbt's ADD COLUMN, which snapshot.sql does not replace; Dremio has ADD COLUMNS (..)"
)
NOT_ENFORCED = "constraints are not enforced (impl.py, CONSTRAINT_SUPPORT)"
OTHER_ADAPTER = "of PostgreSQL alone: its profile or its types are part of the suite"

# a suite's name, or that of a whole module with a dot at its end
LEFT_OUT: dict[str, str | None] = {
    "python_model.": NO_PYTHON,
    "functions.": NO_FUNCTIONS,
    "ErrorForUnsupportedType": None,  # runs: that there is no macro is what it tests
    "materialized_view.": NO_MATERIALIZED_VIEWS,
    "CatalogRelationTypes": NO_MATERIALIZED_VIEWS,
    "persist_docs.": NO_COMMENTS,
    "StoreTestFailuresAsInteractions": TABLES_ALONE,
    "StoreTestFailuresAsProjectLevelOff": TABLES_ALONE,
    "StoreTestFailuresAsProjectLevelView": TABLES_ALONE,
    "StoreTestFailuresAsProjectLevelEphemeral": TABLES_ALONE,
    "StoreTestFailuresAsGeneric": TABLES_ALONE,
    "BaseStoreTestFailures": "a test's table has the whole name, no alias (get_custom_name/get_custom_alias.sql)",
    "BaseTableContractSqlHeader": TWO_STATEMENTS,
    "BaseIncrementalContractSqlHeader": TWO_STATEMENTS,
    "BaseDate": "dateadd's SELECT (utils/date_spine.sql) has one row, so date_spine's row_number() is 1 for every day",
    "BaseDateAdd": NO_EXPRESSION,
    "BaseDateDiff": NO_EXPRESSION,
    "BaseLastDay": NO_EXPRESSION,
    "BaseClonePossible": NO_CLONE,
    "BaseCloneNotPossible": NO_CLONE,
    "BaseCloneSameSourceAndTarget": NO_CLONE,
    "BaseMicrobatch": STRATEGIES,
    "BaseIncrementalPredicates": STRATEGIES,
    "BaseIncrementalBadStrategy": "incremental.sql looks at the strategy when the table exists, not at the first run",
    "BaseConstraintsRollback": NOT_ENFORCED,
    "BaseIncrementalConstraintsRollback": NOT_ENFORCED,
    "BaseIncrementalForeignKeyConstraint": "api/cursor.py lets agate guess types: the column name `n` is a boolean",
    "BaseGetCatalogForSingleRelation": "metadata.sql has no get_catalog_for_single_relation",
    "BaseCachingUppercaseModel": "dbt compares names by their case, metadata.sql finds them in any",
    "BaseTestEmptyInlineSourceRef": "relation.py lets --empty name its subquery, and the suite names it again",
    "MetadataWithEmptyFlag": "with --empty, relation.py renders a subquery where ALTER TABLE has its table",
    "BaseTestEmptySeedFlag": "dbt 1.11 has no --empty for seeds",
    "BaseAdapterMethod": "drop_schema (impl.py) leaves what was in the schema in dbt's cache",
    "BaseDropSchemaNamed": "drop_schema (impl.py) needs a database, which dbt's drop_schema_named does not give",
    "BaseAfterRunHooks": "a statement's error is a DbtRuntimeError (connections.py), not a DbtDatabaseError",
    "BaseCurrentTimestampAware": "current_timestamp (adapters/timestamp.sql) has no zone, as no time in Dremio has",
    "BaseSnapshotEphemeralHardDeletes": NEW_COLUMNS,
    "BaseSnapshotNewColumnSpecificCheckCols": NEW_COLUMNS,
    "BaseSnapshotNewColumnTimestampStrategy": NEW_COLUMNS,
    "BaseSnapshotNewColumnWithDeletes": NEW_COLUMNS,
    "BaseSeedCustomSchema": "a seed's schema is root_path, a folder below (get_custom_name/get_custom_schema.sql)",
    "BaseTestEmptySeed": "a seed of no rows is a VALUES of no rows (seed/helpers.sql), which is no SQL",
    "BaseEscapeSingleQuotesBackslash": "quotes are doubled: BaseEscapeSingleQuotesQuote",
    "BasePostgresColumnTypes": OTHER_ADAPTER,
    "BaseSimpleCopyUppercase": OTHER_ADAPTER,
}  # fmt: skip


def all_suites() -> list[type]:
    """Every suite of the package: what it runs itself as "Test..", and what no other suite builds on."""
    root = Path(package.__path__[0])
    suites, own = [], []
    for file in sorted(root.rglob("*.py")):
        name = ".".join((package.__name__, *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for one in vars(importlib.import_module(name)).values():
            named = inspect.isclass(one) and one.__module__ == name
            if named and any(test.startswith("test_") for test in dir(one)):
                (own if one.__name__.startswith("Test") else suites).append(one)
    run = {base for one in own for base in one.__bases__}
    built_on = {base for one in suites for base in one.__mro__[1:]}
    return [one for one in suites if one in run or one not in built_on]


def left_out(suite: type) -> str | None:
    """The limit that a suite meets."""
    module = suite.__module__.removeprefix(f"{package.__name__}.").split(".")[0]
    return LEFT_OUT.get(suite.__name__, LEFT_OUT.get(f"{module}."))
