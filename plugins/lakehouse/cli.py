"""The command line: what is declared under include/pipelines against what the services hold.

    lakehouse check                     are the declarations themselves right?
    lakehouse plan                      what differs? exit code 2 if anything does
    lakehouse apply                     make it equal; says what it changed, removes nothing unless a role says so
    lakehouse plan --only dremio        one part, or several: --only dremio,airbyte
    lakehouse new-connection            ask for a source of Airbyte's, discover its streams, write their declaration
    lakehouse export-dashboards         write what was edited in Superset to the files of the dashboards' bundle
    lakehouse sync-datasets             write what dbt says of the marts to the datasets of the dashboards' bundle

It runs the code of the operators. Connections come from where Airflow's own commands take them: `AIRFLOW_CONN_...`, the
secrets backend, the metadata database.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.airbyte import new_connection
from lakehouse.ops.declarations import INCLUDE_VARIABLE, DeclarationError, load, pipelines_dir

AS_DECLARED, FAILED, DIFFERS = 0, 1, 2  # exit codes
SLOTS = ("a", "b")  # of the marts that reflections are declared for


@dataclass
class Outcome:
    """What a part came to: what differs (or was changed), what could not be done, what is only to be known."""

    changes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """One part of the declared state.

    :ivar file: the declaration without which there is nothing to do.
    :ivar run: takes the Airflow connection id, and whether to change anything.
    """

    file: str
    conn_id: str
    run: Callable[[str, bool], Outcome]


def _buckets(conn_id: str, write: bool) -> Outcome:
    from lakehouse.minio.buckets import apply, plan
    from lakehouse.minio.declared import Storage
    from lakehouse.minio.hook import ObjectStoreHook

    store, declared = ObjectStoreHook(conn_id), load("storage.yaml", Storage)
    found = (apply if write else plan)(store, declared.named(store.lake))
    return Outcome([*(f"create {item}" for item in found.made), *found.changed], notes=found.unsupported)


def _dremio(conn_id: str, write: bool) -> Outcome:
    from airflow.sdk import BaseHook

    from lakehouse.dremio.declared.catalog import Catalog
    from lakehouse.dremio.declared.plan import apply, plan
    from lakehouse.dremio.exceptions import DremioError
    from lakehouse.dremio.hook import DremioHook

    hook, outcome = DremioHook(conn_id), Outcome()
    for change in plan(hook, load("dremio.yaml", Catalog), BaseHook.get_connection):
        try:
            if write:
                apply(hook, change, BaseHook.get_connection)
            outcome.changes.append(str(change))
        except DremioError as error:  # a view over a table that is not built yet keeps no other back
            outcome.errors.append(f"{change}: {error}")
    return outcome


def _reflections(conn_id: str, write: bool) -> Outcome:
    from lakehouse.dremio.declared.reflections import Reflections
    from lakehouse.dremio.hook import DremioHook
    from lakehouse.dremio.refresh import drift, ensure, ensure_policy

    hook, outcome = DremioHook(conn_id), Outcome()
    for declared in load("reflections.yaml", Reflections).reflections:
        for table in dict.fromkeys(declared.table(slot) for slot in SLOTS):
            lines = drift(hook, declared, table)
            if lines is None:
                outcome.notes.append(f"reflection {declared.name}: {table} is not built yet")
                continue
            if lines and write:
                ensure(hook, declared, table)
                ensure_policy(hook, declared, table)
            outcome.changes += lines
    return outcome


def _airbyte(conn_id: str, write: bool) -> Outcome:
    from lakehouse.airbyte.apply import apply, plan
    from lakehouse.airbyte.declared import load_declarations
    from lakehouse.airbyte.hook import AirbyteHook

    declared = load_declarations()
    with AirbyteHook(conn_id) as airbyte:
        return Outcome((apply if write else plan)(airbyte.get_conn(), declared, AirbyteHook.get_connection))


def _superset(conn_id: str, write: bool) -> Outcome:
    from lakehouse.superset.apply import apply, plan
    from lakehouse.superset.declared import FILE, Dashboards, with_database
    from lakehouse.superset.hook import SupersetHook

    declared = load(FILE, Dashboards)
    bundle = with_database(declared.read_bundle(), SupersetHook.get_connection(declared.database_connection))
    return Outcome((apply if write else plan)(SupersetHook(conn_id), bundle, declared.dashboards))


def _export_dashboards(options: argparse.Namespace) -> int:
    """Write the declared dashboards, or those that are named, to the bundle that dashboards.yaml names."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    from lakehouse.superset.declared import FILE, Dashboards
    from lakehouse.superset.exceptions import SupersetError
    from lakehouse.superset.export import export
    from lakehouse.superset.hook import SupersetHook

    try:
        declared = load(FILE, Dashboards)
        done = export(
            SupersetHook(options.superset_conn_id), options.dashboards or declared.dashboards, declared.folder()
        )
    except (DeclarationError, SupersetError, AirflowNotFoundException) as error:
        print(f"  ! {error}", file=sys.stderr)
        return FAILED
    print(f"{declared.folder()}: {len(done.written)} files written")
    for file in done.written:
        print(f"  * {file}")
    for note in done.notes:
        print(f"  . {note}")
    for slug in options.dashboards or []:
        if slug not in declared.dashboards:
            print(f"  . {slug} is not among the dashboards of {FILE} yet: it is neither applied nor warmed")
    return AS_DECLARED


def _sync_datasets(options: argparse.Namespace) -> int:
    """Bring the datasets of the bundle that dashboards.yaml names to what dbt's manifest says of their models."""
    from lakehouse.dbt.manifest import ManifestMissing, manifest_path
    from lakehouse.superset.declared import FILE, Dashboards
    from lakehouse.superset.documented import sync
    from lakehouse.superset.exceptions import SupersetError

    try:
        folder = load(FILE, Dashboards).folder()
        manifest = json.loads(Path(options.manifest or manifest_path(SLOTS[0])).read_text(encoding="utf-8"))
        written = sync(folder, manifest)
    except (DeclarationError, ManifestMissing, SupersetError, OSError, ValueError) as error:
        print(f"  ! {error}", file=sys.stderr)
        return FAILED
    print(f"{folder}: {len(written)} datasets written" + (", now apply them" if written else ": all are as in dbt"))
    for file in written:
        print(f"  * {file}")
    return AS_DECLARED


# in the order in which they are applied: each may need those before it
PARTS = {
    "buckets": Part("storage.yaml", "minio_default", _buckets),
    "dremio": Part("dremio.yaml", "dremio_default", _dremio),
    "reflections": Part("reflections.yaml", "dremio_default", _reflections),
    "airbyte": Part("airbyte.yaml", "airbyte_default", _airbyte),
    "superset": Part("dashboards.yaml", "superset_default", _superset),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code.

    0: as declared, or applied. 1: something failed. 2: `plan` found a difference.
    """
    options = _parser().parse_args(arguments)
    if options.include:
        os.environ[INCLUDE_VARIABLE] = str(Path(options.include).resolve())
    if options.command == "check":
        from lakehouse.ops.check import main as check

        return check()
    if not pipelines_dir().is_dir():
        told = f"no such folder (--include or {INCLUDE_VARIABLE} names the folder above it)"
        print(f"{pipelines_dir()}: {told}", file=sys.stderr)
        return FAILED
    # as `airflow connections get` does, so that the metadata database is asked too
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    if options.command == "new-connection":
        return new_connection.main(options)
    if options.command == "export-dashboards":
        return _export_dashboards(options)
    if options.command == "sync-datasets":
        return _sync_datasets(options)
    outcomes = [_show(name, _run(name, options), options) for name in options.only]
    if any(outcome.errors for outcome in outcomes):
        return FAILED
    return DIFFERS if options.command == "plan" and any(outcome.changes for outcome in outcomes) else AS_DECLARED


def _run(name: str, options: argparse.Namespace) -> Outcome | None:
    """One part, whose failure keeps no other back; None where nothing is declared."""
    part = PARTS[name]
    if not (pipelines_dir() / part.file).exists():
        return None
    conn_id = getattr(options, part.conn_id) or part.conn_id
    try:
        return part.run(conn_id, options.command == "apply")
    except DeclarationError as error:
        return Outcome(errors=error.problems)
    except Exception as error:
        if options.traceback:
            raise
        return Outcome(errors=[str(error) or type(error).__name__])


def _show(name: str, outcome: Outcome | None, options: argparse.Namespace) -> Outcome:
    if outcome is None:
        print(f"{name}: nothing is declared ({PARTS[name].file} is not there)")
        return Outcome()
    word = "changed" if options.command == "apply" else "to change"
    summary = f"{len(outcome.changes)} {word}" if outcome.changes else "as declared"
    print(f"{name}: " + (summary if outcome.changes or not outcome.errors else "failed"))
    sign = "*" if options.command == "apply" else "~"
    for line in outcome.changes:
        print(f"  {sign} {line}")
    for line in outcome.notes:
        print(f"  . {line}")
    for line in outcome.errors:
        print(f"  ! {line}", file=sys.stderr)
    return outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lakehouse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "check": "check the declarations, without any service",
        "plan": "show what differs; exit code 2 if anything does",
        "apply": "make it equal; removes nothing unless a role is `exclusive`",
        "new-connection": "ask for a source, discover its streams, write connections/<name>.yaml",
        "export-dashboards": "write what was edited in Superset to the files of the dashboards' bundle",
        "sync-datasets": "write what dbt says of the marts to the datasets of the dashboards' bundle",
    }
    for command, text in helps.items():
        sub = commands.add_parser(command, help=text)
        sub.add_argument("--include", metavar="DIR", help=f"folder above pipelines/ (default: ${INCLUDE_VARIABLE})")
        if command == "new-connection":
            new_connection.add_arguments(sub)
        if command == "export-dashboards":
            sub.add_argument("--dashboards", type=_slugs, metavar="SLUGS", help="default: those of dashboards.yaml")
            sub.add_argument("--superset-conn-id", default="superset_default", metavar="ID", help="Airflow connection")
        if command == "sync-datasets":
            sub.add_argument("--manifest", metavar="FILE", help="dbt's manifest.json (default: that of include/dbt)")
        if command in ("check", "new-connection", "export-dashboards", "sync-datasets"):
            continue
        sub.add_argument("--only", type=_names, default=list(PARTS), metavar="PARTS", help=", ".join(PARTS))
        for conn_id in dict.fromkeys(part.conn_id for part in PARTS.values()):
            flag = f"--{conn_id.removesuffix('_default')}-conn-id"
            sub.add_argument(flag, dest=conn_id, metavar="ID", help=f"Airflow connection (default: {conn_id})")
        sub.add_argument("--traceback", action="store_true", help="show where an error comes from")
    return parser


def _slugs(text: str) -> list[str]:
    return [slug.strip() for slug in text.split(",") if slug.strip()]


def _names(text: str) -> list[str]:
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'}: choose from {', '.join(PARTS)}")
    return [name for name in PARTS if name in wanted]


if __name__ == "__main__":
    sys.exit(main())
