"""The query that a materialization is made from, in Dremio's SQL, and the names of its columns.

Raw: the display columns. Aggregation: one row for each combination of the dimensions, with a column for each
measure and the number of rows. A measure column is named ``SUM$amount``; the number of rows ``COUNT$``.
"""

from __future__ import annotations

from embedded.dremio.catalog import Entity
from embedded.dremio.errors import InvalidRequest
from embedded.dremio.reflections.model import RAW, Reflection
from embedded.dremio.sql.kinds import quoted
from embedded.dremio.types import Column

ROW_COUNT = "COUNT$"
DATE = "DATE"
_NUMERIC = frozenset({"INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL"})


def measure_column(function: str, column: str) -> str:
    """The name of the materialization's column that holds a measure."""
    return f"{function}${column}"


def quoted_path(path: tuple[str, ...]) -> str:
    """A path as SQL writes it."""
    return ".".join(quoted(part) for part in path)


def check_fields(reflection: Reflection, dataset: Entity) -> None:
    """Give the fields the spelling of the dataset's columns. Raises InvalidRequest for what cannot be built."""
    columns = {column.name.lower(): column for column in dataset.columns}
    for items in reflection.fields.values():
        for item in items:
            column = columns.get(item["name"].lower())
            if column is None:
                raise InvalidRequest(f"Column [{item['name']}] is not a column of [{dataset.dotted}].")
            item["name"] = column.name
    if reflection.type == RAW:
        if not reflection.column_names("displayFields"):
            raise InvalidRequest("Raw reflections must have at least one display field.")
        return
    if not reflection.column_names("dimensionFields") and not reflection.column_names("measureFields"):
        raise InvalidRequest("Aggregation reflections must have at least one dimension or measure field.")
    for item in reflection.fields.get("measureFields", []):
        column = columns[item["name"].lower()]
        item["measureTypeList"] = item.get("measureTypeList") or _default_measures(column)
        if "SUM" in item["measureTypeList"] and column.type.name not in _NUMERIC:
            raise InvalidRequest(f"Measure SUM needs a number, but column [{column.name}] is {column.type.name}.")


def _default_measures(column: Column) -> list[str]:
    return ["SUM", "COUNT"] if column.type.name in _NUMERIC else ["COUNT"]


def used_columns(reflection: Reflection, dataset: Entity) -> list[Column]:
    """The dataset's columns that the materialization is made from, in the dataset's order."""
    keys = ("displayFields",) if reflection.type == RAW else ("dimensionFields", "measureFields")
    names = {name for key in keys for name in reflection.column_names(key)}
    return [column for column in dataset.columns if column.name in names]


def day_dimensions(reflection: Reflection, dataset: Entity) -> set[str]:
    """The timestamp columns that are kept by day only: granularity DATE."""
    kinds = {column.name: column.type.name for column in dataset.columns}
    return {
        item["name"]
        for item in reflection.fields.get("dimensionFields", [])
        if item.get("granularity") == DATE and kinds.get(item["name"]) == "TIMESTAMP"
    }


def building_sql(reflection: Reflection, dataset: Entity) -> str:
    """The query whose result is the materialization."""
    source = quoted_path(dataset.path)
    order = ", ".join(quoted(name) for name in reflection.column_names("sortFields"))
    if reflection.type == RAW:
        columns = ", ".join(quoted(column.name) for column in used_columns(reflection, dataset))
        return f"SELECT {columns} FROM {source}" + (f" ORDER BY {order}" if order else "")
    days = day_dimensions(reflection, dataset)
    dimensions = [
        f"CAST({quoted(name)} AS DATE)" if name in days else quoted(name)
        for name in reflection.column_names("dimensionFields")
    ]
    items = [
        f"{expression} AS {quoted(name)}"
        for expression, name in zip(dimensions, reflection.column_names("dimensionFields"), strict=True)
    ]
    items += [
        f"{_aggregate(kind, item['name'])} AS {quoted(measure_column(kind, item['name']))}"
        for item in reflection.fields.get("measureFields", [])
        for kind in item["measureTypeList"]
        if kind != "APPROX_COUNT_DISTINCT"
    ]
    items.append(f"COUNT(*) AS {quoted(ROW_COUNT)}")
    grouping = f" GROUP BY {', '.join(dimensions)}" if dimensions else ""
    return f"SELECT {', '.join(items)} FROM {source}{grouping}"


def _aggregate(kind: str, column: str) -> str:
    return f"{kind}({quoted(column)})"
