"""Streams as a source offers them, as a connection configures them, and the checks between the two."""

from dataclasses import asdict, dataclass, field
from typing import Any

# The API's name -> how the source is read, how the destination takes it. The S3 destination cannot deduplicate:
# it appends, and the newest version of a row is taken downstream.
SYNC_MODES = {
    "full_refresh_overwrite": ("full_refresh", "overwrite"),
    "full_refresh_append": ("full_refresh", "append"),
    "incremental_append": ("incremental", "append"),
    "incremental_deduped_history": ("incremental", "append_dedup"),
}
SCHEMA_CHANGES = ("ignore", "propagate_columns", "propagate_fully", "disable_connection")
FOLLOWING = ("propagate_columns", "propagate_fully")  # of them, those that deliver a new column


class InvalidCatalog(ValueError):
    """A stream configuration that contradicts what the source offers."""


@dataclass
class DiscoveredStream:
    """A stream that a source offers. `columns` maps names to JSON schema (with Airbyte's `airbyte_type`)."""

    name: str
    columns: dict[str, dict[str, Any]]
    namespace: str | None = None
    incremental: bool = True
    cursor_is_fixed: bool = False
    default_cursor: str | None = None
    primary_key: list[str] = field(default_factory=list)


@dataclass
class ConfiguredStream:
    """A stream that a connection syncs, in one of SYNC_MODES; the cursor and keys are resolved already."""

    name: str
    sync_mode: str
    namespace: str | None = None
    cursor: str | None = None
    primary_key: list[str] = field(default_factory=list)
    selected: list[str] | None = None
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def incremental(self) -> bool:
        return SYNC_MODES[self.sync_mode][0] == "incremental"

    @property
    def overwrites(self) -> bool:
        return SYNC_MODES[self.sync_mode][1] == "overwrite"

    @property
    def read_columns(self) -> dict[str, dict[str, Any]]:
        """The columns that are synced: all, or those that were selected."""
        if self.selected is None:
            return self.columns
        return {name: schema for name, schema in self.columns.items() if name in self.selected}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def available_modes(stream: DiscoveredStream) -> list[str]:
    """The sync modes that a stream can be configured with."""
    modes = ["full_refresh_overwrite", "full_refresh_append"]
    if stream.incremental:
        modes += ["incremental_append", "incremental_deduped_history"]
    return modes


def configure(requested: list[dict[str, Any]] | None, offered: list[DiscoveredStream]) -> list[ConfiguredStream]:
    """Resolve the streams of a request (API shape) against what the source offers.

    :param requested: `configurations.streams` of the API; None or empty means all streams in the default mode.
    :raises InvalidCatalog: naming the stream and what is wrong with it.
    """
    by_name = {stream.name: stream for stream in offered}
    if not requested:
        requested = [{"name": name} for name in by_name]
    names = [stream.get("name") for stream in requested]
    doubles = sorted({str(name) for name in names if names.count(name) > 1})
    if doubles:
        raise InvalidCatalog(f"Duplicate streams found in configuration: {', '.join(doubles)}.")
    configured = []
    for stream in requested:
        if stream.get("name") not in by_name:
            known = ", ".join(sorted(by_name)) or "none"
            raise InvalidCatalog(
                f"Invalid stream found. The source has no stream {stream.get('name')!r}; it has: {known}."
            )
        configured.append(_configure_one(stream, by_name[stream["name"]]))
    return configured


def follow(streams: list[ConfiguredStream], offered: list[DiscoveredStream]) -> list[ConfiguredStream]:
    """The streams that a connection has which follows its source fully: without those that are gone, and the new ones.

    A new stream is synced in the mode that Airbyte's platform chooses for one: incremental where the source itself
    fixes the cursor and the key (CDC does), else a full refresh. (ApplySchemaChangeHelper of airbyte-platform.)
    """
    names = {stream.name for stream in offered}
    known = {stream.name for stream in streams}
    added = []
    for stream in offered:
        if stream.name not in known:
            fixed = stream.incremental and stream.cursor_is_fixed and stream.primary_key
            mode = "incremental_deduped_history" if fixed else "full_refresh_overwrite"
            added.append(_configure_one({"name": stream.name, "syncMode": mode}, stream))
    return [stream for stream in streams if stream.name in names] + added


def _configure_one(requested: dict[str, Any], offered: DiscoveredStream) -> ConfiguredStream:
    mode = requested.get("syncMode") or "full_refresh_overwrite"
    if mode not in available_modes(offered):
        raise InvalidCatalog(
            f"Cannot set sync mode to {mode} for stream {offered.name}. "
            f"Valid sync modes are: {', '.join(available_modes(offered))}."
        )
    stream = ConfiguredStream(
        name=offered.name,
        sync_mode=mode,
        namespace=offered.namespace,
        primary_key=_primary_key(requested, offered),
        selected=_selected(requested, offered),
        columns=offered.columns,
    )
    if stream.incremental:
        stream.cursor = _cursor(requested, offered)
    if mode == "incremental_deduped_history" and not stream.primary_key:
        raise InvalidCatalog(f"A primary key is required for the sync mode {mode} of stream {offered.name}.")
    left_out = {*stream.primary_key, *filter(None, [stream.cursor])} - set(stream.read_columns)
    if left_out:
        raise InvalidCatalog(
            f"The cursor and primary key of stream {offered.name} must be selected; "
            f"{', '.join(sorted(left_out))} is not."
        )
    return stream


def _cursor(requested: dict[str, Any], offered: DiscoveredStream) -> str:
    path = requested.get("cursorField") or []
    if len(path) > 1:
        raise InvalidCatalog(f"Nested cursor field {path} of stream {offered.name} is not supported.")
    if offered.cursor_is_fixed and offered.default_cursor:
        if path and path[0] != offered.default_cursor:
            raise InvalidCatalog(
                f"Cursor Field {path[0]} is not allowed for stream {offered.name}: "
                f"its cursor is defined by the source as {offered.default_cursor}."
            )
        return offered.default_cursor
    name = path[0] if path else offered.default_cursor
    if not name:
        raise InvalidCatalog(f"No cursor field is set for the incremental stream {offered.name}.")
    if name not in offered.columns:
        raise InvalidCatalog(
            f"Cursor field {name!r} is not a column of stream {offered.name}; "
            f"its columns are: {', '.join(offered.columns)}."
        )
    return str(name)


def _primary_key(requested: dict[str, Any], offered: DiscoveredStream) -> list[str]:
    paths = requested.get("primaryKey") or []
    if any(len(path) != 1 for path in paths):
        raise InvalidCatalog(f"Nested primary keys of stream {offered.name} are not supported: {paths}.")
    keys = [str(path[0]) for path in paths]
    missing = [key for key in keys if key not in offered.columns]
    if missing:
        raise InvalidCatalog(
            f"Primary key {', '.join(missing)} is not a column of stream {offered.name}; "
            f"its columns are: {', '.join(offered.columns)}."
        )
    if len(set(keys)) != len(keys):
        raise InvalidCatalog(f"Duplicate primary key columns for stream {offered.name}: {', '.join(keys)}.")
    return keys or list(offered.primary_key)


def _selected(requested: dict[str, Any], offered: DiscoveredStream) -> list[str] | None:
    if requested.get("selectedFields") is None:
        return None
    paths = [entry.get("fieldPath") or [] for entry in requested["selectedFields"]]
    if not paths:
        raise InvalidCatalog(f"No fields selected for stream {offered.name}.")
    if any(len(path) != 1 for path in paths):
        raise InvalidCatalog(f"Nested field selection of stream {offered.name} is not supported: {paths}.")
    names = [str(path[0]) for path in paths]
    if len(set(names)) != len(names):
        raise InvalidCatalog(f"Duplicate fields selected for stream {offered.name}: {', '.join(names)}.")
    missing = [name for name in names if name not in offered.columns]
    if missing:
        raise InvalidCatalog(f"Selected fields {', '.join(missing)} do not exist in stream {offered.name}.")
    return names
