"""Datasets as the dbt models behind them are documented: what dbt's manifest says of a model, its dataset shows.

A dataset belongs to the model whose relation has its name (the model's alias). From the model come the dataset's
description, its columns with their descriptions and types, and the metrics that the model's `meta` names; an exposure
of maturity `high` that depends on the model certifies the dataset. In dbt::

    models:
      - name: fct_daily_revenue
        description: Revenue per day.
        config:
          meta:
            superset:
              metrics:
                - {name: revenue, label: Revenue, expression: SUM(amount), description: In GBP., format: ",.0f"}
        columns:
          - {name: order_date, data_type: date, description: Day of the orders (UTC).}

    exposures:
      - {name: sales_overview, label: Sales Overview, type: dashboard, maturity: high, owner: {name: Data platform},
         depends_on: [ref('fct_daily_revenue')]}

Columns whose names begin with an underscore are technical and left out. What dbt has no word for stays as it is in the
dataset: calculated columns, metrics of other names, formats, caches.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lakehouse.superset.bundle import Bundle, Content, Item, read_folder
from lakehouse.superset.exceptions import SupersetConfigError
from lakehouse.superset.export import meaning, write

# what Superset's export has of a new column and a new metric
NEW_COLUMN: Content = {
    "verbose_name": None,
    "is_dttm": False,
    "is_active": True,
    "type": None,
    "advanced_data_type": None,
    "groupby": True,
    "filterable": True,
    "expression": None,
    "description": None,
    "python_date_format": None,
    "extra": {},
}
NEW_METRIC: Content = {
    "verbose_name": None,
    "metric_type": None,
    "expression": None,
    "description": None,
    "d3format": None,
    "currency": None,
    "extra": {},
    "warning_text": None,
}
# a metric's key in dbt -> in Superset
METRIC_KEYS = {"label": "verbose_name", "expression": "expression", "description": "description", "format": "d3format"}
TIMES = ("DATE", "TIME", "TIMESTAMP")


def sync(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Bring the dataset files of a bundle's folder to what dbt's manifest says; return the files that were written.

    Needs no Superset: applying the bundle brings it there. Repeated, it writes nothing.

    :param manifest: content of dbt's `target/manifest.json`.
    :raises SupersetConfigError: a file cannot be used, a metric in dbt lacks its name or expression, or two models
        have one dataset's name.
    """
    before = read_folder(folder)
    written = []
    for item in documented(before, manifest).of("datasets"):
        if meaning(item) != meaning(before.items[item.uuid]):
            write(folder / item.file, item.content)
            written.append(item.file)
    return written


def documented(bundle: Bundle, manifest: Mapping[str, Any]) -> Bundle:
    """Return the bundle with its datasets as dbt's manifest documents them; those without a model as they are.

    :raises SupersetConfigError: as `sync`.
    """
    models = [node for node in manifest["nodes"].values() if node["resource_type"] in ("model", "seed", "snapshot")]
    for item in bundle.of("datasets"):
        behind = [node for node in models if node["alias"] == item.content["table_name"]]
        if len(behind) > 1:
            names = ", ".join(sorted(node["unique_id"] for node in behind))
            raise SupersetConfigError(f"{item.file}: more than one dbt model is called so: {names}.")
        for node in behind:
            content = _documented(item, node, list(manifest.get("exposures", {}).values()))
            bundle = bundle.replaced(Item(item.kind, item.file, content))
    return bundle


def _documented(item: Item, node: Mapping[str, Any], exposures: Iterable[Mapping[str, Any]]) -> Content:
    content = dict(item.content)
    if node.get("description"):
        content["description"] = " ".join(node["description"].split())
    if columns := [column for name, column in node["columns"].items() if not name.startswith("_")]:
        content["columns"] = _columns(content.get("columns") or [], columns)
    meta = (node.get("config") or {}).get("meta") or node.get("meta") or {}
    content["metrics"] = _metrics(item, content.get("metrics") or [], (meta.get("superset") or {}).get("metrics") or [])
    by = [one for one in exposures if node["unique_id"] in one["depends_on"]["nodes"] and one.get("maturity") == "high"]
    extra = {key: value for key, value in (content.get("extra") or {}).items() if key != "certification"}
    if by:
        owners = dict.fromkeys(one["owner"].get("name") or one["owner"]["email"] for one in by)
        shown = ", ".join(one.get("label") or one["name"] for one in by)
        extra["certification"] = {"certified_by": ", ".join(owners), "details": f"Stands behind {shown}."}
    content["extra"] = extra or None
    return content


def _columns(there: list[Content], wanted: list[Content]) -> list[Content]:
    """The model's columns in its order, then the calculated ones of the dataset."""
    known = {column["column_name"]: column for column in there}
    found = []
    for column in wanted:
        kind = str(column.get("data_type") or "").partition("(")[0].upper()
        new = {**NEW_COLUMN, "is_dttm": kind in TIMES}
        made = {"column_name": column["name"], **known.get(column["name"], new)}
        made["description"] = " ".join((column.get("description") or "").split()) or None
        found.append(made | ({"type": kind} if kind else {}))
    names = {column["name"] for column in wanted}
    return found + [column for column in there if column.get("expression") and column["column_name"] not in names]


def _metrics(item: Item, there: list[Content], wanted: list[Content]) -> list[Content]:
    found = {metric["metric_name"]: metric for metric in there}
    for metric in wanted:
        if not metric.get("name") or not metric.get("expression"):
            raise SupersetConfigError(
                f"{item.file}: a metric in the meta of its dbt model lacks its name or its expression: {dict(metric)}."
            )
        told = {ours: metric[key] for key, ours in METRIC_KEYS.items() if key in metric}
        found[metric["name"]] = {"metric_name": metric["name"], **NEW_METRIC, **found.get(metric["name"], {}), **told}
    return list(found.values())
