"""`lakehouse new-connection`: asks, checks the source, discovers its streams, writes connections/<name>.yaml.

What an option says is not asked. Without a terminal nothing is asked: what has no default must be an option. Only
Airbyte's public API is used, so it works with any Airbyte.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml

from lakehouse.airbyte.declared import (
    LAKE,
    MANUAL,
    SCHEDULES,
    Connection,
    Declarations,
    Manifest,
    Source,
    SyncMode,
    checked_schedule,
    load_declarations,
)
from lakehouse.airbyte.discovered import Offered, as_yaml, day_of, secrets_in
from lakehouse.ops.declarations import DeclarationError, load, pipelines_dir

_DATABASE = {"host": "host", "port": "port", "database": "schema", "username": "login", "password": "password"}
# Airbyte's name of a source -> which keys come from the Airflow connection, and what else is configured
PRESETS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "postgres": (
        _DATABASE,
        {
            "schemas": ["public"],
            "ssl_mode": {"mode": "prefer"},
            "replication_method": {"method": "Standard"},
            "tunnel_method": {"tunnel_method": "NO_TUNNEL"},
        },
    ),
    "mysql": (
        _DATABASE,
        {
            "ssl_mode": {"mode": "preferred"},
            "replication_method": {"method": "STANDARD"},
            "tunnel_method": {"tunnel_method": "NO_TUNNEL"},
        },
    ),
    "mongodb-v2": (
        {
            "database_config.connection_string": "host",
            "database_config.username": "login",
            "database_config.password": "password",
        },
        {"database_config": {"cluster_type": "SELF_MANAGED_REPLICA_SET"}},
    ),
    "s3": (
        {
            "aws_access_key_id": "login",
            "aws_secret_access_key": "password",
            "endpoint": "extra.endpoint_url",
            "region_name": "extra.region_name",
        },
        {},
    ),
    "sftp-bulk": (
        {"host": "host", "username": "login", "credentials.password": "password"},
        {"credentials": {"auth_type": "password"}},
    ),
}
FILETYPES = {"jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet", "xlsx": "excel"}  # by the end of a file's name
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class NotGiven(ValueError):
    """An answer is missing or cannot be taken; the message says which option it is."""

    remedy = "Call it again with an answer that can be taken."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, each of which answers a question beforehand."""
    parser.add_argument("--name", help="name of the connection, of its file and of its folder in the lake")
    parser.add_argument("--type", help=f"Airbyte's name of the source ({', '.join(PRESETS)}, declarative, ...)")
    parser.add_argument("--connection", metavar="ID", help="the Airflow connection with address and secrets")
    parser.add_argument(
        "--from-connection", action="append", default=[], metavar="KEY=FIELD",
        help="a key of the configuration and the field of the Airflow connection that fills it",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="another key of the configuration; dots go into objects, the value is YAML. No secrets",
    )  # fmt: skip
    parser.add_argument("--manifest", help="declarative: the manifest, relative to include/pipelines")
    parser.add_argument("--destination", help="a destination of airbyte.yaml")
    parser.add_argument("--schedule", help=f"{MANUAL} (default), {', '.join(SCHEDULES[1:])}, or a cron")
    parser.add_argument(
        "--stream", action="append", default=[], metavar="NAME[:SYNC_MODE[:CURSOR[:KEY,KEY]]]",
        help="a stream to sync, the rest as proposed where it is left out; default: all, as proposed",
    )  # fmt: skip
    parser.add_argument("--airbyte-conn-id", default="airbyte_default", metavar="ID")


def main(options: argparse.Namespace) -> int:
    """Ask, check, discover, write; return the exit code."""
    from airflow.sdk.exceptions import AirflowNotFoundException  # which the help needs not

    from lakehouse.airbyte.exceptions import AirbyteError

    try:
        path = _Dialogue(options).run()
    except DeclarationError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    except (AirbyteError, NotGiven) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except AirflowNotFoundException as error:
        print(f"error: {error}: create it in Airflow (Admin, Connections), then say it again", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nNothing was written.", file=sys.stderr)
        return 130
    print(f"\nWrote {path}. Next: look at it, `make check`, and run the DAG platform_setup, which applies it.")
    return 0


class _Dialogue:
    """One course of questions. `_ask` answers from the options first, then from the person, then by the default."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._folder = pipelines_dir()
        self._declared = load_declarations(self._folder)

    def run(self) -> Path:
        """Return the file that was written."""
        name = self._ask("name", "Name of the connection", check=self._name)
        source = self._source()
        types = {item.name: item.type for item in self._declared.airbyte.destinations}
        destination = self._ask("destination", "Destination", next(iter(types)), one_of(list(types)))
        lake = types[destination] == LAKE
        offered = self._discover(name, source)
        declared = {
            "name": name,
            "source": {"type": source.type, **source.model_dump(exclude_none=True, exclude_defaults=True)},
            "destination": destination,
            "schedule": self._ask("schedule", f"Schedule ({', '.join(SCHEDULES)}, or a cron)", MANUAL, _schedule),
            "namespace_format": f"source={name}",
            "schema_changes": "propagate_columns",
            "streams": self._streams(offered) if lake else list(map(_without_day, self._streams(offered))),
        }
        return self._write(name, as_yaml(declared, f"Source {name}, read by Airbyte's {source.type}."))

    def _name(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise NotGiven(f"{name!r}: lower-case letters, digits and _ only, a letter first")
        if (self._folder / "connections" / f"{name}.yaml").exists():
            raise NotGiven(f"connections/{name}.yaml is there already: edit it, or take another name")
        return name

    # --- the source ----------------------------------------------------------------------------------

    def _source(self) -> Source:
        kind = self._ask(
            "type", f"Type of source ({', '.join([*PRESETS, 'declarative'])}, or Airbyte's name of another)"
        )
        connection = self._ask("connection", "Airflow connection that holds its address and secrets")
        fields, configuration = PRESETS.get(kind, ({}, {}))
        manifest = None
        if kind == "declarative":
            manifest = self._ask("manifest", "Manifest, relative to include/pipelines (connectors/<name>.yaml)")
            fields, configuration = self._of_manifest(manifest)
        configuration = {**configuration}
        fields = fields | dict(_pair("--from-connection", item) for item in self._options.from_connection)
        for key, text in (_pair("--set", item) for item in self._options.set):
            place, (*above, last) = configuration, key.split(".")
            for part in above:
                place[part] = place = dict(place.get(part) or {})
            place[last] = yaml.safe_load(text)
        if kind in ("s3", "sftp-bulk") and "streams" not in configuration:
            configuration |= self._files(kind)
        if kind == "mongodb-v2" and "databases" not in configuration["database_config"]:
            answer = self._ask(None, "Databases, with commas between", flag="--set database_config.databases=[NAME]")
            configuration["database_config"] = {**configuration["database_config"], "databases": _split(answer)}
        if exposed := secrets_in(configuration):
            raise NotGiven(
                f"{', '.join(exposed)} would stand in a file for all to read: put it into the Airflow connection "
                f"{connection} and say --from-connection {exposed[0]}=password (or extra.<key>)"
            )
        return Source(
            type=kind, manifest=manifest, connection=connection, from_connection=fields, configuration=configuration
        )

    def _of_manifest(self, manifest: str) -> tuple[dict[str, str], dict[str, Any]]:
        """What its `spec` asks for: secrets and addresses from the Airflow connection, the rest here."""
        spec = (load(self._folder / manifest, Manifest).model_dump().get("spec") or {}).get("connection_specification")
        properties, required = (spec or {}).get("properties") or {}, set((spec or {}).get("required") or [])
        fields: dict[str, str] = {}
        configuration: dict[str, Any] = {}
        given = {item.partition("=")[0] for item in [*self._options.set, *self._options.from_connection]}
        for key, schema in properties.items():
            if schema.get("airbyte_secret"):
                fields[key] = f"extra.{key}" if "password" in fields.values() else "password"
            elif re.search("url|host", key):
                fields[key] = "host"
            elif key in required and key not in given:
                answer = self._ask(
                    None, f"{schema.get('title') or key} ({key})", schema.get("default"), flag=f"--set {key}="
                )
                configuration[key] = yaml.safe_load(answer) if schema.get("type") != "string" else answer
        return fields, configuration

    def _files(self, kind: str) -> dict[str, Any]:
        place = (
            {"bucket": self._ask(None, "Bucket", flag="--set bucket=NAME")}
            if kind == "s3"
            else {"folder_path": self._ask(None, "Folder", "/", flag="--set folder_path=/FOLDER")}
        )
        name = self._ask(None, "Name of the stream", flag="--set streams=[...]")
        glob = self._ask(None, "Its files", f"{name}/*.csv", flag="--set streams=[...]")
        filetype = next((FILETYPES[end] for end in glob.lower().split(".") if end in FILETYPES), "csv")
        shape = {"filetype": filetype} | ({"delimiter": ",", "encoding": "utf8"} if filetype == "csv" else {})
        return place | {"streams": [{"name": name, "globs": [glob], "format": shape}]}

    def _discover(self, name: str, source: Source) -> list[Offered]:
        """The streams, from Airbyte's source of that name; one that is made here and does not work goes again."""
        from lakehouse.airbyte.apply import apply_source
        from lakehouse.airbyte.exceptions import AirbyteError
        from lakehouse.airbyte.hook import AirbyteHook

        manifests = dict(self._declared.manifests)
        if source.manifest and source.manifest not in manifests:
            manifests[source.manifest] = load(self._folder / source.manifest, Manifest).model_dump()
        declared = Declarations(self._declared.airbyte, [], manifests)
        with AirbyteHook(self._options.airbyte_conn_id) as airbyte:
            client = airbyte.get_conn()
            source_id, made = apply_source(client, declared, name, source, AirbyteHook.get_connection)
            print(f"Asking {source.type} for its streams")
            try:
                found = client.call("GET", "/streams", params={"sourceId": source_id})
            except AirbyteError:
                if made:
                    client.call("DELETE", f"/sources/{source_id}")
                raise
        offered = [Offered.of(entry) for entry in found]
        if not offered:
            raise NotGiven(f"the source answers, and offers no stream: has the user of {source.connection} any rights?")
        return sorted(offered, key=lambda stream: stream.name)

    # --- the streams ---------------------------------------------------------------------------------

    def _streams(self, offered: Sequence[Offered]) -> list[dict[str, Any]]:
        by_name = {stream.name: stream for stream in offered}
        if self._options.stream:
            return [self._given(item, by_name) for item in self._options.stream]
        print(f"\n{'stream':<32}{'sync mode':<30}{'cursor':<32}primary key")
        for stream in offered:
            proposed = stream.default()
            keys = ", ".join(proposed["primary_key"]) or "-"
            print(f"{stream.name:<32}{proposed['sync_mode']:<30}{proposed.get('cursor_field', '-'):<32}{keys}")
        names = self._ask(None, "\nStreams to sync, with commas between", "all", _names_of(by_name))
        chosen = list(by_name) if names == "all" else [name.strip() for name in names.split(",")]
        if self._ask(None, "Sync them as proposed", "yes", one_of(["yes", "no"])) == "yes":
            return [by_name[name].default() for name in chosen]
        return [self._asked(by_name[name]) for name in chosen]

    def _asked(self, stream: Offered) -> dict[str, Any]:
        print(f"\n{stream.name}: {', '.join(stream.columns)}")
        proposed = stream.default()
        mode = self._ask(None, "  Sync mode", proposed["sync_mode"], one_of(_modes(stream)))
        cursor, columns = None, _columns_of(stream)
        if mode.startswith("incremental"):
            cursor = self._ask(None, "  Cursor", proposed.get("cursor_field"), columns)
        keys = ""
        if "deduped" in mode:
            keys = self._ask(None, "  Primary key, with commas between", ",".join(stream.primary_key) or None, columns)
        day = self._ask(None, "  Column that tells a row's day", day_of(mode, cursor))
        return stream.stream(mode, cursor, _split(keys) or stream.primary_key, day)

    def _given(self, item: str, by_name: dict[str, Offered]) -> dict[str, Any]:
        name, mode, cursor, keys, *rest = [*item.split(":"), "", "", ""][: max(4, item.count(":") + 1)]
        if rest:
            raise NotGiven(f"--stream {item}: expected NAME[:SYNC_MODE[:CURSOR[:KEY,KEY]]]")
        one_of(list(by_name))(name)
        stream, proposed = by_name[name], by_name[name].default()
        if not mode:
            return proposed
        one_of(_modes(stream))(mode)
        for column in [*_split(cursor), *_split(keys)]:
            _columns_of(stream)(column)
        cursor_field = cursor or proposed.get("cursor_field")
        if mode.startswith("incremental") and not cursor_field:
            raise NotGiven(f"--stream {item}: {mode} needs a cursor, one of {', '.join(stream.columns)}")
        return stream.stream(mode, cursor_field, _split(keys) or stream.primary_key)

    # --- answers and the file ------------------------------------------------------------------------

    def _ask(
        self,
        option: str | None,
        question: str,
        default: str | None = None,
        check: Callable[[str], str] = str,
        flag: str = "",
    ) -> str:
        """The answer: the option's, or the person's, or the default. One that is refused is asked for again."""
        given = getattr(self._options, option) if option else None
        if given:
            return check(given)
        if not sys.stdin.isatty():
            if default is None:
                raise NotGiven(f"there is no terminal to ask at: say {flag or f'--{option}'} ({question.strip()})")
            return check(str(default))
        while True:
            answer = input(question + (f" [{default}]: " if default is not None else ": ")).strip() or default
            try:
                if answer is not None:
                    return check(str(answer))
            except NotGiven as error:
                print(f"  {error}")

    def _write(self, name: str, text: str) -> Path:
        """Check what would be written as `make check` does, then put it in its place in one step."""
        folder = self._folder / "connections"
        with tempfile.TemporaryDirectory(dir=self._folder.parent) as aside:
            draft = Path(aside) / f"{name}.yaml"
            draft.write_text(text, encoding="utf-8")
            load(draft, Connection)
            draft.rename(folder / f"{name}.yaml")
        return folder / f"{name}.yaml"


def _without_day(stream: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stream.items() if key != "batch_date"}


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    """Return a check that refuses what is not known."""

    def check(answer: str) -> str:
        if answer not in known:
            raise NotGiven(f"{answer!r} is none of: {', '.join(known)}")
        return answer

    return check


def _schedule(answer: str) -> str:
    try:
        return checked_schedule(answer)
    except ValueError as error:
        raise NotGiven(f"schedule {answer!r}: {error}") from None


def _names_of(by_name: dict[str, Offered]) -> Callable[[str], str]:
    def check(answer: str) -> str:
        for name in [] if answer == "all" else _split(answer):
            one_of(list(by_name))(name)
        return answer

    return check


def _columns_of(stream: Offered) -> Callable[[str], str]:
    def check(answer: str) -> str:
        for name in _split(answer):
            if name not in stream.columns:
                raise NotGiven(f"{stream.name} has no column {name!r}; it has: {', '.join(stream.columns)}")
        return answer

    return check


def _modes(stream: Offered) -> list[str]:
    return [mode for mode in get_args(SyncMode) if mode in stream.sync_modes]


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _pair(option: str, item: str) -> tuple[str, str]:
    key, sign, value = item.partition("=")
    if not (key and sign and value):
        raise NotGiven(f"{option} {item}: expected KEY=VALUE")
    return key, value
