"""Which function prepares which kind of statement."""

from __future__ import annotations

from collections.abc import Callable

from embedded.dremio.engine import analyzing, commands, copying, ddl, dml, granting, maintenance
from embedded.dremio.engine.contracts import Statement
from embedded.dremio.sql import statements, statements_access

HANDLERS: dict[type, Callable[..., Statement]] = {
    statements.Explain: commands.explain,
    statements.CreateTable: ddl.create_table,
    statements.CreateView: ddl.create_view,
    statements.CreateFolder: ddl.create_folder,
    statements.CreateFunction: ddl.create_function,
    statements.Drop: ddl.drop,
    statements.AlterTable: ddl.alter,
    statements.Dml: dml.prepare,
    statements.Truncate: dml.truncate,
    statements.Show: commands.show,
    statements.Describe: commands.describe,
    statements.Use: commands.use,
    statements.Refused: commands.refuse,
    statements_access.Grant: granting.prepare,
    statements_access.GrantRole: granting.prepare,
    statements_access.Principal: granting.prepare,
    statements.Optimize: maintenance.optimize,
    statements.Vacuum: maintenance.vacuum,
    statements.Rollback: maintenance.rollback,
    statements.CopyInto: copying.prepare,
    statements.Analyze: analyzing.prepare,
}
