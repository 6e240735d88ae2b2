"""What `include/pipelines/dashboards.yaml` declares: the dashboards to keep in Superset and to warm."""

from pathlib import Path
from typing import Any

from pydantic import Field

from lakehouse.ops.declarations import DeclarationError, Declared, load, pipelines_dir, wrong
from lakehouse.superset.bundle import Bundle, Item, read_folder
from lakehouse.superset.connection import AirflowConnection, dremio_uri
from lakehouse.superset.exceptions import SupersetConfigError

FILE = "dashboards.yaml"


class Dashboards(Declared):
    """Dashboards of one bundle, over one database.

    :ivar bundle: folder of the bundle, relative to the folder above the declaration's (`pipelines`).
    :ivar database_connection: Airflow connection (type `dremio`) that the bundle's databases stand for.
    :ivar dashboards: slugs, in the order in which they are warmed.
    """

    bundle: str
    database_connection: str
    dashboards: list[str] = Field(min_length=1)

    def folder(self, declaration: str | Path = FILE) -> Path:
        """Return the folder of the bundle.

        :param declaration: the file that this was read from; a relative one is in `pipelines_dir()`.
        """
        return (pipelines_dir() / declaration).parent.parent / self.bundle

    def read_bundle(self, declaration: str | Path = FILE) -> Bundle:
        """Return the part of the bundle that the declared dashboards need.

        :raises SupersetConfigError: the bundle cannot be used.
        """
        return read_folder(self.folder(declaration)).needed_by(self.dashboards)


def with_database(bundle: Bundle, connection: AirflowConnection) -> Bundle:
    """Return the bundle with its databases' URIs, passwords included, made from an Airflow connection."""
    uri = dremio_uri(connection)
    for item in bundle.of("databases"):
        content: dict[str, Any] = {**item.content, "sqlalchemy_uri": uri}
        bundle = bundle.replaced(Item(item.kind, item.file, content))
    return bundle


def check(path: Path) -> None:
    """Check the declaration and its bundle: every dashboard exists, and everything that it refers to.

    :raises DeclarationError: naming file and what is wrong.
    """
    declared = load(path, Dashboards)
    try:
        whole = read_folder(declared.folder(path))
    except SupersetConfigError as error:
        raise wrong(path, "bundle", " ".join(str(error).split())) from error
    try:
        bundle = whole.needed_by(declared.dashboards)
    except SupersetConfigError as error:
        raise wrong(path, "dashboards", str(error)) from error
    unsaved = [item.file for item in bundle.of("charts") if not item.content.get("query_context")]
    if unsaved:
        raise DeclarationError(
            path,
            [f"{declared.bundle}/{file}: query_context: empty, so it cannot be warmed" for file in unsaved],
        )


FILES = {FILE: check}
