"""What `include/pipelines/dremio.yaml` may say."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from lakehouse.dremio.declared.roles import Role
from lakehouse.dremio.declared.users import User
from lakehouse.ops.declarations import Declared

Name = Annotated[str, StringConstraints(min_length=1, pattern=r'^[^."/:\[\]]+$')]
DatasetPath = Annotated[str, StringConstraints(pattern=r'^[^."]+(\.[^."]+)+$')]


class Source(Declared):
    """A Dremio source; address and credentials come from the Airflow connection.

    :ivar root_path: S3 only: bucket and prefix that the source shows, `/bucket/prefix`. Left out: the bucket that the
        connection names (`service_config: {s3: {bucket_name: ...}}` in its extra), else `datalake`.
    :ivar config: keys of Dremio's own source configuration; they win over what is derived.
    """

    name: Name
    type: Literal["S3", "POSTGRES"]
    connection: str
    root_path: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    description: str | None = None

    @model_validator(mode="after")
    def _check_root_path(self) -> "Source":
        if self.type != "S3" and self.root_path is not None:
            raise ValueError(f"source {self.name}: root_path belongs to type S3")
        if self.root_path is not None and not self.root_path.startswith("/"):
            raise ValueError(f"source {self.name}: root_path {self.root_path!r} must begin with '/'")
        return self


class Space(Declared):
    """A space, the home of views."""

    name: Name
    description: str | None = None


class Folder(Declared):
    """A folder in a space or another folder, which must be there or declared before it."""

    path: DatasetPath
    description: str | None = None


class View(Declared):
    """A view; `sql` is its whole definition, in Dremio's dialect.

    :ivar tags: all its tags. Left out, they are left as they are.
    """

    path: DatasetPath
    sql: str
    description: str | None = None
    tags: list[Annotated[str, StringConstraints(min_length=1, max_length=128)]] | None = None


class Catalog(Declared):
    """The whole file. Folders and views are applied in the order given: a view may select from an earlier one.

    :ivar users: with passwords of their own, see `lakehouse.dremio.declared.users`.
    :ivar roles: Enterprise and Cloud only, see `lakehouse.dremio.declared.roles`.
    """

    sources: list[Source] = Field(default_factory=list)
    spaces: list[Space] = Field(default_factory=list)
    folders: list[Folder] = Field(default_factory=list)
    views: list[View] = Field(default_factory=list)
    users: list[User] = Field(default_factory=list)
    roles: list[Role] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_unique(self) -> "Catalog":
        names = [source.name for source in self.sources] + [space.name for space in self.spaces]
        names += [folder.path for folder in self.folders] + [view.path for view in self.views]
        twice = sorted({name for name in names if names.count(name) > 1})
        for kind, items in (("user", self.users), ("role", self.roles)):
            lower = [item.name.lower() for item in items]
            twice += sorted({f"{kind} {name}" for name in lower if lower.count(name) > 1})
        if twice:
            raise ValueError(f"declared more than once: {', '.join(twice)}")
        return self
