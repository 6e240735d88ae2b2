"""The dbt project, parsed once per content and slot: what DAG files and tasks read instead of running dbt.

    python -m lakehouse.dbt.manifest

parses the project where its content has changed and needs no Dremio. A DAG file that finds no manifest for the
project's content says to run this. Models of the marts have other names in each slot, so there is a manifest
for each.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

SLOTS = ("a", "b")
# Where models go that say nothing of their own. dbt resolves names when it parses, so these never differ by
# installation: another lake is another Dremio source of the same name.
NAMES = {
    "object_storage_source": "datalake",
    "object_storage_path": "silver",
    "dremio_space": "staging",
    "dremio_space_folder": "no_schema",
}
# dbt asks for somebody to talk to even where it talks to nobody
_NOBODY = {"type": "dremio", "software_host": "localhost", "port": 9047, "user": "nobody", "password": "unused"}
COMMAND = "python -m lakehouse.dbt.manifest"
_INPUTS = ("dbt_project.yml", "models", "macros", "tests", "seeds", "snapshots", "analyses")
_KEPT = 5  # parsed versions that stay beside the newest: tasks that began before an edit still read theirs


class ManifestMissing(RuntimeError):
    """The project has not been parsed since it was changed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            f"the dbt project {project_directory()} was changed (or never parsed): {directory} does not exist. "
            f"Run `make up`, or `{COMMAND}` in Airflow's environment, and the DAG comes back."
        )


def project_directory() -> Path:
    """Return the folder of the dbt project: `$LAKEHOUSE_INCLUDE/dbt`, by default include/dbt of this repository."""
    include = os.environ.get("LAKEHOUSE_INCLUDE")
    root = Path(include) if include else Path(__file__).resolve().parents[3] / "include"
    return root / "dbt"


def target_directory() -> Path:
    """Return the folder for what dbt writes: `$LAKEHOUSE_DBT_TARGET`, by default `target` in the project."""
    return Path(os.environ.get("LAKEHOUSE_DBT_TARGET") or project_directory() / "target")


def content_hash() -> str:
    """Return 16 hex digits that change with any file of the project and with dbt's version."""
    project = project_directory()
    digest = hashlib.sha256(f"{version('dbt-core')} {version('dbt-dremio')}".encode())
    for name in _INPUTS:
        path = project / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.suffix in (".sql", ".yml", ".yaml", ".csv", ".md") and file.is_file():
                digest.update(str(file.relative_to(project)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def manifest_path(slot: str) -> Path:
    """Return manifest.json of the project as it is now, without SQL, for `slot` ("a" or "b").

    :raises ManifestMissing: it has not been parsed yet.
    """
    directory = _directory(slot)
    if not (directory / "partial_parse.msgpack").exists():
        raise ManifestMissing(directory)
    return directory / "manifest.json"


def load(slot: str) -> "Manifest":
    """Return the parsed project for `slot`, as dbtRunner takes it (0.1 s).

    :raises ManifestMissing: it has not been parsed yet.
    """
    from dbt.contracts.graph.manifest import Manifest

    manifest = Manifest.from_msgpack(manifest_path(slot).with_name("partial_parse.msgpack").read_bytes())
    manifest.build_flat_graph()
    return manifest


def offline_profile(directory: Path) -> Path:
    """Write a profile with which dbt parses and lists without a Dremio; return `directory`, which is made."""
    directory.mkdir()
    profile = {"target": "dremio", "outputs": {"dremio": {**_NOBODY, **NAMES}}}
    (directory / "profiles.yml").write_text(json.dumps({"lakehouse": profile}))  # JSON is YAML
    return directory


def build() -> list[Path]:
    """Parse the project for each slot where that was not done for its present content.

    Idempotent, and safe beside another process that does the same: a version appears whole or not at all.

    :returns: the folders that were made.
    :raises RuntimeError: dbt refused the project; the message is dbt's.
    """
    made = [_directory(slot) for slot in SLOTS if _parse(slot, _directory(slot))]
    if made:
        _remove_old(made[0].parent)
    return made


def _directory(slot: str) -> Path:
    if slot not in SLOTS:
        raise ValueError(f"slot is {slot!r}, expected one of {', '.join(SLOTS)}")
    return target_directory() / "parsed" / content_hash() / f"slot_{slot}"


def _parse(slot: str, directory: Path) -> bool:
    if (directory / "partial_parse.msgpack").exists():
        return False
    from dbt.cli.main import dbtRunner

    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".parsing-") as scratch:
        profiles = offline_profile(Path(scratch) / "profiles")
        parsed = Path(scratch) / "target"
        arguments = ["--quiet", "parse", "--vars", f"slot: {slot}", "--log-level-file", "none"]
        arguments += ["--project-dir", str(project_directory()), "--profiles-dir", str(profiles)]
        arguments += ["--target-path", str(parsed), "--log-path", scratch, "--no-send-anonymous-usage-stats"]
        result = dbtRunner().invoke(arguments)
        if not result.success:
            raise RuntimeError(f"dbt cannot parse {project_directory()}: {result.exception}")
        _leave_out_code(parsed / "manifest.json")
        try:
            parsed.rename(directory)
        except OSError:  # another process was quicker
            return False
    return True


def _leave_out_code(file: Path) -> None:
    """Keep of manifest.json what a DAG is rendered from: every task reads it, and nine tenths of it are SQL."""
    content = json.loads(file.read_text())
    content["macros"] = content["docs"] = {}
    for node in content["nodes"].values():
        node["raw_code"] = ""
        node["columns"] = {
            name: {key: column[key] for key in ("name", "description", "data_type")}
            for name, column in node["columns"].items()
        }
    file.write_text(json.dumps(content, separators=(",", ":")))


def _remove_old(parsed: Path) -> None:
    versions = sorted(
        (path for path in parsed.parent.iterdir() if path != parsed), key=lambda path: path.stat().st_mtime
    )
    for path in versions[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def main() -> int:
    """Parse the project and say what was done."""
    try:
        made = build()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    for directory in made:
        print(f"parsed the dbt project into {directory}")
    if not made:
        print("the dbt project is unchanged: nothing to parse")
    return 0


if __name__ == "__main__":
    sys.exit(main())
