"""Which function prepares which kind of statement."""

from __future__ import annotations

from collections.abc import Callable

from embedded.dremio.engine import analyzing, commands, copying, ddl, dml, granting, maintenance
from embedded.dremio.engine.contracts import Statement
from embedded.dremio.sql import records, statements_access

HANDLERS: dict[type, Callable[..., Statement]] = {
    records.Explain: commands.explain,
    records.CreateTable: ddl.create_table,
    records.CreateView: ddl.create_view,
    records.CreateFolder: ddl.create_folder,
    records.CreateFunction: ddl.create_function,
    records.Drop: ddl.drop,
    records.AlterTable: ddl.alter,
    records.Dml: dml.prepare,
    records.Truncate: dml.truncate,
    records.Show: commands.show,
    records.Describe: commands.describe,
    records.Use: commands.use,
    records.Refused: commands.refuse,
    statements_access.Grant: granting.prepare,
    statements_access.GrantRole: granting.prepare,
    statements_access.Principal: granting.prepare,
    records.Optimize: maintenance.optimize,
    records.Vacuum: maintenance.vacuum,
    records.Rollback: maintenance.rollback,
    records.CopyInto: copying.prepare,
    records.Analyze: analyzing.prepare,
}
