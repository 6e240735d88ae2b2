"""What statements other than queries are parsed into: plain records, one for each kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embedded.dremio.sql.casts import Target

Path = tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """One item of PARTITION BY: column, IDENTITY|YEAR|MONTH|DAY|HOUR|BUCKET|TRUNCATE, and its number."""

    column: str
    transform: str = "IDENTITY"
    argument: int | None = None


@dataclass
class Query:
    sql: str


@dataclass
class Explain:
    sql: str


@dataclass
class CreateTable:
    path: Path
    if_not_exists: bool = False
    columns: list[tuple[str, Target]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # CREATE TABLE t (a, b) AS ..
    partitions: list[Partition] = field(default_factory=list)
    sort: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)  # STORE AS
    properties: dict[str, str] = field(default_factory=dict)
    query: str | None = None


@dataclass
class Drop:
    kind: str  # TABLE | VIEW | FOLDER | FUNCTION | SPACE
    path: Path
    if_exists: bool = False


@dataclass
class CreateView:
    path: Path
    query: str
    replace: bool = False
    names: list[str] = field(default_factory=list)


@dataclass
class CreateFolder:
    path: Path
    if_not_exists: bool = False


@dataclass
class CreateFunction:
    path: Path
    arguments: list[tuple[str, str]]
    returns: str
    body: str
    replace: bool = False
    if_not_exists: bool = False
    tabular: bool = False


@dataclass
class Dml:
    """INSERT, UPDATE, DELETE, MERGE: parsed further by sqlglot."""

    word: str
    sql: str


@dataclass
class Truncate:
    path: Path
    if_exists: bool = False


@dataclass
class AlterTable:
    """One action on a table or view; `action` says which of the other fields count."""

    path: Path
    action: str
    columns: list[tuple[str, Target]] = field(default_factory=list)
    name: str = ""
    new_name: str = ""
    kind: Target | None = None
    values: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    flag: bool = False
    definition: Any = None


@dataclass
class Optimize:
    path: Path
    data: bool = True
    manifests: bool = True
    options: dict[str, int] = field(default_factory=dict)
    partitions: str | None = None


@dataclass
class Vacuum:
    path: Path | None
    action: str = "EXPIRE"  # EXPIRE | ORPHANS
    older_than: str | None = None
    retain_last: int | None = None


@dataclass
class Rollback:
    path: Path
    snapshot: str | None = None
    timestamp: str | None = None


@dataclass
class CopyInto:
    path: Path
    location: str
    files: list[str] = field(default_factory=list)
    pattern: str | None = None
    file_format: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Analyze:
    path: Path
    columns: list[str]  # none: all
    delete: bool


@dataclass
class Show:
    what: str  # SCHEMAS | TABLES | VIEWS | FUNCTIONS | CREATE | TBLPROPERTIES
    path: Path = ()
    like: str | None = None
    kind: str = ""


@dataclass
class Describe:
    path: Path
    function: bool = False


@dataclass
class Use:
    path: Path


@dataclass
class Refused:
    """A statement that Dremio has and this server does not run, and why."""

    message: str
    permission: bool = False
