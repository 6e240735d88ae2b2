"""The catalog's objects."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from embedded.dremio.types import Column

SECRET_PLACEHOLDER = "$DREMIO_EXISTING_VALUE$"
SECRET_KEYS = frozenset({"accessSecret", "password", "awsAccessSecret", "nessieAccessToken"})


class Kind(StrEnum):
    """What an entity is; REST derives ``entityType``, ``containerType`` and ``datasetType`` from it."""

    HOME = "home"
    SPACE = "space"
    SOURCE = "source"
    FOLDER = "folder"
    VIEW = "view"  # VIRTUAL_DATASET
    TABLE = "table"  # PHYSICAL_DATASET: promoted files, a table of a database, or a table of the lake
    FUNCTION = "function"
    FILE = "file"  # an unpromoted file of a source; never stored


@dataclass
class Entity:
    """One object. `body` has what REST shows beyond the common keys, in REST's spelling.

    body by kind:
      SOURCE   type, config (with secrets; see `public_config`), metadataPolicy, acceleration*
      VIEW     sql, sqlContext (list of str)
      TABLE    format {"type": ...} , accelerationRefreshPolicy
      FUNCTION returnType, functionBody, functionArgList, isScalar
    `internals` is the server's own: for promoted tables ``files`` ([{"path", "size", "modified"}], fixed at promotion
    or refresh) and ``partitions`` (names of partition columns), for database tables ``remote`` [schema, table],
    for tables of the lake ``lake`` [schema, table]; for any table ``statistics`` of its columns (ANALYZE TABLE). A
    table of an ELASTIC source has its ``fields`` beside ``remote`` [index, mapping].
    """

    kind: Kind
    path: tuple[str, ...]
    body: dict[str, Any] = field(default_factory=dict)
    columns: list[Column] = field(default_factory=list)
    internals: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    tag: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    modified_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def key(self) -> tuple[str, ...]:
        """The path as looked up: lower case."""
        return key_of(self.path)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path[-1]

    @property
    def is_dataset(self) -> bool:
        """True for tables and views."""
        return self.kind in (Kind.VIEW, Kind.TABLE)

    @property
    def is_container(self) -> bool:
        """True for what may have children."""
        return self.kind in (Kind.HOME, Kind.SPACE, Kind.SOURCE, Kind.FOLDER)

    @property
    def is_promoted(self) -> bool:
        """False for files and folders of a source that are no entity of the catalog (id ``dremio:/...``)."""
        return not self.id.startswith("dremio:/")

    @property
    def dotted(self) -> str:
        """The path joined by dots, unquoted: INFORMATION_SCHEMA's TABLE_SCHEMA form."""
        return ".".join(self.path)

    def public_config(self) -> dict[str, Any]:
        """A source's config with secrets masked."""
        config = self.body.get("config", {})
        return {k: SECRET_PLACEHOLDER if k in SECRET_KEYS and v else v for k, v in config.items()}


def key_of(path: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """A path's lookup key."""
    return tuple(part.lower() for part in path)


def unpromoted_id(path: tuple[str, ...]) -> str:
    """The id that REST gives a file or folder of a source that is not promoted."""
    return "dremio:/" + "/".join(quote(part, safe="") for part in path)
