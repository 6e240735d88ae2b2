"""What OpenLineage is told of a task: its statements' tables as datasets, their text, and the job that ran them.

Names follow OpenLineage's naming rules for databases: the namespace is `dremio://<host>:<port>` of the REST API (with
`/<project id>` on Dremio Cloud), the name is the dotted path as Dremio has it, of any depth. OpenLineage's own parser
cuts a path to its last three parts, so the statements are read by sqlglot, which knows Dremio's dialect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import Dataset

    from lakehouse.dremio.connection import DremioSettings


@dataclass
class StatementTables:
    """Dotted paths of the tables that statements read and write, each once, and the statements that were not read.

    A table that one statement makes and a later one reads is in both. `unread` pairs a statement's text with why.
    """

    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)


def tables_of(statements: Sequence[str]) -> StatementTables:
    """The tables of statements in Dremio's dialect. Never raises: what it cannot read it says in `unread`."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    found = StatementTables()
    for text in statements:
        try:
            tree = sqlglot.parse_one(text, dialect="dremio")
        except SqlglotError as error:
            found.unread.append((text, str(error).splitlines()[0]))
            continue
        if isinstance(tree, exp.Command):
            found.unread.append((text, f"{tree.name.upper()} statements are not read"))
            continue
        written = {id(table) for table in _written(tree)}
        views = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
        for table in tree.find_all(exp.Table):
            path = ".".join(part.name for part in table.parts)
            if not path or path.lower() in views:
                continue
            names = found.outputs if id(table) in written else found.inputs
            if path not in names:
                names.append(path)
    return found


def _written(tree: Any) -> list[Any]:
    """The tables that a statement makes, changes or drops."""
    from sqlglot import exp

    if isinstance(tree, exp.Drop):
        return list(tree.args["tables"])
    if isinstance(tree, exp.TruncateTable):
        return list(tree.expressions)
    if isinstance(tree, exp.Insert | exp.Create | exp.Merge | exp.Update | exp.Delete | exp.Copy | exp.Alter):
        return [tree.this.this if isinstance(tree.this, exp.Schema) else tree.this]
    return []


def namespace(settings: DremioSettings) -> str:
    """OpenLineage's namespace of a server's datasets."""
    address = f"dremio://{urlsplit(settings.rest_url).netloc}"
    return f"{address}/{settings.project_id}" if settings.project_id else address


def lineage(
    settings: DremioSettings,
    statements: Sequence[str],
    job_id: str | None = None,
    inputs: Iterable[Dataset] = (),
    outputs: Iterable[Dataset] = (),
) -> OperatorLineage | None:
    """Datasets and facets of a task that ran `statements`; None where the extra `openlineage` is not installed.

    :param job_id: job of the last statement, for the run's facet `externalQuery`.
    :param inputs: further datasets that were read, such as objects.
    :param outputs: further datasets that were written.
    """
    try:
        from airflow.providers.common.compat.openlineage.facet import (
            Dataset,
            Error,
            ExternalQueryRunFacet,
            ExtractionErrorRunFacet,
            SQLJobFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        tables = tables_of(statements)
    except ImportError:
        return None
    where = namespace(settings)
    run_facets: dict[str, Any] = {}
    if job_id:
        run_facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=job_id, source=where)
    if tables.unread:
        run_facets["extractionError"] = ExtractionErrorRunFacet(
            totalTasks=len(statements),
            failedTasks=len(tables.unread),
            errors=[
                Error(errorMessage=why, task=text, stackTrace=None, taskNumber=None) for text, why in tables.unread
            ],
        )
    return OperatorLineage(
        inputs=[*(Dataset(namespace=where, name=name) for name in tables.inputs), *inputs],
        outputs=[*(Dataset(namespace=where, name=name) for name in tables.outputs), *outputs],
        run_facets=run_facets,
        job_facets={"sql": SQLJobFacet(query=";\n".join(statements))} if statements else {},
    )
