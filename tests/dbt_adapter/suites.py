"""Which suites the package has, and those that are left out, each beside the limit of dbt-dremio 1.11 that it meets."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import dbt.tests.adapter as package

NO_PYTHON = "no Python models: Dremio runs SQL alone"
NO_FUNCTIONS = "no materialization of functions"
NO_MATERIALIZED_VIEWS = "no materialized views: reflections are what Dremio has"
NO_COMMENTS = "descriptions become wikis and tags (tests/integration/dremio/test_dbt.py), not comments in the catalog"
TABLES_ALONE = "results of tests are tables in the object storage source: they cannot be views there"
TWO_STATEMENTS = "a header before a statement makes two statements, and Dremio takes one"
NO_EXPRESSION = "its datediff and dateadd are SELECTs without brackets, some with a semicolon: not expressions"
NO_CLONE = "no clone of tables"
NO_ARRAY_TYPE = "its array_construct refuses empty arrays with an error of its own that dbt 1.11 does not know"
STRATEGIES = "incremental strategies are append and merge, without predicates"
NEW_COLUMNS = "a snapshot's new columns are written ADD COLUMN; Dremio has ADD COLUMNS (..)"
OTHER_ADAPTER = "of PostgreSQL alone: its profile, its types or its error messages are part of the suite"

# a suite's name, or that of a whole module with a dot at its end
LEFT_OUT = {
    "python_model.": NO_PYTHON,
    "functions.": NO_FUNCTIONS,
    "materialized_view.": NO_MATERIALIZED_VIEWS,
    "CatalogRelationTypes": NO_MATERIALIZED_VIEWS,
    "persist_docs.": NO_COMMENTS,
    "StoreTestFailuresAsInteractions": TABLES_ALONE,
    "StoreTestFailuresAsProjectLevelOff": TABLES_ALONE,
    "StoreTestFailuresAsProjectLevelView": TABLES_ALONE,
    "StoreTestFailuresAsProjectLevelEphemeral": TABLES_ALONE,
    "StoreTestFailuresAsGeneric": TABLES_ALONE,
    "StoreTestFailuresAsExceptions": TABLES_ALONE,
    "BaseTableContractSqlHeader": TWO_STATEMENTS,
    "BaseIncrementalContractSqlHeader": TWO_STATEMENTS,
    "BaseShowSqlHeader": TWO_STATEMENTS,
    "BaseDate": NO_EXPRESSION,
    "BaseDateAdd": NO_EXPRESSION,
    "BaseDateDiff": NO_EXPRESSION,
    "BaseClonePossible": NO_CLONE,
    "BaseCloneSameSourceAndTarget": NO_CLONE,
    "BaseCloneSameTargetAndState": NO_CLONE,
    "BaseArrayAppend": NO_ARRAY_TYPE,
    "BaseArrayConcat": NO_ARRAY_TYPE,
    "BaseArrayConstruct": NO_ARRAY_TYPE,
    "BaseMicrobatch": STRATEGIES,
    "BaseIncrementalPredicates": STRATEGIES,
    "BaseIncrementalBadStrategy": "a strategy is looked at when the table exists, not at the first run",
    "BaseIncrementalConstraintsRollback": "constraints are declared, not enforced",
    "BaseIncrementalForeignKeyConstraint": "reads the column name `n` as a boolean",
    "BaseGetCatalogForSingleRelation": "get_catalog_for_single_relation is not implemented",
    "BaseCachingUppercaseModel": "relations are searched for by their exact case, the catalog is not case-sensitive",
    "BaseTestEmptyInlineSourceRef": "--empty gives the subquery a name of its own: a second one cannot follow",
    "MetadataWithEmptyFlag": "--empty puts a subquery where ALTER TABLE has its table",
    "BaseTestEmptySeedFlag": "dbt 1.11 has no --empty for seeds",
    "BaseAdapterMethod": "drop_schema leaves what was in the schema in dbt's cache",
    "BaseAfterRunHooks": "a statement's error is a DbtRuntimeError, not a DbtDatabaseError",
    "BaseCurrentTimestampAware": "timestamps have no time zone",
    "BaseCurrentTimestamps": "current_timestamp_backcompat is dbt's own, with PostgreSQL's ::",
    "BaseCloneNotPossible": NO_CLONE,
    "BaseEphemeralMulti": OTHER_ADAPTER,
    "BaseEphemeralNested": OTHER_ADAPTER,
    "BaseLastDay": NO_EXPRESSION,
    "BaseSnapshotEphemeralHardDeletes": NEW_COLUMNS,
    "BaseSnapshotNewColumnSpecificCheckCols": NEW_COLUMNS,
    "BaseSnapshotNewColumnTimestampStrategy": NEW_COLUMNS,
    "BaseSnapshotNewColumnWithDeletes": NEW_COLUMNS,
    "BaseSeedCustomSchema": "a table's own schema is root_path, and a folder below, not another name",
    "BaseTestEmptySeed": "a seed of no rows makes VALUES of no rows, which Dremio does not parse",
    "BaseEscapeSingleQuotesBackslash": "quotes are doubled: BaseEscapeSingleQuotesQuote",
    "BasePostgresColumnTypes": OTHER_ADAPTER,
    "BaseSimpleCopyUppercase": OTHER_ADAPTER,
    "BaseDebugPostgres": OTHER_ADAPTER,
    "BaseDebugInvalidProjectPostgres": OTHER_ADAPTER,
}  # fmt: skip


def all_suites() -> list[type]:
    """Every class of the package with tests of its own that no other suite builds on; "Test.." are PostgreSQL's."""
    root = Path(package.__path__[0])
    found = []
    for file in sorted(root.rglob("*.py")):
        name = ".".join((package.__name__, *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for suite in vars(importlib.import_module(name)).values():
            named = inspect.isclass(suite) and suite.__module__ == name and not suite.__name__.startswith("Test")
            if named and any(one.startswith("test_") for one in dir(suite)):
                found.append(suite)
    return [one for one in found if not any(other is not one and issubclass(other, one) for other in found)]


def left_out(suite: type) -> str | None:
    """The limit that a suite meets."""
    module = suite.__module__.removeprefix(f"{package.__name__}.").split(".")[0]
    return LEFT_OUT.get(f"{module}.") or LEFT_OUT.get(suite.__name__)
