"""Dashboards as files: Superset's export format, as a folder of YAML, as a ZIP, and compared with each other.

A folder holds `databases/`, `datasets/`, `charts/` and `dashboards/`, one object a file, known by its `uuid`.
Ids that differ between installations (of datasets in a chart's query, of charts in a dashboard's layout) may be
any in the files: Superset replaces them at an import, and the comparison leaves them out.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lakehouse.superset.exceptions import SupersetConfigError

# In the order in which one needs the other. Values: the path of the REST API and the type named in a ZIP.
KINDS = {
    "databases": ("database", "Database"),
    "datasets": ("dataset", "SqlaTable"),
    "charts": ("chart", "Slice"),
    "dashboards": ("dashboard", "Dashboard"),
}
TITLES = {
    "databases": "database_name",
    "datasets": "table_name",
    "charts": "slice_name",
    "dashboards": "dashboard_title",
}
# Written by Superset when somebody looks at a dashboard, or following from the rest.
COMPUTED_METADATA = frozenset(
    {
        "chart_configuration",
        "global_chart_configuration",
        "shared_label_colors",
        "map_label_colors",
        "color_scheme_domain",
        "default_filters",
    }
)
OLD_NAMES = {
    "allow_file_upload": "allow_csv_upload",
    "schemas_allowed_for_file_upload": "schemas_allowed_for_csv_upload",
}
Content = dict[str, Any]
# The C versions, where PyYAML has them, are ten times faster.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Item:
    """One object of a bundle.

    :ivar kind: key of `KINDS`.
    :ivar file: path inside the bundle.
    """

    kind: str
    file: str
    content: Content

    @property
    def uuid(self) -> str:
        return str(self.content["uuid"])

    @property
    def title(self) -> str:
        return f"{KINDS[self.kind][0]} {self.content[TITLES[self.kind]]!r}"


@dataclass
class Bundle:
    """Objects by uuid."""

    items: dict[str, Item] = field(default_factory=dict)

    def of(self, kind: str) -> list[Item]:
        """Return the objects of a kind, in the order of their files."""
        return [item for item in self.items.values() if item.kind == kind]

    def dashboard(self, slug: str) -> Item:
        """Return the dashboard with this slug.

        :raises SupersetConfigError: there is none.
        """
        found = next((item for item in self.of("dashboards") if item.content.get("slug") == slug), None)
        if found is None:
            known = ", ".join(sorted(str(item.content.get("slug")) for item in self.of("dashboards")))
            raise SupersetConfigError(f"The bundle has no dashboard with slug {slug!r}; it has: {known}.")
        return found

    def needed_by(self, slugs: Iterable[str]) -> "Bundle":
        """Return the part of the bundle that these dashboards need, themselves included."""
        wanted: dict[str, Item] = {}
        for dashboard in map(self.dashboard, slugs):
            charts = [self._existing(uuid, dashboard) for uuid in chart_ids(dashboard.content)]
            datasets = [self._existing(chart.content["dataset_uuid"], chart) for chart in charts]
            datasets += [self._existing(uuid, dashboard) for uuid in sorted(filter_datasets(dashboard.content))]
            databases = [self._existing(item.content["database_uuid"], item) for item in datasets]
            wanted |= {item.uuid: item for item in (*databases, *datasets, *charts, dashboard)}
        return Bundle(wanted)

    def _existing(self, uuid: str, wanted_by: Item) -> "Item":
        if uuid not in self.items:
            raise SupersetConfigError(
                f"{wanted_by.file}: refers to {uuid}, which no file of the bundle describes. "
                "Superset would silently leave out what follows it."
            )
        return self.items[uuid]

    def replaced(self, item: Item) -> "Bundle":
        """Return the bundle with this object in place of the one of the same uuid."""
        return Bundle({**self.items, item.uuid: item})


def chart_ids(dashboard: Mapping[str, Any]) -> dict[str, int]:
    """Return uuid -> id of the charts in a dashboard's layout (the id is of the installation it came from)."""
    return {
        node["meta"]["uuid"]: node["meta"]["chartId"]
        for node in dashboard.get("position", {}).values()
        if isinstance(node, dict) and node.get("type") == "CHART" and "uuid" in node.get("meta", {})
    }


def filter_datasets(dashboard: Mapping[str, Any]) -> set[str]:
    """Return the uuids of the datasets that a dashboard's native filters take their values from."""
    filters = dashboard.get("metadata", {}).get("native_filter_configuration", [])
    return {target["datasetUuid"] for one in filters for target in one["targets"] if "datasetUuid" in target}


def read_folder(folder: Path) -> Bundle:
    """Read a bundle from a folder.

    :raises SupersetConfigError: no folder, a file that is not YAML or lacks its uuid or title, a uuid twice.
    """
    if not folder.is_dir():
        raise SupersetConfigError(f"{folder}: no such folder; it is to hold the dashboards' bundle.")
    texts = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.yaml"))
    }
    return _parse(texts)


def read_zip(content: bytes) -> Bundle:
    """Read a bundle from a ZIP as Superset exports it (one root folder around everything)."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".yaml")]
        return _parse({name.partition("/")[2]: archive.read(name).decode() for name in names})


def _parse(texts: Mapping[str, str]) -> Bundle:
    bundle = Bundle()
    for file, text in texts.items():
        kind = file.partition("/")[0]
        if kind not in KINDS:
            continue
        try:
            content = yaml.load(text, Loader=Loader)
        except yaml.YAMLError as error:
            raise SupersetConfigError(f"{file}: not valid YAML: {error}") from error
        missing = [key for key in ("uuid", TITLES[kind]) if not isinstance(content, dict) or key not in content]
        if missing:
            raise SupersetConfigError(f"{file}: lacks {' and '.join(missing)}.")
        item = Item(kind, file, content)
        if item.uuid in bundle.items:
            raise SupersetConfigError(f"{file}: has the uuid of {bundle.items[item.uuid].file}.")
        bundle.items[item.uuid] = item
    return bundle


def write_zip(bundle: Bundle, kind: str) -> bytes:
    """Return the ZIP by which Superset imports the objects of `kind`; the others in it are what these refer to."""
    buffer = io.BytesIO()
    metadata = {"version": "1.0.0", "type": KINDS[kind][1], "timestamp": "2000-01-01T00:00:00+00:00"}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle/metadata.yaml", yaml.dump(metadata, Dumper=Dumper))
        for item in bundle.items.values():
            archive.writestr(f"bundle/{item.file}", yaml.dump(item.content, Dumper=Dumper, sort_keys=False))
    return buffer.getvalue()


def canonical(item: Item) -> Content:
    """Return an object's content without what differs between installations or has no order of its own."""
    content = {OLD_NAMES.get(key, key): value for key, value in item.content.items() if key != "version"}
    if item.kind == "databases" and isinstance(content.get("extra"), dict):
        content["extra"] = {OLD_NAMES.get(key, key): value for key, value in content["extra"].items()}
    elif item.kind == "datasets":
        content["columns"] = _by_name(content.get("columns", []), "column_name")
        content["metrics"] = _by_name(content.get("metrics", []), "metric_name")
    elif item.kind == "charts":
        # An import adds the annotation layers.
        params = {"annotation_layers": []} | (content.get("params") or {})
        content["params"] = _without(params, "datasource", "slice_id", "dashboards")
        content["query_context"] = _canonical_query(content.get("query_context"))
    elif item.kind == "dashboards":
        content |= _canonical_dashboard(content)
    return content


def _by_name(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, Any]:
    # An empty `extra` comes back as nothing.
    return {row[key]: {name: value for name, value in row.items() if value not in (None, {})} for row in rows}


def _without(mapping: Mapping[str, Any], *keys: str) -> Content:
    return {name: value for name, value in mapping.items() if name not in keys}


def _canonical_query(text: str | None) -> Content | None:
    if not text:
        return None
    context = _without(json.loads(text), "datasource")
    context["form_data"] = _without(context.get("form_data") or {}, "datasource", "slice_id", "dashboards")
    context["queries"] = [_without(query, "datasource") for query in context.get("queries", [])]
    return context


def _canonical_dashboard(content: Content) -> Content:
    names = {number: uuid for uuid, number in chart_ids(content).items()}
    position = {
        key: {**node, "meta": _without(node["meta"], "chartId")}
        if isinstance(node, dict) and node.get("type") == "CHART"
        else node
        for key, node in content.get("position", {}).items()
    }
    metadata = _without(content.get("metadata", {}), *COMPUTED_METADATA)
    metadata["native_filter_configuration"] = [
        {
            **_without(one, "chartsInScope", "tabsInScope"),
            "scope": {
                **one.get("scope", {}),
                "excluded": sorted(names[n] for n in one.get("scope", {}).get("excluded", []) if n in names),
            },
        }
        for one in metadata.get("native_filter_configuration", [])
    ]
    return {"position": position, "metadata": metadata}


@dataclass(frozen=True)
class Difference:
    """One object that is not as declared. `details` is empty where it does not exist at all."""

    item: Item
    details: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.item.title}: {'; '.join(self.details) if self.details else 'does not exist'}"


def differences(declared: Bundle, existing: Bundle) -> list[Difference]:
    """Return what `existing` lacks or has otherwise than `declared`. What is not declared does not matter."""
    found = []
    for item in declared.items.values():
        other = existing.items.get(item.uuid)
        if other is None:
            found.append(Difference(item, ()))
        elif details := tuple(_compare(canonical(item), canonical(other), "")):
            found.append(Difference(item, details))
    return found


def _compare(declared: Any, existing: Any, path: str) -> Iterable[str]:
    if isinstance(declared, dict) and isinstance(existing, dict):
        # At the top an object has keys of newer Superset versions, further down an added key is a change.
        keys = sorted(declared) if not path else sorted({*declared, *existing})
        for key in keys:
            yield from _compare(declared.get(key), existing.get(key), f"{path}.{key}" if path else key)
    elif declared != existing:
        yield f"{path}: {_short(existing)} instead of {_short(declared)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
