"""Which values Airbyte could not deliver as the source sent them: `_airbyte_meta.changes` of a landing object."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

META = "_airbyte_meta"
CHANGES = f"{META}.changes"
READ_ROWS = 131_072  # rows read at a time


def alterations(file: pq.ParquetFile) -> dict[str, str]:
    """Return column -> what was done to values of it and why, in Airbyte's words; nothing for most files.

    Airbyte puts null in the place of a value that does not fit its column, and shortens what is too long. The row
    says so, and nothing else does. Parquet's statistics tell whether any row does, so a normal file is not read.
    """
    found: dict[str, str] = {}
    if not _may_have_any(file.metadata):
        return found
    for batch in file.iter_batches(READ_ROWS, columns=[CHANGES]):
        changes = pc.list_flatten(pc.struct_field(batch.column(META), "changes"))
        for change in _distinct(changes):
            found.setdefault(str(change["field"]), f"{change['change']} ({change['reason']})")
    return found


def _may_have_any(metadata: pq.FileMetaData) -> bool:
    """Whether a leaf below the list of changes has a value, or it is not known."""
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        for column in (group.column(number) for number in range(group.num_columns)):
            if column.path_in_schema.startswith(f"{CHANGES}."):
                known = column.statistics
                if known is None or not known.has_null_count or known.null_count < column.num_values:
                    return True
    return False


def _distinct(changes: pa.Array) -> list[dict[str, str | None]]:
    """The different changes: a column that changed its type has one for each row."""
    names = ["field", "change", "reason"]
    table = pa.table([pc.struct_field(changes, name) for name in names], names=names)
    rows: list[dict[str, str | None]] = table.group_by(names, use_threads=False).aggregate([]).to_pylist()
    return rows
