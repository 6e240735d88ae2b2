"""What include/pipelines declares for Airbyte: airbyte.yaml, connections/*.yaml, connectors/*.yaml."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lakehouse.ops.declarations import DeclarationError, Declared, load, pipelines_dir, wrong

SyncMode = Literal[
    "full_refresh_overwrite",
    "full_refresh_append",
    "full_refresh_overwrite_deduped",
    "incremental_append",
    "incremental_deduped_history",
]
ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
MANUAL = "manual"
CONTINUOUS = "continuous"
LAKE = "s3"  # the type of the destination whose rows are published to bronze
TIERS = {"15m": "*/15 * * * *", "6h": "0 */6 * * *", "daily": "0 0 * * *"}  # name -> cron, in UTC
SCHEDULES = (MANUAL, *TIERS, CONTINUOUS)  # and any cron


class Configured(Declared):
    """A configuration, and the Airflow connection that fills in what must not stand in a file.

    :ivar from_connection: path in the configuration (with dots) -> field of the Airflow connection: host, port,
        schema, login, password or extra.<key>, which may be a path too.
    """

    connection: str | None = None
    from_connection: dict[str, str] = Field(default_factory=dict)
    configuration: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fields_are_known(self) -> Self:
        if self.from_connection and not self.connection:
            raise ValueError("from_connection needs `connection`, the name of an Airflow connection")
        plain = {"host", "port", "schema", "login", "password"}
        for path, name in self.from_connection.items():
            if name not in plain and not name.startswith("extra."):
                raise ValueError(f"{path}: {name!r} is none of {', '.join(sorted(plain))}, extra.<key>")
        return self


class Destination(Configured):
    """A destination. `type` is Airbyte's name of it."""

    name: str
    type: str


class Airbyte(Declared):
    """airbyte.yaml: the workspace and its destinations."""

    workspace: str
    destinations: list[Destination]


class Source(Configured):
    """A source. `type` is Airbyte's name of it; `declarative` takes a low-code manifest."""

    type: str
    manifest: str | None = None

    @model_validator(mode="after")
    def _manifest_for_declarative(self) -> Self:
        if (self.type == "declarative") != (self.manifest is not None):
            raise ValueError("a source of type declarative has a manifest, and no other has one")
        return self

    @model_validator(mode="after")
    def _schemas_of_files_are_json(self) -> Self:
        for stream in self._file_streams():
            try:
                schema = json.loads(stream.get("input_schema") or "{}")
            except (TypeError, json.JSONDecodeError) as error:
                raise ValueError(f"stream {stream.get('name')}: input_schema is no JSON: {error}") from None
            if not isinstance(schema, dict):
                raise ValueError(f"stream {stream.get('name')}: input_schema is no JSON object of column -> type")
        return self

    def file_columns(self, stream: str) -> list[str] | None:
        """Return the columns that every file of a stream has, by its `input_schema`, as they are named in the lake.

        None where the source reads no files or the stream has no schema.
        """
        for entry in self._file_streams():
            if entry.get("name") == stream and entry.get("input_schema"):
                # Airbyte's Parquet files have letters, digits and underscores in names only
                return [re.sub(r"[^A-Za-z0-9_]", "_", name) for name in json.loads(entry["input_schema"])]
        return None

    def _file_streams(self) -> list[dict[str, Any]]:
        streams = self.configuration.get("streams") if self.type in ("s3", "sftp-bulk") else None
        return [entry for entry in streams or [] if isinstance(entry, dict)]


class Stream(Declared):
    """A stream of a connection.

    :ivar batch_date: the column, `file_name` or `snapshot` that tells a row's day; none where the destination is not
        the lake, for what is delivered elsewhere is not published.
    :ivar dropped_columns: columns that the source had and is to lack from now on: newer rows have null there, and
        rows whose value Airbyte could not deliver. Publishing fails at any other column that is gone or altered.
    """

    name: str
    sync_mode: SyncMode
    cursor_field: str | None = None
    primary_key: list[str] = Field(default_factory=list)
    batch_date: str | None = None
    dropped_columns: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _cursor_for_incremental(self) -> Self:
        if self.sync_mode.startswith("incremental") and not self.cursor_field:
            raise ValueError(f"stream {self.name}: {self.sync_mode} needs a cursor_field")
        if "deduped" in self.sync_mode and not self.primary_key:
            raise ValueError(f"stream {self.name}: {self.sync_mode} needs a primary_key")
        return self


class RejectedStream(Declared):
    """Where the embedded Airbyte puts lines of a stream that do not parse.

    :ivar columns: what it is published with until a line has been rejected.
    """

    name: str
    stream: str
    batch_date: str
    columns: dict[str, ColumnType] = Field(default_factory=dict)


class Lakehouse(Declared):
    """Settings that Airbyte's API has no field for; only the embedded Airbyte takes them."""

    batch_size: int | None = None
    threads: int | None = None
    timeout_minutes: float | None = None
    max_retries: int | None = None
    compression: Literal["none", "gzip"] | None = None
    buffer_size_mb: int | None = None
    raw_path: str | None = None
    encoding_fallback: str | None = None
    rejected_streams: list[RejectedStream] = Field(default_factory=list)

    def settings(self) -> dict[str, Any]:
        """Return what is sent to Airbyte: what is set, without our own keys of rejected streams."""
        settings = self.model_dump(exclude_none=True, exclude={"rejected_streams"})
        if self.rejected_streams:
            settings["rejected_streams"] = [
                {"name": item.name, "stream": item.stream, "batch_date": item.batch_date}
                for item in self.rejected_streams
            ]
        return settings


class Connection(Declared):
    """connections/<name>.yaml: a source, where it goes, and its streams.

    :ivar schedule: `manual`, a name of TIERS, or a cron of five fields in UTC: when the DAG `ingest_<tier>` syncs it;
        or `continuous`: the DAG `cdc_streaming` syncs it again and again. Airbyte itself never starts it, and the
        daily batch always does.
    """

    name: str
    source: Source
    destination: str
    schedule: str = MANUAL
    namespace_format: str
    schema_changes: Literal["ignore", "propagate_columns", "disable_connection"] = "propagate_columns"
    streams: list[Stream]
    lakehouse: Lakehouse = Field(default_factory=Lakehouse)

    @field_validator("schedule")
    @classmethod
    def _schedule_is_known(cls, schedule: str) -> str:
        return checked_schedule(schedule)

    @model_validator(mode="after")
    def _continuous_is_incremental(self) -> Self:
        for stream in self.streams if self.continuous else []:
            if not stream.sync_mode.startswith("incremental"):
                raise ValueError(
                    f"stream {stream.name}: a continuous connection would read it whole every few seconds by "
                    f"{stream.sync_mode}: choose an incremental sync_mode, or another schedule for the connection"
                )
        return self

    @property
    def continuous(self) -> bool:
        """Whether `cdc_streaming` syncs it."""
        return self.schedule == CONTINUOUS

    @property
    def tier(self) -> str | None:
        """The tier whose DAG syncs this connection, as it stands in the DAG's id; None: no such DAG."""
        if self.schedule in (MANUAL, CONTINUOUS):
            return None
        # an id has letters, digits, - _ and dots; `--` and `x` stand in no cron, so that each has an id of its own
        return self.schedule.replace("/", "--").translate(str.maketrans(" *,", "_x."))

    @property
    def cron(self) -> str | None:
        """When the tier's DAG runs; None: there is none."""
        return None if self.tier is None else TIERS.get(self.schedule, self.schedule)

    def published_streams(self) -> list[dict[str, Any]]:
        """Return the streams as PublishOperator takes them: name, batch_date, and what else is declared of them."""
        return [
            *(
                {"name": item.name, "batch_date": item.batch_date}
                | ({"dropped_columns": list(item.dropped_columns)} if item.dropped_columns else {})
                | ({"required_columns": required} if (required := self.source.file_columns(item.name)) else {})
                | ({"overwrites": True} if item.sync_mode.startswith("full_refresh_overwrite") else {})
                for item in self.streams
                if item.batch_date
            ),
            *(
                {"name": item.name, "batch_date": item.batch_date, "columns": dict(item.columns)}
                for item in self.lakehouse.rejected_streams
            ),
        ]


def checked_schedule(schedule: str) -> str:
    """Return a schedule as it is kept: `manual`, `continuous`, a name of TIERS, or a cron with single blanks.

    :raises ValueError: it is none of them.
    """
    if schedule in SCHEDULES:
        return schedule
    from croniter import CroniterError, croniter  # type: ignore[import-untyped]  # comes with Airflow

    fields = schedule.lower().split()
    try:
        if len(fields) != 5 or not re.fullmatch(r"[a-z0-9*/, -]+", " ".join(fields)):
            raise ValueError("not five fields of numbers, names, * / , -")
        croniter(" ".join(fields))
    except (CroniterError, ValueError) as error:
        raise ValueError(
            f"write one of {', '.join(SCHEDULES)}, or a cron of five fields (minute hour day month weekday, UTC) in "
            f'quotes, such as "0 */2 * * *"; as a cron it is wrong: {error}'
        ) from None
    return next((tier for tier, cron in TIERS.items() if cron.split() == fields), " ".join(fields))


class Manifest(BaseModel):
    """A low-code manifest of Airbyte's CDK; what is in it is checked by the CDK."""

    model_config = ConfigDict(extra="allow")

    type: Literal["DeclarativeSource"]
    version: str
    streams: list[Any]


@dataclass(frozen=True)
class Declarations:
    """All that is declared for Airbyte. `manifests`: path as in a source's `manifest` -> its content."""

    airbyte: Airbyte
    connections: list[Connection]
    manifests: dict[str, dict[str, Any]]


def load_connection(path: Path) -> Connection:
    """Return one declared connection, checked together with airbyte.yaml.

    :raises DeclarationError: the file is wrong, is not named like its connection, names a manifest that is not there,
        or does not suit its destination.
    """
    connection = load(path, Connection)
    if connection.name != path.stem:
        raise wrong(path, "name", f"the file of connection {connection.name!r} is {connection.name}.yaml")
    manifest = connection.source.manifest
    if manifest and not (path.parents[1] / manifest).is_file():
        raise wrong(path, "source", f"manifest: {manifest} is not there; it is looked for below include/pipelines")
    try:
        airbyte = load(path.parents[1] / "airbyte.yaml", Airbyte)
    except DeclarationError:
        return connection  # a mistake of airbyte.yaml, which is told as such
    types = {item.name: item.type for item in airbyte.destinations}
    if connection.destination not in types:
        problem = f"{connection.destination!r} is no destination of airbyte.yaml: {', '.join(sorted(types))}"
        raise wrong(path, "destination", problem)
    dated = {stream.name: bool(stream.batch_date) for stream in connection.streams}
    if types[connection.destination] == LAKE:
        undated = [name for name, has in dated.items() if not has]
        if undated:
            raise wrong(path, "streams", f"batch_date is missing, which the lake needs: {', '.join(undated)}")
    elif any(dated.values()) or connection.lakehouse.raw_path or connection.lakehouse.rejected_streams:
        problem = (
            f"{connection.destination!r} is of type {types[connection.destination]} and not the lake: leave out "
            "batch_date of the streams, and raw_path and rejected_streams under lakehouse"
        )
        raise wrong(path, "destination", problem)
    return connection


def load_connections(folder: Path | None = None) -> list[Connection]:
    """Return the declared connections, sorted by name.

    :param folder: folder of the declarations, by default that of the installation.
    :raises DeclarationError: as `load_connection`.
    """
    return [load_connection(path) for path in sorted(((folder or pipelines_dir()) / "connections").glob("*.yaml"))]


def load_declarations(folder: Path | None = None) -> Declarations:
    """Return everything that is declared for Airbyte.

    :raises DeclarationError: a file is wrong.
    """
    folder = folder or pipelines_dir()
    airbyte = load(folder / "airbyte.yaml", Airbyte)
    connections = load_connections(folder)
    manifests: dict[str, dict[str, Any]] = {}
    for connection in connections:
        if connection.source.manifest:
            manifest = load(folder / connection.source.manifest, Manifest)
            manifests[connection.source.manifest] = manifest.model_dump()
    return Declarations(airbyte, connections, manifests)


FILES = {"airbyte.yaml": Airbyte, "connections/*.yaml": load_connection, "connectors/*.yaml": Manifest}
