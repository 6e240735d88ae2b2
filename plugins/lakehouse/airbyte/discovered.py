"""From what a source offers to a connection's file: sensible defaults of each stream, and the file's text.

Pure: what is asked of Airbyte and of a person is in `new_connection`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

# Names by which databases and services tell when a row was changed last, the surest first.
CURSORS = ("updated_at", "modified_at", "changed_at", "last_updated", "last_modified", "updated_on", "modified_on",
           "updated", "modified", "lastmodifieddate", "system_modstamp")  # fmt: skip
EXTRACTED_AT = "_airbyte_extracted_at"
FILE_CURSOR = "_ab_source_file_last_modified"
_TELLS_A_DAY = re.compile(r"(_at|_on|date|time|timestamp|updated|modified|modstamp)$", re.IGNORECASE)
_SECRET = re.compile(r"password|passwd|secret|token|api_?key|access_key|private_key|credential_json", re.IGNORECASE)


@dataclass(frozen=True)
class Offered:
    """A stream that a source offers, as `GET /streams` tells of it; keys that are nested are left out."""

    name: str
    sync_modes: list[str]
    columns: list[str]
    cursor_field: str | None
    primary_key: list[str]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Offered":
        """Read one entry of the answer."""
        cursor = answer.get("defaultCursorField") or []
        return cls(
            str(answer["streamName"]),
            list(answer.get("syncModes") or []),
            [path[0] for path in answer.get("propertyFields") or [] if len(path) == 1],
            str(cursor[0]) if len(cursor) == 1 else None,
            [path[0] for path in answer.get("sourceDefinedPrimaryKey") or [] if len(path) == 1],
        )

    def default(self) -> dict[str, Any]:
        """Return the stream as it is proposed: incremental where a column says when a row was changed."""
        cursor = self.cursor_field or next(
            (name for wanted in CURSORS for name in self.columns if name.lower() == wanted), None
        )
        if cursor and self.primary_key and "incremental_deduped_history" in self.sync_modes:
            return self.stream("incremental_deduped_history", cursor, self.primary_key)
        if cursor and "incremental_append" in self.sync_modes:
            return self.stream("incremental_append", cursor, self.primary_key)
        return self.stream("full_refresh_overwrite", None, self.primary_key)

    def stream(
        self, sync_mode: str, cursor_field: str | None, primary_key: Sequence[str], batch_date: str | None = None
    ) -> dict[str, Any]:
        """Return an entry of `streams`; `batch_date` by default from the rest."""
        declared: dict[str, Any] = {"name": self.name, "sync_mode": sync_mode}
        if sync_mode.startswith("incremental") and cursor_field:
            declared["cursor_field"] = cursor_field
        declared["primary_key"] = list(primary_key)
        declared["batch_date"] = batch_date or day_of(sync_mode, cursor_field)
        return declared


def day_of(sync_mode: str, cursor_field: str | None) -> str:
    """Return what tells a row's day: the file's name, the cursor if it is a time, or when the row was extracted."""
    if sync_mode.startswith("full_refresh_overwrite"):
        return "snapshot"
    if cursor_field == FILE_CURSOR:
        return "file_name"
    return cursor_field if cursor_field and _TELLS_A_DAY.search(cursor_field) else EXTRACTED_AT


def secrets_in(configuration: Mapping[str, Any], path: str = "") -> list[str]:
    """Return the paths of a configuration whose names say that they hold secrets."""
    found: list[str] = []
    for key, value in configuration.items():
        here = f"{path}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            found += secrets_in(value, here)
        elif value not in (None, "") and _SECRET.search(key):
            found.append(here)
    return found


class _Text(yaml.SafeDumper):
    """YAML as it stands in the repository: lists indented, short ones on one line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        plain = all(not isinstance(item, dict | list) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain)


_Text.add_representer(list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data))


def as_yaml(declared: Mapping[str, Any], what: str) -> str:
    """Return the text of a connection's file.

    :param what: the first line of its comment: what is read.
    """
    text = yaml.dump(dict(declared), Dumper=_Text, sort_keys=False, width=118, allow_unicode=True)
    return (
        f"# {what}\n"
        "# Written by `make new-connection`, yours to edit. What stands under `from_connection` is taken from the\n"
        "# Airflow connection (see ../airbyte.yaml): no secret stands here. `batch_date` says which column of a\n"
        "# stream tells the day (UTC) that a row belongs to.\n\n" + text.replace("\nstreams:", "\n\nstreams:")
    )
