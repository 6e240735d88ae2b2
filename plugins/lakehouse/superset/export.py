"""Dashboards as they are in Superset, written to the folder of a bundle, so that applying it gives them back."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lakehouse.superset.bundle import KINDS, TITLES, Bundle, Dumper, Item, canonical, read_folder
from lakehouse.superset.exceptions import SupersetConfigError, SupersetNotFound, UnknownDashboard
from lakehouse.superset.hook import SupersetHook

# Of databases: secrets that Superset gives out unmasked, and by which form a person has set it up.
LEFT_OUT = frozenset({"encrypted_extra", "configuration_method"})
METADATA = "metadata.yaml"  # by which a ZIP of the folder can be imported by hand


@dataclass
class Exported:
    """Files that were written, relative to the folder, and what is to be known of the bundle."""

    written: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def export(hook: SupersetHook, slugs: Sequence[str], folder: Path) -> Exported:
    """Bring a bundle's files to what these dashboards are in Superset, with their charts, datasets and databases.

    A file is known by the uuid in it and keeps its name; one whose object means the same is left alone, so that a
    version control shows what was edited and nothing else. Objects of other dashboards stay. Databases keep the
    address that the file has; a new one has no password.

    :param slugs: of the dashboards.
    :param folder: is made if it is missing.
    :raises UnknownDashboard: a dashboard does not exist; names those that do.
    :raises SupersetConfigError: a dashboard has another slug, a file of the folder cannot be used, or (nothing is
        written then) the export does not hold all that the dashboards refer to.
    """
    wanted = hook.export_dashboards([_id(hook, slug) for slug in slugs]).needed_by(slugs)
    there = read_folder(folder) if folder.is_dir() else Bundle()
    result = Exported()
    for item in wanted.of("databases"):
        if item.content.get("encrypted_extra"):
            result.notes.append(f"{item.title} has a secure extra, which is left out: applying it leaves the one there")
        wanted = wanted.replaced(_portable(item, there.items.get(item.uuid)))
    for item in wanted.items.values():
        known = there.items.get(item.uuid)
        file = known.file if known else _new_file(item, there)
        if known is None or meaning(item) != meaning(known):
            write(folder / file, item.content)
            result.written.append(file)
        there = there.replaced(Item(item.kind, file, item.content))
        if item.kind == "charts" and not item.content.get("query_context"):
            result.notes.append(f"{item.title} has no query context and cannot be warmed: open it in Superset, save it")
    if not (folder / METADATA).exists():
        write(folder / METADATA, {"version": "1.0.0", "type": KINDS["dashboards"][1]})
    result.notes += _checked(wanted, read_folder(folder), slugs)
    return result


def _id(hook: SupersetHook, slug: str) -> int:
    try:
        return int(hook.get_dashboard(slug)["id"])
    except SupersetNotFound as error:
        raise UnknownDashboard(hook.settings.url, hook.settings.user, slug, hook.dashboard_slugs()) from error


def _portable(database: Item, known: Item | None) -> Item:
    """The database without what belongs to this installation alone, at the address of its file."""
    content = {key: value for key, value in database.content.items() if key not in LEFT_OUT}
    if known is not None:
        content["sqlalchemy_uri"] = known.content["sqlalchemy_uri"]
    return Item(database.kind, database.file, content)


def meaning(item: Item) -> dict[str, Any]:
    """Return the content by which two versions are the same; an empty value is as good as none."""
    return {key: value for key, value in canonical(item).items() if value}


def _new_file(item: Item, there: Bundle) -> str:
    """A name by the title: Superset's own has the object's number in this installation."""
    place = item.file.rpartition("/")[0]
    name = re.sub(r"\W+", "_", str(item.content[TITLES[item.kind]])).strip("_").lower() or item.uuid
    taken = {one.file for one in there.items.values()}
    file = f"{place}/{name}.yaml"
    return f"{place}/{name}_{item.uuid[:8]}.yaml" if file in taken else file


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a file of a bundle in one step: it is the old one or the new one whenever the export is interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    text = yaml.dump(content, Dumper=Dumper, sort_keys=False, width=120, allow_unicode=True)
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def _checked(wanted: Bundle, written: Bundle, slugs: Sequence[str]) -> list[str]:
    """Prove that the files give back what was exported; return what lies there and no dashboard needs.

    :raises SupersetConfigError: they do not.
    """
    given_back = written.needed_by(slugs).items
    lost = [
        item.title
        for item in wanted.items.values()
        if item.uuid not in given_back or meaning(item) != meaning(given_back[item.uuid])
    ]
    if lost:
        raise SupersetConfigError(f"The files do not give back what was exported: {', '.join(lost)}.")
    every = [str(item.content.get("slug")) for item in written.of("dashboards")]
    needed = written.needed_by(every).items
    return [f"{item.file} is in no dashboard any more" for uuid, item in written.items.items() if uuid not in needed]
